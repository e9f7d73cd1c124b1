"""How often the replay holds the places that a trajectory passes."""

import numpy as np
import pandas as pd

from paper_lib.contract import agents, maze_layout
from paper_lib.study.frames import Frames

PAPER = {'active': 608.5, 'passive': 12.5, 'tandem': 9.0}  # agent -> median in the caption of the paper's Fig. 2


def cell(position, cells: int = maze_layout.CELLS) -> np.ndarray:
    """Index of the cell that holds a coordinate in [-ARENA, ARENA]."""
    side = maze_layout.ARENA
    index = np.floor((np.asarray(position, float) + side) / (2 * side) * cells).astype(int)
    return np.clip(index, 0, cells - 1)


def along(steps: pd.DataFrame, grid: np.ndarray) -> np.ndarray:
    """Counts of the distinct cells that one trajectory covers, in order of first visit."""
    route = np.stack([cell(steps.v0, len(grid)), cell(steps.v1, len(grid))], 1)
    _, first = np.unique(route, axis=0, return_index=True)
    return grid[tuple(route[np.sort(first)].T)]


def medians(frames: Frames) -> pd.DataFrame:
    """Median count along every final-evaluation episode: columns agent, pair_seed, episode, median."""
    keys = ['agent', 'pair_seed', 'run_id', 'episode']
    rows = [(*key, float(np.median(along(steps, frames.map(key[2])))))
            for key, steps in frames.traces.sort_values('step').groupby(keys)]  # fmt: skip
    return pd.DataFrame(rows, columns=[*keys, 'median']).drop(columns='run_id')


def table(frames: Frames, names) -> pd.DataFrame:
    """Median visitation count along the trajectory: the one shown, over all episodes and seeds, and the paper's."""
    found, rows = medians(frames), []
    for agent in names:
        own = found[found.agent == agent]
        shown = own[(own.pair_seed == frames.first) & (own.episode == 0)]['median']
        rows.append({
            'agent': agents.get(agent).label, 'shown': shown.max(), 'median of all': own['median'].median(),
            'mean of all': own['median'].mean(), 'episodes': len(own), 'paper': PAPER.get(agent, np.nan),
        })  # fmt: skip
    return pd.DataFrame(rows)
