"""Where a chunk's batches come from: the replays on the disk, or a copy of them that stays on the device.

Both give the same bytes. Legend: L lanes, K updates, B batch, T time, R rows x environments.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from paper_lib.data.replay import FIRST, TERMINAL

SHARE = 0.5  # of the device's memory that replays may take
SLAB = 1024  # rows that go to the device at once


def fit(replays) -> bool:
    """Whether the replays go to the device: only where its memory is not the host's, and there is room."""
    device = jax.devices()[0]
    size = sum(replay.rows * array[0].nbytes for replay in replays for array in replay.arrays.values())
    room = (device.memory_stats() or {}).get('bytes_limit', 0)
    return device.platform != 'cpu' and all(replay.even for replay in replays) and size < SHARE * room


class OnDisk:
    """Windows read from the memory-mapped files, a chunk of updates at a time."""

    def __init__(self, replays, length):
        self.replays, self.length = replays, length

    def gather(self, starts, rows):
        """(L, K, B) starts in the first `rows` rows -> host arrays (L, K, B, T, ...) per key."""
        each = [replay.gather(own, self.length) for replay, own in zip(self.replays, starts)]
        return {key: np.stack([batch[key] for batch in each]) for key in each[0]}


class OnDevice:
    """Windows cut on the device from a copy of the replays, which grows as they do."""

    def __init__(self, replays, length):
        self.replays, self.length, self.rows = replays, length, 0
        self.arrays = {key: jnp.zeros((len(replays), replays[0].rows * array.shape[1], *array.shape[2:]), array.dtype)
                       for key, array in replays[0].arrays.items()}  # fmt: skip

    def gather(self, starts, rows):
        """As `OnDisk.gather`, on the device."""
        while self.rows < rows:
            first, self.rows = self.rows, min(rows, self.rows + SLAB)
            new = {key: np.stack([replay.read(key, first, self.rows).reshape(-1, *array.shape[2:])
                                  for replay in self.replays]) for key, array in self.arrays.items()}  # fmt: skip
            self.arrays = _write(self.arrays, new, first * self.replays[0].envs)
        return _cut(self.arrays, starts, self.length, self.replays[0].envs)


@functools.partial(jax.jit, donate_argnums=0)
def _write(arrays, new, first):
    """Arrays (L, R, ...) with the new ones (L, r, ...) from index `first` on."""
    return {key: jax.lax.dynamic_update_slice_in_dim(array, new[key], first, 1) for key, array in arrays.items()}


@functools.partial(jax.jit, static_argnums=(2, 3))
def _cut(arrays, starts, length, envs):
    """Windows (L, K, B, T, ...) from (L, K, B) starts; see `Replay.gather`."""
    index = starts[..., None] + envs * jnp.arange(length)
    batch = {key: jax.vmap(lambda array, own: array[own])(array, index) for key, array in arrays.items()}
    flags = batch.pop('flags')
    return batch | {'is_first': (flags & FIRST) > 0, 'is_terminal': (flags & TERMINAL) > 0}
