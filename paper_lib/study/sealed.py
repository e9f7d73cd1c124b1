"""The files of the archive: what may be read of them, and what seals them.

Beside the tables of a chapter lies its manifest, which lists every table with the hash of its content. It is sealed
with a hash of its own and checked before anything is read. While a table is replaced its old and its new hash are both
listed, so that a process that is killed in between leaves a readable archive.
"""

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from paper_lib.contract.errors import RunError

TABLES = ('runs', 'metrics', 'episodes', 'traces', 'visits', 'pictures')  # of single runs
ACROSS = 'across'  # the table of what takes several runs at once
ALL = (*TABLES, ACROSS)
CACHED = 3 * len(ALL)  # tables that a process keeps after it has parsed them: those of three chapters
LONGEST = 1_000_000  # bytes of a manifest
ABSENT = ''  # stands in a manifest for a table that is not there yet


def path_of(folder: Path, chapter: str, name: str) -> Path:
    """The file of a table."""
    return Path(folder) / f'{chapter}_{name}.parquet'


def manifest(folder: Path, chapter: str) -> Path:
    """The file of a manifest."""
    return Path(folder) / f'{chapter}_manifest.json'


def damaged(path: Path, cause: str, chapter: str) -> RunError:
    """The error that names a damaged file, and what to do about it."""
    return RunError(
        f'{path}: {cause}; restore it (`git checkout -- {path.name}` in its folder); where all its runs are in runs/, '
        f'deleting every {chapter}_* beside it fills them again'
    )


def _bytes(path: Path, chapter: str) -> bytes | None:
    """The content of a file, None where there is none. A link that leads nowhere is damage."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise damaged(path, f'a link to {os.readlink(path)}, which is not there', chapter) from None
        return None
    except OSError as error:
        cause = 'a link that leads back to itself' if error.errno == errno.ELOOP else error.strerror
        raise damaged(path, cause, chapter) from None


def sealed(hashes: dict[str, list[str]]) -> bytes:
    """The manifest as JSON: the hashes of each table, and a hash of all of these."""
    text = json.dumps(hashes, sort_keys=True)
    whole = {'tables': hashes, 'seal': digest(text.encode())}
    return f'{json.dumps(whole, sort_keys=True, indent=1)}\n'.encode()


def digest(content: bytes) -> str:
    """The hash by which a manifest knows a table."""
    return hashlib.sha256(content).hexdigest()


def hashes_of(folder: Path, chapter: str) -> dict[str, list[str]]:
    """The manifest: the hashes that each table may have. Empty for an archive without any table."""
    path = manifest(folder, chapter)
    content = _bytes(path, chapter)
    if content is None:
        for name in ALL:
            table = path_of(folder, chapter, name)
            if _bytes(table, chapter) is not None:
                raise damaged(path, f'missing, though {table.name} is there', chapter)
        return {}
    try:
        hashes = json.loads(content[:LONGEST])['tables']
    except (ValueError, RecursionError, KeyError, TypeError):
        hashes = None
    if hashes is None or sealed(hashes) != content:
        raise damaged(path, 'not what was written', chapter)
    return hashes


def contents(folder: Path, chapter: str, names: Iterable[str]) -> dict[str, bytes | None]:
    """The bytes of these tables, None where the chapter has none of it. They are those that the manifest names.

    Raises RunError naming a file that is missing, cannot be read, or holds something else than was written.
    """
    hashes = hashes_of(folder, chapter)
    found = {}
    for name in names:
        path = path_of(folder, chapter, name)
        content = found[name] = _bytes(path, chapter)
        allowed = hashes.get(name, [ABSENT])
        if content is None and ABSENT not in allowed:
            raise damaged(path, 'missing', chapter)
        if content is not None and digest(content) not in allowed:
            raise damaged(path, 'not what was written: its hash is not in the manifest', chapter)
    return found


@contextlib.contextmanager
def parsing(path: Path, chapter: str) -> Iterator[None]:
    """Errors of parsing a table name its file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        cause = str(error).partition('\n')[0]
        raise damaged(path, f'cannot be read ({cause})', chapter) from None


def columns(folder: Path, chapter: str, name: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """These columns of a table, a dict per row; no rows where the chapter has none. Raises RunError as `contents`."""
    content = contents(folder, chapter, [name])[name]
    return [] if content is None else _columns(content, path_of(folder, chapter, name), chapter, wanted)


def _columns(content: bytes, path: Path, chapter: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    with parsing(path, chapter):
        return pq.ParquetFile(io.BytesIO(content)).read(list(wanted), use_threads=False).to_pylist()


@functools.lru_cache(maxsize=CACHED)
def _ids(content: bytes) -> frozenset[str]:
    """The ids of the runs that a table has rows of."""
    column = pq.ParquetFile(io.BytesIO(content)).read(['run_id'], use_threads=False).column('run_id')
    return frozenset(column.unique().to_pylist())


def ids(folder: Path, chapter: str, needed: Sequence[str]) -> set[str]:
    """Ids of the runs that all `needed` tables of a chapter have. Raises RunError as `contents`, for any table."""
    found = []
    for name, content in contents(folder, chapter, ALL).items():
        if name in needed:
            with parsing(path_of(folder, chapter, name), chapter):
                found.append(frozenset() if content is None else _ids(content))
    return set(frozenset.intersection(*found))
