"""Datasets of Minari 0.5, read without that package: HDF5 files by h5py, Arrow and Parquet files by pyarrow.

An episode of Minari has T + 1 observations, and T actions, rewards, terminations and
truncations; it becomes T + 1 steps. The first has no reward, the last no action. The last step
is terminal if the last termination is true. It is the last whether or not Minari calls it
truncated. Spaces are those in `metadata.json`: a Dict, Tuple, Discrete, MultiDiscrete or
MultiBinary observation becomes one vector in the order of the suite `gym`, Discrete actions
become one-hot, and Box actions are brought from their bounds to [-1, 1]. Images that Minari
wrote as JPEG are decoded as they are.

One array of one episode is in memory at a time. Minari writes HDF5 in chunks, which cannot be
mapped; Arrow files are mapped.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paper_lib.contract.errors import UserError
from paper_lib.contract.pictures import IMAGES, is_picture
from paper_lib.data.replay import packed_flags
from paper_lib.data.steps import Steps, Wanted, one_hot, picture, single_precision

FORMATS = ('hdf5', 'arrow', 'parquet')
METADATA = 'metadata.json'
OURS = 'paper_lib'  # what `export` adds to it
LONGEST = 2**26  # bytes of metadata.json
MOST_VALUES = 10_000  # of a Discrete space, which becomes one-hot

# What h5py, pyarrow and PIL raise for files that are damaged or of another kind.
_DAMAGED = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError)


class Space(NamedTuple):
    """A space without spaces in it, and where it stands in the observation."""

    path: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    dtype: str
    sizes: tuple[int, ...] = ()  # of Discrete and MultiDiscrete: the number of values of each component
    starts: tuple[int, ...] = ()  # and the lowest of each
    low: np.ndarray | None = None  # of Box
    high: np.ndarray | None = None

    @property
    def pixels(self) -> bool:
        """Whether it is an image."""
        return self.kind == 'Box' and is_picture(self.shape, self.dtype)

    @property
    def size(self) -> int:
        """The length of the vector that a value becomes."""
        return sum(self.sizes) if self.sizes else int(np.prod(self.shape))

    def flat(self, values: np.ndarray, where: str) -> np.ndarray:
        """(n, size) float32 of n values."""
        values = values.reshape(len(values), -1)
        if not self.sizes:
            return single_precision(values)
        parts = []
        for column, (count, start) in enumerate(zip(self.sizes, self.starts)):
            parts.append(one_hot(values[:, column], count, where, 0, start))
        return np.concatenate(parts, axis=1)


def data_folder(path: Path) -> Path | None:
    """The folder with the data of a Minari dataset: `path` or its folder `data`; None if it is no such dataset."""
    for folder in (path, path / 'data'):
        if (folder / METADATA).is_file():
            return folder
    return None


def installed(dataset_id: str) -> Path:
    """Where Minari keeps a dataset of this id; nothing need be there."""
    root = os.environ.get('MINARI_DATASETS_PATH') or Path.home() / '.minari' / 'datasets'
    return Path(root) / dataset_id


def read(folder: Path, wanted: Wanted) -> Steps:
    """The steps of a Minari dataset. Raises UserError, one line, for what is missing or cannot be used."""
    where = f'{folder}: '
    metadata = metadata_of(folder / METADATA)
    observed = [*_leaves(_space(folder, metadata, 'observation_space'), where)]
    controls = [*_leaves(_space(folder, metadata, 'action_space'), where)]
    if len(controls) != 1 or controls[0].kind not in ('Box', 'Discrete') or not controls[0].size:
        raise UserError(f'{where}actions must be Discrete or a Box, to be learned from')
    (control,) = controls
    if not sum(space.size for space in observed):
        raise UserError(f'{where}observes nothing')
    images = [space for space in observed if space.pixels]
    parts = [space for space in observed if not space.pixels]
    for space in parts:
        if len(space.shape) > 2:
            name = '/'.join(space.path) or 'observations'
            raise UserError(f'{where}{name}: {np.dtype(space.dtype)} of shape {space.shape}; must be {IMAGES}')
    if len(images) > 1:
        raise UserError(f'{where}observes {len(images)} images; an agent takes one')
    episodes = _opened(folder, metadata)
    with reading(folder):
        lengths = [episodes.length(index) for index in range(episodes.count)]
    if not lengths:
        raise UserError(f'{where}holds no episodes')
    if min(lengths) < 1:
        raise UserError(f'{where}episode {int(np.argmin(lengths))} has no transition; remove it')

    def values(index: int, path: tuple[str, ...], space: Space, count: int) -> np.ndarray:
        found = episodes.array(index, path, space)
        name = f'{where}{"/".join(path)} of episode {index}'
        if len(found) < count or (len(found) > count and not episodes.pads):
            raise UserError(f'{name} has {len(found)} rows; needed are {count}')
        fits = np.prod(found.shape[1:]) == np.prod(space.shape)
        if space.pixels:  # whose axes may not change places; JPEG leaves out an axis of one colour
            fits = found.shape[1:3] == space.shape[:2] and fits
        if not fits:
            raise UserError(f'{name} has values of shape {found.shape[1:]}; its space has {space.shape}')
        return found[:count]

    def of_episode(index: int, steps: int, key: str) -> np.ndarray:
        if key == 'flags':
            row = np.arange(steps + 1)
            ends = {name: values(index, (name,), FLAG, steps) for name in ('terminations', 'truncations')}
            for name, marks in ends.items():
                if early := np.flatnonzero(marks[:-1]).tolist():
                    raise UserError(f'{where}{name} of episode {index}: true in row {early[0]}, before the last one')
            return packed_flags(row == 0, row == steps, (row == steps) & ends['terminations'][-1:].any())
        if key == 'reward':
            return np.append(np.float32(0), single_precision(values(index, ('rewards',), NUMBER, steps).reshape(-1)))
        if key == 'action':
            chosen = values(index, ('actions',), control, steps)
            actions = _actions(chosen, control, f'{where}actions of episode {index}: ')
            return np.append(actions, np.zeros((1, control.size), np.float32), axis=0)
        if key == 'place':
            return values(index, ('infos', 'place'), _place(metadata), steps + 1)
        if key == 'image':
            return picture(values(index, ('observations', *images[0].path), images[0], steps + 1), wanted.side)
        flat = []
        for space in parts:
            path = ('observations', *space.path)
            name = f'{where}{"/".join(path)} of episode {index}: '
            flat.append(space.flat(values(index, path, space, steps + 1), name))
        return np.concatenate(flat, axis=1)

    def pieces(key: str) -> Iterator[np.ndarray]:
        with reading(folder):
            for index, steps in enumerate(lengths):
                yield of_episode(index, steps, key)

    like = {'action': ((control.size,), 'float32')}
    if parts:
        like['vector'] = ((sum(space.size for space in parts),), 'float32')
    if place := _place(metadata):
        like['place'] = (place.shape, place.dtype)
    if images:
        size = (wanted.side, wanted.side) if wanted.side else images[0].shape[:2]
        like['image'] = ((*size, 3), 'uint8')
    task = _ours(metadata, 'spec', 'run', 'task')
    task = task if isinstance(task, str) else ''
    return Steps(where, sum(lengths) + len(lengths), like, pieces, task=task)


def _place(metadata: dict[str, Any]) -> Space | None:
    """The position that some runs of ours record beside images; no other dataset has one."""
    try:
        shape, dtype = _ours(metadata, 'like', 'place')
        return Space((), 'Box', tuple(shape), dtype)
    except (TypeError, ValueError):
        return None


def _ours(metadata: dict[str, Any], *path: str) -> Any:
    """What `export` wrote at this place of the metadata; '' if there is nothing."""
    value: Any = metadata.get(OURS)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value or ''


def _actions(values: np.ndarray, space: Space, where: str) -> np.ndarray:
    """(n, A) float32 actions as our agents choose them: one-hot, or scaled from their bounds to [-1, 1]."""
    if space.sizes:
        return space.flat(values, where)
    low, high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    values = values.reshape(len(values), -1)
    bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
    if (low[bounded] == -1).all() and (high[bounded] == 1).all():
        return single_precision(values)
    middle = np.where(bounded, (low + high) / 2, 0)
    half = np.where(bounded, (high - low) / 2, 1)
    return single_precision((values - middle) / half)


# metadata.json


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a dataset. Raises UserError if it cannot be read."""
    try:
        with open(path, 'rb') as file:
            value = json.loads(file.read(LONGEST))
    except (OSError, ValueError, RecursionError):
        raise UserError(f'{path}: cannot be read as the metadata of a Minari dataset') from None
    if not isinstance(value, dict) or value.get('data_format', 'hdf5') not in FORMATS:
        raise UserError(f'{path}: must have data_format {", ".join(FORMATS)}')
    return value


def _space(folder: Path, metadata: dict[str, Any], name: str) -> Any:
    try:
        return json.loads(metadata[name])
    except (KeyError, TypeError, ValueError, RecursionError):
        advice = 'load the dataset with Minari 0.5 and save it again with its spaces'
        raise UserError(f'{folder / METADATA}: has no {name}; {advice}') from None


def _leaves(space: Any, where: str, path: tuple[str, ...] = ()) -> Iterator[Space]:
    """The spaces inside Dict and Tuple spaces, in the order of the suite `gym`."""
    kind = space.get('type') if isinstance(space, dict) else None
    try:
        if kind == 'Dict':
            for key in sorted(space['subspaces']):
                yield from _leaves(space['subspaces'][key], where, (*path, key))
        elif kind == 'Tuple':
            for index, inner in enumerate(space['subspaces']):
                yield from _leaves(inner, where, (*path, f'_index_{index}'))
        else:
            leaf = _leaf(space, kind, path)
            if wrong := [count for count in leaf.sizes if not 1 <= count <= MOST_VALUES]:
                raise UserError(f'{where}a space of the kind {kind} has {wrong[0]} values; '
                                f'must be from 1 to {MOST_VALUES}')  # fmt: skip
            yield leaf
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        name = '/'.join(path) or 'a space'
        allowed = 'Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these, as Minari writes them'
        raise UserError(f'{where}{name} of the kind {kind} cannot be used; must be {allowed}') from None


def _leaf(space: dict[str, Any], kind: str | None, path: tuple[str, ...]) -> Space:
    if kind == 'Box':
        shape, dtype = tuple(space['shape']), np.dtype(space['dtype'])
        bounds = [np.broadcast_to(np.asarray(space[end], np.float64), shape) for end in ('low', 'high')]
        return Space(path, kind, shape, dtype.str, low=bounds[0], high=bounds[1])
    if kind == 'Discrete':
        return Space(path, kind, (), 'int64', (int(space['n']),), (int(space['start']),))
    if kind == 'MultiDiscrete':
        sizes = np.asarray(space['nvec'])
        starts = np.broadcast_to(space.get('start', 0), sizes.shape)
        return Space(path, kind, sizes.shape, 'int64', tuple(sizes.ravel().tolist()), tuple(starts.ravel().tolist()))
    if kind == 'MultiBinary':
        return Space(path, kind, tuple(np.atleast_1d(space['n']).tolist()), 'int8')
    raise TypeError


FLAG = Space((), 'Box', (), 'bool')
NUMBER = Space((), 'Box', (), 'float64')
UNNUMBERED = 'episodes must be numbered from 0, without a gap'


# Files.


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the libraries raise into one line that names the file or folder."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: needs the package {error.name}: pip install -e '.[datasets]'") from None
    except _DAMAGED as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise UserError(f'{path}: cannot be read as a Minari dataset ({reason})') from None


def _opened(folder: Path, metadata: dict[str, Any]) -> 'Hdf5 | Columnar':
    name = metadata.get('data_format', 'hdf5')
    with reading(folder):
        return Hdf5(folder) if name == 'hdf5' else Columnar(folder, name)


class Hdf5:
    """The episodes of `main_data.hdf5`: a group each, with a dataset for every array."""

    pads = False  # whether arrays may have more rows than they need

    def __init__(self, folder: Path):
        import h5py

        path = folder / 'main_data.hdf5'
        if not path.is_file():
            raise UserError(f'{path}: missing')
        self._file = h5py.File(path, 'r')
        self.count = len([name for name in self._file if name.startswith('episode_')])
        if not all(f'episode_{index}' in self._file for index in range(self.count)):
            raise UserError(f'{path}: {UNNUMBERED}')

    def length(self, index: int) -> int:
        """The number of transitions of an episode."""
        return self._file[f'episode_{index}/rewards'].shape[0]

    def array(self, index: int, path: tuple[str, ...], space: Space) -> np.ndarray:
        """The values of an array of an episode, (n, ...)."""
        dataset = self._file['/'.join((f'episode_{index}', *path))]
        values = dataset[()]
        if space.pixels and dataset.ndim != 1 + len(space.shape):
            return _decoded([bytes(each) for each in values])
        return values


class Columnar:
    """The episodes of Arrow or Parquet files: a folder each, whose table has a column for every array."""

    pads = True

    def __init__(self, folder: Path, extension: str):
        numbers = sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdecimal())
        self.count = len(numbers)
        if numbers != [*range(self.count)]:
            raise UserError(f'{folder}: {UNNUMBERED}')
        self._folder = folder
        self._extension = extension

    def _table(self, index: int, columns: list[str]) -> Any:
        import pyarrow
        import pyarrow.parquet

        tables = []
        for path in sorted((self._folder / str(index)).glob(f'*.{self._extension}')):
            if self._extension == 'arrow':
                table = pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all().select(columns)
            else:
                table = pyarrow.parquet.read_table(path, columns=columns)
            tables.append(table)
        if not tables:
            raise UserError(f'{self._folder / str(index)}: has no .{self._extension} file')
        return pyarrow.concat_tables(tables)

    def length(self, index: int) -> int:
        """The number of transitions of an episode; the table has one row more."""
        return self._table(index, ['rewards']).num_rows - 1

    def array(self, index: int, path: tuple[str, ...], space: Space) -> np.ndarray:
        """The values of an array of an episode, (n, ...)."""
        import pyarrow

        name, *inner = path
        column = self._table(index, [name]).column(name).combine_chunks()
        for key in inner:
            column = column.field(key.removeprefix('_index_'))
        if isinstance(column, pyarrow.BinaryArray):
            return _decoded(column.to_pylist())
        if isinstance(column, pyarrow.FixedSizeListArray):
            flat = column.flatten().to_numpy(zero_copy_only=False)
            return flat.reshape(len(column), *space.shape)
        return column.to_numpy(zero_copy_only=False)


def _decoded(frames: list[bytes]) -> np.ndarray:
    """Pictures of JPEG bytes."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(io.BytesIO(frame)), np.uint8) for frame in frames])
