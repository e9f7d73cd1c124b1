"""Frames in, figure out. One function per figure."""

import dataclasses
import functools
import typing

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from paper_lib.contract import tasks
from paper_lib.study import agents, episodes, grids, overview, panels, published, visitation
from paper_lib.study.frames import Frames
from paper_lib.study.style import LOOKS, context

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
        figure = panels.new(scale, 11, 4.4)
        names = list(dict.fromkeys(spec.task for spec in frames.specs))
        for axes, letter, task in zip(figure.subplots(1, len(names), squeeze=False)[0], 'abcdefgh', names):
            _beside_published(axes, frames.of([task], 'task'), scale, task)
            panels.label(axes, letter, task)
        return figure


def _beside_published(axes, frames, scale, task):
    panels.published(axes, published.scores(task), published.AT, published.ALARM[task])
    lost = f'Active: {len(frames.missing)} of {len(frames.specs)} missing, {panels.command(scale)}'
    if len(frames.metrics):
        panels.curves(axes, frames, scale, ['active'], 'score')
    panels.steps(axes)
    axes.set(xlim=(0, 1.02 * published.AT), ylim=(0, 1020), ylabel='episode score')
    axes.set_xlabel(f'environment steps\n{lost}' if frames.missing else 'environment steps')
    axes.legend(loc='lower right')


def figure_2(frames: Frames, scale: str) -> Figure:
    """(a) Score; (b-d) one final trajectory per agent over the visits of its replay and coloured by loss; medians."""
    with context():
        figure = panels.new(scale, 13, 5.9)
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9])
        score, table = left.subplots(2, 1, height_ratios=[2.2, 1])
        panels.curves(score, frames, scale, AGENTS, 'score')
        score.set_ylabel('episode score')
        if score.lines:
            score.legend(loc='best')
        panels.label(score, 'a', 'Score')
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
        panels.label(top, 'bcd'[i], LOOKS[agent].label)
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
        figure = panels.new(scale, 11, 6.6)
        grid = figure.subplots(2, 2)
        for axes, letter, column in zip(grid.flat, 'abcd', CURVES, strict=True):
            panels.curves(axes, frames, scale, AGENTS, column)
            panels.label(axes, letter, CURVES[column])
            axes.set_ylabel('loss' if column == 'wm_loss' else 'discounted return')
            if column == 'wm_loss':
                panels.logarithmic(axes)
            if column == 'value_error' and axes.lines:
                axes.axhline(0, color='black', lw=0.8)
        panels.legend(figure, grid[:1, 0])
        return figure


def figure_5(frames: Frames, scale: str) -> Figure:
    """Visits of three Active agents' final replays; unvisited grey, cells above the 99th percentile dark red."""
    with context():
        figure = panels.new(scale, 11, 3.9)
        axes = figure.subplots(1, 3)
        runs = frames.runs[frames.runs.pair_seed == frames.first].set_index('agent').run_id
        maps = {agent: frames.map(runs[agent]) for agent in MAPS if agent in runs}
        counts = np.concatenate([grid.ravel() for grid in maps.values()] or [np.zeros(1)])
        norm = _norm(counts, 0, OUTLIER)
        cmap = matplotlib.colormaps['viridis'].with_extremes(over='darkred')
        for ax, letter, agent in zip(axes, 'abc', MAPS, strict=True):
            panels.walls(ax, frames.specs[0].goal_radius)
            panels.label(ax, letter, LOOKS[agent].label)
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
        figure = panels.new(scale, 11, 6.6)
        grid = figure.subplots(2, 2)
        data_names = {'expl': 'exploration data', 'mixed': 'mixed-reward data'}
        titles = {'score': 'Score', 'wm_loss': 'World-model loss'}
        for row, letters, (data, text) in zip(grid, ('ab', 'cd'), data_names.items(), strict=True):
            names = ['active', *EXPLORERS[data]]
            for axes, letter, (column, title) in zip(row, letters, titles.items(), strict=True):
                panels.curves(axes, frames, scale, names, column, faded=['active'])
                panels.label(axes, letter, f'{title}, {text}')
                axes.set_ylabel('episode score' if column == 'score' else 'loss on own episodes')
            panels.logarithmic(row[1])
        panels.legend(figure, grid[:, 0])
        return figure


@dataclasses.dataclass(frozen=True)
class Entry:
    """How a figure or a table is made, and of what."""

    draw: typing.Callable  # (Frames, scale) -> Figure
    section: str  # of the archive
    agents: list[str]
    tasks: list[str] | None = None  # those that the paper shows; None: all of the section
    pictures: bool = False  # whether it draws what an agent sees

    def over(self, names) -> list[str]:
        """Which of a section's tasks are shown: the paper's or, where none of them is there, the first others, as many.

        Of these, where pictures are drawn, those that are seen as pictures.
        """
        names = list(dict.fromkeys(names))
        if self.tasks is None:
            return names
        others = [task for task in names if not self.pictures or tasks.get(task).obs == 'vision']
        return [task for task in self.tasks if task in names] or others[: len(self.tasks)]

    def of(self, frames: Frames) -> Frames:
        """The part of a section's frames that is shown."""
        return frames.of(self.agents).of(self.over(spec.task for spec in frames.specs), 'task')


def _grid(names, columns, shown=None, faded=(), mean=False):
    draw = functools.partial(grids.curves, names=names, columns=columns, faded=faded, mean=mean)
    return Entry(draw, 'study', names, shown)


def _sweep(shown):
    names = [name for agent in AGENTS for name in grids.family(agent)]
    return Entry(functools.partial(grids.sweep, families=AGENTS), 'study', names, shown)


BOTH = ['score', 'wm_loss']
PARTS = ['active', 'passive', 'passive_expert', 'passive_suboptimal', 'passive_half']
INTERACT = ['active', 'passive', *grids.INTERACTING]
THRESHOLDS = ['active', 'passive_auto_200', 'passive_auto_165', 'passive_auto', 'passive_auto_120']
SAME = ['active', 'passive_same', 'passive', 'tandem']
ON_EXPL = ['active', 'active_expl', 'passive_expl_same', 'passive_expl', 'tandem_expl']
ALPHAS = ['active', *(f'tandem_alpha_{name}' for name in agents.ALPHAS), 'tandem']
GLANCE = list(dict.fromkeys(name for names in overview.BARS.values() for name in names))
SELECTED = ['cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'basketball-proprio']
HALVES = ['cheetah_run-vision', 'quadruped_run-vision', 'point_mass_maze-vision', 'pick-place-proprio']
ADDING = ['cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'space_invaders-vision']
SWEPT = ['quadruped_run-vision', 'point_mass_maze-vision', 'pick-place-proprio']
FROZEN = ['hopper_hop-proprio', 'quadruped_run-proprio', 'cheetah_run-vision', 'pick-place-proprio']

FIGURES: dict[str, Entry] = {
    'figure_base_agent': Entry(figure_base_agent, 'base_agent', ['active']),
    'figure_1': Entry(overview.glance, 'study', GLANCE),
    'figure_2': Entry(figure_2, 'toy_maze', AGENTS),
    'figure_2_curves': Entry(figure_2_curves, 'toy_maze', AGENTS),
    'figure_3': _grid(AGENTS, BOTH, SELECTED),
    'figure_4': _grid(PARTS, BOTH, HALVES),
    'figure_5': Entry(figure_5, 'toy_maze', MAPS),
    'figure_5_curves': Entry(figure_5_curves, 'toy_maze', ['active', *EXPLORERS['expl'], *EXPLORERS['mixed']]),
    'figure_6': _grid(['active', *EXPLORERS['expl']], BOTH, SELECTED, faded=['active']),
    'figure_7': _sweep(SWEPT[:1]),
    'figure_8': _grid(INTERACT, BOTH, ADDING),
    'figure_S1': _grid(THRESHOLDS, ['score', 'ood_ratio', 'added'], SWEPT, faded=['active'], mean=True),
    'figure_S2': _grid(AGENTS, ['value', 'mc_return', 'value_error'], SELECTED),
    'figure_S3': Entry(
        functools.partial(episodes.within, names=AGENTS),
        'study',
        AGENTS,
        ['point_mass_maze-vision', 'cheetah_run-vision'],
    ),
    'figure_S4': Entry(
        functools.partial(episodes.hallucination, agent='tandem'),
        'study',
        ['tandem'],
        ['point_mass_maze-vision'],
        pictures=True,
    ),
    'figure_S5': _grid(['active', 'passive', 'tandem', 'tandem_same_wm', 'passive_frozen_wm'], BOTH, FROZEN),
    'figure_S6': _grid(['active', 'passive', 'passive_same'], BOTH, SELECTED, faded=['active']),
    'figure_S7': _grid(ALPHAS, BOTH, SELECTED),
    'figure_S8': Entry(functools.partial(grids.halves, names=PARTS, columns=BOTH), 'study', PARTS, HALVES),
    'figure_S9': _sweep(SWEPT),
    'figure_S10': _grid(SAME, ['score'], mean=True),
    'figure_S11': _grid(SAME, ['wm_loss'], mean=True),
    'figure_S12': _grid(INTERACT, ['score'], mean=True),
    'figure_S13': _grid(INTERACT, ['wm_loss'], mean=True),
    'figure_S14': _grid(INTERACT, ['ood_ratio'], mean=True),
    'figure_S15': Entry(grids.interaction, 'study', INTERACT),
    'figure_S16': _grid(ON_EXPL, ['score'], faded=['active'], mean=True),
    'figure_S17': _grid(ON_EXPL, ['wm_loss'], faded=['active'], mean=True),
}
