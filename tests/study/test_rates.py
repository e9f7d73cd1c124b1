"""Hours of runs, from the training times of archived ones."""

import types

import pytest

from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive, paths, plan, rates, scales

SMOKE = scales.get('smoke')
SECONDS = {'active': 100, 'active_expl': 300}
CUP, WINDOW = 'cup_catch-proprio', 'window-open-proprio'


def specs(task, *names):
    return [plan.make(name, task, 0, SMOKE, 'study') for name in names]


@pytest.fixture
def measured(tmp_path, monkeypatch, make_store):
    """Of the cup Active took 100 seconds and the explorer 300."""
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))

    def require(self, spec):
        return types.SimpleNamespace(provenance=lambda: {'seconds': SECONDS[spec.agent]})

    monkeypatch.setattr(make_store, 'require', require)
    archived = specs(CUP, *SECONDS)
    archive.add(archived, make_store(archived), paths.archive('smoke'), 'study')
    return rates.measured(SMOKE)


def test_a_run_takes_as_long_as_archived_runs_of_its_kind(measured):
    assert rates.hours(specs(CUP, 'active', 'passive', 'active_expl'), measured) == pytest.approx(500 / 3600)


def test_hours_grow_with_the_budget(measured):
    longer = plan.make('active', CUP, 0, SMOKE, 'study', budget=12_000)
    assert rates.hours([longer], measured) == pytest.approx(200 / 3600)


def test_another_task_takes_as_long_with_the_same_program(measured):
    assert rates.hours(specs(WINDOW, 'active', 'active_expl'), measured) == pytest.approx(400 / 3600)


def test_an_explorer_that_was_not_measured_costs_as_many_times_more_as_others(measured):
    plain = {kind: rate for kind, rate in measured.items() if not kind.explores}
    other = plan.make('active', CUP, 0, SMOKE, 'study', ratio=0.2)
    known = measured | {next(iter(plain))._replace(program=rates._kind(other.canonical()).program): 0.5}
    explorer = plan.make('active_expl', CUP, 0, SMOKE, 'study', ratio=0.2)
    assert rates.hours([explorer], known) == pytest.approx(3 * 0.5 * explorer.budget / 3600)


def test_nothing_is_said_of_runs_that_nothing_like_was_measured(measured):
    assert rates.hours([*specs(CUP, 'active'), RunSpec(CUP)], measured) is None
    assert rates.hours([], {}) == 0
