"""Shared by all tests: one torch thread, no graphics unless a test asks, few examples unless a profile asks for more."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import pytest
import torch
from hypothesis import settings

settings.register_profile("quick", max_examples=100)
settings.register_profile("thorough", max_examples=800)
settings.load_profile("quick")


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    torch.set_num_threads(1)
