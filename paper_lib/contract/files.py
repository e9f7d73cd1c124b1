"""Reads and writes files safely; every file of the package goes through here.

A file is written atomically: it is whole or absent. Most files hold a checksum of
themselves. JSON is read within limits of size, depth and shape. Every OSError becomes a
RunError that names the file, the cause and what to do.
"""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import SCHEMA

AGAIN = 'restore it, or delete the run directory to train the run again'
LONGEST = 2**20  # bytes of a JSON text
DEEPEST = 20  # levels of lists and objects within each other in a JSON text
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_SEAL = 64  # length of a sha256 in hexadecimal
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError)


@contextlib.contextmanager
def guard(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a RunError that names `path`, the cause and what to do."""
    try:
        yield
    except OSError as error:
        advice = 'remove the cause'
        if error.errno in _FULL:
            advice = 'free some space on this disk'
        elif error.errno in _DENIED:
            advice = 'make it writable or name another folder (PAPER_LIB_RUNS, PAPER_LIB_FIGURES)'
        raise RunError(f'{path}: {error.strerror or error}; {advice}, then run the same command again') from error


def sync_folder(path: Path) -> None:
    """Make renames and removals in a folder survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path`, whole and on the disk, if the block ends without an error."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')  # two processes may draw the same figure
    with guard(path):
        try:
            with open(temporary, 'w+b') as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, to be filled and renamed to it. At the end it is removed if it is still there.

    So are, at the beginning, those that killed processes left: a living one holds the lock of its folder.
    """
    begun = path.with_name(f'.{path.name}.{secrets.token_hex(8)}.new')  # nobody looks at it before it is locked
    temporary = begun.with_suffix('.tmp')
    with contextlib.ExitStack() as held:
        with guard(path):
            for left in path.parent.glob(f'.{glob.escape(path.name)}.*.tmp'):
                _remove_unlocked(left)
            begun.mkdir(parents=True)
            handle = os.open(begun, os.O_RDONLY)
            held.callback(os.close, handle)
            with contextlib.suppress(OSError):  # a file system without locks: nobody can lock it, and nobody removes it
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begun.rename(temporary)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_unlocked(folder: Path) -> None:
    """Remove a folder of `scratch` if it can be locked, so that no process uses it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


@contextlib.contextmanager
def reading(path: Path, advice: str = AGAIN) -> Iterator[BinaryIO]:
    """Yield a file opened for reading bytes.

    Raises RunError if it is missing or cannot be read.
    """
    try:
        with open(path, 'rb') as file:
            yield file
    except FileNotFoundError:
        raise RunError(f'{path}: missing; {advice}') from None
    except OSError as error:
        raise RunError(f'{path}: {error.strerror or error}; {advice}') from error


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with reading(path) as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def measure(path: Path) -> dict[str, Any]:
    """The 'size' in bytes and the 'sha256' of a file, as `check` expects them."""
    return {'size': path.stat().st_size, 'sha256': sha256(path)}


def check(path: Path, expected: dict[str, Any], advice: str = AGAIN) -> None:
    """Raise RunError unless the file has the size and the sha256 that `measure` returned."""
    with reading(path, advice) as file:
        size = file.seek(0, os.SEEK_END)
        if size != expected['size']:
            raise RunError(f'{path}: has {size} bytes, not {expected["size"]}; {advice}')
        file.seek(0)
        if hashlib.file_digest(file, 'sha256').hexdigest() != expected['sha256']:
            raise RunError(f'{path}: damaged (checksum); {advice}')


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as file:
        file.write(data)


# JSON. A shape describes a value that may be read:
#   a type                 a value of this type; True is no int
#   {'name': shape}        an object with at least these names
#   {str: shape}           an object with any names
#   [shape]                a list of any length
#   (shape, shape)         a list of this length

ANY: dict = {}  # the shape of any object


def _misfit(value: Any, shape: Any, name: str = 'value') -> str:
    """The name of the first part of a JSON value that does not have its shape; '' if there is none."""
    if isinstance(shape, type):
        fits = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        return '' if fits else name
    if not isinstance(value, dict if isinstance(shape, dict) else list):
        return name
    if isinstance(shape, tuple) and len(value) != len(shape):
        return name
    if isinstance(shape, tuple):
        parts = [(item, part, name) for item, part in zip(value, shape)]
    elif isinstance(shape, list):
        parts = [(item, shape[0], name) for item in value]
    elif str in shape:
        parts = [(item, shape[str], key) for key, item in value.items()]
    else:
        parts = [(value.get(key), part, key) for key, part in shape.items()]
    for item, part, key in parts:
        if misfit := _misfit(item, part, key):
            return misfit
    return ''


def _is_deep(value: Any) -> bool:
    """Whether a JSON value has more than DEEPEST levels."""
    level = [value]
    for _ in range(DEEPEST + 1):
        lists = [item for item in level if isinstance(item, list)]
        objects = [item for item in level if isinstance(item, dict)]
        level = [child for item in lists for child in item]
        level += [child for item in objects for child in item.values()]
    return bool(level)


def parse_json(path: Path, data: bytes, shape: Any = ANY, advice: str = AGAIN) -> Any:
    """The JSON value in `data`, a text from the file `path`.

    Raises RunError if it is too long, too deep or of another shape. It does not check that
    the value is the one that was written: `read_json` and `read_npz` do.
    """
    if len(data) > LONGEST:
        raise RunError(f'{path}: damaged (over {LONGEST} bytes of JSON); {advice}')
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise RunError(f'{path}: damaged; {advice}') from None
    if _is_deep(value):
        raise RunError(f'{path}: damaged (nested too deeply); {advice}')
    check_shape(path, value, shape, advice)
    return value


def check_shape(path: Path, value: Any, shape: Any, advice: str) -> None:
    """Raise RunError unless a JSON value from the file `path` has this shape."""
    if misfit := _misfit(value, shape):
        raise RunError(f'{path}: damaged ({misfit} is missing or of another type); {advice}')


def json_text(value: dict) -> str:
    """The one text of a JSON object: equal objects have equal texts."""
    return json.dumps(value, indent=1, sort_keys=True) + '\n'


def _sealed(value: dict) -> bytes:
    """The text of a JSON object with its own checksum."""
    checksum = hashlib.sha256(json_text(value).encode()).hexdigest()
    return json_text(value | {'sha256': checksum}).encode()


def write_json(path: Path, value: dict) -> None:
    """Write a JSON object with the schema number and its own checksum."""
    write_bytes(path, _sealed({'schema': SCHEMA} | value))


def read_start(path: Path, advice: str = AGAIN) -> bytes:
    """The bytes of a JSON file, cut off where `parse_json` refuses it as too long."""
    with reading(path, advice) as file:
        return file.read(LONGEST + 1)


def read_json(path: Path, shape: Any = ANY, advice: str = AGAIN) -> dict:
    """The object that `write_json` wrote, without its checksum.

    Raises RunError if the file is missing, has another schema or shape, or differs in any
    byte.
    """
    data = read_start(path, advice)
    value = parse_json(path, data, {'schema': int}, advice)
    check_schema(path, value['schema'])
    value.pop('sha256', None)
    if data != _sealed(value):
        raise RunError(f'{path}: damaged (checksum); {advice}')
    check_shape(path, value, shape, advice)
    return value


def check_schema(path: Path, schema: Any) -> None:
    """Raise RunError unless a file has the schema that this code reads."""
    if schema != SCHEMA:
        raise RunError(
            f'{path}: has schema {schema!r}, this code reads schema {SCHEMA}; '
            'use the version of the code that wrote it, or delete the run directory to train the run again'
        )


def _digest(file: BinaryIO) -> bytes:
    """Hexadecimal sha256 of an open file without its last 64 bytes, before which the file then stands."""
    digest = hashlib.sha256()
    left = file.seek(0, os.SEEK_END) - _SEAL
    file.seek(0)
    while chunk := file.read(max(0, min(left, 2**20))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()


def write_npz(path: Path, arrays: dict[str, Any], meta: dict | None = None) -> None:
    """Write arrays as an .npz, and `meta` as its member meta.json.

    Equal content gives equal bytes.

    The archive's comment is the sha256 of everything before it, because a zip's own
    checksums leave out its headers.
    """
    with replacing(path) as file:
        with zipfile.ZipFile(file, 'w') as archive:
            for name in sorted(arrays):
                array = np.asarray(arrays[name], order='C')
                undated = zipfile.ZipInfo(f'{name}.npy')
                with archive.open(undated, 'w', force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
            if meta is not None:
                archive.writestr(zipfile.ZipInfo('meta.json'), json.dumps(meta, sort_keys=True))
            archive.comment = b'0' * _SEAL
        file.flush()
        seal = _digest(file)
        file.seek(-_SEAL, os.SEEK_END)
        file.write(seal)


def read_npz(path: Path, shape: Any = ANY, advice: str = AGAIN) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, meta) that `write_npz` wrote; `shape` is that of `meta`.

    Raises RunError if the file is missing, differs in any byte, or its meta has another
    shape.
    """
    with reading(path, advice) as file:
        seal = _digest(file)
        if seal != file.read():
            raise RunError(f'{path}: damaged (checksum); {advice}')
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files if name != 'meta.json'}
                text = archive['meta.json'] if 'meta.json' in archive.files else b'{}'
        except _DAMAGED_ZIP:
            raise RunError(f'{path}: damaged; {advice}') from None
    return arrays, parse_json(path, text, shape, advice)


def read_meta(path: Path, shape: Any = ANY) -> dict:
    """The `meta` of an .npz without a check of its checksum; {} if it cannot be read (`read_npz` says why)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return parse_json(path, archive.read('meta.json'), shape)
    except (OSError, RunError, *_DAMAGED_ZIP):
        return {}


def reserve(path: Path, size: int) -> None:
    """Make a file of `size` bytes with all its space on the disk, and keep what it holds.

    If space were not reserved, a write through a memory map would end the process (SIGBUS)
    on a full disk.
    """
    with guard(path), open(path, 'ab') as file:
        if file.tell() > size:
            raise RunError(f'{path}: has {file.tell()} bytes, not {size}; {AGAIN}')
        if hasattr(os, 'posix_fallocate'):
            os.posix_fallocate(file.fileno(), 0, size)
        while file.tell() < size and not hasattr(os, 'posix_fallocate'):  # macOS
            file.write(bytes(min(2**20, size - file.tell())))
        file.flush()
        os.fsync(file.fileno())


def memory_map(path: Path, shape: tuple[int, ...], dtype: Any, writable: bool = False) -> np.memmap:
    """A file that holds one raw array.

    Raises RunError if it is missing or has another size.
    """
    expected_size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with reading(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size != expected_size:
            raise RunError(f'{path}: has {size} bytes, not {expected_size}; {AGAIN}')
    with guard(path):
        return np.memmap(path, dtype, 'r+' if writable else 'r', shape=shape)


class Prefix:
    """Checksums of the first rows of append-only arrays, which read every row once."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self.rows = 0
        self.crcs = dict.fromkeys(arrays, 0)

    def extend(self, rows: int) -> dict[str, int]:
        """Checksums of the first `rows` rows by name, and 'rows' itself.

        `rows` never shrinks.
        """
        assert rows >= self.rows, (rows, self.rows)
        for name, array in self.arrays.items():
            self.crcs[name] = zlib.crc32(array[self.rows : rows], self.crcs[name])
        self.rows = rows
        return {'rows': rows, **self.crcs}
