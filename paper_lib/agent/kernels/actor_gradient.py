"""The gradient of an imagined gain by the actor's weights, in two steps.

No gradient flows into the actor's input (v1), so the chain rule splits into two factors.
The first is the derivative of the gain by each action, through the loop of imagination. The
second is the derivative of each action by the weights, computed for all states at once.

A `policy` here is a pytree of weights. Called with features (N, F), it returns a
distribution of actions; its method `for_loop` returns the same policy for use in a loop.
"""

from collections.abc import Callable
from typing import Any

import jax

sg = jax.lax.stop_gradient
# Features (N, F) and noise -> actions (N, A).
Act = Callable[[jax.Array, jax.Array], jax.Array]
# An `Act` and a push (H + 1, N, A), which is added to its actions -> gain () and outcome.
Gain = Callable[[Act, jax.Array], tuple[jax.Array, Any]]


def plain_gain(gain: Gain, policy: Any, push: jax.Array) -> tuple[jax.Array, Any]:
    """The gain () and the outcome of actions through which the gradient flows to the policy's weights. `push` is 0."""
    return gain(lambda feat, noise: policy(sg(feat)).sample(noise), push)


def constant_actions(policy: Any) -> Act:
    """The policy as an `Act` whose actions have no gradient, neither by its weights nor by its input."""
    constant = sg(policy).for_loop()
    return lambda feat, noise: sg(constant(feat).sample(noise))


def slope_by_actions(gain: Gain, policy: Any, push: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    """First step: the gain (), its derivative by every action (H + 1, N, A), and the outcome.

    None of the three has a gradient by the policy's weights. `push` is 0.
    """
    act = constant_actions(policy)
    (value, outcome), slope = jax.value_and_grad(lambda push: gain(act, push), has_aux=True)(push)
    return value, slope, sg(outcome)


def through_actions(value: jax.Array, slope: jax.Array, actions: jax.Array) -> jax.Array:
    """Second step: the gain (), with the gradient sum(slope * gradient of the actions), both (H + 1, N, A)."""
    carrier = (slope * actions).sum()
    return value + (carrier - sg(carrier))
