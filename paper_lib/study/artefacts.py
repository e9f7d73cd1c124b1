"""The paper's figures and tables as a list: where each is made, of what, and how long drawing it takes."""

import math
import tempfile
import time
from pathlib import Path
from typing import Any

from paper_lib.contract.scales import Scale
from paper_lib.study import book, catalogue, drawing, plan, scales
from paper_lib.study.catalogue import Entry
from paper_lib.study.claims import MAZE, TEXTS
from paper_lib.study.frames import Frames

TESTED = {'toy_maze': MAZE, 'study': tuple(TEXTS)}  # chapter of the archive -> the claims that it tests


def _order(entry: Entry) -> tuple[bool, bool, int]:
    """Figures before tables, those of the appendix last, then by number."""
    number = entry.number.removeprefix('S')
    return not entry.is_figure, entry.number != number, int(number)


NUMBERED = sorted((entry for entry in catalogue.ENTRIES.values() if entry.number), key=_order)
PAPER = [entry.name for entry in NUMBERED]


def listing(scale: str = 'laptop', draw: bool = False) -> list[dict[str, Any]]:
    """One row per figure and table of the paper, each with what only this library has of it.

    Columns: figure, file (of this scale), notebook, and the scales whose archive has a run of it, with the number of
    its agents that have one. With `draw`, also the seconds from the data to the files at this scale.
    """
    chosen = scales.get(scale)
    archived = {known.name: _archived(known) for known in scales.SCALES.values()}
    rows = []
    for name in PAPER:
        entry = catalogue.ENTRIES[name]
        together = _together(name)
        suffix = 'png' if entry.is_figure else 'csv'
        row = {
            'figure': f'{"Fig." if entry.is_figure else "Table"} {entry.number}',
            'file': ', '.join(f'{part.name}.{suffix}' for part in together),
            'notebook': entry.notebook,
            'scales (agents)': _scales(entry, archived),
        }
        if draw:
            row['seconds'] = round(sum(_seconds(part, chosen) for part in together), 1)
        rows.append(row)
    return rows


def _archived(scale: Scale) -> dict[str, Frames]:
    """Chapter -> all its frames at a scale."""
    planned = plan.planned(scale)
    frames_of = {}
    for chapter in dict.fromkeys(catalogue.ENTRIES[name].chapter for name in PAPER):
        everything = Entry('', '', chapter, ('all',), None)
        specs = plan.specs(chapter, scale, optional=True)
        frames_of[chapter] = book.load(everything, specs, scale, planned)
    return frames_of


def _scales(entry: Entry, archived: dict[str, dict[str, Frames]]) -> str:
    """The scales that have runs of an entry, as 'laptop (2 of 3)' for two of three agents."""
    words = []
    for scale, frames_of in archived.items():
        part = entry.of(frames_of[entry.chapter])
        if len(part.runs):
            words.append(f'{scale} ({len(part.archived_agents)} of {len(entry.agents)})')
    return ', '.join(words)


def claims(scale: str) -> list[dict[str, Any]]:
    """One row per test of a claim of the paper on runs of this scale. Tests without a run are left out.

    Columns: claim, row, statistic, on (the maze, or a number of tasks), estimate with its 95 % interval, p, adjusted p,
    pairs, verdict.
    """
    known = scales.get(scale)
    rows = []
    for chapter, ids in TESTED.items():
        found = book.verdicts(chapter, known, ids)
        for row in found[found.pairs > 0].to_dict('records'):
            interval = f'[{_number(row["low"])}, {_number(row["high"])}]'
            if math.isinf(row['low']):
                interval = '(none)'  # of so few pairs no test refuses any mean
            rows.append(
                {
                    'claim': row['id'],
                    'row': row['row'],
                    'statistic': row['statistic'],
                    'on': 'maze' if chapter == 'toy_maze' else f'{row["tasks"]} tasks',
                    'estimate, 95 % interval': f'{_number(row["estimate"])} {interval}',
                    'p': _probability(row['p']),
                    'adjusted p': _probability(row['adjusted_p']),
                    'pairs': row['pairs'],
                    'verdict': row['verdict'],
                }
            )
    return rows


def _probability(p: float) -> str:
    if math.isnan(p):
        return ''
    return f'{p:.3f}' if p >= 0.001 else f'{p:.1e}'


def _number(value: float) -> str:
    return f'{value:.2f}' if abs(value) < 10 else f'{value:.1f}'


def _frames(entry: Entry, scale: Scale) -> Frames:
    """What the archive of a scale has of an entry."""
    specs = plan.specs(entry.chapter, scale, optional=True)
    return book.load(entry, specs, scale, plan.planned(scale))


def _together(name: str) -> list[Entry]:
    """A figure and what belongs to it: figure_2 and figure_2_curves."""
    entries = catalogue.shown(catalogue.ENTRIES[name].notebook)
    return [entry for entry in entries if entry.name == name or entry.name.startswith(f'{name}_')]


def _seconds(entry: Entry, scale: Scale) -> float:
    """Seconds from the archive to the files."""
    began = time.monotonic()
    frames = _frames(entry, scale)
    made = entry.make(frames)
    if entry.is_figure:
        with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder:
            drawing.save(made, Path(folder) / entry.name, drawing.provenance(frames))
    return time.monotonic() - began
