"""What the archive keeps of a finished run: its rows for every table."""

import dataclasses
import json

import numpy as np
import pandas as pd

from paper_lib.contract import quantities, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.study.frames import keys

# What orders the rows of a run in each table.
ORDER = {'runs': [], 'metrics': ['env_step'], 'traces': ['episode', 'step'], 'visits': ['ix', 'iy'],
         'pictures': ['step']}  # fmt: skip
# Columns that a table has besides keys, order and quantities.
FIXED = {'runs': ['spec', 'provenance'], 'metrics': [], 'traces': [], 'visits': ['count'],
         'pictures': ['image', 'decoded', 'height', 'width', 'shown']}  # fmt: skip
SHOWN = 0  # the pair seed of single-run panels: the lowest of every plan
WINDOW = 9  # pictures per run


@dataclasses.dataclass(frozen=True)
class Chapter:
    """Which tables a chapter of the study has, and which of them must have rows of a run for the run to count."""

    tables: tuple[str, ...]
    needed: tuple[str, ...]
    selects: bool = False  # keeps the quantities alone, and steps of one episode of the shown runs: it is large


CHAPTERS = {
    'base_agent': Chapter(('metrics', 'runs'), ('metrics', 'runs')),
    'toy_maze': Chapter(('metrics', 'traces', 'visits', 'runs'), ('metrics', 'traces', 'visits', 'runs')),
    'study': Chapter(('pictures', 'metrics', 'traces', 'visits', 'runs'), ('metrics', 'runs'), selects=True),
}


def values(name: str) -> list[str]:
    """Columns of a table that hold quantities."""
    per = {'metrics': quantities.EVALUATION, 'traces': quantities.STEP}
    return quantities.recorded(per[name]) if name in per else []


def rows(chapter: str, name: str, spec: RunSpec, store) -> pd.DataFrame:
    """Rows of a finished run for table `name`; none where the chapter keeps none of it."""
    if name == 'runs':
        frame = _run(spec, store)
    elif name == 'metrics':
        frame = _metrics(store.metrics(spec), CHAPTERS[chapter].selects)
    elif CHAPTERS[chapter].selects and not _selected(name, spec):
        return pd.DataFrame()
    else:
        frame = {'traces': steps, 'visits': cells, 'pictures': pictures}[name](store.traces(spec))
    if name == 'traces' and CHAPTERS[chapter].selects:
        frame = frame[frame.episode == 0][[*ORDER[name], *values(name)]]
    return frame.assign(**keys(spec)) if len(frame) else frame


def _run(spec, store):
    content = {'spec': spec.canonical(), 'provenance': store.require(spec).provenance()}
    return pd.DataFrame([{key: json.dumps(value, sort_keys=True) for key, value in content.items()}])


def _metrics(frame, quantities_only):
    """Quantities that the run did not record are NaN."""
    lacking = [name for name in values('metrics') if name not in frame]
    frame = frame.assign(**dict.fromkeys(lacking, np.nan))
    if not quantities_only:
        return frame
    return frame[ORDER['metrics']].join(frame[values('metrics')].astype(float))


def _selected(name, spec):
    """Whether a chapter that selects has rows of this run: of the maze its visits, of the shown runs one episode."""
    task = tasks.get(spec.task)
    shown = spec.pair_seed == SHOWN
    return {'visits': tasks.suite_of(task).visits, 'traces': shown, 'pictures': shown and task.obs == 'vision'}[name]


def steps(traces: dict) -> pd.DataFrame:
    """Padded arrays (episodes, N, ...) -> one row per valid step; vectors as columns v0, v1, ...

    Quantities that the run did not record are NaN.
    """
    valid = np.asarray(traces['valid'], bool)
    episode, step = np.nonzero(valid)
    columns = {'episode': episode, 'step': step}
    for name in values('traces'):
        columns[name] = np.asarray(traces[name])[valid] if name in traces else np.nan
    vector = np.asarray(traces['vector'])[valid].T if 'vector' in traces else ()
    columns |= {f'v{i}': value for i, value in enumerate(vector)}
    return pd.DataFrame(columns)


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
