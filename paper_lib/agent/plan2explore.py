"""Plan2Explore as in v1: the networks of an ensemble predict the next latent, and their disagreement is a reward."""

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from paper_lib.agent import dists, optim
from paper_lib.agent.actor_critic import Trajectory
from paper_lib.agent.layers import flat
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.world_model import Batch, State

sg = jax.lax.stop_gradient


@flax.struct.dataclass
class Ensemble:
    """The ensemble's networks with their weights, whose leading axis is that of the networks."""

    nets: Networks = flax.struct.field(pytree_node=False)
    params: Params

    def __call__(self, feat: jax.Array, action: jax.Array) -> jax.Array:
        """(..., F), (..., A) -> (ensemble, ..., X) predictions of the next step's target."""
        inputs = jnp.concatenate([feat, action], -1)
        return jax.vmap(lambda params: self.nets.disag.apply(params, inputs)[0])(self.params)


def init(nets: Networks, key: jax.Array) -> tuple[Params, optax.OptState]:
    """Fresh weights, and the state of the optimiser that all networks share."""
    inputs = jnp.zeros((1, nets.features + nets.action))
    keys = jax.random.split(key, nets.model.ensemble)
    params = jax.vmap(lambda key: nets.disag.init(key, inputs))(keys)
    return params, optim.HEAD.init(params)


def target(nets: Networks, stoch: jax.Array, batch: Batch) -> jax.Array:
    """(B, T, X) what the ensemble predicts of each step: the sampled latents (v1), or the vector in symlog space."""
    if nets.model.disag_target == 'vector':
        return dists.symlog(batch['vector'] * nets.model.obs_scale)
    return flat(stoch)


def loss(ensemble: Ensemble, state: State, batch: Batch) -> jax.Array:
    """Squared error of the predictions: summed over the target, mean over B and T - 1, summed over networks."""
    pred = ensemble(sg(state.feat)[:, :-1], batch['action'][:, :-1])
    targets = sg(target(ensemble.nets, state.stoch, batch))[:, 1:]
    error = (pred - targets) ** 2
    return error.sum(-1).mean((1, 2)).sum()


def disagreement(ensemble: Ensemble, trajectory: Trajectory) -> jax.Array:
    """(H, N) rewards at states and actions 1 to H, r_disag of Eq. 5.

    A reward is the standard deviation over networks, and its mean over the target.
    """
    variance = ensemble(trajectory.feat[1:], trajectory.action[1:]).var(0)
    differ = variance > 0  # few networks may agree to the last bit, and the root has no gradient at 0
    deviation = jnp.where(differ, jnp.sqrt(jnp.where(differ, variance, 1)), 0)
    return ensemble.nets.model.disag_scale * deviation.mean(-1)


class Trained(NamedTuple):
    """The result of an update."""

    ensemble: Ensemble
    opt: optax.OptState
    metrics: dict[str, jax.Array]


def train(ensemble: Ensemble, opt: optax.OptState, state: State, batch: Batch, lr: jax.Array) -> Trained:
    """One Adam step of all networks on the posterior states (B, T) of the training batch."""
    value, grads = jax.value_and_grad(loss)(ensemble, state, batch)
    params, opt = optim.step(optim.HEAD, ensemble.params, grads.params, opt, lr)
    return Trained(ensemble.replace(params=params), opt, {'disag_loss': value})
