"""Evaluations: score, world-model loss, OOD ratio, value error, policy-input reconstruction loss.

Shapes: L lanes, n episodes of a lane, N steps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from paper_lib.contract import quantities, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.data.sources import Source
from paper_lib.run import lanes, rollout, watch

Arrays = dict[str, np.ndarray]


def padded_length(task: tasks.Task, longest: int) -> int:
    """The length, in steps, that episodes are padded to: there are few lengths, so that few programs are compiled.

    Recorded episodes may be longer than the task's own.
    """
    whole = task.limit + 1
    power_of_two = 1 << (longest - 1).bit_length()
    return power_of_two if longest > whole else min(whole, max(64, power_of_two))


def assess(
    function: Callable, task: tasks.Task, params: Any, lane_episodes: list[Arrays], *, keys: jax.Array, counter: int
) -> list[Arrays]:
    """Filter whole episodes and measure every step.

    `lane_episodes` has a dict of (n, N, ...) arrays for each lane, and so has the result, on the host.
    `function` is a program's `assess`, `decode` or `foresee`.
    """
    length = padded_length(task, max(episodes['valid'].shape[1] for episodes in lane_episodes))
    padded = [rollout.pad(episodes, length) for episodes in lane_episodes]
    batch = {key: np.stack([episodes[key] for episodes in padded]) for key in watch.KEYS if key in padded[0]}
    values = function(params, batch, keys, counter)
    values = {key: np.asarray(value) for key, value in values.items()}
    results = []
    for lane, episodes in enumerate(padded):
        result = {key: value[lane] for key, value in values.items()}
        results.append(result | {'valid': episodes['valid']})
    return results


def episode_means(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(n, N) values per step, (n, N) whether a step is valid -> (n,) means over the valid steps of each episode."""
    return (values * valid).sum(1) / valid.sum(1)


def mean_loss(result: Arrays) -> float:
    """The world-model loss of assessed episodes: the mean over the steps of each, then over episodes."""
    return float(episode_means(result['wm_loss'], result['valid']).mean())


def discounted(reward: np.ndarray, gamma: float) -> np.ndarray:
    """(n, N) rewards, the first one of the reset -> (n,) discounted returns from the first states."""
    discounts = gamma ** np.arange(reward.shape[1] - 1)
    return (reward[:, 1:] * discounts).sum(1)


def replay_episodes(spec: RunSpec, replay: Source, rows: int, index: int) -> Arrays | None:
    """Complete episodes (n, N, ...) drawn uniformly from the first `rows` rows of the replay, for evaluation `index`.

    They are as many as an evaluation plays. The result is None if no episode is complete.
    """
    complete = replay.episodes(rows)
    if not len(complete):
        return None
    rng = streams.rng(spec.seed, 'ood', index)
    drawn = rng.integers(len(complete), size=spec.eval_episodes)
    episodes = [replay.episode(*complete[number]) for number in drawn]
    longest = max(len(episode['reward']) for episode in episodes)
    padded = []
    for episode in episodes:
        valid = np.ones(len(episode['reward']), bool)
        arrays = {key: value[None] for key, value in {**episode, 'valid': valid}.items()}
        padded.append(rollout.pad(arrays, longest))
    return {key: np.concatenate([arrays[key] for arrays in padded]) for key in padded[0]}


class Evaluation:
    """Evaluates every lane of a group. The result depends on weights, replay and the number of the evaluation alone."""

    def __init__(self, program: lanes.Program, specs: Sequence[RunSpec], replays: Sequence[Source]):
        self.program = program
        self.specs = specs
        self.replays = replays
        self.task = tasks.get(specs[0].task)
        playable = tasks.suite_of(self.task).playable
        self.evaluator = rollout.Evaluator(program, specs) if playable else None
        self.keys = lanes.keys(specs, 'eval_model')
        self.measures = watch.Measures(program, specs, replays) if specs[0].measures else None

    @property
    def diverged(self) -> np.ndarray:
        """(L,) whether the lanes had diverged in the last evaluation, as far as played episodes show."""
        return self.evaluator.diverged if self.evaluator else np.zeros(len(self.specs), bool)

    def __call__(
        self, params: Any, index: int, rows: int, pictures: bool = False, norm: Any = None
    ) -> tuple[list[dict[str, Any]], list[Arrays]]:
        """Evaluation number `index`. Returns a row of metrics and the arrays of the episodes for each lane.

        `rows` is the number of replay rows in use. With `pictures`, and if the agents observe images, the arrays
        include the observed and the decoded images of the first episode. The measures of degradation need `norm`,
        the normalisers of the task's returns. Of a task that cannot be played, there is what recorded episodes show.
        """
        if not self.evaluator:
            return self._without_environment(params, index, rows, norm)
        episodes = self.evaluator.play(params, index)
        results = self._assess(self.program.assess, params, episodes, 2 * index)
        on_replay = self._assess_replay(params, index, rows, episodes)
        metrics = [summary(*lane) for lane in zip(self.specs, episodes, results, on_replay)]
        if self.measures:
            foreseen = self._assess(self.program.foresee, params, episodes, 2 * index)
            measured = self.measures(params, norm, index, rows, on_replay)
            for lane, row in enumerate(metrics):
                row |= watch.foreseen(episodes[lane], foreseen[lane]['reward'], foreseen[lane]['valid'])
                row |= measured[lane]
        traces = [trace(*lane) for lane in zip(episodes, results)]
        if pictures and 'image' in episodes[0]:
            decoded = self._assess(self.program.decode, params, episodes, 2 * index)
            for lane, arrays in enumerate(traces):
                length = episodes[lane]['valid'].shape[1]
                arrays['image'] = episodes[lane]['image'][:1]
                arrays['decoded'] = decoded[lane]['decoded'][:, :length]
        return metrics, traces

    def _without_environment(
        self, params: Any, index: int, rows: int, norm: Any
    ) -> tuple[list[dict[str, Any]], list[Arrays]]:
        """As an evaluation, with recorded episodes in the place of played ones."""
        drawn = [replay_episodes(spec, replay, rows, index) for spec, replay in zip(self.specs, self.replays)]
        on_replay = self._assess(self.program.assess, params, drawn, 2 * index + 1)
        metrics = [{'wm_loss_replay': mean_loss(result)} for result in on_replay]
        if self.measures:
            measured = self.measures(params, norm, index, rows, on_replay)
            for row, columns in zip(metrics, measured):
                row |= columns
        return metrics, [trace(*lane) for lane in zip(drawn, on_replay)]

    def _assess(self, function: Callable, params: Any, lane_episodes: list[Arrays], counter: int) -> list[Arrays]:
        return assess(function, self.task, params, lane_episodes, keys=self.keys, counter=counter)

    def _assess_replay(self, params: Any, index: int, rows: int, played: list[Arrays]) -> list[Arrays | None]:
        """Measures of episodes drawn from each lane's replay; None for a lane without a complete episode.

        Such a lane measures its `played` episodes instead, which nobody reads, because all lanes are one program.
        """
        drawn = [replay_episodes(spec, replay, rows, index) for spec, replay in zip(self.specs, self.replays)]
        if not any(drawn):
            return drawn
        lane_episodes = [own_drawn or own_played for own_drawn, own_played in zip(drawn, played)]
        results = self._assess(self.program.assess, params, lane_episodes, 2 * index + 1)
        return [result if own_drawn else None for own_drawn, result in zip(drawn, results)]


def by_episode(spec: RunSpec, episodes: Arrays, result: Arrays) -> Arrays:
    """(n,) values per episode: of the played `episodes`, and of every measure in `result`, both (n, N, ...)."""
    gamma = spec.model.gamma
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


def summary(spec: RunSpec, episodes: Arrays, result: Arrays, on_replay: Arrays | None) -> dict[str, Any]:
    """One row of metrics: the means over episodes of everything measured, and single episodes of some quantities.

    The table of quantities says which of them are recorded per episode. `result` are the measures of the played
    `episodes`, and `on_replay` those of episodes from the replay, (n, N, ...) each.
    """
    values = by_episode(spec, episodes, result)
    row = {name: float(per_episode.mean()) for name, per_episode in values.items()}
    row['length'] = float(episodes['valid'].sum(1).mean() - 1)  # a mean of differences may be rounded in another way
    row['wm_loss_replay'] = None
    row['ood_ratio'] = None
    if on_replay:
        row['wm_loss_replay'] = mean_loss(on_replay)
        row['ood_ratio'] = row['wm_loss'] / row['wm_loss_replay']
    for name in quantities.recorded(quantities.EPISODE):
        for episode, value in enumerate(values.get(name, ())):
            row[quantities.column(name, episode)] = float(value)
    return row


def trace(episodes: Arrays, result: Arrays) -> Arrays:
    """Arrays of the evaluation's episodes, (n, N, ...) each: observed vectors or places, and quantities per step."""
    arrays = {key: episodes[key] for key in ('vector', 'place', 'valid') if key in episodes}
    length = episodes['valid'].shape[1]
    for name in quantities.recorded(quantities.STEP):
        steps = result.get(name, episodes.get(name))
        if steps is not None:
            arrays[name] = np.asarray(steps[:, :length], np.float32)
    return arrays
