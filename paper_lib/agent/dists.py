"""Distributions and transforms of DreamerV3 v1 (arXiv:2301.04104v1), as free functions.

All randomness comes in as arrays (uniforms or normals drawn outside of scans), so every function
is deterministic. Shapes: `...` is any leading batch, C classes, S latents, A actions, K bins.
"""

import jax
import jax.numpy as jnp

sg = jax.lax.stop_gradient

UNIMIX = 0.01  # share of the uniform distribution in every categorical (v1)
STD_MIN, STD_MAX = 0.1, 1.0  # actor standard deviation (v1)
SYMLOG_RANGE = 20.0  # two-hot bins span [-20, 20] in symlog space


def symlog(x):
    """sign(x) ln(1 + |x|)."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(x):
    """Inverse of symlog."""
    return jnp.sign(x) * jnp.expm1(jnp.abs(x))


def bins(size):
    """(K,) two-hot support in symlog space."""
    return jnp.linspace(-SYMLOG_RANGE, SYMLOG_RANGE, size, dtype=jnp.float32)


def twohot(x, size):
    """(...,) values -> (..., K) weights on the two bins around symlog(x); outside the range all on the last bin."""
    position = (symlog(x) + SYMLOG_RANGE) * ((size - 1) / (2 * SYMLOG_RANGE))
    position = jnp.clip(position, 0, size - 1)[..., None]
    return jnp.maximum(0, 1 - jnp.abs(position - jnp.arange(size)))


def twohot_log_prob(logits, x):
    """(..., K) logits, (...,) targets -> (...,) log-likelihood of the two-hot target."""
    top, exp = _exp(logits)
    return (twohot(x, logits.shape[-1]) * logits).sum(-1) - jnp.log(exp.sum(-1)) - top[..., 0]


def twohot_mean(logits):
    """(..., K) -> (...,): symexp of the mean in symlog space (v1; later versions take the mean after symexp)."""
    exp = _exp(logits)[1]
    return symexp((exp * bins(logits.shape[-1])).sum(-1) / exp.sum(-1))


def _exp(logits):
    """Maximum (..., 1), without a gradient, and exp(logits - maximum): what XLA then shares between mean and loss."""
    top = sg(logits.max(-1, keepdims=True))
    return top, jnp.exp(logits - top)


def unimix(logits):
    """(..., C) raw logits -> log probabilities after mixing in 1 % of the uniform distribution."""
    probs = (1 - UNIMIX) * jax.nn.softmax(logits) + UNIMIX / logits.shape[-1]
    return jnp.log(probs)


def onehot_sample(logp, uniform):
    """(..., C) log probabilities, (...,) uniforms -> one-hot sample by inverse CDF, straight-through gradient."""
    probs = jnp.exp(logp)
    index = (jnp.cumsum(sg(probs), -1) < uniform[..., None]).sum(-1)
    index = jnp.minimum(index, logp.shape[-1] - 1)  # the float cumsum can end just below 1
    onehot = jax.nn.one_hot(index, logp.shape[-1], dtype=probs.dtype)
    return onehot + probs - sg(probs)


def onehot_kl(logp, logq):
    """KL[p || q] of S independent categoricals: (..., S, C) log probabilities -> (...,)."""
    return (jnp.exp(logp) * (logp - logq)).sum((-2, -1))


def onehot_log_prob(logp, onehot):
    """(..., C), (..., C) -> (...,)."""
    return (logp * onehot).sum(-1)


def onehot_entropy(logp):
    """(..., C) -> (...,) in nats."""
    return -(jnp.exp(logp) * logp).sum(-1)


def normal_params(mean_raw, std_raw):
    """Raw actor outputs (..., A) -> mean in (-1, 1) and std in (0.1, 1); the sample is not squashed (v1)."""
    return jnp.tanh(mean_raw), (STD_MAX - STD_MIN) * jax.nn.sigmoid(std_raw + 2) + STD_MIN


def normal_log_prob(mean, std, action):
    """(..., A) -> (...,), summed over action dimensions."""
    return (-0.5 * ((action - mean) / std) ** 2 - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)


def normal_entropy(std):
    """(..., A) -> (...,) in nats."""
    return (jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum(-1)


def symlog_mse(pred, target):
    """(..., D) prediction in symlog space, (..., D) raw target -> (...,); squares below 1e-8 count as 0 (v1)."""
    distance = (pred - symlog(target)) ** 2
    return jnp.where(distance < 1e-8, 0, distance).sum(-1)


def bernoulli_loss(logit, target):
    """(...,) logit and target in [0, 1] -> negative log-likelihood (...,)."""
    return jax.nn.softplus(logit) - target * logit
