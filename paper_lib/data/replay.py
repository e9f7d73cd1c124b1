"""Append-only replay on the disk, as long as the run. A batch is (start indices, length), nothing else.

A row is one step of every environment: obs_t, the reward received on arriving at it, its flags, and the
action chosen after it (zeros where is_last).
"""

from pathlib import Path

import numpy as np

from paper_lib.contract import files
from paper_lib.contract.errors import RunError

FIRST, LAST, TERMINAL = 1, 2, 4  # bits of a step's flags


class Replay:
    """One raw time-major file per key, (rows, envs, ...), memory-mapped; `layout.json` says what they hold.

    `arrays` maps each key to its (rows, envs, ...) array: `vector` or `image`, `action`, `reward`, `flags`.
    """

    def __init__(self, path: Path, writable: bool):
        """Use `Replay.create` or `Replay.open`."""
        layout = files.read_json(path / 'layout.json')
        self.path, self.rows, self.envs = path, layout['rows'], layout['envs']
        self._maps = {
            key: files.memory_map(path / f'{key}.bin', (self.rows, self.envs, *shape), dtype, writable)
            for key, (shape, dtype) in layout['keys'].items()
        }
        self.arrays = {key: np.asarray(array) for key, array in self._maps.items()}  # plain views index faster
        self._flat = {key: array.reshape(-1, *array.shape[2:]) for key, array in self.arrays.items()}
        self.kept = self._starts = None

    @classmethod
    def open(cls, path: Path, writable: bool = False) -> 'Replay':
        """An existing replay. RunError names a file that is missing or damaged in its size or layout."""
        return cls(Path(path), writable)

    @classmethod
    def create(cls, path: Path, like: dict[str, tuple[tuple[int, ...], str]], rows: int, envs: int) -> 'Replay':
        """A writable replay with all its space reserved; continues one of the same layout.

        `like` gives shape and dtype of one step of `vector` or `image` and `action`. RunError if the disk cannot
        hold it or another layout is there.
        """
        keys = {**like, 'reward': ((), 'float32'), 'flags': ((), 'uint8')}
        keys = {key: [list(shape), np.dtype(dtype).str] for key, (shape, dtype) in keys.items()}
        path, layout = Path(path), {'rows': rows, 'envs': envs, 'keys': keys}
        if not (path / 'layout.json').exists():
            with files.guard(path):
                path.mkdir(parents=True, exist_ok=True)
            for key, (shape, dtype) in keys.items():
                files.reserve(path / f'{key}.bin', rows * envs * int(np.prod(shape)) * np.dtype(dtype).itemsize)
            files.write_json(path / 'layout.json', layout)
        found = files.read_json(path / 'layout.json')
        if found != layout | {'schema': found['schema']}:
            raise RunError(f'{path / "layout.json"}: is of another layout than this run needs; {files.AGAIN}')
        return cls(path, writable=True)

    def write(self, row: int, step: dict[str, np.ndarray]):
        """Write one step of every environment: (envs, ...) per key, with the three flags as bools.

        After a resume a row is written again with the same bytes; nothing else ever changes one.
        """
        if not 0 <= row < self.rows:
            raise IndexError(f'row {row} of a replay of {self.rows} rows')
        for key, array in self.arrays.items():
            if key != 'flags':
                array[row] = step[key]
        first, last, terminal = (np.asarray(step[f'is_{name}'], np.uint8) for name in ('first', 'last', 'terminal'))
        self.arrays['flags'][row] = first * FIRST + last * LAST + terminal * TERMINAL

    def flush(self):
        """Put everything written so far on the disk."""
        with files.guard(self.path):
            for array in self._maps.values():
                array.flush()

    def keep(self, kept: np.ndarray, length: int):
        """From now on sample windows, of this length, and episodes in a part only: `kept` is (rows, envs) bools."""
        self._missing = np.pad(np.cumsum(~kept, axis=0), ((1, 0), (0, 0)))  # steps before each row that are not kept
        whole = self._missing[length:] == self._missing[:-length]
        self.kept, self._starts = kept, np.flatnonzero(whole).astype(np.int32)

    def windows(self, rows: int, length: int) -> int:
        """How many windows of `length` steps (stride 1) the first `rows` rows hold, over all environments."""
        return self.envs * max(0, rows - length + 1)

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """(batch,) int32 starts, uniform over the windows of the first `rows` rows, episode borders ignored.

        A start is `row * envs + env` of the window's first step.
        """
        if self._starts is not None:
            return self._starts[rng.integers(len(self._starts), size=batch)]
        return rng.integers(self.windows(rows, length), size=batch, dtype=np.int32)

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Windows from (..., B) starts: copies, (..., B, length, ...) per key, is_first and is_terminal as bools."""
        index = np.asarray(starts, np.int64)[..., None] + np.arange(length) * self.envs
        batch = {key: flat.take(index, axis=0) for key, flat in self._flat.items()}
        flags = batch.pop('flags')
        return {**batch, 'is_first': (flags & FIRST) > 0, 'is_terminal': (flags & TERMINAL) > 0}

    def episodes(self, rows: int) -> np.ndarray:
        """(n, 3) integers (env, first row, last row inclusive): the complete episodes among the first `rows` rows.

        Ordered by first row, then environment.
        """
        found = []
        for env in range(self.envs):
            flags = self.arrays['flags'][:rows, env]
            lasts = np.flatnonzero(flags & LAST)
            firsts = np.flatnonzero(flags & FIRST)[: len(lasts)]  # all but an episode that is still running
            found.append(np.stack([np.full_like(lasts, env), firsts, lasts], 1))
        found = np.concatenate(found)
        if self.kept is not None:
            env, first, last = found.T
            found = found[self._missing[last + 1, env] == self._missing[first, env]]
        return found[np.lexsort((found[:, 0], found[:, 1]))]

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        """Rows first..last - 1 of a key, (last - first, envs, ...)."""
        return self.arrays[key][first:last]

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        """Copies of rows first..last (inclusive) of one environment, (n, ...) per key, all three flags as bools."""
        steps = {key: np.array(array[first : last + 1, env]) for key, array in self.arrays.items()}
        flags = steps.pop('flags')
        bits = {'is_first': FIRST, 'is_last': LAST, 'is_terminal': TERMINAL}
        return steps | {name: (flags & bit) > 0 for name, bit in bits.items()}


class Joined:
    """A finished replay and, behind its last row, one that grows: read as one replay (Alg. 2).

    No window and no episode crosses from one into the other.
    """

    kept = None  # all of it

    def __init__(self, first: Replay, second: Replay):
        self._first, self._second = first, second
        self.envs, self.rows = first.envs, first.rows + second.rows

    def _windows(self, rows, length):
        return self._first.windows(self._first.rows, length), self._second.windows(rows - self._first.rows, length)

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """As `Replay.sample`, uniform over the windows of both."""
        first, second = self._windows(rows, length)
        index = rng.integers(first + second, size=batch, dtype=np.int32)
        return np.where(index < first, index, index - first + self._first.rows * self.envs).astype(np.int32)

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """As `Replay.gather`."""
        border = self._first.rows * self.envs
        own = starts >= border
        batch = self._first.gather(np.where(own, 0, starts), length)
        if own.any():
            for key, values in self._second.gather(starts[own] - border, length).items():
                batch[key][own] = values
        return batch

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        """As `Replay.read`."""
        border = self._first.rows
        parts = (
            self._first.read(key, first, last),
            self._second.read(key, max(0, first - border), max(0, last - border)),
        )
        return np.concatenate(parts)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Of the finished replay: what its rows are."""
        return self._first.arrays

    def episodes(self, rows: int) -> np.ndarray:
        """As `Replay.episodes`."""
        border = self._first.rows
        own = self._second.episodes(rows - border) + np.array([0, border, border])
        return np.concatenate([self._first.episodes(border), own])

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        """As `Replay.episode`."""
        border = self._first.rows
        replay, offset = (self._first, 0) if first < border else (self._second, border)
        return replay.episode(env, first - offset, last - offset)


def half(part: str, rows: int, envs: int, piece: int, rng: np.random.Generator) -> np.ndarray:
    """(rows, envs) bools: the 'first' or 'second' half of the rows, or a uniform half of pieces of rows: 'mixed'."""
    row = np.arange(rows)
    if part != 'mixed':
        return np.repeat(((row < rows // 2) == (part == 'first'))[:, None], envs, 1)
    count = rows // piece
    chosen = rng.permutation(count * envs).reshape(count, envs) < count * envs // 2
    return chosen[np.minimum(row // piece, count - 1)]
