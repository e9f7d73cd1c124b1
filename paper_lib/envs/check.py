"""Checks that the episodes of a suite can be repeated, as runs rely on."""

from typing import Any

import numpy as np

from paper_lib import envs
from paper_lib.contract.errors import UserError


def check_reproducible(task_id: str, steps: int = 200, **options: Any) -> None:
    """Play an episode twice with the same random actions: in a new environment, and after another episode.

    Raises UserError, one line, that names the first difference. There must be none, because
    a run that is resumed plays an episode again, and runs of a pair are evaluated on
    episodes that start alike.
    """
    fresh = envs.make(task_id, 0, **options)
    used = envs.make(task_id, 0, **options)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, fresh.spaces.action))
    _play(used, 0, actions[::-1])
    for step, (one, other) in enumerate(zip(_play(fresh, 1, actions), _play(used, 1, actions))):
        for key, value in one.items():
            if np.asarray(value).tobytes() != np.asarray(other[key]).tobytes():
                what = f'{key!r} differs at step {step} of an episode that follows another one'
                advice = 'its reset must leave nothing behind'
                raise UserError(f'task={task_id!r}: is not reproducible: {what}; {advice}')


def _play(env: envs.Env, episode: int, actions: np.ndarray) -> list[dict]:
    """The steps of an episode, until it ends or the actions do."""
    env.episode = episode
    records = [env.step({'action': None, 'reset': True})]
    for action in actions:
        if records[-1]['is_last']:
            break
        records.append(env.step({'action': action, 'reset': False}))
    return records
