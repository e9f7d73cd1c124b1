"""A policy in the models of others: what takes part, and which way the difference goes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_agent import MINATAR, PROPRIO, fresh, random_batch

from paper_lib.agent import across, dists
from paper_lib.agent.actor_critic import Starts
from paper_lib.agent.world_model import State

pytestmark = pytest.mark.usefixtures('quick')

WINDOWS = 6
KEY = jax.random.key(3)


@functools.cache
def trained(nets, seed):
    """Weights of an agent whose heads predict something."""
    params = fresh(nets)['params']
    return shaken({'wm': params['wm'], 'task': {'actor': params['task']['actor']}}, seed)


def shaken(tree, seed=5):
    """Other weights."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: np.asarray(leaf + 0.3 * rng.normal(size=leaf.shape), np.float32), tree)


rewards = jax.jit(across.rewards, static_argnums=0)
rates = jax.jit(across.rates, static_argnums=0)
starts = jax.jit(across.starts, static_argnums=0)


def states(seed):
    """Some states, without a filter: so the encoder that a model starts with plays no part."""
    rng = np.random.default_rng(seed)
    model = PROPRIO.model
    stoch = np.eye(model.classes)[rng.integers(model.classes, size=(WINDOWS, model.stoch))]
    return State(jnp.asarray(rng.normal(size=(WINDOWS, model.deter)), 'float32'), jnp.asarray(stoch, 'float32'))


def play(agent, model):
    start = Starts(states(1), jnp.ones(WINDOWS))
    return np.asarray(rewards(PROPRIO, agent, model, states(0), start, KEY))


@pytest.mark.parametrize(
    ('branch', 'of_agent', 'of_model'),
    [('encoder', True, False), ('rssm', True, True), ('decoder', False, True), ('reward', False, True)],
)
def test_the_agent_filters_what_the_model_decodes_and_the_model_pays(branch, of_agent, of_model):
    """The branches of the agent's world model and of the other one that have a part in the rewards."""
    agent, model = trained(PROPRIO, 0), trained(PROPRIO, 1)
    usual = play(agent, model)
    for role, weights, takes_part in (('agent', agent, of_agent), ('model', model, of_model)):
        other = weights | {'wm': weights['wm'] | {branch: shaken(weights['wm'][branch])}}
        found = play(other, model) if role == 'agent' else play(agent, other)
        assert (found != usual).any() == takes_part, role


def test_the_policy_is_the_agents():
    agent, model = trained(PROPRIO, 0), trained(PROPRIO, 1)
    usual = play(agent, model)
    other = {'task': {'actor': shaken(agent['task']['actor'])}}
    assert (play(agent | other, model) != usual).any()
    assert (play(agent, model | other) == usual).all()


def saying(params, branch, bias):
    """Weights of a world model whose head predicts the same in every state."""
    head = jax.tree.map(np.zeros_like, params['wm'][branch])
    head['params']['out0']['bias'] = np.asarray(bias, np.float32)
    return params | {'wm': params['wm'] | {branch: head}}


@pytest.mark.parametrize(('going_on', 'expected'), [(9.0, [1, 1]), (-9.0, [1 / 15, 1 / 50])])
def test_a_rate_is_the_reward_per_step_until_the_model_predicts_an_end(going_on, expected):
    """The reward on arriving at the end counts, and starts in which the recorded episode ends do not."""
    bins = np.asarray(dists.bins(PROPRIO.model.bins))
    pays = saying(trained(PROPRIO, 1), 'reward', 1e4 * (bins == bins[22]))
    model = saying(pays, 'cont', [going_on])
    start = Starts(states(1), jnp.asarray([1.0, 0, 1, 1, 0, 1]))
    found = rates(PROPRIO, trained(PROPRIO, 0), model, states(0), start, KEY)
    np.testing.assert_allclose(found, np.array(expected) * float(dists.symexp(bins[22])), rtol=1e-5)


@pytest.mark.parametrize('nets', [PROPRIO, MINATAR])
def test_equal_models_predict_the_same_and_others_do_not(nets):
    windows = random_batch(nets, shape=(WINDOWS, 6))
    first, second = trained(nets, 0), trained(nets, 1)
    of_first, of_second, again = (starts(nets, params, windows, KEY) for params in (first, second, first))
    own = np.asarray(rates(nets, first, first, of_first.state, of_first, KEY))
    assert (own == rates(nets, first, first, of_first.state, again, KEY)).all()
    other = np.asarray(rates(nets, first, second, of_first.state, of_second, KEY))
    assert other.shape == (len(across.STEPS),) and np.isfinite(other).all() and (own != other).all()


def test_a_gap_is_in_units_of_the_best_recorded_rate_and_positive_where_the_own_model_promises_more():
    """Agents in rows. The third model promises half a reward less than the agent's own, per step."""
    predicted = np.array([[2.0, 1.5, 1.0], [0.0, 1.0, 3.0], [1.0, 1.0, 1.0]])[..., None] * [1, 10]
    assert across.gaps(predicted, 0.5)[:, 0].tolist() == [(2 - 1.25) / 0.5, (1 - 1.5) / 0.5, 0]
    np.testing.assert_allclose(across.gaps(predicted, 5)[:, 1], across.gaps(predicted, 0.5)[:, 0])
    assert across.elsewhere(predicted, 0.5)[:, 0].tolist() == [2.5, 3, 2]


@pytest.mark.parametrize(('predicted', 'best_rate'), [(np.ones((2, 2, 2)), 0.0), (np.ones((1, 1, 2)), 1.0)])
def test_no_gap_without_a_reward_on_record_or_another_model(predicted, best_rate):
    for found in (across.gaps(predicted, best_rate), across.elsewhere(predicted, best_rate)):
        assert found.shape == (len(predicted), 2) and np.isnan(found).all()
