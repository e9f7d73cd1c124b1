"""The plane in which figures draw where an agent has been, and the grid on which its steps are counted there."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

CELLS = 60  # cells of the grid along each axis


@dataclasses.dataclass(frozen=True)
class Plane:
    """Two components of what a task shows: of its vector or, with images, of the position recorded beside them."""

    labels: tuple[str, str]  # what the two components are, with units
    low: tuple[float, float]  # the lower ends of the two axes
    high: tuple[float, float]  # the upper ends
    components: tuple[int, int] = (0, 1)

    def cells(self, points: ArrayLike, count: int = CELLS) -> np.ndarray:
        """(n, 2) points -> (n, 2) cells of a grid with `count` cells per axis. A point beyond an end is in the last."""
        low, high = np.array(self.low), np.array(self.high)
        fraction = (np.asarray(points, float) - low) / (high - low)
        index = np.floor(fraction * count).astype(int)
        return np.clip(index, 0, count - 1)

    def visits(self, points: ArrayLike) -> np.ndarray:
        """(n, 2) points -> (CELLS, CELLS): how many of them lie in each cell; the first component goes first."""
        counts = np.zeros((CELLS, CELLS), np.int64)
        first, second = self.cells(points).T
        np.add.at(counts, (first, second), 1)
        return counts
