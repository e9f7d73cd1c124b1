"""Which gradient reaches the actor: against plain loops over the equations of DreamerV3 v1 and Plan2Explore."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paper_lib.agent import actor_critic, dists, dreamer, plan2explore, world_model
from paper_lib.agent.actor_critic import Behaviour, Objective, Policy, Starts
from paper_lib.agent.networks import Networks
from paper_lib.agent.plan2explore import Ensemble
from paper_lib.agent.world_model import State, WorldModel
from paper_lib.contract.spec import ModelSpec

pytestmark = pytest.mark.usefixtures('quick')

MODEL = ModelSpec(deter=8, stoch=3, classes=4, units=8, layers=1, mlp_units=8, mlp_layers=1, bins=15, batch=4,
                  length=5, horizon=3, ensemble=3, probe_units=8, entropy=0.1, lam=0.8, discount_horizon=5)  # fmt: skip
NETS = Networks(MODEL, (3, 2), None, 2, False, explore=True)
DISCRETE = dataclasses.replace(NETS, action=3, discrete=True, explore=False)
REINFORCE = dataclasses.replace(NETS, model=dataclasses.replace(MODEL, gradient='reinforce'), explore=False)
HYPER = {'lr_model': 1e-2, 'lr_actor': 1e-3, 'lr_critic': 1e-3, 'lr_expl': 1e-3, 'w_expl': 0.5}
N, H = 16, MODEL.horizon
NORM = {'low': jnp.float32(-1), 'high': jnp.float32(3)}  # a scale that is not 1 ...
NORMS = {'task': NORM, 'disag': {'low': jnp.float32(0), 'high': jnp.float32(9)}}  # ... and another one
sg = jax.lax.stop_gradient


@functools.cache
def state_of(nets):
    """A state where every head says something: random weights instead of the initial ones."""
    rng, shapes = np.random.default_rng(2), jax.eval_shape(functools.partial(dreamer.init, nets), jax.random.key(0))
    params = jax.tree.map(lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32), shapes['params'])
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes) | {'params': params}


def starts():
    """N states to imagine from, one of them terminal."""
    rng = np.random.default_rng(1)
    deter, stoch = rng.uniform(-1, 1, (N, 8)), np.eye(4)[rng.integers(4, size=(N, 3))]
    cont = np.ones(N, np.float32) - np.eye(N, dtype=np.float32)[3]
    return Starts(State(deter.astype(np.float32), stoch.astype(np.float32)), cont)


def batch_of(nets, shape=(4, 5)):
    rng = np.random.default_rng(0)
    return {
        'vector': rng.normal(size=(*shape, sum(nets.vector))).astype(np.float32),
        'action': rng.uniform(-1, 1, (*shape, nets.action)).astype(np.float32),
        'reward': rng.normal(size=shape).astype(np.float32),
        'is_first': np.zeros(shape, bool),
        'is_terminal': np.zeros(shape, bool),
    }


def objective_of(nets, params, mix):
    """To maximise the rewards that `mix` weighs, in the model of these weights."""
    wm = WorldModel(nets, params['wm'])
    rewards = {'task': functools.partial(actor_critic.task_reward, wm)}
    if nets.explore:
        rewards['disag'] = functools.partial(plan2explore.disagreement, Ensemble(nets, params['disag']))
    return Objective(wm, rewards, mix)


def close(ours, theirs, tolerance=1e-4):
    """Whether two gradients agree, relative to the largest entry."""
    ours, theirs = (jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (ours, theirs))
    return bool(jnp.abs(ours - theirs).max() <= tolerance * jnp.abs(theirs).max()) and bool(jnp.abs(theirs).max() > 0)


# Dynamics gradient, equation by equation: one trajectory state after the other, nothing shared with the agent
# but its networks. `stop` says, for each part, how much of it is held constant: 1 all, 0 nothing. With `shared` 1 the
# scale of the task's returns divides the advantage of every reward.

V1 = {'value': 0.0, 'input': 1.0, 'disag': 0.0, 'scale': 1.0, 'shared': 0.0}


def held(x, share):
    return share * sg(x) + (1 - share) * x


def symlog_mean(logits):
    symlog = (jax.nn.softmax(logits) * jnp.linspace(-20, 20, MODEL.bins)).sum(-1)
    return jnp.sign(symlog) * (jnp.exp(jnp.abs(symlog)) - 1)


def reference_loss(actor, stop, wm, critics, ensemble, mix, start, first_cont, key):
    rssm = functools.partial(NETS.rssm.apply, wm['rssm'])
    action_key, latent_key = jax.random.split(key)
    normal, uniform = jax.random.normal(action_key, (H + 1, N, 2)), jax.random.uniform(latent_key, (H, N, 3))

    def policy(feat):
        mean, std = NETS.actor.apply(actor, held(feat, stop['input']))
        return jnp.tanh(mean), 0.9 / (1 + jnp.exp(-std - 2)) + 0.1

    (deter, stoch), feats, actions, stds = start, [], [], []
    for t in range(H + 1):
        feats.append(jnp.concatenate([deter, stoch.reshape(N, -1)], -1))
        mean, std = policy(feats[t])
        actions.append(mean + std * normal[t])
        stds.append(std)
        if t < H:
            deter = rssm(deter, stoch, actions[t], method='next')
            probs = jnp.exp(rssm(deter, method='prior').logp)
            below = jnp.cumsum(probs, -1) < uniform[t][..., None]
            stoch = jnp.eye(4)[jnp.minimum(below.sum(-1), 3)] + probs - sg(probs)
    gamma, lam = 1 - 1 / MODEL.discount_horizon, MODEL.lam
    cont = [first_cont] + [1.0 * (NETS.cont.apply(wm['cont'], feat)[0][:, 0] > 0) for feat in feats[1:]]
    reward = {'task': [symlog_mean(NETS.reward.apply(wm['reward'], feat)[0]) for feat in feats]}
    reward['disag'] = [held(disagreement(ensemble, *pair), stop['disag']) for pair in zip(feats, actions)]
    advantage, scales = [0.0] * H, {}
    for name, critic in sorted(critics.items(), reverse=True):  # the task first
        value = [symlog_mean(NETS.critic.apply(critic, feat)[0]) for feat in feats]
        ret = {H: value[H]}
        for t in reversed(range(H)):
            tail = (1 - lam) * value[t + 1] + lam * ret[t + 1]
            ret[t] = reward[name][t + 1] + gamma * cont[t + 1] * tail
        low, high = jnp.percentile(jnp.stack([ret[t] for t in range(H)]), jnp.array([5.0, 95.0]))
        scale = 0.99 * (NORMS[name]['high'] - NORMS[name]['low']) + 0.01 * held(high - low, stop['scale'])
        scales[name] = stop['shared'] * scales.get('task', scale) + (1 - stop['shared']) * scale
        for t in range(H):
            share = mix[name] / sum(mix.values())
            advantage[t] += share * (ret[t] - held(value[t], stop['value'])) / jnp.maximum(1, scales[name])
    loss, weight = 0.0, 1 / gamma
    for t in range(H):
        weight = weight * gamma * cont[t]
        entropy = (jnp.log(stds[t]) + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum(-1)
        loss += (sg(weight) * (-advantage[t] - MODEL.entropy * entropy)).mean() / H
    return loss


def disagreement(ensemble, feat, action):
    members = [jax.tree.map(lambda x, i=i: x[i], ensemble) for i in range(MODEL.ensemble)]
    preds = jnp.stack([NETS.disag.apply(member, jnp.concatenate([feat, action], -1))[0] for member in members])
    return jnp.sqrt(((preds - preds.mean(0)) ** 2).mean(0)).mean(-1)


@pytest.fixture(scope='module')
def dynamics():
    """The agent's gradient of the exploring actor, and the reference's as a function of what it holds constant."""
    params, mix, key = state_of(NETS)['params'], {'task': 0.25, 'disag': 0.5}, jax.random.key(4)
    expl, start = params['expl'], starts()
    objective, behaviour = objective_of(NETS, params, mix), Behaviour(expl, None, NORMS)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def ours(actor):
        return actor_critic.actor_loss(Policy(NETS, actor), behaviour, objective, start, key)

    reference = jax.jit(jax.value_and_grad(reference_loss))
    rest = (params['wm'], expl['critics'], params['disag'], mix, start.state, start.cont, key)
    return *ours(expl['actor']), lambda **stop: reference(expl['actor'], V1 | stop, *rest)


def test_dynamics_gradient_is_that_of_the_equations(dynamics):
    grads, outcome, reference = dynamics
    loss, theirs = reference()
    assert float(outcome.metrics['actor_loss']) == pytest.approx(float(loss), rel=1e-5)
    assert close(grads, theirs)
    ends = outcome.weight[1:, jnp.arange(N) != 3] == 0
    assert 0 < float(ends.mean()) < 1  # some imagined trajectories end, some do not


@pytest.mark.parametrize(
    'other', [{'value': 1.0}, {'input': 0.0}, {'disag': 1.0}, {'scale': 0.0}, {'shared': 1.0}], ids=str
)
def test_the_gradient_would_show_another_advantage(dynamics, other):
    """The value and the disagreement reward are differentiated; the actor's input and the return scale are not.

    Every reward's advantage is divided by the scale of its own returns.
    """
    grads, _, reference = dynamics
    assert not close(grads, reference(**other)[1], 1e-3)


def test_straight_through_samples_have_the_gradient_of_the_probabilities():
    logits, slope = (jax.random.normal(jax.random.key(i), (5, 3, 4)) for i in range(2))
    uniform = jax.random.uniform(jax.random.key(2), (5, 3))
    ours = jax.grad(lambda x: (slope * dists.unimix(x).sample(uniform)).sum())(logits)
    theirs = jax.grad(lambda x: (slope * (0.99 * jax.nn.softmax(x) + 0.01 / 4)).sum())(logits)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('nets', [DISCRETE, REINFORCE], ids=['discrete', 'continuous'])
def test_reinforce_gradient_is_that_of_the_log_probability_alone(nets):
    """-log pi(a | s) A - eta H with states, actions and A constant: nothing flows through the dynamics."""
    params, key = state_of(nets)['params'], jax.random.key(4)
    task, objective = params['task'], objective_of(nets, params, {'task': 1.0})

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def ours(actor):
        behaviour = Behaviour(task, None, {'task': NORM})
        return actor_critic.actor_loss(Policy(nets, actor), behaviour, objective, starts(), key)

    @jax.jit
    @jax.grad
    def reference(actor, feat, action, advantage, weight):
        outs = nets.actor.apply(actor, feat)
        if nets.discrete:
            probs = 0.99 * jax.nn.softmax(outs[0]) + 0.01 / nets.action
            logp, ent = jnp.log((probs * action).sum(-1)), -(probs * jnp.log(probs)).sum(-1)
        else:
            mean, std = jnp.tanh(outs[0]), 0.9 * jax.nn.sigmoid(outs[1] + 2) + 0.1
            logp = jax.scipy.stats.norm.logpdf(action, mean, std).sum(-1)
            ent = (0.5 * jnp.log(2 * jnp.pi * jnp.e * std**2)).sum(-1)
        return (weight * (-logp * advantage - nets.model.entropy * ent)).mean()

    grads, outcome = ours(task['actor'])
    feat, action, weight = outcome.trajectory.feat[:-1], outcome.trajectory.action[:-1], outcome.weight[:-1]
    value = actor_critic.critic(nets, task['critics']['task'], feat).mean()
    scale = outcome.norms['task']['high'] - outcome.norms['task']['low']
    advantage = (outcome.returns['task'] - value) / scale
    assert close(grads, reference(task['actor'], feat, action, advantage, weight))


# World model, step by step. `dyn` and `rep` weigh the two sides of the KL; `heads` is how much of their input is held
# constant; `scale` and `weight` belong to the observed vectors.

LOSS = {'dyn': 0.5, 'rep': 0.1, 'heads': 0.0, 'scale': 3.0, 'weight': 2.0}


def reference_model_loss(nets, wm, batch, uniform, dyn, rep, heads, scale, weight):
    """Eq. 4: one step after the other, nothing shared with the agent but its networks."""
    rssm = functools.partial(nets.rssm.apply, wm['rssm'])
    fresh = [jnp.repeat(x[None], uniform.shape[0], 0) for x in rssm(method='initial')]
    (deter, stoch), action, total = fresh, jnp.zeros_like(batch['action'][:, 0]), 0.0
    for t in range(uniform.shape[1]):
        first = batch['is_first'][:, t, None]
        deter, stoch = jnp.where(first, fresh[0], deter), jnp.where(first[..., None], fresh[1], stoch)
        action = jnp.where(first, 0, action)
        seen = scale * batch['vector'][:, t]
        seen = jnp.sign(seen) * jnp.log(1 + jnp.abs(seen))
        deter = rssm(deter, stoch, action, method='next')
        prior = jnp.exp(rssm(deter, method='prior').logp)
        embed = nets.encoder.apply(wm['encoder'], seen)
        post = jnp.exp(rssm(deter, embed, method='posterior').logp)
        index = (jnp.cumsum(post, -1) < uniform[:, t, :, None]).sum(-1)
        stoch = jax.nn.one_hot(index, post.shape[-1]) + post - sg(post)
        feat = jnp.concatenate([deter, stoch.reshape(len(stoch), -1)], -1)
        known, ends = held(feat, heads), batch['is_terminal'][:, t]
        logit = nets.cont.apply(wm['cont'], known)[0][:, 0]
        log_reward = jnp.log(jax.nn.softmax(nets.reward.apply(wm['reward'], known)[0]))
        for share, p, q in ((dyn, sg(post), prior), (rep, post, sg(prior))):
            total += share * jnp.maximum(nets.model.free_nats, (p * jnp.log(p / q)).sum((1, 2)))
        total += weight * ((nets.decoder.apply(wm['decoder'], feat)[0] - seen) ** 2).sum(-1)
        total -= (dists.twohot(batch['reward'][:, t], nets.model.bins) * log_reward).sum(-1)
        total -= jnp.log(jnp.where(ends, 1 - jax.nn.sigmoid(logit), jax.nn.sigmoid(logit)))
        action = batch['action'][:, t]
    return total.mean() / uniform.shape[1]


@pytest.fixture(scope='module')
def model_gradient():
    """The world model's gradient, and the reference's as a function of what it assumes."""
    values = {'obs_scale': 3.0, 'vector_scale': 2.0, 'free_nats': 0.1}
    nets = dataclasses.replace(NETS, model=dataclasses.replace(MODEL, **values), explore=False)
    wm, uniform = state_of(nets)['params']['wm'], jax.random.uniform(jax.random.key(3), (4, 5, 3))
    step = np.arange(20).reshape(4, 5)
    batch = batch_of(nets) | {'is_terminal': step == 14, 'is_first': np.isin(step, (5, 12))}  # at t = 0 and t = 2
    grads = jax.jit(jax.grad(lambda wm: world_model.loss(WorldModel(nets, wm), batch, uniform)[0]))(wm)
    reference = jax.jit(jax.grad(lambda wm, how: reference_model_loss(nets, wm, batch, uniform, **how)))
    return grads, functools.partial(reference, wm)


def test_world_model_gradient_is_that_of_the_equation(model_gradient):
    grads, reference = model_gradient
    assert close(grads, reference(LOSS))


@pytest.mark.parametrize('other', [{'dyn': 0.1, 'rep': 0.5}, {'heads': 1.0}, {'scale': 1.0}, {'weight': 1.0}], ids=str)
def test_the_world_model_gradient_would_show_another_loss(model_gradient, other):
    grads, reference = model_gradient
    assert not close(grads, reference(LOSS | other), 1e-2)


# One whole update.


@functools.cache
def updated(**hyper):
    """Parameters after one update of an agent that explores."""
    return compiled()(state_of(NETS), batch_of(NETS), HYPER | hyper, jax.random.key(5))[0]['params']


@functools.cache
def compiled():
    return jax.jit(functools.partial(dreamer.train_step, NETS))


def same(a, b):
    return all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


@pytest.mark.parametrize('behaviour', ['task', 'expl'])
def test_imagination_runs_in_the_updated_model(behaviour):
    """Its starts do not: they are the posteriors of before. So only the updated model can tell the actors apart."""
    actors = [updated(lr_model=lr)[behaviour]['actor'] for lr in (0.0, 1e-2)]
    assert not same(*actors)


def test_the_explorer_is_rewarded_by_the_updated_ensemble():
    assert not same(*(updated(lr_expl=lr)['expl']['actor'] for lr in (0.0, 1e-3)))
    assert same(*(updated(lr_expl=lr)['task']['actor'] for lr in (0.0, 1e-3)))


def test_the_actors_move_neither_the_ensemble_nor_the_model():
    before, after = state_of(NETS)['params'], updated(lr_model=0.0, lr_expl=0.0, w_expl=1.0)
    assert same(before['disag'], after['disag']) and same(before['wm'], after['wm'])
    assert not same(before['expl']['actor'], after['expl']['actor'])


@pytest.mark.parametrize('kind', ['stoch', 'vector'])
def test_the_ensemble_predicts_the_next_step(kind):
    """From state and action of step t to the target of step t + 1: squared errors, one by one."""
    nets = dataclasses.replace(NETS, model=dataclasses.replace(MODEL, disag_target=kind, obs_scale=10.0))
    ensemble, batch = state_of(nets)['params']['disag'], batch_of(nets)
    rng = np.random.default_rng(1)
    deter, stoch = rng.normal(size=(4, 5, 8)), np.eye(4)[rng.integers(4, size=(4, 5, 3))]
    vector = np.sign(batch['vector']) * np.log1p(10 * np.abs(batch['vector']))
    target = vector if kind == 'vector' else stoch.reshape(4, 5, 12)
    inputs = np.concatenate([deter, stoch.reshape(4, 5, 12), batch['action']], -1).astype(np.float32)
    errors = []
    for i in range(MODEL.ensemble):
        pred = nets.disag.apply(jax.tree.map(lambda x, i=i: x[i], ensemble), inputs)[0]
        errors += [((pred[b, t] - target[b, t + 1]) ** 2).sum() for b in range(4) for t in range(4)]
    state = State(jnp.asarray(deter, jnp.float32), jnp.asarray(stoch, jnp.float32))
    assert float(plan2explore.loss(Ensemble(nets, ensemble), state, batch)) == pytest.approx(
        np.sum(errors) / 16, rel=1e-5
    )


def test_the_initial_latent_has_no_gradient():
    """It is the mode of the prior at the learned deter: no sample, so nothing passes straight through (v1)."""
    rssm = state_of(NETS)['params']['wm']['rssm']

    def latent(params):
        return (jnp.arange(4.0) * NETS.rssm.apply(params, method='initial')[1]).sum()

    assert latent(rssm) > 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(jax.grad(latent)(rssm)))
