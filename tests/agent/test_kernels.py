"""Every fast version of a formula gives the value and the gradient of the plain formula beside it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_gradients import DISCRETE, MODEL, NETS, N, close, objective_of, starts, state_of

from paper_lib.agent import actor_critic
from paper_lib.agent.actor_critic import Behaviour, Policy
from paper_lib.agent.kernels import actor_gradient, convolutions, products, recurrence

pytestmark = pytest.mark.usefixtures('quick')


def agree(device, plain, *args):
    """Whether values and gradients by all arguments agree, under weights of the results that differ."""

    def weighted(fn):
        def total(*args):
            results = jax.tree.leaves(fn(*args))
            return sum((jnp.cos(jnp.arange(x.size)).reshape(x.shape) * x).sum() for x in results), results

        return jax.jit(jax.value_and_grad(total, tuple(range(len(args))), has_aux=True))(*args)

    ((_, values), grads), ((_, plain_values), plain_grads) = weighted(device), weighted(plain)
    return close(values, plain_values, 1e-5) and all(close(*pair) for pair in zip(grads, plain_grads, strict=True))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_product():
    device, plain = (functools.partial(fn, dtype='float32') for fn in (products.product, products.plain_product))
    assert agree(device, plain, normal(3, 4, 5), normal(5, 6, seed=1))


@pytest.mark.parametrize('name', ['downsample', 'upsample'])
def test_convolution(name):
    names = (name, f'plain_{name}')
    device, plain = (functools.partial(getattr(convolutions, each), dtype='float32') for each in names)
    assert agree(device, plain, normal(2, 8, 6, 3), normal(4, 4, 3, 5, seed=1))


def test_recurrence():
    """By parameters, by the first carry and by the inputs, through carries and outputs of every step."""

    def step(params, carry, inputs):
        carry = jnp.tanh(carry @ params + inputs)
        return carry, (carry * inputs @ params).sum(-1)

    device, plain = (functools.partial(fn, step) for fn in (recurrence.recur, recurrence.plain_recur))
    assert agree(device, plain, normal(4, 4), normal(2, 4, seed=1), normal(6, 2, 4, seed=2))


def test_recurrence_saves_the_carries_alone():
    """What the gradient keeps of a loop over T steps: no array of T x B x (units in between)."""

    def step(params, carry, inputs):
        return jnp.tanh(jnp.tanh(carry @ params) @ params.T + inputs), inputs

    def saved(loop):
        _, pull = jax.vjp(lambda params: loop(step, params, normal(2, 4), normal(6, 2, 4))[0], normal(4, 9))
        return {leaf.shape for leaf in jax.tree.leaves(pull)}

    assert (6, 2, 9) in saved(recurrence.plain_recur)
    assert (6, 2, 9) not in saved(recurrence.recur)


def test_loop_that_saves_products():
    def loop(step):
        return lambda params, carry: jax.lax.scan(step(params), carry, None, 5)[0]

    def plain(params):
        return lambda carry, _: (jnp.tanh(carry @ params), None)

    assert agree(loop(lambda params: recurrence.save_products(plain(params))), loop(plain), normal(4, 4), normal(2, 4))


def gain_of(nets):
    """The gain of the task's actor in imagination, as a function of how it acts and a push, and its policy."""
    params, start, key = state_of(nets)['params'], starts(), jax.random.key(4)
    objective, draws = objective_of(nets, params, {'task': 1.0}), actor_critic.draw(nets, key, N)
    behaviour = Behaviour(params['task'], None, {'task': actor_critic.init_norm()})

    def gain(act, push):
        trajectory = actor_critic.imagine(objective.wm, act, start.state, draws, push)
        outcome = actor_critic.judge(behaviour, objective, trajectory, start.cont)
        return (outcome.weight[:-1] * outcome.advantage).mean(), outcome

    return gain, Policy(nets, params['task']['actor']), jnp.zeros((MODEL.horizon + 1, N, nets.action))


@pytest.mark.parametrize('nets', [dataclasses.replace(NETS, explore=False), DISCRETE], ids=['continuous', 'discrete'])
def test_actor_gradient_in_two_steps(nets):
    gain, policy, push = gain_of(nets)

    def two_steps(policy):
        value, slope, outcome = actor_gradient.slope_by_actions(gain, policy, push)
        return actor_gradient.through_actions(
            value, slope, policy(outcome.trajectory.feat).sample(outcome.trajectory.noise)
        )

    def plain(policy):
        return actor_gradient.plain_gain(gain, policy, push)[0]

    assert agree(two_steps, plain, policy)
