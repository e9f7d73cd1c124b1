"""Figures of one episode: what happens at every step, and what the world model takes it for."""

import numpy as np
from matplotlib.figure import Figure

from paper_lib.contract import agents, quantities, tasks
from paper_lib.study import panels
from paper_lib.study.frames import Frames
from paper_lib.study.style import context

# Abnormal is a loss above this percentile of Active's episode, at this many steps in a row or more: fixed before any
# episode was seen.
PERCENTILE, STRETCH = 99, 5
COLUMNS = ('reward', 'wm_loss', 'recon_loss')


def abnormal(losses, usual) -> list[tuple[int, int]]:
    """Stretches [first, last + 1) of at least STRETCH losses above the PERCENTILE of the `usual` ones."""
    high = np.concatenate([[False], np.asarray(losses) > np.percentile(usual, PERCENTILE), [False]])
    edges = np.flatnonzero(high[1:] != high[:-1]).reshape(-1, 2)
    return [(int(first), int(last)) for first, last in edges if last - first >= STRETCH]


def within(frames: Frames, names, columns=COLUMNS) -> Figure:
    """Quantities at every step of the same episode, a column of panels per task; abnormal stretches shaded."""
    with context():
        figure = panels.new(frames, max(5.5, 4 * len(frames.tasks)), 5.8)
        grid = figure.subplots(len(columns), len(frames.tasks), squeeze=False, sharex='col')
        for column, task in zip(grid.T, frames.tasks, strict=True):
            column[0].set_title(task)
            own = frames.of([task], 'task')
            _steps(column, {agent: own.episode(agent) for agent in names}, columns)
            column[-1].set_xlabel('agent step')
        for axes, name in zip(grid[:, 0], columns, strict=True):
            axes.set_ylabel(quantities.get(name).axis)
        panels.legend(figure, grid.flat, panels.lost(frames, names))
        return figure


def _steps(column, episodes, columns):
    episodes = {agent: steps for agent, steps in episodes.items() if len(steps)}
    for axes, quantity in zip(column, columns, strict=True):
        if not episodes:
            panels.empty(axes, panels.NO_RUN)
        for agent, steps in episodes.items():
            look = agents.get(agent)
            axes.plot(steps.step, steps[quantity], lw=0.9, alpha=0.85, color=look.color, label=look.label)
            if 'active' in episodes and agent != 'active':
                _shade(axes, steps, episodes['active'], look.color)
        panels.dress(axes, quantity)


def _shade(axes, steps, usual, color):
    for first, last in abnormal(steps.wm_loss, usual.wm_loss):
        left, right = steps.step.iloc[first], steps.step.iloc[last - 1] + 1
        axes.axvspan(left, right, color=color, alpha=0.25, lw=0, zorder=0)


def hallucination(frames: Frames, agent: str) -> Figure:
    """What an agent saw (above) and what its world model decoded (below) around the step that misleads it most."""
    with context():
        shown = [task for task in frames.tasks if tasks.get(task).obs == 'vision']
        figure = panels.new(frames, 9, 0.3 + 2.1 * max(1, len(shown)))
        for part, task in zip(figure.subfigures(max(1, len(shown)), 1, squeeze=False).flat, shown or [''], strict=True):
            rows = frames.pictures[(frames.pictures.agent == agent) & (frames.pictures.task == task)]
            if rows.empty:
                axes = part.subplots()
                axes.set_axis_off()
                axes.set_title(task)
                panels.missing(axes, frames, [agent])
            else:
                pictures(part, task, rows.sort_values('step'))
        return figure


def pictures(figure, task: str, rows):
    """What an agent saw, above, and decoded at consecutive steps (rows of Frames.pictures)."""
    grid = figure.subplots(2, len(rows), squeeze=False)
    for axes, row in zip(grid.T, rows.itertuples(), strict=True):
        for ax, data in zip(axes, (row.image, row.decoded), strict=True):
            ax.imshow(np.frombuffer(data, np.uint8).reshape(row.height, row.width, 3), interpolation='nearest')
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.spines[:].set(visible=row.shown, color='red', lw=2.5)
        axes[0].set_title(f'step {row.step}', fontsize=8, loc='center', fontweight='bold' if row.shown else 'normal')
    grid[0, 0].set_ylabel(f'{task}\nseen')
    grid[1, 0].set_ylabel('decoded')
