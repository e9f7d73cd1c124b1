"""The probe, an autoencoder of the policy input (Appendix A.3).

It detects unfamiliar inputs, and no other network depends on it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from paper_lib.agent import optim
from paper_lib.agent.networks import Networks, Params

LEARNING_RATE = 1e-3


def init(nets: Networks, key: jax.Array) -> tuple[Params, optax.OptState]:
    """Initial weights, and the state of their optimiser."""
    params = nets.probe.init(key, jnp.zeros((1, nets.features)))
    return params, optim.HEAD.init(params)


def error(nets: Networks, params: Params, feat: jax.Array) -> jax.Array:
    """(..., F) -> (...,) mean squared reconstruction error."""
    return ((nets.probe.apply(params, feat) - feat) ** 2).mean(-1)


class Trained(NamedTuple):
    """The result of an update."""

    params: Params
    opt: optax.OptState
    metrics: dict[str, jax.Array]


def train(nets: Networks, params: Params, opt: optax.OptState, feat: jax.Array) -> Trained:
    """One Adam step on the posterior features (B, T, F) of a batch (Eq. S2 with unit variance)."""
    feat = jax.lax.stop_gradient(feat)
    value, grads = jax.value_and_grad(lambda params: error(nets, params, feat).mean())(params)
    params, opt = optim.step(optim.HEAD, params, grads, opt, LEARNING_RATE)
    return Trained(params, opt, {'probe_loss': value})
