"""Recorded steps of any origin in one form: the arrays of a replay, read key by key and in pieces.

A reader of a format makes a `Steps`. What looks at the steps, checks, hashes or copies them
asks for one key after the other, so that nothing is held in memory that grows with the data.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.pictures import nearest
from paper_lib.data.replay import ALWAYS, FIRST, LAST, Replay

PIECE = 2**22  # bytes of a piece, about
OBSERVED = ('vector', 'image')
FLAGS = ('is_first', 'is_last', 'is_terminal')


@dataclasses.dataclass(frozen=True)
class Steps:
    """N steps in a row.

    `read(key)` yields the values of a key of a replay (`vector`, `image`, `action`, `reward`,
    `flags`) in pieces (n, ...), from the first step to the last.
    """

    where: str  # stands before messages about them, e.g. `mine.npz: `
    rows: int  # N
    like: dict[str, tuple[tuple[int, ...], str]]  # shape and type of one step, as in `Replay.create`
    read: Callable[[str], Iterator[np.ndarray]]
    names: tuple[str, ...] = ()  # of the files of its episodes, if each episode has one
    task: str = ''  # of the run that recorded them, if `export` wrote them; its environment cut actions to [-1, 1]
    unmarked: tuple[str, ...] = ()  # arrays that should mark where episodes end, if they mark no row at all
    sequences: int = 1  # how many recordings of equal length stand one after the other: those of a run's environments

    @property
    def observed(self) -> list[str]:
        """The names of the observations."""
        return [key for key in OBSERVED if key in self.like]

    @property
    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """As `like`, with the keys that all steps have."""
        return self.like | ALWAYS

    def whole(self, key: str) -> np.ndarray:
        """All values of a key at once, (N, ...): for keys with a number a step."""
        return np.concatenate([*self.read(key)])


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a task's agents observe and do, as far as a reader must know it."""

    actions: int = 0  # number of discrete actions; 0: actions are continuous, or it is unknown
    start: int = 0  # the number of the first of them
    side: int = 0  # pixels per side of an image, where images of other sizes are sampled; 0: as they are


@dataclasses.dataclass(frozen=True)
class Episodes:
    """Where the episodes of a recording begin and end, as its flags say."""

    firsts: np.ndarray  # (n,) rows
    lasts: np.ndarray  # (n,) rows, inclusive

    @property
    def lengths(self) -> np.ndarray:
        """(n,) steps of each episode."""
        return self.lasts - self.firsts + 1


def cut(flags: np.ndarray, sequences: int = 1) -> Episodes:
    """Episodes of (N,) flags. An episode begins at a first step, or after a last one, and ends before the next."""
    begins = (flags & FIRST) > 0
    begins |= after_last(flags, sequences)
    firsts = np.flatnonzero(begins)
    return Episodes(firsts, np.append(firsts[1:], len(flags)) - 1)


def after_last(flags: np.ndarray, sequences: int) -> np.ndarray:
    """(N,) bools: the rows after a last step, and the first of each sequence."""
    after = np.append(True, (flags[:-1] & LAST) > 0)
    after[:: len(flags) // sequences] = True
    return after


def piece_rows(*arrays: tuple[tuple[int, ...], object]) -> int:
    """How many steps of these shapes and types make a piece."""
    step_bytes = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in arrays)
    return max(1, PIECE // max(1, step_bytes))


def of_replay(replay: Replay, rows: int) -> Steps:
    """The first `rows` rows of a replay, environment after environment.

    Step i is row i % rows of environment i // rows. Raises RunError if there are none.
    """
    if not rows:
        raise RunError(f'{replay.path}: holds no steps, because its run has never added any')

    def read(key: str) -> Iterator[np.ndarray]:
        array = replay.arrays[key]
        size = piece_rows((array.shape[2:], array.dtype))
        for env in range(replay.envs):
            for first in range(0, rows, size):
                yield array[first : min(rows, first + size), env]

    like = {}
    for key, array in replay.arrays.items():
        if key not in ALWAYS:
            like[key] = (array.shape[2:], array.dtype.str)
    return Steps(f'{replay.path}: ', rows * replay.envs, like, read, sequences=replay.envs)


def is_one_hot(steps: Steps, flags: np.ndarray) -> bool:
    """Whether all actions but those of last steps are one-hot, so that indices stand for them without loss."""
    if steps.like['action'][0][0] < 2:
        return False
    row = 0
    for piece in steps.read('action'):
        chosen = piece[(flags[row : row + len(piece)] & LAST) == 0]
        row += len(piece)
        if not ((chosen == 1).sum(1) == 1).all() or (chosen != 0).sum() != len(chosen):
            return False
    return True


def one_hot(values: np.ndarray, count: int, where: str, row: int, start: int = 0) -> np.ndarray:
    """(n, count) float32 from (n,) whole numbers from `start` on. Raises UserError, with the row, for any other one."""
    last = start + count - 1
    wrong = np.flatnonzero(~np.isin(values, np.arange(start, last + 1)))
    if len(wrong):
        value = values[wrong[0]]
        raise UserError(f'{where}row {row + int(wrong[0])} is {value}; must be a whole number from {start} to {last}')
    return np.eye(count, dtype=np.float32)[values.astype(np.int64) - start]


def single_precision(values: np.ndarray) -> np.ndarray:
    """Values as float32. Those that are too large become infinite; `datasets.describe` refuses them."""
    with np.errstate(over='ignore', invalid='ignore'):
        return values.astype(np.float32)


def picture(values: np.ndarray, side: int) -> np.ndarray:
    """(n, H, W) or (n, H, W, C) pixels as (n, side, side, 3), sampled as the suite `gym` samples them.

    With side 0 the size stays.
    """
    values = values if values.ndim == 4 else values[..., None]
    if side:
        rows, columns = (nearest(side, count) for count in values.shape[1:3])
        values = values[:, rows[:, None], columns]
    return np.broadcast_to(values, (*values.shape[:3], 3)) if values.shape[3] == 1 else values


def check_fits(where: str, like: dict[str, tuple], task: str, layout: dict[str, tuple]) -> None:
    """Raise UserError unless recorded steps have exactly the observations and actions of a task's environment.

    `like` and `layout` hold the shape and type of one step by key, as recorded and as the task has them.
    """
    for name in OBSERVED:
        if name in like and name not in layout:
            raise UserError(f'{where}has {name}, which {task} has not')
    for name, (shape, dtype) in layout.items():
        if name not in like:
            raise UserError(f'{where}has no {name}, which {task} has')
        wanted = tuple(shape), np.dtype(dtype)
        recorded = tuple(like[name][0]), np.dtype(like[name][1])
        if recorded != wanted:
            what = f'{name} of shape {recorded[0]} and type {recorded[1]}'
            raise UserError(f'{where}has {what}; {task} has {wanted[0]} and {wanted[1]}')
