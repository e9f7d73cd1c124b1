"""Our agent against numbers of the published DreamerV3 v1 package (tests/golden/README.md)."""

import functools

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paper_lib.agent import actor_critic, dists, world_model
from paper_lib.agent.actor_critic import Behaviour, Objective, Policy, Starts, Trajectory
from paper_lib.agent.plan2explore import Ensemble, disagreement
from paper_lib.agent.world_model import State, WorldModel

DRAWS = 300  # of the sampling noise; a comparison of two means fails by chance once in 16 000 at 4 standard errors
GAMMA, LAM = 1 - 1 / 333, 0.95


def close(ours, theirs, tolerance=1e-4):
    """Relative to the largest entry of the reference."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-6)


@pytest.fixture(scope='module')
def f():
    return {key: jnp.asarray(value) for key, value in golden.load('functions.npz').items()}


def test_symlog_and_symexp(f):
    close(dists.symlog(f['symlog_in']), f['symlog_out'])
    for ours, theirs in zip(dists.symexp(f['symexp_in']), f['symexp_out']):
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4, abs=1e-6)  # entry by entry: they span many orders


def test_twohot(f):
    predicted = dists.TwoHot(f['twohot_logits'])
    close(predicted.log_prob(f['twohot_target']), f['twohot_log_prob'])
    close(predicted.mean(), f['twohot_mean'])


def test_lambda_return_and_weight(f):
    ours = actor_critic.lambda_return(f['return_reward'], f['return_value'], f['return_cont'], GAMMA, LAM)
    close(ours, f['return_out'])
    close(actor_critic.state_weights(f['return_cont'], GAMMA), f['imagination_weight'])


def test_kl_with_unimix_and_free_nats(f):
    kl = dists.unimix(f['kl_post_raw_logits']).kl(dists.unimix(f['kl_prior_raw_logits']))
    close(kl, f['kl_unimix'])
    close(jnp.maximum(1.0, kl), f['kl_free1'])


def test_return_normaliser(f):
    norm = actor_critic.init_norm()
    for batch, low, scale in zip(f['retnorm_batches'], f['retnorm_offset'], f['retnorm_scale']):
        norm = actor_critic.update_norm(norm, batch)
        close(norm['low'], low)
        close(actor_critic.norm_scale(norm), scale)


def test_continuous_actor(f):
    dist = dists.bounded_normal(f['actor_mean_raw'], f['actor_std_raw'])
    close(dist.mean, f['actor_mean'])
    close(dist.std, f['actor_std'])
    close(dist.log_prob(f['actor_action']), f['actor_log_prob'])
    close(dist.entropy(), f['actor_entropy'])


def test_discrete_actor(f):
    dist = dists.unimix(f['onehot_raw_logits'])
    close(dist.log_prob(jax.nn.one_hot(f['onehot_index'], dist.logp.shape[-1])), f['onehot_log_prob'])
    close(dist.entropy(), f['onehot_entropy'])


def test_symlog_mse(f):
    close(dists.symlog_mse(f['vector_pred'], f['vector_target']), f['vector_symlog_mse'])


@pytest.mark.parametrize('name', golden.AGENTS)
def test_forward(name):
    nets, params = golden.networks_of(name), golden.params_of(name)
    data = {key: jnp.asarray(value) for key, value in golden.load(f'{name}_forward.npz').items()}
    batch = {key: jnp.asarray(value) for key, value in golden.load(f'{name}_batch.npz').items()}
    wm, unchecked = WorldModel(nets, params['wm']), {key for key in data if key.startswith('out_')}

    def check(key, ours):
        close(ours, data[key])
        unchecked.remove(key)

    start = State(data['in_deter'], data['in_stoch'])
    next_deter = wm.next(start, data['in_action'])
    check('out_next_deter', next_deter)
    check('out_prior_logit', wm.prior(next_deter).logp)
    check('out_post_logit', wm.posterior(data['out_next_deter'], data['in_embed']).logp)
    for part, initial in wm.initial()._asdict().items():
        check(f'out_initial_{part}', jnp.broadcast_to(initial, data[f'out_initial_{part}'].shape))
    check('out_embed', wm.encode(batch))
    (decoded,) = wm.decode(start.feat).values()
    check('out_decoder_raw', decoded)
    check('out_reward_mean', wm.reward(start.feat).mean())
    check('out_cont_logit', wm.cont(start.feat).logit)
    check('out_value_mean', actor_critic.critic(nets, params['task']['critics']['task'], start.feat).mean())
    dist = Policy(nets, params['task']['actor'])(start.feat)
    if nets.discrete:
        check('out_actor_log_probs', dist.logp)
    else:
        check('out_actor_mean', dist.mean)
        check('out_actor_std', dist.std)
    if nets.explore:
        second = State(data['out_next_deter'], data['in_stoch'])
        feat, action = jnp.stack([start.feat, second.feat]), jnp.stack([data['in_action']] * 2)
        trajectory = Trajectory(feat, action, noise=None)
        check('out_disagreement_reward', disagreement(Ensemble(nets, params['disag']), trajectory))
    assert not unchecked, f'reference outputs without a check: {unchecked}'


def imagined(wm, params, state, batch, key):
    """Quantities of one imagined rollout from the batch's posteriors, named as in the references."""
    cont = 1.0 - batch['is_terminal']
    starts = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), Starts(state, cont))
    objective = Objective(wm, {'task': functools.partial(actor_critic.task_reward, wm)}, {'task': 1.0})
    behaviour = Behaviour(params, None, {'task': actor_critic.init_norm()})
    policy = Policy(wm.nets, params['actor'])
    _, outcome = actor_critic.actor_loss(policy, behaviour, objective, starts, key)
    critic, slow, returns = params['critics']['task'], params['slow']['task'], outcome.returns['task']
    baseline = actor_critic.critic(wm.nets, critic, outcome.trajectory.feat[:-1]).mean()  # states 0 to H - 1
    return {
        'actor_entropy': outcome.metrics['entropy'],
        'advantage_raw': (returns - baseline).mean(),
        'critic_loss': actor_critic.critic_loss(critic, slow, wm.nets, outcome, 'task'),
        'imag_return': outcome.metrics['task_return'],
        'imag_reward': outcome.metrics['task_reward'],
        'imag_value': baseline.mean(),
        'imag_weight': outcome.metrics['weight'],
        'return_p5': jnp.percentile(returns, 5),
        'return_p95': jnp.percentile(returns, 95),
    }


@pytest.mark.parametrize('name', golden.AGENTS)
def test_losses(name):
    nets, params, reference = golden.networks_of(name), golden.params_of(name), golden.load(f'{name}_losses.json')
    wm = WorldModel(nets, params['wm'])
    batch = {key: jnp.asarray(value) for key, value in golden.load(f'{name}_batch.npz').items()}

    @jax.jit
    def draw(key):
        latent_key, imagine_key = jax.random.split(key)
        uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, nets.model.stoch))
        losses = world_model.losses(wm, batch, uniform)
        ours = {f'{key}_loss': value.mean() for key, value in losses.terms.items()}
        ours['image_loss' if nets.image else 'vector_loss'] = ours.pop('obs_loss')
        return ours | imagined(wm, params['task'], losses.state, batch, imagine_key)

    draws = jax.lax.map(draw, jax.random.split(jax.random.key(0), DRAWS))
    assert draws.keys() == reference.keys()
    for key, theirs in reference.items():
        ours = np.asarray(draws[key], np.float64)
        error = np.hypot(ours.std(ddof=1) / DRAWS**0.5, theirs['sem'])
        assert abs(ours.mean() - theirs['mean']) <= 4 * error + 1e-5 * abs(theirs['mean']), (key, ours.mean(), theirs)
