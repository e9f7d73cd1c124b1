"""Our agent against numbers of the published DreamerV3 v1 package (tests/golden/README.md)."""

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paper_lib.agent import actor_critic, dists, explore
from paper_lib.agent import world_model as wmod

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
    close(dists.twohot_log_prob(f['twohot_logits'], f['twohot_target']), f['twohot_log_prob'])
    close(dists.twohot_mean(f['twohot_logits']), f['twohot_mean'])


def test_lambda_return_and_weight(f):
    ours = actor_critic.lambda_return(f['return_reward'], f['return_value'], f['return_cont'], GAMMA, LAM)
    close(ours, f['return_out'])
    close(actor_critic.weights(f['return_cont'], GAMMA), f['imagination_weight'])


def test_kl_with_unimix_and_free_nats(f):
    kl = dists.onehot_kl(dists.unimix(f['kl_post_raw_logits']), dists.unimix(f['kl_prior_raw_logits']))
    close(kl, f['kl_unimix'])
    close(jnp.maximum(1.0, kl), f['kl_free1'])


def test_return_normaliser(f):
    norm = actor_critic.init_norm()
    for batch, low, scale in zip(f['retnorm_batches'], f['retnorm_offset'], f['retnorm_scale']):
        norm = actor_critic.update_norm(norm, batch)
        close(norm['low'], low)
        close(actor_critic.norm_scale(norm), scale)


def test_continuous_actor(f):
    mean, std = dists.normal_params(f['actor_mean_raw'], f['actor_std_raw'])
    close(mean, f['actor_mean'])
    close(std, f['actor_std'])
    close(dists.normal_log_prob(mean, std, f['actor_action']), f['actor_log_prob'])
    close(dists.normal_entropy(std), f['actor_entropy'])


def test_discrete_actor(f):
    logp = dists.unimix(f['onehot_raw_logits'])
    close(dists.onehot_log_prob(logp, jax.nn.one_hot(f['onehot_index'], logp.shape[-1])), f['onehot_log_prob'])
    close(dists.onehot_entropy(logp), f['onehot_entropy'])


def test_symlog_mse(f):
    close(dists.symlog_mse(f['vector_pred'], f['vector_target']), f['vector_symlog_mse'])


@pytest.mark.parametrize('name', golden.AGENTS)
def test_forward(name):
    agent, params = golden.agent_of(name), golden.params_of(name)
    data = {key: jnp.asarray(value) for key, value in golden.load(f'{name}_forward.npz').items()}
    batch = {key: jnp.asarray(value) for key, value in golden.load(f'{name}_batch.npz').items()}
    wm, unchecked = params['wm'], {key for key in data if key.startswith('out_')}

    def check(key, ours):
        close(ours, data[key])
        unchecked.remove(key)

    def rssm(method, *args):
        return agent.rssm.apply(wm['rssm'], *args, method=method)

    next_deter = rssm('sequence', data['in_deter'], data['in_stoch'], data['in_action'])
    check('out_next_deter', next_deter)
    check('out_prior_logit', rssm('prior', next_deter))
    check('out_post_logit', rssm('posterior', data['out_next_deter'], data['in_embed']))
    for part, initial in zip(('deter', 'stoch'), rssm('initial')):
        check(f'out_initial_{part}', jnp.broadcast_to(initial, data[f'out_initial_{part}'].shape))
    check('out_embed', wmod.encode(agent, wm, batch))
    feat = wmod.features(data['in_deter'], data['in_stoch'])
    decoded = agent.decoder.apply(wm['decoder'], feat)
    check('out_decoder_raw', decoded if agent.image else decoded[0])
    check('out_reward_mean', wmod.reward_mean(agent, wm, feat))
    check('out_cont_logit', wmod.cont_logit(agent, wm, feat))
    check('out_value_mean', actor_critic.value_mean(agent, params['task']['critics']['task'], feat))
    dist = actor_critic.actor_dist(agent, params['task']['actor'], feat)
    if agent.discrete:
        check('out_actor_log_probs', dist)
    else:
        check('out_actor_mean', dist[0])
        check('out_actor_std', dist[1])
    if agent.explore:
        second = wmod.features(data['out_next_deter'], data['in_stoch'])
        reward = explore.reward(agent, params['disag'])(
            wm, jnp.stack([feat, second]), jnp.stack([data['in_action']] * 2)
        )
        check('out_disagreement_reward', reward)
    assert not unchecked, f'reference outputs without a check: {unchecked}'


def imagined(agent, params, states, batch, key):
    """Quantities of one imagined rollout from the batch's posteriors, named as in the references."""
    start, first_cont = tuple(x.reshape((-1, *x.shape[2:])) for x in states), 1.0 - batch['is_terminal'].reshape(-1)
    rewards = {'task': lambda wm, feat, action: wmod.reward_mean(agent, wm, feat[1:])}
    norms, task = {'task': actor_critic.init_norm()}, params['task']
    _, (feat, weight, returns, _, metrics) = actor_critic.actor_loss(
        agent, params['wm'], task, norms, rewards, {'task': 1.0}, start, first_cont, key
    )
    returns = returns['task']
    value = actor_critic.value_mean(agent, task['critics']['task'], feat)
    return {
        'actor_entropy': metrics['entropy'],
        'advantage_raw': (returns - value[:-1]).mean(),
        'critic_loss': actor_critic.critic_loss(
            agent, task['critics']['task'], task['slow']['task'], feat, returns, weight
        ),
        'imag_return': metrics['task_return'],
        'imag_reward': metrics['task_reward'],
        'imag_value': metrics['task_value'],
        'imag_weight': metrics['weight'],
        'return_p5': jnp.percentile(returns, 5),
        'return_p95': jnp.percentile(returns, 95),
    }


@pytest.mark.parametrize('name', golden.AGENTS)
def test_losses(name):
    agent, params, reference = golden.agent_of(name), golden.params_of(name), golden.load(f'{name}_losses.json')
    batch = {key: jnp.asarray(value) for key, value in golden.load(f'{name}_batch.npz').items()}

    @jax.jit
    def draw(key):
        latent_key, imagine_key = jax.random.split(key)
        uniform = jax.random.uniform(latent_key, (*batch['reward'].shape, agent.model.stoch))
        terms, states = wmod.losses(agent, params['wm'], batch, uniform)
        ours = {f'{key}_loss': value.mean() for key, value in terms.items()}
        ours['image_loss' if agent.image else 'vector_loss'] = ours.pop('obs_loss')
        return ours | imagined(agent, params, states, batch, imagine_key)

    draws = jax.lax.map(draw, jax.random.split(jax.random.key(0), DRAWS))
    assert draws.keys() == reference.keys()
    for key, theirs in reference.items():
        ours = np.asarray(draws[key], np.float64)
        error = np.hypot(ours.std(ddof=1) / DRAWS**0.5, theirs['sem'])
        assert abs(ours.mean() - theirs['mean']) <= 4 * error + 1e-5 * abs(theirs['mean']), (key, ours.mean(), theirs)
