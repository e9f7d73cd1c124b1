"""Tiny environments from outside the package, and the specs, programs and rows that tests of the loop make of them.

What the package calls these things is said here and nowhere else in the tests that use this module.
"""

import dataclasses

import jax
import numpy as np

from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.data.replay import FIRST, LAST, TERMINAL, Replay
from paper_lib.envs.base import Spaces
from paper_lib.run import rollout

MODEL = ModelSpec(deter=8, stoch=2, classes=4, units=8, layers=1, mlp_units=8, mlp_layers=1, bins=15, batch=2, length=2,
                  horizon=2, ensemble=2, probe_units=8)  # fmt: skip


_worlds, _tasks = {}, {}


def task(world, limit, count=1, repeat=1):
    """The id of a task in `count` worlds of this class, which is a simulator as `envs.base.Env` describes one."""
    name = world.__name__
    key = f'{name.lower()}{limit}x{count}x{repeat}-proprio'
    _worlds[name] = world
    _tasks[key] = tasks.Task(key, 'tiny', name, 'proprio', repeat=repeat, limit=limit, envs=count)
    return key


# It finds its tasks and lists none: tests that look at all tasks do not see them.
tasks.register(tasks.Suite('tiny', lambda task: _worlds[task.name](), find=_tasks.get))


def run(task, **values):
    """An online run: 3 random steps, then an update after every step, and an evaluation at its end."""
    given = {'model': MODEL, 'budget': 12, 'eval_every': 12, 'eval_episodes': 2, 'prefill': 3, 'chunk': 1, 'ratio': 1.0}
    return RunSpec(task, **given | values)


def follower(source, **values):
    """A run that learns from the replay that `source` ends with."""
    return dataclasses.replace(source, agent='passive', data='final', source=source, **values)


class Counter:
    """A deterministic world. It shows (episode, steps in it, last action) and pays 10 x episode + steps.

    An action of exactly 1 ends the episode: no action that is drawn at random does.
    """

    spaces = Spaces((3,), None, action=1)

    def reset(self, seeds):
        self.shown = np.array([seeds.spawn_key[0], 0, 0], np.float32)

    def act(self, action):
        self.shown += [0, 1, 0]
        self.shown[2] = action[0]
        over = action[0] == 1
        return 10 * self.shown[0] + self.shown[1], over, over

    def observe(self):
        return {'vector': self.shown.copy()}


class Noise:
    """A world of random numbers that no action changes; the reward is the action."""

    spaces = Spaces((2,), None, action=1)

    def reset(self, seeds):
        self.rng = np.random.default_rng(seeds)

    def act(self, action):
        return action[0], False, False

    def observe(self):
        return {'vector': self.rng.normal(size=2).astype(np.float32)}


class Picture(Noise):
    """As Noise, but what it shows is a picture."""

    spaces = Spaces((), (4, 4, 3), action=1)

    def observe(self):
        return {'image': self.rng.integers(256, size=(4, 4, 3)).astype(np.uint8)}


class Script:
    """Stands in for a program: acts as `choose(key, counter, obs)` says and notes what it was given.

    `choose` gets the key and the observations (n, ...) of one lane and returns its actions (n, 1). The state is the
    number of steps since it was new. By counter: `seen` are observations, `states` are states, both before the step;
    `assessed` and `decoded` are the counters of what was judged and decoded, in order.
    """

    def __init__(self, choose):
        self.choose, self.seen, self.states = choose, {}, {}
        self.assessed, self.decoded = [], []

    def carry(self, size):
        return {'steps': 0}

    def act(self, behaviour, params, carry, obs, keys, counter):
        self.seen[counter] = {name: np.array(value) for name, value in obs.items()}
        self.states[counter] = carry['steps']
        actions = []
        for lane, key in enumerate(keys):
            actions.append(self.choose(key, counter, {name: value[lane] for name, value in obs.items()}))
        return {'steps': carry['steps'] + 1, 'action': np.stack(actions)}

    def assess(self, params, episodes, keys, counter):
        self.assessed.append(counter)
        return dict.fromkeys(('wm_loss', 'recon_loss', 'value'), np.ones(episodes['reward'].shape))

    def decode(self, params, episodes, keys, counter):
        self.decoded.append(counter)
        return {'decoded': episodes['image'][:, :1]}


def noisy(key, counter, obs):
    """A policy that is nothing but its noise."""
    return np.array(jax.random.uniform(jax.random.fold_in(key, counter), (len(obs['is_first']), 1)))


def collector(program, spec, folder):
    """What fills the replay of a run, and the replay."""
    layout = rollout.layout(envs.make(spec.task, 0).spaces)
    replay = Replay.create(folder / 'replay', layout, spec.own_rows, tasks.get(spec.task).envs)
    return rollout.Collector(program, [spec], [replay]), replay


def table(replay, rows, env=0):
    """Rows of one environment, as (episode, steps in it, last action, reward, flags, action) each."""
    letters = {FIRST: 'F', LAST: 'L', TERMINAL: 'T'}
    found = []
    for row in range(rows):
        step = {name: array[row, env] for name, array in replay.arrays.items()}
        flags = ''.join(letter for bit, letter in letters.items() if step['flags'] & bit)
        found.append((*step['vector'].tolist(), float(step['reward']), flags, float(step['action'][0])))
    return found
