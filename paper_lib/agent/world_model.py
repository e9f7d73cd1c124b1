"""World model of DreamerV3 v1: encoder, RSSM, heads, and the loss of Eq. 4.

Legend: B batch, T time, D deter, S latents, C classes, E embedding, F = D + S * C features, A actions.
`wm` is the parameter tree {'encoder', 'rssm', 'decoder', 'reward', 'cont'} of one lane.
"""

import jax
import jax.numpy as jnp

from paper_lib.agent import dists, nets

DYN_SCALE, REP_SCALE = 0.5, 0.1  # beta_dyn, beta_rep of Eq. 4
sg = jax.lax.stop_gradient


def features(deter, stoch):
    """(..., D), (..., S, C) -> (..., F): the input of every head and of the policy."""
    return jnp.concatenate([deter, stoch.reshape((*stoch.shape[:-2], -1))], -1)


def encode(agent, wm, obs):
    """Observation (..., D_obs) or (..., H, W, 3) -> embedding (..., E)."""
    if agent.image:
        return agent.encoder.apply(wm['encoder'], obs['image'])
    return agent.encoder.apply(wm['encoder'], dists.symlog(obs['vector'] * agent.model.obs_scale))


def observe(agent, wm, embed, prev_action, is_first, uniform):
    """Filter (B, T, E), (B, T, A), (B, T), (B, T, S) -> deter (B, T, D), stoch and posterior (B, T, S, C)."""
    fresh = agent.rssm.apply(wm['rssm'], method='initial')
    first = jax.tree.map(lambda x: jnp.repeat(x[None], embed.shape[0], 0), fresh)

    def step(params, carry, inputs):
        return observe_step(agent, *params, carry, *inputs)

    inputs = jax.tree.map(lambda x: x.swapaxes(0, 1), (embed, prev_action, is_first, uniform))
    states, post = recur(step, ({'rssm': nets.operands(wm['rssm'], agent.model.precision)}, fresh), first, inputs)
    return jax.tree.map(lambda x: x.swapaxes(0, 1), (*states, post))


def recur(step, params, carry, inputs):
    """Loop over `step(params, carry, inputs) -> (carry, output)`: all carries after a step and all outputs, (T, ...).

    Carries (B, ...), inputs (T, B, ...) and outputs are rows that do not see each other; params have no axis of rows.
    Of what the loop computes its gradient keeps the carries alone. The rest is computed again: in a loop what goes from
    carry to carry, and by one step of T x B rows, in few large products, what goes to params and inputs. `step` may use
    no traced values but its arguments.
    """

    @jax.custom_vjp
    def run(params, carry, inputs):
        def body(carry, inputs):
            carry, output = step(params, carry, inputs)
            return carry, (carry, output)

        return jax.lax.scan(body, carry, inputs)[1]

    def forward(params, carry, inputs):
        result = run(params, carry, inputs)
        return result, (params, carry, inputs, result[0])

    def backward(kept, cotangents):
        params, carry, inputs, after = kept
        before = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), carry, after)

        def body(later, at):
            before, inputs, (after, output) = at
            after = jax.tree.map(jnp.add, after, later)
            _, pull = jax.vjp(lambda carry: step(params, carry, inputs), before)
            return pull((after, output))[0], after

        zeros = jax.tree.map(jnp.zeros_like, carry)
        first, after = jax.lax.scan(body, zeros, (before, inputs, cotangents), reverse=True)
        rows = (before, inputs, after, cotangents[1])
        before, flat, after, output = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
        _, pull = jax.vjp(lambda params, flat: step(params, before, flat), params, flat)
        to_params, to_flat = pull((after, output))
        return to_params, first, jax.tree.map(lambda x, row: row.reshape(x.shape), inputs, to_flat)

    run.defvjp(forward, backward)
    return run(params, carry, inputs)


def observe_step(agent, wm, fresh, carry, embed, prev_action, is_first, uniform):
    """One filtering step; where is_first the state restarts from `fresh`, (D,) and (S, C), and the action from 0."""
    first = is_first[:, None]
    deter = jnp.where(first, fresh[0], carry[0])
    stoch = jnp.where(first[..., None], fresh[1], carry[1])
    prev_action = jnp.where(first, 0.0, prev_action)
    deter = agent.rssm.apply(wm['rssm'], deter, stoch, prev_action, method='sequence')
    post = agent.rssm.apply(wm['rssm'], deter, embed, method='posterior')
    return (deter, dists.onehot_sample(post, uniform)), post


def reward_mean(agent, wm, feat):
    """(..., F) -> (...,) predicted reward."""
    return dists.twohot_mean(agent.reward.apply(wm['reward'], feat)[0])


def cont_logit(agent, wm, feat):
    """(..., F) -> (...,) logit of the episode going on."""
    return agent.cont.apply(wm['cont'], feat)[0][..., 0]


def obs_loss(agent, wm, feat, batch):
    """Reconstruction loss (...,): summed squared error of pixels in [0, 1] or of symlog vectors (no 1/2, no mean)."""
    if agent.image:
        pred = agent.decoder.apply(wm['decoder'], feat)
        return ((pred - batch['image'].astype(jnp.float32) / 255) ** 2).sum((-3, -2, -1))
    pred = agent.decoder.apply(wm['decoder'], feat)[0]
    return agent.model.vector_scale * dists.symlog_mse(pred, batch['vector'] * agent.model.obs_scale)


def losses(agent, wm, batch, uniform):
    """Loss components of Eq. 4 per step, each (B, T), and the posterior states (deter, stoch).

    `batch` holds obs, action (chosen after the observation), reward, is_first, is_terminal, each (B, T, ...).
    Every sequence starts from the learned initial state, whatever its first flag says (v1).
    """
    prev_action = jnp.pad(batch['action'][:, :-1], ((0, 0), (1, 0), (0, 0)))
    embed = encode(agent, wm, batch)
    deter, stoch, post = observe(agent, wm, embed, prev_action, batch['is_first'], uniform)
    prior = agent.rssm.apply(wm['rssm'], deter, method='prior')
    feat = features(deter, stoch)
    free = agent.model.free_nats
    terms = {
        'dyn': jnp.maximum(free, dists.onehot_kl(sg(post), prior)),
        'rep': jnp.maximum(free, dists.onehot_kl(post, sg(prior))),
        'obs': obs_loss(agent, wm, feat, batch),
        'reward': -dists.twohot_log_prob(agent.reward.apply(wm['reward'], feat)[0], batch['reward']),
        'cont': dists.bernoulli_loss(cont_logit(agent, wm, feat), 1.0 - batch['is_terminal']),
    }
    assert all(x.shape == batch['reward'].shape for x in terms.values())
    return terms, (deter, stoch)


def total(terms):
    """Weighted sum of the components (Eq. 4), per step."""
    return DYN_SCALE * terms['dyn'] + REP_SCALE * terms['rep'] + terms['obs'] + terms['reward'] + terms['cont']


def loss(agent, wm, batch, uniform):
    """Scalar loss, and (posterior states, metrics) beside it."""
    terms, states = losses(agent, wm, batch, uniform)
    metrics = {name: value.mean() for name, value in terms.items()}
    mean = total(terms).mean()
    return mean, (states, {'model_loss': mean, **metrics})
