"""What can be said of a task without an agent: the score of the uniform random policy, and what the task looks like.

`paper-lib reference` writes both to paper_lib/study, where the figures find them.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.run.rollout import uniform_action

SEED = 0
STEPS = 25  # of the random policy before a picture, fewer where the episode ends


def random_scores(task_ids: Iterable[str], episodes: int) -> Iterator[dict]:
    """For every task, its id, mean and standard deviation of the scores of so many episodes, and their number.

    Ten times as many episodes are played where a suite says that they are short.

    The tasks that differ only in what is observed have the same dynamics, so one measurement serves both.
    """
    scores = {}
    for task in map(tasks.get, task_ids):
        if task.short not in scores:
            env, rng = envs.make(task.id, SEED), np.random.default_rng(SEED)
            count = episodes * (10 if tasks.suite_of(task).short_episodes else 1)
            scores[task.short] = [sum(float(step['reward']) for step in play(env, rng)) for _ in range(count)]
        found = scores[task.short]
        yield {'task': task.id, 'mean': f'{np.mean(found):.3f}', 'std': f'{np.std(found):.3f}', 'episodes': len(found)}


def play(env: envs.Env, rng: np.random.Generator) -> Iterator[dict]:
    """The steps of the next episode of an environment under the uniform random policy."""
    yield (step := env.step({'action': None, 'reset': True}))
    while not step['is_last']:
        yield (step := env.step({'action': uniform_action(rng, env.spaces, 1)[0], 'reset': False}))


def pictures(task_ids: Iterable[str]) -> dict[str, np.ndarray]:
    """A picture (H, W, 3) of each task by `Task.short`: after a second or less of the random policy."""
    found = {}
    for task in {task.short: task for task in map(tasks.get, task_ids)}.values():
        drawn = dataclasses.replace(task, obs='vision')
        env = envs.build(drawn, SEED, **({'render': 'suite'} if drawn.rendered else {}))
        steps = zip(range(STEPS + 1), play(env, np.random.default_rng(SEED)))
        found[task.short] = [step['image'] for _, step in steps][-1]
    return found
