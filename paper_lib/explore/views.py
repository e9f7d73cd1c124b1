"""The figures of the interactive parts, drawn from arrays and data frames."""

import html
import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_lib.contract import agents, quantities, tasks
from paper_lib.study import drawing, episodes, offline, panels, scales
from paper_lib.study.style import ALERT, context

# In inches:
WIDTH = 8.5
HEIGHT = 3.4
STRIP_HEIGHT = 3.2
FLAGS_HEIGHT = 2.0  # of a row of panels
WIDEST = 3  # panels in a row


class Imagination(NamedTuple):
    """Positions that an agent imagined from a step of an episode on."""

    positions: np.ndarray  # (draws, H + 1, 2) in metres
    step: int  # of the episode, where imagination starts


def as_html(figure: Figure, text: str) -> str:
    """A figure as HTML with a line of text below it. Equal figures give equal HTML."""
    return drawing.as_html(drawing.png(figure), text, html.escape(text))


def _row(count: int, scale: str) -> tuple[Figure, np.ndarray]:
    """A figure with `count` panels in a row."""
    figure = _new(scale, HEIGHT)
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, axes


def _new(scale: str, height: float) -> Figure:
    """An empty figure, with the scale's warning at its top if there is one."""
    figure = Figure(figsize=(WIDTH, height), layout='constrained')
    warning = scales.get(scale).warning
    if warning:
        figure.suptitle(warning, color=ALERT)
    return figure


def path(steps: pd.DataFrame, goal_radius: float, scale: str, imagination: Imagination | None = None) -> Figure:
    """A path through the maze, and the loss along it. `steps` has the columns v0, v1 (m) and wm_loss."""
    points = steps[['v0', 'v1']].to_numpy()
    loss_label = quantities.get('wm_loss').axis
    with context():
        figure, (maze, loss, *gap) = _row(2 if imagination is None else 3, scale)
        panels.walls(maze, goal_radius)
        maze.spines[:].set_visible(True)
        lines = panels.coloured_path(maze, points, steps.wm_loss, None, 'plasma')
        low, high = np.percentile(steps.wm_loss, [1, 99])
        lines.set_clim(low, high)
        figure.colorbar(lines, ax=maze, label=loss_label, shrink=0.8)
        loss.plot(steps.wm_loss.to_numpy(), color='black', lw=0.8)
        loss.set(xlabel='agent step', ylabel=loss_label)
        if imagination is not None:
            positions, step = imagination
            maze.plot(*positions.T, '--', color='black', lw=0.8, zorder=6)
            loss.axvline(step, color='black', ls='--', lw=0.8)
            _draw_gap(gap[0], points[step:], positions)
        return figure


def _draw_gap(axes: Axes, real: np.ndarray, imagined: np.ndarray) -> None:
    """Draw the distance of each imagined path (draws, H + 1, 2) from the real path (N, 2), and their median."""
    length = min(len(real), imagined.shape[1])
    distances = np.linalg.norm(real[:length] - imagined[:, :length], axis=-1)
    axes.set(xlabel='steps imagined', ylabel='distance to the real path (m)')
    axes.plot(distances.T, color='black', lw=0.6, alpha=0.5)
    axes.plot(np.median(distances, 0), color='black', lw=2)


def observed(true: np.ndarray, decoded: np.ndarray, losses: np.ndarray, step: int, scale: str) -> Figure:
    """The true and the decoded observation of one step, and the world-model losses (N,) of the episode.

    Observations are pictures (H, W, 3) or vectors (X,).
    """
    with context():
        figure, (left, right, curve) = _row(3, scale)
        if true.ndim == 3:
            _draw_picture(left, true, 'observed')
            _draw_picture(right, decoded, 'decoded')
        else:
            index = np.arange(len(true))
            left.bar(index - 0.2, true, 0.4, label='observed')
            left.bar(index + 0.2, decoded, 0.4, label='decoded')
            left.legend()
            left.set(xlabel='number', title='observed and decoded')
            right.bar(index, decoded - true, color='black')
            right.set(xlabel='number', title='decoded - observed')
        curve.plot(losses, color='black', lw=0.8)
        curve.axvline(step, color='black', ls='--', lw=0.8)
        curve.set(xlabel='agent step', ylabel=quantities.get('wm_loss').axis)
        return figure


def _draw_picture(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation='nearest')
    axes.set(title=title, xticks=[], yticks=[])
    axes.grid(False)


def strip(rows: pd.DataFrame, scale: str) -> Figure:
    """Archived pictures of consecutive steps: observed above, decoded below."""
    with context():
        figure = _new(scale, STRIP_HEIGHT)
        episodes.pictures(figure, rows.task.iloc[0], rows)
        return figure


def steps(traces: pd.DataFrame, step: int, scale: str) -> Figure:
    """Reward and losses per step of one episode of several agents, and their values at one step."""
    with context():
        figure, row = _row(len(episodes.COLUMNS), scale)
        for axes, column in zip(row, episodes.COLUMNS):
            for agent, rows in traces.groupby('agent', sort=False):
                look = agents.get(agent)
                values = rows.set_index('step')[column].sort_index()
                at_step = f'{values[step]:.3g}' if step in values.index else 'over'
                axes.plot(values, color=look.color, lw=0.9, label=f'{look.label}: {at_step}')
            axes.axvline(step, color='black', ls='--', lw=0.8)
            axes.set(xlabel='agent step', title=quantities.get(column).words)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(title=f'at step {step}', loc='upper center', bbox_to_anchor=(0.5, -0.25))
        return figure


def collections(metrics: pd.DataFrame, due: pd.Series, threshold: float, scale: str) -> Figure:
    """The OOD ratio over training, with marks at those evaluations (rows) where `due` is true."""
    with context():
        figure, (axes,) = _row(1, scale)
        axes.plot(metrics.env_step, metrics.ood_ratio, color='black', lw=0.8, label='OOD ratio')
        axes.axhline(threshold, color=ALERT, ls='--', label=f'threshold {threshold:g}')
        axes.plot(metrics.env_step[due], metrics.ood_ratio[due], 'o', color=ALERT, label='would collect')
        panels.steps(axes)
        axes.set_ylabel(quantities.get('ood_ratio').axis)
        axes.legend()
        return figure


def flags(last: pd.DataFrame, measure: str, threshold: float, scale: str) -> Figure:
    """The gain of every run at its end over a measure, a panel per task; dashed: the threshold.

    `last` has the columns task, agent, value (of the measure) and gain (relative to that of Active).
    """
    with context():
        names = list(dict.fromkeys(last.task))
        rows = max(1, math.ceil(len(names) / WIDEST))
        figure = _new(scale, 0.8 + FLAGS_HEIGHT * rows)
        grid = figure.subplots(rows, math.ceil(len(names) / rows) or 1, squeeze=False, sharey=True)
        if not names:
            panels.empty(grid[0, 0], 'Active is nowhere better than random actions')
        for axes in grid.flat[max(1, len(names)) :]:
            axes.remove()
        for axes, task in zip(grid.flat, names):
            for agent, runs in last[last.task == task].groupby('agent', sort=False):
                look = agents.get(agent)
                axes.plot(runs.value, runs.gain, look.marker or 'o', color=look.color, mec='white', label=look.label)
            axes.axvline(threshold, color=ALERT, ls='--')
            axes.axhline(offline.LEAST_GAIN, color='black', lw=0.8)
            axes.set_title(tasks.get(task).short)
            if quantities.get(measure).logarithmic:
                panels.logarithmic(axes, 'x')
        grid[-1, 0].set_xlabel(quantities.get(measure).words)
        figure.supylabel("gain relative to Active's", fontsize=9)
        panels.legend(figure, grid.flat[: len(names)], ncols=5)
        return figure
