"""Measures of degradation that need no step in an environment. They watch an agent and do not change it.

promise        The critic's values are compared with the best return and reward that the recording shows.
round trip     An imagined state is decoded and encoded again. Is the posterior's KL as large as for a recorded
               observation? (Imagination may fall back on what the model knows: "Biased Dreams", arXiv 2604.25416.)
density ratio  A classifier tells imagined samples from recorded ones; a sample is an observation and an action.
               (Density-ratio estimation: Sugiyama et al., 2012.)
spread         Critics disagree where imagination ends. (The edge-of-reach problem: Sims et al., arXiv 2402.12527.)
disagreement   Predictors of the next latent disagree along imagination. (As in the penalties of MOPO: Yu et al., arXiv
               2005.13239, MOReL: Kidambi et al., arXiv 2005.05951, and Offline DreamerV2: Lu et al., arXiv 2206.04779.)
foreseen       The reward that the model predicts along played episodes is compared with the reward collected there.

The watching networks, {'critics', 'ensemble'}, are the branch 'watch' of the state, which the
agent never reads. See `paper_lib.agent` for the sizes; n is a number of recorded windows.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from paper_lib.agent import actor_critic, dists, dreamer, layers, optim, plan2explore, world_model
from paper_lib.agent.actor_critic import Behaviour, Draws, Objective, Policy, Starts, Trajectory
from paper_lib.agent.kernels.actor_gradient import constant_actions
from paper_lib.agent.networks import Networks, Params
from paper_lib.agent.plan2explore import Ensemble
from paper_lib.agent.world_model import Batch, WorldModel

sg = jax.lax.stop_gradient

WATCHERS = 3  # number of watching critics, and of predictors of the next latent
WATCHER_RATE = 1e-3  # learning rate of the watching networks, which are updated less often than the agent
WINDOWS = 128  # recorded windows per evaluation
TRIPS = (15, 50)  # numbers of imagined steps after which a round trip is measured
TRIP_STEPS = 5  # imagined steps, the last ones, over which a round trip is averaged
SIDE = 8  # height and width, in pixels, of the coarse images that the classifier sees
CLASSIFIER = layers.MLP(64, 1, 'float32', (1,), zero=True)
CLASSIFIER_STEPS = 60
CLASSIFIER_RATE = 3e-3
FOLDS = 4  # of the cross-validation of the classifier


# Promise against record.


class Shown(NamedTuple):
    """The best that episodes of a recording show."""

    best_return: float  # discounted return from the first state
    best_rate: float  # mean reward per agent step


def shown(reward: np.ndarray, terminal: bool, gamma: float) -> Shown:
    """Return and mean reward of one episode with rewards (N + 1,). The first reward, of the reset, does not count.

    An episode that does not end in a terminal state was cut by a time limit. The formula assumes
    that it goes on for ever at the mean reward of its N steps:
    sum_i gamma^(i-1) r_i + gamma^N mean(r) / (1 - gamma).
    """
    reward = np.asarray(reward[1:], np.float64)
    rate = float(reward.mean())
    total = float(reward @ gamma ** np.arange(len(reward)))
    tail = 0.0 if terminal else gamma ** len(reward) * rate / (1 - gamma)
    return Shown(total + tail, rate)


def promise(value: np.ndarray, record: Shown, gamma: float) -> dict[str, float | None]:
    """The critic's values (n,) at recorded first states, compared with the record.

    A ratio is None if the record that it divides by is not above zero.
    """
    promised = float(value.mean())
    ratio = promised / record.best_return if record.best_return > 0 else None
    rate_ratio = (1 - gamma) * promised / record.best_rate if record.best_rate > 0 else None
    return {
        'promise': promised,
        'record_return': record.best_return,
        'record_rate': record.best_rate,
        'promise_ratio': ratio,
        'promise_rate_ratio': rate_ratio,
    }


# The watching networks.


class Watchers(NamedTuple):
    """The watching networks."""

    params: Params  # {'critics', 'ensemble'}; the leading axis of each array is that of the WATCHERS networks
    opt: dict[str, optax.OptState]  # the optimisers' states


def init(nets: Networks, key: jax.Array) -> Watchers:
    """Watching networks with initial weights."""
    critic_key, ensemble_key = jax.random.split(key)
    feat = jnp.zeros((1, nets.features))
    feat_and_action = jnp.zeros((1, nets.features + nets.action))
    params = {
        'critics': jax.vmap(lambda key: nets.critic.init(key, feat))(jax.random.split(critic_key, WATCHERS)),
        'ensemble': jax.vmap(lambda key: nets.disag.init(key, feat_and_action))(
            jax.random.split(ensemble_key, WATCHERS)
        ),
    }
    return Watchers(params, {name: optim.HEAD.init(branch) for name, branch in params.items()})


def train(nets: Networks, watchers: Watchers, params: Params, batch: Batch, key: jax.Array) -> Watchers:
    """One Adam step of the watching networks on a batch (B, T, ...); `params` are the agent's weights.

    With the key of an agent's update, imagination has the same starts and noise as in that update.
    """
    latent_key, start_key, task_key, _ = jax.random.split(key, 4)
    uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, nets.model.stoch))
    wm = WorldModel(nets, params['wm'])
    state = world_model.losses(wm, batch, uniform).state
    starts = dreamer.choose_starts(nets, state, batch, start_key)
    draws = actor_critic.draw(nets, task_key, starts.cont.shape[0])
    trajectory = imagine(wm, params['task']['actor'], starts, draws)

    watching = dict(watchers.params)
    opt = dict(watchers.opt)
    grads = {
        'critics': jax.grad(critics_loss)(watching['critics'], wm, trajectory, starts.cont),
        'ensemble': jax.grad(plan2explore.loss)(Ensemble(nets, watching['ensemble']), state, batch).params,
    }
    for name, grad in grads.items():
        watching[name], opt[name] = optim.step(optim.HEAD, watching[name], grad, opt[name], WATCHER_RATE)
    return Watchers(watching, opt)


def imagine(wm: WorldModel, actor: Params, starts: Starts, draws: Draws) -> Trajectory:
    """Roll the agent's policy out in its world model."""
    act = constant_actions(Policy(wm.nets, actor))
    return actor_critic.imagine(wm, act, starts.state, draws)


def critics_loss(critics: Params, wm: WorldModel, trajectory: Trajectory, first_cont: jax.Array) -> jax.Array:
    """Mean of -w_t log p(R_t | s_t) over t = 0 to H - 1, summed over critics.

    The lambda-returns R_t of a critic are computed with this critic's values.
    """
    nets = wm.nets
    gamma = nets.model.gamma
    reward = actor_critic.task_reward(wm, trajectory)
    cont = actor_critic.continuation(wm, trajectory.feat, first_cont)
    weight = actor_critic.state_weights(cont, gamma)

    def loss(params):
        predicted = actor_critic.critic(nets, params, trajectory.feat)
        returns = actor_critic.lambda_return(reward, sg(predicted.mean()), cont, gamma, nets.model.lam)
        log_prob = dists.TwoHot(predicted.logits[:-1]).log_prob(returns)
        return -(weight[:-1] * log_prob).mean()

    return jax.vmap(loss)(critics).sum()


# What an evaluation measures.


class Recorded(NamedTuple):
    """Posteriors of the second halves, t steps, of recorded windows. The first halves only warm up the filter."""

    kl: jax.Array  # (n, t) KL of the posterior from the prior in nats, without free nats
    feat: jax.Array  # (n, t, F)
    action: jax.Array  # (n, t, A)
    inside: jax.Array  # (n, t) 0 at the first step of an episode, which no prior can predict, else 1
    last: Starts  # the last step of every window


class Imagined(NamedTuple):
    """I imagined steps from the last step of every recorded window."""

    trajectory: Trajectory  # (I + 1, n, ...)
    alive: jax.Array  # (I + 1, n) 1 before the first state that the model predicts to be terminal, then 0


def measure(
    nets: Networks, params: Params, norm: dict[str, Any], windows: Batch, key: jax.Array
) -> dict[str, jax.Array]:
    """All measures on recorded windows (n, T, ...), by name: one number () each.

    `params` has the agent's branches and 'watch'; `norm` is the normaliser of the task's returns.
    A number is not finite if the model predicts that all its imagined states are terminal.
    """
    latent_key, imagine_key, classifier_key = jax.random.split(key, 3)
    wm = WorldModel(nets, params['wm'])
    watch = params['watch']
    horizon = nets.model.horizon
    recorded = look(wm, windows, latent_key)
    imagined = dream(wm, params['task']['actor'], recorded.last, imagine_key, max(horizon, *TRIPS))
    near = jax.tree.map(lambda x: x[: horizon + 1], imagined)  # as many steps as the agent imagines in training

    kl = mean(recorded.kl, recorded.inside)
    measured = {'kl_recorded': kl}
    for steps in TRIPS:
        last_steps = slice(steps - TRIP_STEPS + 1, steps + 1)
        trip = round_trip(wm, imagined.trajectory.feat[last_steps])
        measured[f'round_trip_{steps}'] = mean(trip, imagined.alive[last_steps]) / kl
    ratio = density_ratio(recorded_samples(wm, recorded), imagined_samples(wm, near), classifier_key)
    measured['density_auc'] = ratio.auc
    measured['density_ess'] = ratio.effective

    spread = spread_of(nets, watch['critics'], near.trajectory.feat[-1])
    measured['edge_spread'] = mean(spread, near.alive[-1]) / actor_critic.norm_scale(norm)
    disagreement = plan2explore.disagreement(Ensemble(nets, watch['ensemble']), near.trajectory)
    measured['imagined_disagreement'] = mean(disagreement, near.alive[1:])
    objective = Objective(wm, {'task': functools.partial(actor_critic.task_reward, wm)}, {'task': 1.0})
    task = Behaviour(params['task'], {}, {'task': norm})
    returns = actor_critic.judge(task, objective, near.trajectory, recorded.last.cont).returns['task']
    measured['imagined_return'] = returns[0].mean()
    return measured


def mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """The weighted mean () of values and weights of the same shape. It is not finite if all weights are 0."""
    return (values * weight).sum() / weight.sum()


def look(wm: WorldModel, windows: Batch, key: jax.Array) -> Recorded:
    """Filter recorded windows (n, T, ...), each from the learned initial state."""
    uniform = jax.random.uniform(key, (*windows['reward'].shape, wm.nets.model.stoch))
    state, posterior = world_model.observe(wm, world_model.evidence(wm, windows, uniform))
    kl = posterior.kl(wm.prior(state.deter))
    half = kl.shape[1] // 2
    last_state = jax.tree.map(lambda x: x[:, -1], state)
    last = Starts(last_state, 1.0 - windows['is_terminal'][:, -1])
    inside = 1.0 - windows['is_first'][:, half:]
    return Recorded(kl[:, half:], state.feat[:, half:], windows['action'][:, half:], inside, last)


def dream(wm: WorldModel, actor: Params, starts: Starts, key: jax.Array, steps: int) -> Imagined:
    """Imagine `steps` steps with the agent's policy."""
    action_key, latent_key = jax.random.split(key)
    size = starts.cont.shape[0]
    noise = wm.nets.action_noise(action_key, (steps + 1, size))
    draws = Draws(noise, jax.random.uniform(latent_key, (steps, size, wm.nets.model.stoch)))
    trajectory = imagine(wm, actor, starts, draws)
    alive = jnp.cumprod(actor_critic.continuation(wm, trajectory.feat, starts.cont), 0)
    return Imagined(trajectory, alive)


# Round trip.


def round_trip(wm: WorldModel, feat: jax.Array) -> jax.Array:
    """Imagined states (..., F) -> (...,) nats.

    Each state is decoded, and the decoded observation is encoded again. The result is the KL of
    the posterior that follows, from the prior of the imagined state.
    """
    embed = wm.encode(wm.observation(feat))
    deter = feat[..., : wm.nets.model.deter]
    return wm.posterior(deter, embed).kl(wm.prior(deter))


# Density ratio.


class Samples(NamedTuple):
    """What the classifier sees: decoded observations with actions, side by side. M samples come from each window."""

    inputs: jax.Array  # (n, M, X)
    weight: jax.Array  # (n, M)


class DensityRatio(NamedTuple):
    """How imagined samples differ from recorded ones, judged on windows that the classifier did not learn from."""

    auc: jax.Array  # () probability that an imagined sample has the higher score of two: 0.5 if both kinds are alike
    effective: jax.Array  # () effective sample size of the recorded samples, as a share of them: 1 if both are alike


def recorded_samples(wm: WorldModel, recorded: Recorded) -> Samples:
    """One sample per step, except for the last step of a window, and of an episode, which has no action."""
    inputs = _inputs(wm, recorded.feat[:, :-1], recorded.action[:, :-1])
    return Samples(inputs, recorded.inside[:, 1:])


def imagined_samples(wm: WorldModel, imagined: Imagined) -> Samples:
    """One sample per imagined step, without the start."""
    trajectory, alive = jax.tree.map(lambda x: x[1:].swapaxes(0, 1), imagined)
    return Samples(_inputs(wm, trajectory.feat, trajectory.action), alive)


def _inputs(wm: WorldModel, feat: jax.Array, action: jax.Array) -> jax.Array:
    """States (..., F) and actions (..., A) -> inputs (..., X) of the classifier.

    Observations of recorded states are decoded too. Otherwise the blur of the decoder would tell
    imagined samples from recorded ones.
    """
    decoded = wm.decode(feat)
    if wm.nets.image:
        decoded['image'] = coarse(decoded['image'])
    return jnp.concatenate([*decoded.values(), layers.clip(action)], -1)


def coarse(image: jax.Array) -> jax.Array:
    """Images (..., Y, Y, C) -> (..., S * S * C): means over blocks of pixels, with S = min(SIDE, Y)."""
    side = min(SIDE, image.shape[-2])
    block = image.shape[-2] // side
    blocks = image.reshape((*image.shape[:-3], side, block, side, block, image.shape[-1]))
    return blocks.mean((-4, -2)).reshape((*image.shape[:-3], -1))


def density_ratio(recorded: Samples, imagined: Samples, key: jax.Array) -> DensityRatio:
    """Cross-validation of the classifier: each of the `FOLDS` folds of windows judges one classifier.

    Let r be the density of imagined samples over that of recorded ones. N recorded samples with weights r
    have the effective sample size (Kish) N / E_recorded[r^2] = N / E_imagined[r].
    """

    def judge(fold, key):
        rolled = jax.tree.map(lambda x: jnp.roll(x, fold * (len(x) // FOLDS), 0), (recorded, imagined))
        judging, stopping, learning = (_both_kinds(rolled, windows) for windows in _split(len(recorded.weight)))
        classify = train_classifier(learning, stopping, key)
        recorded_scores, imagined_scores = (classify(samples.inputs) for samples in judging)
        recorded_weight, imagined_weight = (samples.weight for samples in judging)
        area = auc(recorded_scores, imagined_scores, recorded_weight, imagined_weight)
        return area, jax.nn.logsumexp(imagined_scores, b=imagined_weight)  # the log of E_imagined[r]

    areas, log_ratios = jax.vmap(judge)(jnp.arange(FOLDS), jax.random.split(key, FOLDS))
    return DensityRatio(areas.mean(), jnp.minimum(1.0, jnp.exp(-jax.nn.logsumexp(log_ratios)) * FOLDS))


def _split(count: int) -> tuple[slice, slice, slice]:
    """The windows that judge (a quarter), those that say when to stop (a quarter), and those for learning (half)."""
    quarter = count // FOLDS
    return slice(0, quarter), slice(quarter, 2 * quarter), slice(2 * quarter, None)


def _both_kinds(kinds: tuple[Samples, Samples], windows: slice) -> list[Samples]:
    """Recorded and imagined samples of some windows: (n * M, X) and (n * M,), the weights of each kind sum to 1."""
    chosen = [jax.tree.map(lambda x: x[windows].reshape((-1, *x.shape[2:])), samples) for samples in kinds]
    return [Samples(samples.inputs, samples.weight / samples.weight.sum()) for samples in chosen]


def train_classifier(
    learning: list[Samples], stopping: list[Samples], key: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """A function from inputs (M, X) to the log-odds (M,) that they are imagined, if both kinds are equally frequent.

    `learning` and `stopping` are each the recorded and the imagined samples, inputs (M, X) and weights (M,)
    that sum to 1 for each kind. The classifier learns from `learning`. The result has the weights of that
    step at which the loss on `stopping` was lowest, because a classifier soon overfits to few samples. Its
    initial log-odds are 0 everywhere.
    """
    inputs = jnp.concatenate([samples.inputs for samples in learning])
    share = jnp.concatenate([samples.weight for samples in learning]) / 2
    centre = share @ inputs
    scale = jnp.sqrt(share @ (inputs - centre) ** 2) + 1e-6

    def logit(params, inputs):
        return CLASSIFIER.apply(params, (inputs - centre) / scale)[0][..., 0]

    def loss(params, kinds):
        recorded, imagined = kinds
        loss_on_recorded = jax.nn.softplus(logit(params, recorded.inputs)) @ recorded.weight
        return loss_on_recorded + jax.nn.softplus(-logit(params, imagined.inputs)) @ imagined.weight

    def step(state, _):
        params, opt, best_params, lowest_loss = state
        updates, opt = optimiser.update(jax.grad(loss)(params, learning), opt, params)
        params = optax.apply_updates(params, updates)
        new_loss = loss(params, stopping)
        best_params = jax.tree.map(lambda new, old: jnp.where(new_loss < lowest_loss, new, old), params, best_params)
        return (params, opt, best_params, jnp.minimum(new_loss, lowest_loss)), None

    optimiser = optax.adam(CLASSIFIER_RATE)
    params = CLASSIFIER.init(key, inputs[:1])
    first = params, optimiser.init(params), params, loss(params, stopping)
    (_, _, best_params, _), _ = jax.lax.scan(step, first, None, CLASSIFIER_STEPS)
    return functools.partial(logit, best_params)


def auc(low: jax.Array, high: jax.Array, low_weight: jax.Array, high_weight: jax.Array) -> jax.Array:
    """() weighted share of all combinations of scores `low` (M,) and `high` (N,) with high > low; ties count half."""
    above = (high[None] > low[:, None]) + 0.5 * (high[None] == low[:, None])
    return low_weight @ above @ high_weight / (low_weight.sum() * high_weight.sum())


# Spread at the edge, and foreseen reward.


def spread_of(nets: Networks, critics: Params, feat: jax.Array) -> jax.Array:
    """(..., F) -> (...,) standard deviation of the watching critics' values."""
    return jax.vmap(lambda params: actor_critic.critic(nets, params, feat).mean())(critics).std(0)


def foresee(nets: Networks, params: Params, episodes: Batch, key: jax.Array) -> dict[str, jax.Array]:
    """'reward' (N, T): what the model predicts at the states of `dreamer.assess` with the same key."""
    feat = dreamer.examine(nets, params, episodes, key).state.feat
    return {'reward': WorldModel(nets, params['wm']).reward(feat).mean()}
