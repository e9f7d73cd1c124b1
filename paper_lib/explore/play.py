"""Plays a trained agent and looks into it: what it observes, decodes, expects and imagines."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib import envs
from paper_lib.agent import actor_critic, dreamer
from paper_lib.agent import world_model as wmod
from paper_lib.contract import tasks
from paper_lib.run import evaluate, lanes, rollout


@functools.partial(jax.jit, static_argnums=0)
def _inside(agent, params, episodes, key):
    """What `dreamer.assess` finds with this key in episodes (n, L, ...), and of the first one the states behind it.

    `deter` (1, L, D), `stoch` (1, L, S, C), and `decoded` (1, L, ...).
    """
    found, states = dreamer.inside(agent, params, episodes, key)
    deter, stoch = (x[:1] for x in states)
    decoded = dreamer.observation(agent, params, wmod.features(deter, stoch))
    return found | {'deter': deter, 'stoch': stoch, 'decoded': decoded}


@functools.partial(jax.jit, static_argnums=0)
def _imagine(agent, params, start, key):
    """Observations decoded along `model.horizon` imagined steps from N states, these first: (N, H + 1, ...)."""
    feat, *_ = actor_critic.imagine(agent, params['wm'], params['task']['actor'], start, key)
    return dreamer.observation(agent, params, feat).swapaxes(0, 1)


class Player:
    """One trained agent: `arrays` are its weights by name, as a finished run has them."""

    def __init__(self, spec, arrays):
        self.spec, self.task = spec, tasks.get(spec.task)
        spaces = envs.make(spec.task, 0, **spec.options).spaces
        self.agent = dataclasses.replace(lanes.agent_of(spec, spaces), explore=False)
        self.program = lanes.program(self.agent, 1)
        like = dict(self.program.init(lanes.keys([spec], 'init'), 0)['params'])
        like['task'] = {name: part for name, part in like['task'].items() if name != 'slow'}
        self.params = lanes.unflatten(like, {name: array[None] for name, array in arrays.items()})
        self.evaluator = rollout.Evaluator(self.program, [spec])
        self.envs = self.evaluator.envs.envs

    def episode(self) -> dict[str, np.ndarray]:
        """The first episode of the run's last evaluation once more, step by step (N, ...).

        `vector` or `image`, `decoded`, `reward`, `wm_loss`, `recon_loss`, `value`, `deter`, `stoch`.
        """
        return self._look(self.envs, self.spec.agent_steps // self.spec.eval_steps)

    def walk(self, x: float, y: float) -> dict[str, np.ndarray]:
        """An episode of the maze that begins at rest in (x, y) [m]; as `episode`."""
        return self._look([_maze(self.spec, x, y) for _ in self.envs], 0)

    def imagine(self, episode: dict, step: int, horizon: int, times: int = 8) -> np.ndarray:
        """What the agent expects to observe if it acts on from this step of an episode, unseeing: (times, H + 1, ...).

        Actions and latents are drawn anew each time: what the draws have in common is what the model believes.
        """
        agent = dataclasses.replace(self.agent, model=dataclasses.replace(self.agent.model, horizon=horizon))
        start = tuple(jnp.asarray(episode[name][step][None].repeat(times, 0)) for name in ('deter', 'stoch'))
        key = jax.random.fold_in(lanes.keys([self.spec], 'imagine')[0], step)
        return np.asarray(_imagine(agent, jax.tree.map(lambda x: x[0], self.params), start, key))

    def _look(self, worlds, index):
        self.evaluator.envs.envs = worlds
        played = self.evaluator.play(self.params, index)
        keys = lanes.keys([self.spec], 'eval_model')
        found = evaluate.assess(self._inside, self.task, self.params, played, keys, 2 * index)[0]
        valid = played[0]['valid'][0]
        return {key: value[0][: len(valid)][valid] for key, value in (found | played[0]).items()}

    def _inside(self, params, episodes, keys, counter):
        """`_inside` as a function of lanes, of which there is one."""
        params, episodes = jax.tree.map(lambda x: x[0], (params, episodes))
        found = _inside(self.agent, params, episodes, jax.random.fold_in(keys[0], counter))
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
