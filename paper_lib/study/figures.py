"""Figures of one kind each, frames in, figure out; those that are grids of curves are in `grids`."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from paper_lib.contract import agents, quantities
from paper_lib.study import panels, price, published, visitation
from paper_lib.study.frames import Frames
from paper_lib.study.names import counted
from paper_lib.study.style import GREY, THEIRS, context

LETTERS = 'abcdefghijklmnopqrstuvwxyz'
OUTLIER = 99.0  # percentile of visited cells above which Fig. 5 paints dark red


def _norm(values: Sequence[np.ndarray], low: float, high: float) -> LogNorm:
    """Log colours from the low to the high percentile of the positive values."""
    flat = np.concatenate([np.zeros(1), *(np.ravel(each) for each in values)])
    positive = flat[flat > 0]
    if not len(positive):
        return LogNorm(1, 10)
    bottom, top = np.percentile(positive, [low, high])
    return LogNorm(bottom, max(top, bottom * 1.01))


def beside_published(frames: Frames, names: Sequence[str]) -> Figure:
    """Score of every seed over the scores that the author of DreamerV3 published, one panel per task."""
    with context():
        figure = panels.new(frames, 7.4, 3.4)
        row = figure.subplots(1, len(frames.tasks), squeeze=False)[0]
        for axes, letter, task in zip(row, LETTERS, frames.tasks):
            _draw_beside_published(axes, frames.of([task], 'task'), names, task)
            panels.label(axes, letter, task)
        return figure


def _draw_beside_published(axes: Axes, frames: Frames, names: Sequence[str], task: str) -> None:
    panels.published(axes, published.scores(task), published.AT, published.ALARM[task])
    if len(frames.metrics):
        panels.curves(axes, frames, names, 'score')
    panels.steps(axes)
    axes.set(xlim=(0, 1.035 * published.AT), ylim=(0, 1020), ylabel=quantities.get('score').axis)
    axes.set_xlabel('\n'.join(['environment steps', *panels.lost(frames, names)]))
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.2), ncols=2)


def trajectories(frames: Frames, names: Sequence[str]) -> Figure:
    """(a) Score; (b-d) one final trajectory per agent over the visits of its replay and coloured by loss; medians."""
    with context():
        figure = panels.new(frames, 7.6, 3.6)
        left, right = figure.subfigures(1, 2, width_ratios=[1, 2.1])
        score, table = left.subplots(2, 1, height_ratios=[2.2, 1])
        panels.curves(score, frames, names, 'score')
        score.set_ylabel(quantities.get('score').axis)
        if score.lines:
            score.legend(loc='best')
        panels.label(score, 'a', quantities.get('score').heading)
        _draw_medians(table, frames, names)
        _draw_trajectories(right, frames, names)
        return figure


def _draw_medians(axes: Axes, frames: Frames, names: Sequence[str]) -> None:
    """A small table of median visitation counts."""
    medians = visitation.table(frames, names)
    columns = {'shown': 'shown', 'median of all': 'all', 'paper': 'paper'}
    columns = {name: heading for name, heading in columns.items() if name in medians}
    rows = []
    for row in medians.to_dict('records'):
        rows.append([row['agent'], *(_count(row[name]) for name in columns)])
    axes.axis('off')
    axes.set_title('Median visits')
    widths = [0.31, *[0.69 / len(columns)] * len(columns)]
    look = {'bbox': [0, 0.05, 1, 0.9], 'edges': 'horizontal', 'colWidths': widths}
    table = axes.table(rows, colLabels=['', *columns.values()], **look)
    table.auto_set_font_size(False)
    table.set_fontsize(8)


def _count(value: float) -> str:
    return f'{value:.1f}' if np.isfinite(value) else '-'


def _draw_trajectories(figure: FigureBase, frames: Frames, names: Sequence[str]) -> None:
    """A column of two planes per agent: its path over the visits of the replay, and its path coloured by loss."""
    upper, lower = figure.subplots(2, len(names), squeeze=False)
    paths = {}
    visits = {}
    for agent in names:
        steps = frames.episode(agent)
        if len(steps):
            paths[agent] = steps
            visits[agent] = frames.map(steps.run_id.iloc[0])
    visit_norm = _norm(list(visits.values()), 0, 100)
    loss_norm = _norm([steps.wm_loss for steps in paths.values()], 1, 99)
    thin = frames.suite != 'maze'  # a body moves to and fro, and a thick path would hide what is below it
    visit_image = loss_image = None
    for agent, letter, above, below in zip(names, LETTERS[1:], upper, lower):
        panels.label(above, letter, agents.get(agent).label)
        for axes in (above, below):
            panels.plane(axes, frames)
        if agent not in paths:
            panels.missing(above, frames, [agent])
            panels.missing(below, frames, [agent])
            continue
        points = visitation.points(paths[agent], frames.plane)
        visit_image = panels.visits(above, visits[agent], frames.plane, visit_norm, 'viridis')
        panels.path(above, points, thin)
        loss_image = panels.coloured_path(below, points, paths[agent].wm_loss, loss_norm, 'plasma', thin)
    middle = len(names) // 2
    for axes in (*upper, *lower[:middle], *lower[middle + 1 :]):
        axes.set_xlabel('')
    for axes in (*upper[1:], *lower[1:]):
        axes.set_ylabel('')
    if paths:
        panels.colorbar(figure, visit_image, upper, 'replay states per cell', shrink=0.9)
        panels.colorbar(figure, loss_image, lower, quantities.get('wm_loss').axis, shrink=0.9)


def quantity_panels(frames: Frames, names: Sequence[str], columns: Sequence[str]) -> Figure:
    """Four quantities over training, a panel each."""
    with context():
        figure = panels.new(frames, 7, 5.2)
        grid = figure.subplots(2, 2)
        for axes, letter, column in zip(grid.flat, LETTERS, columns):
            _draw_quantity(axes, frames, names, column)
            panels.label(axes, letter, quantities.get(column).heading)
        panels.legend(figure, grid[:1, 0], absent=panels.absent(frames, names))
        return figure


def _draw_quantity(axes: Axes, frames: Frames, names: Sequence[str], column: str, faded: Sequence[str] = ()) -> None:
    """Curves of one quantity with its label and its scale."""
    panels.curves(axes, frames, names, column, faded)
    axes.set_ylabel(quantities.get(column).axis)
    panels.dress(axes, column)


def maps(frames: Frames, names: Sequence[str]) -> Figure:
    """Visits of final replays; unvisited grey, cells above the 99th percentile dark red."""
    with context():
        figure = panels.new(frames, 7, 2.8)
        row = figure.subplots(1, len(names), squeeze=False)[0]
        visits = _visits(frames, names)
        norm = _norm(list(visits.values()), 0, OUTLIER)
        colours = matplotlib.colormaps['viridis'].with_extremes(over='darkred')
        image = None
        for axes, letter, agent in zip(row, LETTERS, names):
            panels.plane(axes, frames)
            panels.label(axes, letter, agents.get(agent).label)
            if agent not in visits:
                panels.missing(axes, frames, [agent])
                continue
            image = panels.visits(axes, visits[agent], frames.plane, norm, colours)
            axes.set_xlabel(f'{np.count_nonzero(visits[agent]):,} cells visited')
        if image is not None:
            panels.colorbar(figure, image, row, 'replay states per cell', shrink=0.8, extend='max')
        return figure


def _visits(frames: Frames, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Visit counts of the run of the first pair seed of every agent that has one."""
    runs = frames.runs[frames.runs.pair_seed == frames.first]
    run_ids = dict(zip(runs.agent, runs.run_id))
    return {agent: frames.map(run_ids[agent]) for agent in names if agent in run_ids}


def explorers(frames: Frames, names: Sequence[str], columns: Sequence[str]) -> Figure:
    """Two quantities on the data of the two explorers, with the Active agent as a dashed baseline."""
    with context():
        figure = panels.new(frames, 7, 5.2)
        grid = figure.subplots(2, 2)
        letters = iter(LETTERS)
        groups = {'exploration': 'exploration data', 'mixed': 'mixed-reward data'}
        for row, (group, text) in zip(grid, groups.items(), strict=True):
            members = agents.group('active', group)
            shown = [agent for agent in names if agent in members]
            for axes, column in zip(row, columns, strict=True):
                _draw_quantity(axes, frames, shown, column, faded=['active'])
                panels.label(axes, next(letters), f'{quantities.get(column).words.capitalize()}, {text}')
        panels.legend(figure, grid[:, 0], absent=panels.absent(frames, names))
        return figure


COUNTS = {
    price.OWN: 'environment steps of its own data',
    price.ALL: 'environment steps, evaluation episodes counted too',
}


def scores_bought(frames: Frames, names: Sequence[str]) -> Figure:
    """Final normalised score over the environment steps that an agent used beyond its recording, by both counts.

    A row of panels per count, a column per task. A small mark per pair, a large one for the mean of an agent.
    """
    with context():
        count = len(frames.tasks)
        figure = panels.new(frames, 0.6 + 4.2 * count, 5.6)
        grid = figure.subplots(len(COUNTS), count, squeeze=False, sharey=True)
        runs = price.used(frames)
        offline = [name for name in names if name != 'active']
        for row, (column, text) in zip(grid, COUNTS.items(), strict=True):
            for axes, task in zip(row, frames.tasks, strict=True):
                of_task = runs[runs.task == task]
                if of_task.empty:
                    has_runs = (frames.runs.task == task).any()
                    panels.empty(axes, 'no normalised score' if has_runs else panels.NO_RUN)
                    continue
                _draw_bought(axes, of_task, offline, column)
                panels.steps(axes)
                axes.xaxis.set_major_locator(MaxNLocator(6))
                axes.set_xlabel(text)
            row[0].set_ylabel('normalised final score')
        for axes, task in zip(grid[0], frames.tasks, strict=True):
            pairs = runs.pair_seed[runs.task == task].nunique()
            axes.set_title(f'{task} ({counted(pairs, "pair")})')
        panels.legend(figure, grid.flat, panels.notes(frames, names), ncols=3, absent=panels.absent(frames, names))
        return figure


def _draw_bought(axes: Axes, runs: pd.DataFrame, names: Sequence[str], column: str) -> None:
    """Scores of one task over one count of steps; agents that add data at fixed rates are joined by a line."""
    means = runs.groupby('agent')[[column, 'score']].mean()
    fixed = means[means.index.isin(price.FIXED)].sort_values(column)
    axes.plot(fixed[column], fixed.score, color=GREY, lw=1.2, zorder=1, label='fixed rates' if len(fixed) > 1 else None)
    of_active = runs.drop_duplicates('pair_seed').active.mean()
    axes.axhline(of_active, ls='--', lw=1, color=agents.get('active').color, zorder=1, label='Active')
    recording = runs.recording.max()
    axes.axvline(recording, ls=':', lw=1, color=THEIRS, zorder=1, label='steps in the recording')
    widest = max(recording, runs[price.ALL].max())
    axes.set_xlim(-0.04 * widest, 1.04 * widest)
    for name in names:
        look = agents.get(name)
        own = runs[runs.agent == name]
        axes.plot(own[column], own.score, look.marker, ms=3.5, alpha=0.45, mew=0, color=look.color)
        if len(own):
            size = {'ms': 9, 'mec': 'white', 'mew': 0.8, 'zorder': 4}
            mean = means.loc[name, [column, 'score']]
            axes.plot(*mean, look.marker, color=look.color, label=look.label, **size)
