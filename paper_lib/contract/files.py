"""The package's one place for files: they are whole or absent, sealed where they matter, and read with suspicion.

A write is atomic. JSON is read within limits of size, depth and shape. Every OSError becomes a RunError that names
the file, the cause and what to do.
"""

import contextlib
import errno
import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import SCHEMA

AGAIN = 'restore it, or delete the run directory to train the run again'
LONGEST = 2**20  # bytes of a JSON text
DEEPEST = 20  # levels of lists and objects within each other in a JSON text
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_SEAL = 64  # length of a sha256 in hexadecimal
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError)  # of a damaged zip


@contextlib.contextmanager
def guard(path: Path):
    """Turn an OSError inside the block into one line that names `path`, the cause and what to do."""
    try:
        yield
    except OSError as error:
        advice = 'remove the cause'
        if error.errno in _FULL:
            advice = 'free some space on this disk'
        elif error.errno in _DENIED:
            advice = 'make it writable or name another folder (PAPER_LIB_RUNS, PAPER_LIB_FIGURES)'
        raise RunError(f'{path}: {error.strerror or error}; {advice}, then run the same command again') from error


def sync_folder(path: Path):
    """Make renames and removals in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(path: Path):
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
def reading(path: Path, advice: str = AGAIN):
    """Yield a file opened for reading bytes; RunError if there is none or it cannot be read."""
    try:
        with open(path, 'rb') as file:
            yield file
    except FileNotFoundError:
        raise RunError(f'{path}: missing; {advice}') from None
    except OSError as error:
        raise RunError(f'{path}: {error.strerror or error}; {advice}') from error


def sha256(path: Path) -> str:
    with reading(path) as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def measure(path: Path) -> dict:
    """Size in bytes and sha256 of a file, as `check` expects them."""
    return {'size': path.stat().st_size, 'sha256': sha256(path)}


def check(path: Path, expected: dict, advice: str = AGAIN):
    """RunError unless the file has the size and the sha256 that `measure` found."""
    with reading(path, advice) as file:
        size = file.seek(0, os.SEEK_END)
        if size != expected['size']:
            raise RunError(f'{path}: has {size} bytes, not {expected["size"]}; {advice}')
        file.seek(0)
        if hashlib.file_digest(file, 'sha256').hexdigest() != expected['sha256']:
            raise RunError(f'{path}: damaged (checksum); {advice}')


def write_bytes(path: Path, data: bytes):
    with replacing(path) as file:
        file.write(data)


# JSON. A shape is a type; {str: shape}, an object of any names; {'name': shape}, an object with at least these names;
# [shape], a list of any length; or (shape, shape), a list of this length. `True` is no int.

ANY: dict = {}  # the shape of any object


def _misfit(value, shape, name='value') -> str:
    """The first part of a JSON value that has not its shape, by name; '' if all has."""
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
    for part in parts:
        if found := _misfit(*part):
            return found
    return ''


def _is_deep(value) -> bool:
    """Whether a JSON value has more than DEEPEST levels."""
    level = [value]
    for _ in range(DEEPEST + 1):
        lists = [item for item in level if isinstance(item, list)]
        objects = [item for item in level if isinstance(item, dict)]
        level = [child for item in lists for child in item]
        level += [child for item in objects for child in item.values()]
    return bool(level)


def parse_json(path: Path, data: bytes, shape=ANY, advice: str = AGAIN):
    """The JSON value in `data`, a text from the file `path`. RunError if it is too long or deep, or of another shape.

    Nothing here says that the value is the one that was written: see `read_json` and `read_npz`.
    """
    if len(data) > LONGEST:
        raise RunError(f'{path}: damaged (over {LONGEST} bytes of JSON); {advice}')
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise RunError(f'{path}: damaged; {advice}') from None
    if _is_deep(value):
        raise RunError(f'{path}: damaged (nested too deeply); {advice}')
    _check_shape(path, value, shape, advice)
    return value


def _check_shape(path, value, shape, advice):
    if misfit := _misfit(value, shape):
        raise RunError(f'{path}: damaged ({misfit} is missing or of another type); {advice}')


def json_text(value: dict) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + '\n'


def _sealed(value):
    return json_text(value | {'sha256': hashlib.sha256(json_text(value).encode()).hexdigest()}).encode()


def write_json(path: Path, value: dict):
    """Write a JSON object with the schema number and its own checksum."""
    write_bytes(path, _sealed({'schema': SCHEMA} | value))


def read_text(path: Path, advice: str = AGAIN) -> bytes:
    """The bytes of a file of JSON: no more of them than `parse_json` needs to refuse it."""
    with reading(path, advice) as file:
        return file.read(LONGEST + 1)


def read_json(path: Path, shape=ANY, advice: str = AGAIN) -> dict:
    """What `write_json` wrote. RunError if missing, of another schema or shape, or changed in any byte."""
    data = read_text(path, advice)
    value = parse_json(path, data, {'schema': int}, advice)
    check_schema(path, value['schema'])
    value.pop('sha256', None)
    if data != _sealed(value):
        raise RunError(f'{path}: damaged (checksum); {advice}')
    _check_shape(path, value, shape, advice)
    return value


def check_schema(path: Path, schema):
    if schema != SCHEMA:
        raise RunError(
            f'{path}: has schema {schema!r}, this code reads schema {SCHEMA}; '
            'use the version of the code that wrote it, or delete the run directory to train the run again'
        )


def _digest(file):
    """Hexadecimal sha256 of everything in an open file but its last 64 bytes."""
    digest, left = hashlib.sha256(), file.seek(0, os.SEEK_END) - _SEAL
    file.seek(0)
    while chunk := file.read(max(0, min(left, 2**20))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()


def write_npz(path: Path, arrays: dict, meta: dict | None = None):
    """Write arrays as an .npz (sorted, fixed dates: equal content, equal bytes), `meta` as its member meta.json.

    The comment of the archive is the sha256 of everything before it: a zip's own checksums leave out its headers.
    """
    with replacing(path) as file:
        with zipfile.ZipFile(file, 'w') as archive:
            for name in sorted(arrays):
                with archive.open(zipfile.ZipInfo(f'{name}.npy'), 'w', force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(arrays[name], order='C'), allow_pickle=False)
            if meta is not None:
                archive.writestr(zipfile.ZipInfo('meta.json'), json.dumps(meta, sort_keys=True))
            archive.comment = b'0' * _SEAL
        file.flush()
        seal = _digest(file)
        file.seek(-_SEAL, os.SEEK_END)
        file.write(seal)


def read_npz(path: Path, shape=ANY, advice: str = AGAIN) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, meta) as `write_npz` got them. RunError if missing, changed in any byte, or of another shape (meta)."""
    with reading(path, advice) as file:
        seal = _digest(file)
        if seal != file.read():
            raise RunError(f'{path}: damaged (checksum); {advice}')
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files if name != 'meta.json'}
                text = archive['meta.json'] if 'meta.json' in archive.files else b'{}'
        except _ZIP_ERRORS:
            raise RunError(f'{path}: damaged; {advice}') from None
    return arrays, parse_json(path, text, shape, advice)


def read_meta(path: Path, shape=ANY) -> dict:
    """What `write_npz` got as `meta`, its seal unchecked; {} where it cannot be read (`read_npz` says why)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return parse_json(path, archive.read('meta.json'), shape)
    except (OSError, RunError, *_ZIP_ERRORS):
        return {}


def reserve(path: Path, size: int):
    """Make a file of `size` bytes whose space is on the disk, keeping what it holds.

    Without the reservation a full disk would end a write through a memory map with SIGBUS, not with an error.
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


def memory_map(path: Path, shape: tuple, dtype, writable: bool = False) -> np.memmap:
    """A file of one raw array. RunError if missing or of another size."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with reading(path) as file:
        if (found := file.seek(0, os.SEEK_END)) != size:
            raise RunError(f'{path}: has {found} bytes, not {size}; {AGAIN}')
    with guard(path):
        return np.memmap(path, dtype, 'r+' if writable else 'r', shape=shape)


class Prefix:
    """Running checksums of the first rows of append-only arrays, kept without reading a row twice."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays, self.rows, self.crcs = arrays, 0, dict.fromkeys(arrays, 0)

    def extend(self, rows: int) -> dict[str, int]:
        """Checksums of the first `rows` rows, by name; `rows` never shrinks."""
        assert rows >= self.rows, (rows, self.rows)
        for name, array in self.arrays.items():
            self.crcs[name] = zlib.crc32(array[self.rows : rows], self.crcs[name])
        self.rows = rows
        return {'rows': rows, **self.crcs}
