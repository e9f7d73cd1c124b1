"""The paper's figures and tables as a list: where each is made, of what, and how long drawing it takes."""

import tempfile
import time
from pathlib import Path

from paper_lib.study import agents, drawing, figures, frames, paths, scales, section

NUMBERS = [*(str(i) for i in range(1, 9)), *(f'S{i}' for i in range(1, 18))]
PAPER = [*(f'figure_{number}' for number in NUMBERS), 'table_S1', 'table_S2']


def listing(scale: str = 'laptop', draw: bool = False) -> list[dict]:
    """One row per figure and table of the paper, each with those that only this library has of it.

    Columns: figure, file (of this scale), notebook, scales (those whose archive has a run of it, with the number of its
    agents that have one), and with `draw` the seconds that it takes at this scale from the data to the files.
    """
    scales.get(scale)
    sections = dict.fromkeys(_entry(stem).section for stem in PAPER)
    found = {name: {section: _load(section, name) for section in sections} for name in scales.SCALES}
    rows = []
    for stem in PAPER:
        own, parts = _together(stem), {name: _entry(stem).of(found[name][_entry(stem).section]) for name in found}
        rows.append({
            'figure': ('Fig. ' if stem.startswith('figure') else 'Table ') + stem.partition('_')[2],
            'file': ', '.join(f'{name}.{"png" if name in figures.FIGURES else "csv"}' for name in own),
            'notebook': _book(stem),
            'scales (agents)': ', '.join(f'{name} ({_agents(part)})' for name, part in parts.items() if len(part.runs)),
        } | ({'seconds': round(sum(_seconds(name, scale) for name in own), 1)} if draw else {}))  # fmt: skip
    return rows


def _agents(part):
    return f'{part.runs.agent.nunique()} of {len({spec.agent for spec in part.specs})}'


def claims(scale: str) -> list[dict]:
    """One row per test of a claim of the paper on runs of this scale; those without a run are left out.

    Columns: claim, statistic, on (the maze, or a number of tasks), estimate with its 95 % interval, pairs, verdict.
    """

    def number(x):
        return f'{x:.2f}' if abs(x) < 10 else f'{x:.1f}'

    rows = {}
    for name in (name for name, book in section.BOOKS.items() if book.claims):
        entry = section.tested(name)
        for row in section.verdicts(name, _load(entry.section, scale, entry)).query('n > 0').to_dict('records'):
            on = 'maze' if entry.section == 'toy_maze' else f'{row.get("tasks", 1)} tasks'
            interval = f'{number(row["estimate"])} [{number(row["low"])}, {number(row["high"])}]'
            rows[row['id'], row['statistic'], on] = {
                'claim': row['id'], 'statistic': row['statistic'], 'on': on, 'estimate, 95 % interval': interval,
                'pairs': row['n'], 'verdict': row['verdict']}  # fmt: skip
    return list(rows.values())


def stems(book: str) -> list[str]:
    """What a notebook shows, as its files are named, without the claims."""
    return [*section.BOOKS[book].figures, *(f'table_{table}' for table in section.BOOKS[book].tables)]


def _book(stem):
    return next(name for name in section.BOOKS if stem in stems(name))


def _together(stem):
    """A figure and what belongs to it: figure_2 and figure_2_curves."""
    return [name for name in stems(_book(stem)) if name == stem or name.startswith(f'{stem}_')]


def _entry(stem):
    return figures.FIGURES[stem] if stem in figures.FIGURES else section.TABLES[stem.removeprefix('table_')]


def _load(name, scale, entry=None):
    specs = agents.plan(name, scales.get(scale), further=True)
    return frames.load(section.part(specs, entry) if entry else specs, paths.archive(scale), name)


def _seconds(stem, scale):
    """Seconds from the archive to the files."""
    entry, began = _entry(stem), time.monotonic()
    found = entry.of(_load(entry.section, scale))
    if stem not in figures.FIGURES:
        entry.draw(found)
        return time.monotonic() - began
    with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder:
        drawing.save(entry.draw(found, scale), Path(folder) / stem, drawing.provenance(found, scale))
    return time.monotonic() - began
