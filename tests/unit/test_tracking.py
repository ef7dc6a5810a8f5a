"""What a training run leaves in TensorBoard's event file."""

import pytest
from saferl.cli import main
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from test_cli import TINY


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracking") / "run"
    arguments = ["train", "cat/halfcheetah_limits", "--env.id", "saferl/HalfCheetahVelocity-v0", "--run-dir", str(folder)]
    assert main([*arguments, *TINY]) == 0
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0})
    found.Reload()
    return found


def test_scalars_per_constraint(events):
    tags = set(events.Tags()["scalars"])
    expected = {"value_max", "violation_rate", "cost", "termination_probability", "bound", "cost_limit"}
    assert {f"constraint/speed/{name}" for name in expected} <= tags
    assert {
        "rollout/ep_cost_mean",
        "rollout/ep_rew_mean",
        "eval/mean_reward",
        "eval/constraint/speed/violation_rate",
        "eval/ep_cost_mean",
    } <= tags
    assert events.Scalars("constraint/speed/cost_limit")[-1].value == 25.0


def test_layout_draws_only_tags_that_exist(events):
    (event,) = events.Tensors(layout_metadata.CONFIG_SUMMARY_TAG)
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    charts = [chart for category in layout.category for chart in category.chart]
    tags = {tag for chart in charts for tag in chart.multiline.tag}
    assert {"constraint/speed/cost", "constraint/speed/cost_limit"} <= tags
    assert tags <= set(events.Tags()["scalars"])


def test_hparams_and_their_metrics(events):
    assert "_hparams_/session_start_info" in events.summary_metadata
    metrics = {"rollout/ep_rew_mean", "eval/mean_reward"}
    assert metrics <= set(events.Tags()["scalars"])


def test_the_clip_is_in_the_file(events):
    assert events.Tags()["images"] == ["rollout/video"]
    assert events.Images("rollout/video")[0].encoded_image_string[:3] == b"GIF"
