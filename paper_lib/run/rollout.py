"""Steps policies through environments: collection into a replay, and whole episodes for evaluation."""

import jax
import numpy as np

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.errors import RunError
from paper_lib.data import streams
from paper_lib.data.replay import FIRST, LAST
from paper_lib.run import lanes

OBS = ('vector', 'image')


def worlds(specs, stream_seeds, count):
    """`count` environments per lane; their seeds are (seed of the lane, 0), (seed of the lane, 1), ..."""
    seeds = [(seed, index) for seed in stream_seeds for index in range(count)]
    return envs.Batch(specs[0].task, seeds, **specs[0].options)


def advance(batch, action, reset):
    """Step the environments of all lanes: action (L, n, A), reset (L, n) -> dict of (L, n, ...) arrays."""
    step = batch.step({'action': action.reshape(-1, action.shape[-1]), 'reset': reset.ravel()})
    return {key: value.reshape(reset.shape + value.shape[1:]) for key, value in step.items()}


def observation(step):
    """What the policy sees of a step."""
    return {key: step[key] for key in (*OBS, 'is_first') if key in step}


def layout(spaces) -> dict:
    """Shapes and dtypes of a replay row: see `Replay.create`."""
    obs = {'image': (spaces.image, 'uint8')} if spaces.image else {'vector': ((sum(spaces.vector),), 'float32')}
    place = {'place': ((spaces.place,), 'float32')} if spaces.place else {}
    return {**obs, **place, 'action': ((spaces.action,), 'float32')}


def uniform_action(rng, spaces, count):
    """(count, A) actions of the uniform random policy: in [-1, 1], or one-hot."""
    if spaces.discrete:
        return np.eye(spaces.action, dtype=np.float32)[rng.integers(spaces.action, size=count)]
    return rng.uniform(-1, 1, (count, spaces.action)).astype(np.float32)


def finite(specs, actions):
    """Copy of the actions (L, n, A) on the host. RunError naming the runs whose actions are not finite."""
    actions = np.array(actions)
    names = [spec.run_id for spec, own in zip(specs, actions) if not np.isfinite(own).all()]
    if names:
        raise RunError(f'{", ".join(names)}: diverged, its actions are not finite; lower the learning rates')
    return actions


class Collector:
    """Fills the replays of a group of runs, one row (a step of every environment) at a time.

    Holds what the next row needs: the present step of every environment and the policy's carry.
    """

    def __init__(self, program, specs, replays):
        self.program, self.specs, self.replays = program, specs, replays
        self.count = tasks.get(specs[0].task).envs
        self.envs = worlds(specs, [lanes.number(spec.seed, 'env') for spec in specs], self.count)
        self.keys = lanes.keys(specs, 'policy')
        self.carry = program.carry(self.count)
        size = (len(specs), self.count)
        self.step = advance(self.envs, np.zeros((*size, self.envs.spaces.action), np.float32), np.ones(size, bool))

    def collect(self, params, row):
        """Choose actions after the present step, write replay row `row`, step the environments."""
        last = self.step['is_last']
        action = np.where(last[..., None], np.float32(0), self._actions(params, row))
        for lane, replay in enumerate(self.replays):
            replay.write(row, {key: value[lane] for key, value in self.step.items()} | {'action': action[lane]})
        self.step = advance(self.envs, action, last)

    def _actions(self, params, row):
        schedule = self.specs[0].schedule
        if row < schedule.random_rows:
            rngs = [streams.rng(spec.seed, 'prefill', row) for spec in self.specs]
            return np.stack([uniform_action(rng, self.envs.spaces, self.count) for rng in rngs])
        obs = observation(self.step)
        if row == schedule.random_rows:  # the policy's first step: its state starts from the learned initial one
            obs['is_first'] = np.ones_like(obs['is_first'])
        explores = self.specs[0].w_expl > 0 and schedule.exploring_row(row)
        behaviour = 'expl' if explores else 'task'
        self.carry = self.program.act(behaviour, params, self.carry, obs, self.keys, row)
        return finite(self.specs, self.carry['action'])

    def restore(self, carry, rows):
        """Bring everything to the point before row `rows`, by replaying each environment's running episode."""
        if not rows:
            return
        self.carry = carry
        for lane, replay in enumerate(self.replays):
            for index in range(self.count):
                for key, value in self._replay(lane, replay, index, rows).items():
                    self.step[key][lane, index] = value

    def _replay(self, lane, replay, index, rows):
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
    """Plays evaluation episodes with the task policy. Runs of a pair (an offline run and its source) start alike."""

    def __init__(self, program, specs):
        self.program, self.specs = program, specs
        self.count, self.limit = specs[0].eval_episodes, tasks.get(specs[0].task).limit
        seeds = [lanes.number(spec.pair_seed, 'eval_env') for spec in specs]
        self.envs = worlds(specs, seeds, self.count)
        self.keys = lanes.keys(specs, 'eval_policy')

    def play(self, params, index):
        """Evaluation number `index`: per lane a dict of (episodes, N, ...) arrays, zero behind the end, and 'valid'.

        N is one more than the longest episode that the task allows, or less: it stops when all have ended.
        """
        keys = self._keys(index)
        done = np.zeros((len(self.specs), self.count), bool)
        self.envs.episodes = [index] * done.size
        action = np.zeros((*done.shape, self.envs.spaces.action), np.float32)
        carry, reset, rows = self.program.carry(self.count), np.ones_like(done), []
        for counter in range(self.limit + 1):
            step = advance(self.envs, action, reset)
            carry = self.program.act('task', params, carry, observation(step), keys, counter)
            action, reset = finite(self.specs, carry['action']), step['is_last']
            action[reset] = 0
            rows.append({**step, 'action': action, 'valid': ~done})
            done = done | reset
            if done.all():
                break
        return [stack([{key: value[lane] for key, value in row.items()} for row in rows])
                for lane in range(len(self.specs))]  # fmt: skip

    def _keys(self, index):
        return jax.vmap(lambda key: jax.random.fold_in(key, index))(self.keys)


def stack(rows):
    """List of step dicts of (n, ...) arrays -> dict of (n, N, ...) arrays, zeroed where not valid."""
    episodes = {key: np.stack([row[key] for row in rows], 1) for key in rows[0]}
    valid = episodes['valid']
    return {key: value * valid.reshape(valid.shape + (1,) * (value.ndim - 2)) for key, value in episodes.items()}


def pad(episodes, length):
    """Pad (n, N, ...) arrays with zeros to (n, length, ...)."""
    return {
        key: np.pad(value, [(0, 0), (0, length - value.shape[1])] + [(0, 0)] * (value.ndim - 2))
        for key, value in episodes.items()
    }
