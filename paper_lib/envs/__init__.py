"""Environments: one interface for all suites.

A suite's packages are imported when one of its tasks is made.
"""

import functools
import importlib
from typing import Any

import numpy as np

from paper_lib import machine
from paper_lib.contract import tasks
from paper_lib.envs import packages, remote
from paper_lib.envs.base import Env, Spaces

__all__ = ['Batch', 'Env', 'Spaces', 'build', 'make']


def make(task_id: str, seed: int | tuple[int, ...], **options: Any) -> Env:
    """One environment of a task.

    The seed s means the same as (s, 0); options are those of the simulator.

    Raises UserError, one line, for an unknown task, and if a package or library is missing
    on this machine.
    """
    return build(tasks.get(task_id), seed, **options)


def build(task: tasks.Task, seed: int | tuple[int, ...], **options: Any) -> Env:
    """As `make`, for a task that its suite need not list, e.g. the vision variant of a proprio task."""
    suite = tasks.suite_of(task)
    packages.load(suite.packages)
    return Env(suite.simulator(task, **options), task, seed)


def drawn_by(task_id: str, **options: Any) -> str:
    """The renderer of a task's images on this machine.

    Another one may draw them with other last bits.
    """
    make(task_id, 0, **options)
    return importlib.import_module('paper_lib.envs.render').device()


class Batch:
    """Environments of one task, one for every seed; seeds and options as in `make`.

    They are stepped one after the other in this process. Rendered ones are distributed over
    new processes, one per core. These are spawned, so that a script that makes them needs
    `if __name__ == '__main__':`.
    """

    def __init__(self, task_id: str, seeds: list[int | tuple[int, ...]], **options: Any):
        makers = [functools.partial(make, task_id, seed, **options) for seed in seeds]
        processes = 1
        if tasks.get(task_id).rendered:
            processes = min(len(seeds), len(machine.cores()))
        if processes > 1:
            self.envs = remote.spread(makers, processes)
        else:
            self.envs = [maker() for maker in makers]
        self.spaces = self.envs[0].spaces

    @property
    def episodes(self) -> list[int]:
        """Index of the next episode of each environment; may be set."""
        return [env.episode for env in self.envs]

    @episodes.setter
    def episodes(self, values: list[int]) -> None:
        for env, value in zip(self.envs, values, strict=True):
            env.episode = int(value)

    def step(self, action: dict) -> dict:
        """As Env.step with a leading axis n everywhere: {'action': (n, A), 'reset': (n,) bool}."""
        lengths = len(action['action']), len(action['reset'])
        count = len(self.envs)
        if lengths != (count, count):
            raise ValueError(f'action and reset have lengths {lengths[0]} and {lengths[1]}, expected {count}')
        pairs = zip(action['action'], action['reset'], strict=True)
        actions = [{'action': one_action, 'reset': one_reset} for one_action, one_reset in pairs]
        if isinstance(self.envs[0], remote.Remote):
            steps = remote.call(self.envs, Env.step, [(one,) for one in actions])
        else:
            steps = [env.step(one) for env, one in zip(self.envs, actions, strict=True)]
        return {key: np.array([step[key] for step in steps]) for key in steps[0]}
