"""The file behind a page on which one click starts three agents: rollouts from many starts, in small numbers.

It is gzip of a line of JSON, then of the arrays that the line names, in the order of their names. `paper-lib starts`
writes it.
"""

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.study import paths


class Starts(NamedTuple):
    """A file that was read: what its line says, and the whole content as it is on disk."""

    header: dict[str, Any]
    content: bytes


def path(task: str, scale: str) -> Path:
    """The file of a task."""
    return paths.archive(scale) / f'starts_{task}.gz'


def there(scale: str) -> list[str]:
    """The tasks that have a file at this scale."""
    files = sorted(paths.archive(scale).glob(path('*', scale).name))
    return [file.stem.removeprefix('starts_') for file in files]


def pack(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The content of a file. The line says the type and the shape of every array besides the entries of `header`."""
    ordered = sorted(arrays.items())
    described = {name: [array.dtype.name, list(array.shape)] for name, array in ordered}
    line = json.dumps(header | {'arrays': described}, sort_keys=True)
    body = b''.join(np.ascontiguousarray(array).tobytes() for _, array in ordered)
    return gzip.compress(f'{line}\n'.encode() + body, mtime=0)


def load(task: str, scale: str) -> Starts:
    """The file of a task. Raises RunError for one that is damaged."""
    file = path(task, scale)
    content = file.read_bytes()
    try:
        line = gzip.decompress(content).partition(b'\n')[0]
        return Starts(json.loads(line), content)
    except (OSError, EOFError, ValueError) as error:
        raise RunError(f'{file}: damaged ({error}); restore it, or write it again with `paper-lib starts`') from None
