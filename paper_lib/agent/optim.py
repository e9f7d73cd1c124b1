"""Optimisers of v1: clip by global norm, Adam, learning rate. One per group of networks."""

from typing import Any

import jax
import optax


def _adam(clip, eps):
    return optax.flatten(optax.chain(optax.clip_by_global_norm(clip), optax.scale_by_adam(eps=eps)))


MODEL = _adam(clip=1000.0, eps=1e-8)
HEAD = _adam(clip=100.0, eps=1e-5)  # actor, critics, ensemble, probe


def step(
    optimiser: optax.GradientTransformation,
    params: Any,
    grads: Any,
    state: optax.OptState,
    lr: float | jax.Array,
) -> tuple[Any, optax.OptState]:
    """One step: (new params, new optimiser state). `lr` may be traced, so that lanes can differ in it."""
    updates, state = optimiser.update(grads, state, params)
    params = jax.tree.map(lambda p, u: p - lr * u, params, updates)
    return params, state


def count(state: optax.OptState) -> jax.Array:
    """Number of steps that an optimiser has made."""
    return optax.tree_utils.tree_get(state, 'count')
