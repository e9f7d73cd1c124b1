"""The study at a glance: the tasks, bars of normalised scores, and the final scores of every pair."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from paper_lib.contract import agents, tasks
from paper_lib.study import claims, grids, panels, reference, stats
from paper_lib.study.comparisons import taken
from paper_lib.study.frames import Frames
from paper_lib.study.names import counted
from paper_lib.study.steps import PAIR
from paper_lib.study.style import THEIRS, context

BARS = {'Degradation': 'compared', 'Exploration data': 'exploration', 'Interaction': 'interacting'}  # title -> group
WIDEST = 8  # pictures in a row
MARKERS = 'osD^vP*X<>h'  # of tasks
# Agent -> what it acts in, and what it learns from.
DRAWN = {
    'active': ('environment', "Active's replay"),
    'passive': ('', "Active's final\nreplay, batches\nof its own"),
    'tandem': ('', "Active's batches,\nin their order"),
    'passive_10': ('environment,\nsometimes', "Active's replay\nand own data"),
    'passive_expl': ('', "Active-expl's final\nreplay, batches\nof its own"),
}


def glance(frames: Frames, names: Sequence[str]) -> Figure:
    """(a) The agents; (b) all tasks, those shown here framed; (c-e) normalised mean final score of three groups."""
    with context():
        pictures = reference.pictures()
        figure = panels.new(frames, 7.5, 8.0)
        drawn, top, bottom = figure.subfigures(3, 1, height_ratios=[0.45, 1.15, 1])
        _agents(drawn)
        groups = {}
        for letter, (title, group) in zip('cde', BARS.items(), strict=True):
            shown = [name for name in agents.group(group) if name in names]
            if set(shown) - {'active'} or set(shown) == set(names):
                groups[letter, title] = shown
        widths = [len(shown) for shown in groups.values()]
        grid = bottom.subplots(1, len(groups), sharey=True, squeeze=False, width_ratios=widths)[0]
        runs = grids.relative(frames)
        _montage(top, pictures, {tasks.get(task).short for task in runs.task})
        for axes, ((letter, title), shown) in zip(grid, groups.items(), strict=True):
            bars(axes, runs, shown, frames.tasks)
            panels.label(axes, letter, title)
        grid[0].set_ylabel('final score (Active of the pair: 1)')
        notes = panels.notes(frames, names) + grids.unlearned(frames)
        panels.legend(bottom, grid, notes, ncols=4)
        return figure


def _agents(figure):
    """Boxes and arrows at fixed places: in a layout of axes of unequal widths their last bits would vary."""
    axes = figure.add_axes((0, 0, 1, 0.84))
    axes.axis('off')
    text = {'ha': 'center', 'va': 'center', 'fontsize': 7, 'bbox': {'boxstyle': 'round', 'fc': 'white', 'ec': '0.4'}}
    small = {'fontsize': 6.5, 'va': 'center'}
    left = 0.0

    def arrow(*points):
        start, end = ((left + width * x, y) for x, y in points)
        axes.annotate('', end, start, arrowprops={'arrowstyle': '-|>', 'color': '0.4', 'shrinkA': 0, 'shrinkB': 0})

    for name, (acts, reads) in DRAWN.items():
        width = 1.6 if acts else 1.0
        # A hatch is seen only around the words, so that it needs a wider frame.
        frame = 'round,pad=0.7' if _hatch(name) else 'round'
        colored = {'boxstyle': frame, 'fc': agents.get(name).color, 'ec': 'white', 'hatch': _hatch(name)}
        named = text | {'fontweight': 'bold', 'color': 'white', 'bbox': colored}
        agent = axes.text(left + 0.5 * width, 0.88, agents.get(name).label, **named)
        agent.set_path_effects([withStroke(linewidth=4, foreground=agents.get(name).color)])
        if acts:
            axes.text(left + 0.2 * width, 0.16, acts, **text)
            axes.text(left + 0.77 * width, 0.16, reads, **text)
            arrow((0.42, 0.74), (0.24, 0.36))
            arrow((0.39, 0.16), (0.55, 0.16))
            arrow((0.74, 0.36), (0.58, 0.74))
            axes.text(left + 0.29 * width, 0.55, 'acts', ha='right', **small)
            axes.text(left + 0.7 * width, 0.55, 'learns', **small)
        else:
            axes.text(left + 0.5 * width, 0.16, reads, **text)
            arrow((0.5, 0.4), (0.5, 0.74))
            axes.text(left + 0.53 * width, 0.57, 'learns', **small)
        left += width
    axes.set(xlim=(0, left), ylim=(0, 1))
    figure.suptitle('(a) Agents', fontsize=10, fontweight='bold', x=0.01, ha='left')


def _montage(figure, pictures, here):
    rows = math.ceil(len(pictures) / WIDEST)
    grid = figure.subplots(rows, math.ceil(len(pictures) / rows), squeeze=False).ravel()
    for axes, (name, picture) in zip(grid, pictures.items(), strict=False):
        axes.imshow(picture, interpolation='nearest')
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.set_title(name, fontsize=7, loc='center', fontweight='bold' if name in here else 'normal')
        axes.spines[:].set(visible=name in here, color='red', lw=2)
    for axes in grid[len(pictures) :]:
        axes.remove()
    figure.suptitle('(b) Tasks', fontsize=10, fontweight='bold', x=0.01, ha='left')


def finals(frames: Frames, names: Sequence[str]) -> pd.DataFrame:
    """Final scores: one row per pair, one column per agent that has a result in any pair."""
    rows = stats.final(frames.metrics, 'score')
    keys = ['task', 'pair_seed']
    table = rows.pivot(index=keys, columns='agent', values='score')
    table = table.reindex(columns=[name for name in names if name in table])
    table = table.rename(columns={name: agents.get(name).label for name in table})
    order = {task: place for place, task in enumerate(frames.tasks)}
    table = table.reset_index().rename(columns={'pair_seed': 'pair seed'})
    return table.sort_values(['task', 'pair seed'], key=lambda column: column.replace(order), ignore_index=True)


def bars(axes: Axes, runs: pd.DataFrame, names: Sequence[str], tasks: Sequence[str]) -> None:
    """Mean over tasks of each of these agents, its 95 % interval beside the dots of its tasks, and Passive's mean.

    `runs` is the table of `grids.relative`. Active is shown in the pairs that another agent of the panel has, and
    Passive's mean is over those pairs of a bar in which it has run. An agent without a run has an empty place.
    """
    here = runs[runs.agent.isin(names) & taken(names, runs)]
    compared = here.loc[here.agent != 'active', PAIR].drop_duplicates()
    if len(compared):
        here = here.merge(compared, on=PAIR)
    values = {}
    for (name, task), own in here.groupby(['agent', 'task']):
        values.setdefault(name, {})[task] = own.score.to_numpy()
    if not values:
        panels.say(axes, 'no normalised score')
    for x, name in enumerate(names):
        if name in values:
            _draw_bar(axes, x, name, values[name], tasks)
            if 'passive' not in names:
                pairs = here.loc[here.agent == name, PAIR]
                _draw_passive(axes, x, runs[runs.agent == 'passive'].merge(pairs, on=PAIR))
        elif values:
            axes.text(x, 0.05, 'no run yet', rotation=90, ha='center', va='bottom', color=THEIRS, fontsize=8)
    axes.axhline(1, ls='--', lw=1.2, color=agents.get('active').color, zorder=0, label='Active of the same pairs')
    ticks = axes.set_xticks(range(len(names)), [_tick(name, values) for name in names])
    for tick, name in zip(ticks, names, strict=True):
        tick.label1.set_color('black' if name in values else THEIRS)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params('x', labelsize=7.5)
    axes.grid(False, axis='x')


def _draw_passive(axes: Axes, x: float, runs: pd.DataFrame) -> None:
    """A line across a bar at the mean of Passive over tasks."""
    if len(runs):
        look = {'ls': ':', 'lw': 2, 'color': agents.get('passive').color, 'zorder': 4}
        mean = runs.groupby('task').score.mean().mean()
        axes.plot([x - 0.45, x + 0.45], [mean, mean], label='Passive of the same pairs', **look)


def _draw_bar(axes: Axes, x: float, name: str, of_tasks: dict[str, np.ndarray], tasks: Sequence[str]) -> None:
    """The bar of an agent, hatched if it learns from exploration; its interval on the left and a dot per task.

    The bar of an agent with too few pairs for a test is outlined. Active is 1 on every task and needs no dots.
    """
    found = stats.mean_of_tasks({task: own - 1 for task, own in of_tasks.items()})
    color = agents.get(name).color
    look = {'fc': color, 'ec': 'white', 'lw': 0}
    if claims.too_few(_pairs(of_tasks)):
        look = {'fc': 'white', 'ec': color, 'lw': 1.6}
    axes.bar(x, 1 + found.value, width=0.8, hatch=_hatch(name), **look)
    if np.isfinite(found.low):
        axes.vlines(x - 0.46, 1 + found.low, 1 + found.high, color='black', lw=1.6, zorder=4)
    places = np.linspace(-0.12, 0.3, max(2, len(tasks)))
    for place, marker, task in zip(places, itertools.cycle(MARKERS), tasks):
        if task in of_tasks and name != 'active':
            look = {'ms': 5, 'color': 'white', 'mec': 'black', 'mew': 0.9, 'ls': 'none', 'zorder': 5}
            axes.plot(x + place, of_tasks[task].mean(), marker, label=task, **look)


def _hatch(name: str) -> str:
    """The hatch of an agent that learns from exploration."""
    return '///' if agents.exploration_weight(name) else ''


def _tick(name: str, values: dict[str, dict[str, np.ndarray]]) -> str:
    """The label of an agent, which is broken where it can be, and the number of its pairs."""
    label = agents.get(name).label.replace(' + ', '\n+ ').replace('-', '-\n')
    if name not in values:
        return label
    return f'{label}\n({counted(_pairs(values[name]), "pair")})'


def _pairs(of_tasks: dict[str, np.ndarray]) -> int:
    """The number of pairs in which an agent has run, of all tasks."""
    return sum(map(len, of_tasks.values()))
