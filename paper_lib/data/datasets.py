"""Datasets in the run store: `<root>/datasets/<id>/replay` holds the steps as a replay.

A dataset is added from arrays of N steps, which are whole episodes, one after the other:

    vector   (N, D) float32        or    image   (N, H, W, C) uint8
    action   (N, A) float32
    reward   (N,) float32
    is_first, is_last, is_terminal   (N,) bool

A step holds an observation, the reward received on arriving at it, its flags, and the
action chosen after it. The action of a last step is ignored.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np

from paper_lib.contract import files
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.replay import Replay

FLAGS = ('is_first', 'is_last', 'is_terminal')
KEYS = ('action', 'reward', *FLAGS)
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
        if not same_size or content_hash(replay) != self.dataset.sha256:
            raise RunError(f'{self.path}: damaged (checksum); {AGAIN}')
        return replay


def content_hash(replay: Replay) -> str:
    """sha256 of the names, shapes, types and bytes of all arrays."""
    digest = hashlib.sha256()
    for key in sorted(replay.arrays):
        array = np.ascontiguousarray(replay.arrays[key])
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
        raise RunError(f'{path}: this dataset does not exist; add it with paper_lib.data.datasets.add')
    return Recording(path, dataset)


def add(root: Path, name: str, task: str, steps: dict[str, np.ndarray]) -> Dataset:
    """Add the steps of a task to a run store as a dataset.

    A dataset that is there already stays as it is.

    Raises UserError, one line, for a wrong name or task, and for arrays that are not whole
    episodes.
    """
    check(steps)
    Dataset(name, task, rows=1, envs=1, sha256='0' * 64)  # raises for a wrong name or task
    temporary = folder(root) / f'.{name}.tmp'
    shutil.rmtree(temporary, ignore_errors=True)
    replay = _write(temporary / 'replay', steps)
    dataset = Dataset(name, task, rows=replay.rows, envs=replay.envs, sha256=content_hash(replay))
    files.write_json(temporary / 'dataset.json', {'dataset': dataset.dataset_id, 'task': task})
    path = folder(root) / dataset.dataset_id
    if path.exists():
        shutil.rmtree(temporary)
    else:
        with files.guard(path):
            temporary.rename(path)
    return dataset


def _write(path: Path, steps: dict[str, np.ndarray]) -> Replay:
    """A replay of one environment that holds these steps."""
    observation, dtype = ('image', 'uint8') if 'image' in steps else ('vector', 'float32')
    like = {
        observation: (steps[observation].shape[1:], dtype),
        'action': (steps['action'].shape[1:], 'float32'),
    }
    count = len(steps['reward'])
    replay = Replay.create(path, like, rows=count, envs=1)
    action = np.where(steps['is_last'][:, None], np.float32(0), steps['action'])
    for row in range(count):
        step = {key: steps[key][row, None] for key in (observation, 'reward', *FLAGS)}
        replay.write(row, step | {'action': action[row, None]})
    replay.flush()
    return replay


def check(steps: dict[str, np.ndarray]) -> None:
    """Raise UserError, one line, unless these are the steps of whole episodes, all finite."""
    missing = [key for key in KEYS if key not in steps]
    if missing or ('image' in steps) == ('vector' in steps):
        given = ', '.join(sorted(steps))
        raise UserError(f'a dataset has image or vector, and {", ".join(KEYS)}; this one has {given}')
    count = len(steps['reward'])
    for key, array in steps.items():
        _check_array(key, array, count)
    _check_episodes(*(np.asarray(steps[key], bool) for key in FLAGS))


def _check_array(key: str, array: np.ndarray, count: int) -> None:
    """Raise UserError unless an array has `count` rows of finite numbers."""
    if array.dtype == object or len(array) != count:
        given = f'shape {array.shape} and type {array.dtype}'
        raise UserError(f'{key}: has {given}; {count} numbers or arrays are needed')
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise UserError(f'{key}: row {row} is not finite')


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
