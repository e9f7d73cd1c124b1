"""Matrix products in the precision of a run, laid out so that XLA adds no copies."""

from typing import Any

import jax


def plain_product(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """(..., X), (X, U) -> (..., U); operands and result are of `dtype`."""
    return x.astype(dtype) @ kernel.astype(dtype)


def product(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """The same as `plain_product`, computed on two axes.

    For products of more axes, XLA writes out a transpose to compute the kernel's gradient.
    """
    rows = x.reshape(-1, x.shape[-1])
    return plain_product(rows, kernel, dtype).reshape(*x.shape[:-1], kernel.shape[-1])


def convert_kernels(params: Any, dtype: str) -> Any:
    """The parameters with every kernel in `dtype`, so that a loop does not convert them at every step."""

    def convert(path, leaf):
        return leaf.astype(dtype) if path[-1].key == 'kernel' else leaf

    return jax.tree_util.tree_map_with_path(convert, params)
