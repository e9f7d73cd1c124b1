"""Parts that figures are made of: one panel, one kind of data."""

import collections
import math
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import matplotlib.patheffects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator
from numpy.typing import ArrayLike

from paper_lib.contract import agents, maze_layout, quantities
from paper_lib.contract.plane import Plane
from paper_lib.study import stats
from paper_lib.study.frames import Frames
from paper_lib.study.names import counted
from paper_lib.study.style import ALERT, GREY, THEIRS, YELLOW

NO_RUN = 'no finished run'
NOTE = 0.16  # inches of a line below the panels
NOTE_LETTERS = 15  # of a note in an inch
WARNING_LETTERS = 9  # of the warning in an inch
BAND_RUNS = 4  # runs from which on a band is drawn: the interval of three values is just their range
SIZES = {'*': 10}  # of a marker that is small beside the others of its size
BLACK_OUTLINE = [matplotlib.patheffects.withStroke(linewidth=3.2, foreground='black')]
WHITE_OUTLINE = [matplotlib.patheffects.withStroke(linewidth=2.6, foreground='white')]


def new(frames: Frames, width: float, height: float) -> Figure:
    """An empty figure of this size in inches, with the warning of the frames at its top."""
    figure = Figure(figsize=(width, height), layout='constrained')
    if frames.warning:
        text = textwrap.fill(frames.warning, int(width * WARNING_LETTERS), break_on_hyphens=False)
        figure.suptitle(text, color=ALERT, fontsize=12, fontweight='bold')
    return figure


def label(axes: Axes, letter: str, text: str) -> None:
    """Put a letter and a title above a panel."""
    axes.set_title(f'({letter}) {text}')


def legend(
    figure: FigureBase,
    axes: Iterable[Axes],
    notes: Sequence[str] = (),
    ncols: int = 4,
    absent: Sequence[str] = (),
) -> None:
    """One legend below the panels, in which each agent stands once, under the lines of `notes`.

    It has at most `ncols` columns, and no more than fit into the width.
    Agents that are `absent` from the panels, because they have no run, come last and are grey.
    """
    handles = {}
    for panel in axes:
        lines, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, lines, strict=True))
    shown = len(handles)
    for agent in absent:
        look = agents.get(agent)
        handles[f'{look.label} (no run yet)'] = Line2D([], [], color=GREY, marker=look.marker, mec='white', mew=0.6)
    root = figure.get_figure(root=True)
    width = int(root.get_figwidth() * NOTE_LETTERS)
    text = '\n'.join(textwrap.fill(note, width, break_on_hyphens=False) for note in notes)
    if text:
        root.set_figheight(root.get_figheight() + NOTE * (text.count('\n') + 1))
    if not handles and not text:
        return
    columns = 1
    if handles:
        rows = math.ceil(len(handles) / ncols)
        columns = math.ceil(len(handles) / rows)
    look = {'loc': 'outside lower center', 'title': text or None, 'title_fontsize': 8}
    box = figure.legend(handles.values(), handles.keys(), ncols=columns, **look)
    while columns > 1 and box.get_window_extent().width > figure.bbox.width:
        box.remove()
        columns -= 1
        box = figure.legend(handles.values(), handles.keys(), ncols=columns, **look)
    for label in box.get_texts()[shown:]:
        label.set_color(THEIRS)


def absent(frames: Frames, names: Iterable[str]) -> list[str]:
    """Those of the agents that are planned in these frames, or that the figure is about, and have no run."""
    wanted = {spec.agent for spec in frames.specs}.union(frames.subject)
    return [agent for agent in names if agent in wanted and agent not in frames.archived_agents]


def notes(frames: Frames, names: Sequence[str]) -> list[str]:
    """The lines of `lost` that are about agents with a run, and about whole tasks."""
    return lost(frames, [agent for agent in names if agent in frames.archived_agents])


def lost(frames: Frames, names: Sequence[str]) -> list[str]:
    """Lines that name the agents and tasks without a result: first the planned ones, then the optional ones."""
    missing_runs = collections.Counter(spec.agent for spec in frames.missing)
    has_plan = {spec.agent for spec in frames.specs}
    planned = []
    optional = []
    for agent in names:
        if missing_runs[agent]:
            planned.append(f'{agents.get(agent).label} {missing_runs[agent]}')
        elif agent in has_plan and agent not in frames.archived_agents:
            optional.append(agents.get(agent).label)
    if len(frames.runs):
        planned_tasks = {spec.task for spec in frames.specs if spec.run_id not in frames.optional}
        for task in frames.tasks:
            if task not in planned_tasks and task not in set(frames.runs.task):
                optional.append(f'all of {task}')

    lines = []
    if planned:
        lines.append(f'planned (no result yet): {", ".join(planned)}')
    if optional:
        lines.append(f'optional (not trained): {", ".join(optional)}')
    return lines


def missing(axes: Axes, frames: Frames, names: Sequence[str]) -> None:
    """Say in an empty panel which runs of these agents are missing."""
    text = '\n'.join([NO_RUN, *lost(frames, names)])
    say(axes, text.replace(', ', '\n').replace(': ', ':\n'))


def empty(axes: Axes, text: str) -> None:
    """A panel that holds nothing but the reason."""
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)  # a shared axis keeps its ticks
    axes.grid(False)
    say(axes, text)


def say(axes: Axes, text: str) -> None:
    """Write in the middle of a panel, in a box."""
    box = {'facecolor': 'white', 'edgecolor': GREY}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha='center', va='center', fontsize=8, bbox=box, zorder=6)


def count(frames: Frames, agent: str) -> str:
    """How many runs an agent has on the tasks on which it has any, and how many of the tasks these are.

    '3 runs', '3 to 6 runs' where tasks differ, '3 runs on 2 of 5 tasks' where some tasks have none.
    """
    counts = frames.runs[frames.runs.agent == agent].task.value_counts()
    if counts.empty:
        return 'no run'
    fewest, most = counts.min(), counts.max()
    runs = f'{fewest} to {most} runs' if fewest < most else counted(most, 'run')
    return runs if len(counts) == len(frames.tasks) else f'{runs} on {len(counts)} of {len(frames.tasks)} tasks'


def name(frames: Frames, agent: str) -> str:
    """How a legend calls an agent."""
    return f'{agents.get(agent).label} ({count(frames, agent)})'


def curves(
    axes: Axes,
    frames: Frames,
    names: Sequence[str],
    column: str,
    faded: Collection[str] = (),
    task: str | None = None,
) -> None:
    """`column` over environment steps: a thin line per run and a thick mean; of `task` where there are several.

    From BAND_RUNS runs on there is a band, the 95 % bootstrap interval of the mean. Agents in `faded` are drawn as a
    dashed baseline without band or single runs.
    """
    metrics = frames.metrics[frames.metrics.agent.isin(names)]
    if metrics.empty:
        missing(axes, frames, names)
        axes.set_axis_off()
        return
    if task is not None:
        metrics = metrics[metrics.task == task]
    for agent in names:
        evaluations = metrics[metrics.agent == agent]
        table = evaluations.pivot(index='env_step', columns='pair_seed', values=column)
        values = table.to_numpy(float)  # (evaluations, runs)
        at = table.index.to_numpy()
        mean = values.mean(1) if len(at) else []
        line(axes, agent, name(frames, agent), at, mean, faded=agent in faded)
        if agent in faded or not len(at):
            continue
        runs = values.shape[1]
        axes.plot(at, values, lw=0.6, alpha=min(0.35, 1.2 / runs), color=agents.get(agent).color)
        if runs >= BAND_RUNS:
            low, high = stats.interval(values)
            band(axes, agent, at, low, high)
    axes.set_xlim(left=0)
    steps(axes)


def line(axes: Axes, agent: str, label: str, x: Sequence, y: Sequence, faded: bool = False) -> None:
    """A line in the colour of an agent, with its markers or, if `faded`, dashed."""
    look = agents.get(agent)
    markers = {'marker': look.marker, 'markevery': max(1, len(x) // 10), 'ms': SIZES.get(look.marker, 6)}
    shape = {'ls': '--'} if faded else markers
    axes.plot(x, y, label=label, color=look.color, mec='white', mew=0.6, zorder=3, **shape)


def band(axes: Axes, agent: str, x: ArrayLike, low: ArrayLike, high: ArrayLike) -> None:
    """An interval around a line, in the colour of an agent."""
    axes.fill_between(x, low, high, color=agents.get(agent).color, alpha=0.18, lw=0)


def steps(axes: Axes) -> None:
    """Label the axis of environment steps, in thousands."""
    axes.set_xlabel('environment steps')
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: f'{x / 1000:g}K' if x else '0')


def published(axes: Axes, scores: pd.DataFrame, at: int, alarm: float) -> None:
    """Scores of others (steps, runs): thin line per run, dashed mean, their range at step `at`; the alarm dotted."""
    scores = scores.loc[:at]
    axes.plot(scores.index, scores, lw=0.6, alpha=0.6, color=THEIRS)
    label = f'published, size S ({scores.shape[1]} runs)'
    axes.plot(scores.index, scores.mean(axis=1), ls='--', color=THEIRS, label=label)
    ends = scores.loc[at]
    axes.plot(
        [at, at],
        [ends.min(), ends.max()],
        color='black',
        marker='_',
        ms=12,
        mew=2,
        zorder=4,
        label=f'published range at {at:,}',
    )
    axes.axhline(alarm, color=ALERT, ls=':', lw=1.2, label=f'alarm: ends below {alarm}')


def dress(axes: Axes, column: str) -> None:
    """Give an axis that has curves of a quantity its logarithmic scale or its line at zero."""
    quantity = quantities.get(column)
    if quantity.logarithmic and any((np.asarray(line.get_ydata(), float) > 0).any() for line in axes.lines):
        logarithmic(axes)
    if quantity.signed and axes.lines:
        axes.axhline(0, color='black', lw=0.8)


def logarithmic(axes: Axes, which: str = 'y') -> None:
    """Make the axis x or y logarithmic, with plain numbers."""
    axes.set(**{f'{which}scale': 'log'})
    axis = getattr(axes, f'{which}axis')
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter('')


def colorbar(figure: FigureBase, image: ScalarMappable, axes: Iterable[Axes], label: str, **options: Any) -> None:
    """A logarithmic colour bar with plain numbers. `options` are those of matplotlib's colour bar."""
    bar = figure.colorbar(image, ax=list(axes), label=label, **options)
    bar.ax.yaxis.set_major_formatter('{x:g}')
    bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def walls(axes: Axes, goal_radius: float) -> None:
    """The maze as the simulator builds it: walls, arena and goal, and the square in which episodes start (dotted)."""
    for x, y, half_x, half_y in maze_layout.WALLS:
        axes.add_patch(Rectangle((x - half_x, y - half_y), 2 * half_x, 2 * half_y, color='#303030', lw=0, zorder=2))
    axes.add_patch(Circle(maze_layout.GOAL, goal_radius, fc='none', ec='red', lw=1.6, zorder=4))
    (left, right), (low, high) = maze_layout.START
    square = Rectangle((left, low), right - left, high - low, fill=False, ec='black', ls=':', lw=1.3, zorder=2)
    square.set_path_effects(WHITE_OUTLINE)
    axes.add_patch(square)
    axes.set(xticks=[], yticks=[], aspect='equal')


def plane(axes: Axes, frames: Frames) -> None:
    """The plane of the task: in the maze its floor, else two labelled axes."""
    (left, low), (right, high) = frames.plane.low, frames.plane.high
    axes.set(xlim=(left, right), ylim=(low, high))
    axes.grid(False)
    axes.spines[:].set_visible(True)
    if frames.suite == 'maze':
        walls(axes, frames.specs[0].goal_radius)
        return
    across, up = frames.plane.labels
    axes.set(xlabel=across, ylabel=up)


def visits(axes: Axes, grid: np.ndarray, plane: Plane, norm: Normalize, cmap: Any) -> AxesImage:
    """Visit counts (nx, ny), grey where there are none; returns the image for a colour bar."""
    (left, low), (right, high) = plane.low, plane.high
    counts = np.ma.masked_equal(grid.T, 0)
    axes.set_facecolor(GREY)
    extent = (left, right, low, high)
    return axes.imshow(counts, origin='lower', extent=extent, norm=norm, cmap=cmap, zorder=1, aspect=axes.get_aspect())


def start(axes: Axes, point: np.ndarray) -> None:
    """A dot where a trajectory starts."""
    axes.plot(*point, 'o', ms=6, color=YELLOW, mec='black', mew=0.8, zorder=5)


def path(axes: Axes, points: np.ndarray, thin: bool = False) -> None:
    """A trajectory (n, 2) as a white line, with a black outline unless it is thin."""
    if thin:
        axes.plot(*points.T, color='white', lw=0.4, alpha=0.6, zorder=3)
    else:
        axes.plot(*points.T, color='white', lw=1.3, path_effects=BLACK_OUTLINE, zorder=3)
    start(axes, points[0])


def coloured_path(
    axes: Axes, points: np.ndarray, values: pd.Series, norm: Normalize | None, cmap: Any, thin: bool = False
) -> LineCollection:
    """A trajectory (n, 2) coloured by a value of every step; returns the lines for a colour bar."""
    segments = np.stack([points[:-1], points[1:]], 1)
    lines = LineCollection(segments, norm=norm, cmap=cmap, lw=0.8 if thin else 2.6, zorder=3)
    lines.set_array(values.to_numpy()[1:])
    axes.add_collection(lines)
    start(axes, points[0])
    return lines
