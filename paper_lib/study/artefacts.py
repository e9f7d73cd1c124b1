"""The paper's figures and tables as a list: where each is made, of what, and how long drawing it takes."""

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from paper_lib.contract.scales import Scale
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
    archived = [known for known in scales.SCALES.values() if paths.archive(known.name).is_dir()]
    standings_of = {known.name: standings(known) for known in archived}
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
            'scales (agents)': _scales(entry, standings_of),
        }
        if draw:
            row['seconds'] = round(sum(_seconds(part, chosen) for part in parts), 1)
        rows.append(row)
    return rows


class Standing(NamedTuple):
    """How far a figure or table is at a scale."""

    state: str  # one of `catalogue.STATES`
    trained: int  # agents that have a run
    planned: int  # all agents that it shows


def standings(scale: Scale) -> dict[str, Standing]:
    """How far every figure and table is, by name. Tasks of which no run is planned or archived are left out."""
    planned = plan.planned(scale)
    found = {}
    for chapter in scale.chapters:
        specs = plan.specs(chapter, scale, optional=True)
        optional = frozenset(spec.run_id for spec in specs) - planned
        archived = archive.ids(paths.archive(scale.name), chapter)
        for entry in catalogue.ENTRIES.values():
            if entry.chapter == chapter:
                shown = entry.part(specs, optional, scale.exploratory(chapter))
                begun = {spec.task for spec in shown if spec.run_id in archived or spec.run_id not in optional}
                state = entry.state_of([spec for spec in shown if spec.task in begun], optional, archived)
                trained = {spec.agent for spec in shown if spec.run_id in archived}
                found[entry.name] = Standing(state, len(trained), len({spec.agent for spec in shown}))
    return found


def _scales(entry: Entry, standings_of: dict[str, dict[str, Standing]]) -> str:
    """The scales that have runs of an entry, as 'laptop (partial, 2 of 3)' for two of three agents."""
    words = []
    for scale, known in standings_of.items():
        if entry.name in known and known[entry.name].trained:
            state, trained, planned = known[entry.name]
            parts = [state] if entry.is_figure else []
            parts.append(f'{trained} of {planned}')
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
