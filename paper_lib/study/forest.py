"""The figure of how well measures that take no step in an environment tell which agents have degraded."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_lib.study import panels, reference
from paper_lib.study.frames import Frames
from paper_lib.study.offline import (
    CHANCE,
    DEGRADED,
    DIRECTIONS,
    GOOD,
    OUTSIDE,
    RIVAL,
    TARGETS,
    moments,
    of_measured_runs,
    standing,
    words,
)
from paper_lib.study.style import THEIRS, context


def draw(frames: Frames, names: Sequence[str]) -> Figure:
    """The AUROC of every measure for both targets: at the end, with interval and single tasks, and at all moments."""
    with context():
        figure = panels.new(frames, 8.2, 4.3)
        left, right = figure.subplots(1, 2, sharey=True)
        metrics = of_measured_runs(frames)
        rows = moments(metrics, reference.random_score) if len(metrics) else None
        for axes, letter, target in ((left, 'a', DEGRADED), (right, 'b', OUTSIDE)):
            panels.label(axes, letter, TARGETS[target])
            if rows is None:
                panels.empty(axes, panels.NO_RUN)
            else:
                _draw_target(axes, rows, target)
        if rows is not None:
            left.set_yticks(range(len(DIRECTIONS)), [words(name) for name in DIRECTIONS])
            left.invert_yaxis()
        panels.legend(figure, [left], panels.lost(frames, names))
        return figure


def _draw_target(axes: Axes, rows: pd.DataFrame, target: str) -> None:
    """A row per measure."""
    for place, measure in enumerate(DIRECTIONS):
        if measure == RIVAL and target == OUTSIDE:
            look = {'fontsize': 7, 'color': THEIRS, 'bbox': {'fc': 'white', 'ec': 'none', 'pad': 1}}
            axes.text(CHANCE, place, 'defines this target', ha='center', va='center', **look)
            continue
        _, end, throughout, further = standing(rows, measure, target)
        of_tasks = list(end.by_task.values())
        is_first = place == 0
        axes.hlines(place, end.low, end.high, color='black', lw=1.2, zorder=2)
        axes.plot(
            of_tasks, [place] * len(of_tasks), '|', ms=8, color=THEIRS, label='a task, at the end' if is_first else None
        )
        axes.plot(end.value, place, 'o', ms=5, color='black', zorder=4, label='mean, at the end' if is_first else None)
        axes.plot(
            throughout.value, place - 0.3, 'o', ms=4, mfc='white', mec='black', zorder=3,
            label='mean, at all moments' if is_first else None,
        )  # fmt: skip
        axes.plot(
            further, place, 'x', ms=5, color=THEIRS, zorder=3,
            label='further tasks, at the end' if is_first and np.isfinite(further) else None,
        )  # fmt: skip
    axes.axvline(CHANCE, color='black', lw=0.8)
    axes.axvline(GOOD, color='black', lw=0.8, ls=':')
    axes.set(xlim=(-0.03, 1.03), xlabel='AUROC')
