"""Figures of one kind each, frames in, figure out; those that are grids of curves are in `grids`."""

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from paper_lib.contract import agents, quantities
from paper_lib.study import panels, published, visitation
from paper_lib.study.frames import Frames
from paper_lib.study.style import context

LETTERS = 'abcdefghijklmnopqrstuvwxyz'
OUTLIER = 99.0  # percentile of visited cells above which Fig. 5 paints dark red


def _norm(values, low, high):
    """Log colours from the low to the high percentile of the positive values."""
    positive = values[values > 0]
    if not len(positive):
        return LogNorm(1, 10)
    bottom, top = np.percentile(positive, [low, high])
    return LogNorm(bottom, max(top, bottom * 1.01))


def beside_published(frames: Frames, names) -> Figure:
    """Score of every seed over the scores that the author of DreamerV3 published, one panel per task."""
    with context():
        figure = panels.new(frames, 11, 4.4)
        grid = figure.subplots(1, len(frames.tasks), squeeze=False)[0]
        for axes, letter, task in zip(grid, LETTERS, frames.tasks):
            _beside_published(axes, frames.of([task], 'task'), names, task)
            panels.label(axes, letter, task)
        return figure


def _beside_published(axes, frames, names, task):
    panels.published(axes, published.scores(task), published.AT, published.ALARM[task])
    if len(frames.metrics):
        panels.curves(axes, frames, names, 'score')
    panels.steps(axes)
    axes.set(xlim=(0, 1.02 * published.AT), ylim=(0, 1020), ylabel=quantities.get('score').axis)
    axes.set_xlabel('\n'.join(['environment steps', *panels.lost(frames, names)]))
    axes.legend(loc='lower right')


def trajectories(frames: Frames, names) -> Figure:
    """(a) Score; (b-d) one final trajectory per agent over the visits of its replay and coloured by loss; medians."""
    with context():
        figure = panels.new(frames, 13, 5.9)
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9])
        score, table = left.subplots(2, 1, height_ratios=[2.2, 1])
        panels.curves(score, frames, names, 'score')
        score.set_ylabel(quantities.get('score').axis)
        if score.lines:
            score.legend(loc='best')
        panels.label(score, 'a', quantities.get('score').heading)
        _medians(table, frames, names)
        _trajectories(right, frames, names)
        return figure


def _medians(axes, frames, names):
    found = visitation.table(frames, names)[['agent', 'shown', 'median of all', 'paper']]
    text = [[f'{v:.1f}' if isinstance(v, float) and np.isfinite(v) else '-' if isinstance(v, float) else v for v in row]
            for row in found.itertuples(index=False)]  # fmt: skip
    axes.axis('off')
    axes.set_title('Median visitation count along the trajectory')
    table = axes.table(text, colLabels=['', 'shown', 'all seeds', 'paper'], bbox=[0, 0.05, 1, 0.9], edges='horizontal')
    table.set_fontsize(9)


def _trajectories(figure, frames, names):
    axes = figure.subplots(2, len(names))
    shown = {agent: frames.episode(agent) for agent in names}
    maps = {agent: frames.map(steps.run_id.iloc[0]) for agent, steps in shown.items() if len(steps)}
    counts = np.concatenate([grid.ravel() for grid in maps.values()] or [np.zeros(1)])
    losses = np.concatenate([shown[agent].wm_loss for agent in maps] or [np.zeros(1)])
    norms = _norm(counts, 0, 100), _norm(losses, 1, 99)
    drawn = [None, None]
    for agent, letter, (top, bottom) in zip(names, LETTERS[1:], axes.T):
        panels.label(top, letter, agents.get(agent).label)
        for ax in (top, bottom):
            panels.walls(ax, frames.specs[0].goal_radius)
        if agent not in maps:
            panels.missing(top, frames, [agent])
            panels.missing(bottom, frames, [agent])
            continue
        drawn[0] = panels.visits(top, maps[agent], norms[0], 'viridis')
        panels.path(top, shown[agent])
        drawn[1] = panels.coloured_path(bottom, shown[agent], 'wm_loss', norms[1], 'plasma')
    for row, image, text in zip(axes, drawn, ('replay states per cell', quantities.get('wm_loss').axis), strict=True):
        if image is not None:
            panels.colorbar(figure, image, row, text, shrink=0.9)


def quantity_panels(frames: Frames, names, columns) -> Figure:
    """Four quantities over training, a panel each."""
    with context():
        figure = panels.new(frames, 11, 6.6)
        grid = figure.subplots(2, 2)
        for axes, letter, column in zip(grid.flat, LETTERS, columns):
            panels.curves(axes, frames, names, column)
            panels.label(axes, letter, quantities.get(column).heading)
            axes.set_ylabel(quantities.get(column).axis)
            panels.dress(axes, column)
        panels.legend(figure, grid[:1, 0])
        return figure


def maps(frames: Frames, names) -> Figure:
    """Visits of final replays; unvisited grey, cells above the 99th percentile dark red."""
    with context():
        figure = panels.new(frames, 11, 3.9)
        axes = figure.subplots(1, len(names))
        runs = frames.runs[frames.runs.pair_seed == frames.first].set_index('agent').run_id
        found = {agent: frames.map(runs[agent]) for agent in names if agent in runs}
        counts = np.concatenate([grid.ravel() for grid in found.values()] or [np.zeros(1)])
        norm = _norm(counts, 0, OUTLIER)
        cmap = matplotlib.colormaps['viridis'].with_extremes(over='darkred')
        for ax, letter, agent in zip(axes, LETTERS, names):
            panels.walls(ax, frames.specs[0].goal_radius)
            panels.label(ax, letter, agents.get(agent).label)
            if agent not in found:
                panels.missing(ax, frames, [agent])
                continue
            image = panels.visits(ax, found[agent], norm, cmap)
            ax.set_xlabel(f'{np.count_nonzero(found[agent])} cells visited')
        if found:
            panels.colorbar(figure, image, axes, 'replay states per cell', shrink=0.8, extend='max')
        return figure


def explorers(frames: Frames, names, columns) -> Figure:
    """Two quantities on the data of the two explorers, with the Active agent as a dashed baseline."""
    with context():
        figure = panels.new(frames, 11, 6.6)
        grid = figure.subplots(2, 2)
        groups = {'exploration': 'exploration data', 'mixed': 'mixed-reward data'}
        for row, letters, (group, text) in zip(grid, ('ab', 'cd'), groups.items(), strict=True):
            shown = [name for name in names if name in agents.group('active', group)]
            for axes, letter, column in zip(row, letters, columns, strict=True):
                panels.curves(axes, frames, shown, column, faded=['active'])
                panels.label(axes, letter, f'{quantities.get(column).heading}, {text}')
                axes.set_ylabel(quantities.get(column).axis)
                panels.dress(axes, column)
        panels.legend(figure, grid[:, 0])
        return figure
