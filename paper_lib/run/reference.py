"""References of a task that need no agent: scores of the uniform random policy, and a picture of the task.

`paper-lib reference` writes both to paper_lib/study, from where figures read them.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.run.rollout import uniform_action

SEED = 0
STEPS = 25  # steps of the random policy before a picture; there are fewer if the episode ends before


def random_scores(task_ids: Iterable[str], episodes: int) -> Iterator[dict]:
    """For every task: its id, mean and standard deviation of the scores, and the number of episodes.

    Suites with short episodes play ten times as many. Tasks that differ only in the kind of
    observation have the same dynamics, so that they share one measurement.
    """
    scores = {}
    for task in map(tasks.get, task_ids):
        if task.short not in scores:
            factor = 10 if tasks.suite_of(task).short_episodes else 1
            scores[task.short] = _scores(task, episodes * factor)
        values = scores[task.short]
        yield {'task': task.id, 'mean': float(np.mean(values)), 'std': float(np.std(values)), 'episodes': len(values)}


def _scores(task: tasks.Task, episodes: int) -> list[float]:
    """Scores of `episodes` episodes of the uniform random policy."""
    env = envs.make(task.id, SEED)
    rng = np.random.default_rng(SEED)
    scores = []
    for _ in range(episodes):
        scores.append(sum(float(step['reward']) for step in play(env, rng)))
    return scores


def play(env: envs.Env, rng: np.random.Generator) -> Iterator[dict]:
    """The steps of the next episode of an environment under the uniform random policy."""
    step = env.step({'action': None, 'reset': True})
    yield step
    while not step['is_last']:
        action = uniform_action(rng, env.spaces, 1)[0]
        step = env.step({'action': action, 'reset': False})
        yield step


def pictures(task_ids: Iterable[str]) -> dict[str, np.ndarray]:
    """A picture (H, W, 3) of each task by `Task.short`, after at most STEPS steps of the random policy."""
    by_short = {task.short: task for task in map(tasks.get, task_ids)}
    images = {}
    for short, task in by_short.items():
        with_images = dataclasses.replace(task, obs='vision')
        options = {'render': 'suite'} if with_images.rendered else {}
        env = envs.build(with_images, SEED, **options)
        for _, step in zip(range(STEPS + 1), play(env, np.random.default_rng(SEED))):
            images[short] = step['image']
    return images
