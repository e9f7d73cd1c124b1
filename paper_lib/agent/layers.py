"""Network blocks of the published code of DreamerV3 v1, as linen modules with float32 parameters.

A block is linear (no bias) -> LayerNorm -> SiLU; an output layer is linear with bias.
Linear layers compute in `dtype`: their operands and results are of that type. Everything
else is float32, the outputs of a network too.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from paper_lib.agent import dists
from paper_lib.agent.kernels.convolutions import downsample, upsample
from paper_lib.agent.kernels.products import product

Initializer = Callable[..., jax.Array]  # (key, shape, dtype) -> array


# Truncated normal whose variance, after truncation, is 1 / mean(fan_in, fan_out). The fans of a convolution include the
# area of its kernel.
fan_avg_normal: Initializer = nn.initializers.variance_scaling(1.0, 'fan_avg', 'truncated_normal')


def fan_avg_uniform(splits: tuple[int, ...] | None = None) -> Initializer:
    """Uniform with variance 1 / mean(fan_in, fan_out), for output layers.

    `splits` are the widths of output layers that are stored as one kernel. Each is
    initialised with its own fans, because v1 has one layer per observation key.
    """
    init_one = nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform')

    def init(key, shape, dtype=jnp.float32):
        if splits is None:
            return init_one(key, shape, dtype)
        keys = jax.random.split(key, len(splits))
        kernels = [init_one(k, (*shape[:-1], width), dtype) for k, width in zip(keys, splits)]
        return jnp.concatenate(kernels, -1)

    return init


class Norm(nn.Module):
    """LayerNorm over the last axis, eps 1e-3 (v1), computed in float32."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
        bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
        x -= x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-3) * scale + bias


class Linear(nn.Module):
    """(..., X) -> (..., U), without bias."""

    units: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', fan_avg_normal, (x.shape[-1], self.units))
        return product(x, kernel, self.dtype)


class Output(nn.Module):
    """(..., X) -> (..., U) float32: linear with a bias, which is added in float32."""

    units: int
    dtype: str
    kernel_init: Initializer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', self.kernel_init, (x.shape[-1], self.units))
        bias = self.param('bias', nn.initializers.zeros, (self.units,))
        return product(x, kernel, self.dtype).astype(jnp.float32) + bias


class Block(nn.Module):
    """(..., X) -> (..., U): linear -> LayerNorm -> SiLU."""

    units: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Linear(self.units, self.dtype, name='linear')(x)
        return nn.silu(Norm(name='norm')(x))


class MLP(nn.Module):
    """(..., X) -> a tuple with an output (..., out) for each width in `outs`, all of one trunk of blocks.

    Without `outs` the result is the trunk's (..., U).
    """

    units: int
    layers: int
    dtype: str
    outs: tuple[int, ...] = ()
    zero: bool = False  # initial outputs are exactly 0, as of the reward head and the critic
    splits: tuple[int, ...] | None = None  # see `fan_avg_uniform`

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array | tuple[jax.Array, ...]:
        for i in range(self.layers):
            x = Block(self.units, self.dtype, name=f'h{i}')(x)
        if not self.outs:
            return x
        init = nn.initializers.zeros if self.zero else fan_avg_uniform(self.splits)
        heads = [Output(width, self.dtype, init, name=f'out{i}') for i, width in enumerate(self.outs)]
        return tuple(head(x) for head in heads)


class ImageEncoder(nn.Module):
    """(..., X, Y, 3) uint8 -> (..., E): 4 x 4 convolutions of stride 2 down to 4 x 4, flattened."""

    depth: int
    dtype: str

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        lead = image.shape[:-3]
        x = image.reshape((-1, *image.shape[-3:])).astype(jnp.float32) / 255 - 0.5
        for i in range(stages(image.shape[-2])):
            x = Downsample(self.depth * 2**i, self.dtype, name=f'conv{i}')(x)
            x = nn.silu(Norm(name=f'norm{i}')(x))
        return x.reshape((*lead, -1))


class ImageDecoder(nn.Module):
    """(..., F) -> (..., X, Y, 3) means on the [0, 1] scale (not squashed)."""

    depth: int
    size: int
    dtype: str

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        count = stages(self.size)
        deepest = self.depth * 2 ** (count - 1)
        x = Output(16 * deepest, self.dtype, fan_avg_uniform(), name='in')(feat)
        x = x.reshape((-1, 4, 4, deepest))
        for i in range(count - 1):
            x = Upsample(self.depth * 2 ** (count - 2 - i), self.dtype, fan_avg_normal, name=f'conv{i}')(x)
            x = nn.silu(Norm(name=f'norm{i}')(x))
        x = Upsample(3, self.dtype, fan_avg_uniform(), bias=True, name=f'conv{count - 1}')(x)
        return x.reshape((*feat.shape[:-1], self.size, self.size, 3)) + 0.5


class BothEncoder(nn.Module):
    """(..., X, Y, 3) uint8 and (..., X) -> (..., E): the outputs of both encoders side by side (v1)."""

    image: ImageEncoder
    vector: MLP

    def __call__(self, image: jax.Array, vector: jax.Array) -> jax.Array:
        return jnp.concatenate([self.image(image), self.vector(vector)], -1)


class BothDecoder(nn.Module):
    """(..., F) -> the outputs of both decoders: image (..., X, Y, 3) and vector (..., X)."""

    image: ImageDecoder
    vector: MLP

    def __call__(self, feat: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.image(feat), self.vector(feat)[0]


class Downsample(nn.Module):
    """(N, X, Y, I) -> (N, X / 2, Y / 2, depth): 4 x 4 convolution of stride 2, without bias."""

    depth: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', fan_avg_normal, (4, 4, x.shape[-1], self.depth))
        return downsample(x, kernel, self.dtype)


class Upsample(nn.Module):
    """(N, X, Y, I) -> (N, 2 X, 2 Y, depth) float32: transposed 4 x 4 convolution of stride 2."""

    depth: int
    dtype: str
    kernel_init: Initializer
    bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', self.kernel_init, (4, 4, x.shape[-1], self.depth))
        x = upsample(x, kernel, self.dtype)
        if self.bias:
            x = x + self.param('bias', nn.initializers.zeros, (self.depth,))
        return x


def stages(size: int) -> int:
    """Number of stride-2 convolutions between an image of `size` x `size` pixels and a grid of 4 x 4."""
    return (size // 4).bit_length() - 1


class RSSM(nn.Module):
    """Recurrent state-space model (Eq. 2). A state is deter (..., D) and stoch (..., S, C)."""

    deter: int
    stoch: int
    classes: int
    units: int
    dtype: str

    def setup(self) -> None:
        out = self.stoch * self.classes
        self.img_in = Block(self.units, self.dtype)
        self.gru = Linear(3 * self.deter, self.dtype)
        self.gru_norm = Norm()
        self.img_out = Block(self.units, self.dtype)
        self.img_stats = Output(out, self.dtype, fan_avg_uniform())
        self.obs_out = Block(self.units, self.dtype)
        self.obs_stats = Output(out, self.dtype, fan_avg_uniform())
        self.first = self.param('initial', nn.initializers.zeros, (self.deter,))

    def initial(self) -> tuple[jax.Array, jax.Array]:
        """The learned initial state: deter (D,), and stoch (S, C), the mode of its prior (v1)."""
        deter = jnp.tanh(self.first)
        return deter, self.prior(deter).mode()

    def next(self, deter: jax.Array, stoch: jax.Array, action: jax.Array) -> jax.Array:
        """(..., D), (..., S, C), (..., A) -> next deter (..., D): a GRU with one LayerNorm over all gates."""
        action = clip(action)
        x = self.img_in(jnp.concatenate([flat(stoch), action], -1))
        x = self.gru_norm(self.gru(jnp.concatenate([deter, x], -1)))
        reset, cand, update = jnp.split(x, 3, -1)
        cand = jnp.tanh(nn.sigmoid(reset) * cand)
        update = nn.sigmoid(update - 1)
        return update * cand + (1 - update) * deter

    def prior(self, deter: jax.Array) -> dists.OneHot:
        """(..., D) -> distribution of the latent without the observation, (..., S, C)."""
        return self._latent(self.img_stats(self.img_out(deter)))

    def posterior(self, deter: jax.Array, embed: jax.Array) -> dists.OneHot:
        """(..., D), (..., E) -> distribution of the latent given the observation, (..., S, C)."""
        return self._latent(self.obs_stats(self.obs_out(jnp.concatenate([deter, embed], -1))))

    def _latent(self, x: jax.Array) -> dists.OneHot:
        """Raw outputs (..., S * C) -> distribution of the latent (..., S, C)."""
        return dists.unimix(x.reshape((*x.shape[:-1], self.stoch, self.classes)))

    def __call__(self, action: jax.Array, embed: jax.Array) -> None:
        """Use every parameter once, so that flax creates it: action (A,), embed (E,)."""
        deter, stoch = self.initial()
        deter = self.next(deter, stoch, action)
        self.prior(deter)
        self.posterior(deter, embed)


def clip(action: jax.Array) -> jax.Array:
    """Clip actions (..., A) to [-1, 1]. The gradient of a clipped value is divided by its size, not set to 0 (v1)."""
    return action / jax.lax.stop_gradient(jnp.maximum(1, jnp.abs(action)))


def flat(stoch: jax.Array) -> jax.Array:
    """(..., S, C) -> (..., S * C)."""
    return stoch.reshape((*stoch.shape[:-2], -1))


class Autoencoder(nn.Module):
    """(..., X) -> (..., out) through a bottleneck of a quarter of `units`."""

    units: int
    out: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Block(self.units, self.dtype, name='enc')(x)
        x = Block(max(1, self.units // 4), self.dtype, name='code')(x)
        x = Block(self.units, self.dtype, name='dec')(x)
        return Output(self.out, self.dtype, fan_avg_uniform(), name='out')(x)
