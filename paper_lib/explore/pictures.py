"""What the interactive parts draw: arrays and frames in, HTML out."""

import html
import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_lib.contract import agents, quantities
from paper_lib.study import drawing, episodes, panels, scales
from paper_lib.study.style import ALERT, context

HEIGHT = 3.4  # inches


def shown(figure: Figure, text: str) -> str:
    """A figure as HTML with a line below it; equal figures give equal text."""
    buffer = io.BytesIO()
    with context():
        figure.savefig(buffer, format='png', metadata={'Software': None})
    return drawing.as_html(buffer.getvalue(), text, html.escape(text))


def _row(count, scale, width=11.0):
    figure = _new(scale, width, HEIGHT)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _new(scale, width, height):
    """An empty figure with the scale's warning on its face."""
    figure = Figure(figsize=(width, height), layout='constrained')
    if warning := scales.get(scale).warning:
        figure.suptitle(warning, color=ALERT)
    return figure


def path(steps, goal_radius, scale, text, imagined=None, at=0) -> str:
    """A way through the maze: columns v0, v1, wm_loss per step; `imagined` (draws, H + 1, 2) from step `at` on."""
    with context():
        figure, (map_, loss, apart) = _row(3, scale)
        panels.walls(map_, goal_radius)
        bounds = np.percentile(steps.wm_loss, [1, 99])
        lines = panels.coloured_path(map_, steps, 'wm_loss', None, 'plasma')
        lines.set_clim(*bounds)
        figure.colorbar(lines, ax=map_, label=quantities.get('wm_loss').axis, shrink=0.8)
        loss.plot(steps.wm_loss.to_numpy(), color='black', lw=0.8)
        loss.set(xlabel='agent step', ylabel=quantities.get('wm_loss').axis)
        if imagined is None:
            apart.remove()
        else:
            apart.set(xlabel='steps imagined', ylabel='distance to the real path (m)')
            map_.plot(*imagined.T, '--', color='black', lw=0.8, zorder=6)
            loss.axvline(at, color='black', ls='--', lw=0.8)
            real = steps[['v0', 'v1']].to_numpy()[at : at + imagined.shape[1]]
            gaps = np.linalg.norm(real - imagined[:, : len(real)], axis=-1)
            apart.plot(gaps.T, color='black', lw=0.6, alpha=0.5)
            apart.plot(np.median(gaps, 0), color='black', lw=2)
        return shown(figure, text)


def observed(true, decoded, losses, at, scale, text) -> str:
    """What is seen and what is decoded at one step, pictures (H, W, 3) or vectors (D,), over the losses (N,)."""
    with context():
        figure, (left, right, curve) = _row(3, scale)
        if true.ndim == 3:
            for axes, picture, title in ((left, true, 'observed'), (right, decoded, 'decoded')):
                axes.imshow(picture, interpolation='nearest')
                axes.set(title=title, xticks=[], yticks=[])
                axes.grid(False)
        else:
            place = np.arange(len(true))
            left.bar(place - 0.2, true, 0.4, label='observed')
            left.bar(place + 0.2, decoded, 0.4, label='decoded')
            left.legend()
            left.set(xlabel='number', title='observed and decoded')
            right.bar(place, decoded - true, color='black')
            right.set(xlabel='number', title='decoded - observed')
        curve.plot(losses, color='black', lw=0.8)
        curve.axvline(at, color='black', ls='--', lw=0.8)
        curve.set(xlabel='agent step', ylabel=quantities.get('wm_loss').axis)
        return shown(figure, text)


def strip(rows, scale, text) -> str:
    """Archived pictures of consecutive steps: seen above, decoded below."""
    with context():
        figure = _new(scale, 11, 3.2)
        episodes.pictures(figure, rows.task.iloc[0], rows)
        return shown(figure, text)


def steps(found, at, scale, text) -> str:
    """Reward and losses per step of one episode of several agents, a mark at step `at`."""
    with context():
        figure, grid = _row(len(episodes.COLUMNS), scale)
        for axes, column in zip(grid, episodes.COLUMNS):
            for agent, rows in found.groupby('agent', sort=False):
                look, rows = agents.get(agent), rows.set_index('step')[column].sort_index()
                here = f': {rows[at]:.3g}' if at in rows.index else ': over'
                axes.plot(rows, color=look.color, lw=0.9, label=look.label + here)
            axes.axvline(at, color='black', ls='--', lw=0.8)
            axes.set(xlabel='agent step', title=quantities.get(column).words)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()
        return shown(figure, text)


def collections(metrics, due, threshold, scale, text) -> str:
    """OOD ratio over training; marked are the evaluations `due` (bool per row) at which it is above the threshold."""
    with context():
        figure, (axes,) = _row(1, scale)
        axes.plot(metrics.env_step, metrics.ood_ratio, color='black', lw=0.8, label='OOD ratio')
        axes.axhline(threshold, color=ALERT, ls='--', label=f'threshold {threshold:g}')
        axes.plot(metrics.env_step[due], metrics.ood_ratio[due], 'o', color=ALERT, label='would collect')
        panels.steps(axes)
        axes.set_ylabel(quantities.get('ood_ratio').axis)
        axes.legend()
        return shown(figure, text)
