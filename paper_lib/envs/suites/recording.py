"""Tasks of which nothing is known but a recording: `recording:v24-a6-l1000`. Their environment cannot be stepped.

The id says what one step of the recording holds: a vector of 24 numbers, 6 continuous actions (`d6`: 6 discrete
ones), and at most 1,000 agent steps in an episode. Agents learn from a recording of such a task, and their
evaluations have only what needs no environment.
"""

import re

import numpy as np

from paper_lib.contract.errors import UserError
from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs.base import Spaces

PREFIX = 'recording:'
ID = re.compile(r'v([1-9]\d{0,4})-([ad])([1-9]\d{0,3})-l([1-9]\d{0,6})')


def name(vector: int, actions: int, discrete: bool, limit: int) -> str:
    """The id of the task with these spaces and with episodes of at most `limit` agent steps."""
    return f'{PREFIX}v{vector}-{"d" if discrete else "a"}{actions}-l{limit}'


class Simulator:
    """What `base.Env` asks of a simulator before the first step; there is no step."""

    def __init__(self, task: Task):
        vector, kind, actions, _ = ID.fullmatch(task.name).groups()
        self.spaces = Spaces((int(vector),), None, int(actions), kind == 'd')
        self._id = task.id

    def reset(self, seeds: np.random.SeedSequence) -> None:
        raise UserError(f'task={self._id!r}: is only known from a recording, and has no environment to step')


def find(task_id: str) -> Task | None:
    """The task `recording:...`; None for another id. Raises UserError for one that says no spaces."""
    if not task_id.startswith(PREFIX):
        return None
    found = ID.fullmatch(task_id.removeprefix(PREFIX))
    if not found:
        raise UserError(f'task={task_id!r}: must be like {name(24, 6, False, 1000)}')
    return Task(task_id, 'recording', found.group(), 'proprio', repeat=1, limit=int(found[4]))


register(Suite('recording', Simulator, find=find, playable=False))
