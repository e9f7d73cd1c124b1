"""Cuts the batches of a chunk out of replays: from files on the disk, or from a copy on the device.

Both ways give the same bytes. Shapes: L lanes, K updates, B batch, T time, R rows x environments.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib.data.replay import FIRST, TERMINAL
from paper_lib.data.sources import Source

SHARE = 0.5  # the largest share of the device's memory that replays may take
SLAB = 1024  # rows that are copied to the device at once

Arrays = dict[str, np.ndarray | jax.Array]


def fit(replays: Sequence[Source]) -> bool:
    """Whether the replays are copied to the device. The device must have its own memory, and enough of it."""
    device = jax.devices()[0]
    if device.platform == 'cpu':
        return False
    if not all(replay.even for replay in replays):
        return False
    size = 0
    for replay in replays:
        size += sum(replay.rows * array[0].nbytes for array in replay.arrays.values())
    memory = (device.memory_stats() or {}).get('bytes_limit', 0)
    return size < SHARE * memory


class OnDisk:
    """Reads windows of `length` steps from memory-mapped files."""

    def __init__(self, replays: Sequence[Source], length: int):
        self.replays = replays
        self.length = length

    def gather(self, starts: np.ndarray, rows: int) -> Arrays:
        """Window starts (L, K, B) in the first `rows` rows -> host arrays (L, K, B, T, ...) by key."""
        batches = []
        for replay, lane_starts in zip(self.replays, starts):
            batches.append(replay.gather(lane_starts, self.length))
        return {key: np.stack([batch[key] for batch in batches]) for key in batches[0]}


class OnDevice:
    """Cuts windows of `length` steps on the device, from a copy of the replays that grows as the replays do."""

    def __init__(self, replays: Sequence[Source], length: int):
        self.replays = replays
        self.length = length
        self.rows = 0  # rows that are copied
        first_replay = replays[0]
        self.arrays = {}  # by key: (L, R, ...)
        for key, array in first_replay.arrays.items():
            _, envs, *shape = array.shape
            size = (len(replays), first_replay.rows * envs, *shape)
            self.arrays[key] = jnp.zeros(size, array.dtype)

    def gather(self, starts: np.ndarray, rows: int) -> Arrays:
        """The same as `OnDisk.gather`, with arrays on the device."""
        envs = self.replays[0].envs
        while self.rows < rows:
            last = min(rows, self.rows + SLAB)
            slab = self._read(self.rows, last)
            self.arrays = _write(self.arrays, slab, self.rows * envs)
            self.rows = last
        return _cut(self.arrays, starts, self.length, envs)

    def _read(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Rows `first` to `last` - 1 of all replays by key: (L, r, ...) with r = (last - first) x environments."""
        slab = {}
        for key, array in self.arrays.items():
            steps = [replay.read(key, first, last).reshape(-1, *array.shape[2:]) for replay in self.replays]
            slab[key] = np.stack(steps)
        return slab


@functools.partial(jax.jit, donate_argnums=0)
def _write(arrays: Arrays, slab: Arrays, first: int) -> Arrays:
    """Write the slab (L, r, ...) into arrays (L, R, ...), from index `first` on."""
    return {key: jax.lax.dynamic_update_slice_in_dim(array, slab[key], first, 1) for key, array in arrays.items()}


@functools.partial(jax.jit, static_argnums=(2, 3))
def _cut(arrays: Arrays, starts: np.ndarray, length: int, envs: int) -> Arrays:
    """Windows (L, K, B, T, ...) from starts (L, K, B); see `Replay.gather`."""
    index = starts[..., None] + envs * jnp.arange(length)
    cut_lanes = jax.vmap(lambda lane_array, lane_index: lane_array[lane_index])
    batch = {key: cut_lanes(array, index) for key, array in arrays.items()}
    flags = batch.pop('flags')
    return batch | {'is_first': (flags & FIRST) > 0, 'is_terminal': (flags & TERMINAL) > 0}
