"""How long runs take, by the training times of the archived runs. One run takes one core."""

import collections
import json
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from paper_lib.contract.scales import Scale
from paper_lib.contract.spec import RunSpec
from paper_lib.study import paths, sealed


class Kind(NamedTuple):
    """Runs of equal cost per environment step, or nearly so."""

    task: str
    program: str  # sizes of the model and updates per agent step, as JSON
    explores: bool


Rates = dict[Kind, float]  # seconds per environment step


def measured(scale: Scale) -> Rates:
    """The median rate of every kind of run in the archive of a scale."""
    found = collections.defaultdict(list)
    for chapter in scale.chapters:
        for run in sealed.columns(paths.archive(scale.name), chapter, 'runs', ['spec', 'provenance']):
            values = json.loads(run['spec'])
            found[_kind(values)].append(json.loads(run['provenance'])['seconds'] / values['budget'])
    return {kind: statistics.median(rates) for kind, rates in found.items()}


def hours(specs: Iterable[RunSpec], rates: Rates) -> float | None:
    """Hours that one core needs for these runs; None if no run like one of them was measured."""
    total = 0.0
    for spec in specs:
        rate = _rate(_kind(spec.canonical()), rates)
        if rate is None:
            return None
        total += rate * spec.budget
    return total / 3600


def _kind(values: dict[str, Any]) -> Kind:
    """The kind of a run by the values of its spec."""
    program = json.dumps([values['model'], values['ratio']], sort_keys=True)
    return Kind(values['task'], program, values['w_expl'] > 0)


def _rate(kind: Kind, rates: Rates) -> float | None:
    """The rate of a kind; None if it can be told from no run.

    It is measured on the same task, else on other tasks. Else it is the rate without exploration, times the cost of
    exploration elsewhere.
    """
    if kind in rates:
        return rates[kind]
    alike = [rate for other, rate in rates.items() if other[1:] == kind[1:]]
    if alike:
        return statistics.median(alike)
    if not kind.explores:
        return None
    plain = _rate(kind._replace(explores=False), rates)
    both = [rate / rates[plain_kind] for other, rate in rates.items()
            if other.explores and (plain_kind := other._replace(explores=False)) in rates]  # fmt: skip
    return plain * statistics.median(both) if plain and both else None
