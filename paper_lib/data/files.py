"""Files that are whole or absent: atomic writes, sealed contents, reserved space. OSErrors become RunErrors."""

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
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_SEAL = 64  # length of a sha256 in hexadecimal


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
            advice = 'make it writable or name another folder in PAPER_LIB_RUNS'
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
    temporary = path.with_name(f'.{path.name}.tmp')
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


def write_bytes(path: Path, data: bytes):
    with replacing(path) as file:
        file.write(data)


def json_text(value: dict) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + '\n'


def _sealed(value):
    return json_text(value | {'sha256': hashlib.sha256(json_text(value).encode()).hexdigest()}).encode()


def write_json(path: Path, value: dict):
    """Write a JSON object with the schema number and its own checksum."""
    write_bytes(path, _sealed({'schema': SCHEMA} | value))


def read_json(path: Path, advice: str = AGAIN) -> dict:
    """What `write_json` wrote. RunError if missing, of another schema, or changed in any byte."""
    with reading(path, advice) as file:
        data = file.read()
    try:
        value = dict(json.loads(data))
    except (ValueError, TypeError):
        raise RunError(f'{path}: damaged; {advice}') from None
    check_schema(path, value.get('schema'))
    value.pop('sha256', None)
    if data != _sealed(value):
        raise RunError(f'{path}: damaged (checksum); {advice}')
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


def read_npz(path: Path, advice: str = AGAIN) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, meta) as `write_npz` got them. RunError if missing or changed in any byte."""
    with reading(path, advice) as file:
        seal = _digest(file)
        if seal != file.read():
            raise RunError(f'{path}: damaged (checksum); {advice}')
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name != 'meta.json'}
            return arrays, json.loads(archive['meta.json']) if 'meta.json' in archive.files else {}


def read_meta(path: Path) -> dict:
    """What `write_npz` got as `meta`, unchecked; {} where it cannot be read (`read_npz` says why)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read('meta.json'))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
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
