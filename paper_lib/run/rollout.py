"""Steps environments with policies: to collect a replay, and to play whole episodes for evaluations.

Shapes: L lanes, n environments of a lane, A action, N steps.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.data.replay import FIRST, LAST, Replay
from paper_lib.data.steps import OBSERVED
from paper_lib.run import lanes

Arrays = dict[str, np.ndarray]


def worlds(specs: Sequence[RunSpec], lane_seeds: Sequence[int], count: int) -> envs.Batch:
    """`count` environments for each lane. Their seeds are (seed of the lane, 0), (seed of the lane, 1), ..."""
    seeds = [(seed, index) for seed in lane_seeds for index in range(count)]
    return envs.Batch(specs[0].task, seeds, **specs[0].options)


def advance(batch: envs.Batch, action: np.ndarray, reset: np.ndarray) -> Arrays:
    """Step the environments of all lanes with action (L, n, A) and reset (L, n). Returns arrays (L, n, ...)."""
    step = batch.step({'action': action.reshape(-1, action.shape[-1]), 'reset': reset.ravel()})
    return {key: value.reshape(reset.shape + value.shape[1:]) for key, value in step.items()}


def observation(step: Arrays) -> Arrays:
    """The entries of a step that the policy sees."""
    return {key: step[key] for key in (*OBSERVED, 'is_first') if key in step}


def layout(spaces: envs.Spaces) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of each entry of a replay row: see `Replay.create`."""
    row = {}
    if spaces.image:
        row['image'] = (spaces.image, 'uint8')
    if spaces.vector:
        row['vector'] = ((sum(spaces.vector),), 'float32')
    if spaces.place:
        row['place'] = ((spaces.place,), 'float32')
    row['action'] = ((spaces.action,), 'float32')
    return row


def uniform_action(rng: np.random.Generator, spaces: envs.Spaces, count: int) -> np.ndarray:
    """(count, A) actions of the uniform random policy: in [-1, 1], or one-hot."""
    if spaces.discrete:
        chosen = rng.integers(spaces.action, size=count)
        return np.eye(spaces.action, dtype=np.float32)[chosen]
    return rng.uniform(-1, 1, (count, spaces.action)).astype(np.float32)


def infinite(actions: np.ndarray) -> np.ndarray:
    """(L,) whether a lane has diverged, because its actions (n, A), of (L, n, A), are not all finite."""
    return ~np.isfinite(actions).all((1, 2))


class Collector:
    """Fills the replays of a group of runs, one row (a step of every environment) at a time.

    `step` is the current step of every environment (L, n, ...), and `carry` is the state of the policy.
    """

    def __init__(self, program: lanes.Program, specs: Sequence[RunSpec], replays: Sequence[Replay]):
        self.program = program
        self.specs = specs
        self.replays = replays
        self.count = tasks.get(specs[0].task).envs
        seeds = [lanes.stream_seed(spec.seed, 'env') for spec in specs]
        self.envs = worlds(specs, seeds, self.count)
        self.keys = lanes.keys(specs, 'policy')
        self.carry = program.carry(self.count)
        size = (len(specs), self.count)
        no_action = np.zeros((*size, self.envs.spaces.action), np.float32)
        self.step = advance(self.envs, no_action, np.ones(size, bool))

    def collect(self, params: Any, row: int) -> np.ndarray:
        """Choose actions for the current step, write it as replay row `row`, and step the environments.

        Returns (L,) whether the lanes have diverged. Diverged lanes take the action 0.
        """
        last = self.step['is_last']
        action = self._actions(params, row)
        diverged = infinite(action)
        action = np.where(last[..., None] | diverged[:, None, None], np.float32(0), action)
        for lane, replay in enumerate(self.replays):
            lane_step = {key: value[lane] for key, value in self.step.items()}
            replay.write(row, lane_step | {'action': action[lane]})
        self.step = advance(self.envs, action, last)
        return diverged

    def _actions(self, params: Any, row: int) -> np.ndarray:
        """(L, n, A) actions for the current step: random during the prefill, afterwards the policy's."""
        schedule = self.specs[0].schedule
        if row < schedule.random_rows:
            rngs = [streams.rng(spec.seed, 'prefill', row) for spec in self.specs]
            return np.stack([uniform_action(rng, self.envs.spaces, self.count) for rng in rngs])
        obs = observation(self.step)
        if row == schedule.random_rows:  # the policy acts for the first time and needs an initial state
            obs['is_first'] = np.ones_like(obs['is_first'])
        explores = self.specs[0].w_expl > 0 and schedule.exploring_row(row)
        behaviour = 'expl' if explores else 'task'
        self.carry = self.program.act(behaviour, params, self.carry, obs, keys=self.keys, counter=row)
        return np.array(self.carry['action'])

    def restore(self, carry: Any, rows: int) -> None:
        """Return to the point before row `rows`: every environment plays its unfinished episode again."""
        if not rows:
            return
        self.carry = carry
        for lane, replay in enumerate(self.replays):
            for index in range(self.count):
                step = self._play_again(lane, replay, index, rows)
                for key, value in step.items():
                    self.step[key][lane, index] = value

    def _play_again(self, lane: int, replay: Replay, index: int, rows: int) -> Arrays:
        """Play the unfinished episode of one environment again. Returns the step after the first `rows` rows."""
        env = self.envs.envs[lane * self.count + index]
        flags = replay.arrays['flags'][:rows, index]
        first = int(np.flatnonzero(flags & FIRST)[-1])
        env.episode = int((flags & FIRST).astype(bool).sum()) - 1
        action = replay.arrays['action'][:rows, index]
        step = env.step({'action': action[0], 'reset': True})
        for row in range(first, rows):
            step = env.step({'action': action[row], 'reset': bool(flags[row] & LAST)})
        return step


class Evaluator:
    """Plays evaluation episodes with the task policy. All runs of a pair have the same initial states."""

    def __init__(self, program: lanes.Program, specs: Sequence[RunSpec]):
        self.program = program
        self.specs = specs
        self.count = specs[0].eval_episodes
        self.limit = tasks.get(specs[0].task).limit
        seeds = [lanes.stream_seed(spec.pair_seed, 'eval_env') for spec in specs]
        self.envs = worlds(specs, seeds, self.count)
        self.keys = lanes.keys(specs, 'eval_policy')
        self.diverged = None  # (L,) whether the lanes had diverged in the last evaluation; see `Collector.collect`

    def play(self, params: Any, index: int) -> list[Arrays]:
        """The episodes of evaluation number `index`: for each lane a dict of arrays (episodes, N, ...).

        'valid' is true up to the end of each episode, and the other arrays are zero after it.
        N is the length of the longest episode, the reset step included.
        """
        keys = self._keys(index)
        done = np.zeros((len(self.specs), self.count), bool)
        self.diverged = np.zeros(len(self.specs), bool)
        self.envs.episodes = [index] * done.size
        action = np.zeros((*done.shape, self.envs.spaces.action), np.float32)
        carry = self.program.carry(self.count)
        reset = np.ones_like(done)
        rows = []
        for counter in range(self.limit + 1):
            step = advance(self.envs, action, reset)
            carry = self.program.act('task', params, carry, observation(step), keys=keys, counter=counter)
            action = np.array(carry['action'])
            self.diverged |= infinite(action)
            reset = step['is_last']
            action[reset] = 0
            action[self.diverged] = 0
            rows.append({**step, 'action': action, 'valid': ~done})
            done = done | reset
            if done.all():
                break
        episodes = []
        for lane in range(len(self.specs)):
            lane_rows = [{key: value[lane] for key, value in row.items()} for row in rows]
            episodes.append(stack(lane_rows))
        return episodes

    def _keys(self, index: int) -> jax.Array:
        return jax.vmap(lambda key: jax.random.fold_in(key, index))(self.keys)


def stack(rows: list[Arrays]) -> Arrays:
    """N dicts of arrays (n, ...), one per step -> a dict of arrays (n, N, ...), zero where 'valid' is false."""
    episodes = {}
    valid = np.stack([row['valid'] for row in rows], 1)
    for key in rows[0]:
        values = np.stack([row[key] for row in rows], 1)
        episodes[key] = values * valid.reshape(valid.shape + (1,) * (values.ndim - 2))
    return episodes


def pad(episodes: Arrays, length: int) -> Arrays:
    """Pad arrays (n, N, ...) with zeros to (n, length, ...)."""
    padded = {}
    for key, values in episodes.items():
        missing = length - values.shape[1]
        widths = [(0, 0), (0, missing)] + [(0, 0)] * (values.ndim - 2)
        padded[key] = np.pad(values, widths)
    return padded
