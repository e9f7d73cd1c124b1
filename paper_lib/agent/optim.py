"""Optimisers of v1, one for each group of networks: clipping by global norm, Adam, learning rate."""

from typing import Any

import jax
import optax


def _adam(clip: float, eps: float) -> optax.GradientTransformation:
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
    """One step. Returns the new params and the new optimiser state.

    The learning rate `lr` may be a traced value, so that lanes can have different ones.
    """
    updates, state = optimiser.update(grads, state, params)
    params = jax.tree.map(lambda p, u: p - lr * u, params, updates)
    return params, state


def count(state: optax.OptState) -> jax.Array:
    """() number of steps that an optimiser has made."""
    return optax.tree_utils.tree_get(state, 'count')
