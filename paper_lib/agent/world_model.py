"""World model of DreamerV3 v1: encoder, RSSM, heads, and the loss of Eq. 4.

The parts of Eq. 2:

h_t, z_t             the `State` s_t: `deter` and `stoch`; heads and policy see both as `feat`
sequence model       `WorldModel.next`: s_{t-1}, a_{t-1} -> h_t
encoder              `WorldModel.posterior`: h_t, embedded x_t -> distribution of z_t; `encode` embeds x_t
dynamics predictor   `WorldModel.prior`: h_t -> distribution of z_t
decoder              `WorldModel.decode`, `reward` and `cont`: s_t -> x_t, r_t and c_t

See `paper_lib.agent` for the sizes.
"""

import functools
from typing import Any, NamedTuple

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
    """State of the recurrent model."""

    deter: jax.Array  # (..., D)
    stoch: jax.Array  # (..., S, C)

    @property
    def feat(self) -> jax.Array:
        """(..., F): the input of every head and of the policy."""
        return jnp.concatenate([self.deter, flat(self.stoch)], -1)


class Evidence(NamedTuple):
    """What a filtering step reads besides the state."""

    embed: jax.Array  # (..., E)
    prev_action: jax.Array  # (..., A)
    is_first: jax.Array  # (...,)
    uniform: jax.Array  # (..., S) for sampling the latent


class Filtered(NamedTuple):
    """Posteriors, and the states sampled from them."""

    state: State
    posterior: dists.OneHot


@flax.struct.dataclass
class WorldModel:
    """The networks with weights {'encoder', 'rssm', 'decoder', 'reward', 'cont'}, or with some of these."""

    nets: Networks = flax.struct.field(pytree_node=False)
    params: Params

    def encode(self, obs: Batch) -> jax.Array:
        """Observations with 'image' (..., X, Y, 3), 'vector' (..., X) or both -> embeddings (..., E)."""
        inputs = []
        if self.nets.image:
            inputs.append(obs['image'])
        if self.nets.vector:
            inputs.append(dists.symlog(obs['vector'] * self.nets.model.obs_scale))
        return self.nets.encoder.apply(self.params['encoder'], *inputs)

    def initial(self) -> State:
        """The learned initial state: deter (D,) and stoch (S, C)."""
        return State(*self.nets.rssm.apply(self.params['rssm'], method='initial'))

    def next(self, state: State, action: jax.Array) -> jax.Array:
        """The deter (..., D) that follows a state and an action (..., A)."""
        return self.nets.rssm.apply(self.params['rssm'], *state, action, method='next')

    def prior(self, deter: jax.Array) -> dists.OneHot:
        """(..., D) -> the prior: distribution of the latent (..., S, C) before the observation."""
        return self.nets.rssm.apply(self.params['rssm'], deter, method='prior')

    def posterior(self, deter: jax.Array, embed: jax.Array) -> dists.OneHot:
        """(..., D), (..., E) -> the posterior: distribution of the latent (..., S, C) after the observation."""
        return self.nets.rssm.apply(self.params['rssm'], deter, embed, method='posterior')

    def filter(self, initial: State, state: State, evidence: Evidence) -> Filtered:
        """One filtering step of B environments from `state` (B, ...).

        Where is_first is true, it starts from the state `initial`, (D,) and (S, C), and action 0.
        """
        first = evidence.is_first[:, None]
        deter = jnp.where(first, initial.deter, state.deter)
        stoch = jnp.where(first[..., None], initial.stoch, state.stoch)
        prev_action = jnp.where(first, 0.0, evidence.prev_action)
        deter = self.next(State(deter, stoch), prev_action)
        posterior = self.posterior(deter, evidence.embed)
        stoch = posterior.sample(evidence.uniform)
        return Filtered(State(deter, stoch), posterior)

    def reward(self, feat: jax.Array) -> dists.TwoHot:
        """(..., F) -> distribution (...,) of the reward that came with the step into this state."""
        return dists.TwoHot(self.nets.reward.apply(self.params['reward'], feat)[0])

    def cont(self, feat: jax.Array) -> dists.Bernoulli:
        """(..., F) -> distribution (...,) of the continue flag: 1 if the episode goes on."""
        return dists.Bernoulli(self.nets.cont.apply(self.params['cont'], feat)[0][..., 0])

    def decode(self, feat: jax.Array) -> dict[str, jax.Array]:
        """(..., F) -> 'image' (..., X, Y, 3) on the [0, 1] scale, 'vector' (..., X) in symlog space, or both."""
        outputs = self.nets.decoder.apply(self.params['decoder'], feat)
        if not self.nets.image:
            return {'vector': outputs[0]}
        if not self.nets.vector:
            return {'image': outputs}
        return {'image': outputs[0], 'vector': outputs[1]}

    def observation(self, feat: jax.Array) -> dict[str, jax.Array]:
        """(..., F) -> decoded 'image' (..., X, Y, 3) uint8, 'vector' (..., X), or both, in an environment's units."""
        decoded = self.decode(feat)
        if self.nets.image:
            decoded['image'] = (255 * jnp.clip(decoded['image'], 0, 1)).round().astype(jnp.uint8)
        if self.nets.vector:
            decoded['vector'] = dists.symexp(decoded['vector']) / self.nets.model.obs_scale
        return decoded

    def for_loop(self) -> 'WorldModel':
        """The recurrent model alone, for use in a loop: its kernels are converted once, before the loop."""
        rssm = convert_kernels(self.params['rssm'], self.nets.model.precision)
        return self.replace(params={'rssm': rssm})


def init(nets: Networks, keys: jax.Array) -> Params:
    """Initial weights from five keys."""
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
    """The evidence of every step of a batch (B, T, ...); `uniform` (B, T, S) samples the latents."""
    prev_action = jnp.pad(batch['action'][:, :-1], ((0, 0), (1, 0), (0, 0)))
    return Evidence(wm.encode(batch), prev_action, batch['is_first'], uniform)


def observe(wm: WorldModel, evidence: Evidence) -> Filtered:
    """Filter sequences (B, T, ...), each from the learned initial state."""
    initial = wm.initial()
    batch_size = evidence.embed.shape[0]
    first = jax.tree.map(lambda x: jnp.repeat(x[None], batch_size, 0), initial)

    def step(params, state, evidence):
        wm, initial = params
        state, posterior = wm.filter(initial, state, evidence)
        return state, posterior

    filtered = Filtered(*recur(step, (wm.for_loop(), initial), first, _swap(evidence)))
    return _swap(filtered)


def _swap(tree: Any) -> Any:
    """Arrays (B, T, ...) -> (T, B, ...), or the reverse."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1), tree)


class Losses(NamedTuple):
    """The terms of Eq. 4, and the posterior states that they are computed in."""

    terms: dict[str, jax.Array]  # (B, T) each: 'dyn' and 'rep' (Eq. S1); 'obs', 'reward' and 'cont', which predict
    state: State  # (B, T, ...)

    def total(self) -> jax.Array:
        """(B, T) weighted sum of the terms (Eq. 4)."""
        terms = self.terms
        kl = DYN_SCALE * terms['dyn'] + REP_SCALE * terms['rep']
        return kl + terms['obs'] + terms['reward'] + terms['cont']


def losses(wm: WorldModel, batch: Batch, uniform: jax.Array) -> Losses:
    """The terms of the loss on a batch (B, T, ...); `uniform` (B, T, S) samples the latents.

    Every sequence starts from the learned initial state, also where its first step has no
    is_first (v1).
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
    """(..., F) -> (...,) squared error, summed over pixels in [0, 1], numbers in symlog space, or both.

    It has no factor 1/2 and is not a mean.
    """
    decoded = wm.decode(feat)
    model = wm.nets.model
    errors = []
    if wm.nets.image:
        image = batch['image'].astype(jnp.float32) / 255
        errors.append(((decoded['image'] - image) ** 2).sum((-3, -2, -1)))
    if wm.nets.vector:
        vector = batch['vector'] * model.obs_scale
        errors.append(model.vector_scale * dists.symlog_mse(decoded['vector'], vector))
    return functools.reduce(jnp.add, errors)


def loss(wm: WorldModel, batch: Batch, uniform: jax.Array) -> tuple[jax.Array, Losses]:
    """The mean of Eq. 4 over a batch (B, T, ...), and its terms."""
    all_losses = losses(wm, batch, uniform)
    return all_losses.total().mean(), all_losses


class Trained(NamedTuple):
    """The result of an update."""

    wm: WorldModel
    opt: optax.OptState
    state: State  # (B, T, ...) posterior states, computed with the weights before the update
    metrics: dict[str, jax.Array]


def train(wm: WorldModel, opt: optax.OptState, batch: Batch, uniform: jax.Array, lr: jax.Array) -> Trained:
    """One Adam step on Eq. 4. The weights of a frozen model stay the same."""
    if wm.nets.frozen:
        mean, all_losses = loss(wm, batch, uniform)
    else:
        (mean, all_losses), grads = jax.value_and_grad(loss, has_aux=True)(wm, batch, uniform)
        params, opt = optim.step(optim.MODEL, wm.params, grads.params, opt, lr)
        wm = wm.replace(params=params)
    means = {name: term.mean() for name, term in all_losses.terms.items()}
    return Trained(wm, opt, all_losses.state, {'model_loss': mean, **means})
