"""Estimates from a spec alone, beside what XLA counts and what a run takes."""

import dataclasses

import pytest
import smoke

from paper_lib.contract import tasks
from paper_lib.engine import estimate
from paper_lib.run import cost
from paper_lib.study import plan, scales

LAPTOP, PAPER = scales.get('laptop'), scales.get('paper')
# Counted by XLA (README, Speed): GFLOP of an update, plain and exploring.
COUNTED = [
    (plan.make('active', 'point_mass_maze-proprio', 0, LAPTOP, 'toy_maze'), 0.43, 0.81),
    (plan.make('active', 'walker_walk-proprio', 0, LAPTOP, 'base_agent'), 5.1, None),
    (plan.make('active', 'cup_catch-proprio', 40, LAPTOP, 'study'), 1.4, 2.9),
    (plan.make('active', 'breakout-vision', 0, LAPTOP, 'study'), 2.6, 5.7),
    (plan.make('active', 'walker_walk-proprio', 0, PAPER, 'study'), 742, None),
    (plan.make('active', 'walker_walk-vision', 0, PAPER, 'study'), 1060, None),
    (plan.make('active', 'point_mass_maze-proprio', 0, PAPER, 'toy_maze'), None, 2419),
]


@pytest.mark.parametrize('spec, plain, exploring', COUNTED, ids=lambda value: getattr(value, 'task', ''))
def test_operations_of_an_update_are_those_that_are_counted(spec, plain, exploring):
    """Norms and activations, which the estimate leaves out, are a third of the smallest model."""
    task = tasks.get(spec.task)
    side = task.image if task.has_image else 0
    for explores, counted in ((False, plain), (True, exploring)):
        if counted:
            assert estimate.operations(spec.model, explores, side) / 1e9 == pytest.approx(counted, rel=0.35)


@pytest.mark.parametrize('agent', ['active', 'passive'])
@pytest.mark.parametrize('chapter, task', [('toy_maze', 'point_mass_maze-proprio'), ('study', 'breakout-vision')])
def test_a_run_does_not_need_more_disk_than_estimated(agent, chapter, task):
    spec = plan.make(agent, task, 0, PAPER, chapter)
    finished = cost.disk(spec).finished
    assert finished <= estimate.disk(spec) < 4 * finished


def test_seconds_follow_from_updates_and_from_how_fast_the_machine_is():
    slow = dataclasses.replace(estimate.CORE, teraflops=estimate.CORE.teraflops / 10)
    longer = dataclasses.replace(smoke.ACTIVE, budget=2 * smoke.ACTIVE.budget)
    assert estimate.seconds(smoke.ACTIVE, estimate.CORE) < estimate.seconds(smoke.ACTIVE, slow)
    assert estimate.seconds(longer, slow) == pytest.approx(2 * estimate.seconds(smoke.ACTIVE, slow), rel=0.1)
    assert estimate.seconds(smoke.EXPLORER, slow) > estimate.seconds(smoke.ACTIVE, slow)


def test_lanes_need_more_memory():
    for machine in (estimate.CORE, estimate.GPU):
        assert estimate.memory(smoke.ACTIVE, 8, machine) > estimate.memory(smoke.ACTIVE, 1, machine)
