import dataclasses

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from paper_lib.contract import agents
from paper_lib.study import catalogue, episodes


@pytest.mark.parametrize(('losses', 'stretches'), [
    ([1] * 20, []),
    ([1] * 3 + [9] * 4 + [1] * 3, []),  # four steps are too few
    ([1] * 3 + [9] * 5 + [1] * 3, [(3, 8)]),
    ([9] * 6 + [1] * 2 + [9] * 5, [(0, 6), (8, 13)]),  # up to either end
    ([3] * 9, []),  # not above the highest usual ones
])  # fmt: skip
def test_abnormal_is_a_stretch_above_almost_all_usual_losses(losses, stretches):
    assert episodes.abnormal(losses, [1, 2, 3] * 100) == stretches


def test_one_high_loss_in_a_hundred_is_usual():
    usual = [1] * 995 + [50] * 5
    assert episodes.abnormal([2] * 6, usual) == [(0, 6)]


def test_every_step_of_the_shown_episode_is_drawn_and_abnormal_ones_shaded(study):
    entry = catalogue.ENTRIES['figure_S3']
    found = entry.of(study)
    shown = list(dict.fromkeys(spec.task for spec in found.specs))
    panels = np.reshape(entry.make(found).axes, (3, 2))
    for column, task in zip(panels.T, shown, strict=True):
        for axes, quantity in zip(column, ('reward', 'wm_loss', 'recon_loss'), strict=True):
            for agent in agents.group('compared'):
                steps = found.of([task], 'task').episode(agent)
                drawn = [x.get_xydata() for x in axes.lines if x.get_color() == agents.get(agent).color]
                np.testing.assert_allclose(drawn[0], steps[['step', quantity]])
                smooth = steps[quantity].rolling(episodes.SMOOTH, min_periods=1, center=True).mean()
                np.testing.assert_allclose(drawn[1], np.stack([steps.step, smooth], 1))
            spans = [x.get_bbox() for x in axes.patches if isinstance(x, Rectangle)]
            assert [(span.x0, span.x1) for span in spans] == [(10, 16), (10, 16)]  # Passive and Tandem


def test_pictures_are_those_seen_and_decoded_with_the_shown_step_framed(study):
    entry = catalogue.ENTRIES['figure_S4']
    figure = entry.make(entry.of(study))
    seen, decoded, difference = np.reshape(figure.axes, (3, 9))
    assert seen[0].get_ylabel() == 'breakout-vision\nseen'
    for i in range(9):
        assert (seen[i].images[0].get_array() == 10 * i).all()
        assert (decoded[i].images[0].get_array() == 10 * i + 1).all()
        assert (difference[i].images[0].get_array() == 1).all()
        assert seen[i].images[0].get_array().shape == (32, 32, 3)
        assert seen[i].get_title() == f'step {20 + i}'
        assert seen[i].spines['top'].get_visible() == (i == 4)


def test_without_the_baseline_nothing_is_called_abnormal(study):
    traces = study.traces[study.traces.agent != 'active']
    entry = catalogue.ENTRIES['figure_S3']
    figure = entry.make(entry.of(dataclasses.replace(study, traces=traces)))
    assert not any(axes.patches for axes in figure.axes)
