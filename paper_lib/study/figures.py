"""Frames in, figure out. One function per figure."""

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from paper_lib.study import panels, published, visitation
from paper_lib.study.frames import Frames
from paper_lib.study.style import LOOKS, WARNING, context

AGENTS = ['active', 'passive', 'tandem']
MAPS = ['active', 'active_expl', 'active_mixed']
EXPLORERS = {data: [f'{agent}_{data}' for agent in AGENTS] for data in ('expl', 'mixed')}
CURVES = {
    'wm_loss': 'World-model loss on own episodes',
    'value': 'Value estimate of the first state',
    'mc_return': 'Discounted Monte-Carlo return',
    'value_error': 'Value error: estimate - return',
}
OUTLIER = 99.0  # percentile of visited cells above which Fig. 5 paints dark red


def _new(scale, width, height):
    figure = Figure(figsize=(width, height), layout='constrained')
    if scale == 'smoke':
        figure.suptitle(WARNING, color='#B00000', fontsize=12, fontweight='bold')
    return figure


def _label(axes, letter, text):
    axes.set_title(f'({letter}) {text}')


def _legend(figure, axes):
    """One legend below the panels, each agent once."""
    handles = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc='outside lower center', ncols=4)


def _norm(values, low, high):
    """Log colours from the low to the high percentile of the positive values."""
    positive = values[values > 0]
    if not len(positive):
        return LogNorm(1, 10)
    bottom, top = np.percentile(positive, [low, high])
    return LogNorm(bottom, max(top, bottom * 1.01))


def figure_base_agent(frames: Frames, scale: str) -> Figure:
    """Score of every seed over the scores that the author of DreamerV3 published, one panel per task."""
    with context():
        figure = _new(scale, 11, 4.4)
        names = list(dict.fromkeys(spec.task for spec in frames.specs))
        for axes, letter, task in zip(figure.subplots(1, len(names), squeeze=False)[0], 'abcdefgh', names):
            _beside_published(axes, frames.of([task], 'task'), scale, task)
            _label(axes, letter, task)
        return figure


def _beside_published(axes, frames, scale, task):
    panels.published(axes, published.scores(task), published.AT, published.ALARM[task])
    lost = f'active: {len(frames.missing)} of {len(frames.specs)} missing, {panels.COMMAND.format(scale)}'
    if len(frames.metrics):
        panels.curves(axes, frames, scale, ['active'], 'score')
    panels.steps(axes)
    axes.set(xlim=(0, 1.02 * published.AT), ylim=(0, 1020), ylabel='episode score')
    axes.set_xlabel(f'environment steps\n{lost}' if frames.missing else 'environment steps')
    axes.legend(loc='lower right')


def figure_2(frames: Frames, scale: str) -> Figure:
    """(a) Score; (b-d) one final trajectory per agent over the visits of its replay and coloured by loss; medians."""
    with context():
        figure = _new(scale, 13, 5.9)
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9])
        score, table = left.subplots(2, 1, height_ratios=[2.2, 1])
        panels.curves(score, frames, scale, AGENTS, 'score')
        score.set_ylabel('episode score')
        if score.lines:
            score.legend(loc='best')
        _label(score, 'a', 'Score')
        _medians(table, frames)
        _trajectories(right, frames, scale)
        return figure


def _medians(axes, frames):
    found = visitation.table(frames)[['agent', 'shown', 'median of all', 'paper']]
    text = [[f'{v:.1f}' if isinstance(v, float) and np.isfinite(v) else '-' if isinstance(v, float) else v for v in row]
            for row in found.itertuples(index=False)]  # fmt: skip
    axes.axis('off')
    axes.set_title('Median visitation count along the trajectory')
    table = axes.table(text, colLabels=['', 'shown', 'all seeds', 'paper'], bbox=[0, 0.05, 1, 0.9], edges='horizontal')
    table.set_fontsize(9)


def _trajectories(figure, frames, scale):
    axes = figure.subplots(2, 3)
    shown = {agent: frames.episode(agent) for agent in AGENTS}
    maps = {agent: frames.map(steps.run_id.iloc[0]) for agent, steps in shown.items() if len(steps)}
    counts = np.concatenate([grid.ravel() for grid in maps.values()] or [np.zeros(1)])
    losses = np.concatenate([shown[agent].wm_loss for agent in maps] or [np.zeros(1)])
    norms = _norm(counts, 0, 100), _norm(losses, 1, 99)
    drawn = [None, None]
    for i, agent in enumerate(AGENTS):
        top, bottom = axes[:, i]
        _label(top, 'bcd'[i], LOOKS[agent].label)
        for ax in (top, bottom):
            panels.walls(ax, frames.specs[0].goal_radius)
        if agent not in maps:
            panels.missing(top, frames, scale, [agent])
            panels.missing(bottom, frames, scale, [agent])
            continue
        drawn[0] = panels.visits(top, maps[agent], norms[0], 'viridis')
        panels.path(top, shown[agent])
        drawn[1] = panels.coloured_path(bottom, shown[agent], 'wm_loss', norms[1], 'plasma')
    for row, image, text in zip(axes, drawn, ('replay states per cell', 'world-model loss'), strict=True):
        if image is not None:
            panels.colorbar(figure, image, row, text, shrink=0.9)


def figure_2_curves(frames: Frames, scale: str) -> Figure:
    """World-model loss, and value estimate, Monte-Carlo return and their difference (as Fig. S2), over training."""
    with context():
        figure = _new(scale, 11, 6.6)
        grid = figure.subplots(2, 2)
        for axes, letter, column in zip(grid.flat, 'abcd', CURVES, strict=True):
            panels.curves(axes, frames, scale, AGENTS, column)
            _label(axes, letter, CURVES[column])
            axes.set_ylabel('loss' if column == 'wm_loss' else 'discounted return')
            if column == 'wm_loss':
                panels.logarithmic(axes)
            if column == 'value_error' and axes.lines:
                axes.axhline(0, color='black', lw=0.8)
        _legend(figure, grid[:1, 0])
        return figure


def figure_5(frames: Frames, scale: str) -> Figure:
    """Visits of three Active agents' final replays; unvisited grey, cells above the 99th percentile dark red."""
    with context():
        figure = _new(scale, 11, 3.9)
        axes = figure.subplots(1, 3)
        runs = frames.runs[frames.runs.pair_seed == frames.first].set_index('agent').run_id
        maps = {agent: frames.map(runs[agent]) for agent in MAPS if agent in runs}
        counts = np.concatenate([grid.ravel() for grid in maps.values()] or [np.zeros(1)])
        norm = _norm(counts, 0, OUTLIER)
        cmap = matplotlib.colormaps['viridis'].with_extremes(over='darkred')
        for ax, letter, agent in zip(axes, 'abc', MAPS, strict=True):
            panels.walls(ax, frames.specs[0].goal_radius)
            _label(ax, letter, LOOKS[agent].label)
            if agent not in maps:
                panels.missing(ax, frames, scale, [agent])
                continue
            image = panels.visits(ax, maps[agent], norm, cmap)
            ax.set_xlabel(f'{np.count_nonzero(maps[agent])} cells visited')
        if maps:
            panels.colorbar(figure, image, axes, 'replay states per cell', shrink=0.8, extend='max')
        return figure


def figure_5_curves(frames: Frames, scale: str) -> Figure:
    """Score and world-model loss on the explorers' data, with the Active agent as a dashed baseline."""
    with context():
        figure = _new(scale, 11, 6.6)
        grid = figure.subplots(2, 2)
        data_names = {'expl': 'exploration data', 'mixed': 'mixed-reward data'}
        titles = {'score': 'Score', 'wm_loss': 'World-model loss'}
        for row, letters, (data, text) in zip(grid, ('ab', 'cd'), data_names.items(), strict=True):
            names = ['active', *EXPLORERS[data]]
            for axes, letter, (column, title) in zip(row, letters, titles.items(), strict=True):
                panels.curves(axes, frames, scale, names, column, faded=['active'])
                _label(axes, letter, f'{title}, {text}')
                axes.set_ylabel('episode score' if column == 'score' else 'loss on own episodes')
            panels.logarithmic(row[1])
        _legend(figure, grid[:, 0])
        return figure


FIGURES = {  # section -> name -> how it is drawn, agents that it shows
    'base_agent': {'figure_base_agent': (figure_base_agent, ['active'])},
    'toy_maze': {
        'figure_2': (figure_2, AGENTS),
        'figure_2_curves': (figure_2_curves, AGENTS),
        'figure_5': (figure_5, MAPS),
        'figure_5_curves': (figure_5_curves, ['active', *EXPLORERS['expl'], *EXPLORERS['mixed']]),
    },
}
