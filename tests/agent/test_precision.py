"""bfloat16: what it touches, what it leaves alone, and that it learns as float32 does."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_agent import HYPER, MINATAR, PROPRIO, fresh, random_batch

from paper_lib.agent import dreamer, layers

AGENTS = [pytest.param(PROPRIO, id='proprio'), pytest.param(MINATAR, id='image')]


def half(nets):
    return dataclasses.replace(nets, model=dataclasses.replace(nets.model, precision='bfloat16'))


def shapes(nets):
    """Shapes and types of the state before the first update, which are all that tracing needs."""
    return jax.eval_shape(functools.partial(dreamer.init, nets), jax.random.key(0))


def products(program):
    """Operand types of every matrix product and convolution of a program, loops included."""
    for equation in program.eqns:
        if equation.primitive.name in ('dot_general', 'conv_general_dilated'):
            yield tuple(var.aval.dtype.name for var in equation.invars)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, 'eqns')):
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from products(inner)


@pytest.mark.parametrize('nets', AGENTS)
def test_every_product_of_an_update_has_operands_of_the_precision(nets):
    for name, each in (('float32', nets), ('bfloat16', half(nets))):
        step = functools.partial(dreamer.train_step, each)
        program = jax.make_jaxpr(step)(shapes(nets), random_batch(nets), HYPER, jax.random.key(1))
        assert {kind for pair in products(program.jaxpr) for kind in pair} == {name}


@pytest.mark.parametrize('nets', AGENTS)
def test_state_and_metrics_stay_float32(nets):
    step = functools.partial(dreamer.train_step, half(nets))
    before = shapes(nets)
    after, metrics = jax.eval_shape(step, before, random_batch(nets), HYPER, jax.random.key(1))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), before)
    assert {x.dtype for x in jax.tree.leaves(metrics)} == {jnp.dtype('float32')}


def test_the_gradient_of_an_output_bias_is_summed_in_float32():
    """Over as many rows as size S has in a batch: a sum in bfloat16 is off by a hundredth."""
    layer = layers.Output(8, 'bfloat16', layers.fan_avg_normal)
    rows, weight = (np.random.default_rng(0).uniform(size=(1024, size)).astype(np.float32) for size in (4, 8))
    params = layer.init(jax.random.key(0), rows)
    grads = jax.jit(jax.grad(lambda params: (layer.apply(params, rows) * weight).sum()))(params)
    np.testing.assert_allclose(grads['params']['bias'], weight.sum(0, dtype=np.float64), rtol=1e-5)


def test_norm_is_float32_whatever_comes_in():
    """Its result, and the sums of its parameters' gradients over 1024 rows, against float64."""
    rng = np.random.default_rng(0)
    rows, weight = jnp.asarray(rng.normal(1, 2, (1024, 8)), 'bfloat16'), rng.normal(size=(1024, 8)).astype(np.float32)
    params = {'params': {name: rng.normal(size=8).astype(np.float32) for name in ('scale', 'bias')}}
    x = np.asarray(rows, np.float64)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    made = jax.jit(layers.Norm().apply)(params, rows)
    assert made.dtype == jnp.float32
    np.testing.assert_allclose(made, x * params['params']['scale'] + params['params']['bias'], rtol=1e-5, atol=1e-5)
    grads = jax.jit(jax.grad(lambda params: (layers.Norm().apply(params, rows) * weight).sum()))(params)['params']
    np.testing.assert_allclose(grads['scale'], (x * weight).sum(0), rtol=1e-4)
    np.testing.assert_allclose(grads['bias'], weight.sum(0, dtype=np.float64), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('nets', AGENTS)
def test_it_learns_a_batch_as_float32_does(nets):
    """300 updates on one batch: both forget nothing, and the loss falls alike (5 % of what was gained)."""
    batch, curves = random_batch(nets), {}
    for each in (nets, half(nets)):
        chunk = jax.jit(functools.partial(dreamer.train_chunk, each))
        batches = jax.tree.map(lambda x: np.stack([x] * 10), batch)
        state, losses = fresh(nets), []
        for i in range(30):
            keys = jax.random.split(jax.random.key(i), 10)
            state, metrics = chunk(state, batches, {k: np.float32(v) for k, v in HYPER.items()}, keys)
            losses.append(float(metrics['model_loss']))
        curves[each.model.precision] = np.array(losses)
    gained = curves['float32'][0] - curves['float32'][-1]
    assert gained > 0.2 * curves['float32'][0]
    assert np.abs(curves['bfloat16'] - curves['float32']).max() < 0.05 * gained
    assert (curves['bfloat16'] != curves['float32']).any()
