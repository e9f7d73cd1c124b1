"""Checks that a suite does what runs rely on."""

import numpy as np

from paper_lib import envs
from paper_lib.contract.errors import UserError


def check_reproducible(task_id: str, steps: int = 200, **options) -> None:
    """Play an episode of a task twice, once after another episode, with equal random actions for so many steps.

    Raises UserError, one line, that names the first difference. There must be none, see `envs.Env`: a run that is
    resumed plays an episode again, and runs that are compared are evaluated on equal episodes.
    """
    fresh, used = envs.make(task_id, 0, **options), envs.make(task_id, 0, **options)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, fresh.spaces.action))
    _play(used, 0, actions[::-1])
    for step, (one, other) in enumerate(zip(_play(fresh, 1, actions), _play(used, 1, actions))):
        for key, value in one.items():
            if np.asarray(value).tobytes() != np.asarray(other[key]).tobytes():
                raise UserError(f'task={task_id!r}: is not reproducible: {key!r} differs at step {step} of an episode '
                                'that follows another one; its reset must leave nothing behind')  # fmt: skip


def _play(env, episode, actions) -> list[dict]:
    """The records of an episode, up to its end or for all actions."""
    env.episode = episode
    records = [env.step({'action': None, 'reset': True})]
    for action in actions:
        if records[-1]['is_last']:
            break
        records.append(env.step({'action': action, 'reset': False}))
    return records
