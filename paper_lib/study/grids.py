"""Grids of curves: a panel per task, a row of panels per quantity; and scores against what was varied."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from paper_lib.study import claims, panels, reference, stats
from paper_lib.study.frames import Frames
from paper_lib.study.style import GREY, LOOKS, context

WIDEST = 6  # panels in a row
WIDTH = {1: 4.2, 2: 3.6, 3: 2.9, 4: 2.4, 5: 2.0, 6: 1.8}  # inches of a panel where there are as many in a row
HEIGHT = 1.7
QUANTITIES = {
    'score': 'episode score',
    'wm_loss': 'world-model loss',
    'ood_ratio': 'OOD ratio',
    'added': 'added data (%)',
    'value': 'value estimate',
    'mc_return': 'discounted return',
    'value_error': 'estimate - return',
}
NORMALISED = {'score', 'wm_loss'}
INTERACTING = ['passive_50', 'passive_10', 'passive_1', 'passive_auto']
PARTS = {  # of the replay, as fractions of its steps; how much of what is there is drawn from
    'passive': (0, 1, 1),
    'passive_suboptimal': (0, 0.5, 1),
    'passive_expert': (0.5, 1, 1),
    'passive_half': (0, 1, 0.5),
}


def curves(frames: Frames, scale: str, names, columns, faded=(), mean: bool = False) -> Figure:
    """Curves of `columns` for every task, each `mean` too over tasks; agents in `faded` as a dashed baseline."""
    with context():
        figure = panels.new(scale, *_size(frames, len(columns), mean))
        _fill(figure, frames, scale, names, columns, faded, mean)
        return figure


def _tasks(frames):
    return list(dict.fromkeys(spec.task for spec in frames.specs))


def _shape(panels):
    """Rows and columns for this many panels, full rows as far as possible."""
    rows = math.ceil(panels / WIDEST)
    return rows, math.ceil(panels / rows)


def _size(frames, quantities, mean):
    rows, wide = _shape(len(_tasks(frames)) + mean)
    return WIDTH[wide] * wide + 0.3, HEIGHT * rows * quantities + 1.0


def _cells(figure, titles, quantities=1):
    """Axes of every title, one per quantity below each other; those that nothing is for are removed."""
    rows, wide = _shape(len(titles))
    grid = figure.subplots(rows * quantities, wide, squeeze=False)
    cells = [[grid[i // wide * quantities + q, i % wide] for q in range(quantities)] for i in range(rows * wide)]
    for axes in itertools.chain(*cells[len(titles) :]):
        axes.remove()
    for cell, title in zip(cells, titles, strict=False):
        _title(cell[0], title, wide)
    return cells[: len(titles)], wide


def _title(axes, text, wide):
    axes.set_title(text, fontsize=9 if wide < 5 else 7.5)


def _fill(figure, frames, scale, names, columns, faded, mean):
    tasks = _tasks(frames)
    cells, wide = _cells(figure, [*tasks, 'mean'] if mean else tasks, len(columns))
    there = [agent for agent in names if agent in set(frames.runs.agent)]
    frames = percent(frames)
    for i, cell in enumerate(cells):
        for axes, column in zip(cell, columns, strict=True):
            shown = [agent for agent in there if frames.metrics[column][frames.metrics.agent == agent].notna().any()]
            if i < len(tasks):
                _panel(axes, frames, scale, tasks[i], shown, column, faded)
            else:
                _title(axes, _mean(axes, frames, shown, column, faded), wide)
            _axes(axes, column, first=not i % wide, last=i + wide >= len(cells) and column == columns[-1])
    notes = panels.lost(frames, scale, names) + (unlearned(frames) if mean and 'score' in columns else [])
    across = max(2, int(figure.get_figure(root=True).get_figwidth() / 1.9))
    panels.legend(figure, itertools.chain(*cells), notes, ncols=across)


def _panel(axes, frames, scale, task, names, column, faded):
    own = frames.of([task], 'task').metrics
    if names and own.agent.isin(names).any():
        panels.curves(axes, frames, scale, [x for x in names if x in set(own.agent)], column, faded, task)
    else:
        panels.empty(axes, 'no finished run')


def _mean(axes, frames, names, column, faded):
    """Mean over the tasks that all of these agents have; returns its title, which says how many these are."""
    has = frames.metrics[frames.metrics.agent.isin(names) & frames.metrics[column].notna()]
    shared = [task for task, own in has.groupby('task') if own.agent.nunique() == has.agent.nunique()]
    found = mean_curve(frames.of(shared, 'task'), column)
    found = found[found.agent.isin(names)]
    kind = 'normalised mean' if column in NORMALISED else 'mean'
    if found.empty:
        panels.empty(axes, 'nothing to normalise by' if len(frames.metrics) else 'no finished run')
        return kind
    for agent in names:
        own = found[found.agent == agent]
        panels.line(axes, agent, panels.name(frames, agent), own.env_step.to_numpy(), own.value, agent in faded)
        if agent not in faded:
            panels.band(axes, agent, own.env_step, own.low.astype(float), own.high.astype(float))
    panels.steps(axes)
    counts = sorted({found.tasks.min(), found.tasks.max()})
    return f'{kind}, {"-".join(map(str, counts))} task{"s" if counts[-1] > 1 else ""}'


def mean_curve(frames, column):
    """stats.mean_curve of the runs that have a value in `column`."""
    has = frames.metrics[column].notna() | (frames.metrics.agent == 'active')
    return stats.mean_curve(frames.metrics[has], column, reference.random_score)


def _axes(axes, column, first, last):
    axes.set_ylabel(QUANTITIES[column] if first else '')
    if not last:
        axes.set_xlabel('')
    if column == 'wm_loss' and axes.lines:
        panels.logarithmic(axes)
    if column == 'value_error' and axes.lines:
        axes.axhline(0, color='black', lw=0.8)


def percent(frames: Frames) -> Frames:
    """`added` in percent of the environment steps in the source's replay."""
    steps = {spec.run_id: spec.source.budget for spec in frames.specs if spec.source}
    metrics = frames.metrics
    return dataclasses.replace(
        frames, metrics=metrics.assign(added=100 * metrics.added / metrics.run_id.map(steps).astype(float))
    )


def unlearned(frames: Frames) -> list[str]:
    """A line that names the tasks without a normalised score."""
    lost = stats.unlearned(frames.metrics, reference.random_score) if len(frames.metrics) else []
    return [f'no normalised score, as Active is no better than random or not there: {", ".join(lost)}'] if lost else []


def halves(frames: Frames, scale: str, names, columns) -> Figure:
    """Which part of the replay every agent learns from, above its curves."""
    with context():
        width, height = _size(frames, len(columns), False)
        figure = panels.new(scale, width, height + 1.5)
        top, bottom = figure.subfigures(2, 1, height_ratios=[1.5, height])
        axes = top.subplots()
        for y, (agent, (start, end, share)) in enumerate(PARTS.items()):
            axes.barh(-y, end - start, left=start, height=0.6, color=LOOKS[agent].color, alpha=share,
                      hatch='' if share == 1 else '////', ec='white', lw=0)  # fmt: skip
            axes.add_patch(Rectangle((0, -y - 0.3), 1, 0.6, fc='none', ec=GREY))
        axes.set(xlim=(0, 1), yticks=[-y for y in range(len(PARTS))], xticks=[0, 0.5, 1])
        axes.set_yticklabels([LOOKS[agent].label for agent in PARTS])
        axes.set_xticklabels(['start of training', 'half of the environment steps', 'end'])
        axes.set_title("what is learned from, of Active's final replay (hatched: a uniform half)", fontsize=9)
        axes.grid(False)
        _fill(bottom, frames, scale, names, columns, (), False)
        return figure


def family(agent: str) -> dict[str, float]:
    """The agents of a family that learn from data collected with rising w_expl, and that weight."""
    return {agent + ending: weight for ending, weight in claims.WEIGHTS.items()}


def sweep(frames: Frames, scale: str, families) -> Figure:
    """Final score over the weight of the disagreement reward, for every task; dashed: Active without it."""
    with context():
        tasks = _tasks(frames)
        figure = panels.new(scale, *_size(frames, 1.2, False))
        cells, wide = _cells(figure, tasks)
        finals = stats.final(frames.metrics, 'score')
        for i, (task, (axes,)) in enumerate(zip(tasks, cells, strict=True)):
            _weights(axes, finals[finals.task == task], families)
            axes.set_ylabel('' if i % wide else 'final episode score')
            axes.set_xlabel('weight of exploration')
        panels.legend(
            figure, itertools.chain(*cells), panels.lost(frames, scale, [x for f in families for x in family(f)])
        )
        return figure


def _weights(axes, finals, families):
    """One line per family over its weights, evenly spaced; a dot per seed, interval from three seeds on."""
    if finals.empty:
        panels.empty(axes, 'no finished run')
    weights = list(family('active').values())
    axes.set(xticks=range(len(weights)), xlim=(-0.3, len(weights) - 0.7))
    axes.set_xticklabels([f'{weight:g}' for weight in weights])
    for i, name in enumerate(families):
        beside = 0.1 * (i - (len(families) - 1) / 2)  # so that intervals do not cover each other
        values = {weights.index(weight) + beside: finals.score[finals.agent == agent].to_numpy()
                  for agent, weight in family(name).items()}  # fmt: skip
        if any(map(len, values.values())):
            means = [y.mean() if len(y) else np.nan for y in values.values()]  # no line over what was not trained
            panels.line(axes, name, LOOKS[name].label, list(values), means)
        for x, y in values.items():
            axes.plot([x] * len(y), y, '.', ms=4, alpha=0.5, color=LOOKS[name].color)
            if len(y) > 2:
                axes.vlines(x, *stats.interval(y), color=LOOKS[name].color, alpha=0.4, lw=4)
    plain = finals.score[finals.agent == 'active']
    if len(plain):
        axes.axhline(plain.mean(), ls='--', lw=1, color='black', zorder=1)


def interaction(frames: Frames, scale: str) -> Figure:
    """Mean normalised score over added data, a marker per evaluation; dashed: agents that add none, at the end."""
    with context():
        figure = panels.new(scale, 6.4, 4.6)
        axes, frames = figure.subplots(), percent(frames)
        lost = stats.unlearned(frames.metrics, reference.random_score) if len(frames.metrics) else []
        learned = dataclasses.replace(frames, metrics=frames.metrics[~frames.metrics.task.isin(lost)])
        score, added = (mean_curve(learned, x).set_index(['agent', 'env_step']).value for x in ('score', 'added'))
        both = pd.concat({'score': score, 'added': added}, axis=1, join='inner').astype(float)
        for agent in INTERACTING:
            if agent in both.index.get_level_values(0):
                own, look = both.loc[agent], LOOKS[agent]
                axes.plot(own.added, own.score, marker=look.marker, ms=5, color=look.color, mec='white', mew=0.5,
                          lw=1.2, label=panels.name(frames, agent))  # fmt: skip
        for agent in ('active', 'passive'):
            if agent in score.index.get_level_values(0):
                last = score.loc[agent].iloc[-1]
                axes.axhline(last, ls='--', lw=1.4, color=LOOKS[agent].color, label=panels.name(frames, agent))
        if not axes.lines:
            panels.empty(axes, 'nothing to normalise by' if len(frames.metrics) else 'no finished run')
        axes.set(xlabel="added data (% of the source's replay)", ylabel='normalised mean score')
        notes = panels.lost(frames, scale, ['active', 'passive', *INTERACTING]) + unlearned(frames)
        panels.legend(figure, [axes], notes, ncols=3)
        return figure
