"""Quantities that take the final weights of several runs: computed where these runs are, and kept in the archive.

`paper_lib.explore.models` computes them, and `docs/protocol_measures.md` defines them.
"""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from paper_lib.contract import agents
from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive, extract, paths, tables
from paper_lib.study.book import Book
from paper_lib.study.frames import keys
from paper_lib.study.sealed import ACROSS

CHAPTER = 'study'
COMPUTED, ARCHIVED, LACKING = 'computed', 'archived', 'lacking'  # states of a pair

Pair = list[RunSpec]  # the compared agents that learned from one recording
Provenance = dict[str, Any]


def show(book: Book) -> tables.Counted:
    """`add` the runs of a notebook. Returns the state of every pair: a row per task, a column per pair seed."""
    rows = pd.DataFrame(add(book.runs_of[CHAPTER], book.store, book.scale), columns=['task', 'pair_seed', 'state'])
    return tables.Counted(rows.pivot(index='task', columns='pair_seed', values='state').fillna(''))


def add(specs: Sequence[RunSpec], store: Any, scale: str) -> list[dict[str, Any]]:
    """Compute and archive what the archive lacks of the pairs among these runs. Returns the state of every pair.

    This needs the weights of all runs of a pair and the replay of its Active run, and that the runs are archived. It is
    computed again if a run has other weights than before. Raises RunError as `archive.add`, and for damaged run data.
    """
    folder = paths.archive(scale)
    archived = archive.ids(folder, CHAPTER)
    rows = archive.table(folder, CHAPTER, ACROSS)
    known = dict(zip(rows.run_id, map(json.loads, rows.provenance), strict=True))
    found = []
    for pair in pairs(specs):
        state = ARCHIVED if all(spec.run_id in known for spec in pair) else LACKING
        if all(spec.run_id in archived and store.status(spec) == 'done' for spec in pair):
            basis = _basis(pair, store)
            is_current = all(known.get(spec.run_id, {}) | basis == known.get(spec.run_id) for spec in pair)
            if not is_current and not store.require(_source(pair)).is_dropped():
                archive.put_across(_rows(pair, basis, store), folder, CHAPTER)
                state = COMPUTED
        found.append({'task': pair[0].task, 'pair_seed': pair[0].pair_seed, 'state': state})
    return found


def pairs(specs: Sequence[RunSpec]) -> list[Pair]:
    """The complete pairs of the compared agents among runs that record the measures."""
    compared = agents.group('compared')
    by_recording: dict[Any, Pair] = {}
    for spec in specs:
        if spec.agent in compared and spec.measures:
            by_recording.setdefault(spec.source or spec, []).append(spec)
    return [pair for pair in by_recording.values() if len(pair) == len(compared)]


def _source(pair: Pair) -> RunSpec:
    """The run that recorded what all of a pair learned from."""
    return next(spec for spec in pair if not spec.source)


def _basis(pair: Pair, store: Any) -> Provenance:
    """The part of a row's provenance that decides its values: the hashes of all weights, and which values there are."""
    weights = {spec.run_id: store.require(spec).files['weights.npz']['sha256'] for spec in pair}
    return {'models': weights, 'values': extract.values(ACROSS)}


def _rows(pair: Pair, basis: Provenance, store: Any) -> pd.DataFrame:
    """The rows of the table `across` of a pair's runs."""
    from paper_lib.explore import models

    measured = models.measure(pair, [store.weights(spec) for spec in pair], store.replay(_source(pair)))
    provenance = json.dumps(basis | models.origin(), sort_keys=True)
    rows = []
    for spec, values in zip(pair, measured, strict=True):
        kept = {name: values[name] for name in basis['values']}
        rows.append(keys(spec) | {'provenance': provenance} | kept)
    return pd.DataFrame(rows)
