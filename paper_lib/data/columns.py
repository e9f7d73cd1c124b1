"""Named arrays that are read side by side in pieces: those of a dict, and those of an .npz file.

An .npz file is read so whether its arrays are compressed or not, and its checksums are
compared on the way; so it may be larger than memory. Only an array in Fortran order is read
as a whole. Arrays of Python objects are refused, because they would have to be unpickled.
"""

import contextlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from paper_lib.contract.errors import UserError
from paper_lib.data.steps import piece_rows

_DAMAGED = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Kind(NamedTuple):
    """What is known of an array before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool = False

    def __str__(self) -> str:
        return f'shape {self.shape} and type {self.dtype}'


class Columns:
    """Arrays by name; `kinds` says what they are, and `where` stands before each message about them."""

    kinds: dict[str, Kind]
    where = ''

    def check(self, axes: dict[str, str]) -> int:
        """The common length of the arrays named in `axes`, which holds a letter for each axis, e.g. `ND`.

        Alternatives are separated by `|`. Images have the axes H and W, and are uint8. Raises
        UserError, one line, for another kind of array.
        """
        count = None
        for name, letters in axes.items():
            kind = self.kinds[name]
            lengths = {len(each): each for each in letters.split('|')}
            pixels = 'H' in lengths.get(len(kind.shape), letters)
            right_type = kind.dtype == np.uint8 if pixels else kind.dtype.kind in 'biuf'
            if len(kind.shape) not in lengths or not right_type:
                wanted = ' or '.join(f'axes {", ".join(each)}' for each in letters.split('|'))
                numbers = 'uint8 from 0 to 255' if pixels else 'numbers'
                never = '; Python objects are never unpickled' if kind.dtype.kind == 'O' else ''
                raise UserError(f'{self.where}{name}: has {kind}; needed are {wanted} and {numbers}{never}')
            if 0 in kind.shape[1:]:
                raise UserError(f'{self.where}{name}: has {kind}; no axis may be empty')
            count = kind.shape[0] if count is None else count
            if kind.shape[0] != count:
                raise UserError(f'{self.where}{name}: has {kind}; {count} numbers or arrays are needed')
        if not count:
            raise UserError(f'{self.where}holds no steps')
        return count

    def pieces(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Consecutive rows of several arrays of one length, side by side."""
        kinds = [self.kinds[name] for name in names]
        size = piece_rows(*((kind.shape[1:], kind.dtype) for kind in kinds))
        count = kinds[0].shape[0]
        with self.opened(names) as read:
            for first in range(0, count, size):
                yield read(first, min(count, first + size))

    @contextlib.contextmanager
    def opened(self, names: tuple[str, ...]) -> Iterator[Any]:
        """Yields a function that returns rows first..last - 1 of these arrays.

        It is called for one piece after another.
        """
        raise NotImplementedError

    def whole(self, name: str) -> np.ndarray:
        """An array that has few bytes a step, at once."""
        return np.concatenate([piece for (piece,) in self.pieces(name)])


class Arrays(Columns):
    """The arrays of a dict."""

    def __init__(self, arrays: dict[str, Any]):
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self.kinds = {name: Kind(array.shape, array.dtype) for name, array in self.arrays.items()}

    @contextlib.contextmanager
    def opened(self, names: tuple[str, ...]) -> Iterator[Any]:
        yield lambda first, last: tuple(self.arrays[name][first:last] for name in names)


class Archive(Columns):
    """The arrays of an .npz file. Raises UserError, one line, for what cannot be read."""

    def __init__(self, path: Path):
        self.path = path
        self.where = f'{path}: '
        self.kinds = {}
        with self._reading(), zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith('.npy'):
                    with archive.open(member) as file:
                        self.kinds[member.removesuffix('.npy')] = _header(file)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise UserError(f'{self.path}: cannot be read as an .npz file of plain arrays ({reason})') from None

    @contextlib.contextmanager
    def opened(self, names: tuple[str, ...]) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._reading())
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            members = []
            for name in names:
                file = stack.enter_context(archive.open(f'{name}.npy'))
                members.append((file, _header(file)))
            whole = {file: _whole(file, kind) for file, kind in members if kind.fortran_order}

            def read(first: int, last: int) -> tuple[np.ndarray, ...]:
                found = []
                for file, kind in members:
                    found.append(whole[file][first:last] if file in whole else _rows(file, kind, last - first))
                return tuple(found)

            yield read
            for file, _ in members:
                if file.read(1):  # at the end of an array its checksum is compared
                    raise ValueError('an array is longer than its header says')


def _header(file: BinaryIO) -> Kind:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read(file)
    except (tokenize.TokenError, TypeError):  # as numpy raises for some damaged headers
        raise ValueError('an array has a damaged header') from None
    return Kind(shape, dtype, fortran_order and len(shape) > 1)


def _rows(file: BinaryIO, kind: Kind, count: int) -> np.ndarray:
    """The next `count` rows of an array."""
    shape = (count, *kind.shape[1:])
    size = int(np.prod(shape)) * kind.dtype.itemsize
    data = file.read(size)
    if len(data) != size:
        raise ValueError('an array is cut off')
    return np.frombuffer(data, kind.dtype).reshape(shape)


def _whole(file: BinaryIO, kind: Kind) -> np.ndarray:
    """An array in Fortran order."""
    return np.frombuffer(file.read(), kind.dtype).reshape(kind.shape, order='F')
