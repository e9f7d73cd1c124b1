"""Grids of curves: a panel per task, a row of panels per quantity; and scores against what was varied."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paper_lib.contract import agents, quantities
from paper_lib.study import panels, reference, stats
from paper_lib.study.frames import Frames
from paper_lib.study.style import GREY, context

WIDEST = 6  # panels in a row
WIDTH = {1: 4.2, 2: 3.6, 3: 2.9, 4: 2.4, 5: 2.0, 6: 1.8}  # inches of a panel where there are as many in a row
HEIGHT = 1.7
PARTS = {  # of the replay, by RunSpec.part: from, to, and how much of what is there is drawn from
    'all': (0, 1, 1),
    'first': (0, 0.5, 1),
    'second': (0.5, 1, 1),
    'mixed': (0, 1, 0.5),
}


def curves(frames: Frames, names, columns, faded=(), mean: bool = False) -> Figure:
    """Curves of `columns` for every task, each `mean` too over tasks; agents in `faded` as a dashed baseline."""
    with context():
        figure = panels.new(frames, *_size(frames, len(columns), mean))
        _fill(figure, frames, names, columns, faded, mean)
        return figure


def _shape(panels):
    """Rows and columns for this many panels, full rows as far as possible."""
    rows = math.ceil(panels / WIDEST)
    return rows, math.ceil(panels / rows)


def _size(frames, rows_each, mean):
    rows, wide = _shape(len(frames.tasks) + mean)
    return WIDTH[wide] * wide + 0.3, HEIGHT * rows * rows_each + 1.0


def _cells(figure, titles, rows_each=1):
    """Axes of every title, several below each other; those that nothing is for are removed."""
    rows, wide = _shape(len(titles))
    grid = figure.subplots(rows * rows_each, wide, squeeze=False)
    cells = [[grid[i // wide * rows_each + q, i % wide] for q in range(rows_each)] for i in range(rows * wide)]
    for axes in itertools.chain(*cells[len(titles) :]):
        axes.remove()
    for cell, title in zip(cells, titles, strict=False):
        _title(cell[0], title, wide)
    return cells[: len(titles)], wide


def _title(axes, text, wide):
    axes.set_title(text, fontsize=9 if wide < 5 else 7.5)


def _fill(figure, frames, names, columns, faded, mean):
    tasks = frames.tasks
    cells, wide = _cells(figure, [*tasks, 'mean'] if mean else tasks, len(columns))
    there = [agent for agent in names if agent in set(frames.runs.agent)]
    frames = percent(frames)
    for i, cell in enumerate(cells):
        for axes, column in zip(cell, columns, strict=True):
            recorded = frames.metrics[frames.metrics[column].notna()]
            shown = [agent for agent in there if agent in set(recorded.agent)]
            if i < len(tasks):
                _panel(axes, frames, tasks[i], shown, column, faded)
            else:
                _title(axes, _mean(axes, frames, shown, column, faded), wide)
            axes.set_ylabel('' if i % wide else quantities.get(column).axis)
            if i + wide < len(cells) or column != columns[-1]:
                axes.set_xlabel('')
            panels.dress(axes, column)
    scores = [column for column in columns if quantities.get(column).normalised == 'score']
    notes = panels.lost(frames, names) + (unlearned(frames) if mean and scores else [])
    across = max(2, int(figure.get_figure(root=True).get_figwidth() / 1.9))
    panels.legend(figure, itertools.chain(*cells), notes, ncols=across)


def _panel(axes, frames, task, names, column, faded):
    own = set(frames.of([task], 'task').metrics.agent)
    shown = [agent for agent in names if agent in own]
    if shown:
        panels.curves(axes, frames, shown, column, faded, task)
    else:
        panels.empty(axes, panels.NO_RUN)


def _mean(axes, frames, names, column, faded):
    """Mean over the tasks that all of these agents have; returns its title, which says how many these are."""
    has = frames.metrics[frames.metrics.agent.isin(names) & frames.metrics[column].notna()]
    shared = [task for task, own in has.groupby('task') if own.agent.nunique() == has.agent.nunique()]
    found = mean_curve(frames.of(shared, 'task'), column)
    found = found[found.agent.isin(names)]
    kind = 'normalised mean' if quantities.get(column).normalised else 'mean'
    if found.empty:
        panels.empty(axes, _nothing(frames))
        return kind
    for agent in names:
        own = found[found.agent == agent]
        panels.line(axes, agent, panels.name(frames, agent), own.env_step.to_numpy(), own.value, agent in faded)
        if agent not in faded:
            panels.band(axes, agent, own.env_step, own.low.astype(float), own.high.astype(float))
    panels.steps(axes)
    counts = sorted({found.tasks.min(), found.tasks.max()})
    return f'{kind}, {"-".join(map(str, counts))} task{"s" if counts[-1] > 1 else ""}'


def _nothing(frames):
    """Why there is no mean over tasks."""
    return 'nothing to normalise by' if len(frames.metrics) else panels.NO_RUN


def mean_curve(frames: Frames, column: str) -> pd.DataFrame:
    """stats.mean_curve of the runs that have a value in `column`."""
    has = frames.metrics[column].notna() | (frames.metrics.agent == 'active')
    return stats.mean_curve(frames.metrics[has], column, reference.random_score)


def percent(frames: Frames) -> Frames:
    """Totals in percent of the environment steps in the source's replay."""
    steps = {spec.run_id: spec.source.budget for spec in frames.specs if spec.source}
    metrics = frames.metrics
    of_run = metrics.run_id.map(steps).astype(float)
    shares = {name: 100 * metrics[name] / of_run for name in quantities.totals() if name in metrics}
    return dataclasses.replace(frames, metrics=metrics.assign(**shares))


def unlearned(frames: Frames) -> list[str]:
    """A line that names the tasks without a normalised score."""
    lost = stats.unlearned(frames.metrics, reference.random_score) if len(frames.metrics) else []
    return [f'no normalised score, as Active is no better than random or not there: {", ".join(lost)}'] if lost else []


def replay_parts(names) -> dict[str, tuple[float, float, float]]:
    """Which part of Active's replay each of these agents learns from, as in PARTS, the parts in the order of PARTS.

    Only those whose source is Active.
    """
    found = {}
    for part, span in PARTS.items():
        for name in names:
            row = agents.get(name)
            if row.source == 'active' and row.values.get('part', 'all') == part:
                found[name] = span
    return found


def halves(frames: Frames, names, columns) -> Figure:
    """Which part of the replay every agent learns from, above its curves."""
    with context():
        width, height = _size(frames, len(columns), False)
        figure = panels.new(frames, width, height + 1.5)
        top, bottom = figure.subfigures(2, 1, height_ratios=[1.5, height])
        axes, parts = top.subplots(), replay_parts(names)
        for y, (agent, (start, end, share)) in enumerate(parts.items()):
            axes.barh(-y, end - start, left=start, height=0.6, color=agents.get(agent).color, alpha=share,
                      hatch='' if share == 1 else '////', ec='white', lw=0)  # fmt: skip
            axes.add_patch(Rectangle((0, -y - 0.3), 1, 0.6, fc='none', ec=GREY))
        axes.set(xlim=(0, 1), yticks=[-y for y in range(len(parts))], xticks=[0, 0.5, 1])
        axes.set_yticklabels([agents.get(agent).label for agent in parts])
        axes.set_xticklabels(['start of training', 'half of the environment steps', 'end'])
        axes.set_title("what is learned from, of Active's final replay (hatched: a uniform half)", fontsize=9)
        axes.grid(False)
        _fill(bottom, frames, names, columns, (), False)
        return figure


def sweep(frames: Frames, names) -> Figure:
    """Final score over the weight of the disagreement reward, for every task; dashed: Active without it."""
    with context():
        figure = panels.new(frames, *_size(frames, 1.2, False))
        cells, wide = _cells(figure, frames.tasks)
        finals = stats.final(frames.metrics, 'score')
        families = [name for name in names if not agents.exploration_weight(name)]
        for i, (task, (axes,)) in enumerate(zip(frames.tasks, cells, strict=True)):
            _weights(axes, finals[finals.task == task], families)
            axes.set_ylabel('' if i % wide else 'final episode score')
            axes.set_xlabel('weight of exploration')
        panels.legend(figure, itertools.chain(*cells), panels.lost(frames, names))
        return figure


def _weights(axes, finals, families):
    """One line per family over its weights, evenly spaced; a dot per seed, interval from three seeds on."""
    if finals.empty:
        panels.empty(axes, panels.NO_RUN)
    weights = list(agents.family('active').values())
    axes.set(xticks=range(len(weights)), xlim=(-0.3, len(weights) - 0.7))
    axes.set_xticklabels([f'{weight:g}' for weight in weights])
    for i, name in enumerate(families):
        look = agents.get(name)
        beside = 0.1 * (i - (len(families) - 1) / 2)  # so that intervals do not cover each other
        values = {weights.index(weight) + beside: finals.score[finals.agent == agent].to_numpy()
                  for agent, weight in agents.family(name).items()}  # fmt: skip
        if any(map(len, values.values())):
            means = [y.mean() if len(y) else np.nan for y in values.values()]  # no line over what was not trained
            panels.line(axes, name, look.label, list(values), means)
        for x, y in values.items():
            axes.plot([x] * len(y), y, '.', ms=4, alpha=0.5, color=look.color)
            if len(y) > 2:
                axes.vlines(x, *stats.interval(y), color=look.color, alpha=0.4, lw=4)
    plain = finals.score[finals.agent == 'active']
    if len(plain):
        axes.axhline(plain.mean(), ls='--', lw=1, color='black', zorder=1)


def interaction(frames: Frames, names) -> Figure:
    """Mean normalised score over added data, a marker per evaluation; dashed: agents that add none, at the end."""
    with context():
        figure = panels.new(frames, 6.4, 4.6)
        axes, frames = figure.subplots(), percent(frames)
        lost = stats.unlearned(frames.metrics, reference.random_score) if len(frames.metrics) else []
        learned = dataclasses.replace(frames, metrics=frames.metrics[~frames.metrics.task.isin(lost)])
        score, added = (mean_curve(learned, x).set_index(['agent', 'env_step']).value for x in ('score', 'added'))
        both = pd.concat({'score': score, 'added': added}, axis=1, join='inner').astype(float)
        adding = [name for name in names if agents.get(name).values.get('interact_every')]
        for agent in adding:
            if agent in both.index.get_level_values(0):
                own, look = both.loc[agent], agents.get(agent)
                axes.plot(own.added, own.score, marker=look.marker, ms=5, color=look.color, mec='white', mew=0.5,
                          lw=1.2, label=panels.name(frames, agent))  # fmt: skip
        for agent in names:
            if agent not in adding and agent in score.index.get_level_values(0):
                last = score.loc[agent].iloc[-1]
                axes.axhline(last, ls='--', lw=1.4, color=agents.get(agent).color, label=panels.name(frames, agent))
        if not axes.lines:
            panels.empty(axes, _nothing(frames))
        axes.set(xlabel="added data (% of the source's replay)", ylabel='normalised mean score')
        panels.legend(figure, [axes], panels.lost(frames, names) + unlearned(frames), ncols=3)
        return figure
