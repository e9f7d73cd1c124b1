"""Loops over time whose gradient is cheaper than the one that JAX derives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def plain_recur(step: Step, params: Any, carry: Any, inputs: Any) -> tuple[Any, Any]:
    """Loop over `step(params, carry, inputs) -> (carry, output)`: all carries after a step, all outputs.

    A carry is (B, ...), inputs are (T, B, ...); both results are (T, B, ...).
    """

    def body(carry, inputs):
        carry, output = step(params, carry, inputs)
        return carry, (carry, output)

    _, result = jax.lax.scan(body, carry, inputs)
    return result


def recur(step: Step, params: Any, carry: Any, inputs: Any) -> tuple[Any, Any]:
    """`plain_recur` with a gradient of its own. Only the carries are saved; the rest is recomputed.

    What flows from carry to carry is recomputed in a loop; what flows to params and inputs,
    by one call of `step` on T x B rows, in few large products. So the rows (B) must not see
    each other, params have no axis of rows, and `step` may use no traced values but its
    arguments.
    """

    @jax.custom_vjp
    def run(params, carry, inputs):
        return plain_recur(step, params, carry, inputs)

    def forward(params, carry, inputs):
        result = run(params, carry, inputs)
        return result, (params, carry, inputs, result[0])

    def backward(saved, cotangents):
        params, carry, inputs, after = saved
        before = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), carry, after)

        def body(later, at):
            before, inputs, (after, output) = at
            after = jax.tree.map(jnp.add, after, later)
            _, pull = jax.vjp(lambda carry: step(params, carry, inputs), before)
            return pull((after, output))[0], after

        zeros = jax.tree.map(jnp.zeros_like, carry)
        first, after = jax.lax.scan(body, zeros, (before, inputs, cotangents), reverse=True)

        rows = (before, inputs, after, cotangents[1])
        before, flat, after, output = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
        _, pull = jax.vjp(lambda params, flat: step(params, before, flat), params, flat)
        to_params, to_flat = pull((after, output))
        to_inputs = jax.tree.map(lambda x, row: row.reshape(x.shape), inputs, to_flat)
        return to_params, first, to_inputs

    run.defvjp(forward, backward)
    return run(params, carry, inputs)


def save_products(step: Callable) -> Callable:
    """A loop's `step` whose gradient saves the results of matrix products only and recomputes the rest.

    The plain formula is `step` itself.
    """
    return jax.checkpoint(step, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable)
