"""What a run learns from: its own replay, a recording, a part of it, or a recording and own data.

All of them answer the verbs of `Source`. A batch is (start indices, length) in every one.
"""

from typing import Protocol

import numpy as np

from paper_lib.contract import tasks
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.spec import RunSpec
from paper_lib.data import datasets, streams
from paper_lib.data.replay import Replay
from paper_lib.data.store import Finished, Store


class Source(Protocol):
    """The verbs. `rows` is how many rows are written: a source may grow, and nothing behind them is seen."""

    rows: int  # the most rows that it can hold
    envs: int
    even: bool  # whether all of its rows have as many environments
    arrays: dict[str, np.ndarray]  # of its first replay: key -> (rows, envs, ...)

    def oldest(self, rows: int) -> int:
        """The oldest row that a learner may see."""

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """(batch,) int32 starts, uniform over the windows of `length` steps that a learner may see."""

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Windows from (..., B) starts: (..., B, length, ...) per key, is_first and is_terminal as bools."""

    def episodes(self, rows: int) -> np.ndarray:
        """(n, 3) integers (env, first row, last row inclusive): complete episodes that a learner may see whole."""

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        """Copies of rows first..last (inclusive) of one environment, (n, ...) per key, all three flags as bools."""

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        """Rows first..last - 1 of a key, (last - first, envs, ...)."""

    def steps(self, key: str, rows: int) -> np.ndarray:
        """All values of a key that a learner may see, (n, ...)."""


def recording(store: Store, source: RunSpec | Dataset) -> 'Finished | datasets.Recording':
    """The finished run or the dataset. RunError where it is missing, unfinished or damaged, or has no replay."""
    return datasets.find(store.root, source) if isinstance(source, Dataset) else store.source(source)


def learned_from(spec: RunSpec, replay: Replay | None, own: Replay | None) -> Source:
    """What the run learns from: `replay` is that of its recording, `own` the one that it writes itself."""
    if spec.data == 'own':
        return latest(own, spec.capacity_rows)
    capacity = spec.source.capacity_rows if isinstance(spec.source, RunSpec) else 0
    source = latest(replay, capacity)
    if spec.part != 'all':
        source = part(spec, source)
    return Joined(source, own) if own else source


def latest(replay: Replay, capacity: int) -> Source:
    """The replay itself, or a window on its newest `capacity` rows."""
    return Latest(replay, capacity) if capacity else replay


def part(spec: RunSpec, source: Source) -> 'Part':
    """Half of the steps of a recording: the first or the second half of its rows, or every second piece at random."""
    rows = np.arange(source.oldest(source.rows), source.rows)
    piece = min(tasks.get(spec.task).limit + 1, len(rows) // 2)  # as long as the longest episode
    rng = streams.rng(spec.seed, 'half')
    kept = np.zeros((source.rows, source.envs), bool)
    kept[rows] = half(spec.part, len(rows), source.envs, piece, rng)
    return Part(source, kept, spec.model.length)


def half(name: str, rows: int, envs: int, piece: int, rng: np.random.Generator) -> np.ndarray:
    """(rows, envs) bools: the 'first' or 'second' half of the rows, or 'mixed': every second piece, at random."""
    row = np.arange(rows)
    if name != 'mixed':
        return np.repeat(((row < rows // 2) == (name == 'first'))[:, None], envs, 1)
    count = rows // piece
    chosen = rng.permutation(count * envs).reshape(count, envs) < count * envs // 2
    return chosen[np.minimum(row // piece, count - 1)]


class _View:
    """A part of a source: what may be seen differs, what lies where does not."""

    def __init__(self, source: Source):
        self.source, self.rows, self.arrays = source, source.rows, source.arrays
        self.envs, self.even = source.envs, source.even
        self.gather, self.episode, self.read = source.gather, source.episode, source.read

    def in_use(self, rows: int) -> np.ndarray:
        """(rows, envs) bools: which steps a learner may see."""
        raise NotImplementedError

    def oldest(self, rows: int) -> int:
        """As `Source.oldest`."""
        return self.source.oldest(rows)

    def steps(self, key: str, rows: int) -> np.ndarray:
        """As `Source.steps`."""
        return self.read(key, 0, rows)[self.in_use(rows)]

    def episodes(self, rows: int) -> np.ndarray:
        """As `Source.episodes`."""
        found = self.source.episodes(rows)
        env, first, last = found.T
        unseen = np.pad(np.cumsum(~self.in_use(rows), axis=0), ((1, 0), (0, 0)))  # steps before each row
        return found[unseen[last + 1, env] == unseen[first, env]]


class Latest(_View):
    """A window on the newest rows of a replay that forgets: first in, first out. The replay itself keeps all."""

    def __init__(self, replay: Replay, capacity: int):
        super().__init__(replay)
        self.capacity = capacity

    def oldest(self, rows: int) -> int:
        """The oldest row that is in use when `rows` are written."""
        return max(0, rows - self.capacity)

    def in_use(self, rows: int) -> np.ndarray:
        """(rows, envs) bools: the newest rows."""
        return np.repeat((np.arange(rows) >= self.oldest(rows))[:, None], self.envs, 1)

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """As `Source.sample`."""
        oldest = self.oldest(rows)
        return self.source.sample(rng, rows - oldest, batch, length) + np.int32(oldest * self.envs)


class Part(_View):
    """The steps of a finished recording that `kept`, (rows, envs) bools, names; windows have `length` steps."""

    def __init__(self, source: Source, kept: np.ndarray, length: int):
        super().__init__(source)
        self.kept, self.length = kept, length
        missing = np.pad(np.cumsum(~kept, axis=0), ((1, 0), (0, 0)))
        self.starts = np.flatnonzero(missing[length:] == missing[:-length]).astype(np.int32)

    def in_use(self, rows: int) -> np.ndarray:
        """(rows, envs) bools: the steps that are kept."""
        return self.kept[:rows]

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """As `Source.sample`."""
        assert (rows, length) == (self.rows, self.length), 'a part is of a finished recording, for one length'
        return self.starts[rng.integers(len(self.starts), size=batch)]


class Joined:
    """A finished recording and, behind its last row, a replay that grows: read as one (Alg. 2).

    No window and no episode crosses from one into the other.
    """

    def __init__(self, first: Source, second: Replay):
        self.first, self.second = first, second
        self.rows, self.arrays = first.rows + second.rows, first.arrays
        self.envs, self.even = first.envs, first.envs == second.envs

    @property
    def border(self) -> int:
        """Starts from here on are of the second one."""
        return self.first.rows * self.first.envs

    def sample(self, rng: np.random.Generator, rows: int, batch: int, length: int) -> np.ndarray:
        """As `Source.sample`, uniform over the windows of both."""
        oldest = self.first.oldest(self.first.rows)
        ahead = self.first.envs * max(0, self.first.rows - oldest - length + 1)
        behind = self.second.windows(rows - self.first.rows, length)
        index = rng.integers(ahead + behind, size=batch, dtype=np.int32)
        starts = np.where(index < ahead, index + oldest * self.first.envs, index - ahead + self.border)
        return starts.astype(np.int32)

    def gather(self, starts: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """As `Source.gather`."""
        behind = starts >= self.border
        batch = self.first.gather(np.where(behind, 0, starts), length)
        if behind.any():
            for key, values in self.second.gather(starts[behind] - self.border, length).items():
                batch[key][behind] = values
        return batch

    def read(self, key: str, first: int, last: int) -> np.ndarray:
        """As `Source.read`."""
        rows = self.first.rows
        ahead = self.first.read(key, first, last)
        behind = self.second.read(key, max(0, first - rows), max(0, last - rows))
        return np.concatenate([ahead, behind])

    def steps(self, key: str, rows: int) -> np.ndarray:
        """As `Source.steps`."""
        return np.concatenate([self.first.steps(key, self.first.rows), self.second.steps(key, rows - self.first.rows)])

    def episodes(self, rows: int) -> np.ndarray:
        """As `Source.episodes`; rows of the second one are counted on."""
        behind = self.second.episodes(rows - self.first.rows) + np.array([0, self.first.rows, self.first.rows])
        return np.concatenate([self.first.episodes(self.first.rows), behind])

    def episode(self, env: int, first: int, last: int) -> dict[str, np.ndarray]:
        """As `Source.episode`."""
        if first < self.first.rows:
            return self.first.episode(env, first, last)
        return self.second.episode(env, first - self.first.rows, last - self.first.rows)
