"""Parts that figures are made of: one panel, one kind of data."""

import collections
import math
import textwrap

import matplotlib.patheffects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator

from paper_lib.contract import agents, maze_layout, quantities
from paper_lib.study import stats
from paper_lib.study.frames import Frames
from paper_lib.study.style import ALERT, GREY, THEIRS, YELLOW

NO_RUN = 'no finished run'
NOTE = 0.16  # inches of a line below the panels
OUTLINE = [matplotlib.patheffects.withStroke(linewidth=3.2, foreground='black')]


def new(frames: Frames, width: float, height: float) -> Figure:
    """An empty figure of this size in inches, with the warning of the frames on its face."""
    figure = Figure(figsize=(width, height), layout='constrained')
    if frames.warning:
        figure.suptitle(frames.warning, color=ALERT, fontsize=12, fontweight='bold')
    return figure


def label(axes: Axes, letter: str, text: str) -> None:
    axes.set_title(f'({letter}) {text}')


def legend(figure, axes, notes=(), ncols: int = 4) -> None:
    """One legend below the panels, each agent once, under the lines of `notes`."""
    handles = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    root = figure.get_figure(root=True)
    notes = [textwrap.fill(note, int(root.get_figwidth() * 15), break_on_hyphens=False) for note in notes]
    words = '\n'.join(notes)
    if words:
        root.set_figheight(root.get_figheight() + NOTE * (words.count('\n') + 1))
    if handles or words:
        ncols = math.ceil(len(handles) / math.ceil(len(handles) / ncols)) if handles else 1
        figure.legend(handles.values(), handles.keys(), loc='outside lower center', ncols=ncols,
                      title=words or None, title_fontsize=8)  # fmt: skip


def lost(frames: Frames, names: list[str]) -> list[str]:
    """Lines that say which runs of these agents, and which tasks, have no result: those planned, those optional."""
    counts = collections.Counter(spec.agent for spec in frames.missing)
    planned = [f'{agents.get(name).label} {counts[name]}' for name in names if counts[name]]
    there = set(frames.runs.agent)
    optional = [agents.get(name).label for name in names if not counts[name] and name not in there]
    if len(frames.runs):
        having = {*frames.runs.task, *(spec.task for spec in frames.specs if spec.run_id not in frames.optional)}
        optional += [f'all of {task}' for task in frames.tasks if task not in having]
    lines = {'planned (no result yet)': planned, 'optional (not trained)': optional}
    return [f'{what}: {", ".join(found)}' for what, found in lines.items() if found]


def missing(axes: Axes, frames: Frames, what: list[str]) -> None:
    """Say in an empty panel which runs are missing."""
    text = '\n'.join([NO_RUN, *lost(frames, what)])
    _say(axes, text.replace(', ', '\n').replace(': ', ':\n'))


def empty(axes: Axes, text: str) -> None:
    """A panel that holds nothing but the reason."""
    axes.set(xticks=[], yticks=[])
    _say(axes, text)


def _say(axes, text):
    box = {'facecolor': 'white', 'edgecolor': GREY}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha='center', va='center', fontsize=8, bbox=box, zorder=6)


def count(frames: Frames, name: str) -> str:
    """Pair seeds there are of an agent: 'n=3', 'n=2 of 3', or 'n=2-3 of 3' where tasks differ."""
    wanted = collections.Counter(spec.task for spec in frames.wanted(name))
    there = frames.runs[frames.runs.agent == name].task.value_counts()
    found, most = [there.get(task, 0) for task in wanted] or [0], max(wanted.values(), default=0)
    n = '-'.join(str(value) for value in sorted({min(found), max(found)}))
    return f'n={n}' + (f' of {most}' if min(found) < most else '')


def name(frames: Frames, agent: str) -> str:
    """How a legend calls an agent."""
    return f'{agents.get(agent).label} ({count(frames, agent)})'


def curves(axes: Axes, frames: Frames, names: list[str], column: str, faded=(), task: str | None = None) -> None:
    """`column` over environment steps: thin line per seed, thick mean; of `task` where there are several.

    Band, from four seeds on: 95 % bootstrap interval of the mean. Agents in `faded` are drawn as a dashed
    baseline without band or single seeds.
    """
    found = frames.metrics[frames.metrics.agent.isin(names)]
    if found.empty:
        missing(axes, frames, list(names))
        axes.set_axis_off()
        return
    found = found if task is None else found[found.task == task]
    for agent in names:
        # (evaluations, seeds)
        table = found[found.agent == agent].pivot(index='env_step', columns='pair_seed', values=column)
        values, at = table.to_numpy(float), table.index.to_numpy()
        mean = values.mean(1) if len(at) else []
        line(axes, agent, name(frames, agent), at, mean, faded=agent in faded)
        if agent in faded or not len(at):
            continue
        axes.plot(at, values, lw=0.6, alpha=0.35, color=agents.get(agent).color)
        if values.shape[1] > 3:  # the interval of three values is just their range
            band(axes, agent, at, *stats.interval(values))
    steps(axes)


def line(axes: Axes, agent: str, label: str, x, y, faded: bool = False) -> None:
    look = agents.get(agent)
    shape = {'ls': '--'} if faded else {'marker': look.marker, 'markevery': max(1, len(x) // 10), 'ms': 6}
    axes.plot(x, y, label=label, color=look.color, mec='white', mew=0.6, zorder=3, **shape)


def band(axes: Axes, agent: str, x, low, high) -> None:
    axes.fill_between(x, low, high, color=agents.get(agent).color, alpha=0.1, lw=0)


def steps(axes: Axes) -> None:
    """Label the axis of environment steps, in thousands."""
    axes.set_xlabel('environment steps')
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: f'{x / 1000:g}K' if x else '0')


def published(axes: Axes, scores: pd.DataFrame, at: int, alarm: float) -> None:
    """Scores of others (steps, seeds): thin line per seed, dashed mean, their range at step `at`; the alarm dotted."""
    scores = scores.loc[:at]
    axes.plot(scores.index, scores, lw=0.6, alpha=0.6, color=THEIRS)
    label = f'published, size S (n={scores.shape[1]})'
    axes.plot(scores.index, scores.mean(axis=1), ls='--', color=THEIRS, label=label)
    ends = [scores.loc[at].min(), scores.loc[at].max()]
    axes.plot([at, at], ends, color='black', marker='_', ms=12, mew=2, zorder=4, label=f'published range at {at:,}')
    axes.axhline(alarm, color=ALERT, ls=':', lw=1.2, label=f'alarm: ends below {alarm}')


def dress(axes: Axes, column: str) -> None:
    """What a quantity asks of an axis that has curves of it: a logarithmic scale, or a line at zero."""
    row = quantities.get(column)
    if row.logarithmic and axes.lines:
        logarithmic(axes)
    if row.signed and axes.lines:
        axes.axhline(0, color='black', lw=0.8)


def logarithmic(axes: Axes) -> None:
    axes.set_yscale('log')
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('')


def colorbar(figure, image, axes, label: str, **kwargs) -> None:
    """A logarithmic colour bar with plain numbers."""
    bar = figure.colorbar(image, ax=list(axes), label=label, **kwargs)
    bar.ax.yaxis.set_major_formatter('{x:g}')
    bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def walls(axes: Axes, goal_radius: float) -> None:
    """The maze as the simulator builds it: walls, arena and goal, and the square in which episodes start (dotted)."""
    for x, y, half_x, half_y in maze_layout.WALLS:
        axes.add_patch(Rectangle((x - half_x, y - half_y), 2 * half_x, 2 * half_y, color='#303030', lw=0, zorder=2))
    axes.add_patch(Circle(maze_layout.GOAL, goal_radius, fc='none', ec='red', lw=1.6, zorder=4))
    (left, right), (low, high) = maze_layout.START
    square = Rectangle((left, low), right - left, high - low, fill=False, ec='black', ls=':', lw=1.3, zorder=2)
    square.set_path_effects([matplotlib.patheffects.withStroke(linewidth=2.6, foreground='white')])
    axes.add_patch(square)
    side = maze_layout.ARENA
    axes.set(xlim=(-side, side), ylim=(-side, side), xticks=[], yticks=[], aspect='equal')
    axes.grid(False)
    axes.spines[:].set_visible(True)


def visits(axes: Axes, grid: np.ndarray, norm, cmap):
    """Visit counts (nx, ny), grey where there are none; returns the image for a colour bar."""
    side = maze_layout.ARENA
    counts = np.ma.masked_equal(grid.T, 0)
    axes.set_facecolor(GREY)
    return axes.imshow(counts, origin='lower', extent=(-side, side, -side, side), norm=norm, cmap=cmap, zorder=1)


def start(axes: Axes, steps: pd.DataFrame) -> None:
    axes.plot(*steps[['v0', 'v1']].iloc[0], 'o', ms=6, color=YELLOW, mec='black', mew=0.8, zorder=5)


def path(axes: Axes, steps: pd.DataFrame) -> None:
    """A trajectory as a white line."""
    axes.plot(steps.v0, steps.v1, color='white', lw=1.3, path_effects=OUTLINE, zorder=3)
    start(axes, steps)


def coloured_path(axes: Axes, steps: pd.DataFrame, column: str, norm, cmap):
    """A trajectory coloured by a column; returns the lines for a colour bar."""
    points = steps[['v0', 'v1']].to_numpy()
    lines = LineCollection(np.stack([points[:-1], points[1:]], 1), norm=norm, cmap=cmap, lw=2.6, zorder=3)
    lines.set_array(steps[column].to_numpy()[1:])
    axes.add_collection(lines)
    start(axes, steps)
    return lines
