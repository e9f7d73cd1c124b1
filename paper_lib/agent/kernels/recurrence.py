"""Loops over time whose gradient is cheaper than the one that JAX derives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Step = Callable[[Any, Any, Any], tuple[Any, Any]]  # (params, carry, inputs) -> (carry, output)


def plain_recur(step: Step, params: Any, carry: Any, inputs: Any) -> tuple[Any, Any]:
    """Loop over T steps. Returns the carries after each step and the outputs.

    The first carry is (B, ...), the inputs are (T, B, ...); both results are (T, B, ...).
    """

    def body(carry, inputs):
        carry, output = step(params, carry, inputs)
        return carry, (carry, output)

    _, result = jax.lax.scan(body, carry, inputs)
    return result


def recur(step: Step, params: Any, carry: Any, inputs: Any) -> tuple[Any, Any]:
    """The same as `plain_recur`, with a gradient that saves the carries alone and recomputes everything else.

    The gradients by the carries are computed in a loop over time. Those by params and inputs
    follow from one call of `step` on T x B rows, in few large products. Therefore the B rows
    of a step must not depend on each other, params must not have an axis of rows, and `step`
    must not use traced values besides its arguments.
    """

    @jax.custom_vjp
    def run(params, carry, inputs):
        return plain_recur(step, params, carry, inputs)

    def forward(params, carry, inputs):
        result = run(params, carry, inputs)
        return result, (params, carry, inputs, result[0])

    def backward(saved, gradients):
        params, carry, inputs, after = saved  # `before` and `after` a step: the carries (T, B, ...)
        before = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), carry, after)

        def body(gradient_of_later_steps, at_step):
            before, inputs, (gradient_of_after, gradient_of_output) = at_step
            gradient_of_after = jax.tree.map(jnp.add, gradient_of_after, gradient_of_later_steps)
            _, pull = jax.vjp(lambda carry: step(params, carry, inputs), before)
            (gradient_of_before,) = pull((gradient_of_after, gradient_of_output))
            return gradient_of_before, gradient_of_after

        zeros = jax.tree.map(jnp.zeros_like, carry)
        by_carry, gradients_of_after = jax.lax.scan(body, zeros, (before, inputs, gradients), reverse=True)

        _, gradients_of_outputs = gradients
        all_steps = (before, inputs, gradients_of_after, gradients_of_outputs)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), all_steps)  # (T x B, ...)
        before_rows, input_rows, after_gradients, output_gradients = rows
        _, pull = jax.vjp(lambda params, inputs: step(params, before_rows, inputs), params, input_rows)
        by_params, by_input_rows = pull((after_gradients, output_gradients))
        by_inputs = jax.tree.map(lambda x, row: row.reshape(x.shape), inputs, by_input_rows)
        return by_params, by_carry, by_inputs

    run.defvjp(forward, backward)
    return run(params, carry, inputs)


def save_products(step: Callable) -> Callable:
    """The same as `step` of a scan, with a gradient that saves matrix products alone and recomputes everything else."""
    return jax.checkpoint(step, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable)
