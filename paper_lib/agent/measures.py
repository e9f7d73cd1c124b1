"""Measures of degradation that need no step in an environment. They watch an agent and change nothing of it.

promise        the critic's value against the best that the recording shows
round trip     what an encoded decoder output tells the model, against what a recorded observation tells it
               (dreams that fall back on what the model knows: "Biased Dreams", arXiv 2604.25416)
density ratio  imagined against recorded pairs of observation and action, by a classifier
               (density-ratio estimation: Sugiyama et al., 2012)
spread         disagreement of critics where imagination ends (the edge-of-reach problem: Sims et al.,
               arXiv 2402.12527)
disagreement   of predictors of the next latent, along imagination (as the penalty of MOPO: Yu et al.,
               arXiv 2005.13239)
foreseen       the reward that the model predicts along episodes that were played

The watching networks, {'critics', 'ensemble'}, are a branch 'watch' of the state that the agent
never reads. See `paper_lib.agent` for the sizes; n is a number of recorded windows.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from paper_lib.agent import actor_critic, dists, dreamer, layers, optim, plan2explore, world_model
from paper_lib.agent.actor_critic import Draws, Learner, Objective, Policy, Starts, Trajectory
from paper_lib.agent.kernels.actor_gradient import constant_actions
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.plan2explore import Ensemble
from paper_lib.agent.world_model import Batch, WorldModel

sg = jax.lax.stop_gradient

WATCHERS = 3  # critics, and predictors of the next latent
WATCHER_RATE = 1e-3  # their learning rate: they are updated less often than the agent
WINDOWS = 128  # recorded windows that an evaluation looks at
TRIPS = (15, 50)  # imagined steps after which a round trip is made
TRIP_STEPS = 5  # the last of them, over which it is averaged
SIDE = 8  # pixels of the coarse pictures that the classifier sees
CLASSIFIER = layers.MLP(64, 1, 'float32', (1,), zero=True)
CLASSIFIER_STEPS = 60
CLASSIFIER_RATE = 3e-3
FOLDS = 4


# Promise against record.


class Shown(NamedTuple):
    """What episodes of a recording show to be possible."""

    best_return: float  # discounted, from the first state
    best_rate: float  # mean reward per agent step


def shown(reward: np.ndarray, terminal: bool, gamma: float) -> Shown:
    """What one episode shows, from its rewards (N + 1,), of which the first belongs to the reset and does not count.

    An episode that does not end in a terminal state was cut. It is taken to go on for ever at the
    mean reward of its N steps: sum_i gamma^(i-1) r_i + gamma^N mean(r) / (1 - gamma).
    """
    reward = np.asarray(reward[1:], np.float64)
    rate = float(reward.mean())
    total = float(reward @ gamma ** np.arange(len(reward)))
    tail = 0.0 if terminal else gamma ** len(reward) * rate / (1 - gamma)
    return Shown(total + tail, rate)


def promise(value: np.ndarray, record: Shown, gamma: float) -> dict[str, float | None]:
    """The critic's values (n,) at recorded first states against the record.

    The ratios are None where no episode shows a reward above zero.
    """
    promised = float(value.mean())
    return {
        'promise': promised,
        'record_return': record.best_return,
        'record_rate': record.best_rate,
        'promise_ratio': promised / record.best_return if record.best_return > 0 else None,
        'promise_rate_ratio': (1 - gamma) * promised / record.best_rate if record.best_rate > 0 else None,
    }


# The watching networks.


class Watchers(NamedTuple):
    """Weights of the watching networks, which have a leading axis, one entry per network, and their optimisers."""

    params: Params
    opt: dict[str, optax.OptState]


def init(nets: Networks, key: jax.Array) -> Watchers:
    """Fresh watching networks."""
    critic_key, ensemble_key = jax.random.split(key)
    feat, pair = jnp.zeros((1, nets.features)), jnp.zeros((1, nets.features + nets.action))
    params = {
        'critics': jax.vmap(lambda key: nets.critic.init(key, feat))(jax.random.split(critic_key, WATCHERS)),
        'ensemble': jax.vmap(lambda key: nets.disag.init(key, pair))(jax.random.split(ensemble_key, WATCHERS)),
    }
    return Watchers(params, {name: optim.HEAD.init(branch) for name, branch in params.items()})


def train(nets: Networks, watchers: Watchers, params: Params, batch: Batch, key: jax.Array) -> Watchers:
    """One Adam step of the watching networks on a batch (B, T, ...), beside the agent's `params`.

    With the key of an agent's update, imagination starts where that update's did, with the same noise.
    """
    latent_key, start_key, task_key, _ = jax.random.split(key, 4)
    uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, nets.model.stoch))
    wm = WorldModel(nets, params['wm'])
    state = world_model.losses(wm, batch, uniform).state
    starts = dreamer.choose_starts(nets, state, batch, start_key)
    draws = actor_critic.draw(nets, task_key, starts.cont.shape[0])
    trajectory = imagine(wm, params['task']['actor'], starts, draws)

    watching, opt = dict(watchers.params), dict(watchers.opt)
    grads = {
        'critics': jax.grad(critics_loss)(watching['critics'], wm, trajectory, starts.cont),
        'ensemble': jax.grad(plan2explore.loss)(Ensemble(nets, watching['ensemble']), state, batch).params,
    }
    for name, grad in grads.items():
        watching[name], opt[name] = optim.step(optim.HEAD, watching[name], grad, opt[name], WATCHER_RATE)
    return Watchers(watching, opt)


def imagine(wm: WorldModel, actor: Params, starts: Starts, draws: Draws) -> Trajectory:
    """Roll the agent's policy out in its model."""
    return actor_critic.imagine(wm, constant_actions(Policy(wm.nets, actor)), starts.state, draws)


def critics_loss(critics: Params, wm: WorldModel, trajectory: Trajectory, first_cont: jax.Array) -> jax.Array:
    """Mean of -w_t log p(R_t | s_t) over t = 0 to H - 1, summed over critics; each has returns of its own values."""
    nets = wm.nets
    gamma = 1 - 1 / nets.model.discount_horizon
    reward = actor_critic.task_reward(wm, trajectory)
    cont = actor_critic.continuation(wm, trajectory.feat, first_cont)
    weight = actor_critic.weights(cont, gamma)

    def loss(params):
        predicted = actor_critic.critic(nets, params, trajectory.feat)
        returns = actor_critic.lambda_return(reward, sg(predicted.mean()), cont, gamma, nets.model.lam)
        log_prob = dists.TwoHot(predicted.logits[:-1]).log_prob(returns)
        return -(weight[:-1] * log_prob).mean()

    return jax.vmap(loss)(critics).sum()


# What an evaluation measures.


class Recorded(NamedTuple):
    """What the model makes of the second halves of recorded windows; their first halves tell it where it is."""

    kl: jax.Array  # (n, t) nats of the posterior from the prior, without free nats
    feat: jax.Array  # (n, t, F)
    action: jax.Array  # (n, t, A)
    inside: jax.Array  # (n, t) 0 where an episode begins, which no prior can foresee, else 1
    last: Starts  # the last step of every window


class Imagined(NamedTuple):
    """Imagination that starts at the last steps of recorded windows."""

    trajectory: Trajectory  # (I + 1, n, ...)
    alive: jax.Array  # (I + 1, n) 1 up to the first state that the model takes for an end, then 0


def measure(
    nets: Networks, params: Params, norm: dict[str, Any], windows: Batch, key: jax.Array
) -> dict[str, jax.Array]:
    """All that recorded windows (n, T, ...) tell of an agent and its imagination, one number each.

    `params` has the agent's branches and 'watch'; `norm` is the normaliser of the task's returns.
    A number is not finite where the model takes all imagined states for ends.
    """
    latent_key, imagine_key, classifier_key = jax.random.split(key, 3)
    wm, watch, horizon = WorldModel(nets, params['wm']), params['watch'], nets.model.horizon
    recorded = look(wm, windows, latent_key)
    imagined = dream(wm, params['task']['actor'], recorded.last, imagine_key, max(horizon, *TRIPS))
    near = jax.tree.map(lambda x: x[: horizon + 1], imagined)  # as far as the agent imagines in training

    kl = mean(recorded.kl, recorded.inside)
    found = {'kl_recorded': kl}
    for steps in TRIPS:
        part = slice(steps - TRIP_STEPS + 1, steps + 1)
        trip = round_trip(wm, imagined.trajectory.feat[part])
        found[f'round_trip_{steps}'] = mean(trip, imagined.alive[part]) / kl
    ratio = density_ratio(recorded_pairs(wm, recorded), imagined_pairs(wm, near), classifier_key)
    found |= {'density_auc': ratio.auc, 'density_ess': ratio.effective}

    spread = spread_of(nets, watch['critics'], near.trajectory.feat[-1])
    found['edge_spread'] = mean(spread, near.alive[-1]) / actor_critic.norm_scale(norm)
    disagreement = plan2explore.disagreement(Ensemble(nets, watch['ensemble']), near.trajectory)
    found['imagined_disagreement'] = mean(disagreement, near.alive[1:])
    objective = Objective(wm, {'task': functools.partial(actor_critic.task_reward, wm)}, {'task': 1.0})
    task = Learner(params['task'], {}, {'task': norm})
    returns = actor_critic.judge(task, objective, near.trajectory, recorded.last.cont).returns['task']
    return found | {'imagined_return': returns[0].mean()}


def mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """The weighted mean; not finite where all weights are 0."""
    return (values * weight).sum() / weight.sum()


def look(wm: WorldModel, windows: Batch, key: jax.Array) -> Recorded:
    """Filter recorded windows (n, T, ...), each from the learned initial state."""
    uniform = jax.random.uniform(key, (*windows['reward'].shape, wm.nets.model.stoch))
    state, posterior = world_model.observe(wm, world_model.evidence(wm, windows, uniform))
    kl = posterior.kl(wm.prior(state.deter))
    half = kl.shape[1] // 2
    last = Starts(jax.tree.map(lambda x: x[:, -1], state), 1.0 - windows['is_terminal'][:, -1])
    inside = 1.0 - windows['is_first'][:, half:]
    return Recorded(kl[:, half:], state.feat[:, half:], windows['action'][:, half:], inside, last)


def dream(wm: WorldModel, actor: Params, starts: Starts, key: jax.Array, steps: int) -> Imagined:
    """Imagine so many steps with the agent's policy."""
    action_key, latent_key = jax.random.split(key)
    size = starts.cont.shape[0]
    noise = wm.nets.action_noise(action_key, (steps + 1, size))
    draws = Draws(noise, jax.random.uniform(latent_key, (steps, size, wm.nets.model.stoch)))
    trajectory = imagine(wm, actor, starts, draws)
    alive = jnp.cumprod(actor_critic.continuation(wm, trajectory.feat, starts.cont), 0)
    return Imagined(trajectory, alive)


# Round trip.


def round_trip(wm: WorldModel, feat: jax.Array) -> jax.Array:
    """(..., F) imagined states -> (...,) nats: decode, encode again, KL of that posterior from the imagined prior."""
    embed = wm.encode(wm.observation(feat))
    deter = feat[..., : wm.nets.model.deter]
    return wm.posterior(deter, embed).kl(wm.prior(deter))


# Density ratio.


class Pairs(NamedTuple):
    """Pairs of a decoded observation and an action, by the window that they come from."""

    inputs: jax.Array  # (n, M, X)
    weight: jax.Array  # (n, M)


class DensityRatio(NamedTuple):
    """How far imagined pairs are from recorded ones, on windows that the classifier did not learn from."""

    auc: jax.Array  # how often an imagined pair looks more imagined than a recorded one: 0.5 if they are alike
    effective: jax.Array  # effective share of the recorded pairs, weighted as imagination needs them: 1 if alike


def recorded_pairs(wm: WorldModel, recorded: Recorded) -> Pairs:
    """All steps but the last one of each window, and but those that end an episode, which have no action."""
    inputs = _inputs(wm, recorded.feat[:, :-1], recorded.action[:, :-1])
    return Pairs(inputs, recorded.inside[:, 1:])


def imagined_pairs(wm: WorldModel, imagined: Imagined) -> Pairs:
    """All imagined steps, from the first one on."""
    trajectory, alive = jax.tree.map(lambda x: x[1:].swapaxes(0, 1), imagined)
    return Pairs(_inputs(wm, trajectory.feat, trajectory.action), alive)


def _inputs(wm, feat, action):
    """(..., X): both kinds of states pass the decoder, so that its blur does not tell them apart."""
    made = wm.decode(feat)
    if wm.nets.image:
        made['image'] = coarse(made['image'])
    return jnp.concatenate([*made.values(), layers.clip(action)], -1)


def coarse(image: jax.Array) -> jax.Array:
    """(..., Y, Y, C) -> (..., S * S * C): means over blocks, S = 8 a side or all of a smaller picture."""
    side = min(SIDE, image.shape[-2])
    block = image.shape[-2] // side
    blocks = image.reshape((*image.shape[:-3], side, block, side, block, image.shape[-1]))
    return blocks.mean((-4, -2)).reshape((*image.shape[:-3], -1))


def density_ratio(recorded: Pairs, imagined: Pairs, key: jax.Array) -> DensityRatio:
    """Train classifiers from nothing, and judge them on other windows, in `FOLDS` ways that judge each window once.

    With r the density of imagined pairs over that of recorded ones, a recorded sample of size N that is
    weighted by r is worth N / E_recorded[r^2] = N / E_imagined[r]: the effective sample size (Kish).
    """

    def judge(fold, key):
        turned = jax.tree.map(lambda x: jnp.roll(x, fold * (len(x) // FOLDS), 0), (recorded, imagined))
        judged, stopped, learned = (_windows(turned, part) for part in _parts(len(recorded.weight)))
        classify = train_classifier(learned, stopped, key)
        low, high = (classify(pairs.inputs) for pairs in judged)
        weights = [pairs.weight for pairs in judged]
        return auc(low, high, *weights), jax.nn.logsumexp(high, b=weights[1])

    found, ratio = jax.vmap(judge)(jnp.arange(FOLDS), jax.random.split(key, FOLDS))
    return DensityRatio(found.mean(), jnp.minimum(1.0, jnp.exp(-jax.nn.logsumexp(ratio)) * FOLDS))


def _parts(count):
    """Windows that judge, that say when to stop, and that are learned from: a quarter, a quarter and half of them."""
    quarter = count // FOLDS
    return slice(0, quarter), slice(quarter, 2 * quarter), slice(2 * quarter, None)


def _windows(kinds, part):
    """The pairs of both kinds in some windows: (n * M, X) and (n * M,), with weights that sum to 1 for each kind."""
    chosen = [jax.tree.map(lambda x: x[part].reshape((-1, *x.shape[2:])), pairs) for pairs in kinds]
    return [Pairs(pairs.inputs, pairs.weight / pairs.weight.sum()) for pairs in chosen]


def train_classifier(learned: list[Pairs], stopped: list[Pairs], key: jax.Array) -> Any:
    """A function (M, X) -> (M,) log-odds of being imagined where both kinds are equally frequent.

    It learns from `learned`, recorded and imagined pairs (M, X) with weights (M,) that sum to 1 for each
    kind. Of all steps of its training the one counts that is best on `stopped`: few pairs are soon
    learned by heart. Before the first one it gives 0 everywhere.
    """
    both = jnp.concatenate([pairs.inputs for pairs in learned])
    share = jnp.concatenate([pairs.weight for pairs in learned]) / 2
    centre = share @ both
    scale = jnp.sqrt(share @ (both - centre) ** 2) + 1e-6

    def logit(params, inputs):
        return CLASSIFIER.apply(params, (inputs - centre) / scale)[0][..., 0]

    def loss(params, kinds):
        recorded, imagined = kinds
        missed = jax.nn.softplus(logit(params, recorded.inputs)) @ recorded.weight
        return missed + jax.nn.softplus(-logit(params, imagined.inputs)) @ imagined.weight

    def step(state, _):
        params, opt, best, least = state
        updates, opt = optimiser.update(jax.grad(loss)(params, learned), opt, params)
        params = optax.apply_updates(params, updates)
        now = loss(params, stopped)
        best = jax.tree.map(lambda new, old: jnp.where(now < least, new, old), params, best)
        return (params, opt, best, jnp.minimum(now, least)), None

    optimiser = optax.adam(CLASSIFIER_RATE)
    params = CLASSIFIER.init(key, both[:1])
    first = params, optimiser.init(params), params, loss(params, stopped)
    (_, _, best, _), _ = jax.lax.scan(step, first, None, CLASSIFIER_STEPS)
    return functools.partial(logit, best)


def auc(low: jax.Array, high: jax.Array, low_weight: jax.Array, high_weight: jax.Array) -> jax.Array:
    """Weighted share of pairs of scores (M,) and (N,) in which the `high` one is above; ties count half."""
    above = (high[None] > low[:, None]) + 0.5 * (high[None] == low[:, None])
    return low_weight @ above @ high_weight / (low_weight.sum() * high_weight.sum())


# Spread at the edge, and foreseen reward.


def spread_of(nets: Networks, critics: Params, feat: jax.Array) -> jax.Array:
    """(..., F) -> (...,) standard deviation of the watching critics' values."""
    return jax.vmap(lambda params: actor_critic.critic(nets, params, feat).mean())(critics).std(0)


def foresee(nets: Networks, params: Params, episodes: Batch, key: jax.Array) -> dict[str, jax.Array]:
    """(N, T) rewards that the model predicts at the states of `dreamer.assess` with this key."""
    feat = dreamer.examine(nets, params, episodes, key).state.feat
    return {'reward': WorldModel(nets, params['wm']).reward(feat).mean()}
