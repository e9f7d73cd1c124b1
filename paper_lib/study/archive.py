"""The archive: small Parquet files that finished runs are copied into and figures are drawn from.

`sealed` says how the files are kept whole.
"""

import contextlib
import fcntl
import functools
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import RunSpec
from paper_lib.study import extract, paths, sealed
from paper_lib.study.extract import CHAPTERS, FIXED, ORDER
from paper_lib.study.frames import KEYS, Frames, keys
from paper_lib.study.sealed import ABSENT, ACROSS, ALL, TABLES, digest, path_of

MOST_ROWS = 50_000_000  # of a table; scale `paper` has fewer than three million
STATES = ('done', 'archived', 'running', 'partial', 'failed', 'planned', 'optional')  # of a run, see `state`

# Types of the columns. Quantities are not listed: they are float32 in the tables of _LARGE and float64 in all others.
_INTEGERS = (
    'pair_seed',
    'seed',
    'update',
    'agent_step',
    'env_step',
    'episode',
    'step',
    'ix',
    'iy',
    'count',
    'height',
    'width',
)
_STRINGS = ('run_id', 'task', 'agent', 'spec', 'provenance')
_LARGE = ('episodes', 'traces')
_TYPES = {
    **dict.fromkeys(_INTEGERS, pa.int64()),
    **dict.fromkeys(_STRINGS, pa.string()),
    **dict.fromkeys(('image', 'decoded'), pa.binary()),
    'shown': pa.bool_(),
}

# Table -> its rows.
Tables = dict[str, pd.DataFrame]


def load(specs: Sequence[RunSpec], folder: Path, chapter: str = 'toy_maze', **facts: Any) -> Frames:
    """Rows of `specs` from the archive `folder`. A run counts only if every needed table of the chapter has it.

    `facts` are further fields of Frames. Raises RunError naming a file that is missing, cannot be read, or holds
    something else than was written.
    """
    tables = read(folder, chapter)
    complete = {spec.run_id for spec in specs}
    for name in CHAPTERS[chapter].needed:
        complete &= set(tables[name].run_id)
    tables['metrics'] = _with_across(tables['metrics'], tables[ACROSS])
    kept = {}
    for name in TABLES:
        rows = tables[name]
        kept[name] = rows[rows.run_id.isin(complete)].reset_index(drop=True)
    return Frames(tuple(specs), **kept, **facts)


def _with_across(metrics: pd.DataFrame, across: pd.DataFrame) -> pd.DataFrame:
    """Metrics with the values of the table `across` in the last row of each run."""
    is_last = metrics.env_step == metrics.groupby('run_id').env_step.transform('max')
    columns = {}
    for name in extract.values(ACROSS):
        value_of_run = dict(zip(across.run_id, across[name], strict=True))
        columns[name] = metrics.run_id.map(value_of_run).astype(float).where(is_last)
    return metrics.assign(**columns)


def ids(folder: Path, chapter: str) -> set[str]:
    """Ids of the runs that every needed table of a chapter has. Raises RunError as `load`."""
    return sealed.ids(folder, chapter, CHAPTERS[chapter].needed)


def table(folder: Path, chapter: str, name: str) -> pd.DataFrame:
    """One table of a chapter, with no rows where the chapter has none of it. Raises RunError as `load`."""
    return read(folder, chapter, (name,))[name]


def add(specs: Sequence[RunSpec], store: Any, folder: Path, chapter: str = 'toy_maze') -> dict[str, str]:
    """Copy the finished runs among `specs` into the archive; returns the runs dropped from it: id -> reason.

    Two kinds of runs are dropped: those that `specs` plans with other values now (same task, agent and pair seed, but
    another id), and those whose source was trained again and recorded other data. What was computed across runs goes
    with any run that is dropped or that was trained again to other metrics; `put_across` adds it. All other rows stay.
    Equal rows give equal bytes. Raises RunError as `load`, and where the disk refuses.
    """
    done = [spec for spec in specs if store.status(spec) == 'done']
    done_ids = [spec.run_id for spec in done]
    dropped = {}
    changed = {}
    with alone(folder):
        tables = read(folder, chapter)
        again = {spec.run_id for spec in done if _differs(spec, store, tables['metrics'], chapter)}
        sources = {spec.run_id for spec in done if not spec.source}
        orphans = _followers(again & sources, tables['runs']) - set(done_ids)
        for name in CHAPTERS[chapter].tables:
            old = tables[name]
            outdated = _outdated(old, specs) | old.run_id.isin(orphans)
            kept = old[~outdated & ~old.run_id.isin(done_ids)]
            new = new_rows(name, done, store, chapter)
            if new or outdated.any():
                parts = [kept, *new] if len(kept) or not new else new
                changed[name] = pd.concat(parts, ignore_index=True)
            dropped |= dict.fromkeys(old.run_id[outdated], 'it is planned with other values now')
        dropped |= dict.fromkeys(sorted(orphans), 'its source was trained again and recorded other data')
        lost = again | dropped.keys()
        is_kept = [lost.isdisjoint(json.loads(text)['models']) for text in tables[ACROSS].provenance]
        if not all(is_kept):
            changed[ACROSS] = tables[ACROSS][is_kept]
        write(folder, chapter, changed)
    return dropped


def put_across(rows: pd.DataFrame, folder: Path, chapter: str) -> None:
    """Write rows of the table `across` in place of those of the same runs. Raises RunError as `add`.

    The provenance of a row is JSON, whose `models` has the ids of all runs that it was computed with.
    """
    with alone(folder):
        old = table(folder, chapter, ACROSS)
        kept = old[~old.run_id.isin(rows.run_id)]
        write(folder, chapter, {ACROSS: pd.concat([kept, rows], ignore_index=True) if len(kept) else rows})


def new_rows(name: str, done: list[RunSpec], store: Any, chapter: str) -> list[pd.DataFrame]:
    """The rows of every finished run that has some for this table."""
    new = []
    for spec in done:
        rows = extract.rows(chapter, name, spec, store)
        if len(rows):
            new.append(rows)
    return new


def state(specs: Sequence[RunSpec], store: Any, folder: Path, chapter: str, planned: frozenset[str]) -> pd.DataFrame:
    """One row per run: keys and `state`.

    A run with a result is done (on this machine) or archived. A run that began is running, partial or failed. Of the
    rest, those with an id in `planned` are planned, and all others are optional.
    """
    archived_ids = ids(folder, chapter)
    rows = []
    for spec in specs:
        status = store.status(spec)
        if status != 'done' and spec.run_id in archived_ids:
            status = 'archived'
        elif status == 'missing':
            status = 'planned' if spec.run_id in planned else 'optional'
        rows.append(keys(spec) | {'state': status})
    return pd.DataFrame(rows, columns=[*KEYS, 'state'])


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Notebooks that run side by side change an archive one after the other, where the file system has locks."""
    above = next(path for path in folder.absolute().parents if path.exists())  # the folder itself may not exist yet
    handle = os.open(above, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _followers(sources: set[str], runs: pd.DataFrame) -> set[str]:
    """Ids of the archived runs that learn from these."""
    source_ids = runs.spec.map(lambda text: json.loads(text)['source'])
    return set(runs.run_id[source_ids.isin(sources)])


def _differs(spec: RunSpec, store: Any, metrics: pd.DataFrame, chapter: str) -> bool:
    """Whether the archive has a run with other metrics than the finished run."""
    old = metrics[metrics.run_id == spec.run_id]
    if old.empty:
        return False
    new = extract.rows(chapter, 'metrics', spec, store)
    compared = [name for name in extract.values('metrics') if old[name].notna().any()]
    return not np.array_equal(old[compared], new[compared], equal_nan=True)


def _outdated(rows: pd.DataFrame, specs: Sequence[RunSpec]) -> pd.Series:
    """For every row, whether its run is planned by `specs` under another id."""
    planned = {(spec.task, spec.agent, spec.pair_seed): spec.run_id for spec in specs}
    runs = zip(rows.task, rows.agent, rows.pair_seed)
    ids = pd.Series([planned.get(run) for run in runs], rows.index, dtype=object)
    return ids.notna() & (ids != rows.run_id)


def read(folder: Path, chapter: str, names: Sequence[str] = ALL) -> Tables:
    """Tables by name, with no rows where the chapter has none of it. Raises RunError as `load`.

    Columns of quantities that were not known when a table was written are NaN.
    """
    tables = {}
    for name, content in sealed.contents(folder, chapter, names).items():
        if content is None:
            tables[name] = _schema(name, _columns(name)).empty_table().to_pandas()
            continue
        with sealed.parsing(path_of(folder, chapter, name), chapter):
            rows = _parse(content, name)
        later = [column for column in extract.values(name) if column not in rows]
        tables[name] = rows.assign(**dict.fromkeys(later, np.nan))
    return tables


def _columns(name: str) -> list[str]:
    """Columns that a table has in an archive written now."""
    return [*KEYS, *ORDER[name], *FIXED[name], *extract.values(name)]


@functools.lru_cache(maxsize=sealed.CACHED)
def _parse(content: bytes, name: str) -> pd.DataFrame:
    """A table from its bytes: its schema is checked before its rows are read, then its rows.

    It is parsed once for all figures of a process, so nobody may change the result. Raises ValueError and errors of
    pyarrow for what was not written so.
    """
    file = pq.ParquetFile(io.BytesIO(content))
    written = file.schema_arrow.names
    lacking = {*KEYS, *ORDER[name], *FIXED[name]} - set(written)
    if lacking:
        raise ValueError(f'has no column {sorted(lacking)[0]}')
    if file.schema_arrow != _schema(name, written):
        raise ValueError('other columns or types than were written')
    if file.metadata.num_rows > MOST_ROWS:
        raise ValueError(f'{file.metadata.num_rows:,} rows, at most {MOST_ROWS:,} are read')
    with pd.option_context('mode.string_storage', 'python'):  # tables of few rows are filtered faster
        rows = file.read().to_pandas()
    _check(rows, name)
    return rows


def _check(rows: pd.DataFrame, name: str) -> None:
    """Raise ValueError for rows that no run has: without a key, or twice."""
    for column in [*KEYS, *ORDER[name]]:
        if rows[column].isna().any():
            raise ValueError(f'a row without {column}')
    twice = rows[['run_id', *ORDER[name]]].duplicated()
    if twice.any():
        raise ValueError(f'a row twice: {rows.run_id[twice].iloc[0]}')


def _schema(name: str, columns: Sequence[str]) -> pa.Schema:
    number = pa.float32() if name in _LARGE else pa.float64()
    return pa.schema({column: _TYPES.get(column, number) for column in columns})


def write(folder: Path, chapter: str, tables: Tables) -> None:
    """Replace these tables of a chapter, each as a whole, and list their hashes in its manifest.

    Raises RunError for rows that no run has and where the disk refuses.
    """
    before = sealed.hashes_of(folder, chapter)
    contents = {}
    after = dict(before)
    for name, rows in tables.items():
        content = _content(name, rows, path_of(folder, chapter, name))
        if before.get(name) != [digest(content)]:
            contents[name] = content
            after[name] = [digest(content)]
    if not contents:
        return
    meanwhile = dict(before)
    for name in contents:
        meanwhile[name] = [*before.get(name, [ABSENT]), *after[name]]
    paths.write(sealed.manifest(folder, chapter), sealed.sealed(meanwhile))
    for name, content in contents.items():
        paths.write(path_of(folder, chapter, name), content)
    paths.write(sealed.manifest(folder, chapter), sealed.sealed(after))


def _content(name: str, frame: pd.DataFrame, path: Path) -> bytes:
    """Sorted rows, keys first, fixed types and compression, no time: equal rows are equal bytes."""
    first = [*KEYS, *ORDER[name]]
    columns = [*first, *sorted(set(frame.columns) - set(first))]
    frame = frame[columns].sort_values(['run_id', *ORDER[name]], kind='stable')
    try:
        _check(frame, name)
    except ValueError as error:
        raise RunError(f'{path}: would hold {error}; nothing was written') from None
    table = pa.Table.from_pandas(frame, _schema(name, columns), preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), buffer, compression='zstd', write_page_checksum=True)
    return buffer.getvalue()
