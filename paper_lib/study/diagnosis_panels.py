"""The two figures of a diagnosis: what the recording covers, and its agents among the known runs."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_lib.contract import agents, quantities
from paper_lib.study import offline
from paper_lib.study.coverage import PARTS, Coverage
from paper_lib.study.diagnosis import MEASURES
from paper_lib.study.offline import DEGRADED, DIRECTIONS
from paper_lib.study.style import ALERT, GREY, THEIRS, context

COLUMNS = 3
TITLE = 36  # letters of a line of a title
NARROW = 5  # an axis whose ends differ by a smaller factor is not logarithmic
WIDE = 100  # one whose ends differ by a larger factor has ticks at powers of ten alone
OWN = agents.get('passive').color


def covered(cover: Coverage) -> Figure:
    """The histogram of returns, and where the recording is thin."""
    with context():
        figure = Figure(figsize=(8.2, 2.6), layout='constrained')
        returns, by_return, by_time = figure.subplots(1, 3)
        returns.stairs(cover.counts, cover.edges, fill=True, color=OWN)
        returns.set(title='Returns', xlabel='return of an episode', ylabel='episodes')
        _thin(by_return, cover.by_return, 'Thin, by return', 'fifth of the range of returns')
        _thin(by_time, cover.by_time, 'Thin, by time', 'fifth of an episode')
        return figure


def _thin(axes: Axes, values: Sequence[float | None], title: str, label: str) -> None:
    """Median distances of PARTS parts; none is drawn where there are no steps."""
    known = [value is not None for value in values]
    axes.bar(np.flatnonzero(known) + 1, [value for value in values if value is not None], color=GREY)
    axes.set(title=title, xlabel=label, ylabel='distance in steps', xticks=range(1, PARTS + 1), ylim=(0, None))


def placed(rows: pd.DataFrame, values: list[dict[str, float]]) -> Figure:
    """Every measure: known runs at their end, degraded and not, and these agents as lines."""
    with context():
        count = -(-len(MEASURES) // COLUMNS)
        figure = Figure(figsize=(8.2, 1.5 * count), layout='constrained')
        last = rows[rows.is_last]
        grid = figure.subplots(count, COLUMNS, sharey=True).ravel()
        for axes, name in zip(grid, MEASURES):
            _measure(axes, last, name, [value[name] for value in values])
        for axes in grid[len(MEASURES) :]:
            axes.set_axis_off()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc='outside lower center', ncols=3)
        return figure


def _measure(axes: Axes, last: pd.DataFrame, name: str, own: Sequence[float]) -> None:
    for height, kind, color, label in ((1, 1, ALERT, 'known, degraded'), (0, 0, THEIRS, 'known, not degraded')):
        known = DIRECTIONS[name] * last[name][last[DEGRADED] == kind].dropna()
        axes.plot(known, np.full(len(known), height), '|', ms=12, color=color, label=label)
    for number, value in enumerate(own):
        axes.axvline(value, color=OWN, lw=1.2, label='an agent of this recording' if number == 0 else None)
    everything = np.array([*DIRECTIONS[name] * last[name], *own])
    everything = everything[np.isfinite(everything)]
    factor = everything.max() / everything.min() if len(everything) and everything.min() > 0 else 1
    if quantities.get(name).logarithmic and factor > NARROW:
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if factor < WIDE else (1,), numticks=4))
        axes.xaxis.set_major_formatter('{x:g}')
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_title(textwrap.fill(offline.words(name), TITLE), fontsize=8, fontweight='normal')
    axes.tick_params(labelsize=7)
    axes.set(yticks=[0, 1], yticklabels=['not', 'degraded'], ylim=(-0.6, 1.6))
