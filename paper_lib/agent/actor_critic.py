"""Behaviour learning in imagination: DreamerV3 v1's actor and critics over any mix of rewards.

A behaviour has one actor and, for each reward, one critic, one slow critic and one normaliser
of returns. Imagined arrays are time-major, states 0 to H. See `paper_lib.agent` for the sizes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from paper_lib.agent import dists, optim
from paper_lib.agent.kernels import actor_gradient
from paper_lib.agent.kernels.actor_gradient import Act
from paper_lib.agent.kernels.products import convert_kernels
from paper_lib.agent.kernels.recurrence import save_products
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.world_model import State, WorldModel

NORM_RATE = 0.01  # rate of the moving averages of the returns' percentiles (v1)
SLOW_RATE = 0.02  # rate at which the slow critic's weights move towards the critic's
sg = jax.lax.stop_gradient

Normaliser = dict[str, jax.Array]  # 'low' and 'high': moving averages of the 5th and 95th percentile of returns


# Records.


@flax.struct.dataclass
class Policy:
    """The actor network with its weights."""

    nets: Networks = flax.struct.field(pytree_node=False)
    params: Params

    def __call__(self, feat: jax.Array) -> dists.Normal | dists.OneHot:
        """(..., F) -> distribution of the action (..., A)."""
        outputs = self.nets.actor.apply(self.params, feat)
        if self.nets.discrete:
            return dists.unimix(outputs[0])
        return dists.bounded_normal(*outputs)

    def for_loop(self) -> 'Policy':
        """The same policy for use in a loop: its kernels are converted once, before the loop."""
        return self.replace(params=convert_kernels(self.params, self.nets.model.precision))


class Starts(NamedTuple):
    """Imagination starts: N posterior states."""

    state: State  # (N, ...)
    cont: jax.Array  # (N,) continue flags: 0 where the recorded episode ends in this state, else 1


class Draws(NamedTuple):
    """The random numbers that N imagined trajectories use."""

    noise: jax.Array  # (H + 1, N, A) normal, or (H + 1, N) uniform where actions are discrete
    uniform: jax.Array  # (H, N, S) for sampling the latents


class Trajectory(NamedTuple):
    """Imagined states and actions, and the noise that the actions were sampled with."""

    feat: jax.Array  # (H + 1, N, F)
    action: jax.Array  # (H + 1, N, A)
    noise: jax.Array  # as in `Draws`


Reward = Callable[[Trajectory], jax.Array]  # -> (H, N) rewards r_1 to r_H


class Objective(NamedTuple):
    """The rewards that a behaviour maximises, and the world model that it imagines in."""

    wm: WorldModel
    rewards: dict[str, Reward]
    mix: dict[str, float | jax.Array]  # weight w of each reward (Eq. 5); the weights need not sum to 1


class Behaviour(NamedTuple):
    """An actor with its critics: weights, optimiser states and normalisers."""

    params: Params  # {'actor', 'critics', 'slow'}
    opt: dict[str, Any]  # {'actor', 'critics'}
    norms: dict[str, Normaliser]  # by reward


class Outcome(NamedTuple):
    """Imagined trajectories with their weights, advantages and returns."""

    trajectory: Trajectory
    weight: jax.Array  # (H + 1, N) weight of each state in the losses
    advantage: jax.Array  # (H, N) of the mix of rewards
    returns: dict[str, jax.Array]  # by reward: lambda-returns (H, N)
    norms: dict[str, Normaliser]  # by reward: the normaliser after these returns
    metrics: dict[str, jax.Array]


# Imagination.


def draw(nets: Networks, key: jax.Array, size: int) -> Draws:
    """The random numbers for `size` trajectories."""
    horizon = nets.model.horizon
    action_key, latent_key = jax.random.split(key)
    noise = nets.action_noise(action_key, (horizon + 1, size))
    uniform = jax.random.uniform(latent_key, (horizon, size, nets.model.stoch))
    return Draws(noise, uniform)


def imagine(wm: WorldModel, act: Act, start: State, draws: Draws, push: jax.Array | None = None) -> Trajectory:
    """Roll `act` out in the world model from N states.

    `push` (H + 1, N, A), zero if left out, is added to the actions. It is there to
    differentiate by.
    """
    wm = wm.for_loop()
    noise = draws.noise
    if push is None:
        push = jnp.zeros((*noise.shape[:2], wm.nets.action))

    def choose(state, noise, push):
        return act(state.feat, noise) + push

    def step(carry, inputs):
        state, action = carry
        uniform, noise, push = inputs
        deter = wm.next(state, action)
        state = State(deter, wm.prior(deter).sample(uniform))
        carry = state, choose(state, noise, push)
        return carry, carry

    first = start, choose(start, noise[0], push[0])
    _, later = jax.lax.scan(save_products(step), first, (draws.uniform, noise[1:], push[1:]))
    state, action = jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), first, later)
    return Trajectory(state.feat, action, noise)


# Returns and their scale.


def continuation(wm: WorldModel, feat: jax.Array, first: jax.Array) -> jax.Array:
    """(H + 1, N) continue flags of imagined states.

    State 0 has the known flag `first` (N,). The model predicts the others from `feat`
    (H + 1, N, F).
    """
    return jnp.concatenate([first[None], wm.cont(feat[1:]).mode()])


def state_weights(cont: jax.Array, gamma: float) -> jax.Array:
    """Continue flags c (H + 1, N) -> weights of the states in losses (H + 1, N): w_0 = c_0, w_t = gamma c_t w_{t-1}."""
    return jnp.cumprod(gamma * cont, 0) / gamma


def lambda_return(reward: jax.Array, value: jax.Array, cont: jax.Array, gamma: float, lam: float) -> jax.Array:
    """R_t = r_{t+1} + gamma c_{t+1} [(1 - lam) v_{t+1} + lam R_{t+1}], R_H = v_H.

    reward (H, N) is r_1 to r_H; value and cont (H + 1, N) are at states 0 to H. Returns (H, N).
    """

    def step(later_return, inputs):
        reward, value, discount = inputs
        this_return = reward + discount * ((1 - lam) * value + lam * later_return)
        return this_return, this_return

    _, returns = jax.lax.scan(step, value[-1], (reward, value[1:], gamma * cont[1:]), reverse=True)
    return returns


def init_norm() -> Normaliser:
    """A normaliser that has seen no returns."""
    return {'low': jnp.zeros(()), 'high': jnp.zeros(())}


def update_norm(norm: Normaliser, returns: jax.Array) -> Normaliser:
    """Move the averages towards the percentiles of `returns` (H, N).

    The advantages of the same returns are divided by the new scale (v1).
    """
    low, high = jnp.percentile(sg(returns), jnp.array([5.0, 95.0]))
    return {
        'low': norm['low'] + NORM_RATE * (low - norm['low']),
        'high': norm['high'] + NORM_RATE * (high - norm['high']),
    }


def norm_scale(norm: Normaliser) -> jax.Array:
    """S, the divisor of the advantage: the range of the returns, at least 1."""
    return jnp.maximum(1.0, norm['high'] - norm['low'])


# Losses.


def critic(nets: Networks, params: Params, feat: jax.Array) -> dists.TwoHot:
    """(..., F) -> distribution (...,) of the return from there."""
    return dists.TwoHot(nets.critic.apply(params, feat)[0])


def task_reward(wm: WorldModel, trajectory: Trajectory) -> jax.Array:
    """(H, N) rewards that the model predicts at states 1 to H."""
    return wm.reward(trajectory.feat[1:]).mean()


def judge(behaviour: Behaviour, objective: Objective, trajectory: Trajectory, first_cont: jax.Array) -> Outcome:
    """Value imagined trajectories, whose first states have the continue flags `first_cont` (N,).

    The advantage is A_t = sum_k w_k (R_k,t - v_k,t) / S_k / sum_k w_k over the rewards k, with
    the lambda-return R_k, the critic's value v_k, the scale S_k of the returns, and the
    weight w_k in the mix.
    """
    nets = objective.wm.nets
    gamma = nets.model.gamma
    cont = continuation(objective.wm, trajectory.feat, first_cont)
    weight = sg(state_weights(cont, gamma))
    advantage = 0.0
    returns = {}
    norms = {}
    metrics = {}
    for name, params in behaviour.params['critics'].items():
        value = critic(nets, params, trajectory.feat).mean()  # (H + 1, N)
        reward = objective.rewards[name](trajectory)  # (H, N)
        returns[name] = lambda_return(reward, value, cont, gamma, nets.model.lam)
        norms[name] = update_norm(behaviour.norms[name], returns[name])
        advantage += objective.mix[name] * (returns[name] - value[:-1]) / norm_scale(norms[name])
        metrics[f'{name}_reward'] = reward.mean()
        metrics[f'{name}_return'] = returns[name].mean()
        metrics[f'{name}_value'] = value.mean()
    advantage /= sum(objective.mix.values())
    return Outcome(trajectory, weight, advantage, returns, norms, metrics)


def actor_loss(
    policy: Policy, behaviour: Behaviour, objective: Objective, starts: Starts, key: jax.Array
) -> tuple[jax.Array, Outcome]:
    """L = -mean of w_t [A_t + eta H(pi(. | sg s_t))] over t = 0 to H - 1 (Eq. 11 of v1), and the outcome.

    The gradient of A_t flows through the actions and the model. With REINFORCE,
    sg A_t log pi(a_t | sg s_t) stands in the place of A_t. L is a function of `policy`; the
    critics and normalisers of the behaviour are constants.
    """
    nets = policy.nets
    size = starts.cont.shape[0]
    draws = draw(nets, key, size)

    def gain_of(act, push):
        trajectory = imagine(objective.wm, act, starts.state, draws, push)
        outcome = judge(behaviour, objective, trajectory, starts.cont)
        return (outcome.weight[:-1] * outcome.advantage).mean(), outcome

    # The term of the advantages.
    push = jnp.zeros((nets.model.horizon + 1, size, nets.action))
    if nets.reinforce:
        _, outcome = gain_of(actor_gradient.constant_actions(policy), push)
        outcome = sg(outcome)
        dist = policy(outcome.trajectory.feat)
        log_prob = dist.log_prob(outcome.trajectory.action)
        gain = (outcome.weight[:-1] * log_prob[:-1] * outcome.advantage).mean()
    else:  # in two steps, with the same result as `actor_gradient.plain_gain(gain_of, policy, push)`
        gain, slope, outcome = actor_gradient.slope_by_actions(gain_of, policy, push)
        dist = policy(outcome.trajectory.feat)
        actions = dist.sample(outcome.trajectory.noise)
        gain = actor_gradient.through_actions(gain, slope, actions)

    # The term of the entropy.
    weight = outcome.weight
    entropy = dist.entropy()[:-1]
    loss = -gain - nets.model.entropy * (weight[:-1] * entropy).mean()
    metrics = outcome.metrics | {
        'actor_loss': loss,
        'entropy': entropy.mean(),
        'weight': weight.mean(),
        'advantage': outcome.advantage.mean(),
    }
    return loss, outcome._replace(metrics=metrics)


def critic_loss(params: Params, slow: Params, nets: Networks, outcome: Outcome, name: str) -> jax.Array:
    """Mean of w_t [-log p(R_t | s_t) - log p(slow mean | s_t)] over t = 0 to H - 1, for one reward."""
    feat = outcome.trajectory.feat[:-1]
    predicted = critic(nets, params, feat)
    target = sg(critic(nets, slow, feat).mean())
    nll = -predicted.log_prob(outcome.returns[name]) - predicted.log_prob(target)
    return (outcome.weight[:-1] * nll).mean()


def update_slow(slow: Params, critic: Params, count: jax.Array) -> Params:
    """The slow critic after update number `count`: a copy of the critic after number 0, then a moving average."""
    rate = jnp.where(count == 0, 1.0, SLOW_RATE)
    return jax.tree.map(lambda s, c: (1 - rate) * s + rate * c, slow, critic)


# Learning.


def init(nets: Networks, key: jax.Array, names: tuple[str, ...]) -> Behaviour:
    """A new behaviour with one critic for each reward in `names`."""
    feat = jnp.zeros((1, nets.features))
    actor_key, *critic_keys = jax.random.split(key, len(names) + 1)
    actor = nets.actor.init(actor_key, feat)
    critics = {name: nets.critic.init(k, feat) for name, k in zip(names, critic_keys)}
    params = {'actor': actor, 'critics': critics, 'slow': jax.tree.map(jnp.copy, critics)}
    critic_opts = {name: optim.HEAD.init(params) for name, params in critics.items()}
    opt = {'actor': optim.HEAD.init(actor), 'critics': critic_opts}
    return Behaviour(params, opt, {name: init_norm() for name in names})


def train(
    behaviour: Behaviour, objective: Objective, starts: Starts, hyper: dict[str, jax.Array], key: jax.Array
) -> tuple[Behaviour, dict[str, jax.Array]]:
    """One update of the actor, then of the critics, then of the slow critics, on one imagined batch.

    `hyper` holds the learning rates lr_actor and lr_critic. Returns the new
    behaviour and metrics.
    """
    nets = objective.wm.nets
    params, opt, _ = behaviour
    policy = Policy(nets, params['actor'])

    # The actor.
    grads, outcome = jax.grad(actor_loss, has_aux=True)(policy, behaviour, objective, starts, key)
    actor, actor_opt = optim.step(optim.HEAD, policy.params, grads.params, opt['actor'], hyper['lr_actor'])

    # The critics, and the slow critics after them.
    critics = {}
    slow = {}
    critic_opts = {}
    metrics = dict(outcome.metrics)
    for name, old in params['critics'].items():
        old_slow = params['slow'][name]
        old_opt = opt['critics'][name]
        value, grads = jax.value_and_grad(critic_loss)(old, old_slow, nets, outcome, name)
        critics[name], critic_opts[name] = optim.step(optim.HEAD, old, grads, old_opt, hyper['lr_critic'])
        slow[name] = update_slow(old_slow, critics[name], optim.count(old_opt))
        metrics[f'{name}_critic_loss'] = value
        metrics[f'{name}_scale'] = norm_scale(outcome.norms[name])

    trained = Behaviour(
        params={'actor': actor, 'critics': critics, 'slow': slow},
        opt={'actor': actor_opt, 'critics': critic_opts},
        norms=outcome.norms,
    )
    return trained, metrics
