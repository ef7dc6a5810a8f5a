"""The trace panel: red where and only where the limit is exceeded, legible words, even frames."""

import numpy as np
import pytest
from saferl.evaluation.traces import LIMIT, SATISFIED, VIOLATED, TracePanel, TraceSpec, compose

from saferl_envs.errors import ConfigError

SPEC = TraceSpec("joint_velocity", "rad/s", 2.0)


def count(panel, color):
    return int(np.all(panel == color, axis=-1).sum())


def draw(values, t=None, specs=(SPEC,), width=320, height=240):
    history = np.atleast_2d(np.asarray(values, float).T).T
    return TracePanel(specs, len(history), width, height).draw(history, len(history) - 1 if t is None else t)


def test_red_appears_exactly_when_violated():
    below = np.linspace(0.0, 2.0, 50)  # touches the limit: not a violation
    assert count(draw(below), VIOLATED) == 0
    assert count(draw(below), SATISFIED) > 50
    above = draw(below + 2.5)
    assert count(above, VIOLATED) > 50
    assert count(above, SATISFIED) == 0


def test_one_bad_step_in_a_thousand_is_seen_once_it_has_happened():
    values = np.zeros(1000)
    values[500] = 2.001
    assert count(draw(values, t=499), VIOLATED) == 0
    assert count(draw(values, t=500), VIOLATED) > 0
    assert count(draw(values, t=999), VIOLATED) > 0


def test_the_trace_grows_with_time_on_axes_that_stand_still():
    values = np.sin(np.linspace(0, 9, 200))
    early, late = draw(values, t=50), draw(values, t=150)
    ink = [np.nonzero(np.all(panel == SATISFIED, axis=-1))[1].max() for panel in (early, late)]
    assert ink[1] > 2.5 * ink[0]
    limit_rows = [np.nonzero(np.all(panel[:, :200] == LIMIT, axis=-1))[0] for panel in (early, late)]
    assert set(limit_rows[0]) == set(limit_rows[1])
    assert len(set(limit_rows[0])) == 1


def test_a_history_longer_than_the_horizon_scrolls():
    panel = TracePanel([SPEC], 50, 320, 240).draw(np.linspace(0, 1, 500)[:, None], 499)
    assert np.nonzero(np.all(panel == SATISFIED, axis=-1))[1].max() < 320


def test_missing_values_break_the_line_and_do_not_raise():
    panel = draw([0.0, 1.0, np.nan, np.inf, -np.inf, 1.0, 0.5, np.nan])
    assert count(panel, SATISFIED) > 0


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_every_row_has_its_words_and_its_limit(rows):
    specs = [TraceSpec(f"name_{i}", "N·m²", 1.0) for i in range(rows)]
    panel = draw(np.zeros((20, rows)), specs=specs)
    limits = np.all(panel[:, :150] == LIMIT, axis=-1).sum(axis=1)
    assert np.count_nonzero(limits > 50) == rows


def test_with_many_constraints_the_worst_are_shown_and_the_rest_counted():
    history = np.zeros((20, 11))
    history[:, 9] = 3.0
    panel = TracePanel([TraceSpec(f"c{i}", "1", 1.0) for i in range(11)], 20, 320, 240)
    assert 9 in panel._worst(history)
    assert len(panel._worst(history)) == 8
    assert count(panel.draw(history, 19), VIOLATED) > 50
    assert np.any(panel.draw(history, 19)[-12:, :60] < 200)  # "+3 more"


def test_compose_pads_to_even_sides():
    frame, panel = np.zeros((99, 101, 3), np.uint8), np.full((80, 120, 3), 9, np.uint8)
    both = compose(frame, panel)
    assert both.shape == (100, 222, 3)
    assert np.all(both[:99, :101] == 0)
    assert np.all(both[:80, 101:221] == 9)
    assert np.all(both[99] == 255)


def test_bad_histories_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="no constraints"):
        TracePanel([], 10, 320, 240)
    with pytest.raises(ConfigError, match="at least 120 x 40"):
        TracePanel([SPEC], 10, 20, 240)
    with pytest.raises(ConfigError, match=r"\(T, 1\)"):
        TracePanel([SPEC], 10, 320, 240).draw(np.zeros((5, 2)), 4)
    with pytest.raises(ConfigError, match="step 5"):
        TracePanel([SPEC], 10, 320, 240).draw(np.zeros((5, 1)), 5)
