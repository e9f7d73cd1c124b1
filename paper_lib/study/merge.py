"""Brings results of several machines together in one archive, each run with its provenance.

Runs of a pair are compared with each other, so they should have been trained by the same code on the same hardware. A
run that would break this is refused unless the caller asks for it.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive
from paper_lib.study.archive import Tables
from paper_lib.study.extract import CHAPTERS


class Origin(NamedTuple):
    """What trained a run, as far as it may decide results."""

    code: str  # hashes of the code, one for each version that took part
    hardware: str  # the GPU, else the processor

    def __str__(self) -> str:
        return f'code {self.code or "unknown"} on {self.hardware or "unknown hardware"}'


def origin(provenance: dict[str, Any]) -> Origin:
    """The origin of a run by its provenance."""
    code = provenance.get('code', '')
    device = provenance.get('device', '')
    hardware = provenance.get('cpu', device) if device in ('', 'cpu') else device
    return Origin(code if isinstance(code, str) else '+'.join(code), hardware)


def of_store(specs: Iterable[RunSpec], store: Any, chapter: str) -> Tables:
    """The rows of the finished runs of a store."""
    done = [spec for spec in specs if store.status(spec) == 'done']
    found = {}
    for name in CHAPTERS[chapter].tables:
        rows = archive.new_rows(name, done, store, chapter)
        if rows:
            found[name] = pd.concat(rows, ignore_index=True)
    return found


def of_archive(specs: Iterable[RunSpec], folder: Path, chapter: str) -> Tables:
    """The rows that another archive has of these runs. Raises RunError as `archive.load`."""
    ids = {spec.run_id for spec in specs}
    tables = archive.read(folder, chapter)
    return {name: rows[rows.run_id.isin(ids)] for name, rows in tables.items()}


def add(specs: Sequence[RunSpec], parts: Sequence[Tables], folder: Path, chapter: str, mixed: bool = False) -> Tables:
    """Add the runs of all parts that the archive has not yet, and return their rows.

    Of a run that several parts have, that of the first counts. Raises RunError, and changes nothing, where a pair would
    then have runs of other code or hardware, unless `mixed`, and as `archive.load`.
    """
    with archive.alone(folder):
        old = archive.read(folder, chapter)
        new = _new(parts, old['runs'])
        if new and not mixed:
            _check_pairs(specs, old['runs'], new['runs'])
        changed = {}
        for name, rows in new.items():
            changed[name] = pd.concat([old[name], rows], ignore_index=True) if len(old[name]) else rows
        archive.write(folder, chapter, changed)
    return new


def check(specs: Sequence[RunSpec], parts: Sequence[Tables], folder: Path, chapter: str) -> None:
    """Raise RunError where `add` would, for a pair of several origins. Nothing is changed."""
    old = archive.table(folder, chapter, 'runs')
    new = _new(parts, old)
    if new:
        _check_pairs(specs, old, new['runs'])


def _new(parts: Sequence[Tables], old: pd.DataFrame) -> Tables:
    """The rows of the runs that are not among the old ones; of each run those of the first part that has it."""
    known = set(old.run_id)
    added: dict[str, list[pd.DataFrame]] = {}
    for part in parts:
        fresh = set(part['runs'].run_id) - known if 'runs' in part else set()
        for name, rows in part.items():
            added.setdefault(name, []).append(rows[rows.run_id.isin(fresh)])
        known |= fresh
    new = {name: pd.concat(rows, ignore_index=True) for name, rows in added.items()}
    return {name: rows for name, rows in new.items() if len(rows)}


def _check_pairs(specs: Sequence[RunSpec], old: pd.DataFrame, new: pd.DataFrame) -> None:
    """Raise RunError where a new run has another origin than a planned run of its pair."""
    planned = {spec.run_id for spec in specs}
    everything = pd.concat([old[old.run_id.isin(planned)], new], ignore_index=True)
    origins = [origin(json.loads(text)) for text in everything.provenance]
    first: dict[tuple[str, int], tuple[str, Origin]] = {}
    fresh = set(new.run_id)
    for run_id, task, pair_seed, trained_by in zip(
        everything.run_id, everything.task, everything.pair_seed, origins, strict=True
    ):
        other_id, other = first.setdefault((task, pair_seed), (run_id, trained_by))
        if other != trained_by and (run_id in fresh or other_id in fresh):
            raise RunError(
                f'{run_id}: trained by {trained_by}, but {other_id} of its pair by {other}; '
                'train the pair on one machine, or ask for a mixed archive with --mixed'
            )


def origins(tables: Tables) -> dict[Origin, int]:
    """How many runs have each origin."""
    counts: dict[Origin, int] = {}
    for text in tables['runs'].provenance if 'runs' in tables else ():
        trained_by = origin(json.loads(text))
        counts[trained_by] = counts.get(trained_by, 0) + 1
    return counts
