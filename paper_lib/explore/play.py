"""Plays a trained agent and looks into it: what it observes, decodes, expects and imagines."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib import envs
from paper_lib.agent import actor_critic, dreamer
from paper_lib.agent.actor_critic import Policy
from paper_lib.agent.kernels.actor_gradient import constant_actions
from paper_lib.agent.world_model import State, WorldModel
from paper_lib.contract import tasks
from paper_lib.run import backend, evaluate, lanes, rollout


@functools.partial(jax.jit, static_argnums=0)
def _examine(nets, params, episodes, key):
    """What `dreamer.assess` measures with this key in episodes (n, L, ...), and the states behind the first one.

    `deter` (1, L, D), `stoch` (1, L, S, C), and `decoded` (1, L, ...).
    """
    measures, states = dreamer.examine(nets, params, episodes, key)
    state = State(states.deter[:1], states.stoch[:1])
    decoded = WorldModel(nets, params['wm']).observation(state.feat)
    return measures | {'deter': state.deter, 'stoch': state.stoch, 'decoded': decoded}


@functools.partial(jax.jit, static_argnums=0)
def _imagine(nets, params, start, key):
    """Observations decoded along `model.horizon` imagined steps from N states, these first: (N, H + 1, ...)."""
    wm, policy = WorldModel(nets, params['wm']), Policy(nets, params['task']['actor'])
    draws = actor_critic.draw(nets, key, start.deter.shape[0])
    trajectory = actor_critic.imagine(wm, constant_actions(policy), start, draws)
    return wm.observation(trajectory.feat).swapaxes(0, 1)


class Player:
    """One trained agent: `arrays` are its weights by name, as a finished run has them."""

    def __init__(self, spec, arrays):
        backend.prepare()
        self.spec, self.task = spec, tasks.get(spec.task)
        spaces = envs.make(spec.task, 0, **spec.options).spaces
        self.nets = dataclasses.replace(lanes.networks_of(spec, spaces), explore=False)
        self.program = lanes.program(self.nets, 1)
        like = dict(self.program.init(lanes.keys([spec], 'init'), 0)['params'])
        like['task'] = {name: part for name, part in like['task'].items() if name != 'slow'}
        self.params = lanes.unflatten(like, {name: array[None] for name, array in arrays.items()})
        self.evaluator = rollout.Evaluator(self.program, [spec])
        self.envs = self.evaluator.envs.envs

    def episode(self) -> dict[str, np.ndarray]:
        """The first episode of the run's last evaluation once more, step by step (N, ...).

        `vector` or `image`, `decoded`, `reward`, `wm_loss`, `recon_loss`, `value`, `deter`, `stoch`.
        """
        return self._look(self.envs, self.spec.schedule.steps // self.spec.schedule.evaluate_every)

    def walk(self, x: float, y: float) -> dict[str, np.ndarray]:
        """An episode of the maze that begins at rest in (x, y) [m]; as `episode`."""
        return self._look([_maze(self.spec, x, y) for _ in self.envs], 0)

    def imagine(self, episode: dict, step: int, horizon: int, times: int = 8) -> np.ndarray:
        """What the agent expects to observe if it acts on from this step of an episode, unseeing: (times, H + 1, ...).

        Actions and latents are drawn anew each time: what the draws have in common is what the model believes.
        """
        nets = dataclasses.replace(self.nets, model=dataclasses.replace(self.nets.model, horizon=horizon))
        start = State(*(jnp.asarray(episode[name][step][None].repeat(times, 0)) for name in ('deter', 'stoch')))
        key = jax.random.fold_in(lanes.keys([self.spec], 'imagine')[0], step)
        return np.asarray(_imagine(nets, jax.tree.map(lambda x: x[0], self.params), start, key))

    def _look(self, worlds, index):
        self.evaluator.envs.envs = worlds
        played = self.evaluator.play(self.params, index)
        keys = lanes.keys([self.spec], 'eval_model')
        found = evaluate.assess(self._examine, self.task, self.params, played, keys, 2 * index)[0]
        valid = played[0]['valid'][0]
        return {key: value[0][: len(valid)][valid] for key, value in (found | played[0]).items()}

    def _examine(self, params, episodes, keys, counter):
        """`_examine` as a function of lanes, of which there is one."""
        params, episodes = jax.tree.map(lambda x: x[0], (params, episodes))
        found = _examine(self.nets, params, episodes, jax.random.fold_in(keys[0], counter))
        return jax.tree.map(lambda x: x[None], found)


def _maze(spec, x, y):
    """An environment of the maze whose episodes begin in (x, y)."""
    from paper_lib.envs.suites.maze import Simulator

    class Placed(Simulator):
        def reset(self, seeds):
            super().reset(seeds)
            self._qpos[:] = x, y

    task = tasks.get(spec.task)
    return envs.Env(Placed(task, **spec.options), task.repeat, task.limit, 0)
