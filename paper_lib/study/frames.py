"""The data behind the figures: small Parquet files that finished runs are copied into and figures are drawn from.

Tables of a section, keyed by run_id, agent, pair_seed, seed, task:
`runs` (spec and provenance), `metrics` (one row per evaluation), `traces` (one row per step of the final evaluation
episodes), `visits` (replay states per cell of the maze, cells with any), `pictures` (what an agent saw and decoded).

Section 'study' is large, so it keeps less: no training losses, and steps of one episode of the shown runs alone.
"""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from paper_lib.contract import tasks
from paper_lib.contract.errors import RunError
from paper_lib.contract.maze_layout import CELLS
from paper_lib.contract.spec import RunSpec
from paper_lib.study import agents, paths

KEYS = ['run_id', 'task', 'agent', 'pair_seed', 'seed']
ALL = ('metrics', 'traces', 'visits', 'runs')
TABLES = {'base_agent': ('metrics', 'runs'), 'toy_maze': ALL, 'study': ('pictures', *ALL)}  # `runs` last
NEEDED = TABLES | {'study': ('metrics', 'runs')}  # without a row in each of them a run does not count
ORDER = {'runs': [], 'metrics': ['env_step'], 'traces': ['episode', 'step'], 'visits': ['ix', 'iy'],
         'pictures': ['step']}  # fmt: skip
CURVES = ['score', 'wm_loss', 'value', 'mc_return', 'value_error']
PICTURES = ['image', 'decoded', 'height', 'width', 'shown']
VALUES = {  # columns that figures and statistics read; a file may hold more
    'runs': ['spec', 'provenance'],
    'metrics': CURVES,
    'traces': ['v0', 'v1', 'wm_loss'],
    'visits': ['count'],
    'pictures': PICTURES,
}
STUDY = VALUES | {  # a file holds these and no others
    'metrics': [*CURVES, 'ood_ratio', 'recon_loss', 'added'],
    'traces': ['reward', 'wm_loss', 'recon_loss', 'value'],
}
SHOWN = 0  # the pair seed of single-run panels: the lowest of every plan
WINDOW = 9  # pictures per run
COUNTS = {'pair_seed', 'seed', 'update', 'agent_step', 'env_step', 'episode', 'step', 'ix', 'iy', 'count', 'height',
          'width'}  # fmt: skip
TYPES = dict.fromkeys(COUNTS, pa.int64()) | {
    **dict.fromkeys(('run_id', 'task', 'agent', 'spec', 'provenance'), pa.string()),
    **dict.fromkeys(('image', 'decoded'), pa.binary()),
    'shown': pa.bool_(),
}


@dataclasses.dataclass(frozen=True)
class Frames:
    """Archived rows of `specs`, and which of these are not there."""

    specs: tuple[RunSpec, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    traces: pd.DataFrame
    visits: pd.DataFrame
    pictures: pd.DataFrame

    @property
    def missing(self) -> list[RunSpec]:
        there = set(self.runs.run_id)
        return [spec for spec in self.specs if spec.run_id not in there]

    @property
    def first(self) -> int:
        """The pair seed that single-run panels show: the lowest planned, fixed before any result is seen."""
        return min(agents.pair_seed(spec) for spec in self.specs)

    def of(self, names, key: str = 'agent') -> 'Frames':
        """The part of these agents, or of these tasks with key='task'."""
        tables = {name: getattr(self, name) for name in ORDER}
        return Frames(tuple(spec for spec in self.specs if getattr(spec, key) in names),
                      **{name: table[table[key].isin(names)] for name, table in tables.items()})  # fmt: skip

    def wanted(self, agent: str) -> list[RunSpec]:
        return [spec for spec in self.specs if spec.agent == agent]

    def episode(self, agent: str) -> pd.DataFrame:
        """Steps of the first final-evaluation episode of the first pair seed; no rows if that run is missing."""
        t = self.traces
        return t[(t.agent == agent) & (t.pair_seed == self.first) & (t.episode == 0)].sort_values('step')

    def map(self, run_id: str) -> np.ndarray:
        """Visits per cell, (CELLS, CELLS) indexed [ix, iy]."""
        grid, rows = np.zeros((CELLS, CELLS), int), self.visits[self.visits.run_id == run_id]
        grid[rows.ix, rows.iy] = rows['count']
        return grid


def load(specs, folder: Path, section: str = 'toy_maze') -> Frames:
    """Rows of `specs` from the archive `folder`. A run counts only if every NEEDED table of the section has it.

    Raises RunError naming a file that cannot be read, or is missing beside the runs that it belongs to.
    """
    ids = {spec.run_id for spec in specs}
    needed = [_file(folder, section, name) for name in NEEDED[section]]
    for path in needed if needed[-1].exists() else ():  # `runs` is written last
        if not path.exists():
            raise RunError(f'{path}: missing; {_restore(path, section)}')
    tables = {name: _read(folder, section, name) for name in ORDER}
    for name in NEEDED[section]:
        ids &= set(tables[name].run_id)
    tables = {name: table[table.run_id.isin(ids)].reset_index(drop=True) for name, table in tables.items()}
    return Frames(tuple(specs), **tables)


def archive(specs, store, folder: Path, section: str = 'toy_maze') -> dict[str, str]:
    """Copy the finished runs among `specs` into the archive; returns the runs dropped from it: id -> reason.

    Dropped are those that `specs` plans with other values now (same task, agent and pair seed, another id), and those
    that learned from what another training of their source had recorded; all other rows stay. Equal rows give equal
    bytes. Every file is replaced as a whole, `runs` last.
    """
    done, dropped = [spec for spec in specs if store.status(spec) == 'done'], {}
    with _alone():
        orphans = _orphans(done, store, folder, section)
        for name in TABLES[section]:
            new = [frame for spec in done if len(frame := _extract(section, name, spec, store))]
            old = _read(folder, section, name)
            outdated = _outdated(old, specs) | old.run_id.isin(orphans)
            kept = old[~outdated & ~old.run_id.isin([spec.run_id for spec in done])]
            if new or outdated.any():
                frames = [kept, *new] if len(kept) or not new else new
                _write(folder, section, name, pd.concat(frames, ignore_index=True))
            dropped |= dict.fromkeys(old.run_id[outdated], 'it is planned with other values now')
    return dropped | dict.fromkeys(sorted(orphans), 'its source was trained again and recorded other data')


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


def _orphans(done, store, folder, section):
    """Ids of the archived runs whose source is among `done` with another outcome than archived; not of `done`."""
    metrics, runs = (_read(folder, section, name) for name in ('metrics', 'runs'))
    again = set()
    for spec in (spec for spec in done if not spec.source):
        old, new = metrics[metrics.run_id == spec.run_id], _extract(section, 'metrics', spec, store)
        if len(old) and not np.array_equal(old[CURVES], new[CURVES], equal_nan=True):
            again.add(spec.run_id)
    sources = runs.spec.map(lambda text: json.loads(text)['source'])
    return set(runs.run_id[sources.isin(again)]) - {spec.run_id for spec in done}


def _outdated(rows, specs):
    """Which rows are of a run that `specs` plans under another id."""
    planned = {(spec.task, spec.agent, agents.pair_seed(spec)): spec.run_id for spec in specs}
    keys = zip(rows.task, rows.agent, rows.pair_seed)
    ids = pd.Series([planned.get(key) for key in keys], rows.index, dtype=object)
    return ids.notna() & (ids != rows.run_id)


def state(specs, store, folder: Path, section: str = 'toy_maze', asked=None) -> pd.DataFrame:
    """One row per run: keys and `state`: done (here), archived, running, partial, failed, missing or on request.

    On request is what is missing and not among `asked`, ids of runs; without these nothing is.
    """
    lost = {spec.run_id for spec in load(specs, folder, section).missing}

    def of(spec):
        local = store.status(spec)
        if local != 'done' and spec.run_id not in lost:
            return 'archived'
        return 'on request' if local == 'missing' and asked is not None and spec.run_id not in asked else local

    return pd.DataFrame([_keys(spec) | {'state': of(spec)} for spec in specs], columns=[*KEYS, 'state'])


def _keys(spec):
    return dict(zip(KEYS, (spec.run_id, spec.task, spec.agent, agents.pair_seed(spec), spec.seed), strict=True))


def _extract(section, name, spec, store) -> pd.DataFrame:
    """Rows of one finished run for table `name`; none where the section keeps none of it."""
    if name == 'metrics':
        frame = store.metrics(spec)
        frame = _kept(frame.assign(added=frame.get('added', np.nan)), name) if section == 'study' else frame
    elif name == 'runs':
        values = {'spec': spec.canonical(), 'provenance': store.require(spec).provenance()}
        frame = pd.DataFrame([{key: json.dumps(value, sort_keys=True) for key, value in values.items()}])
    elif section == 'study':
        frame = _some(name, spec, store)
    else:
        frame = {'traces': steps, 'visits': cells}[name](store.traces(spec))
    return frame.assign(**_keys(spec)) if len(frame) else frame


def _kept(frame, name):
    """The columns that section 'study' keeps."""
    values = frame[STUDY[name]]
    return frame[ORDER[name]].join(values.astype(float) if name in ('metrics', 'traces') else values)


def _some(name, spec, store):
    """Rows of section 'study': of the maze its visits, of the shown runs one episode."""
    task, shown = tasks.get(spec.task), agents.pair_seed(spec) == SHOWN
    wanted = {'visits': tasks.suite_of(task).visits, 'traces': shown, 'pictures': shown and task.obs == 'vision'}
    if not wanted[name]:
        return pd.DataFrame()
    frame = {'visits': cells, 'traces': steps, 'pictures': pictures}[name](store.traces(spec))
    return _kept(frame[frame.episode == 0], name) if name == 'traces' else frame


def steps(traces: dict) -> pd.DataFrame:
    """Padded arrays (episodes, N, ...) -> one row per valid step; vectors as columns v0, v1, ..."""
    valid = np.asarray(traces['valid'], bool)
    episode, step = np.nonzero(valid)
    values = {key: np.asarray(traces[key])[valid] for key in ('reward', 'wm_loss', 'recon_loss', 'value')}
    vector = np.asarray(traces['vector'])[valid].T if 'vector' in traces else ()
    return pd.DataFrame({'episode': episode, 'step': step, **values} | {f'v{i}': v for i, v in enumerate(vector)})


def cells(traces: dict) -> pd.DataFrame:
    """Visit counts (nx, ny) -> one row per visited cell."""
    visits = np.asarray(traces['visits'])
    ix, iy = np.nonzero(visits)
    return pd.DataFrame({'ix': ix, 'iy': iy, 'count': visits[ix, iy]})


def hallucination(loss, recon) -> int:
    """Step of an episode with the highest loss (N,) among those reconstructed no worse than the median, recon (N,)."""
    return int(np.argmax(np.where(recon <= np.median(recon), loss, -np.inf)))


def pictures(traces: dict) -> pd.DataFrame:
    """WINDOW steps of the first episode around its hallucination, which is `shown`: raw uint8 (height, width, 3)."""
    valid = np.asarray(traces['valid'][0], bool)
    loss, recon = (np.asarray(traces[key][0])[valid] for key in ('wm_loss', 'recon_loss'))
    shown, n = hallucination(loss, recon), valid.sum()
    first = max(0, min(shown - WINDOW // 2, n - WINDOW))
    rows = np.arange(first, min(first + WINDOW, n))
    image, decoded = (np.asarray(traces[key][0])[rows] for key in ('image', 'decoded'))
    height, width = image.shape[1:3]
    return pd.DataFrame({
        'step': rows, 'image': [x.tobytes() for x in image], 'decoded': [x.tobytes() for x in decoded],
        'height': height, 'width': width, 'shown': rows == shown,
    })  # fmt: skip


def _file(folder, section, name):
    return Path(folder) / f'{section}_{name}.parquet'


def _read(folder, section, name) -> pd.DataFrame:
    values = STUDY if section == 'study' else VALUES
    path, columns = _file(folder, section, name), [*KEYS, *ORDER[name], *values[name]]
    if not path.exists():
        return _schema(name, columns).empty_table().to_pandas()
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        if not set(columns) <= set(table.column_names) or table.schema != _schema(name, table.column_names):
            raise ValueError('other columns or types than were written')
        return table.to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        cause = str(error).partition('\n')[0]
        raise RunError(f'{path}: cannot be read ({cause}); {_restore(path, section)}') from None


def _restore(path, section):
    return (f'restore it (`git checkout -- {path.name}` in its folder); where all its runs are in runs/, deleting '
            f'every {section}_*.parquet beside it fills them again')  # fmt: skip


def _schema(name, columns):
    number = pa.float32() if name == 'traces' else pa.float64()
    return pa.schema({column: TYPES.get(column, number) for column in columns})


def _write(folder, section, name, frame):
    """Sorted rows, keys first, fixed types and compression, no time: equal rows are equal bytes."""
    rest = sorted(set(frame.columns) - set(KEYS) - set(ORDER[name]))
    columns = [*KEYS, *ORDER[name], *rest]
    frame = frame[columns].sort_values(['run_id', *ORDER[name]], kind='stable')
    table = pa.Table.from_pandas(frame, _schema(name, columns), preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression='zstd', write_page_checksum=True)
    path = _file(folder, section, name)
    if not path.exists() or path.read_bytes() != buffer.getvalue():
        paths.write(path, buffer.getvalue())
