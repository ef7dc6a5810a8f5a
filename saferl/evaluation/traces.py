"""The panel beside the robot: every constraint's measured quantity over time against its limit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from saferl_envs.errors import ConfigError
from saferl_envs.signals import BoolArray, FloatArray, IntArray

MAX_ROWS = 8
BACKGROUND, PLOT, TEXT, MUTED = (255, 255, 255), (244, 246, 248), (30, 34, 40), (110, 118, 128)
SATISFIED, VIOLATED, LIMIT = (30, 110, 190), (225, 30, 30), (70, 76, 84)
MARGIN = 4
# Pillow's built-in font lacks these; anything else outside Latin-1 becomes a question mark.
SPELLED = str.maketrans({"²": "^2", "³": "^3", "µ": "u", "μ": "u", "≤": "<=", "≥": ">=", "–": "-", "—": "-", "−": "-"})


@dataclass(frozen=True)
class TraceSpec:
    """One row of the panel.

    Attributes:
        name: Name of the constraint.
        unit: Unit of its quantity, ``"1"`` when dimensionless.
        limit: Where the limit line is drawn, in that unit.
        upper: Whether the quantity must stay below the limit; else above it.
    """

    name: str
    unit: str
    limit: float
    upper: bool = True

    def exceeds(self, values: FloatArray) -> BoolArray:
        """Return where values of the quantity violate the limit; NaN does not."""
        return np.asarray(values > self.limit if self.upper else values < self.limit)


class _Row(NamedTuple):
    """Where one constraint is drawn: rows of pixels of the header and of the plot, and the plotted range."""

    header: int
    top: int
    bottom: int
    low: float
    high: float

    def height_of(self, value: float) -> float:
        """Return the pixel row of a value; values outside the range are held at its edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - 2 - share * (self.bottom - self.top - 4)


class _Box(NamedTuple):
    """The space of one row, pixels: its first line, its height, and the last column of the plot."""

    top: int
    height: int
    right: int


class TracePanel:
    """Draws one row per constraint, red where the limit is exceeded.

    Args:
        constraints: The rows, in the order of the columns of the history.
        horizon: Steps that the time axis holds; a longer history scrolls.
        width: Width of the panel, pixels.
        height: Height of the panel, pixels.

    Raises:
        ConfigError: There is no constraint, or the panel is too small to read.
    """

    def __init__(self, constraints: Sequence[TraceSpec], horizon: int, width: int, height: int) -> None:
        if not constraints:
            raise ConfigError("trace panel: no constraints; it needs at least one")
        if width < 120 or height < 40 or horizon < 1:
            raise ConfigError(f"trace panel: {width} x {height} pixels, horizon {horizon}; valid: at least 120 x 40 and 1 step")
        self.constraints = tuple(constraints)
        self.horizon, self.width, self.height = horizon, width, height
        self._small = _font(10)

    def draw(self, history: FloatArray, t: int) -> NDArray[np.uint8]:
        """Return the panel (H, W, 3) at step t.

        Args:
            history: (T, C) per step the limited quantity of every constraint's worst component, in its unit. Ranges and
                the choice of rows use all of it: give the whole episode on every call and the axes stand still.
            t: The present step, 0 <= t < T. The trace is drawn up to it.

        Raises:
            ConfigError: The history does not have C columns, or has no step t.
        """
        history = np.asarray(history, dtype=np.float64)
        if history.ndim != 2 or history.shape[1] != len(self.constraints) or not 0 <= t < len(history):
            raise ConfigError(
                f"trace panel: history of shape {history.shape} at step {t}; "
                f"valid: (T, {len(self.constraints)}) with 0 <= t < T"
            )
        picture = Image.new("RGB", (self.width, self.height), BACKGROUND)
        brush = ImageDraw.Draw(picture)
        shown = self._worst(history)
        hidden = len(self.constraints) - len(shown)
        footer = 13 if hidden else 0
        pitch = (self.height - footer - MARGIN) / len(shown)
        labels = [_label(self.constraints[column]) for column in shown]
        # The limits stand in a column of their own, so that no trace runs through them.
        column_width = max(self._small.getlength(label) for label in labels) + 4
        right = self.width - MARGIN - round(min(column_width, 0.35 * self.width))
        for place, column in enumerate(shown):
            top = MARGIN + round(place * pitch)
            self._row(brush, self.constraints[column], history[:, column], t, _Box(top, int(pitch), right))
        if hidden:
            brush.text((MARGIN, self.height - footer), f"+{hidden} more", fill=MUTED, font=self._small)
        return np.asarray(picture)

    def _worst(self, history: FloatArray) -> list[int]:
        """Return the columns to show: all of them, or the most violated, in their own order."""
        if len(self.constraints) <= MAX_ROWS:
            return list(range(len(self.constraints)))
        limits = np.array([spec.limit for spec in self.constraints])
        signs = np.array([1.0 if spec.upper else -1.0 for spec in self.constraints])
        beyond = np.nan_to_num(signs * (history - limits), nan=-np.inf)
        excess = beyond.max(axis=0) / np.maximum(np.abs(limits), 1e-6)
        rates = np.mean(beyond > 0, axis=0)
        return sorted(np.lexsort((-excess, -rates))[:MAX_ROWS].tolist())

    def _row(self, brush: ImageDraw.ImageDraw, spec: TraceSpec, values: FloatArray, t: int, box: _Box) -> None:
        """Draw one constraint into its box; `values` (T,)."""
        size = 12 if box.height >= 56 else 10
        row = _Row(box.top, box.top + size + 4, box.top + box.height - 4, *_range(values, spec.limit))
        past = values[: t + 1]
        violated = spec.exceeds(past)
        self._header(brush, spec, float(past[-1]), float(violated.mean()), bool(violated[-1]), row, size)
        brush.rectangle((MARGIN, row.top, box.right, row.bottom), fill=PLOT)
        self._limit(brush, spec, row, box.right)
        first = max(0, t + 1 - self.horizon)
        step = (box.right - MARGIN - 4) / max(self.horizon - 1, 1)
        across = MARGIN + 2 + np.arange(t + 1 - first) * step
        for below, points in _runs(across, past[first:], spec.limit):
            inside = below == spec.upper
            line = [(x, row.height_of(value)) for x, value in points]
            brush.line(line, fill=SATISFIED if inside else VIOLATED, width=2 if box.height >= 40 else 1)
        # A single bad step may be less than a pixel wide, so each also gets a tick on the axis.
        edges = np.flatnonzero(np.diff(violated[first:], prepend=False, append=False))
        for start, end in edges.reshape(-1, 2):
            left = MARGIN + 2 + start * step
            brush.rectangle((left, row.bottom - 1, left + (end - start) * step, row.bottom), fill=VIOLATED)
        if np.isfinite(past[-1]):
            x, y = float(across[-1]), row.height_of(float(past[-1]))
            brush.ellipse((x - 2, y - 2, x + 2, y + 2), fill=VIOLATED if violated[-1] else SATISFIED)

    def _header(
        self, brush: ImageDraw.ImageDraw, spec: TraceSpec, value: float, rate: float, now: bool, row: _Row, size: int
    ) -> None:
        """Write the name on the left, the running rate and the present value on the right."""
        font = _font(size)
        current = f"{_number(value)}{_unit(spec)}"
        right: float = self.width - MARGIN
        brush.text((right, row.header), current, fill=VIOLATED if now else TEXT, font=font, anchor="ra")
        # The room for the value is fixed, so that the rate does not dance with its digits.
        right -= max(font.getlength(current), font.getlength(f"-000.0{_unit(spec)}")) + 8
        share = f"violated {100 * rate:.1f} %"
        brush.text((right, row.header), share, fill=VIOLATED if rate else MUTED, font=font, anchor="ra")
        room = right - font.getlength(share) - 8 - MARGIN
        brush.text((MARGIN, row.header), _shorten(_spelled(spec.name), font, room), fill=TEXT, font=font)

    def _limit(self, brush: ImageDraw.ImageDraw, spec: TraceSpec, row: _Row, right: int) -> None:
        """Draw the dashed line of the limit up to the column `right`, with its number and unit beside it."""
        y = round(row.height_of(spec.limit))
        for x in range(MARGIN, right, 8):
            brush.line((x, y, min(x + 4, right), y), fill=LIMIT)
        middle = min(max(y, row.top + 5), row.bottom - 5)
        brush.text((self.width - MARGIN, middle), _label(spec), fill=LIMIT, font=self._small, anchor="rm")


def compose(frame: NDArray[np.uint8], panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frame and panel side by side, padded with white to equal height and to even width and height.

    Args:
        frame: (H, W, 3) picture of the robot.
        panel: (H', W', 3) picture of the traces.
    """
    height = max(frame.shape[0], panel.shape[0])
    width = frame.shape[1] + panel.shape[1]
    picture = np.full((height + height % 2, width + width % 2, 3), 255, np.uint8)
    picture[: frame.shape[0], : frame.shape[1]] = frame
    picture[: panel.shape[0], frame.shape[1] : width] = panel
    return picture


def _range(values: FloatArray, limit: float) -> tuple[float, float]:
    """Return the plotted range: all finite values and the limit, with some air."""
    known = np.append(values[np.isfinite(values)], limit)
    low, high = float(known.min()), float(known.max())
    air = max(0.08 * (high - low), 1e-3 * abs(limit), 1e-9)
    return low - air, high + air


def _runs(across: FloatArray, values: FloatArray, limit: float) -> list[tuple[bool, list[tuple[float, float]]]]:
    """Split a trace into finite pieces that lie wholly inside or outside the limit.

    Returns:
        Per piece whether it is inside, and its points (pixel column, value); pieces meet on the limit.
    """
    pieces: list[tuple[bool, list[tuple[float, float]]]] = []
    finite: IntArray = np.flatnonzero(np.isfinite(values))
    for index in finite:
        x, value = float(across[index]), float(values[index])
        inside = value <= limit
        joined = index > 0 and np.isfinite(values[index - 1])
        if not joined:
            pieces.append((inside, [(x, value)]))
            continue
        if pieces[-1][0] != inside:
            before_x, before = pieces[-1][1][-1]
            crossing = (before_x + (x - before_x) * (limit - before) / (value - before), limit)
            pieces[-1][1].append(crossing)
            pieces.append((inside, [crossing]))
        pieces[-1][1].append((x, value))
    return [piece for piece in pieces if len(piece[1]) > 1]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _number(value: float) -> str:
    """Return a value in at most four digits."""
    if not np.isfinite(value):
        return str(value)
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 0.01 else f"{value:.2f}"


def _unit(spec: TraceSpec) -> str:
    return "" if spec.unit in ("", "1") else f" {_spelled(spec.unit)}"


def _label(spec: TraceSpec) -> str:
    return f"limit {_number(spec.limit)}{_unit(spec)}"


def _spelled(text: str) -> str:
    return text.translate(SPELLED).encode("latin-1", "replace").decode("latin-1")


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """Return the text, cut to `room` pixels with two dots when it is longer."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "..") > room:
        text = text[:-1]
    return text + ".."
