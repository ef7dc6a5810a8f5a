"""Counter-based noise: a pure function of its key, and good enough as random numbers."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from saferl_envs.noise import Noise

N = 64
SEEDS, EPISODES, STEPS = np.arange(100, 100 + N), np.arange(N) % 7, np.arange(N) % 5


@pytest.fixture
def noise():
    return Noise(SEEDS, EPISODES, STEPS)


def draws(noise, name="push", d=3):
    return noise.bits(name, d), noise.uniform(name, d, -1.0, 2.0), noise.normal(name, d, 0.5)


def kolmogorov(sample, cdf):
    """Return sqrt(n) times the greatest distance between the sample's distribution and `cdf`."""
    sample = np.sort(sample)
    n = len(sample)
    values = cdf(sample)
    return math.sqrt(n) * max((np.arange(1, n + 1) / n - values).max(), (values - np.arange(n) / n).max())


KOLMOGOROV_1E4 = 2.23  # exceeded by one sample in ten thousand


def normal_cdf(x):
    return np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])


# --- a pure function of the key --------------------------------------------------------------------------------------


def test_one_copy_draws_what_it_draws_in_a_batch(noise):
    batch = draws(noise)
    for i in (0, 13, N - 1):
        alone = draws(Noise(SEEDS[i : i + 1], EPISODES[i : i + 1], STEPS[i : i + 1]))
        for ours, theirs in zip(alone, batch, strict=True):
            assert ours.shape == (1, 3)
            np.testing.assert_array_equal(ours[0], theirs[i])
    some = np.array([5, 2, 40])
    for ours, theirs in zip(draws(Noise(SEEDS[some], EPISODES[some], STEPS[some])), batch, strict=True):
        np.testing.assert_array_equal(ours, theirs[some])


def test_the_order_of_draws_does_not_matter(noise):
    first = noise.uniform("a", 2), noise.normal("b", 2)
    again = Noise(SEEDS, EPISODES, STEPS)
    second = again.normal("b", 2), again.uniform("a", 2)
    np.testing.assert_array_equal(first[0], second[1])
    np.testing.assert_array_equal(first[1], second[0])
    np.testing.assert_array_equal(noise.uniform("a", 2), first[0])


def test_more_columns_begin_with_the_same_numbers(noise):
    np.testing.assert_array_equal(noise.uniform("a", 9)[:, :4], noise.uniform("a", 4))


@pytest.mark.parametrize("changed", ["seed", "episode", "step", "name"])
def test_every_part_of_the_key_changes_every_number(changed, noise):
    other = Noise(SEEDS + (changed == "seed"), EPISODES + (changed == "episode"), STEPS + (changed == "step"))
    name = "b" if changed == "name" else "a"
    a, b = noise.bits("a", 5), other.bits(name, 5)
    assert not np.any(a == b)
    flipped = np.array([[bin(int(word)).count("1") for word in row] for row in a ^ b])
    assert flipped.mean() == pytest.approx(32, abs=5 * 4 / math.sqrt(flipped.size))


def test_the_parts_of_the_key_are_not_interchangeable():
    keys = [(s, e, k) for s in range(6) for e in range(6) for k in range(6)]
    words = Noise(*np.array(keys).T).bits("a", 4)
    assert len(np.unique(words)) == words.size


def splitmix(z):
    """SplitMix64's finaliser as published, in Python's whole numbers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_the_bits_are_splitmix_along_the_key():
    gamma = 0x9E3779B97F4A7C15
    name = int.from_bytes(hashlib.blake2b(b"qpos", digest_size=8).digest(), "little")
    for seed, episode, step in ((0, 1, 0), (2**64 - 1, 2, 3), (12345, 10**6, 999)):
        key = splitmix((seed + gamma) % 2**64)
        key = splitmix((key + gamma * (episode + 1)) % 2**64)
        key = splitmix((key + gamma * (step + 1)) % 2**64)
        stream = splitmix(key ^ name)
        expected = [splitmix((stream + gamma * (column + 1)) % 2**64) for column in range(3)]
        assert Noise([seed], [episode], [step]).bits("qpos", 3).tolist() == [expected]


def test_the_numbers_of_a_published_run_stay_what_they_were():
    assert Noise([0], [1], [0]).bits("qpos", 2).tolist() == [[17745985251835782871, 12722981484383979065]]


def test_seeds_of_all_sizes_and_types_are_keys():
    for seed in (0, 1, 2**31, 2**63, 2**64 - 1):
        a = Noise([seed], [0], [0]).bits("a", 1)
        b = Noise(np.array([seed], np.uint64), np.zeros(1, np.int64), np.zeros(1, np.int32)).bits("a", 1)
        np.testing.assert_array_equal(a, b)


# --- good enough as random numbers -----------------------------------------------------------------------------------

DIRECTIONS = {
    "over copies": lambda n: (np.arange(n), np.zeros(n), np.zeros(n)),
    "over episodes": lambda n: (np.zeros(n), np.arange(n), np.zeros(n)),
    "over steps": lambda n: (np.zeros(n), np.zeros(n), np.arange(n)),
    "over copies with far seeds": lambda n: (np.arange(n) * 2**40, np.zeros(n), np.zeros(n)),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_uniform_numbers_are_uniform(direction):
    n = 20_000
    sample = Noise(*DIRECTIONS[direction](n)).uniform("wind", 4)
    assert sample.min() >= 0.0
    assert sample.max() < 1.0
    error = 5 / math.sqrt(n)
    np.testing.assert_allclose(sample.mean(axis=0), 0.5, atol=error * math.sqrt(1 / 12))
    np.testing.assert_allclose(sample.var(axis=0), 1 / 12, atol=error * math.sqrt(1 / 180))
    for column in sample.T:
        assert kolmogorov(column, lambda x: x) < KOLMOGOROV_1E4
    counts = np.histogram2d(sample[:-1, 0], sample[1:, 0], bins=8, range=[[0, 1], [0, 1]])[0]
    chi2 = ((counts - (n - 1) / 64) ** 2 / ((n - 1) / 64)).sum()
    assert abs(chi2 - 63) < 5 * math.sqrt(2 * 63)  # successive numbers fill the square evenly


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_normal_numbers_are_normal(direction):
    n = 20_000
    sample = Noise(*DIRECTIONS[direction](n)).normal("gust", 3)
    assert np.isfinite(sample).all()
    error = 5 / math.sqrt(n)
    np.testing.assert_allclose(sample.mean(axis=0), 0.0, atol=error)
    np.testing.assert_allclose(sample.var(axis=0), 1.0, atol=error * math.sqrt(2))
    np.testing.assert_allclose((sample**3).mean(axis=0), 0.0, atol=error * math.sqrt(15))
    np.testing.assert_allclose((sample**4).mean(axis=0), 3.0, atol=error * math.sqrt(96))
    for column in sample.T:
        assert kolmogorov(column, normal_cdf) < KOLMOGOROV_1E4


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_columns_names_copies_and_steps_are_uncorrelated(kind):
    n = 20_000
    here, next_copy, next_step = (
        Noise(np.arange(n) + copy, np.ones(n), np.full(n, step)) for copy, step in ((0, 0), (1, 0), (0, 1))
    )
    columns = np.concatenate(
        [
            getattr(here, kind)("a", 6),
            getattr(here, kind)("b", 2),
            getattr(next_copy, kind)("a", 2),
            getattr(next_step, kind)("a", 2),
        ],
        axis=1,
    )
    correlation = np.corrcoef(columns.T) - np.eye(12)
    assert np.abs(correlation).max() < 5 / math.sqrt(n)


def test_every_bit_is_a_fair_coin():
    n = 20_000
    words = Noise(np.arange(n), np.zeros(n), np.zeros(n)).bits("a", 1)[:, 0]
    ones = np.array([(words >> np.uint64(b) & np.uint64(1)).mean() for b in range(64)])
    np.testing.assert_allclose(ones, 0.5, atol=5 * 0.5 / math.sqrt(n))


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_bounds_and_scales_broadcast_over_columns():
    n = 5_000
    noise = Noise(np.arange(n), np.zeros(n), np.zeros(n))
    low, high = np.array([-1.0, 0.0, 5.0]), np.array([1.0, 0.5, 5.0])
    sample = noise.uniform("a", 3, low, high)
    assert (sample >= low).all()
    assert (sample[:, :2] < high[:2]).all()
    assert (sample[:, 2] == 5.0).all()
    np.testing.assert_allclose(sample.min(axis=0), low, atol=2e-3)
    np.testing.assert_allclose(sample.max(axis=0), high, atol=2e-3)
    np.testing.assert_allclose(sample, low + (high - low) * noise.uniform("a", 3), atol=1e-15)
    scaled = noise.normal("b", 2, (0.5, 3.0))
    np.testing.assert_allclose(scaled, noise.normal("b", 2) * [0.5, 3.0])
    np.testing.assert_allclose(scaled.std(axis=0), [0.5, 3.0], rtol=0.05)


def test_shapes_and_types(noise):
    assert noise.n == N
    bits, uniform, normal = draws(noise, d=0)
    assert bits.shape == uniform.shape == normal.shape == (N, 0)
    bits, uniform, normal = draws(noise)
    assert (bits.dtype, uniform.dtype, normal.dtype) == (np.uint64, np.float64, np.float64)
