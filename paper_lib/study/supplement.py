"""The tables of the paper's appendix: S1, the environments, and S2, the data that an agent adds itself."""

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
        own = [tasks.get(name) for name in names]

        def each(values):
            return ', '.join(dict.fromkeys(map(str, values)))

        rows.append({
            'suite': suite, 'tasks': len(own), 'observations': each(task.obs for task in own),
            'image': each(f'{task.image} x {task.image}' for task in own if task.obs == 'vision') or '-',
            'action repeat': each(task.repeat for task in own),
            'longest episode (agent steps)': each(task.limit for task in own),
            'parallel environments': each(task.envs for task in own),
        })  # fmt: skip
    return pd.DataFrame(rows)


def self_generated(frames: Frames) -> pd.DataFrame:
    """Table S2: environment steps that ADAPTIVE added, in percent of its source's; one row per planned task, average.

    The lowest and highest run stand beside the mean. The last row is the mean over tasks that have runs, of the paper's
    numbers for the same tasks too; the paper's own average is over all 31.
    """
    wanted = list(dict.fromkeys(spec.task for spec in frames.wanted(ADAPTIVE)))
    own = frames.metrics[frames.metrics.agent == ADAPTIVE]
    runs = (
        own[['task', 'run_id']].drop_duplicates().assign(share=lambda x: x.run_id.map(claims.added(own)).astype(float))
    )
    table = runs.groupby('task').share.agg(['mean', 'min', 'max', 'count']).reindex(wanted)
    table['paper'] = [PAPER[task] for task in wanted]
    done = table[table['count'] > 0]
    table['count'] = table['count'].fillna(0).astype(int)
    average = done[['mean', 'paper']].mean()
    last = {'task': f'average of {len(done)}', **average, 'count': int(table['count'].sum())}
    found = pd.concat([table.reset_index(names='task'), pd.DataFrame([last])], ignore_index=True)
    return found.rename(
        columns={'mean': 'ours (%)', 'min': 'lowest', 'max': 'highest', 'count': 'n', 'paper': 'paper (%)'}
    )
