"""The replay of a run on the disk.

Rows are only appended, and all steps of the run are kept.

A row holds one step of every environment: the observation, the reward received on arriving
at it, its flags, and the action chosen after it (zeros at a last step). A batch is (start
indices, length).
"""

from pathlib import Path

import numpy as np

from paper_lib.contract import files
from paper_lib.contract.errors import RunError

ALWAYS = {'reward': ((), 'float32'), 'flags': ((), 'uint8')}  # the keys that every step has: shape and dtype
FIRST, LAST, TERMINAL = 1, 2, 4  # bits of a step's flags


def packed_flags(first: np.ndarray, last: np.ndarray, terminal: np.ndarray) -> np.ndarray:
    """(n,) uint8 flags from (n,) bools each."""
    first, last, terminal = (np.asarray(flag, bool).astype(np.uint8) for flag in (first, last, terminal))
    return first * FIRST + last * LAST + terminal * TERMINAL


class Replay:
    """One raw time-major file per key, (rows, envs, ...), memory-mapped; `layout.json` says what they hold.

    `arrays` maps each key to its (rows, envs, ...) array: `vector`, `image` or both, `action`,
    `reward`, `flags`, and `place` if the environment has one.
    """

    even = True  # all rows have the same number of environments

    def __init__(self, path: Path, writable: bool = False):
        """An existing replay. `Replay.create` makes a new one.

        Raises RunError for a file that is missing or has a wrong size or layout.
        """
        layout = files.read_json(path / 'layout.json')
        self.path = path
        self.rows = layout['rows']
        self.envs = layout['envs']
        self._maps = {}
        self.arrays = {}
        self._flat = {}  # (rows * envs, ...)
        for key, (shape, dtype) in layout['keys'].items():
            size = (self.rows, self.envs, *shape)
            memory_map = files.memory_map(path / f'{key}.bin', size, dtype, writable)
            array = np.asarray(memory_map)  # a plain view is faster to index
            self._maps[key] = memory_map
            self.arrays[key] = array
            self._flat[key] = array.reshape(-1, *shape)

    @classmethod
    def create(cls, path: Path, like: dict[str, tuple[tuple[int, ...], str]], rows: int, envs: int) -> 'Replay':
        """A writable replay with all its space reserved.

        A replay of the same layout is continued.

        `like` has the shape and dtype of one step of `vector`, of `image` or of both, of `action`,
        and of `place` if the environment has one.
        Raises RunError if the disk is too small, or if a replay of another layout is there.
        """
        path = Path(path)
        layout_path = path / 'layout.json'
        keys = {}
        for key, (shape, dtype) in (like | ALWAYS).items():
            keys[key] = [list(shape), np.dtype(dtype).str]
        layout = {'rows': rows, 'envs': envs, 'keys': keys}
        if not layout_path.exists():
            with files.guard(path):
                path.mkdir(parents=True, exist_ok=True)
            for key, (shape, dtype) in keys.items():
                step_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
                files.reserve(path / f'{key}.bin', rows * envs * step_bytes)
            files.write_json(layout_path, layout)
        written = files.read_json(layout_path)
        if written != layout | {'schema': written['schema']}:
            raise RunError(f'{layout_path}: is of another layout than this run needs; {files.AGAIN}')
        return cls(path, writable=True)

    def write(self, row: int, step: dict[str, np.ndarray]) -> None:
        """Write one step of every environment: (envs, ...) per key, with the three flags as bools.

        A row may be written again after a resume, and then gets the same bytes. Otherwise
        rows never change.
        """
        if not 0 <= row < self.rows:
            raise IndexError(f'row {row} of a replay of {self.rows} rows')
        for key, array in self.arrays.items():
            if key != 'flags':
                array[row] = step[key]
        self.arrays['flags'][row] = packed_flags(step['is_first'], step['is_last'], step['is_terminal'])

    def flush(self) -> None:
        """Put everything that is written on the disk."""
        with files.guard(self.path):
            for array in self._maps.values():
                array.flush()

    def windows(self, rows: int, length: int) -> int:
        """Number of windows of `length` steps (stride 1) in the first `rows` rows of all environments."""
        return self.envs * max(0, rows - length + 1)

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """(batch,) int32 starts, uniform over the windows of the first `rows` rows.

        A start is `row * envs + env` of the window's first step. A window may hold steps of
        several episodes.
        """
        return rng.integers(self.windows(rows, length), size=batch, dtype=np.int32)

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Windows from (..., B) starts: copies, (..., B, length, ...) per key, is_first and is_terminal as bools."""
        index = np.asarray(starts, np.int64)[..., None] + np.arange(length) * self.envs
        batch = {key: flat.take(index, axis=0) for key, flat in self._flat.items()}
        flags = batch.pop('flags')
        return {**batch, 'is_first': (flags & FIRST) > 0, 'is_terminal': (flags & TERMINAL) > 0}

    def episodes(self, rows: int) -> np.ndarray:
        """(n, 3) integers (env, first row, last row inclusive): the complete episodes in the first `rows` rows.

        They are ordered by first row, then environment.
        """
        of_envs = []
        for env in range(self.envs):
            flags = self.arrays['flags'][:rows, env]
            lasts = np.flatnonzero(flags & LAST)
            firsts = np.flatnonzero(flags & FIRST)[: len(lasts)]  # without an episode that has no last step yet
            of_envs.append(np.stack([np.full_like(lasts, env), firsts, lasts], 1))
        episodes = np.concatenate(of_envs)
        order = np.lexsort((episodes[:, 0], episodes[:, 1]))
        return episodes[order]

    def oldest(self, rows: int) -> int:
        """The oldest row that is in use."""
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
