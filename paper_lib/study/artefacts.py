"""The paper's figures and tables as a list: where each is made, of what, and how long drawing it takes."""

import math
import tempfile
import time
from pathlib import Path

from paper_lib.study import book, catalogue, drawing, plan, scales
from paper_lib.study.claims import MAZE, TEXTS

NUMBERS = [*(str(i) for i in range(1, 9)), *(f'S{i}' for i in range(1, 18))]
TESTED = {'toy_maze': MAZE, 'study': tuple(TEXTS)}  # chapter of the archive -> the claims that it tests
PAPER = [*(f'figure_{number}' for number in NUMBERS), 'table_S1', 'table_S2']


def listing(scale: str = 'laptop', draw: bool = False) -> list[dict]:
    """One row per figure and table of the paper, each with those that only this library has of it.

    Columns: figure, file (of this scale), notebook, scales (those whose archive has a run of it, with the number of its
    agents that have one), and with `draw` the seconds that it takes at this scale from the data to the files.
    """
    scales.get(scale)
    chapters = dict.fromkeys(catalogue.ENTRIES[name].chapter for name in PAPER)
    found = {}
    for known in scales.SCALES.values():
        planned = plan.planned(known)
        found[known.name] = {chapter: _whole(chapter, known, planned) for chapter in chapters}
    rows = []
    for name in PAPER:
        entry, together = catalogue.ENTRIES[name], _together(name)
        parts = {known: entry.of(tables[entry.chapter]) for known, tables in found.items()}
        row = {
            'figure': ('Fig. ' if entry.is_figure else 'Table ') + name.partition('_')[2],
            'file': ', '.join(f'{each}.{"png" if entry.is_figure else "csv"}' for each in together),
            'notebook': entry.notebook,
            'scales (agents)': ', '.join(f'{known} ({_agents(part)})' for known, part in parts.items()
                                         if len(part.runs)),
        }  # fmt: skip
        if draw:
            row['seconds'] = round(sum(_seconds(each, scales.get(scale)) for each in together), 1)
        rows.append(row)
    return rows


def _whole(chapter, scale, planned):
    """All frames of a chapter."""
    everything = catalogue.Entry('', '', chapter, ('all',), None)
    return book.load(everything, plan.specs(chapter, scale, optional=True), scale, planned)


def _agents(part):
    return f'{part.runs.agent.nunique()} of {len({spec.agent for spec in part.specs})}'


def claims(scale: str) -> list[dict]:
    """One row per test of a claim of the paper on runs of this scale; those without a run are left out.

    Columns: claim, row, statistic, on (the maze, or a number of tasks), estimate with its 95 % interval, p, adjusted p,
    pairs, verdict.
    """
    rows, known = [], scales.get(scale)
    for chapter, ids in TESTED.items():
        found = book.verdicts(chapter, known, ids)
        for row in found[found.pairs > 0].to_dict('records'):
            estimate, low, high = (_number(row[name]) for name in ('estimate', 'low', 'high'))
            rows.append({
                'claim': row['id'], 'row': row['row'], 'statistic': row['statistic'],
                'on': 'maze' if chapter == 'toy_maze' else f'{row["tasks"]} tasks',
                'estimate, 95 % interval': f'{estimate} [{low}, {high}]',
                'p': _probability(row['p']), 'adjusted p': _probability(row['adjusted_p']), 'pairs': row['pairs'],
                'verdict': row['verdict'],
            })  # fmt: skip
    return rows


def _number(x):
    return f'{x:.2f}' if abs(x) < 10 else f'{x:.1f}'


def _probability(p):
    return '' if math.isnan(p) else f'{p:.3f}' if p >= 0.001 else f'{p:.1e}'


def _together(name):
    """A figure and what belongs to it: figure_2 and figure_2_curves."""
    own = catalogue.shown(catalogue.ENTRIES[name].notebook)
    return [entry.name for entry in own if entry.name == name or entry.name.startswith(f'{name}_')]


def _seconds(name, scale):
    """Seconds from the archive to the files."""
    entry, began = catalogue.ENTRIES[name], time.monotonic()
    found = book.load(entry, plan.specs(entry.chapter, scale, optional=True), scale, plan.planned(scale))
    made = entry.make(found)
    if entry.is_figure:
        with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder:
            drawing.save(made, Path(folder) / name, drawing.provenance(found))
    return time.monotonic() - began
