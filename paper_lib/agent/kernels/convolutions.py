"""4 x 4 convolutions of stride 2 as matrix products.

XLA's own convolutions are slow within a loop over updates on a CPU, and become grouped
convolutions as lanes of one program. Sizes: N images, height X, width Y, I channels in, O
channels out.
"""

import jax
import jax.numpy as jnp

from paper_lib.agent.kernels.products import product

LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def plain_downsample(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """(N, X, Y, I), (4, 4, I, O) -> (N, X / 2, Y / 2, O): convolution of stride 2 and padding SAME."""
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), 'SAME', dimension_numbers=LAYOUT)


def downsample(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """`plain_downsample`: one product of the 2 x 2 blocks, of 2 x 2 pixels each, that an output sees."""
    h, w, c = x.shape[1] // 2, x.shape[2] // 2, x.shape[3]
    kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5).reshape(16 * c, -1)
    x = jnp.pad(x.astype(dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(-1, h + 1, 2, w + 1, 2, c).swapaxes(2, 3).reshape(-1, h + 1, w + 1, 4 * c)
    blocks = [x[:, i : i + h, j : j + w] for i in (0, 1) for j in (0, 1)]
    return product(jnp.concatenate(blocks, -1), kernel, dtype)


def plain_upsample(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """(N, X, Y, I), (4, 4, I, O) -> (N, 2 X, 2 Y, O) float32: transposed convolution of stride 2, SAME."""
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    made = jax.lax.conv_transpose(x, kernel, (2, 2), 'SAME', dimension_numbers=LAYOUT)
    return made.astype(jnp.float32)


def upsample(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """`plain_upsample`: one product for what every input adds to its 4 x 4 outputs, and the sum of these.

    The kernel has outputs before inputs: else XLA writes out a transpose for the gradient,
    which takes as long as all the rest.
    """
    rows = kernel.transpose(0, 1, 3, 2).reshape(-1, x.shape[-1])
    taps = product(x, rows.T, dtype).astype(jnp.float32).reshape(*x.shape[:3], 4, 4, kernel.shape[-1])
    return _interleave(_interleave(taps, 1), 2)


def _interleave(x, axis):
    """Sum over axis 3 what every input adds to the 4 outputs around it along `axis`."""
    first, second, third, fourth = (jnp.squeeze(tap, 3) for tap in jax.lax.split(x, (1, 1, 1, 1), axis=3))
    none = jnp.zeros_like(jax.lax.slice_in_dim(first, 0, 1, axis=axis))
    above = jnp.concatenate([none, jax.lax.slice_in_dim(first, 0, x.shape[axis] - 1, axis=axis)], axis)
    below = jnp.concatenate([jax.lax.slice_in_dim(fourth, 1, x.shape[axis], axis=axis), none], axis)
    pairs = jnp.stack([third + above, second + below], axis + 1)
    return pairs.reshape(*pairs.shape[:axis], 2 * x.shape[axis], *pairs.shape[axis + 2 :])
