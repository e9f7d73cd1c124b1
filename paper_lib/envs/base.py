"""The interface of every environment: one dict in, one dict out."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Spaces:
    """The shapes of observations and actions.

    An agent observes `vector`, `image` or both.
    """

    vector: tuple[int, ...]  # sizes of the parts of the vector, in the suite's order; () for an image alone
    image: tuple[int, int, int] | None  # (height, width, channels); None for vectors alone
    action: int  # A
    discrete: bool = False  # actions are one-hot (A,), else continuous in [-1, 1]^A
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

    def __init__(self, simulator: Any, repeat: int, limit: int, seed: int | tuple[int, ...]):
        """`repeat` is in control steps per agent step, `limit` in agent steps per episode; seeds are not negative."""
        self.spaces = simulator.spaces
        self.episode = 0
        self._simulator = simulator
        self._repeat = repeat
        self._limit = limit
        self._seed = seed
        self._left = 0  # agent steps until the end of the episode

    def step(self, action: dict) -> dict:
        """Take {'action': (A,), 'reset': bool}; a reset starts the next episode and ignores the action.

        Returns `vector`, `image` or both, `reward` (float32, summed over the action repeat),
        `is_first`, `is_last`, `is_terminal`. The time limit ends an episode without making
        it terminal. Raises ValueError for an action of another shape or not finite,
        RuntimeError after `is_last`.
        """
        if action['reset']:
            return self._reset()
        if not self._left:
            raise RuntimeError('the episode is over or none has begun: step with reset=True first')
        return self._advance(self._decode(action['action']))

    def _reset(self):
        self._simulator.reset(np.random.SeedSequence(self._seed, spawn_key=(self.episode,)))
        self.episode += 1
        self._left = self._limit
        return self._record(0.0, is_first=True)

    def _advance(self, action):
        total = 0.0
        for _ in range(self._repeat):
            reward, last, terminal = self._simulator.act(action)
            total += reward
            if last:
                break
        self._left = 0 if last else self._left - 1
        return self._record(total, is_last=not self._left, is_terminal=bool(terminal))

    def _decode(self, action):
        action = np.asarray(action, np.float64)
        if action.shape != (self.spaces.action,):
            raise ValueError(f'action has shape {action.shape}, expected {(self.spaces.action,)}')
        if not np.isfinite(action).all():  # MuJoCo would silently reset itself
            raise ValueError(f'action is not finite: {action}')
        return int(action.argmax()) if self.spaces.discrete else action.clip(-1.0, 1.0)

    def _record(self, reward, is_first=False, is_last=False, is_terminal=False):
        flags = {'is_first': is_first, 'is_last': is_last, 'is_terminal': is_terminal}
        return self._simulator.observe() | {'reward': np.float32(reward)} | flags
