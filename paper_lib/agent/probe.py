"""Autoencoder of the policy input (Appendix A.3): an out-of-distribution detector that never touches the agent."""

import jax
import jax.numpy as jnp

from paper_lib.agent import optim

LEARNING_RATE = 1e-3


def init(agent, key):
    params = agent.probe.init(key, jnp.zeros((1, agent.features)))
    return params, optim.HEAD.init(params)


def error(agent, params, feat):
    """(..., F) -> (...,) mean squared reconstruction error."""
    return ((agent.probe.apply(params, feat) - feat) ** 2).mean(-1)


def train(agent, params, opt, feat):
    """One Adam step on the posterior features (B, T, F) of the training batch (Eq. S2 with unit variance)."""
    value, grads = jax.value_and_grad(lambda p: error(agent, p, jax.lax.stop_gradient(feat)).mean())(params)
    params, opt = optim.step(optim.HEAD, params, grads, opt, LEARNING_RATE)
    return params, opt, {'probe_loss': value}
