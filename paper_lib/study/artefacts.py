"""The paper's figures and tables as a list: where each is made, of what, and how long drawing it takes."""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from paper_lib.contract.scales import Scale
from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive, catalogue, paper, paths, plan, scales
from paper_lib.study.catalogue import Entry


def _order(entry: Entry) -> tuple[bool, bool, int]:
    """Figures before tables, those of the appendix last, then by number."""
    number = entry.number.removeprefix('S')
    return not entry.is_figure, entry.number != number, int(number)


NUMBERED = sorted((entry for entry in catalogue.ENTRIES.values() if entry.number), key=_order)


def listing(scale: str = 'laptop', draw: bool = False) -> list[dict[str, Any]]:
    """One row per figure and table of the paper, each with what only this library has of it.

    Columns: figure (its number in the preprint), published (that in the published version), shows (its title), file (of
    this scale), notebook, and the scales whose archive has a run of it: whether a figure is complete there, and how
    many of its planned agents have a run. With `draw`, also the seconds from the data to the files at this scale.
    """
    chosen = scales.get(scale)
    archived = {known.name: _chapters(known) for known in scales.SCALES.values()}
    rows = []
    for entry in NUMBERED:
        parts = together(entry.name)
        suffix = 'png' if entry.is_figure else 'csv'
        row = {
            'figure': f'{"Fig." if entry.is_figure else "Table"} {entry.number}',
            'published': paper.published_number(entry.number) if entry.is_figure else entry.number,
            'shows': entry.title,
            'file': ', '.join(f'{part.name}.{suffix}' for part in parts),
            'notebook': entry.notebook,
            'scales (agents)': _scales(entry, archived),
        }
        if draw:
            row['seconds'] = round(sum(_seconds(part, chosen) for part in parts), 1)
        rows.append(row)
    return rows


class _Chapter(NamedTuple):
    """What a scale has of a chapter."""

    specs: list[RunSpec]
    optional: frozenset[str]
    archived: set[str]
    exploratory: list[str]


def _chapters(scale: Scale) -> dict[str, _Chapter]:
    """Chapter -> what a scale has of it; empty where nothing is archived."""
    if not paths.archive(scale.name).is_dir():
        return {}
    planned = plan.planned(scale)
    found = {}
    for chapter in scale.chapters:
        specs = plan.specs(chapter, scale, optional=True)
        optional = frozenset(spec.run_id for spec in specs) - planned
        ids = archive.ids(paths.archive(scale.name), chapter)
        found[chapter] = _Chapter(specs, optional, ids, scale.exploratory(chapter))
    return found


def _scales(entry: Entry, chapters_of: dict[str, dict[str, _Chapter]]) -> str:
    """The scales that have runs of an entry, as 'laptop (partial, 2 of 3)' for two of three agents.

    Tasks of which no run is planned or archived are left out.
    """
    words = []
    for scale, chapters in chapters_of.items():
        if entry.chapter in chapters:
            specs, optional, archived, exploratory = chapters[entry.chapter]
            shown = entry.part(specs, optional, exploratory)
            found = {spec.agent for spec in shown if spec.run_id in archived}
            if found:
                begun = {spec.task for spec in shown if spec.run_id in archived or spec.run_id not in optional}
                state = entry.state_of([spec for spec in shown if spec.task in begun], optional, archived)
                planned = {spec.agent for spec in shown}
                parts = [state] if entry.is_figure else []
                parts.append(f'{len(found)} of {len(planned)}')
                words.append(f'{scale} ({", ".join(parts)})')
    return ', '.join(words)


def together(name: str) -> list[Entry]:
    """A figure and what belongs to it: figure_2 and figure_2_curves."""
    entries = catalogue.shown(catalogue.ENTRIES[name].notebook)
    return [entry for entry in entries if entry.name == name or entry.name.startswith(f'{name}_')]


def _seconds(entry: Entry, scale: Scale) -> float:
    """Seconds from the archive to the files."""
    from paper_lib.study import book, drawing

    specs = plan.specs(entry.chapter, scale, optional=True)
    planned = plan.planned(scale)
    began = time.monotonic()
    frames = book.load(entry, specs, scale, planned)
    made = entry.make(frames)
    if entry.is_figure:
        with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder:
            drawing.save(made, Path(folder) / entry.name, drawing.provenance(frames))
    return time.monotonic() - began
