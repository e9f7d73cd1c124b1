"""Trains several runs as lanes of one program: arrays have a leading lane axis, L.

Every lane has its own seeds and values, and none has an effect on another. A single lane is
compiled without the axis; several lanes are vmapped.
"""

import functools
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

# Compiler options of programs that run seldom: they compile in a fifth to a half of the time, in less memory.
QUICK = {'xla_cpu_use_fusion_emitters': False, 'xla_backend_optimization_level': 1}


def number(seed: int, stream: str) -> int:
    """A seed for one named stream of a run."""
    return int(streams.rng(seed, stream).integers(2**31))


def keys(specs: list[RunSpec], stream: str) -> jax.Array:
    """(L,) jax keys of a named stream, one per lane."""
    return jnp.stack([jax.random.key(number(spec.seed, stream)) for spec in specs])


def hyper(specs: list[RunSpec]) -> dict[str, np.ndarray]:
    """The traced values of all lanes, each (L,).

    Those of the source's side come from `RunSpec.like`.
    """
    values = {}
    for each, fact in facts(RunSpec):
        if fact.role is Role.TRACED:
            owners = [spec.like for spec in specs] if fact.side is Side.SOURCE else specs
            lane_values = [getattr(owner, each.name) for owner in owners]
            values[each.name] = np.array(lane_values, np.float32)
    return values


def networks_of(spec: RunSpec, spaces: Spaces) -> Networks:
    """The networks of a run in an environment of these spaces."""
    kind = {'explore': spec.like.w_expl > 0, 'frozen': spec.world_model == 'frozen'}
    return Networks(spec.model, spaces.vector, spaces.image, spaces.action, spaces.discrete, **kind)


def _lift(fn, lanes):
    """The function of one lane, `fn(*lane_args, counter)`, for `lanes` lanes, which share the counter."""
    if lanes > 1:
        return lambda *args: jax.vmap(fn, (0,) * (len(args) - 1) + (None,))(*args)
    squeeze, expand = (functools.partial(jax.tree.map, f) for f in (lambda x: x[0], lambda x: x[None]))
    return lambda *args: expand(fn(*squeeze(args[:-1]), args[-1]))


class Program:
    """The compiled functions of a group of `lanes` runs with equal networks; `program(...)` caches them."""

    def __init__(self, nets: Networks, lanes: int):
        def chunk(state, batches, values, key, update):
            count = batches['reward'].shape[0]
            each = jax.vmap(lambda i: jax.random.fold_in(key, update + i))(jnp.arange(count))
            return dreamer.train_chunk(nets, state, batches, values, each)

        def act(params, carry, obs, key, counter):
            return dreamer.policy(nets, params, carry, obs, jax.random.fold_in(key, counter))

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

        self.nets, self.lanes = nets, lanes
        self.init = jax.jit(_lift(init, lanes), compiler_options=QUICK)
        self.chunk = jax.jit(_lift(chunk, lanes), donate_argnums=0)
        self.assess = jax.jit(_lift(assess, lanes), compiler_options=QUICK)
        self.decode = jax.jit(_lift(decode, lanes), compiler_options=QUICK)
        self._act = jax.jit(_lift(act, lanes))
        # What watches has programs of its own, so that the agent's are the same with it and without it.
        self.init_watchers = jax.jit(_lift(init_watchers, lanes), compiler_options=QUICK)
        self.watch = jax.jit(_lift(watch, lanes), donate_argnums=0)
        self.measure = jax.jit(_lift(measure, lanes), compiler_options=QUICK)
        self.foresee = jax.jit(_lift(foresee, lanes), compiler_options=QUICK)

    def act(self, behaviour: str, params: Any, carry: Any, obs: dict, keys: jax.Array, counter: int) -> Any:
        """One policy step of every lane.

        Only the weights that acting needs go into the program.
        """
        wm = {name: params['wm'][name] for name in ('encoder', 'rssm')}
        return self._act({'wm': wm, 'actor': params[behaviour]['actor']}, carry, obs, keys, counter)

    def carry(self, size: int) -> Any:
        """The policy's state in `size` environments per lane before their first step."""
        return jax.tree.map(lambda x: jnp.repeat(x[None], self.lanes, 0), dreamer.init_carry(self.nets, size))

    def initial_state(self, specs: list[RunSpec]) -> dict[str, Any]:
        """The state before the first update: own initial weights, mixed with the source's as `alpha` says (Eq. S3).

        With world_model='copied', the world model starts from the source's weights.
        """

        def draw(seeds):
            return self.init(jnp.stack([jax.random.key(number(seed, 'init')) for seed in seeds]), 0)

        state = draw([spec.init_seed for spec in specs])
        if all(spec.like is spec for spec in specs):
            return state
        source = draw([spec.like.init_seed for spec in specs])
        alpha = np.array([spec.alpha for spec in specs], np.float32)

        def mix(own_weights, source_weights):
            share = alpha.reshape((-1,) + (1,) * (own_weights.ndim - 1))
            return (1 - share) * source_weights + share * own_weights

        params = jax.tree.map(mix, state['params'], source['params'])
        copied = np.array([spec.world_model == 'copied' for spec in specs])
        choose = functools.partial(_where, copied)
        params['wm'] = jax.tree.map(choose, source['params']['wm'], params['wm'])
        return {**state, 'params': params}


def _where(chosen, array, other):
    """`array` (L, ...) in the lanes that are `chosen` (L,), and `other` (L, ...) in the rest."""
    return jnp.where(chosen.reshape((-1,) + (1,) * (array.ndim - 1)), array, other)


@functools.lru_cache(maxsize=8)
def program(nets: Networks, lanes: int) -> Program:
    """The group's program, compiled once per process."""
    return Program(nets, lanes)


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """A pytree of nested dicts, tuples and lists -> {'a/b/0': array} on the host."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf) for path, leaf in leaves}


def unflatten(like: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Inverse of `flatten`, in the structure of `like`."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in paths]
    return jax.tree_util.tree_unflatten(treedef, [jnp.asarray(arrays[name]) for name in names])
