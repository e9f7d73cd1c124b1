"""Datasets in the run store: `<root>/datasets/<id>/replay` holds the steps as a replay.

A dataset is added from a file or folder in one of the formats of `formats`, or from arrays of N
steps, which are whole episodes, one after the other. An .npz file may hold these arrays too:

    vector   (N, D) float32, image   (N, H, W, C) uint8, or both
    action   (N, A) float32
    reward   (N,) float32
    is_first, is_last, is_terminal   (N,) bool

A step holds an observation, the reward received on arriving at it, its flags, and the
action chosen after it. The action of a last step is ignored, and so are arrays of other names.
The maze seen as pictures takes no such arrays, because its runs record a `place` too; what
`export` wrote of such a run it takes.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from paper_lib.contract import files
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data import formats
from paper_lib.data.columns import Arrays
from paper_lib.data.replay import FIRST, LAST, TERMINAL, Replay
from paper_lib.data.steps import Steps

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
        replay = Replay(self.path / 'replay')
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


def describe(name: str, task: str, steps: Steps | dict[str, Any]) -> Dataset:
    """The dataset of these steps, which are read once; nothing is written.

    Raises UserError, one line, for a wrong name or task, and unless the steps are those of
    whole episodes, all finite.
    """
    steps = formats.ours(Arrays(steps)) if isinstance(steps, dict) else steps
    digest = hashlib.sha256()
    for key in sorted(steps.layout):
        shape, dtype = steps.layout[key]
        digest.update(f'{key} {np.dtype(dtype).str} {(steps.rows, 1, *shape)}'.encode())
        row = 0
        for piece in steps.read(key):
            digest.update(np.ascontiguousarray(piece))
            _check_finite(steps.where, key, piece, row)
            row += len(piece)
        if row != steps.rows:
            raise UserError(f'{steps.where}{key}: has {row} rows; {steps.rows} are needed')
    _check_episodes(steps.where, steps.whole('flags'))
    return Dataset(name, task, rows=steps.rows, envs=1, sha256=digest.hexdigest())


def add(root: Path, name: str, task: str, steps: Steps | dict[str, Any]) -> Dataset:
    """Add the steps of a task to a run store as a dataset. Raises UserError as `describe` does.

    A dataset that is there already stays as it is.
    """
    steps = formats.ours(Arrays(steps)) if isinstance(steps, dict) else steps
    dataset = describe(name, task, steps)
    path = folder(root) / dataset.dataset_id
    if (path / 'dataset.json').exists():
        return dataset
    with files.scratch(path) as temporary:
        replay = Replay.create(temporary / 'replay', steps.like, rows=dataset.rows, envs=1)
        for key, array in replay.arrays.items():
            row = 0
            for piece in steps.read(key):
                array[row : row + len(piece), 0] = piece
                row += len(piece)
        replay.flush()
        files.write_json(temporary / 'dataset.json', {'dataset': dataset.dataset_id, 'task': task})
        with files.guard(path):
            if not (path / 'dataset.json').exists():  # else another process has added it meanwhile
                shutil.rmtree(path, ignore_errors=True)  # what a killed process left
                temporary.rename(path)
    return dataset


def _check_finite(where: str, key: str, piece: np.ndarray, row: int) -> None:
    """Raise UserError unless all values of the steps from `row` on are finite."""
    if piece.dtype.kind != 'f':
        return
    finite = np.isfinite(piece).reshape(len(piece), -1).all(1)
    if not finite.all():
        row += int(finite.argmin())
        raise UserError(f'{where}{key}: row {row} is not finite, or too large for float32')


def _check_episodes(where: str, flags: np.ndarray) -> None:
    """Raise UserError unless (N,) flags are those of whole episodes."""
    first, last, terminal = ((flags & bit) > 0 for bit in (FIRST, LAST, TERMINAL))
    if not first[0] or not last[-1]:
        raise UserError(f'{where}a dataset begins with is_first and ends with is_last')
    torn = np.flatnonzero(first[1:] != last[:-1])
    if len(torn):
        row = int(torn[0])
        raise UserError(f'{where}is_first: row {row + 1} must be true exactly where row {row} is_last')
    early = np.flatnonzero(terminal & ~last)
    if len(early):
        raise UserError(f'{where}is_terminal: row {int(early[0])} is not the last of its episode')
