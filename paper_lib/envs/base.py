"""The interface of every environment: one dict in, one dict out."""

import dataclasses
from typing import Any

import numpy as np

from paper_lib.contract.errors import UserError
from paper_lib.contract.tasks import Task

LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Spaces:
    """The shapes of observations and actions.

    An agent observes `vector`, `image` or both.
    """

    vector: tuple[int, ...]  # sizes of the parts of the vector, in the suite's order; () for an image alone
    image: tuple[int, int, int] | None  # (height, width, channels); None for vectors alone
    action: int  # A
    discrete: bool = False  # actions are one-hot (A,), else continuous in [-1, 1]^A
    start: int = 0  # what the environment itself calls the first discrete action
    place: int = 0  # size of a position that is recorded beside images; no agent sees it


class Env:
    """One environment around a simulator, which offers

        spaces                                        a Spaces
        reset(seeds: np.random.SeedSequence)          start an episode; all its randomness comes from `seeds`
        act(action) -> (reward, is_last, is_terminal) one control step; float64 (A,) in [-1, 1], or an int
        observe() -> dict                             `vector` float32 (D,), `image` uint8 (H, W, C), or both;
                                                      also `place` float32 if the spaces have one

    `episode` is the index of the NEXT episode, and may be set. An episode is a function of
    (seed, index) and the actions alone: a reset and the same actions lead back to any point
    of it, bit for bit.
    """

    def __init__(self, simulator: Any, task: Task, seed: int | tuple[int, ...]):
        """Of the task, its id, its repeat and its limit count; seeds are not negative."""
        self.spaces = simulator.spaces
        self.episode = 0
        self._simulator = simulator
        self._task = task
        self._seed = seed
        self._steps = 0  # agent steps of this episode
        self._over = True

    def step(self, action: dict) -> dict:
        """Take {'action': (A,), 'reset': bool}; a reset starts the next episode and ignores the action.

        Returns `vector`, `image` or both, `reward` (float32, summed over the action repeat),
        `is_first`, `is_last`, `is_terminal`. The time limit ends an episode without making
        it terminal. Raises ValueError for an action of another shape or not finite,
        RuntimeError after `is_last`, and UserError, one line, for a reward or an observation that
        is not finite and for a vector of another length than its spaces have.
        """
        if action['reset']:
            return self._reset()
        if self._over:
            raise RuntimeError('the episode is over or none has begun: step with reset=True first')
        return self._advance(self._decode(action['action']))

    def _reset(self):
        self._simulator.reset(np.random.SeedSequence(self._seed, spawn_key=(self.episode,)))
        self.episode += 1
        self._steps = 0
        self._over = False
        return self._record(0.0, is_first=True)

    def _advance(self, action):
        total = 0.0
        for _ in range(self._task.repeat):
            reward, last, terminal = self._simulator.act(action)
            total += reward
            if last:
                break
        self._steps += 1
        self._over = bool(last) or self._steps == self._task.limit
        return self._record(total, is_last=self._over, is_terminal=bool(terminal))

    def _decode(self, action):
        action = np.asarray(action, np.float64)
        if action.shape != (self.spaces.action,):
            raise ValueError(f'action has shape {action.shape}, expected {(self.spaces.action,)}')
        if not np.isfinite(action).all():  # MuJoCo would silently reset itself
            raise ValueError(f'action is not finite: {action}')
        return int(action.argmax()) if self.spaces.discrete else action.clip(-1.0, 1.0)

    def _record(self, reward, is_first=False, is_last=False, is_terminal=False):
        flags = {'is_first': is_first, 'is_last': is_last, 'is_terminal': is_terminal}
        seen = self._simulator.observe()
        self._check(seen, reward)
        return seen | {'reward': np.float32(reward)} | flags

    def _check(self, seen, reward):
        """Raise UserError for what no agent can learn from, before anything does."""
        if not abs(reward) <= LARGEST:
            raise self._error(f'its reward is {reward} at step', 'it must be finite')
        for values in seen.values():
            if values.dtype.kind == 'f' and not (finite := np.isfinite(values)).all():
                raise self._error(f'its observation is {values[~finite][0]} at step', 'it must be finite')
        if 'vector' in seen and len(seen['vector']) != (size := sum(self.spaces.vector)):
            raise self._error(f'observes {len(seen["vector"])} numbers at step', f'its observation space has {size}')

    def _error(self, what, wanted):
        return UserError(f'task={self._task.id!r}: {what} {self._steps} of an episode; {wanted}')
