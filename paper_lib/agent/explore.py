"""Plan2Explore as in v1: an ensemble predicts the next latent, its disagreement is a reward."""

import jax
import jax.numpy as jnp

from paper_lib.agent import dists, optim
from paper_lib.agent import world_model as wmod

sg = jax.lax.stop_gradient


def init(agent, key):
    """Parameters with a leading ensemble axis, and their common optimiser's state."""
    inputs = jnp.zeros((1, agent.features + agent.action))
    params = jax.vmap(lambda k: agent.disag.init(k, inputs))(jax.random.split(key, agent.model.ensemble))
    return params, optim.HEAD.init(params)


def predict(agent, ensemble, feat, action):
    """(..., F), (..., A) -> (ensemble, ..., target) predictions."""
    inputs = jnp.concatenate([feat, action], -1)
    return jax.vmap(lambda p: agent.disag.apply(p, inputs)[0])(ensemble)


def target(agent, stoch, batch):
    """What the ensemble predicts of each step, (B, T, target): the sampled latents (v1), or the symlog vector."""
    if agent.model.disag_target == 'vector':
        return dists.symlog(batch['vector'] * agent.model.obs_scale)
    return stoch.reshape((*stoch.shape[:-2], -1))


def loss(agent, ensemble, states, batch):
    """Summed squared error of the next step's target, mean over B and T - 1, summed over nets."""
    deter, stoch = states
    pred = predict(agent, ensemble, sg(wmod.features(deter, stoch))[:, :-1], batch['action'][:, :-1])
    return ((pred - sg(target(agent, stoch, batch))[:, 1:]) ** 2).sum(-1).mean((1, 2)).sum()


def reward(agent, ensemble):
    """Reward function (wm, feat (H + 1, N, F), action) -> (H, N): disagreement at states and actions 1..H."""

    def disagreement(wm, feat, action):
        variance = predict(agent, ensemble, feat[1:], action[1:]).var(0)
        differ = variance > 0  # few networks agree to the last bit now and then: there the root has no gradient
        return agent.model.disag_scale * jnp.where(differ, jnp.sqrt(jnp.where(differ, variance, 1)), 0).mean(-1)

    return disagreement


def train(agent, ensemble, opt, states, batch, hyper):
    """One Adam step of all networks of the ensemble on the posteriors of the training batch."""
    value, grads = jax.value_and_grad(loss, 1)(agent, ensemble, states, batch)
    ensemble, opt = optim.step(optim.HEAD, ensemble, grads, opt, hyper['lr_expl'])
    return ensemble, opt, {'disag_loss': value}
