"""Which observations are images, and how an image is brought to a task's size: the same for environments and data."""

import numpy as np


def is_picture(shape: tuple[int, ...], dtype: object) -> bool:
    """Whether an observation is an image: uint8 of H x W, H x W x 1 or H x W x 3."""
    return np.dtype(dtype) == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))


IMAGES = 'uint8 of H x W, H x W x 1 or H x W x 3 for images, at most two axes for vectors'  # what may be observed


def nearest(size: int, side: int) -> np.ndarray:
    """(size,) ints: the nearest of `side` cells for each of `size` pixels along one side of an image."""
    return (2 * np.arange(size) + 1) * side // (2 * size)
