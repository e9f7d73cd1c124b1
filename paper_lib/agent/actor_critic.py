"""Behaviour learning in imagination: DreamerV3 v1's actor and critics over any mix of rewards.

A behaviour is {'actor', 'critics', 'slow'} with one critic per reward name, and one return
normaliser per reward. Legend: H horizon, N imagined trajectories, F features, A actions.
Trajectories are time-major: states 0..H, so (H + 1, N, ...).
"""

import jax
import jax.numpy as jnp

from paper_lib.agent import dists, nets, optim
from paper_lib.agent import world_model as wmod

NORM_RATE = 0.01  # percentile EMA, no bias correction (v1)
SLOW_RATE = 0.02  # slow critic EMA per update
sg = jax.lax.stop_gradient


def actor_dist(agent, actor, feat):
    """(..., F) -> distribution parameters: (mean, std) each (..., A), or log probabilities (..., A)."""
    if agent.discrete:
        return dists.unimix(agent.actor.apply(actor, feat)[0])
    return dists.normal_params(*agent.actor.apply(actor, feat))


def sample_action(agent, dist, noise):
    """Reparameterised sample (..., A); noise is normal (..., A), or uniform (...,) for discrete actions."""
    if agent.discrete:
        return dists.onehot_sample(dist, noise)
    return dist[0] + dist[1] * noise


def action_noise(agent, key, shape):
    """The noise that `sample_action` takes for actions of leading shape `shape`."""
    if agent.discrete:
        return jax.random.uniform(key, shape)
    return jax.random.normal(key, (*shape, agent.action))


def log_prob(agent, dist, action):
    return dists.onehot_log_prob(dist, action) if agent.discrete else dists.normal_log_prob(*dist, action)


def entropy(agent, dist):
    return dists.onehot_entropy(dist) if agent.discrete else dists.normal_entropy(dist[1])


def imagine(agent, wm, actor, start, key, push=None):
    """Roll the actor out in the model from `start` (deter (N, D), stoch (N, S, C)).

    Returns features (H + 1, N, F), actions (H + 1, N, A) and the noise that these were sampled with. `push`
    (H + 1, N, A) is added to the actions: gradients flow to it, to `wm` and `start`, none to the actor.
    """
    horizon, size = agent.model.horizon, start[0].shape[0]
    action_key, latent_key = jax.random.split(key)
    noise = action_noise(agent, action_key, (horizon + 1, size))
    uniform = jax.random.uniform(latent_key, (horizon, size, agent.model.stoch))
    push = jnp.zeros((horizon + 1, size, agent.action)) if push is None else push
    rssm, actor = (nets.operands(params, agent.model.precision) for params in (wm['rssm'], actor))

    def act(deter, stoch, noise, push):
        dist = actor_dist(agent, actor, wmod.features(deter, stoch))
        return sg(sample_action(agent, dist, noise)) + push

    def step(carry, inputs):
        deter, stoch, action = carry
        uniform, noise, push = inputs
        deter = agent.rssm.apply(rssm, deter, stoch, action, method='sequence')
        stoch = dists.onehot_sample(agent.rssm.apply(rssm, deter, method='prior'), uniform)
        carry = (deter, stoch, act(deter, stoch, noise, push))
        return carry, carry

    # The gradient keeps the results of matrix products alone and computes the rest again.
    step = jax.checkpoint(step, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable)
    first = (*start, act(*start, noise[0], push[0]))
    _, rest = jax.lax.scan(step, first, (uniform, noise[1:], push[1:]))
    deter, stoch, action = jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), first, rest)
    return wmod.features(deter, stoch), action, noise


def continuation(agent, wm, feat, first_cont):
    """(H + 1, N): 0/1 mode of the continue head, the real flag at the start state."""
    cont = (wmod.cont_logit(agent, wm, feat[1:]) > 0).astype(jnp.float32)
    return jnp.concatenate([first_cont[None], cont])


def weights(cont, gamma):
    """(H + 1, N) continue flags -> probability weight of each state, 1 (or its flag) at the start."""
    return jnp.cumprod(gamma * cont, 0) / gamma


def lambda_return(reward, value, cont, gamma, lam):
    """R_t = r_{t+1} + gamma c_{t+1} [(1 - lam) v_{t+1} + lam R_{t+1}], R_H = v_H.

    reward (H, N) is r_1..r_H; value and cont (H + 1, N) are at states 0..H. Returns (H, N).
    """

    def step(ret, inputs):
        reward, value, disc = inputs
        ret = reward + disc * ((1 - lam) * value + lam * ret)
        return ret, ret

    _, ret = jax.lax.scan(step, value[-1], (reward, value[1:], gamma * cont[1:]), reverse=True)
    return ret


def init_norm():
    """Percentile normaliser: EMA of the 5th and 95th percentile of the returns."""
    return {'low': jnp.zeros(()), 'high': jnp.zeros(())}


def update_norm(norm, returns):
    """Fold a batch of returns in; the caller uses the result at once (v1)."""
    low, high = jnp.percentile(sg(returns), jnp.array([5.0, 95.0]))
    return {
        'low': norm['low'] + NORM_RATE * (low - norm['low']),
        'high': norm['high'] + NORM_RATE * (high - norm['high']),
    }


def norm_scale(norm):
    """Divisor of the advantage: the return range, at least 1."""
    return jnp.maximum(1.0, norm['high'] - norm['low'])


def value_mean(agent, critic, feat):
    """(..., F) -> (...,) value estimate."""
    return dists.twohot_mean(agent.critic.apply(critic, feat)[0])


def actor_loss(agent, wm, behaviour, norms, rewards, mix, start, first_cont, key):
    """Actor loss of v1 for the reward mix, and everything the critics need beside it.

    `rewards` maps names to functions (wm, feat, action) -> (H, N); `mix` maps names to weights.
    A_t = sum_k w_k (R_t - v_t) / S_k / sum_k w_k with S_k the normaliser of reward k.

    No gradient flows into the actor's input (v1). So the chain rule is taken in two steps: the gain by the actions,
    through the model, and the actions by the actor's weights, for all states at once instead of in the model's loop.
    """
    model = agent.model
    gamma = 1 - 1 / model.discount_horizon

    def gain(push):
        feat, action, noise = imagine(agent, wm, sg(behaviour['actor']), start, key, push)
        cont = continuation(agent, wm, feat, first_cont)
        weight = sg(weights(cont, gamma))
        returns, new, advantage, metrics = {}, {}, 0.0, {}
        for name, critic in behaviour['critics'].items():
            value = value_mean(agent, critic, feat)
            reward = rewards[name](wm, feat, action)
            returns[name] = lambda_return(reward, value, cont, gamma, model.lam)
            new[name] = update_norm(norms[name], returns[name])
            advantage += mix[name] * (returns[name] - value[:-1]) / norm_scale(new[name])
            metrics |= {
                f'{name}_reward': reward.mean(),
                f'{name}_return': returns[name].mean(),
                f'{name}_value': value.mean(),
            }
        advantage /= sum(mix.values())
        return (weight[:-1] * advantage).mean(), (feat, action, noise, weight, advantage, returns, new, metrics)

    push = jnp.zeros((model.horizon + 1, first_cont.shape[0], agent.action))
    if agent.reinforce:
        total, rest = gain(push)
    else:
        (total, rest), pull = jax.value_and_grad(gain, has_aux=True)(push)
    feat, action, noise, weight, advantage, returns, norms, metrics = sg(rest)
    dist = actor_dist(agent, behaviour['actor'], feat)
    if agent.reinforce:
        total = (weight[:-1] * log_prob(agent, dist, action)[:-1] * advantage).mean()
    else:  # the gain, with the gradient of the second step
        second = (pull * sample_action(agent, dist, noise)).sum()
        total += second - sg(second)
    ent = entropy(agent, dist)[:-1]
    loss = -total - model.entropy * (weight[:-1] * ent).mean()
    metrics |= {'actor_loss': loss, 'entropy': ent.mean(), 'weight': weight.mean(), 'advantage': advantage.mean()}
    return loss, (feat, weight, returns, norms, metrics)


def critic_loss(agent, critic, slow, feat, returns, weight):
    """-log p(R_t) - log p(slow critic's mean), weighted; feat (H + 1, N, F), returns (H, N)."""
    logits = agent.critic.apply(critic, feat[:-1])[0]
    target = sg(value_mean(agent, slow, feat[:-1]))
    nll = -dists.twohot_log_prob(logits, returns) - dists.twohot_log_prob(logits, target)
    return (weight[:-1] * nll).mean()


def follow(slow, critic, count):
    """Slow critic after update number `count`: a copy at first, then an average that moves by SLOW_RATE (3.8)."""
    rate = jnp.where(count == 0, 1.0, SLOW_RATE)
    return jax.tree.map(lambda s, c: (1 - rate) * s + rate * c, slow, critic)


def init(agent, key, names):
    """A behaviour with one critic per reward name, its optimisers and normalisers."""
    feat = jnp.zeros((1, agent.features))
    keys = jax.random.split(key, len(names) + 1)
    actor = agent.actor.init(keys[0], feat)
    critics = {name: agent.critic.init(k, feat) for name, k in zip(names, keys[1:])}
    params = {'actor': actor, 'critics': critics, 'slow': jax.tree.map(jnp.copy, critics)}
    opt = {'actor': optim.HEAD.init(actor), 'critics': {name: optim.HEAD.init(c) for name, c in critics.items()}}
    return params, opt, {name: init_norm() for name in names}


def train(agent, wm, params, opt, norms, rewards, mix, start, first_cont, hyper, key):
    """One update of actor, then critics, then slow critics on one imagined batch."""

    def loss(actor):
        return actor_loss(agent, wm, {**params, 'actor': actor}, norms, rewards, mix, start, first_cont, key)

    grads, (feat, weight, returns, norms, metrics) = jax.grad(loss, has_aux=True)(params['actor'])
    actor, actor_opt = optim.step(optim.HEAD, params['actor'], grads, opt['actor'], hyper['lr_actor'])
    critics, slow, critic_opt = {}, {}, {}
    for name, critic in params['critics'].items():
        value, grads = jax.value_and_grad(critic_loss, 1)(
            agent, critic, params['slow'][name], feat, returns[name], weight
        )
        critics[name], critic_opt[name] = optim.step(
            optim.HEAD, critic, grads, opt['critics'][name], hyper['lr_critic']
        )
        slow[name] = follow(params['slow'][name], critics[name], optim.count(opt['critics'][name]))
        metrics |= {f'{name}_critic_loss': value, f'{name}_scale': norm_scale(norms[name])}
    return (
        {'actor': actor, 'critics': critics, 'slow': slow},
        {'actor': actor_opt, 'critics': critic_opt},
        norms,
        metrics,
    )
