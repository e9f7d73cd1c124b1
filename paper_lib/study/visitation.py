"""How often the replay holds the places that a trajectory passes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from paper_lib.contract import agents
from paper_lib.contract.plane import Plane
from paper_lib.study.frames import Frames

PAPER = {'active': 608.5, 'passive': 12.5, 'tandem': 9.0}  # agent -> median in the caption of the preprint's Fig. 2
PUBLISHED = {'active': 650.0, 'passive': 54.5, 'tandem': 37.0}  # the same in the published version


def points(steps: pd.DataFrame, plane: Plane) -> np.ndarray:
    """(n, 2): where a trajectory goes in the plane."""
    columns = [f'v{component}' for component in plane.components]
    return steps[columns].to_numpy()


def along(steps: pd.DataFrame, grid: np.ndarray, plane: Plane) -> np.ndarray:
    """Counts of the distinct cells that one trajectory covers, in order of first visit."""
    route = plane.cells(points(steps, plane), len(grid))
    _, first_visits = np.unique(route, axis=0, return_index=True)
    distinct = route[np.sort(first_visits)]
    return grid[distinct[:, 0], distinct[:, 1]]


def medians(frames: Frames) -> pd.DataFrame:
    """Median count along every final-evaluation episode: columns agent, pair_seed, episode, median."""
    rows = []
    episodes = frames.traces.sort_values('step').groupby(['agent', 'pair_seed', 'run_id', 'episode'])
    for (agent, pair_seed, run_id, episode), steps in episodes:
        median = float(np.median(along(steps, frames.map(run_id), frames.plane)))
        rows.append((agent, pair_seed, episode, median))
    return pd.DataFrame(rows, columns=['agent', 'pair_seed', 'episode', 'median'])


def table(frames: Frames, names: Sequence[str]) -> pd.DataFrame:
    """Median visitation count along the trajectory: the one shown, over all episodes and seeds, and the paper's.

    The frames are of one task. The paper's counts are of the maze alone.
    """
    in_maze = frames.suite == 'maze'
    every_median = medians(frames)
    rows = []
    for agent in names:
        of_agent = every_median[every_median.agent == agent]
        is_shown = (of_agent.pair_seed == frames.first) & (of_agent.episode == 0)
        rows.append(
            {
                'agent': agents.get(agent).label,
                'shown': of_agent['median'][is_shown].max(),
                'median of all': of_agent['median'].median(),
                'mean of all': of_agent['median'].mean(),
                'episodes': len(of_agent),
            }
            | ({'paper': PAPER.get(agent, np.nan)} if in_maze else {})
        )
    return pd.DataFrame(rows)
