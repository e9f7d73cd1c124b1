"""Recordings that no run of ours made, kept in the run store: `<root>/datasets/<id>/` with the layout of a replay.

A dataset is added from arrays of whole episodes, one after the other:

    `vector` (N, D) float32 or `image` (N, H, W, C) uint8, `action` (N, A) float32, `reward` (N,) float32,
    `is_first`, `is_last`, `is_terminal` (N,) bool

A step is an observation, the reward received on arriving at it, its flags, and the action chosen after
it (ignored where is_last).
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np

from paper_lib.contract import files
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.replay import Replay

KEYS = ('action', 'reward', 'is_first', 'is_last', 'is_terminal')
AGAIN = 'restore it, or delete this folder and add the dataset again'


class Recording:
    """A dataset in the store, to read."""

    def __init__(self, path: Path, dataset: Dataset):
        self.path, self.dataset = path, dataset
        self.sealed = path / 'dataset.json'

    def replay(self) -> Replay:
        """Its steps, read-only. RunError if they are not those that were added."""
        replay = Replay.open(self.path / 'replay')
        if (replay.rows, replay.envs, content_hash(replay)) != (
            self.dataset.rows,
            self.dataset.envs,
            self.dataset.sha256,
        ):
            raise RunError(f'{self.path}: damaged (checksum); {AGAIN}')
        return replay


def content_hash(replay: Replay) -> str:
    """sha256 over names, shapes, types and bytes of all arrays."""
    digest = hashlib.sha256()
    for key in sorted(replay.arrays):
        array = np.ascontiguousarray(replay.arrays[key])
        digest.update(f'{key} {array.dtype.str} {array.shape}'.encode())
        digest.update(array)
    return digest.hexdigest()


def folder(root: Path) -> Path:
    """Where a run store keeps its datasets."""
    return root / 'datasets'


def find(root: Path, dataset: Dataset) -> Recording:
    """A dataset that was added to the store. RunError if it was not."""
    path = folder(root) / dataset.dataset_id
    if not (path / 'dataset.json').exists():
        raise RunError(f'{path}: this dataset does not exist; add it first')
    return Recording(path, dataset)


def add(root: Path, name: str, task: str, steps: dict[str, np.ndarray]) -> Dataset:
    """Add a dataset of the task to a run store; one that is there already is left as it is.

    Raises UserError, one line, for arrays that are not whole episodes.
    """
    check(steps)
    Dataset(name, task, rows=1, envs=1, sha256='0' * 64)  # a wrong name or task shows before anything is written
    count = len(steps['reward'])
    observation = 'image' if 'image' in steps else 'vector'
    like = {key: (steps[key].shape[1:], dtype) for key, dtype in
            ((observation, 'uint8' if observation == 'image' else 'float32'), ('action', 'float32'))}  # fmt: skip
    temporary = folder(root) / f'.{name}.tmp'
    shutil.rmtree(temporary, ignore_errors=True)
    replay = Replay.create(temporary / 'replay', like, rows=count, envs=1)
    action = np.where(steps['is_last'][:, None], np.float32(0), steps['action'])
    for row in range(count):
        step = {key: steps[key][row, None] for key in (observation, 'reward', 'is_first', 'is_last', 'is_terminal')}
        replay.write(row, step | {'action': action[row, None]})
    replay.flush()
    dataset = Dataset(name, task, rows=count, envs=1, sha256=content_hash(replay))
    files.write_json(temporary / 'dataset.json', {'dataset': dataset.dataset_id, 'task': task})
    path = folder(root) / dataset.dataset_id
    if path.exists():
        shutil.rmtree(temporary)
    else:
        with files.guard(path):
            temporary.rename(path)
    return dataset


def check(steps: dict[str, np.ndarray]) -> None:
    """Raise UserError unless these are the steps of whole episodes, all finite."""
    missing = [key for key in KEYS if key not in steps]
    if missing or ('image' in steps) == ('vector' in steps):
        raise UserError(
            f'a dataset has image or vector, and {", ".join(KEYS)}; this one has {", ".join(sorted(steps))}'
        )
    count = len(steps['reward'])
    for key, array in steps.items():
        if array.dtype == object or len(array) != count:
            raise UserError(
                f'{key}: has shape {array.shape} and type {array.dtype}; {count} numbers or arrays are needed'
            )
        if array.dtype.kind == 'f' and not np.isfinite(array).all():
            raise UserError(f'{key}: row {int(np.argwhere(~np.isfinite(array))[0][0])} is not finite')
    first, last, terminal = (np.asarray(steps[key], bool) for key in ('is_first', 'is_last', 'is_terminal'))
    if not count or not first[0] or not last[-1]:
        raise UserError('a dataset begins with is_first and ends with is_last')
    if (first[1:] != last[:-1]).any():
        row = int(np.flatnonzero(first[1:] != last[:-1])[0]) + 1
        raise UserError(f'is_first: row {row} must be true exactly where row {row - 1} is_last')
    if (terminal & ~last).any():
        raise UserError(f'is_terminal: row {int(np.flatnonzero(terminal & ~last)[0])} is not the last of its episode')
