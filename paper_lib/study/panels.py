"""Parts that figures are made of: one panel, one kind of data."""

import matplotlib.patheffects
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import LogFormatter, LogLocator

from paper_lib import maze_layout
from paper_lib.study import stats
from paper_lib.study.frames import Frames
from paper_lib.study.style import GREY, LOOKS, THEIRS, YELLOW

COMMAND = 'make figures SCALE={}'
OUTLINE = [matplotlib.patheffects.withStroke(linewidth=3.2, foreground='black')]


def missing(axes: Axes, frames: Frames, scale: str, what: list[str]) -> None:
    """Say in an empty panel which runs are missing and what would fill it."""
    lost = [spec for spec in frames.missing if spec.agent in what]
    names = '\n'.join(f'{agent}: {sum(spec.agent == agent for spec in lost)} missing' for agent in what)
    text = f'no finished run\n{names}\n\n{COMMAND.format(scale)}'
    box = {'facecolor': 'white', 'edgecolor': GREY}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha='center', va='center', fontsize=8, bbox=box, zorder=6)


def curves(axes: Axes, frames: Frames, scale: str, names: list[str], column: str, faded=()) -> None:
    """`column` over environment steps: thin line per seed, thick mean.

    Band, from three seeds on: 95 % bootstrap interval of the mean. Agents in `faded` are drawn as a dashed
    baseline without band or single seeds.
    """
    found = frames.metrics[frames.metrics.agent.isin(names)]
    if found.empty:
        missing(axes, frames, scale, list(names))
        axes.set_axis_off()
        return
    for name in names:
        # (evaluations, seeds)
        table = found[found.agent == name].pivot(index='env_step', columns='pair_seed', values=column)
        _curve(axes, name, table, len(frames.wanted(name)), faded=name in faded)
    steps(axes)


def steps(axes: Axes) -> None:
    """Label the axis of environment steps, in thousands."""
    axes.set_xlabel('environment steps')
    axes.xaxis.set_major_formatter(lambda x, _: f'{x / 1000:g}K' if x else '0')


def _curve(axes, name, table, wanted, faded):
    look, steps, values = LOOKS[name], table.index.to_numpy(), table.to_numpy(float)
    n = f'n={values.shape[1]}' + (f' of {wanted}' if values.shape[1] < wanted else '')
    shape = {'ls': '--'} if faded else {'marker': look.marker, 'markevery': max(1, len(steps) // 10), 'ms': 6}
    mean = values.mean(1) if len(steps) else []
    axes.plot(steps, mean, label=f'{look.label} ({n})', color=look.color, mec='white', mew=0.6, zorder=3, **shape)
    if faded or not len(steps):
        return
    axes.plot(steps, values, lw=0.6, alpha=0.35, color=look.color)
    if values.shape[1] > 2:  # the interval of two values is just their range
        axes.fill_between(steps, *stats.interval(values), color=look.color, alpha=0.18, lw=0)


def published(axes: Axes, scores: pd.DataFrame, at: int, alarm: float) -> None:
    """Scores of others (steps, seeds): thin line per seed, dashed mean, their range at step `at`; the alarm dotted."""
    scores = scores.loc[:at]
    axes.plot(scores.index, scores, lw=0.6, alpha=0.6, color=THEIRS)
    label = f'published, size S (n={scores.shape[1]})'
    axes.plot(scores.index, scores.mean(axis=1), ls='--', color=THEIRS, label=label)
    ends = [scores.loc[at].min(), scores.loc[at].max()]
    axes.plot([at, at], ends, color='black', marker='_', ms=12, mew=2, zorder=4, label=f'published range at {at:,}')
    axes.axhline(alarm, color='#B00000', ls=':', lw=1.2, label=f'alarm: ends below {alarm}')


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
