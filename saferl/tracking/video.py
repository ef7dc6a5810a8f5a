"""Clips of an episode: mp4 files, and animated pictures inside TensorBoard's event files.

torch's ``add_video`` drops the clip without a word when moviepy 2 is installed, so the animated GIF is made here and
every writer is read back.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import Summary

from saferl_envs.errors import SaferlError

Frame = NDArray[np.uint8]
GIF_COLORS = 128
MAX_GIF_FPS = 50.0
"""Browsers slow a GIF down when a frame is shorter than 20 ms."""


class VideoError(SaferlError):
    """A clip has no frames, frames of different size, or could not be written or read back."""


def write_mp4(path: str | Path, frames: Iterable[Frame], fps: float) -> Path:
    """Write frames as H.264 (yuv420p), read the file back, and only then give it its name.

    Odd widths and heights are made even by repeating the last column or row, because H.264 needs it.

    Args:
        path: Where the file goes; its folder is made.
        frames: Pictures (H, W, 3), uint8, all of one size. May be a generator: one frame is held at a time.
        fps: Frames per second.

    Returns:
        The path of the file.

    Raises:
        VideoError: There are no frames, they differ in size, ffmpeg fails, or the file holds another number of frames.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The partial file keeps the suffix, from which ffmpeg takes the container.
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.mp4")
    try:
        count = _encode(partial, frames, fps)
        found, _ = imageio_ffmpeg.count_frames_and_secs(str(partial))
        if abs(found - count) > 1:
            raise VideoError(f"{path}: wrote {count} frames but the file holds {found}")
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        raise VideoError(f"{path}: the video could not be written: {str(error).strip()[-300:]}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _encode(path: Path, frames: Iterable[Frame], fps: float) -> int:
    """Send the frames to ffmpeg and return their number."""
    if not (math.isfinite(fps) and fps > 0):
        raise VideoError(f"{path}: fps {fps}; it must be positive")
    count, shape = 0, (0, 0)
    with contextlib.ExitStack() as stack:
        for frame in frames:
            picture = _even(_checked(frame, path))
            if count == 0:
                shape = picture.shape[:2]
                sink = imageio_ffmpeg.write_frames(
                    str(path), (shape[1], shape[0]), fps=fps, codec="libx264", macro_block_size=2, quality=7
                )
                sink.send(None)
                stack.callback(sink.close)
            if picture.shape[:2] != shape:
                raise VideoError(f"{path}: frame {count} is {picture.shape[:2]} but the first is {shape}")
            sink.send(picture)
            count += 1
    if count == 0:
        raise VideoError(f"{path}: no frames to write")
    return count


def _checked(frame: Frame, where: object) -> Frame:
    picture = np.asarray(frame)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise VideoError(f"{where}: a frame has shape {picture.shape} and type {picture.dtype}; valid: (H, W, 3), uint8")
    return picture


def _even(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    return np.ascontiguousarray(np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def gif_summary(
    writer: Any,
    tag: str,
    frames: Sequence[Frame],
    step: int,
    fps: float,
    *,
    max_width: int = 320,
    max_frames: int = 100,
) -> int:
    """Write frames as an animated GIF into an image summary, where TensorBoard's Images page plays it.

    Long clips keep every n-th frame and play at the same speed.

    Args:
        writer: A torch ``SummaryWriter``, or the ``TensorBoardOutputFormat`` of a Stable-Baselines3 logger.
        tag: Name of the clip.
        frames: Pictures (H, W, 3), uint8, all of one size.
        step: Environment steps at this clip.
        fps: Frames per second of `frames`.
        max_width: Wider pictures are made smaller, pixels.
        max_frames: Upper bound on the frames of the GIF.

    Returns:
        The number of frames in the GIF. Equal neighbours become one longer frame.

    Raises:
        VideoError: There are no frames, one of them has the wrong type, or the writer is closed.
    """
    if not frames or not fps > 0:
        raise VideoError(f"{tag}: {len(frames)} frames at fps {fps}; valid: at least one frame and fps > 0")
    stride = max(math.ceil(len(frames) / max_frames), math.ceil(fps / MAX_GIF_FPS))
    kept = [_checked(frame, tag) for frame in frames[::stride]]
    encoded = _gif(kept, max_width, duration_ms=max(20, round(100 * stride / fps) * 10))
    with Image.open(io.BytesIO(encoded)) as clip:
        width, height, count = clip.width, clip.height, int(getattr(clip, "n_frames", 1))
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
    # Stable-Baselines3's output format keeps the torch writer in its attribute `writer`.
    torch_writer = getattr(writer, "writer", None) or writer
    events = torch_writer.file_writer
    if events is None:
        raise VideoError(f"{tag}: the TensorBoard writer is closed")
    events.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
    torch_writer.flush()
    return count


def _gif(frames: Sequence[Frame], max_width: int, duration_ms: int) -> bytes:
    """Return the frames as a GIF that repeats for ever."""
    pictures = []
    for frame in frames:
        picture = Image.fromarray(frame)
        if picture.width > max_width:
            height = max(1, round(picture.height * max_width / picture.width))
            picture = picture.resize((max_width, height), Image.Resampling.BOX)
        pictures.append(picture.quantize(GIF_COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
    sink = io.BytesIO()
    pictures[0].save(sink, format="GIF", save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0, disposal=1)
    return sink.getvalue()


def clip_in_event_file(log_dir: str | Path, tag: str) -> int:
    """Return the number of frames of the latest clip `tag` in the event files of a folder, 0 when there is none.

    Args:
        log_dir: Folder of the event files.
        tag: Name of the clip.
    """
    accumulator = EventAccumulator(str(log_dir), size_guidance={"images": 0})
    accumulator.Reload()
    if tag not in accumulator.Tags()["images"]:
        return 0
    with Image.open(io.BytesIO(accumulator.Images(tag)[-1].encoded_image_string)) as clip:
        return int(getattr(clip, "n_frames", 1))
