"""Plays a trained agent, and shows what it observes, decodes and imagines."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib import envs
from paper_lib.agent import actor_critic, dreamer
from paper_lib.agent.actor_critic import Policy
from paper_lib.agent.kernels.actor_gradient import constant_actions
from paper_lib.agent.networks import Networks
from paper_lib.agent.world_model import State, WorldModel
from paper_lib.contract import tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.envs import placed
from paper_lib.run import backend, evaluate, lanes, rollout

Tree = Any  # a pytree of arrays


@functools.partial(jax.jit, static_argnums=(0, 4))
def _examine(nets: Networks, params: Tree, episodes: Tree, key: jax.Array, kept: int) -> dict[str, jax.Array]:
    """The measures of `dreamer.assess` with this key for episodes (n, N, ...), and the states of the first `kept`, k.

    The states are `deter` (k, N, D), `stoch` (k, N, S, C) and `decoded` (k, N, ...); see `_decode`.
    """
    measures, states = dreamer.examine(nets, params, episodes, key)
    first = State(states.deter[:kept], states.stoch[:kept])
    decoded = _decode(WorldModel(nets, params['wm']), first.feat)
    return measures | {'deter': first.deter, 'stoch': first.stoch, 'decoded': decoded}


@functools.partial(jax.jit, static_argnums=0)
def _imagine(nets: Networks, params: Tree, start: State, key: jax.Array) -> jax.Array:
    """Imagine `model.horizon` steps, H, from N states. Returns the decoded states 0 to H, (N, H + 1, ...)."""
    world_model = WorldModel(nets, params['wm'])
    policy = Policy(nets, params['task']['actor'])
    draws = actor_critic.draw(nets, key, start.deter.shape[0])
    trajectory = actor_critic.imagine(world_model, constant_actions(policy), start, draws)
    return _decode(world_model, trajectory.feat).swapaxes(0, 1)


def _decode(world_model: WorldModel, feat: jax.Array) -> jax.Array:
    """(..., F) -> decoded images (..., X, Y, 3), or vectors (..., X) if the agent observes no images."""
    decoded = world_model.observation(feat)
    return decoded['image'] if world_model.nets.image else decoded['vector']


class Player:
    """One trained agent. `arrays` are its weights, with the names of the weights file."""

    def __init__(self, spec: RunSpec, arrays: Mapping[str, np.ndarray]):
        backend.prepare()
        self.spec = spec
        self.task = tasks.get(spec.task)
        spaces = envs.make(spec.task, 0, **spec.options).spaces
        self.nets = dataclasses.replace(lanes.networks_of(spec, spaces), explore=False)
        self.program = lanes.program(self.nets, 1)
        self.params = self._params(arrays)
        self.evaluator = rollout.Evaluator(self.program, [spec])
        self.envs = self.evaluator.envs.envs

    def _params(self, arrays: Mapping[str, np.ndarray]) -> Tree:
        """The weights with a lane axis of 1, without the slow critic."""
        initial = jax.eval_shape(self.program.init, lanes.keys([self.spec], 'init'), 0)
        like = dict(initial['params'])
        like['task'] = {name: branch for name, branch in like['task'].items() if name != 'slow'}
        one_lane = {name: array[None] for name, array in arrays.items()}
        return lanes.unflatten(like, one_lane)

    def episode(self) -> dict[str, np.ndarray]:
        """Play the first episode of the run's last evaluation again. Returns arrays (N, ...) by name.

        The names are `vector`, `image` or both, `decoded` (the image, if there is one), `reward`, `wm_loss`,
        `recon_loss`, `value`, `deter` and `stoch`.
        """
        schedule = self.spec.schedule
        return self._play(self.envs, schedule.evaluation_at(schedule.steps), kept=1)[0]

    def walk(self, x: float, y: float) -> dict[str, np.ndarray]:
        """Play an episode of the maze that begins at rest in (x, y), in metres. Returns arrays as `episode` does."""
        mazes = [placed.maze(self.spec, x, y) for _ in self.envs]
        return self._play(mazes, 0, kept=1)[0]

    def rollouts(self, environments: Sequence[envs.Env]) -> list[dict[str, np.ndarray]]:
        """Play an episode in each of these environments. Returns arrays as `episode` does, for each of them."""
        return self._play(environments, 0, kept=len(environments))

    def imagine(self, episode: dict[str, np.ndarray], step: int, horizon: int, times: int = 8) -> np.ndarray:
        """Imagine `horizon` steps, H, from a step of an episode, `times` times. Returns (times, H + 1, ...).

        Each time, actions and latents are sampled with other random numbers. The result is decoded.
        """
        return self.imagine_from(episode, [step], horizon, times)[0]

    def imagine_from(
        self, episode: dict[str, np.ndarray], steps: Sequence[int], horizon: int, times: int
    ) -> np.ndarray:
        """`imagine` from each of these steps. Returns (len(steps), times, H + 1, ...)."""
        model = dataclasses.replace(self.nets.model, horizon=horizon)
        nets = dataclasses.replace(self.nets, model=model)
        deter = jnp.asarray(episode['deter'][steps].repeat(times, 0))
        stoch = jnp.asarray(episode['stoch'][steps].repeat(times, 0))
        key = jax.random.fold_in(lanes.keys([self.spec], 'imagine')[0], steps[0])
        imagined = np.asarray(_imagine(nets, _only_lane(self.params), State(deter, stoch), key))
        return imagined.reshape(len(steps), times, *imagined.shape[1:])

    def _play(self, environments: Sequence[envs.Env], index: int, kept: int) -> list[dict[str, np.ndarray]]:
        """Play evaluation number `index`.

        Returns arrays (N, ...) of each of its first `kept` episodes, measures and states too.
        """
        self.evaluator.envs.envs = environments
        self.evaluator.count = len(environments)
        episodes = self.evaluator.play(self.params, index)
        keys = lanes.keys([self.spec], 'eval_model')
        examine = functools.partial(self._examine, kept=kept)
        examined = evaluate.assess(examine, self.task, self.params, episodes, keys=keys, counter=2 * index)[0]
        found = []
        for number in range(kept):
            valid = episodes[0]['valid'][number]
            steps = {}
            for name, values in (examined | episodes[0]).items():
                steps[name] = values[number][: len(valid)][valid]
            found.append(steps)
        return found

    def _examine(self, params: Tree, episodes: Tree, keys: jax.Array, counter: int, kept: int) -> Tree:
        """The function `_examine` for arrays with a lane axis of 1."""
        key = jax.random.fold_in(keys[0], counter)
        measures = _examine(self.nets, _only_lane(params), _only_lane(episodes), key, kept)
        return jax.tree.map(lambda array: array[None], measures)


def _only_lane(tree: Tree) -> Tree:
    """Arrays without their lane axis, which has size 1."""
    return jax.tree.map(lambda array: array[0], tree)
