"""The study at a glance: the tasks, bars of normalised scores, and the final scores of every pair."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_lib.contract import agents
from paper_lib.study import grids, panels, reference, stats
from paper_lib.study.frames import Frames
from paper_lib.study.style import context

BARS = {'Degradation': 'compared', 'Exploration data': 'exploration', 'Interaction': 'interacting'}  # title -> group
WIDEST = 11  # pictures in a row
# Agent -> what it acts in, and what it learns from.
DRAWN = {
    'active': ('environment', 'its replay'),
    'passive': ('', "Active's final replay,\nbatches of its own"),
    'tandem': ('', "Active's batches,\nin their order"),
    'passive_10': ('environment,\nsometimes', "Active's replay\nand own data"),
    'passive_expl': ('', "Active-expl's final replay,\nbatches of its own"),
}


def glance(frames: Frames) -> Figure:
    """(a) The agents; (b) all tasks, those shown here framed; (c-e) normalised mean final score of three groups."""
    with context():
        pictures = reference.pictures()
        figure = panels.new(frames, 10.5, 7.2)
        drawn, top, bottom = figure.subfigures(3, 1, height_ratios=[0.45, 1, 1.25])
        _agents(drawn)
        _montage(top, pictures, {task.rpartition('-')[0] for task in frames.tasks})
        groups = {title: agents.group(group) for title, group in BARS.items()}
        widths = [len(names) for names in groups.values()]
        grid = bottom.subplots(1, len(groups), sharey=True, width_ratios=widths)
        values = normalised(frames)
        for axes, letter, (title, names) in zip(grid, 'cde', groups.items(), strict=True):
            bars(axes, {name: values[name] for name in names if name in values})
            panels.label(axes, letter, title)
        grid[0].set_ylabel('normalised mean final score')
        notes = panels.lost(frames, agents.group(*BARS.values())) + grids.unlearned(frames)
        panels.legend(bottom, [], notes)
        return figure


def _agents(figure):
    def arrow(axes, start, end):
        style = {'patchA': start.get_bbox_patch(), 'patchB': end.get_bbox_patch(), 'arrowstyle': '-|>', 'color': '0.4'}
        axes.annotate('', end.get_position(), start.get_position(), arrowprops=style)

    text = {'ha': 'center', 'va': 'center', 'fontsize': 7, 'bbox': {'boxstyle': 'round', 'fc': 'white', 'ec': '0.4'}}
    for axes, (name, (acts, reads)) in zip(figure.subplots(1, len(DRAWN)), DRAWN.items(), strict=True):
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.axis('off')
        colored = {'boxstyle': 'round', 'fc': agents.get(name).color, 'ec': 'none'}
        named = text | {'fontweight': 'bold', 'color': 'white', 'bbox': colored}
        agent = axes.text(0.5, 0.86, agents.get(name).label, **named)
        data = axes.text(0.76 if acts else 0.5, 0.14, reads, **text)
        arrow(axes, data, agent)
        axes.text(0.72 if acts else 0.53, 0.54, 'learns', fontsize=6.5, va='center')
        if acts:
            place = axes.text(0.2, 0.14, acts, **text)
            arrow(axes, agent, place)
            arrow(axes, place, data)
            axes.text(0.29, 0.54, 'acts', fontsize=6.5, va='center', ha='right')
    figure.suptitle('(a) Agents', fontsize=10, fontweight='bold', x=0.01, ha='left')


def _montage(figure, pictures, here):
    rows = math.ceil(len(pictures) / WIDEST)
    grid = figure.subplots(rows, math.ceil(len(pictures) / rows), squeeze=False).ravel()
    for axes, (name, picture) in zip(grid, pictures.items(), strict=False):
        axes.imshow(picture, interpolation='nearest')
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.set_title(name, fontsize=6.5, loc='center', fontweight='bold' if name in here else 'normal')
        axes.spines[:].set(visible=name in here, color='red', lw=2)
    for axes in grid[len(pictures) :]:
        axes.remove()
    figure.suptitle('(b) Tasks', fontsize=10, fontweight='bold', x=0.01, ha='left')


def normalised(frames: Frames) -> dict[str, dict[str, np.ndarray]]:
    """Agent -> task -> normalised final scores (seeds,), without tasks that nothing can be normalised by."""
    if frames.metrics.empty:
        return {}
    finals = stats.normalised(stats.final(frames.metrics, 'score'), reference.random_score)
    finals = finals[~finals.task.isin(stats.unlearned(frames.metrics, reference.random_score))]
    groups = {key: own.score.to_numpy() for key, own in finals.groupby(['agent', 'task'])}
    return {agent: {task: values for (name, task), values in groups.items() if name == agent}
            for agent in dict.fromkeys(name for name, _ in groups)}  # fmt: skip


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


def bars(axes: Axes, values: dict[str, dict[str, np.ndarray]]) -> None:
    """Mean over tasks of every agent, its 95 % interval, and a dot per task."""
    if not values:
        panels.empty(axes, 'no normalised score')
    for x, (name, of_tasks) in enumerate(values.items()):
        found = stats.over_tasks([np.asarray(own, float)[None] for own in of_tasks.values()])
        axes.bar(x, found['value'], width=0.7, color=agents.get(name).color)
        axes.vlines(x, found['low'], found['high'], color='black', lw=2.4, zorder=4)
        means = [own.mean() for own in of_tasks.values()]
        spread = x + np.linspace(-0.2, 0.2, len(means)) if len(means) > 1 else [x]
        axes.plot(spread, means, 'o', ms=3, color='white', mec='black', mew=0.6, alpha=0.7, ls='none')
    axes.axhline(1, ls='--', lw=1, color=agents.get('active').color, zorder=0)
    axes.set_xticks(
        range(len(values)),
        [f'{agents.get(name).label}\n({len(own)} task{"s" * (len(own) > 1)})' for name, own in values.items()],
    )
    axes.tick_params('x', labelsize=7.5)
    axes.grid(False, axis='x')
