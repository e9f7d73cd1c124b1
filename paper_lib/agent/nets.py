"""Network blocks of DreamerV3 v1 (section 1.2 to 1.6 of its code): linen modules, float32 parameters.

A block is linear (no bias) -> LayerNorm -> SiLU; an output layer is linear with bias. Linear layers take operands of
`dtype` and round their results to it; all else is float32, what a network returns too. Legend:
D deter, S latents, C classes, E embedding, F = D + S * C features, A actions, U units.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from paper_lib.agent import dists


def fan_avg_normal(key, shape, dtype=jnp.float32):
    """Truncated normal with realised variance 1 / mean(fan_in, fan_out); convolutions count their area."""
    return nn.initializers.variance_scaling(1.0, 'fan_avg', 'truncated_normal')(key, shape, dtype)


def fan_avg_uniform(splits=None):
    """Uniform with variance 1 / mean(fan_in, fan_out) for output layers.

    `splits` are the widths of separate output layers that share one kernel: each has its own fan
    (v1 gives every observation key its own layer).
    """

    def init(key, shape, dtype=jnp.float32):
        if splits is None:
            return nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform')(key, shape, dtype)
        parts = [init_one(k, (*shape[:-1], n), dtype) for k, n in zip(jax.random.split(key, len(splits)), splits)]
        return jnp.concatenate(parts, -1)

    init_one = nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform')
    return init


class Norm(nn.Module):
    """LayerNorm over the last axis, eps 1e-3 (v1), in float32 whatever comes in."""

    @nn.compact
    def __call__(self, x):
        x = x.astype(jnp.float32)
        scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
        bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
        x -= x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-3) * scale + bias


def operands(params, dtype):
    """The parameters with kernels as matrix products take them: a loop would convert them in every turn."""

    def convert(path, leaf):
        return leaf.astype(dtype) if path[-1].key == 'kernel' else leaf

    return jax.tree_util.tree_map_with_path(convert, params)


def product(x, kernel, dtype):
    """(..., X), (X, units) -> (..., units): operands and result of `dtype`.

    Of rows: for a product of more axes XLA would write out a transpose to get the kernel's gradient.
    """
    rows = x.reshape(-1, x.shape[-1]).astype(dtype)
    return (rows @ kernel.astype(dtype)).reshape(*x.shape[:-1], kernel.shape[-1])


class Linear(nn.Module):
    """(..., X) -> (..., units), without bias."""

    units: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        return product(x, self.param('kernel', fan_avg_normal, (x.shape[-1], self.units)), self.dtype)


class Output(nn.Module):
    """(..., X) -> (..., units) float32: linear with a bias, which is added, and its gradient summed, in float32."""

    units: int
    dtype: str
    kernel_init: Callable

    @nn.compact
    def __call__(self, x):
        kernel = self.param('kernel', self.kernel_init, (x.shape[-1], self.units))
        bias = self.param('bias', nn.initializers.zeros, (self.units,))
        return product(x, kernel, self.dtype).astype(jnp.float32) + bias


class Block(nn.Module):
    """(..., X) -> (..., units): linear -> LayerNorm -> SiLU."""

    units: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        return nn.silu(Norm(name='norm')(Linear(self.units, self.dtype, name='linear')(x)))


class MLP(nn.Module):
    """(..., X) -> tuple of (..., out) raw outputs of one trunk, one per entry of `outs`; () returns the trunk."""

    units: int
    layers: int
    dtype: str
    outs: tuple[int, ...] = ()
    zero: bool = False  # reward head and critic start at exactly 0
    splits: tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, x):
        for i in range(self.layers):
            x = Block(self.units, self.dtype, name=f'h{i}')(x)
        if not self.outs:
            return x
        init = nn.initializers.zeros if self.zero else fan_avg_uniform(self.splits)
        return tuple(Output(n, self.dtype, init, name=f'out{i}')(x) for i, n in enumerate(self.outs))


class ImageEncoder(nn.Module):
    """(..., H, W, 3) uint8 -> (..., E): 4 x 4 convolutions of stride 2 down to 4 x 4, flattened."""

    depth: int
    dtype: str

    @nn.compact
    def __call__(self, image):
        lead, x = image.shape[:-3], image.reshape((-1, *image.shape[-3:]))
        x = x.astype(jnp.float32) / 255 - 0.5
        for i in range(stages(image.shape[-2])):
            x = Downsample(self.depth * 2**i, self.dtype, name=f'conv{i}')(x)
            x = nn.silu(Norm(name=f'norm{i}')(x))
        return x.reshape((*lead, -1))


class ImageDecoder(nn.Module):
    """(..., F) -> (..., H, W, 3) means on the [0, 1] scale (not squashed)."""

    depth: int
    size: int
    dtype: str

    @nn.compact
    def __call__(self, feat):
        n = stages(self.size)
        x = Output(16 * self.depth * 2 ** (n - 1), self.dtype, fan_avg_uniform(), name='in')(feat)
        x = x.reshape((-1, 4, 4, self.depth * 2 ** (n - 1)))
        for i in range(n - 1):
            depth = self.depth * 2 ** (n - 2 - i)
            x = Upsample(depth, self.dtype, fan_avg_normal, name=f'conv{i}')(x)
            x = nn.silu(Norm(name=f'norm{i}')(x))
        x = Upsample(3, self.dtype, fan_avg_uniform(), bias=True, name=f'conv{n - 1}')(x)
        return x.reshape((*feat.shape[:-1], self.size, self.size, 3)) + 0.5


# Convolutions as matrix products: XLA's own ones are slow within a loop over updates on a CPU, and as lanes of one
# program they would be grouped convolutions. The upsampling kernel has outputs before inputs: else XLA writes out a
# transpose for the gradient, which takes as long as all the rest.


class Downsample(nn.Module):
    """(N, H, W, C) -> (N, H / 2, W / 2, D): 4 x 4 convolution of stride 2 and padding SAME, without bias.

    The input in blocks of 2 x 2, and the 2 x 2 blocks that each output sees side by side.
    """

    depth: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        h, w, c = x.shape[1] // 2, x.shape[2] // 2, x.shape[3]
        kernel = self.param('kernel', fan_avg_normal, (4, 4, c, self.depth))
        kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5).reshape(16 * c, -1)
        x = jnp.pad(x.astype(self.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = x.reshape(-1, h + 1, 2, w + 1, 2, c).swapaxes(2, 3).reshape(-1, h + 1, w + 1, 4 * c)
        x = jnp.concatenate([x[:, i : i + h, j : j + w] for i in (0, 1) for j in (0, 1)], -1)
        return product(x, kernel, self.dtype)


class Upsample(nn.Module):
    """(N, H, W, C) -> (N, 2 H, 2 W, D): transposed 4 x 4 convolution of stride 2 and padding SAME.

    What every input adds to 4 x 4 outputs, and the sum of it.
    """

    depth: int
    dtype: str
    kernel_init: Callable
    bias: bool = False

    @nn.compact
    def __call__(self, x):
        kernel = self.param('kernel', self.kernel_init, (4, 4, x.shape[-1], self.depth))
        kernel = kernel.transpose(0, 1, 3, 2).reshape(-1, x.shape[-1])
        taps = product(x, kernel.T, self.dtype).astype(jnp.float32).reshape(*x.shape[:3], 4, 4, self.depth)
        x = _interleave(_interleave(taps, 1), 2)
        return x + self.param('bias', nn.initializers.zeros, (self.depth,)) if self.bias else x


def _interleave(x, axis):
    """Sum what every input adds to 4 outputs, on axis 3: outputs 2 i and 2 i + 1 of row i get taps 2, 0 and 1, 3."""
    first, second, third, fourth = (jnp.squeeze(tap, 3) for tap in jax.lax.split(x, (1, 1, 1, 1), axis=3))
    none = jnp.zeros_like(jax.lax.slice_in_dim(first, 0, 1, axis=axis))
    above = jnp.concatenate([none, jax.lax.slice_in_dim(first, 0, x.shape[axis] - 1, axis=axis)], axis)
    below = jnp.concatenate([jax.lax.slice_in_dim(fourth, 1, x.shape[axis], axis=axis), none], axis)
    pairs = jnp.stack([third + above, second + below], axis + 1)
    return pairs.reshape(*pairs.shape[:axis], 2 * x.shape[axis], *pairs.shape[axis + 2 :])


def stages(size):
    """Number of stride-2 stages between an image side and the 4 x 4 grid."""
    return (size // 4).bit_length() - 1


class RSSM(nn.Module):
    """Recurrent state-space model (Eq. 2). A state is (deter (..., D), stoch (..., S, C))."""

    deter: int
    stoch: int
    classes: int
    units: int
    dtype: str

    def setup(self):
        out = self.stoch * self.classes
        self.img_in = Block(self.units, self.dtype)
        self.gru = Linear(3 * self.deter, self.dtype)
        self.gru_norm = Norm()
        self.img_out = Block(self.units, self.dtype)
        self.img_stats = Output(out, self.dtype, fan_avg_uniform())
        self.obs_out = Block(self.units, self.dtype)
        self.obs_stats = Output(out, self.dtype, fan_avg_uniform())
        self.first = self.param('initial', nn.initializers.zeros, (self.deter,))

    def initial(self):
        """Learned initial state: deter (D,), stoch (S, C) = mode of the prior there, without a gradient (v1)."""
        deter = jnp.tanh(self.first)
        return deter, jax.nn.one_hot(jnp.argmax(self.prior(deter), -1), self.classes)

    def sequence(self, deter, stoch, action):
        """One step of the GRU: (..., D), (..., S, C), (..., A) -> next deter (..., D)."""
        action = action / jax.lax.stop_gradient(jnp.maximum(1, jnp.abs(action)))  # clip values, keep the gradient
        x = self.img_in(jnp.concatenate([stoch.reshape((*stoch.shape[:-2], -1)), action], -1))
        x = self.gru_norm(self.gru(jnp.concatenate([deter, x], -1)))
        reset, cand, update = jnp.split(x, 3, -1)
        cand = jnp.tanh(nn.sigmoid(reset) * cand)
        update = nn.sigmoid(update - 1)
        return update * cand + (1 - update) * deter

    def prior(self, deter):
        """(..., D) -> (..., S, C) log probabilities of the next latent."""
        return self._stats(self.img_stats(self.img_out(deter)))

    def posterior(self, deter, embed):
        """(..., D), (..., E) -> (..., S, C) log probabilities of the latent given the observation."""
        return self._stats(self.obs_stats(self.obs_out(jnp.concatenate([deter, embed], -1))))

    def _stats(self, x):
        return dists.unimix(x.reshape((*x.shape[:-1], self.stoch, self.classes)))

    def __call__(self, action, embed):
        """Touch every parameter (initialisation only)."""
        deter, stoch = self.initial()
        deter = self.sequence(deter, stoch, action)
        return self.prior(deter), self.posterior(deter, embed)


class Autoencoder(nn.Module):
    """(..., F) -> (..., F) through a bottleneck of a quarter of `units`."""

    units: int
    out: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        x = Block(self.units, self.dtype, name='enc')(x)
        x = Block(max(1, self.units // 4), self.dtype, name='code')(x)
        x = Block(self.units, self.dtype, name='dec')(x)
        return Output(self.out, self.dtype, fan_avg_uniform(), name='out')(x)
