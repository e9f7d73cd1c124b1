"""Readers of datasets: one for each format, behind the one door `read`.

All of them give steps in our order: a step holds an observation, the reward received on
arriving at it, its flags, and the action chosen after it. What a format does not state is
said at its reader.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from paper_lib.contract.errors import UserError
from paper_lib.contract.pictures import is_picture
from paper_lib.data import minari
from paper_lib.data.columns import Archive, Columns, Kind
from paper_lib.data.replay import packed_flags
from paper_lib.data.steps import FLAGS, Steps, Wanted, one_hot, picture, single_precision

NUMBERS = ('action', 'reward', *FLAGS)
AXES = {'vector': 'ND', 'image': 'NHWC', 'action': 'NA', 'reward': 'N'} | dict.fromkeys(FLAGS, 'N')
FLAT = {'observations': 'ND|NHWC|NHW', 'actions': 'NA|N', 'terminals': 'N'}
ENDS = ('terminals', 'timeouts')  # mark the last rows of episodes
FLAT_OPTIONAL = {'rewards': 'N', 'timeouts': 'N', 'next_observations': FLAT['observations']}
EPISODE = {'observation': 'ND|NHWC|NHW', 'image': 'NHWC|NHW', 'action': 'NA|N'}
EPISODE |= dict.fromkeys(('reward', 'discount', 'is_terminal'), 'N|NA')
MOST_ACTIONS = 1000  # discrete ones, where their number is seen from the data
ALLOWED = 'an .npz file, a folder with an .npz file an episode, the folder of a Minari dataset, or the id of one'


def read(name: str | Path, wanted: Wanted | None = None) -> Steps:
    """The steps of a dataset: of an .npz file, of a folder, or of an installed Minari dataset of this id.

    `wanted` says what the agents of a task observe and do. Raises UserError, one line, for
    what no reader can read.
    """
    wanted = wanted or Wanted()
    if not str(name):
        raise UserError(f"dataset='': must be {ALLOWED}")
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        if folder := minari.data_folder(path):
            return minari.read(folder, wanted)
        if files := sorted(path.glob('*.npz')):
            return folder_of_episodes(path, files, wanted)
        raise UserError(f'{path}: is no dataset; must be {ALLOWED}')
    if path.suffix == '.npz' and path.exists():
        archive = Archive(path)
        is_flat = FLAT.keys() & archive.kinds.keys() and 'is_first' not in archive.kinds
        return flat(archive, wanted) if is_flat else ours(archive)
    if folder := minari.data_folder(minari.installed(str(name))):
        return minari.read(folder, wanted)
    reason = 'is no dataset' if path.exists() else 'does not exist'
    raise UserError(f'{name}: {reason}; must be {ALLOWED}')


def title(name: str) -> str:
    """A dataset's name for readers, from the name of its file or folder or from its id."""
    path = Path(name)
    if path.name == 'data' and minari.data_folder(path):  # as in `human-v2/data`
        path = path.resolve().parent
    text = path.stem if path.suffix == '.npz' else path.name or path.resolve().name
    return re.sub('[^A-Za-z0-9_.-]', '_', text)[:64] or 'dataset'


# Our own arrays.


def ours(columns: Columns) -> Steps:
    """Steps of our own arrays; `datasets` lists their shapes and types. Nothing may be missing."""
    missing = [key for key in NUMBERS if key not in columns.kinds]
    if missing or not {'vector', 'image'} & columns.kinds.keys():
        given = ', '.join(sorted(columns.kinds)) or 'no arrays'
        needed = f'a dataset has image, vector or both, and {", ".join(NUMBERS)}'
        raise UserError(f'{columns.where}{needed}; this one has {given}')
    count = columns.check({key: axes for key, axes in AXES.items() if key in columns.kinds})

    def read(key: str) -> Iterator[np.ndarray]:
        if key == 'flags':
            row = 0
            for flags in columns.pieces(*FLAGS):
                yield packed_flags(*(_bools(flag, name, columns.where, row) for flag, name in zip(flags, FLAGS)))
                row += len(flags[0])
        elif key == 'action':
            for action, last in columns.pieces('action', 'is_last'):
                yield single_precision(np.where(last.astype(bool)[:, None], 0, action))
        else:
            for (values,) in columns.pieces(key):
                yield values if key == 'image' else single_precision(values)

    like = {}
    for key in ('vector', 'image', 'action'):
        if key in columns.kinds:
            like[key] = (columns.kinds[key].shape[1:], 'uint8' if key == 'image' else 'float32')
    return Steps(columns.where, count, like, read)


def _bools(values: np.ndarray, name: str, where: str, row: int) -> np.ndarray:
    """(n,) bools of numbers that are 0 or 1, or the bytes 0 and 255. Raises UserError, with the row, for others."""
    truth = values != 0
    wrong = np.flatnonzero(truth & (values != 1) & (values != 255))
    if len(wrong):
        raise UserError(f'{where}{name}: row {row + int(wrong[0])} is {values[wrong[0]]}; must be 0 or 1')
    return truth


# Flat transitions: OGBench, D4RL.


def flat(archive: Archive, wanted: Wanted) -> Steps:
    """Steps of an .npz file of `observations`, `actions`, `terminals` (N,) and perhaps `rewards`, as OGBench has them.

    An episode of T transitions has T + 1 rows, the last of which is marked in `terminals`; its
    action and its reward belong to no recorded transition and are left out. With an array
    `next_observations`, a row is a transition instead, and the last next observation of an
    episode becomes a step of its own. `terminals` alone says that an episode ends, not that the
    task terminates it: no step is terminal. With an array `timeouts` beside it (D4RL), an end
    in `terminals` is a termination, and one in `timeouts` is none; a file with terminations and
    without `next_observations` is refused, because it lacks their last steps. The last row of the file is
    an end, marked or not; if no row is marked, the file is one episode, and `Steps.unmarked` says
    so. Missing rewards are 0. Integer actions become one-hot. Continuous actions are taken as
    they are.
    """
    missing = [name for name in FLAT if name not in archive.kinds]
    if missing:
        given = ', '.join(sorted(archive.kinds))
        raise UserError(f'{archive.where}flat transitions have {", ".join(FLAT)}, which marks the last row of each '
                        f'episode; this file has {given}')  # fmt: skip
    axes = {name: letters for name, letters in (FLAT | FLAT_OPTIONAL).items() if name in archive.kinds}
    archive.check(axes)
    observed, following = (archive.kinds.get(name) for name in ('observations', 'next_observations'))
    if following and following.shape != observed.shape:
        raise UserError(f'{archive.where}next_observations: has {following}; observations have {observed}')
    rows = _FlatRows(archive, wanted)
    key = _observation(archive, 'observations')
    like = {key: _like(observed.shape[1:], key, wanted.side), 'action': ((rows.size,), 'float32')}
    return Steps(archive.where, rows.count, like, rows.read, unmarked=rows.unmarked)


class _FlatRows:
    """Flat transitions in our order. `behind` says that rows are transitions, so that a step follows each end."""

    def __init__(self, archive: Archive, wanted: Wanted):
        self.archive, self.wanted = archive, wanted
        self.behind = 'next_observations' in archive.kinds
        terminals = self._marks('terminals')
        timeouts = self._marks('timeouts') if 'timeouts' in archive.kinds else np.zeros_like(terminals)
        self.ends = terminals | timeouts
        is_marked = self.ends.any()
        self.unmarked = () if is_marked else tuple(name for name in ENDS if name in archive.kinds)
        self.ends[-1] = True
        self.starts = np.append(True, self.ends[:-1])
        if self.behind and not ('timeouts' in archive.kinds and is_marked):
            self._check_ends()
        self.terminal = terminals & ('timeouts' in archive.kinds)
        if self.terminal.any() and not self.behind:
            raise UserError(
                f'{archive.where}terminals: row {np.flatnonzero(terminals)[0]} is a termination, since there are '
                'timeouts too, but the observation that its action led to is missing; add an array next_observations'
            )
        self.size = _action_size(archive, 'actions', wanted, slice(None) if self.behind else ~self.ends)
        self.count = len(self.ends) + int(self.ends.sum()) * self.behind

    def _marks(self, name: str) -> np.ndarray:
        return _bools(self.archive.whole(name), name, self.archive.where, 0)

    def _check_ends(self) -> None:
        """Raise UserError where an episode goes on in another observation than the next one of its row."""
        row, wrong, before = 0, [], None
        # What is NaN shows no end.
        for piece, following in self.archive.pieces('observations', 'next_observations'):
            expected = np.concatenate([piece[:1] if before is None else before, following[:-1]])
            differs = ((piece != expected) & (piece == piece) & (expected == expected)).reshape(len(piece), -1).any(1)
            wrong += (row - 1 + np.flatnonzero(differs & ~self.starts[row : row + len(piece)])).tolist()
            row, before = row + len(piece), following[-1:]
        if wrong:
            raise UserError(
                f'{self.archive.where}next_observations: those of {len(wrong)} rows, the first of them row {wrong[0]}, '
                'are not the observations of the next row; if episodes end there, mark these rows in an array timeouts'
            )

    def read(self, key: str) -> Iterator[np.ndarray]:
        """As `Steps.read`."""
        if key == 'flags':
            yield self._flags()
        elif key == 'reward':
            yield single_precision(self._rewards())
        elif key == 'action':
            yield from self._actions()
        else:
            for values in self._observations():
                yield picture(values, self.wanted.side) if key == 'image' else single_precision(values)

    def _flags(self) -> np.ndarray:
        if not self.behind:
            return packed_flags(self.starts, self.ends, self.terminal)
        after = np.flatnonzero(self.ends) + 1
        never = np.zeros_like(self.ends)
        last, terminal = np.insert(never, after, True), np.insert(never, after, self.terminal[self.ends])
        return packed_flags(np.insert(self.starts, after, False), last, terminal)

    def _rewards(self) -> np.ndarray:
        given = np.zeros(len(self.ends))
        if 'rewards' in self.archive.kinds:
            given = self.archive.whole('rewards')
        if self.behind:
            return np.insert(given, np.flatnonzero(self.starts), 0)
        return np.where(self.starts, 0, np.roll(given, 1))

    def _actions(self) -> Iterator[np.ndarray]:
        row = 0
        for (piece,) in self.archive.pieces('actions'):
            ends = self.ends[row : row + len(piece)]
            if not self.behind:  # no action follows the last step of an episode, whatever stands there
                piece = np.where(ends.reshape(-1, *[1] * (piece.ndim - 1)), self.wanted.start, piece)
            values = _vectors(piece, self.size, self.wanted.start, self.archive.where, row)
            if self.behind:
                yield np.insert(values, np.flatnonzero(ends) + 1, 0, axis=0)
            else:
                yield np.where(ends[:, None], 0, values)
            row += len(piece)

    def _observations(self) -> Iterator[np.ndarray]:
        if not self.behind:
            yield from (piece for (piece,) in self.archive.pieces('observations'))
            return
        row = 0
        for piece, following in self.archive.pieces('observations', 'next_observations'):
            ends = np.flatnonzero(self.ends[row : row + len(piece)])
            yield np.insert(piece, ends + 1, following[ends], axis=0)
            row += len(piece)


# One file an episode: ExORL, V-D4RL.


def folder_of_episodes(path: Path, files: list[Path], wanted: Wanted) -> Steps:
    """Steps of a folder with an .npz file an episode, in the order of the files' names, as ExORL and V-D4RL have them.

    A file holds `observation` or `image` (T + 1, ...), `action` (T + 1, A), `reward` and perhaps
    `discount`, (T + 1,) or (T + 1, 1). The action of a row is the one that led to it, so that
    ours is that of the next row. The first row of a file is the first of its episode and the
    last the last. It is terminal if its `discount` is 0 or, in a file without one, if `is_terminal`
    says so; with neither no step is terminal.
    """
    episodes = [Archive(file) for file in files]
    first = episodes[0]
    observed = [name for name in ('observation', 'image') if name in first.kinds]
    if len(observed) != 1 or 'action' not in first.kinds or 'reward' not in first.kinds:
        given = ', '.join(sorted(first.kinds))
        raise UserError(f'{first.where}an episode has observation or image, and action, reward; this one has {given}')
    (name,) = observed
    count = 0
    for episode in episodes:
        lacking = [each for each in (name, 'action', 'reward') if each not in episode.kinds]
        if lacking:
            raise UserError(f'{episode.where}has no {lacking[0]}, which {files[0].name} has')
        count += episode.check({each: axes for each, axes in EPISODE.items() if each in episode.kinds})
        for each in ('reward', 'discount', 'is_terminal'):
            if each in episode.kinds and np.prod(episode.kinds[each].shape[1:]) != 1:
                raise UserError(f'{episode.where}{each}: has {episode.kinds[each]}; needed is one number a row')
        for each in (name, 'action'):
            if episode.kinds[each].shape[1:] != first.kinds[each].shape[1:]:
                raise UserError(f'{episode.where}{each}: has {episode.kinds[each]}; in {files[0].name} it has '
                                f'{first.kinds[each]}')  # fmt: skip
    key_of = _observation(first, name)
    size = max(_action_size(episode, 'action', wanted, slice(1, None)) for episode in episodes)

    def of_episode(episode: Archive, key: str) -> Iterator[np.ndarray]:
        steps = episode.kinds[name].shape[0]
        if key == 'flags':
            row = np.arange(steps)
            last = row == steps - 1
            yield packed_flags(row == 0, last, last & _ends(episode))
        elif key == 'reward':
            yield single_precision(episode.whole('reward').reshape(steps, -1)[:, 0])
        elif key == 'action':
            chosen = episode.whole('action')[1:]  # the first row has none, whatever stands there
            values = _vectors(chosen, size, wanted.start, episode.where, 1) if len(chosen) else np.zeros((0, size))
            yield np.append(values, np.zeros((1, size)), axis=0).astype(np.float32)
        else:
            for (piece,) in episode.pieces(name):
                yield picture(piece, wanted.side) if key == 'image' else single_precision(piece)

    def read(key: str) -> Iterator[np.ndarray]:
        for episode in episodes:
            yield from of_episode(episode, key)

    like = {key_of: _like(first.kinds[name].shape[1:], key_of, wanted.side), 'action': ((size,), 'float32')}
    return Steps(f'{path}: ', count, like, read, tuple(file.name for file in files))


def _ends(episode: Archive) -> bool:
    """Whether the last discount of an episode is 0, or it is terminal.

    Raises UserError for a discount that is no number, and for a termination before the end.
    """
    if not {'discount', 'is_terminal'} & episode.kinds.keys():
        return False
    if 'discount' not in episode.kinds:
        is_terminal = _bools(episode.whole('is_terminal').reshape(-1), 'is_terminal', episode.where, 0)
        if early := np.flatnonzero(is_terminal[:-1]).tolist():
            raise UserError(f'{episode.where}is_terminal: row {early[0]} is true, and is not the last one')
        return bool(is_terminal[-1])
    discount = episode.whole('discount').reshape(-1)
    is_inner = np.arange(len(discount)) < len(discount) - 1
    wrong = np.flatnonzero(~((discount >= 0) & (discount <= 1)) | ((discount == 0) & is_inner))
    if len(wrong):
        value = discount[wrong[0]]
        raise UserError(
            f'{episode.where}discount: row {wrong[0]} is {value:g}; must be from 0 to 1, and 0 at the end only'
        )
    return bool(discount[-1] == 0)


def _observation(columns: Columns, name: str) -> str:
    """Whether observations are an `image` or a `vector`.

    Raises UserError for pixels that are no image.
    """
    kind = columns.kinds[name]
    if is_picture(kind.shape[1:], kind.dtype):
        return 'image'
    if len(kind.shape) > 2:
        raise UserError(f'{columns.where}{name}: has {kind}; images are uint8 of N x H x W, N x H x W x 1 or x 3')
    return 'vector'


def _like(shape: tuple[int, ...], key: str, side: int) -> tuple[tuple[int, ...], str]:
    """Shape and type of one step of an observation, as in `Replay.create`."""
    if key == 'vector':
        return (int(np.prod(shape)),), 'float32'
    size = (side, side) if side else shape[:2]
    return (*size, 3), 'uint8'


def _are_indices(actions: Kind | np.ndarray, size: int) -> bool:
    """Whether actions are numbers of actions: one a row, and integers or, by what is known, of more than one action."""
    return bool(np.prod(actions.shape[1:]) == 1 and (actions.dtype.kind in 'biu' or size > 1))


def _action_size(columns: Columns, name: str, wanted: Wanted, chosen: slice | np.ndarray) -> int:
    """The number of actions if they are integers, else that of components, (N, A) or (N,).

    Only the rows `chosen` have an action, whatever stands in the others.
    """
    kind = columns.kinds[name]
    if not _are_indices(kind, wanted.actions):
        if kind.dtype.kind in 'biu':
            _check_one_hot(columns, name, chosen)
        return int(np.prod(kind.shape[1:]))
    if wanted.actions:
        return wanted.actions
    values = columns.whole(name)[chosen]
    highest = int(values.max()) if len(values) else 0
    if not 0 <= highest < MOST_ACTIONS:
        raise UserError(f'{columns.where}{name}: the highest is {highest}; must be from 0 to {MOST_ACTIONS - 1}')
    return highest + 1


def _check_one_hot(columns: Columns, name: str, chosen: slice | np.ndarray) -> None:
    """Raise UserError for integers of several components that are neither one-hot nor all zero.

    No agent here takes such actions. An episode may have a row of zeros where nothing is chosen.
    """
    values = columns.whole(name).reshape(columns.kinds[name].shape[0], -1)
    is_wrong = ~np.isin(values, (0, 1)).all(axis=1) | (values.sum(axis=1) > 1)
    wrong = np.arange(len(values))[chosen][is_wrong[chosen]]
    if len(wrong):
        row = values[wrong[0]].astype(int).tolist()
        raise UserError(f'{columns.where}{name}: row {wrong[0]} is {row}; integers must be one number of an action a '
                        'row or one-hot, and continuous actions must be floats')  # fmt: skip


def _vectors(actions: np.ndarray, size: int, start: int, where: str, row: int) -> np.ndarray:
    """(n, A) float32 actions of (n, A) or (n,) numbers, or of (n,) numbers of actions from `start` on."""
    if not _are_indices(actions, size):
        return single_precision(actions.reshape(len(actions), -1))
    return one_hot(actions.reshape(-1), size, f'{where}action: ', row, start)
