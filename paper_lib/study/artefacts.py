"""The paper's figures and tables as a list: where each is made, of what, and how long drawing it takes."""

import tempfile
import time
from pathlib import Path

from paper_lib.study import agents, drawing, figures, frames, paths, scales, section

NUMBERS = [*(str(i) for i in range(1, 9)), *(f'S{i}' for i in range(1, 18))]
PAPER = [*(f'figure_{number}' for number in NUMBERS), 'table_S1', 'table_S2']


def listing(scale: str = 'laptop', draw: bool = False) -> list[dict]:
    """One row per figure and table of the paper, each with those that only this library has of it.

    Columns: figure, file (of this scale), notebook, scales (those whose archive has a run of it), and with `draw` the
    seconds that drawing it at this scale takes, from the archive.
    """
    scales.get(scale)
    return [_row(stem, scale, draw) for stem in PAPER]


def _row(stem, scale, draw):
    kind, _, number = stem.partition('_')
    book = next(name for name in section.BOOKS if stem in stems(name))
    own = [name for name in stems(book) if name == stem or name.startswith(f'{stem}_')]
    found = {name: _found(_entry(stem), name) for name in scales.SCALES}
    row = {'figure': f'{"Fig." if kind == "figure" else "Table"} {number}',
           'file': ', '.join(f'{name}.{"png" if kind == "figure" else "csv"}' for name in own), 'notebook': book,
           'scales': ', '.join(name for name, own in found.items() if len(own.runs))}  # fmt: skip
    return row | ({'seconds': round(sum(_seconds(name, scale) for name in own), 1)} if draw else {})


def stems(name: str) -> list[str]:
    """What a notebook shows, as its files are named, without the claims."""
    book = section.BOOKS[name]
    return [*book.figures, *(f'table_{table}' for table in book.tables)]


def _entry(stem):
    return figures.FIGURES[stem] if stem in figures.FIGURES else section.TABLES[stem.removeprefix('table_')]


def _found(entry, scale):
    specs = agents.plan(entry.section, scales.get(scale), further=True)
    return frames.load(section.part(specs, entry), paths.archive(scale), entry.section)


def _seconds(stem, scale):
    """Seconds from the archive to the files."""
    began, entry = time.monotonic(), _entry(stem)
    found = _found(entry, scale)
    if stem not in figures.FIGURES:
        entry.draw(found)
        return time.monotonic() - began
    with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder:
        drawing.save(entry.draw(found, scale), Path(folder) / stem, drawing.provenance(found, scale))
    return time.monotonic() - began
