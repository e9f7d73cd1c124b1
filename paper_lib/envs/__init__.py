"""Environments: one interface for all suites. A simulator's package is imported when one of its tasks is made."""

import functools
import importlib

import numpy as np

from paper_lib import machine
from paper_lib.contract import tasks
from paper_lib.envs import packages, remote
from paper_lib.envs.base import Env, Spaces

__all__ = ['Batch', 'Env', 'Spaces', 'build', 'make']


def make(task_id: str, seed: int | tuple[int, ...], **options) -> Env:
    """One environment of a task. The seed s means the same as (s, 0); options are the simulator's own.

    Raises UserError, one line, for an unknown task and for what is missing on this machine.
    """
    return build(tasks.get(task_id), seed, **options)


def build(task: tasks.Task, seed: int | tuple[int, ...], **options) -> Env:
    """As `make`, of a task that its suite need not list: every one that MuJoCo simulates can also be drawn."""
    suite = tasks.suite_of(task)
    packages.load(suite.packages)
    return Env(suite.simulator(task, **options), task.repeat, task.limit, seed)


def drawn_by(task_id: str, **options) -> str:
    """What draws the pictures of a rendered task here: they may differ in their last bits elsewhere."""
    make(task_id, 0, **options)
    return importlib.import_module('paper_lib.envs.render').device()


class Batch:
    """Environments of one task, one for every seed; seeds and options as in `make`.

    They are stepped in order in this process. Those that are rendered are shared out over the cores that it may use:
    a script that makes them needs `if __name__ == '__main__':`, as always with processes that are spawned.
    """

    def __init__(self, task_id: str, seeds: list[int | tuple[int, ...]], **options):
        processes = min(len(seeds), len(machine.cores())) if tasks.get(task_id).rendered else 1
        calls = [functools.partial(make, task_id, seed, **options) for seed in seeds]
        self.envs = remote.spread(calls, processes) if processes > 1 else [call() for call in calls]
        self.spaces = self.envs[0].spaces

    @property
    def episodes(self) -> list[int]:
        """Index of the next episode of each environment; may be set."""
        return [env.episode for env in self.envs]

    @episodes.setter
    def episodes(self, values):
        for env, value in zip(self.envs, values, strict=True):
            env.episode = int(value)

    def step(self, action: dict) -> dict:
        """As Env.step with a leading axis n everywhere: {'action': (n, A), 'reset': (n,) bool}."""
        if not len(action['action']) == len(action['reset']) == len(self.envs):
            raise ValueError(f'action and reset have lengths {len(action["action"])} and {len(action["reset"])}, '
                             f'expected {len(self.envs)}')  # fmt: skip
        actions = [{'action': a, 'reset': r} for a, r in zip(action['action'], action['reset'], strict=True)]
        if isinstance(self.envs[0], remote.Remote):
            steps = remote.call(self.envs, Env.step, [(own,) for own in actions])
        else:
            steps = [env.step(own) for env, own in zip(self.envs, actions, strict=True)]
        return {key: np.array([step[key] for step in steps]) for key in steps[0]}
