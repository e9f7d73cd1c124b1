"""What the archive keeps of a finished run: its rows for every table."""

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd

from paper_lib.contract import quantities, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.study.frames import keys
from paper_lib.study.sealed import ACROSS

# The columns that order the rows of a run in each table.
ORDER = {
    'runs': [],
    'metrics': ['env_step'],
    'episodes': ['env_step', 'episode'],
    'traces': ['episode', 'step'],
    'visits': ['ix', 'iy'],
    'pictures': ['step'],
    ACROSS: [],
}
# Columns that a table has besides keys, order and quantities.
FIXED = {
    'runs': ['spec', 'provenance'],
    'metrics': [],
    'episodes': [],
    'traces': [],
    'visits': ['count'],
    'pictures': ['image', 'decoded', 'height', 'width', 'shown'],
    ACROSS: ['provenance'],
}
# The tables that hold quantities: those with a value per evaluation, episode and so on, one in each row.
PER = {
    'metrics': quantities.EVALUATION,
    'episodes': quantities.EPISODE,
    'traces': quantities.STEP,
    ACROSS: quantities.ACROSS,
}
SHOWN = (0, 10)  # the pair seeds of panels that show single runs: the lowest ones of the plans
WINDOW = 9  # pictures per run


@dataclasses.dataclass(frozen=True)
class Chapter:
    """Which tables a chapter of the study has, and which of them must have rows of a run for the run to count.

    A chapter that `selects` is large. It keeps the quantities alone, the steps of one episode, and pictures of the
    shown runs.
    """

    tables: tuple[str, ...]
    needed: tuple[str, ...]
    selects: bool = False


CHAPTERS = {
    'base_agent': Chapter(('metrics', 'episodes', 'runs'), ('metrics', 'runs')),
    'toy_maze': Chapter(('metrics', 'episodes', 'traces', 'visits', 'runs'), ('metrics', 'traces', 'visits', 'runs')),
    'study': Chapter(
        ('pictures', 'metrics', 'episodes', 'traces', 'visits', 'runs'), ('metrics', 'runs'), selects=True
    ),
}


def values(name: str) -> list[str]:
    """Columns of a table that hold quantities."""
    return quantities.recorded(PER[name]) if name in PER else []


def rows(chapter: str, name: str, spec: RunSpec, store: Any) -> pd.DataFrame:
    """Rows of a finished run for table `name`; none where the chapter keeps none of it."""
    selects = CHAPTERS[chapter].selects
    if name == 'runs':
        frame = _run(spec, store)
    elif name == 'metrics':
        frame = _metrics(store.metrics(spec), spec.eval_episodes, quantities_only=selects)
    elif name == 'episodes':
        frame = episodes(store.metrics(spec), spec.eval_episodes)
    elif selects and not _selected(name, spec):
        return pd.DataFrame()
    elif name == 'traces':
        frame = steps(store.traces(spec))
        if selects:
            plane = tasks.get(spec.task).plane
            components = [f'v{index}' for index in plane.components] if plane else []
            frame = frame.loc[frame.episode == 0, [*ORDER[name], *values(name), *components]]
    elif name == 'visits':
        frame = cells(store.traces(spec))
    else:
        frame = pictures(store.traces(spec))
    return frame.assign(**keys(spec)) if len(frame) else frame


def _run(spec: RunSpec, store: Any) -> pd.DataFrame:
    provenance = store.require(spec).provenance()
    row = {
        'spec': json.dumps(spec.canonical(), sort_keys=True),
        'provenance': json.dumps(provenance, sort_keys=True),
    }
    return pd.DataFrame([row])


def _metrics(frame: pd.DataFrame, count: int, quantities_only: bool) -> pd.DataFrame:
    """Evaluations of a run, without the values of their `count` episodes. Quantities that it did not record are NaN."""
    lacking = [name for name in values('metrics') if name not in frame]
    frame = frame.assign(**dict.fromkeys(lacking, np.nan))
    if not quantities_only:
        of_episodes = [quantities.column(name, index) for name in values('episodes') for index in range(count)]
        return frame.drop(columns=of_episodes, errors='ignore')
    recorded = frame[values('metrics')].astype(float)
    return frame[ORDER['metrics']].join(recorded)


def episodes(metrics: pd.DataFrame, count: int) -> pd.DataFrame:
    """Metrics of a run with `count` episodes per evaluation -> one row per episode.

    Quantities that the run did not record are NaN; a run that recorded none has no rows.
    """
    parts = []
    for episode in range(count):
        columns = {'env_step': metrics.env_step, 'episode': episode}
        for name in values('episodes'):
            columns[name] = metrics.get(quantities.column(name, episode), np.nan)
        parts.append(pd.DataFrame(columns))
    found = pd.concat(parts).dropna(how='all', subset=values('episodes'))
    return found.sort_values(ORDER['episodes'], ignore_index=True)


def _selected(name: str, spec: RunSpec) -> bool:
    """Whether a chapter that selects has rows of this run: visits where there is a plane, pictures of shown runs."""
    task = tasks.get(spec.task)
    if name == 'visits':
        return task.plane is not None
    return name == 'traces' or (task.has_image and spec.pair_seed in SHOWN)


def steps(traces: dict[str, np.ndarray]) -> pd.DataFrame:
    """Padded arrays (episodes, N, ...) -> one row per valid step, with columns v0, v1, ...

    These are the vectors or, with images, the positions that are recorded beside them. Quantities that the run did not
    record are NaN.
    """
    valid = np.asarray(traces['valid'], bool)
    episode, step = np.nonzero(valid)
    columns = {'episode': episode, 'step': step}
    for name in values('traces'):
        columns[name] = np.asarray(traces[name])[valid] if name in traces else np.nan
    for key in ('vector', 'place'):
        if key in traces:
            vectors = np.asarray(traces[key])[valid]
            columns |= {f'v{index}': component for index, component in enumerate(vectors.T)}
    return pd.DataFrame(columns)


def cells(traces: dict[str, np.ndarray]) -> pd.DataFrame:
    """Visit counts (nx, ny) -> one row per visited cell."""
    visits = np.asarray(traces['visits'])
    ix, iy = np.nonzero(visits)
    return pd.DataFrame({'ix': ix, 'iy': iy, 'count': visits[ix, iy]})


def hallucination(loss: np.ndarray, recon: np.ndarray) -> int:
    """Step of an episode with the highest loss (N,) among those reconstructed no worse than the median, recon (N,)."""
    well_reconstructed = recon <= np.median(recon)
    return int(np.argmax(np.where(well_reconstructed, loss, -np.inf)))


def pictures(traces: dict[str, np.ndarray]) -> pd.DataFrame:
    """WINDOW steps of the first episode around its hallucination, which is `shown`.

    The columns `image` and `decoded` hold raw bytes, uint8 (height, width, 3).
    """
    valid = np.asarray(traces['valid'][0], bool)
    loss = np.asarray(traces['wm_loss'][0])[valid]
    recon = np.asarray(traces['recon_loss'][0])[valid]
    shown = hallucination(loss, recon)
    length = valid.sum()
    first = max(0, min(shown - WINDOW // 2, length - WINDOW))
    window = np.arange(first, min(first + WINDOW, length))
    image = np.asarray(traces['image'][0])[window]
    decoded = np.asarray(traces['decoded'][0])[window]
    height, width = image.shape[1:3]
    return pd.DataFrame(
        {
            'step': window,
            'image': [picture.tobytes() for picture in image],
            'decoded': [picture.tobytes() for picture in decoded],
            'height': height,
            'width': width,
            'shown': window == shown,
        }
    )
