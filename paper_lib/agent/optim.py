"""Optimisers of v1: clip by global norm, Adam, learning rate. One per network group."""

import jax
import optax


def _adam(clip, eps):
    return optax.flatten(optax.chain(optax.clip_by_global_norm(clip), optax.scale_by_adam(eps=eps)))


MODEL = _adam(clip=1000.0, eps=1e-8)
HEAD = _adam(clip=100.0, eps=1e-5)  # actor, critics, ensemble, probe


def step(optimiser, params, grads, state, lr):
    """(new params, new optimiser state); `lr` may be traced, so that lanes can differ in it."""
    updates, state = optimiser.update(grads, state, params)
    return jax.tree.map(lambda p, u: p - lr * u, params, updates), state


def count(state):
    """Number of steps that an optimiser has made."""
    return optax.tree_utils.tree_get(state, 'count')
