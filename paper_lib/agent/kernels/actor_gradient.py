"""The gradient of an imagined gain by the actor's weights, in two steps.

No gradient flows into the actor's input (v1), so the chain rule splits: how the gain
changes with each action, through the model's loop, and how each action changes with the
weights. The second step is taken for all states at once.

A `policy` here is a pytree of weights that, called with features (N, F), returns a
distribution of actions; its `for_loop` prepares it for use in a loop.
"""

from collections.abc import Callable
from typing import Any

import jax

sg = jax.lax.stop_gradient
Act = Callable[[jax.Array, jax.Array], jax.Array]  # (features (N, F), noise) -> actions (N, A)
# (act, push (H + 1, N, A), which is added to the actions) -> (gain, outcome)
Gain = Callable[[Act, jax.Array], tuple[jax.Array, Any]]


def plain_gain(gain: Gain, policy: Any, push: jax.Array) -> tuple[jax.Array, Any]:
    """(gain, outcome) of actions that carry the gradient to the policy's weights themselves. `push` is 0."""
    return gain(lambda feat, noise: policy(sg(feat)).sample(noise), push)


def constant_actions(policy: Any) -> Act:
    """Samples of the policy that no gradient passes, neither to its weights nor to its input."""
    constant = sg(policy).for_loop()
    return lambda feat, noise: sg(constant(feat).sample(noise))


def slope_by_actions(gain: Gain, policy: Any, push: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    """First step: the gain, its derivative by every action (H + 1, N, A), and the outcome.

    All three are constants to the policy's weights. `push` is 0.
    """
    act = constant_actions(policy)
    (value, outcome), slope = jax.value_and_grad(lambda push: gain(act, push), has_aux=True)(push)
    return value, slope, sg(outcome)


def through_actions(value: jax.Array, slope: jax.Array, actions: jax.Array) -> jax.Array:
    """Second step: the gain, with a gradient that is `slope` times that of the actions (H + 1, N, A)."""
    carrier = (slope * actions).sum()
    return value + (carrier - sg(carrier))
