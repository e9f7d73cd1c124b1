"""Interactive parts: what they show at first needs no agent; what they show then follows their controls."""

import dataclasses
import sys
import types

import numpy as np
import pandas as pd
import pytest

from paper_lib import explore
from paper_lib.contract import agents
from paper_lib.contract.errors import UserError
from paper_lib.explore import controls, parts, weights
from paper_lib.explore.controls import Interactive, slider
from paper_lib.study import book, paths, plan, scales

OF = {'maze': '1_toy_maze', 'episode': '2_validation', 'steps': '3_deep_dive', 'threshold': '4_remedies',
      'final': '5_ablations', 'measure': '6_offline_measure'}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))


@pytest.fixture
def opened(make_store):
    def make(name, full=True):
        values = {'scale': 'smoke', 'train': 'no'}
        found = book.open(OF[name], values, make_store([]))
        found = book.open(OF[name], values, make_store(found.specs if full else []))
        found.archive()
        return found

    return make


def test_there_is_one_for_every_notebook():
    assert sorted(OF) == sorted(explore.__all__)


@pytest.mark.parametrize('name', OF)
def test_begins_with_a_picture_from_the_archive_alone(name, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, 'paper_lib.explore.play', None)  # no agent is played
    found = getattr(explore, name)(opened(name))
    shown = found._repr_mimebundle_()
    assert ('<table class="claims">' if name == 'final' else 'data:image/png;base64') in shown['text/html']
    assert 'application/vnd.jupyter.widget-view+json' in shown
    assert getattr(explore, name)(opened(name)).first == found.first
    if name == 'episode':  # the controls name the agent that is shown
        agent, task = found.controls['agent'].value, found.controls['task'].value
        assert f'{agents.get(agent).label} on {task}: archived' in found.first
    if name == 'maze':
        assert [found.controls[axis].value for axis in 'xy'] == pytest.approx([-0.2, 0.2])


@pytest.mark.parametrize('name', OF)
def test_says_what_is_missing_where_there_is_nothing(name, opened):
    found = getattr(explore, name)(opened(name, full=False))
    assert 'no pair to test yet' in found.first if name == 'final' else found.first.startswith('<p>no archived')


@pytest.mark.parametrize('name', ['maze', 'episode'])
def test_a_touch_without_weights_says_so_in_one_line(name, opened):
    found = getattr(explore, name)(opened(name))
    live = found.live()
    found.controls['step'].value = 3
    assert live.children[-1].value.startswith('<p>')
    assert 'no weights at scale smoke; `paper-lib export --scale smoke`' in live.children[-1].value


def test_tasks_with_weights_are_offered(opened):
    study = opened('episode')
    spec = next(spec for spec in study.specs if spec.task == 'window-open-proprio')
    assert len(explore.episode(study).controls['task'].options) == 3
    paths.write(weights.path(spec, 'smoke'), b'')
    assert explore.episode(study).controls['task'].options == ('window-open-proprio',)


def test_a_start_inside_a_wall_is_refused(opened):
    found = explore.maze(opened('maze'))
    found.controls['x'].value = found.controls['y'].value = 0.0
    assert 'x=0.00, y=0.00: this is inside a wall' in found.again()


def test_controls_decide_what_is_drawn():
    def draw(value):
        if value > 2:
            raise UserError('value: <3 & so on')
        return f'<b>{value}</b>'

    found = Interactive('first', draw, {'value': slider(1, 0, 5)})
    live = found.live()
    assert live.children[-1].value == 'first'
    shown = []
    live.children[-1].observe(lambda change: shown.append(change['new']), 'value')
    found.controls['value'].value = 2
    assert shown == [controls.COMPUTING, '<b>2</b>']  # the old drawing never stands below the new value
    found.controls['value'].value = 3
    assert live.children[-1].value == '<p>value: &lt;3 &amp; so on</p>'


def test_would_collect_where_the_schedule_and_the_ratio_say_so():
    """Of the evaluations at 2000, 4000 and 6000 steps the last is the end, where nothing is collected any more."""
    auto = plan.make('passive_auto', 'breakout-vision', 0, scales.get('smoke'))
    metrics = pd.DataFrame({'env_step': [2000, 4000, 6000], 'ood_ratio': [1.2, 1.5, 2.0]})
    due, percent = parts.would_collect(metrics, auto, 1.35)
    assert due.tolist() == [False, True, False]
    assert percent == pytest.approx(100 * 200 / 6000)
    assert parts.would_collect(metrics, auto, 1.0)[0].tolist() == [True, True, False]
    assert parts.would_collect(metrics.assign(ood_ratio=np.nan), auto, 1.0)[1] == 0


def test_thresholds_begin_with_a_pair_that_is_there(opened):
    """The first task has no run of the lowest seed, another has."""
    found = opened('threshold').frames(parts._entry('study', 'passive', 'passive_auto'))
    task, scale = found.metrics.task.iloc[0], scales.get('smoke')
    metrics = found.metrics.assign(pair_seed=found.metrics.pair_seed + (found.metrics.task == task))
    more = [plan.make(agent, task, 1, scale) for agent in ('passive', 'passive_auto')]
    found = dataclasses.replace(found, metrics=metrics, specs=(*found.specs, *more))
    drawn = explore.threshold(types.SimpleNamespace(scale='smoke', frames=lambda entry: found))
    assert f'Passive on {task}, pair seed 1' in drawn.first and drawn.again() == drawn.first


def test_a_touch_without_a_package_says_so_in_one_line():
    def draw(x):
        import not_there  # noqa: F401

    assert Interactive('', draw, {'x': slider(0, 0, 1)}).again().startswith('<p>this needs the package not_there: pip')


def test_other_thresholds_are_drawn(opened):
    found = explore.threshold(opened('threshold'))
    found.controls['threshold'].value = 3.0
    assert 'at 3 it would have collected 0 times, 0.0 %' in found.again()
