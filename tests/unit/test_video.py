"""Clips: what is written can be read back, and nothing half-written stays."""

import imageio.v3 as imageio
import numpy as np
import pytest
from saferl.tracking import video
from saferl.tracking.video import VideoError, clip_in_event_file, gif_summary, write_mp4
from stable_baselines3.common.logger import TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter


def moving_square(count, height=48, width=64):
    frames = [np.full((height, width, 3), 40, np.uint8) for _ in range(count)]
    for index, frame in enumerate(frames):
        left = index % (width - 8)
        frame[8:16, left : left + 8] = (220, 30, 30)
    return frames


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_an_mp4_reads_back_with_its_frames(tmp_path, size):
    frames = moving_square(30, *size)
    path = write_mp4(tmp_path / "deep" / "clip.mp4", iter(frames), fps=20)
    back = imageio.imread(path)
    assert back.shape == (30, 48, 64, 3)
    assert np.mean(np.abs(back[20, : size[0], : size[1]].astype(int) - frames[20])) < 6
    assert imageio.immeta(path)["fps"] == 20
    assert imageio.immeta(path)["pix_fmt"].startswith("yuv420p")
    assert [item.name for item in path.parent.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)], "frame 1 is"),
        ([np.zeros((8, 8, 3))], "float64"),
    ],
)
def test_frames_that_make_no_clip_leave_no_file(tmp_path, frames, message):
    with pytest.raises(VideoError, match=message):
        write_mp4(tmp_path / "clip.mp4", frames, fps=20)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_old_clip(tmp_path, monkeypatch):
    path = write_mp4(tmp_path / "clip.mp4", moving_square(5), fps=20)
    old = path.read_bytes()
    monkeypatch.setattr(video.imageio_ffmpeg, "count_frames_and_secs", lambda _: (2, 0.1))
    with pytest.raises(VideoError, match="wrote 20 frames but the file holds 2"):
        write_mp4(path, moving_square(20), fps=20)
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_gif_is_found_again_in_the_event_file(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    assert gif_summary(writer, "eval/clip", moving_square(40), step=7, fps=20) == 40
    assert clip_in_event_file(tmp_path, "eval/clip") == 40
    assert clip_in_event_file(tmp_path, "eval/other") == 0
    writer.close()
    with pytest.raises(VideoError, match="closed"):
        gif_summary(writer, "eval/clip", moving_square(2), step=8, fps=20)


def test_stable_baselines3s_format_is_accepted_and_long_wide_clips_shrink(tmp_path):
    output = TensorBoardOutputFormat(str(tmp_path))
    frames = moving_square(330, 60, 400)
    assert gif_summary(output, "clip", frames, step=0, fps=100) == 83  # every 4th, at most 100
    output.close()
    assert clip_in_event_file(tmp_path, "clip") == 83


def test_a_long_clip_plays_at_the_same_speed():
    from PIL import Image

    class Sink:
        """Keeps what a torch writer would write."""

        def __init__(self):
            self.file_writer, self.images = self, []

        def add_summary(self, summary, step):
            self.images.append((step, summary.value[0].image))

        def flush(self):
            self.flushed = True

    import io

    sink = Sink()
    gif_summary(sink, "clip", moving_square(300, 60, 400), step=12, fps=50)
    step, image = sink.images[0]
    clip = Image.open(io.BytesIO(image.encoded_image_string))
    assert (step, sink.flushed) == (12, True)
    assert (clip.width, clip.height) == (image.width, image.height) == (320, 48)
    assert clip.n_frames * clip.info["duration"] == pytest.approx(6000)  # 300 frames at 50 per second
    assert clip.info["loop"] == 0


def test_no_event_files_means_no_clip(tmp_path):
    assert clip_in_event_file(tmp_path, "clip") == 0
    with pytest.raises(VideoError, match="at least one frame"):
        gif_summary(None, "clip", [], step=0, fps=20)
