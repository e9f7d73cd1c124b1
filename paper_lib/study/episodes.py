"""Figures of one episode: what happens at every step, and what the world model takes it for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import ArrayLike

from paper_lib.contract import agents, quantities, tasks
from paper_lib.study import panels
from paper_lib.study.frames import Frames
from paper_lib.study.steps import unusual
from paper_lib.study.style import context

# Abnormal are so many unusual losses in a row or more. It was fixed before any episode was seen.
STRETCH = 5
SMOOTH = 15  # steps of a running mean
# A decoded picture that hallucinates differs from the seen one at least so many times as much as those around it.
# This was chosen when the seven archived runs with pictures were known to have 0.9 to 1.2.
HALLUCINATES = 2.0
COLUMNS = ('reward', 'wm_loss', 'recon_loss')  # quantities that are drawn


def abnormal(losses: ArrayLike, usual: ArrayLike) -> list[tuple[int, int]]:
    """Stretches [first, last + 1) of at least STRETCH losses that are unusual beside the `usual` ones."""
    above = unusual(losses, usual)
    padded = np.concatenate([[False], above, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    stretches = []
    for first, end in edges.reshape(-1, 2):
        if end - first >= STRETCH:
            stretches.append((int(first), int(end)))
    return stretches


def within(frames: Frames, names: Sequence[str]) -> Figure:
    """COLUMNS at every step of the same episode, a column of panels per task; abnormal stretches shaded."""
    tasks_shown = frames.tasks
    with context():
        figure = panels.new(frames, max(5.5, 4 * len(tasks_shown)), 5.8)
        grid = figure.subplots(len(COLUMNS), len(tasks_shown), squeeze=False, sharex='col')
        for column_of_panels, task in zip(grid.T, tasks_shown, strict=True):
            of_task = frames.of([task], 'task')
            column_of_panels[0].set_title(task)
            _draw_episodes(column_of_panels, of_task, names)
            column_of_panels[-1].set_xlabel('agent step')
        for axes, column in zip(grid[:, 0], COLUMNS, strict=True):
            axes.set_ylabel(quantities.get(column).axis)
        panels.legend(figure, grid.flat, panels.notes(frames, names), absent=panels.absent(frames, names))
        return figure


def _draw_episodes(panel_column: Sequence[Axes], frames: Frames, names: Sequence[str]) -> None:
    """The shown episode of every agent on one task, a panel per quantity."""
    episodes = {}
    for agent in names:
        steps = frames.episode(agent)
        if len(steps):
            episodes[agent] = steps
    for axes, column in zip(panel_column, COLUMNS, strict=True):
        if not episodes:
            panels.empty(axes, panels.NO_RUN)
        for agent, steps in episodes.items():
            look = agents.get(agent)
            axes.plot(steps.step, steps[column], lw=0.5, alpha=0.3, color=look.color)
            smooth = steps[column].rolling(SMOOTH, min_periods=1, center=True).mean()
            axes.plot(steps.step, smooth, lw=1.4, color=look.color, label=look.label)
            if 'active' in episodes and agent != 'active':
                _shade(axes, steps, episodes['active'], look.color)
        panels.dress(axes, column)


def _shade(axes: Axes, steps: pd.DataFrame, usual: pd.DataFrame, color: str) -> None:
    """Shade the abnormal stretches of an episode, compared with the usual one."""
    for first, end in abnormal(steps.wm_loss, usual.wm_loss):
        left = steps.step.iloc[first]
        right = steps.step.iloc[end - 1] + 1
        axes.axvspan(left, right, color=color, alpha=0.25, lw=0, zorder=0)


def hallucination(frames: Frames, names: Sequence[str]) -> Figure:
    """What an agent saw, what its world model decoded, and the difference, around the step that misleads it most."""
    (agent,) = names
    with context():
        seen = [task for task in frames.tasks if tasks.get(task).has_image]
        rows = max(1, len(seen))
        figure = panels.new(frames, 7, 0.3 + 2.5 * rows)
        parts = figure.subfigures(rows, 1, squeeze=False).flat
        for part, task in zip(parts, seen or [''], strict=True):
            of_task = frames.pictures[(frames.pictures.agent == agent) & (frames.pictures.task == task)]
            if of_task.empty:
                axes = part.subplots()
                axes.set_axis_off()
                axes.set_title(task)
                panels.missing(axes, frames, [agent])
            else:
                pictures(part, task, of_task.sort_values('step'))
        return figure


def pictures(figure: FigureBase, task: str, rows: pd.DataFrame) -> None:
    """What an agent saw and decoded at consecutive steps (rows of Frames.pictures), and how far the two differ."""
    grid = figure.subplots(3, len(rows), squeeze=False)
    for column, row in zip(grid.T, rows.itertuples(), strict=True):
        seen, decoded = _both(row)
        distance = np.abs(decoded.astype(int) - seen).max(-1)
        for axes, content in zip(column, (seen, decoded, distance), strict=True):
            axes.imshow(content, interpolation='nearest', cmap='gray', vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set(visible=row.shown, color='red', lw=2.5)
        weight = 'bold' if row.shown else 'normal'
        column[0].set_title(f'step {row.step}', fontsize=8, loc='center', fontweight=weight)
    for axes, text in zip(grid[:, 0], (f'{task}\nseen', 'decoded', 'difference'), strict=True):
        axes.set_ylabel(text)


def _both(row: Any) -> tuple[np.ndarray, np.ndarray]:
    """The seen and the decoded picture of a row of Frames.pictures, uint8 (H, W, 3)."""
    shape = (row.height, row.width, 3)
    seen, decoded = (np.frombuffer(content, np.uint8).reshape(shape) for content in (row.image, row.decoded))
    return seen, decoded


def difference(row: Any) -> float:
    """The mean absolute difference of the seen and the decoded picture of a row of Frames.pictures, from 0 to 255."""
    seen, decoded = _both(row)
    return float(np.abs(decoded.astype(int) - seen).mean())
