"""Distributions and transforms of DreamerV3 v1 (arXiv:2301.04104v1).

Every distribution is a pytree of arrays. It has those of the methods `log_prob`, `mean`,
`mode`, `sample` and `entropy` that the agent needs. Functions take random numbers as arrays,
which are drawn outside of loops; so everything here is deterministic.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

sg = jax.lax.stop_gradient

UNIMIX = 0.01  # share of the uniform distribution in every categorical (v1)
STD_MIN, STD_MAX = 0.1, 1.0  # actor standard deviation (v1)
SYMLOG_RANGE = 20.0  # two-hot bins span [-20, 20] in symlog space


def symlog(x: jax.Array) -> jax.Array:
    """sign(x) ln(1 + |x|)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x: jax.Array) -> jax.Array:
    """Inverse of symlog."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


class TwoHot(NamedTuple):
    """A distribution of a number: a categorical over K bins with equal distances in symlog space (v1)."""

    logits: jax.Array  # (..., K)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """(...,) -> (...,) log-likelihood of the two-hot weights of x."""
        top, exp = _shifted_exp(self.logits)
        weights = twohot(x, self.logits.shape[-1])
        return (weights * self.logits).sum(-1) - jnp.log(exp.sum(-1)) - top[..., 0]

    def mean(self) -> jax.Array:
        """(...,) symexp of the mean in symlog space (v1; later versions take the mean after symexp)."""
        _, exp = _shifted_exp(self.logits)
        return symexp((exp * bins(self.logits.shape[-1])).sum(-1) / exp.sum(-1))


def bins(size: int) -> jax.Array:
    """(K,) bins in symlog space."""
    return jnp.linspace(-SYMLOG_RANGE, SYMLOG_RANGE, size, dtype=jnp.float32)


def twohot(x: jax.Array, size: int) -> jax.Array:
    """(...,) -> (..., K) weights on the two bins around symlog(x); beyond the bins, 1 on the nearest one."""
    position = (symlog(x) + SYMLOG_RANGE) * ((size - 1) / (2 * SYMLOG_RANGE))
    position = jnp.clip(position, 0, size - 1)[..., None]
    return jnp.maximum(0, 1 - jnp.abs(position - jnp.arange(size)))


def _shifted_exp(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maximum (..., 1) without a gradient, and exp(logits - maximum); XLA shares both between mean and loss."""
    top = sg(logits.max(-1, keepdims=True))
    return top, jnp.exp(logits - top)


class OneHot(NamedTuple):
    """A categorical whose values are one-hot vectors."""

    logp: jax.Array  # (..., C) log probabilities

    def draw(self, uniform: jax.Array) -> jax.Array:
        """(...,) uniforms -> (..., C) sample by inverse CDF, without a gradient."""
        probs = sg(jnp.exp(self.logp))
        classes = self.logp.shape[-1]
        index = (jnp.cumsum(probs, -1) < uniform[..., None]).sum(-1)
        index = jnp.minimum(index, classes - 1)  # by rounding, the cumsum can end just below 1
        return jax.nn.one_hot(index, classes, dtype=probs.dtype)

    def sample(self, uniform: jax.Array) -> jax.Array:
        """As `draw`, with the gradient of the probabilities. By rounding, its 1 may be 0.99999994."""
        probs = jnp.exp(self.logp)
        return self.draw(uniform) + probs - sg(probs)

    def mode(self) -> jax.Array:
        """(..., C) the most likely value, without a gradient."""
        return jax.nn.one_hot(jnp.argmax(self.logp, -1), self.logp.shape[-1])

    def log_prob(self, onehot: jax.Array) -> jax.Array:
        """(..., C) -> (...,)."""
        return (self.logp * onehot).sum(-1)

    def entropy(self) -> jax.Array:
        """(...,) in nats."""
        return -(jnp.exp(self.logp) * self.logp).sum(-1)

    def kl(self, other: 'OneHot') -> jax.Array:
        """KL[self || other] of S independent categoricals: (..., S, C) each -> (...,)."""
        return (jnp.exp(self.logp) * (self.logp - other.logp)).sum((-2, -1))


def unimix(logits: jax.Array) -> OneHot:
    """(..., C) raw logits -> the categorical with 1 % of the uniform distribution mixed in."""
    probs = (1 - UNIMIX) * jax.nn.softmax(logits) + UNIMIX / logits.shape[-1]
    return OneHot(jnp.log(probs))


class Normal(NamedTuple):
    """Independent normal distributions of A numbers."""

    mean: jax.Array  # (..., A)
    std: jax.Array  # (..., A)

    def sample(self, noise: jax.Array) -> jax.Array:
        """(..., A) standard normal noise -> (..., A) sample; the gradient flows to mean and std."""
        return self.mean + self.std * noise

    def draw(self, noise: jax.Array) -> jax.Array:
        """As `sample`, without a gradient."""
        return sg(self.sample(noise))

    def log_prob(self, x: jax.Array) -> jax.Array:
        """(..., A) -> (...,)."""
        distance = (x - self.mean) / self.std
        return (-0.5 * distance**2 - jnp.log(self.std) - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)

    def entropy(self) -> jax.Array:
        """(...,) in nats."""
        return (jnp.log(self.std) + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum(-1)


def bounded_normal(mean_raw: jax.Array, std_raw: jax.Array) -> Normal:
    """Raw outputs (..., A) -> normals with mean in (-1, 1) and std in (0.1, 1); samples are not squashed (v1)."""
    std = (STD_MAX - STD_MIN) * jax.nn.sigmoid(std_raw + 2) + STD_MIN
    return Normal(jnp.tanh(mean_raw), std)


class Bernoulli(NamedTuple):
    """A flag that is 1 with probability sigmoid(logit)."""

    logit: jax.Array  # (...,)

    def log_prob(self, flag: jax.Array) -> jax.Array:
        """(...,) in [0, 1] -> (...,)."""
        return -(jax.nn.softplus(self.logit) - flag * self.logit)

    def mode(self) -> jax.Array:
        """(...,) 0 or 1, whichever is more likely."""
        return (self.logit > 0).astype(jnp.float32)


def symlog_mse(pred: jax.Array, target: jax.Array) -> jax.Array:
    """(..., X) prediction in symlog space, (..., X) raw target -> (...,) squared error.

    Squares below 1e-8 count as 0 (v1).
    """
    squares = (pred - symlog(target)) ** 2
    return jnp.where(squares < 1e-8, 0, squares).sum(-1)
