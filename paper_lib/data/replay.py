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

    even = True  # all rows have as many environments

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

    def windows(self, rows: int, length: int) -> int:
        """How many windows of `length` steps (stride 1) the first `rows` rows hold, over all environments."""
        return self.envs * max(0, rows - length + 1)

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """(batch,) int32 starts, uniform over the windows of the first `rows` rows, episode borders ignored.

        A start is `row * envs + env` of the window's first step.
        """
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
        return found[np.lexsort((found[:, 0], found[:, 1]))]

    def oldest(self, rows: int) -> int:
        """The oldest row that is in use when `rows` are written."""
        return 0

    def steps(self, key: str, rows: int) -> np.ndarray:
        """All values of a key in the first `rows` rows, (rows * envs, ...)."""
        return self._flat[key][: rows * self.envs]

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        """Rows first..last - 1 of a key, (last - first, envs, ...)."""
        return self.arrays[key][first:last]

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        """Copies of rows first..last (inclusive) of one environment, (n, ...) per key, all three flags as bools."""
        steps = {key: np.array(array[first : last + 1, env]) for key, array in self.arrays.items()}
        flags = steps.pop('flags')
        bits = {'is_first': FIRST, 'is_last': LAST, 'is_terminal': TERMINAL}
        return steps | {name: (flags & bit) > 0 for name, bit in bits.items()}
