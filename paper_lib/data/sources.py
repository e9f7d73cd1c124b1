"""What a run learns from: its own replay, a recording, a part of one, or a recording and own data.

All of them have the methods of `Source`, but one that joins two has no `oldest`. In all of them a batch is
(start indices, length): the start index of a window is `row * envs + env` of its first step.
"""

from typing import Protocol

import numpy as np

from paper_lib.contract import tasks
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data import datasets, streams
from paper_lib.data.replay import Replay
from paper_lib.data.store import Finished, Store


class Source(Protocol):
    """The methods of all sources.

    A source may grow: their argument `rows` says how many rows are written.
    """

    rows: int  # rows that there is space for
    envs: int  # environments of a row, in a joined source of a row of the recording
    even: bool  # whether all rows have the same number of environments
    arrays: dict[str, np.ndarray]  # key -> (rows, envs, ...), in a joined source of the recording

    def oldest(self, rows: int) -> int:
        """The oldest row that is in use. Older ones are not drawn any more."""

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """(batch,) int32 starts, uniform over the windows of `length` steps in use."""

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Windows from (..., B) starts: (..., B, length, ...) per key, is_first and is_terminal as bools."""

    def episodes(self, rows: int) -> np.ndarray:
        """(n, 3) integers (env, first row, last row inclusive): complete episodes, all steps of which are in use."""

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        """Copies of rows first..last (inclusive) of one environment, (n, ...) per key, all three flags as bools."""

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        """Rows first..last - 1 of a key, (last - first, envs, ...)."""

    def steps(self, key: str, rows: int) -> np.ndarray:
        """The values of a key in all steps in use, (n, ...)."""


def recording(store: Store, source: RunSpec | Dataset) -> 'Finished | datasets.Recording':
    """The finished run, or the dataset, of the store.

    Raises RunError if it is missing, unfinished or damaged, or if its replay was dropped.
    """
    if isinstance(source, Dataset):
        return datasets.find(store.root, source)
    return store.source(source)


def learned_from(spec: RunSpec, replay: Replay | None, own: Replay | None) -> Source:
    """What a run learns from.

    `replay` belongs to its recording; `own` is the replay that it writes itself.
    """
    if spec.data == 'own':
        return latest(own, spec.capacity_rows)
    capacity = spec.source.capacity_rows if isinstance(spec.source, RunSpec) else 0
    source = latest(replay, capacity)
    if spec.part != 'all':
        source = part(spec, source)
    return Joined(source, own) if own else source


def latest(replay: Replay, capacity: int) -> Source:
    """The replay itself, or only its newest `capacity` rows if that is not 0."""
    return Latest(replay, capacity) if capacity else replay


def part(spec: RunSpec, source: Source) -> 'Part':
    """The half of a recording's steps that `spec.part` names."""
    rows = np.arange(source.oldest(source.rows), source.rows)
    longest_episode = tasks.get(spec.task).limit + 1
    piece = min(longest_episode, len(rows) // 2)
    rng = streams.rng(spec.seed, 'half')
    kept = np.zeros((source.rows, source.envs), bool)
    kept[rows] = half(spec.part, len(rows), source.envs, piece, rng)
    return Part(source, kept, spec.model.length)


def half(name: str, rows: int, envs: int, piece: int, rng: np.random.Generator) -> np.ndarray:
    """(rows, envs) bools: the 'first' or 'second' half of the rows, or 'mixed'.

    Mixed cuts the steps of every environment into pieces of `piece` rows, and keeps a
    random half of them.
    """
    row = np.arange(rows)
    if name != 'mixed':
        in_first_half = row < rows // 2
        kept = in_first_half == (name == 'first')
        return np.repeat(kept[:, None], envs, 1)
    count = rows // piece
    order = rng.permutation(count * envs).reshape(count, envs)
    chosen = order < count * envs // 2
    piece_of_row = np.minimum(row // piece, count - 1)  # the last piece takes the rest
    return chosen[piece_of_row]


class _View:
    """A source of which only some steps are in use. Rows keep their numbers."""

    def __init__(self, source: Source):
        self.source = source
        self.rows, self.envs = source.rows, source.envs
        self.arrays, self.even = source.arrays, source.even
        self.gather, self.episode, self.read = source.gather, source.episode, source.read

    def oldest(self, rows: int) -> int:
        return self.source.oldest(rows)

    def steps(self, key: str, rows: int) -> np.ndarray:
        return self.read(key, 0, rows)[self.in_use(rows)]

    def episodes(self, rows: int) -> np.ndarray:
        episodes = self.source.episodes(rows)
        env, first, last = episodes.T
        unused = _counts_before(~self.in_use(rows))
        whole = unused[last + 1, env] == unused[first, env]
        return episodes[whole]


def _counts_before(steps: np.ndarray) -> np.ndarray:
    """(rows, envs) bools -> (rows + 1, envs) ints: how many are true before each row."""
    return np.pad(np.cumsum(steps, axis=0), ((1, 0), (0, 0)))


class Latest(_View):
    """The newest `capacity` rows of a replay. The replay itself keeps all rows."""

    def __init__(self, replay: Replay, capacity: int):
        super().__init__(replay)
        self.capacity = capacity

    def oldest(self, rows: int) -> int:
        return max(0, rows - self.capacity)

    def in_use(self, rows: int) -> np.ndarray:
        """(rows, envs) bools: the newest rows."""
        newest = np.arange(rows) >= self.oldest(rows)
        return np.repeat(newest[:, None], self.envs, 1)

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        oldest = self.oldest(rows)
        starts = self.source.sample(rng, rows - oldest, batch, length)
        return starts + np.int32(oldest * self.envs)


class Part(_View):
    """Some steps of a finished recording, `kept` as (rows, envs) bools, in windows of `length` steps."""

    def __init__(self, source: Source, kept: np.ndarray, length: int):
        super().__init__(source)
        self.kept = kept
        self.length = length
        missing = _counts_before(~kept)
        whole = missing[length:] == missing[:-length]
        self.starts = np.flatnonzero(whole).astype(np.int32)
        if not len(self.starts):
            raise UserError(f'length={length}: no window of so many steps lies in this part of the recording')

    def in_use(self, rows: int) -> np.ndarray:
        """(rows, envs) bools: the steps that are kept."""
        return self.kept[:rows]

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        assert (rows, length) == (self.rows, self.length), 'a part has all its rows, and windows of one length'
        return self.starts[rng.integers(len(self.starts), size=batch)]


class Joined:
    """A finished recording, followed by a replay that grows (Alg. 2).

    The rows of `second` are numbered on from those of `first`. No window and no episode has
    steps of both.
    """

    def __init__(self, first: Source, second: Replay):
        self.first, self.second = first, second
        self.rows = first.rows + second.rows
        self.arrays = first.arrays
        self.envs = first.envs
        self.even = first.envs == second.envs

    @property
    def border(self) -> int:
        """The first start index of the second replay."""
        return self.first.rows * self.first.envs

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """As `Source.sample`, uniform over the windows of both."""
        oldest = self.first.oldest(self.first.rows)
        first_count = self.first.envs * max(0, self.first.rows - oldest - length + 1)
        second_count = self.second.windows(rows - self.first.rows, length)
        index = rng.integers(first_count + second_count, size=batch, dtype=np.int32)
        in_first = index + oldest * self.first.envs
        in_second = index - first_count + self.border
        return np.where(index < first_count, in_first, in_second).astype(np.int32)

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        in_second = starts >= self.border
        batch = self.first.gather(np.where(in_second, 0, starts), length)
        if in_second.any():
            windows = self.second.gather(starts[in_second] - self.border, length)
            for key, values in windows.items():
                batch[key][in_second] = values
        return batch

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        border = self.first.rows
        of_first = self.first.read(key, first, last)
        of_second = self.second.read(key, max(0, first - border), max(0, last - border))
        return np.concatenate([of_first, of_second])

    def steps(self, key: str, rows: int) -> np.ndarray:
        of_first = self.first.steps(key, self.first.rows)
        of_second = self.second.steps(key, rows - self.first.rows)
        return np.concatenate([of_first, of_second])

    def episodes(self, rows: int) -> np.ndarray:
        border = self.first.rows
        of_first = self.first.episodes(border)
        of_second = self.second.episodes(rows - border) + np.array([0, border, border])
        return np.concatenate([of_first, of_second])

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        if first < self.first.rows:
            return self.first.episode(env, first, last)
        return self.second.episode(env, first - self.first.rows, last - self.first.rows)
