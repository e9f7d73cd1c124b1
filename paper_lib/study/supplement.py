"""The tables of the paper's appendix: S1, the environments, and S2, the data that an agent adds itself."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from paper_lib.contract import tasks
from paper_lib.study import claims
from paper_lib.study.frames import Frames
from paper_lib.study.paper import SUITES

ADAPTIVE = 'passive_auto'
PAPER = {  # percent of self-generated data in the paper's Table S2
    'cheetah_run-proprio': 10.44, 'cheetah_run-vision': 6.53, 'cup_catch-proprio': 0.67, 'cup_catch-vision': 9.47,
    'finger_turn_hard-proprio': 2.53, 'finger_turn_hard-vision': 3.47, 'hopper_hop-proprio': 4.31,
    'hopper_hop-vision': 4.00, 'humanoid_walk-proprio': 17.78, 'humanoid_walk-vision': 3.60,
    'point_mass_maze-proprio': 0.00, 'point_mass_maze-vision': 4.62, 'quadruped_run-proprio': 2.53,
    'quadruped_run-vision': 2.93, 'reacher_hard-proprio': 2.27, 'reacher_hard-vision': 20.31,
    'walker_walk-proprio': 18.27, 'walker_walk-vision': 7.87, 'assembly-proprio': 8.04, 'basketball-proprio': 7.16,
    'button-press-proprio': 4.04, 'lever-pull-proprio': 1.20, 'peg-insert-side-proprio': 2.31,
    'pick-place-proprio': 9.82, 'soccer-proprio': 14.93, 'window-open-proprio': 1.47, 'asterix-vision': 2.68,
    'breakout-vision': 1.86, 'freeway-vision': 0.00, 'seaquest-vision': 0.07, 'space_invaders-vision': 0.47,
}  # fmt: skip


def environments() -> pd.DataFrame:
    """Table S1 from the paper's tasks: one row per suite."""
    rows = []
    for suite, names in SUITES.items():
        members = [tasks.get(name) for name in names]
        images = [f'{task.image} x {task.image}' for task in members if task.has_image]
        rows.append(
            {
                'suite': suite,
                'tasks': len(members),
                'observations': _distinct(task.obs for task in members),
                'image': _distinct(images) or '-',
                'action repeat': _distinct(task.repeat for task in members),
                'longest episode (agent steps)': _distinct(task.limit for task in members),
                'parallel environments': _distinct(task.envs for task in members),
            }
        )
    return pd.DataFrame(rows)


def _distinct(values: Iterable[str | int]) -> str:
    """The values in words, each once."""
    return ', '.join(dict.fromkeys(map(str, values)))


def self_generated(frames: Frames) -> pd.DataFrame:
    """Table S2: environment steps that ADAPTIVE added, in percent of those of its source; one row per planned task.

    The lowest and the highest run stand beside the mean. The last row is the mean over the tasks that have runs, of
    the paper's numbers for the same tasks too. The paper's own average is over all 31 tasks.
    """
    table = _shares(frames)
    with_runs = table[table['count'] > 0]
    table['count'] = table['count'].fillna(0).astype(int)
    average = {
        'task': f'average of {len(with_runs)}',
        'mean': with_runs['mean'].mean(),
        'paper': with_runs['paper'].mean(),
        'count': int(table['count'].sum()),
    }
    rows = pd.concat([table.reset_index(names='task'), pd.DataFrame([average])], ignore_index=True)
    rows['count'] = rows['count'].astype('Int64')
    headings = {'mean': 'ours (%)', 'min': 'lowest', 'max': 'highest', 'count': 'n', 'paper': 'paper (%)'}
    return rows.rename(columns=headings)


def agreement(frames: Frames) -> str:
    """Spearman's rank correlation of our percentages and the paper's, as a sentence; '' with fewer than three tasks."""
    both = _shares(frames)[['mean', 'paper']].dropna()
    if len(both) < 3:
        return ''
    correlation = both['mean'].rank().corr(both['paper'].rank())
    return f"Spearman's rank correlation of ours and the paper's over these {len(both)} tasks is {correlation:.2f}."


def _shares(frames: Frames) -> pd.DataFrame:
    """One row per task on which ADAPTIVE is planned: mean, min, max and count of its runs, and the paper's number."""
    planned = list(dict.fromkeys(spec.task for spec in frames.wanted(ADAPTIVE)))
    metrics = frames.metrics[frames.metrics.agent == ADAPTIVE]
    runs = metrics[['task', 'run_id']].drop_duplicates()
    shares = runs.run_id.map(claims.added(metrics)).astype(float)
    table = shares.groupby(runs.task).agg(['mean', 'min', 'max', 'count']).reindex(planned)
    return table.assign(paper=[PAPER.get(task, np.nan) for task in planned])
