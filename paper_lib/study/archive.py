"""The archive: small Parquet files that finished runs are copied into and figures are drawn from.

Beside the tables of a chapter lies its manifest, which lists every table with the hash of its content. It is sealed
with a hash of its own and checked before anything is read. While a table is replaced its old and its new hash are both
listed, so that a process that is killed in between leaves a readable archive.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from paper_lib.contract.errors import RunError
from paper_lib.study import extract, paths
from paper_lib.study.extract import CHAPTERS, FIXED, ORDER
from paper_lib.study.frames import KEYS, TABLES, Frames, keys

MOST_ROWS = 50_000_000  # of a table; scale `paper` has fewer than a million
LONGEST = 1_000_000  # bytes of a manifest
ABSENT = ''  # stands in a manifest for a table that is not there yet
_COUNTS = {'pair_seed', 'seed', 'update', 'agent_step', 'env_step', 'episode', 'step', 'ix', 'iy', 'count', 'height',
           'width'}  # fmt: skip
_TYPES = dict.fromkeys(_COUNTS, pa.int64()) | {
    **dict.fromkeys(('run_id', 'task', 'agent', 'spec', 'provenance'), pa.string()),
    **dict.fromkeys(('image', 'decoded'), pa.binary()),
    'shown': pa.bool_(),
}


def load(specs, folder: Path, chapter: str = 'toy_maze', **facts) -> Frames:
    """Rows of `specs` from the archive `folder`. A run counts only if every needed table of the chapter has it.

    `facts` are further fields of Frames. Raises RunError naming a file that is missing, cannot be read, or holds
    something else than was written.
    """
    ids = {spec.run_id for spec in specs}
    tables = _read(folder, chapter)
    for name in CHAPTERS[chapter].needed:
        ids &= set(tables[name].run_id)
    tables = {name: table[table.run_id.isin(ids)].reset_index(drop=True) for name, table in tables.items()}
    return Frames(tuple(specs), **tables, **facts)


def add(specs, store, folder: Path, chapter: str = 'toy_maze') -> dict[str, str]:
    """Copy the finished runs among `specs` into the archive; returns the runs dropped from it: id -> reason.

    Dropped are those that `specs` plans with other values now (same task, agent and pair seed, another id), and those
    that learned from what another training of their source had recorded; all other rows stay. Equal rows give equal
    bytes. Raises RunError as `load`, and where the disk refuses.
    """
    done = [spec for spec in specs if store.status(spec) == 'done']
    dropped, changed = {}, {}
    with _alone():
        tables = _read(folder, chapter)
        orphans = _orphans(done, store, tables, chapter)
        for name in CHAPTERS[chapter].tables:
            new = [rows for spec in done if len(rows := extract.rows(chapter, name, spec, store))]
            old = tables[name]
            outdated = _outdated(old, specs) | old.run_id.isin(orphans)
            kept = old[~outdated & ~old.run_id.isin([spec.run_id for spec in done])]
            if new or outdated.any():
                changed[name] = pd.concat([kept, *new] if len(kept) or not new else new, ignore_index=True)
            dropped |= dict.fromkeys(old.run_id[outdated], 'it is planned with other values now')
        write(folder, chapter, changed)
    return dropped | dict.fromkeys(sorted(orphans), 'its source was trained again and recorded other data')


def state(specs, store, folder: Path, chapter: str, planned: frozenset[str]) -> pd.DataFrame:
    """One row per run: keys and `state`.

    A run with a result is done (on this machine) or archived. One that began is running, partial or failed. The rest
    are planned, if they are among these ids, or optional.
    """
    found = load(specs, folder, chapter)
    archived = set(found.runs.run_id)
    states = []
    for spec in specs:
        here = store.status(spec)
        if here != 'done' and spec.run_id in archived:
            here = 'archived'
        elif here == 'missing':
            here = 'planned' if spec.run_id in planned else 'optional'
        states.append(keys(spec) | {'state': here})
    return pd.DataFrame(states, columns=[*KEYS, 'state'])


@contextlib.contextmanager
def _alone():
    """Notebooks that run side by side change the archive one after the other, where the file system has locks."""
    handle = os.open(Path(__file__).parent, os.O_RDONLY)  # the archive's own folder may not be there yet
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _orphans(done, store, tables, chapter):
    """Ids of the archived runs whose source is among `done` with another outcome than archived; not of `done`."""
    metrics, runs = tables['metrics'], tables['runs']
    again = set()
    for spec in done:
        if spec.source:
            continue
        old = metrics[metrics.run_id == spec.run_id]
        new = extract.rows(chapter, 'metrics', spec, store)
        compared = [name for name in extract.values('metrics') if old[name].notna().any()]
        if len(old) and not np.array_equal(old[compared], new[compared], equal_nan=True):
            again.add(spec.run_id)
    sources = runs.spec.map(lambda text: json.loads(text)['source'])
    return set(runs.run_id[sources.isin(again)]) - {spec.run_id for spec in done}


def _outdated(rows, specs):
    """Which rows are of a run that `specs` plans under another id."""
    planned = {(spec.task, spec.agent, spec.pair_seed): spec.run_id for spec in specs}
    places = zip(rows.task, rows.agent, rows.pair_seed)
    ids = pd.Series([planned.get(place) for place in places], rows.index, dtype=object)
    return ids.notna() & (ids != rows.run_id)


def _table(folder, chapter, name) -> Path:
    return Path(folder) / f'{chapter}_{name}.parquet'


def _manifest(folder, chapter) -> Path:
    return Path(folder) / f'{chapter}_manifest.json'


def _damaged(path, cause, chapter):
    return RunError(
        f'{path}: {cause}; restore it (`git checkout -- {path.name}` in its folder); where all its runs are in runs/, '
        f'deleting every {chapter}_* beside it fills them again'
    )


def _bytes(path, chapter) -> bytes | None:
    """The content of a file, None where there is none. A link that leads nowhere is damage."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise _damaged(path, f'a link to {os.readlink(path)}, which is not there', chapter) from None
        return None
    except OSError as error:
        cause = 'a link that leads back to itself' if error.errno == errno.ELOOP else error.strerror
        raise _damaged(path, cause, chapter) from None


def _sealed(tables: dict) -> bytes:
    """The manifest as JSON: hashes by table, and a hash of these."""
    text = json.dumps(tables, sort_keys=True)
    return f'{json.dumps({"tables": tables, "seal": _hash(text.encode())}, sort_keys=True, indent=1)}\n'.encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hashes(folder, chapter) -> dict[str, list[str]]:
    """The manifest: the hashes that each table may have. Empty for an archive without any table."""
    path = _manifest(folder, chapter)
    content = _bytes(path, chapter)
    if content is None:
        lonely = [name for name in TABLES if _bytes(_table(folder, chapter, name), chapter) is not None]
        if lonely:
            raise _damaged(path, f'missing, though {chapter}_{lonely[0]}.parquet is there', chapter)
        return {}
    try:
        tables = json.loads(content[:LONGEST])['tables']
    except (ValueError, RecursionError, KeyError, TypeError):
        tables = None
    if tables is None or _sealed(tables) != content:
        raise _damaged(path, 'not what was written', chapter)
    return tables


def _read(folder, chapter) -> dict[str, pd.DataFrame]:
    """Every table, with no rows where the chapter has none of it."""
    hashes, tables = _hashes(folder, chapter), {}
    for name in TABLES:
        path = _table(folder, chapter, name)
        content, allowed = _bytes(path, chapter), hashes.get(name, [ABSENT])
        if content is None:
            if ABSENT not in allowed:
                raise _damaged(path, 'missing', chapter)
            tables[name] = _schema(name, _columns(name)).empty_table().to_pandas()
        elif _hash(content) not in allowed:
            raise _damaged(path, 'not what was written: its hash is not in the manifest', chapter)
        else:
            tables[name] = _parse(content, name, path, chapter)
    return tables


def _columns(name):
    """Columns that a table has in an archive written now."""
    return [*KEYS, *ORDER[name], *FIXED[name], *extract.values(name)]


def _parse(content, name, path, chapter) -> pd.DataFrame:
    """A table from its bytes: its schema is checked before its rows are read, then its rows.

    Columns of quantities that were not known when it was written are NaN.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        there = file.schema_arrow.names
        lacking = {*KEYS, *ORDER[name], *FIXED[name]} - set(there)
        if lacking:
            raise ValueError(f'has no column {sorted(lacking)[0]}')
        if file.schema_arrow != _schema(name, there):
            raise ValueError('other columns or types than were written')
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f'{file.metadata.num_rows:,} rows, at most {MOST_ROWS:,} are read')
        rows = file.read().to_pandas()
        _check(rows, name)
    except (pa.ArrowException, OSError, ValueError) as error:
        cause = str(error).partition('\n')[0]
        raise _damaged(path, f'cannot be read ({cause})', chapter) from None
    later = [column for column in extract.values(name) if column not in there]
    return rows.assign(**dict.fromkeys(later, np.nan))


def _check(rows, name):
    """Raise ValueError for rows that no run has: without a key, or twice."""
    place = [*KEYS, *ORDER[name]]
    for column in place:
        if rows[column].isna().any():
            raise ValueError(f'a row without {column}')
    twice = rows[['run_id', *ORDER[name]]].duplicated()
    if twice.any():
        raise ValueError(f'a row twice: {rows.run_id[twice].iloc[0]}')


def _schema(name, columns):
    number = pa.float32() if name == 'traces' else pa.float64()
    return pa.schema({column: _TYPES.get(column, number) for column in columns})


def write(folder: Path, chapter: str, tables: dict[str, pd.DataFrame]) -> None:
    """Replace these tables of a chapter, each as a whole, and say so in its manifest. Raises RunError.

    Raises RunError for rows that no run has and where the disk refuses.
    """
    before = _hashes(folder, chapter)
    contents = {name: _content(name, rows, _table(folder, chapter, name), chapter) for name, rows in tables.items()}
    contents = {name: data for name, data in contents.items() if before.get(name) != [_hash(data)]}
    after = before | {name: [_hash(data)] for name, data in contents.items()}
    if contents:
        meanwhile = {name: [*before.get(name, [ABSENT]), *after[name]] for name in contents}
        paths.write(_manifest(folder, chapter), _sealed(before | meanwhile))
        for name, data in contents.items():
            paths.write(_table(folder, chapter, name), data)
        paths.write(_manifest(folder, chapter), _sealed(after))


def _content(name, frame, path, chapter) -> bytes:
    """Sorted rows, keys first, fixed types and compression, no time: equal rows are equal bytes."""
    rest = sorted(set(frame.columns) - set(KEYS) - set(ORDER[name]))
    columns = [*KEYS, *ORDER[name], *rest]
    frame = frame[columns].sort_values(['run_id', *ORDER[name]], kind='stable')
    try:
        _check(frame, name)
    except ValueError as error:
        raise RunError(f'{path}: would hold {error}; nothing was written') from None
    table = pa.Table.from_pandas(frame, _schema(name, columns), preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression='zstd', write_page_checksum=True)
    return buffer.getvalue()
