"""World model of DreamerV3 v1: encoder, RSSM, heads, and the loss of Eq. 4.

See `paper_lib.agent` for the sizes.
"""

import functools
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from paper_lib.agent import dists, optim
from paper_lib.agent.kernels.products import convert_kernels
from paper_lib.agent.kernels.recurrence import recur
from paper_lib.agent.layers import flat
from paper_lib.agent.networks import Networks, Params

DYN_SCALE, REP_SCALE = 0.5, 0.1  # beta_dyn, beta_rep of Eq. 4
sg = jax.lax.stop_gradient

# vector, image or both, action (chosen after it), reward, is_first, is_terminal: each (B, T, ...)
Batch = dict[str, jax.Array]


class State(NamedTuple):
    """Where the model is."""

    deter: jax.Array  # (..., D)
    stoch: jax.Array  # (..., S, C)

    @property
    def feat(self) -> jax.Array:
        """(..., F): the input of every head and of the policy."""
        return jnp.concatenate([self.deter, flat(self.stoch)], -1)


class Evidence(NamedTuple):
    """What a filtering step takes in."""

    embed: jax.Array  # (..., E)
    prev_action: jax.Array  # (..., A)
    is_first: jax.Array  # (...,)
    uniform: jax.Array  # (..., S) for sampling the latent


class Filtered(NamedTuple):
    """States sampled from the posteriors, and the posteriors."""

    state: State
    posterior: dists.OneHot


@flax.struct.dataclass
class WorldModel:
    """Networks with their weights {'encoder', 'rssm', 'decoder', 'reward', 'cont'}, or some of them."""

    nets: Networks = flax.struct.field(pytree_node=False)
    params: Params

    def encode(self, obs: Batch) -> jax.Array:
        """Observation of images (..., X, Y, 3), vectors (..., X) or both -> embedding (..., E)."""
        seen = []
        if self.nets.image:
            seen.append(obs['image'])
        if self.nets.vector:
            seen.append(dists.symlog(obs['vector'] * self.nets.model.obs_scale))
        return self.nets.encoder.apply(self.params['encoder'], *seen)

    def initial(self) -> State:
        """The learned initial state, (D,) and (S, C)."""
        return State(*self.nets.rssm.apply(self.params['rssm'], method='initial'))

    def next(self, state: State, action: jax.Array) -> jax.Array:
        """The deter (..., D) that follows a state and an action (..., A)."""
        return self.nets.rssm.apply(self.params['rssm'], *state, action, method='sequence')

    def prior(self, deter: jax.Array) -> dists.OneHot:
        """(..., D) -> distribution of the latent (..., S, C) before the observation is seen."""
        return self.nets.rssm.apply(self.params['rssm'], deter, method='prior')

    def posterior(self, deter: jax.Array, embed: jax.Array) -> dists.OneHot:
        """(..., D), (..., E) -> distribution of the latent (..., S, C) after the observation is seen."""
        return self.nets.rssm.apply(self.params['rssm'], deter, embed, method='posterior')

    def filter(self, fresh: State, state: State, seen: Evidence) -> Filtered:
        """One filtering step of B environments.

        Where is_first is set, it starts from state `fresh`, (D,) and (S, C), and action 0.
        """
        first = seen.is_first[:, None]
        deter = jnp.where(first, fresh.deter, state.deter)
        stoch = jnp.where(first[..., None], fresh.stoch, state.stoch)
        prev_action = jnp.where(first, 0.0, seen.prev_action)
        deter = self.next(State(deter, stoch), prev_action)
        posterior = self.posterior(deter, seen.embed)
        return Filtered(State(deter, posterior.sample(seen.uniform)), posterior)

    def reward(self, feat: jax.Array) -> dists.TwoHot:
        """(..., F) -> distribution (...,) of the reward received on arriving there."""
        return dists.TwoHot(self.nets.reward.apply(self.params['reward'], feat)[0])

    def cont(self, feat: jax.Array) -> dists.Bernoulli:
        """(..., F) -> whether the episode goes on (...,)."""
        return dists.Bernoulli(self.nets.cont.apply(self.params['cont'], feat)[0][..., 0])

    def decode(self, feat: jax.Array) -> dict[str, jax.Array]:
        """(..., F) -> 'image' (..., X, Y, 3) on the [0, 1] scale, 'vector' (..., X) in symlog space, or both."""
        made = self.nets.decoder.apply(self.params['decoder'], feat)
        if not self.nets.image:
            return {'vector': made[0]}
        return {'image': made[0], 'vector': made[1]} if self.nets.vector else {'image': made}

    def observation(self, feat: jax.Array) -> dict[str, jax.Array]:
        """(..., F) -> 'image' (..., X, Y, 3) uint8, 'vector' (..., X), or both, as an environment gives them."""
        made = self.decode(feat)
        if self.nets.image:
            made['image'] = (255 * jnp.clip(made['image'], 0, 1)).round().astype(jnp.uint8)
        if self.nets.vector:
            made['vector'] = dists.symexp(made['vector']) / self.nets.model.obs_scale
        return made

    def for_loop(self) -> 'WorldModel':
        """The recurrent part alone, prepared for use in a loop."""
        rssm = convert_kernels(self.params['rssm'], self.nets.model.precision)
        return self.replace(params={'rssm': rssm})


def init(nets: Networks, keys: jax.Array) -> Params:
    """Fresh weights from five keys."""
    obs = {}
    if nets.image:
        obs['image'] = jnp.zeros((1, *nets.image), jnp.uint8)
    if nets.vector:
        obs['vector'] = jnp.zeros((1, sum(nets.vector)))
    params = {'encoder': nets.encoder.init(keys[0], *obs.values())}
    embed = WorldModel(nets, params).encode(obs)
    feat = jnp.zeros((1, nets.features))
    params['rssm'] = nets.rssm.init(keys[1], jnp.zeros(nets.action), embed[0])
    params['decoder'] = nets.decoder.init(keys[2], feat)
    params['reward'] = nets.reward.init(keys[3], feat)
    params['cont'] = nets.cont.init(keys[4], feat)
    return params


def evidence(wm: WorldModel, batch: Batch, uniform: jax.Array) -> Evidence:
    """What filtering a batch (B, T, ...) takes in; `uniform` (B, T, S) samples the latents."""
    prev_action = jnp.pad(batch['action'][:, :-1], ((0, 0), (1, 0), (0, 0)))
    return Evidence(wm.encode(batch), prev_action, batch['is_first'], uniform)


def observe(wm: WorldModel, seen: Evidence) -> Filtered:
    """Filter sequences (B, T, ...), each from the learned initial state."""
    fresh = wm.initial()
    first = jax.tree.map(lambda x: jnp.repeat(x[None], seen.embed.shape[0], 0), fresh)

    def step(params, state, seen):
        wm, fresh = params
        state, posterior = wm.filter(fresh, state, seen)
        return state, posterior

    filtered = Filtered(*recur(step, (wm.for_loop(), fresh), first, _swap(seen)))
    return _swap(filtered)


def _swap(tree):
    """(B, T, ...) <-> (T, B, ...)."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1), tree)


class Losses(NamedTuple):
    """Components of Eq. 4 by name, each (B, T), and the posterior states that they were computed in."""

    terms: dict[str, jax.Array]
    state: State

    def total(self) -> jax.Array:
        """(B, T) weighted sum of the components (Eq. 4)."""
        terms = self.terms
        kl = DYN_SCALE * terms['dyn'] + REP_SCALE * terms['rep']
        return kl + terms['obs'] + terms['reward'] + terms['cont']


def losses(wm: WorldModel, batch: Batch, uniform: jax.Array) -> Losses:
    """Loss components on a batch; `uniform` (B, T, S) samples the latents.

    Every sequence starts from the learned initial state, whatever its first flag says (v1).
    """
    state, post = observe(wm, evidence(wm, batch, uniform))
    prior = wm.prior(state.deter)
    feat = state.feat
    free = wm.nets.model.free_nats
    terms = {
        'dyn': jnp.maximum(free, sg(post).kl(prior)),
        'rep': jnp.maximum(free, post.kl(sg(prior))),
        'obs': observation_loss(wm, feat, batch),
        'reward': -wm.reward(feat).log_prob(batch['reward']),
        'cont': -wm.cont(feat).log_prob(1.0 - batch['is_terminal']),
    }
    assert all(term.shape == batch['reward'].shape for term in terms.values())
    return Losses(terms, state)


def observation_loss(wm: WorldModel, feat: jax.Array, batch: Batch) -> jax.Array:
    """(...,) summed squared error of pixels in [0, 1], of symlog vectors, or of both (no 1/2, no mean)."""
    made, model = wm.decode(feat), wm.nets.model
    errors = []
    if wm.nets.image:
        errors.append(((made['image'] - batch['image'].astype(jnp.float32) / 255) ** 2).sum((-3, -2, -1)))
    if wm.nets.vector:
        errors.append(model.vector_scale * dists.symlog_mse(made['vector'], batch['vector'] * model.obs_scale))
    return functools.reduce(jnp.add, errors)


def loss(wm: WorldModel, batch: Batch, uniform: jax.Array) -> tuple[jax.Array, Losses]:
    """The mean of Eq. 4, and its components."""
    parts = losses(wm, batch, uniform)
    return parts.total().mean(), parts


class Trained(NamedTuple):
    """What an update leaves: weights, optimiser, the posterior states before it, and the metrics."""

    wm: WorldModel
    opt: optax.OptState
    state: State
    metrics: dict[str, jax.Array]


def train(wm: WorldModel, opt: optax.OptState, batch: Batch, uniform: jax.Array, lr: jax.Array) -> Trained:
    """One Adam step on Eq. 4; a frozen model is only used."""
    if wm.nets.frozen:
        mean, parts = loss(wm, batch, uniform)
    else:
        (mean, parts), grads = jax.value_and_grad(loss, has_aux=True)(wm, batch, uniform)
        params, opt = optim.step(optim.MODEL, wm.params, grads.params, opt, lr)
        wm = wm.replace(params=params)
    means = {name: term.mean() for name, term in parts.terms.items()}
    return Trained(wm, opt, parts.state, {'model_loss': mean, **means})
