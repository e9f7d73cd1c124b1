"""4 x 4 convolutions of stride 2 as matrix products.

XLA's own convolutions are slow on a CPU inside a loop over updates, and lanes turn them into
grouped convolutions. Sizes: N images, height X, width Y, I channels in, O channels out.
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
    """The same as `plain_downsample`, as one product: an output depends on 2 x 2 blocks of 2 x 2 pixels."""
    h, w, c = x.shape[1] // 2, x.shape[2] // 2, x.shape[3]
    kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5).reshape(16 * c, -1)
    x = jnp.pad(x.astype(dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(-1, h + 1, 2, w + 1, 2, c).swapaxes(2, 3).reshape(-1, h + 1, w + 1, 4 * c)
    blocks = [x[:, i : i + h, j : j + w] for i in (0, 1) for j in (0, 1)]
    return product(jnp.concatenate(blocks, -1), kernel, dtype)


def plain_upsample(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """(N, X, Y, I), (4, 4, I, O) -> (N, 2 X, 2 Y, O) float32: transposed convolution of stride 2, SAME."""
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    images = jax.lax.conv_transpose(x, kernel, (2, 2), 'SAME', dimension_numbers=LAYOUT)
    return images.astype(jnp.float32)


def upsample(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """The same as `plain_upsample`: one product gives what each input adds to 4 x 4 outputs; then these are summed.

    In the reshaped kernel, outputs come before inputs. Otherwise XLA writes out a transpose
    for the gradient, which takes as long as everything else.
    """
    rows = kernel.transpose(0, 1, 3, 2).reshape(-1, x.shape[-1])
    taps = product(x, rows.T, dtype).astype(jnp.float32).reshape(*x.shape[:3], 4, 4, kernel.shape[-1])
    return _interleave(_interleave(taps, 1), 2)


def _interleave(taps: jax.Array, axis: int) -> jax.Array:
    """Sum the 4 taps of each input (axis 3) into outputs along `axis`, twice as many as inputs.

    Output 2 i is tap 2 of input i plus tap 0 of input i - 1; output 2 i + 1 is tap 1 of input i
    plus tap 3 of input i + 1.
    """
    tap0, tap1, tap2, tap3 = (jnp.squeeze(tap, 3) for tap in jax.lax.split(taps, (1, 1, 1, 1), axis=3))
    size = taps.shape[axis]
    zeros = jnp.zeros_like(jax.lax.slice_in_dim(tap0, 0, 1, axis=axis))
    tap0_before = jnp.concatenate([zeros, jax.lax.slice_in_dim(tap0, 0, size - 1, axis=axis)], axis)
    tap3_after = jnp.concatenate([jax.lax.slice_in_dim(tap3, 1, size, axis=axis), zeros], axis)
    outputs = jnp.stack([tap2 + tap0_before, tap1 + tap3_after], axis + 1)
    return outputs.reshape(*outputs.shape[:axis], 2 * size, *outputs.shape[axis + 2 :])
