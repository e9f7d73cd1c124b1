"""Quantities that take several runs: when they are computed, where they stand, and when they are lost."""

import types

import pandas as pd
import pytest

from paper_lib.contract import agents, quantities
from paper_lib.explore import across, models
from paper_lib.explore.across import ARCHIVED, COMPUTED, LACKING
from paper_lib.study import archive, book, merge, offline, paths, plan, scales

NAMES = quantities.recorded(quantities.ACROSS)
SPECS = [
    spec
    for spec in plan.specs('study', scales.get('smoke'), 2)
    if spec.agent in agents.group('compared') and spec.task == 'cup_catch-proprio'
]
FIRST, SECOND = across.pairs(SPECS)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    return paths.archive('smoke')


@pytest.fixture
def calls(monkeypatch):
    """What was computed. The values are 1, 2 and 3 for the agents of a pair, and ten times that the next time."""
    made = []

    def measure(specs, arrays, replay):
        assert list(arrays) == [f'weights of {spec.run_id}' for spec in specs]
        made.append(replay)
        factor = 10 ** (len(made) - 1)
        return [dict.fromkeys([*NAMES, 'surprise'], factor * (1.0 + number)) for number in range(len(specs))]

    monkeypatch.setattr(models, 'measure', measure)
    monkeypatch.setattr(models, 'origin', lambda: {'code': 'aaa'})
    return made


@pytest.fixture
def store_of(make_store):
    """Stores of these finished runs, with weights and, unless `dropped`, replays."""

    def make(specs, version='1', dropped=False):
        store = make_store(specs)
        store.require = lambda spec: types.SimpleNamespace(
            provenance=lambda: {}, files={'weights.npz': {'sha256': version}}, is_dropped=lambda: dropped
        )
        store.weights = lambda spec: f'weights of {spec.run_id}'
        store.replay = lambda spec: f'replay of {spec.run_id}'
        return store

    return make


@pytest.fixture
def filled(folder, store_of, calls):
    """An archive with the values of the first pair."""
    store = store_of(FIRST)
    archive.add(SPECS, store, folder, 'study')
    assert [row['state'] for row in across.add(SPECS, store, 'smoke')] == [COMPUTED, LACKING]
    return folder


def values(folder):
    """The first value of every run that has one."""
    metrics = archive.load(SPECS, folder, 'study').metrics
    return metrics.set_index('run_id')[NAMES[0]].dropna().to_dict()


def of_first(factor):
    return {spec.run_id: factor * (1.0 + number) for number, spec in enumerate(FIRST)}


def states(store):
    return [row['state'] for row in across.add(SPECS, store, 'smoke')]


def test_a_pair_is_computed_once_and_stands_in_the_last_row_of_its_runs(filled, calls, store_of):
    source = next(spec for spec in FIRST if not spec.source)
    assert calls == [f'replay of {source.run_id}']
    assert states(store_of(FIRST)) == states(store_of([])) == [ARCHIVED, LACKING]
    assert len(calls) == 1 and values(filled) == of_first(1)
    metrics = archive.load(SPECS, filled, 'study').metrics
    assert (metrics.env_step[metrics[NAMES[0]].notna()] == metrics.env_step.max()).all()
    tested = offline.of_measured_runs(archive.load(SPECS, filled, 'study', scale='smoke'))
    assert (tested[NAMES].notna().sum() == 3).all()


def test_other_weights_are_computed_again(filled, calls, store_of):
    assert states(store_of(FIRST, version='2')) == [COMPUTED, LACKING]
    assert values(filled) == of_first(10)


@pytest.mark.parametrize('missing', [0, 1, 2])
def test_a_pair_waits_for_all_its_runs(missing, filled, calls, store_of):
    finished = SECOND[:missing] + SECOND[missing + 1 :]
    archive.add(SPECS, store_of(finished), filled, 'study')
    assert states(store_of(SECOND)) == [ARCHIVED, LACKING]  # one is not archived
    archive.add(SPECS, store_of(SECOND), filled, 'study')
    assert states(store_of(finished)) == [ARCHIVED, LACKING]  # of one there are no weights
    assert states(store_of(SECOND, dropped=True)) == [ARCHIVED, LACKING]
    assert states(store_of(SECOND)) == [ARCHIVED, COMPUTED]
    assert len(values(filled)) == 6


def test_copying_runs_again_keeps_values_unless_a_run_recorded_other_data(filled, store_of):
    archive.add(SPECS, store_of(SPECS), filled, 'study')
    assert values(filled) == of_first(1)
    again = store_of(SPECS)
    metrics = again.metrics
    again.metrics = lambda spec: metrics(spec).assign(score=7.0)
    assert archive.add(SPECS, again, filled, 'study') == {}
    assert values(filled) == {}


def test_values_go_where_one_of_the_models_was_trained_again(filled, store_of):
    """The recording and what learned from it stay."""
    (again,) = [spec for spec in FIRST if spec.agent == 'passive']
    store = store_of(SPECS)
    metrics = store.metrics
    store.metrics = lambda spec: metrics(spec).assign(**{'score': 7.0} if spec == again else {})
    assert archive.add(SPECS, store, filled, 'study') == {}
    assert values(filled) == {}


def test_values_go_with_any_run_that_is_planned_otherwise_now(filled, store_of):
    spec = FIRST[2]
    retuned = plan.make(spec.agent, spec.task, spec.pair_seed, scales.get('smoke'), 'study', ratio=0.05)
    assert list(archive.add([retuned], store_of([]), filled, 'study')) == [spec.run_id]
    assert values(filled) == {}


def test_values_are_merged_with_the_runs_of_an_archive(filled, store_of, tmp_path):
    merge.add(SPECS, [merge.of_archive(SPECS, filled, 'study')], tmp_path / 'merged', 'study')
    assert values(tmp_path / 'merged') == of_first(1)
    assert 'across' not in merge.of_store(SPECS, store_of(FIRST), 'study')


def test_a_quantity_across_runs_is_one_row(filled, calls, store_of, monkeypatch):
    """It is NaN in archives written before, and is computed where the runs are."""
    row = quantities.Quantity('surprise', 'surprise', per=(quantities.ACROSS,))
    monkeypatch.setitem(quantities.QUANTITIES, row.name, row)
    assert archive.load(SPECS, filled, 'study').metrics.surprise.isna().all()
    assert states(store_of(FIRST)) == [COMPUTED, LACKING]
    metrics = archive.load(SPECS, filled, 'study').metrics
    assert sorted(metrics.surprise.dropna()) == [10, 20, 30]


def test_a_notebook_shows_the_state_of_every_pair(filled, store_of):
    opened = book.open('6_offline_measure', {'scale': 'smoke', 'train': 'no'}, store_of([]))
    shown = across.show(opened)
    assert shown.loc['cup_catch-proprio', 0] == ARCHIVED and isinstance(shown, pd.DataFrame)
