"""Compiled programs of several runs, the lanes. All arrays have the lanes as leading axis, L.

Every lane has its own seeds and values, and no lane has an effect on another. Several lanes
are vmapped; a single lane is compiled without the axis.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib.agent import dreamer, measures
from paper_lib.agent.networks import Networks
from paper_lib.contract.facts import Role, Side, facts
from paper_lib.contract.spec import RunSpec
from paper_lib.data import streams
from paper_lib.envs import Spaces

# Compiler options for programs that rarely run: compilation takes a fifth to a half of the time, and less memory.
QUICK = {'xla_cpu_use_fusion_emitters': False, 'xla_backend_optimization_level': 1}


def stream_seed(seed: int, stream: str) -> int:
    """The seed of a named stream of random numbers of a run."""
    return int(streams.rng(seed, stream).integers(2**31))


def keys(specs: list[RunSpec], stream: str) -> jax.Array:
    """(L,) jax keys of a named stream of random numbers, one per lane."""
    return jnp.stack([jax.random.key(stream_seed(spec.seed, stream)) for spec in specs])


def hyper(specs: list[RunSpec]) -> dict[str, np.ndarray]:
    """The traced values of all lanes by name, (L,) each.

    Values that an offline run takes from its source's side come from `RunSpec.like`.
    """
    values = {}
    for field, fact in facts(RunSpec):
        if fact.role is Role.TRACED:
            owners = [spec.like for spec in specs] if fact.side is Side.SOURCE else specs
            lane_values = [getattr(owner, field.name) for owner in owners]
            values[field.name] = np.array(lane_values, np.float32)
    return values


def networks_of(spec: RunSpec, spaces: Spaces) -> Networks:
    """The networks of a run in an environment of these spaces."""
    explore = spec.like.w_expl > 0
    frozen = spec.world_model == 'frozen'
    return Networks(
        spec.model, spaces.vector, spaces.image, spaces.action, spaces.discrete, explore=explore, frozen=frozen
    )


def _lift(function: Callable, lanes: int) -> Callable:
    """Turn `function(*args, counter)` of one lane into a function of `lanes` lanes with the same counter."""
    if lanes > 1:
        return lambda *args: jax.vmap(function, (0,) * (len(args) - 1) + (None,))(*args)

    def of_one_lane(*args):
        *lane_args, counter = args
        lane_args = jax.tree.map(lambda x: x[0], lane_args)
        result = function(*lane_args, counter)
        return jax.tree.map(lambda x: x[None], result)

    return of_one_lane


class Program:
    """The compiled functions of a group of `lanes` runs with equal networks; `program(...)` caches them."""

    def __init__(self, nets: Networks, lanes: int):
        def chunk(state, batches, hyper, key, update):
            count = batches['reward'].shape[0]
            keys = jax.vmap(lambda i: jax.random.fold_in(key, update + i))(jnp.arange(count))
            return dreamer.train_chunk(nets, state, batches, hyper, keys)

        def act(params, carry, obs, key, counter):
            return dreamer.act(nets, params, carry, obs, jax.random.fold_in(key, counter))

        def assess(params, episodes, key, counter):
            return dreamer.assess(nets, params, episodes, jax.random.fold_in(key, counter))

        def decode(params, episodes, key, counter):
            return dreamer.decode(nets, params, episodes, jax.random.fold_in(key, counter))

        def init(key, _):
            return dreamer.init(nets, key)

        def init_watchers(key, _):
            return measures.init(nets, key)

        def watch(watchers, params, batch, key, update):
            return measures.train(nets, watchers, params, batch, jax.random.fold_in(key, update))

        def measure(params, norm, windows, key, counter):
            return measures.measure(nets, params, norm, windows, jax.random.fold_in(key, counter))

        def foresee(params, episodes, key, counter):
            return measures.foresee(nets, params, episodes, jax.random.fold_in(key, counter))

        self.nets = nets
        self.lanes = lanes
        self.init = jax.jit(_lift(init, lanes), compiler_options=QUICK)
        self.chunk = jax.jit(_lift(chunk, lanes), donate_argnums=0)
        self.assess = jax.jit(_lift(assess, lanes), compiler_options=QUICK)
        self.decode = jax.jit(_lift(decode, lanes), compiler_options=QUICK)
        self._act = jax.jit(_lift(act, lanes))
        # The watching networks have separate programs, so that the agent's programs are the same without them.
        self.init_watchers = jax.jit(_lift(init_watchers, lanes), compiler_options=QUICK)
        self.watch = jax.jit(_lift(watch, lanes), donate_argnums=0)
        self.measure = jax.jit(_lift(measure, lanes), compiler_options=QUICK)
        self.foresee = jax.jit(_lift(foresee, lanes), compiler_options=QUICK)

    def act(self, behaviour: str, params: Any, carry: Any, obs: dict, *, keys: jax.Array, counter: int) -> Any:
        """One step of the policy of a behaviour ('task' or 'expl') in every lane: see `dreamer.act`.

        The program gets only those weights that acting needs.
        """
        wm = {name: params['wm'][name] for name in ('encoder', 'rssm')}
        acting = {'wm': wm, 'actor': params[behaviour]['actor']}
        return self._act(acting, carry, obs, keys, counter)

    def carry(self, size: int) -> Any:
        """The policy's state in `size` environments per lane before their first step."""
        of_one_lane = dreamer.init_carry(self.nets, size)
        return jax.tree.map(lambda x: jnp.repeat(x[None], self.lanes, 0), of_one_lane)

    def initial_state(self, specs: list[RunSpec]) -> dict[str, Any]:
        """The state before the first update.

        Initial weights are alpha times a run's own and 1 - alpha times its source's (Eq. S3). With
        world_model='copied', the world model has its source's initial weights.
        """

        def draw(seeds):
            keys = [jax.random.key(stream_seed(seed, 'init')) for seed in seeds]
            return self.init(jnp.stack(keys), 0)

        state = draw([spec.init_seed for spec in specs])
        if all(spec.like is spec for spec in specs):
            return state
        source = draw([spec.like.init_seed for spec in specs])
        alpha = np.array([spec.alpha for spec in specs], np.float32)

        copied = np.array([spec.world_model == 'copied' for spec in specs])

        def mix(own_weights, source_weights):
            share = _like(alpha, own_weights)
            return (1 - share) * source_weights + share * own_weights

        def choose(source_weights, mixed_weights):
            return jnp.where(_like(copied, mixed_weights), source_weights, mixed_weights)

        params = jax.tree.map(mix, state['params'], source['params'])
        params['wm'] = jax.tree.map(choose, source['params']['wm'], params['wm'])
        return {**state, 'params': params}


def _like(lane_values: np.ndarray, array: jax.Array) -> np.ndarray:
    """One value per lane (L,), with as many axes as an array (L, ...)."""
    return lane_values.reshape((-1,) + (1,) * (array.ndim - 1))


@functools.lru_cache(maxsize=8)
def program(nets: Networks, lanes: int) -> Program:
    """The group's program, compiled once per process."""
    return Program(nets, lanes)


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """A pytree of nested dicts, tuples and lists -> {'a/b/0': array} on the host."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def unflatten(like: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `flatten`: a pytree with the structure of `like`."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    new_leaves = [jnp.asarray(arrays[_name(path)]) for path, _ in leaves]
    return jax.tree_util.tree_unflatten(structure, new_leaves)


def _name(path: tuple) -> str:
    """The path of a leaf in a pytree as 'a/b/0'."""
    return jax.tree_util.keystr(path, simple=True, separator='/')
