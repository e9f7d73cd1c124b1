"""What an evaluation measures: score, world-model loss, OOD ratio, value error, policy-input reconstruction."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from paper_lib.contract import quantities, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.data.sources import Source
from paper_lib.run import lanes, rollout, watch

MODEL_KEYS = watch.KEYS

Arrays = dict[str, np.ndarray]


def padded_length(task: tasks.Task, longest: int) -> int:
    """The length that episodes are padded to. Few lengths occur, so that few programs are compiled."""
    whole = task.limit + 1
    return min(whole, max(64, 1 << (longest - 1).bit_length())) if longest < whole else whole


def assess(
    function: Callable, task: tasks.Task, params: Any, groups: list[Arrays], keys: jax.Array, counter: int
) -> list[Arrays]:
    """Teacher-force episodes of every lane (dicts of (n, N, ...)): per lane a dict of (n, N, ...) host arrays.

    `function` is a program's `assess`, `decode` or `foresee`.
    """
    length = padded_length(task, max(group['valid'].shape[1] for group in groups))
    groups = [rollout.pad(group, length) for group in groups]
    batch = {key: np.stack([group[key] for group in groups]) for key in MODEL_KEYS if key in groups[0]}
    result = function(params, batch, keys, counter)
    result = {key: np.asarray(value) for key, value in result.items()}
    return [
        {key: value[lane] for key, value in result.items()} | {'valid': groups[lane]['valid']}
        for lane in range(len(groups))
    ]


def episode_means(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(n, N) per-step values -> (n,) means over the steps of each episode."""
    return (values * valid).sum(1) / valid.sum(1)


def discounted(reward: np.ndarray, gamma: float) -> np.ndarray:
    """(n, N) rewards received at steps 0..N-1 (0 at the reset) -> (n,) discounted return from the first state."""
    return (reward[:, 1:] * gamma ** np.arange(reward.shape[1] - 1)).sum(1)


def replay_episodes(spec: RunSpec, replay: Source, rows: int, index: int) -> Arrays | None:
    """Complete episodes drawn uniformly from the replay, as many as an evaluation plays; None if there are none."""
    complete = replay.episodes(rows)
    if not len(complete):
        return None
    rng = streams.rng(spec.seed, 'ood', index)
    chosen = [replay.episode(*complete[i]) for i in rng.integers(len(complete), size=spec.eval_episodes)]
    length = max(len(episode['reward']) for episode in chosen)
    chosen = [{**episode, 'valid': np.ones(len(episode['reward']), bool)} for episode in chosen]
    padded = [rollout.pad({key: value[None] for key, value in episode.items()}, length) for episode in chosen]
    return {key: np.concatenate([episode[key] for episode in padded]) for key in padded[0]}


class Evaluation:
    """Evaluates every lane of a group; the result is a function of weights, replay and index alone."""

    def __init__(self, program: lanes.Program, specs: Sequence[RunSpec], replays: Sequence[Source]):
        self.program, self.specs, self.replays = program, specs, replays
        self.task = tasks.get(specs[0].task)
        self.evaluator = rollout.Evaluator(program, specs)
        self.keys = lanes.keys(specs, 'eval_model')
        self.measures = watch.Measures(program, specs, replays) if specs[0].measures else None

    def __call__(
        self, params: Any, index: int, rows: int, pictures: bool = False, norm: Any = None
    ) -> tuple[list[dict[str, Any]], list[Arrays]]:
        """Evaluation number `index`: per lane a row of metrics, and the arrays of its episodes.

        `rows` is the number of replay rows in use. With `pictures`, the arrays of agents that see images hold
        the images of the first episode and what the world model decodes. The measures of degradation need `norm`,
        the normalisers of the task's returns.
        """
        episodes = self.evaluator.play(params, index)
        results = assess(self.program.assess, self.task, params, episodes, self.keys, 2 * index)
        drawn = [replay_episodes(spec, replay, rows, index) for spec, replay in zip(self.specs, self.replays)]
        groups = [own or played for own, played in zip(drawn, episodes)]  # a lane without any must not stop the others
        seen = assess(self.program.assess, self.task, params, groups, self.keys, 2 * index + 1) if any(drawn) else drawn
        seen = [result if own else None for own, result in zip(drawn, seen)]
        metrics = [summary(*args) for args in zip(self.specs, episodes, results, seen)]
        if self.measures:
            predicted = assess(self.program.foresee, self.task, params, episodes, self.keys, 2 * index)
            measured = self.measures(params, norm, index, rows, seen)
            for row, played, made, found in zip(metrics, episodes, predicted, measured):
                row |= watch.foreseen(played, made['reward'], made['valid']) | found
        traces = [trace(*args) for args in zip(episodes, results)]
        if pictures and 'image' in episodes[0]:
            decoded = assess(self.program.decode, self.task, params, episodes, self.keys, 2 * index)
            for own, played, made in zip(traces, episodes, decoded):
                length = played['valid'].shape[1]
                own |= {'image': played['image'][:1], 'decoded': made['decoded'][:, :length]}
        return metrics, traces


def by_episode(spec: RunSpec, episodes: Arrays, result: Arrays) -> Arrays:
    """(n,) values per episode: of what was played, and of every measure of the agent in `result`."""
    gamma = 1 - 1 / spec.model.discount_horizon
    values = {
        'score': episodes['reward'].sum(1, dtype=np.float64),
        'mc_return': discounted(episodes['reward'].astype(np.float64), gamma),
        'length': episodes['valid'].sum(1) - 1,
    }
    for name, steps in result.items():
        if name in quantities.firsts():
            values[name] = steps[:, 0]
        elif name != 'valid':
            values[name] = episode_means(steps, result['valid'])
    values['value_error'] = values['value'] - values['mc_return']
    return values


def summary(spec: RunSpec, episodes: Arrays, result: Arrays, seen: Arrays | None) -> dict[str, Any]:
    """One row of metrics: means over episodes, and the single episodes of quantities that have a value for each.

    `result` assesses the episodes, and `seen` those from the replay. Measures that are no quantity have a mean too.
    """
    values = by_episode(spec, episodes, result)
    row = {name: float(own.mean()) for name, own in values.items()}
    row['length'] = float(episodes['valid'].sum(1).mean() - 1)  # the mean of differences can be rounded otherwise
    row['wm_loss_replay'] = float(episode_means(seen['wm_loss'], seen['valid']).mean()) if seen else None
    row['ood_ratio'] = row['wm_loss'] / row['wm_loss_replay'] if seen else None
    for name in quantities.recorded(quantities.EPISODE):
        for episode, value in enumerate(values.get(name, ())):
            row[quantities.column(name, episode)] = float(value)
    return row


def trace(episodes: Arrays, result: Arrays) -> Arrays:
    """Arrays of the evaluation's episodes, (n, N, ...) each: where they went, and the quantities of every step."""
    found = {key: episodes[key] for key in ('vector', 'place', 'valid') if key in episodes}
    length = episodes['valid'].shape[1]
    for name in quantities.recorded(quantities.STEP):
        steps = result.get(name, episodes.get(name))
        if steps is not None:
            found[name] = np.asarray(steps[:, :length], np.float32)
    return found
