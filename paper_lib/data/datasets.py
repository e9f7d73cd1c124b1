"""Datasets in the run store: `<root>/datasets/<id>/replay` holds the steps as a replay.

A dataset is added from arrays of N steps, which are whole episodes, one after the other:

    vector   (N, D) float32, image   (N, H, W, C) uint8, or both
    action   (N, A) float32
    reward   (N,) float32
    is_first, is_last, is_terminal   (N,) bool

A step holds an observation, the reward received on arriving at it, its flags, and the
action chosen after it. The action of a last step is ignored, and so are arrays of other names.
The maze seen as pictures takes no dataset, because its runs record a `place` too.
"""

import hashlib
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np

from paper_lib.contract import files
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.replay import FIRST, LAST, TERMINAL, Replay

FLAGS = ('is_first', 'is_last', 'is_terminal')
KEYS = ('action', 'reward', *FLAGS)
SHAPES = {'image': 'NHWC', 'vector': 'ND', 'action': 'NA', 'reward': 'N'} | dict.fromkeys(FLAGS, 'N')
AGAIN = 'restore it, or delete this folder and add the dataset again'


class Recording:
    """The files of a dataset in the store.

    `sealed` is a file whose hash stands for all others.
    """

    def __init__(self, path: Path, dataset: Dataset):
        self.path = path
        self.dataset = dataset
        self.sealed = path / 'dataset.json'

    def replay(self) -> Replay:
        """The steps, read-only. Raises RunError if they are not those that were added."""
        replay = Replay.open(self.path / 'replay')
        same_size = (replay.rows, replay.envs) == (self.dataset.rows, self.dataset.envs)
        if not same_size or content_hash(replay.arrays) != self.dataset.sha256:
            raise RunError(f'{self.path}: damaged (checksum); {AGAIN}')
        return replay


def content_hash(arrays: dict[str, np.ndarray]) -> str:
    """sha256 of the names, shapes, types and bytes of all arrays."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f'{key} {array.dtype.str} {array.shape}'.encode())
        digest.update(array)
    return digest.hexdigest()


def folder(root: Path) -> Path:
    """The folder of a run store's datasets."""
    return root / 'datasets'


def find(root: Path, dataset: Dataset) -> Recording:
    """A dataset of the store. Raises RunError if it was not added."""
    path = folder(root) / dataset.dataset_id
    if not (path / 'dataset.json').exists():
        raise RunError(f'{path}: this dataset does not exist; add it, or name its file with --dataset')
    return Recording(path, dataset)


def describe(name: str, task: str, steps: dict[str, np.ndarray]) -> Dataset:
    """The dataset of these steps; nothing is written.

    Raises UserError, one line, for a wrong name or task, and for arrays that are not whole
    episodes.
    """
    check(steps)
    arrays = _packed(steps)
    return Dataset(name, task, rows=len(arrays['reward']), envs=1, sha256=content_hash(arrays))


def add(root: Path, name: str, task: str, steps: dict[str, np.ndarray]) -> Dataset:
    """Add the steps of a task to a run store as a dataset. Raises UserError as `describe` does.

    A dataset that is there already stays as it is.
    """
    dataset = describe(name, task, steps)
    path = folder(root) / dataset.dataset_id
    if (path / 'dataset.json').exists():
        return dataset
    arrays = _packed(steps)
    temporary = folder(root) / f'.{dataset.dataset_id}.{os.getpid()}.tmp'
    shutil.rmtree(temporary, ignore_errors=True)
    like = {key: (array.shape[2:], array.dtype) for key, array in arrays.items() if key not in ('reward', 'flags')}
    replay = Replay.create(temporary / 'replay', like, rows=dataset.rows, envs=1)
    for key, array in arrays.items():
        replay.arrays[key][:] = array
    replay.flush()
    files.write_json(temporary / 'dataset.json', {'dataset': dataset.dataset_id, 'task': task})
    with files.guard(path):
        shutil.rmtree(path, ignore_errors=True)  # without dataset.json it is what a killed process left
        temporary.rename(path)
    return dataset


def read(path: Path) -> dict[str, np.ndarray]:
    """The steps in an .npz file. Raises UserError if it cannot be read; pickled objects are never loaded."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if key in SHAPES}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, zlib.error, AttributeError, TypeError) as error:
        raise UserError(f'{path}: cannot be read as an .npz file of plain arrays ({error})') from None


def _packed(steps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a replay of one environment, (N, 1, ...) each, that holds these steps."""
    first, last, terminal = (np.asarray(steps[key], bool).astype(np.uint8) for key in FLAGS)
    arrays = {
        'action': np.where(np.asarray(last, bool)[:, None], 0, steps['action']).astype(np.float32),
        'reward': np.asarray(steps['reward'], np.float32),
        'flags': first * FIRST + last * LAST + terminal * TERMINAL,
    }
    if 'image' in steps:
        arrays['image'] = np.asarray(steps['image'], np.uint8)
    if 'vector' in steps:
        arrays['vector'] = np.asarray(steps['vector'], np.float32)
    return {key: array[:, None] for key, array in arrays.items()}


def check(steps: dict[str, np.ndarray]) -> None:
    """Raise UserError, one line, unless these are the steps of whole episodes, all finite."""
    missing = [key for key in KEYS if key not in steps]
    if missing or not ('image' in steps or 'vector' in steps):
        given = ', '.join(sorted(steps))
        raise UserError(f'a dataset has image, vector or both, and {", ".join(KEYS)}; this one has {given}')
    for key, array in steps.items():
        _check_kind(key, array)
    count = len(steps['reward'])
    for key, array in steps.items():
        _check_array(key, array, count)
    _check_episodes(*(np.asarray(steps[key], bool) for key in FLAGS))


def _check_kind(key: str, array: np.ndarray) -> None:
    """Raise UserError unless an array has the axes that it needs and holds numbers, those of an image as uint8."""
    if key not in SHAPES:  # it is not kept
        return
    axes = SHAPES[key]
    right_type = array.dtype == np.uint8 if key == 'image' else array.dtype.kind in 'biuf'
    if array.ndim != len(axes) or not right_type:
        kind = 'uint8 from 0 to 255' if key == 'image' else 'numbers'
        given = f'shape {array.shape} and type {array.dtype}'
        raise UserError(f'{key}: has {given}; needed are axes {", ".join(axes)} and {kind}')


def _check_array(key: str, array: np.ndarray, count: int) -> None:
    """Raise UserError unless an array has `count` rows of finite numbers."""
    if array.dtype == object or array.shape[:1] != (count,):
        given = f'shape {array.shape} and type {array.dtype}'
        raise UserError(f'{key}: has {given}; {count} numbers or arrays are needed')
    if array.dtype.kind != 'f':
        return
    with np.errstate(over='ignore'):
        finite = np.isfinite(array.astype(np.float32))
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise UserError(f'{key}: row {row} is not finite, or too large for float32')


def _check_episodes(first: np.ndarray, last: np.ndarray, terminal: np.ndarray) -> None:
    """Raise UserError unless (N,) flags are those of whole episodes."""
    if not len(first) or not first[0] or not last[-1]:
        raise UserError('a dataset begins with is_first and ends with is_last')
    torn = np.flatnonzero(first[1:] != last[:-1])
    if len(torn):
        row = int(torn[0])
        raise UserError(f'is_first: row {row + 1} must be true exactly where row {row} is_last')
    early = np.flatnonzero(terminal & ~last)
    if len(early):
        raise UserError(f'is_terminal: row {int(early[0])} is not the last of its episode')
