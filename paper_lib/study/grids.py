"""Grids of curves: a panel per task, a row of panels per quantity; and scores against what was varied."""

import dataclasses
import itertools
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Rectangle

from paper_lib.contract import agents, quantities
from paper_lib.study import panels, reference, stats
from paper_lib.study.comparisons import in_units, score_units
from paper_lib.study.frames import Frames
from paper_lib.study.names import counted
from paper_lib.study.steps import PAIR
from paper_lib.study.style import FAINT, GREY, THEIRS, context

WIDEST = 4  # panels in a row, so that type is legible in a column of a paper
WIDEST_OF_MANY = 6  # where there would be more than two rows
WIDTH = {1: 3.6, 2: 3.0, 3: 2.4, 4: 2.0, 5: 1.8, 6: 1.6}  # inches of a panel where there are as many in a row
HEIGHT = 1.5  # inches of a panel
LEGEND_WIDTH = 2.05  # inches of an entry
BARS_HEIGHT = 1.5  # inches of the bars above the curves of `halves`


class Part(NamedTuple):
    """Which steps of a replay are learned from: from one fraction of it to another, and what share of the steps."""

    start: float
    end: float
    share: float


# By the value of RunSpec.part.
PARTS = {
    'all': Part(0, 1, 1),
    'first': Part(0, 0.5, 1),
    'second': Part(0.5, 1, 1),
    'mixed': Part(0, 1, 0.5),
}


class Curves(NamedTuple):
    """What a grid shows: quantities of agents, of which the `faded` ones are a dashed baseline.

    With `mean`, there is one more panel per quantity: the mean over tasks.
    """

    names: Sequence[str]
    columns: Sequence[str]
    faded: Collection[str] = ()
    mean: bool = False


def curves(
    frames: Frames,
    names: Sequence[str],
    columns: Sequence[str],
    faded: Collection[str] = (),
    mean: bool = False,
) -> Figure:
    """Curves of `columns` for every task and, with `mean`, their mean over tasks if there are several.

    Agents in `faded` are drawn as a dashed baseline.
    """
    content = Curves(names, columns, faded, mean and len(frames.tasks) > 1)
    with context():
        width, height = _size(len(frames.tasks) + content.mean, len(columns))
        figure = panels.new(frames, width, height)
        _fill(figure, frames, content)
        return figure


def stopped(frames: Frames, names: Sequence[str]) -> Figure:
    """Score and loss of agents some of which stop collecting, with a line where they do, and their mean over tasks."""
    figure = curves(frames, names, ('score', 'wm_loss'), mean=True)
    stops = {spec.collect_until for spec in frames.specs if spec.collect_until}
    for axes, step in itertools.product(figure.axes, stops):
        axes.axvline(step, color=GREY, lw=1.2, zorder=0)
    return figure


def _shape(panel_count: int) -> tuple[int, int]:
    """Rows and columns for this many panels, full rows as far as possible."""
    widest = WIDEST if panel_count <= 2 * WIDEST else WIDEST_OF_MANY
    rows = math.ceil(panel_count / widest)
    return rows, math.ceil(panel_count / rows)


def _size(panel_count: int, rows_each: float) -> tuple[float, float]:
    """Width and height in inches of a figure with this many panels, several rows of each."""
    rows, wide = _shape(panel_count)
    return WIDTH[wide] * wide + 0.3, HEIGHT * rows * rows_each + 1.0


def _cells(figure: FigureBase, titles: Sequence[str], rows_each: int = 1) -> tuple[list[list[Axes]], int]:
    """One cell for every title, and how many cells stand in a row. A cell is a list of axes, one below the other."""
    rows, wide = _shape(len(titles))
    grid = figure.subplots(rows * rows_each, wide, squeeze=False)
    cells = []
    for index in range(rows * wide):
        row, column = divmod(index, wide)
        cell = list(grid[row * rows_each : (row + 1) * rows_each, column])
        if index < len(titles):
            _title(cell[0], titles[index], wide)
            cells.append(cell)
        else:
            for axes in cell:
                axes.remove()
    return cells, wide


def _title(axes: Axes, text: str, wide: int) -> None:
    axes.set_title(text, fontsize=9 if wide < 5 else 7.5)


def _fill(figure: FigureBase, frames: Frames, content: Curves) -> None:
    """Draw the curves of every task, their mean over tasks, and the legend."""
    tasks = frames.tasks
    columns = content.columns
    titles = [*tasks, 'mean'] if content.mean else tasks
    cells, wide = _cells(figure, titles, len(columns))
    frames = percent(frames)
    for index, cell in enumerate(cells):
        for axes, column in zip(cell, columns, strict=True):
            recorded = frames.metrics[frames.metrics[column].notna()]
            shown = _those_of(content.names, recorded)
            if index < len(tasks):
                _draw_task(axes, frames, tasks[index], column, content._replace(names=shown))
            else:
                title = _draw_mean(axes, frames, column, content._replace(names=shown))
                _title(axes, title, wide)
            if column == quantities.OOD_RATIO:
                _draw_thresholds(axes, shown)
            in_first_column = index % wide == 0
            in_last_row = index + wide >= len(cells) and column == columns[-1]
            axes.set_ylabel(quantities.get(column).axis if in_first_column else '')
            if not in_last_row:
                axes.set_xlabel('')
            panels.dress(axes, column)

    notes = panels.notes(frames, content.names)
    if content.mean and any(quantities.get(column).normalised == 'score' for column in columns):
        notes += unlearned(frames)
    absent = panels.absent(frames, content.names)
    panels.legend(figure, itertools.chain(*cells), notes, _per_row(figure), absent)


def _per_row(figure: FigureBase) -> int:
    """How many entries of a legend fit beside each other."""
    return max(2, int(figure.get_figure(root=True).get_figwidth() / LEGEND_WIDTH))


def _those_of(names: Sequence[str], metrics: pd.DataFrame) -> list[str]:
    """The agents among `names` that have rows."""
    having = set(metrics.agent)
    return [agent for agent in names if agent in having]


def _draw_task(axes: Axes, frames: Frames, task: str, column: str, content: Curves) -> None:
    """The curves of one task."""
    shown = _those_of(content.names, frames.metrics[frames.metrics.task == task])
    if shown:
        panels.curves(axes, frames, shown, column, content.faded, task)
    else:
        panels.empty(axes, panels.NO_RUN)


def _draw_thresholds(axes: Axes, names: Sequence[str]) -> None:
    """A dotted line at each OOD ratio above which one of these agents adds data."""
    for name in names:
        row = agents.get(name)
        if above := row.values.get('interact_above'):
            axes.axhline(above, ls=':', lw=1, color=row.color, zorder=1)


def _draw_mean(axes: Axes, frames: Frames, column: str, content: Curves) -> str:
    """Mean over `shared_tasks` of the agents that have all of them; returns its title, which counts these tasks."""
    means = mean_curve(frames.of(shared_tasks(frames, content.names, column), 'task'), column)
    means = means[means.agent.isin(content.names)]
    means = means[means.tasks == means.tasks.max()]
    title = 'normalised mean' if quantities.get(column).normalised else 'mean'
    if means.empty:
        panels.empty(axes, _why_no_mean(frames))
        return title
    for agent in _those_of(content.names, means):
        curve = means[means.agent == agent]
        is_faded = agent in content.faded
        panels.line(axes, agent, panels.name(frames, agent), curve.env_step.to_numpy(), curve.value, is_faded)
        if not is_faded:
            panels.band(axes, agent, curve.env_step, curve.low.astype(float), curve.high.astype(float))
    axes.set_xlim(left=0)
    panels.steps(axes)
    return f'{title},\n{counted(means.tasks.max(), "task")}'


def shared_tasks(frames: Frames, names: Sequence[str], column: str) -> list[str]:
    """The tasks on which those of these agents have all run that the figure is about; all of them, if it is of none."""
    about = set(names) & set(frames.subject) - {'active'}
    metrics = frames.metrics
    recorded = metrics[metrics.agent.isin(about or names) & metrics[column].notna()]
    shared = []
    for task, rows in recorded.groupby('task'):
        if rows.agent.nunique() == recorded.agent.nunique():
            shared.append(task)
    return shared


def _why_no_mean(frames: Frames) -> str:
    return 'nothing to normalise by' if len(frames.metrics) else panels.NO_RUN


def mean_curve(frames: Frames, column: str) -> pd.DataFrame:
    """stats.mean_curve of the runs that have a value in `column`, on the tasks of `of_one_budget`."""
    metrics = of_one_budget(frames.metrics, column, frames.exploratory)
    return stats.mean_curve(metrics, column, reference.random_score)


def of_one_budget(metrics: pd.DataFrame, column: str, exploratory: Collection[str]) -> pd.DataFrame:
    """The metrics of Active and of the runs that have a value in `column`, on tasks of one budget.

    It is the budget with most agents; of several, one whose tasks are not exploratory; then the one of most tasks.
    """
    used = metrics[metrics[column].notna() | (metrics.agent == 'active')]
    budgets = used.groupby('task').env_step.transform('max')
    rated = {}
    for budget, rows in used.groupby(budgets):
        is_tested = not set(rows.task) & set(exploratory)
        rated[budget] = (rows.agent.nunique(), is_tested, rows.task.nunique(), budget)
    chosen = max(rated, key=rated.get, default=0)
    return used[budgets == chosen]


def percent(frames: Frames) -> Frames:
    """Frames whose totals are in percent of the environment steps in the source's replay."""
    source_steps = {spec.run_id: spec.source.budget for spec in frames.specs if spec.source}
    metrics = frames.metrics
    steps = metrics.run_id.map(source_steps).astype(float)
    shares = {}
    for total in quantities.totals():
        if total in metrics:
            shares[total] = 100 * metrics[total] / steps
    return dataclasses.replace(frames, metrics=metrics.assign(**shares))


def unlearned(frames: Frames) -> list[str]:
    """A line that names the tasks without a normalised score."""
    tasks = _unlearned_tasks(frames.metrics)
    if not tasks:
        return []
    return [f'no normalised score, as Active is no better than random or not there: {", ".join(tasks)}']


def _unlearned_tasks(metrics: pd.DataFrame) -> list[str]:
    return stats.unlearned(metrics, reference.random_score) if len(metrics) else []


def replay_parts(names: Sequence[str]) -> dict[str, Part]:
    """Which part of Active's replay each of these agents learns from, in the order of PARTS.

    Agents that learn from another source are left out.
    """
    parts = {}
    for name, part in PARTS.items():
        for agent in names:
            row = agents.get(agent)
            if row.source == 'active' and row.values.get('part', 'all') == name:
                parts[agent] = part
    return parts


def halves(frames: Frames, names: Sequence[str], columns: Sequence[str]) -> Figure:
    """Which part of the replay every agent learns from, above its curves."""
    with context():
        width, height = _size(len(frames.tasks), len(columns))
        figure = panels.new(frames, width, height + BARS_HEIGHT)
        top, bottom = figure.subfigures(2, 1, height_ratios=[BARS_HEIGHT, height])
        _draw_parts(top.subplots(), replay_parts(names))
        _fill(bottom, frames, Curves(names, columns))
        return figure


def _draw_parts(axes: Axes, parts: dict[str, Part]) -> None:
    """A bar per agent over the time of training; a uniform half of the steps is hatched."""
    for index, (agent, part) in enumerate(parts.items()):
        axes.barh(
            -index,
            part.end - part.start,
            left=part.start,
            height=0.6,
            color=agents.get(agent).color,
            hatch='' if part.share == 1 else '////',
            ec='white',
            lw=0,
        )
        axes.add_patch(Rectangle((0, -index - 0.3), 1, 0.6, fc='none', ec=GREY))
    axes.set(xlim=(0, 1), yticks=[-index for index in range(len(parts))], xticks=[0, 0.5, 1])
    axes.set_yticklabels([agents.get(agent).label for agent in parts])
    axes.set_xticklabels(['start of training', 'half of the environment steps', 'end'])
    axes.set_title("the part of Active's final replay that each agent learns from", fontsize=9)
    axes.grid(False)


def relative(frames: Frames) -> pd.DataFrame:
    """How final scores compare with Active of the same pair. One row per run: agent, task, pair_seed, score.

    `score` is 1 + the run's score - that of its Active agent, in the units of the claims. Its mean less 1 is their
    estimate. Tasks on which Active is no better than random actions are left out, and so are runs of pairs without
    Active.
    """
    finals = stats.final(frames.metrics, 'score')
    finals = in_units(finals, score_units(finals, reference.random_score), reference.random_score)
    of_active = finals.loc[finals.agent == 'active', [*PAIR, 'score']].rename(columns={'score': 'active'})
    runs = finals.merge(of_active, on=PAIR)
    return runs.assign(score=1 + runs.score - runs.active)[['agent', *PAIR, 'score']]


def sweep(frames: Frames, names: Sequence[str]) -> Figure:
    """Final score beside Active of the same pair, over the weight of exploration, for every task."""
    with context():
        figure = panels.new(frames, *_size(len(frames.tasks), 1.2))
        cells, wide = _cells(figure, frames.tasks)
        finals = relative(frames)
        families = list(dict.fromkeys(next(iter(agents.family(name))) for name in names))
        for index, (task, (axes,)) in enumerate(zip(frames.tasks, cells, strict=True)):
            has_runs = (frames.runs.task == task).any()
            _draw_weights(axes, finals[(finals.task == task) & finals.agent.isin(names)], families, has_runs)
            _mark_untrained(axes, finals[finals.task == task])
            axes.set_ylabel('' if index % wide else 'final score\n(Active of the pair: 1)')
            axes.set_xlabel('weight of exploration')
        trained = {agents.exploration_weight(agent) for agent in frames.archived_agents}
        absent = []  # at the other weights the panels say so
        for name in panels.absent(frames, names):
            if not trained or agents.exploration_weight(name) in trained:
                absent.append(name)
        notes = panels.notes(frames, names) + unlearned(frames)
        panels.legend(figure, itertools.chain(*cells), notes, _per_row(figure), absent)
        return figure


def _mark_untrained(axes: Axes, finals: pd.DataFrame) -> None:
    """Grey the weights at which no agent has run, unless the whole panel says so."""
    trained = {agents.exploration_weight(agent) for agent in finals.agent}
    for place, weight in enumerate(agents.family('active').values()):
        if trained and weight not in trained:
            # Above the dashed line, which would strike the words out.
            axes.axvspan(place - 0.3, place + 0.3, color=FAINT, lw=0, zorder=2)
            text = {'rotation': 90, 'ha': 'center', 'va': 'center', 'fontsize': 8, 'color': THEIRS}
            axes.text(place, 0.5, 'no run yet', transform=axes.get_xaxis_transform(), **text)


def _draw_weights(axes: Axes, finals: pd.DataFrame, families: Sequence[str], has_runs: bool) -> None:
    """One line per family over its weights, evenly spaced, and a dashed line for Active at weight 0.

    `has_runs` tells the reason if there are no final scores.
    """
    if finals.empty:
        panels.say(axes, 'no normalised score' if has_runs else panels.NO_RUN)
    weights = list(agents.family('active').values())
    axes.set(xticks=range(len(weights)), xlim=(-0.3, len(weights) - 0.7))
    axes.set_xticklabels([f'{weight:g}' for weight in weights])
    for index, family in enumerate(families):
        shift = 0.1 * (index - (len(families) - 1) / 2)  # so that intervals do not cover each other
        scores = {}
        for agent, weight in agents.family(family).items():
            scores[weights.index(weight) + shift] = finals.score[finals.agent == agent].to_numpy()
        _draw_family(axes, family, scores)
    if len(finals):
        axes.axhline(1, ls='--', lw=1, color=agents.get('active').color, zorder=1)


def _draw_family(axes: Axes, family: str, scores: dict[float, np.ndarray]) -> None:
    """Final scores (runs,) by place: a line through the means, a dot per run, an interval from BAND_RUNS on."""
    look = agents.get(family)
    if any(len(values) for values in scores.values()):
        # A weight that was not trained is a gap in the line.
        means = [values.mean() if len(values) else np.nan for values in scores.values()]
        panels.line(axes, family, look.label, list(scores), means)
        if not np.isfinite(np.diff(means)).any():  # no two neighbours, so that the legend has no line either
            axes.lines[-1].set_linestyle('none')
    for x, values in scores.items():
        axes.plot([x] * len(values), values, '.', ms=4, alpha=0.5, color=look.color)
        if len(values) >= panels.BAND_RUNS:
            low, high = stats.interval(values)
            axes.vlines(x, low, high, color=look.color, alpha=0.4, lw=4)


def interaction(frames: Frames, names: Sequence[str]) -> Figure:
    """Mean normalised score over added data, a marker per evaluation; dashed: final score of agents that add none."""
    with context():
        figure = panels.new(frames, 6.4, 4.6)
        axes = figure.subplots()
        adding = [agent for agent in names if agents.get(agent).values.get('interact_every')]
        learned = _learned(frames, adding)
        curves = {}
        for column in ('score', 'added'):
            curves[column] = stats.mean_of_normalised(learned.metrics, column).set_index(['agent', 'env_step']).value
        both = pd.DataFrame(curves).dropna().astype(float)
        ends = stats.final(learned.metrics, 'score').groupby(['agent', 'task']).score.mean().groupby('agent').mean()

        for agent in adding:
            if agent in both.index.get_level_values('agent'):
                _draw_added(axes, agent, panels.name(learned, agent), both.loc[agent])
        for agent in names:
            if agent not in adding and agent in ends:
                color = agents.get(agent).color
                axes.axhline(ends[agent], ls='--', lw=1.4, color=color, label=panels.name(learned, agent))
        if not axes.lines:
            panels.empty(axes, _why_no_mean(frames))
        ylabel = f'normalised mean score, {counted(len(learned.tasks), "task")}'
        axes.set(xlabel="added data (% of the source's replay)", ylabel=ylabel, xlim=(0, None))
        axes.set_xscale('function', functions=(np.sqrt, np.square))
        notes = panels.notes(frames, names) + unlearned(frames)
        panels.legend(figure, [axes], notes, ncols=2, absent=panels.absent(frames, names))
        return figure


def _learned(frames: Frames, adding: Sequence[str]) -> Frames:
    """The pairs in which all agents that add data have run, on tasks of one budget, with normalised scores."""
    metrics = percent(frames).metrics
    metrics = metrics[~metrics.task.isin(_unlearned_tasks(metrics))]
    metrics = of_one_budget(metrics, 'score', frames.exploratory)
    own = metrics[metrics.agent.isin(adding)]
    counts = own.groupby(['task', 'pair_seed']).agent.nunique()
    complete = set(counts.index[counts == own.agent.nunique()])
    run_ids = {spec.run_id for spec in frames.specs if (spec.task, spec.pair_seed) in complete}
    pairs = dataclasses.replace(frames, metrics=metrics).of(run_ids, 'run_id')
    return dataclasses.replace(pairs, metrics=stats.normalised(pairs.metrics, reference.random_score))


def _draw_added(axes: Axes, agent: str, label: str, curve: pd.DataFrame) -> None:
    """The score of an agent over what it added: a dot per evaluation, and a line through the mean of every amount."""
    look = agents.get(agent)
    axes.plot(curve.added, curve.score, '.', ms=3, alpha=0.4, color=look.color)
    means = curve.groupby(curve.added.round(6))[['added', 'score']].mean()
    shape = {'marker': look.marker, 'ms': 6, 'mec': 'white', 'mew': 0.5, 'lw': 1.4}
    axes.plot(means.added, means.score, color=look.color, label=label, **shape)
