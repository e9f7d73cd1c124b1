"""A spec as plain values and back, without loss: what a run directory, a job and a user's file hold.

A run is `{"schema": 2, "run": {field: value, ...}}`. Its source is `{"run": ...}`, `{"dataset": ...}` or null.
"""

import dataclasses
from typing import Any

from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import ALWAYS, shown
from paper_lib.contract.spec import SCHEMA, Dataset, ModelSpec, RunSpec

KINDS = {'run': RunSpec, 'dataset': Dataset}


def to_plain(spec: RunSpec) -> dict[str, Any]:
    """The spec with all of its fields, its source included, ready for JSON."""
    return {'schema': SCHEMA, 'run': _values(spec)}


def from_plain(value: Any) -> RunSpec:
    """The spec that `to_plain` was given. Raises UserError, one line, for anything else.

    A field that is younger than the file has the value that all runs had before it existed.
    """
    known = _object(value, 'a spec')
    if known.get('schema') != SCHEMA:
        raise UserError(f'schema={shown(known.get("schema"))}: this code reads schema {SCHEMA}')
    if set(known) != {'schema', 'run'}:
        raise UserError(f'a spec has the keys schema and run, not {shown(sorted(map(str, known)))}')
    return _record(RunSpec, known['run'])


def _values(record):
    values = {}
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        if isinstance(value, ModelSpec):
            value = _values(value)
        elif dataclasses.is_dataclass(value):
            kind = next(kind for kind, cls in KINDS.items() if isinstance(value, cls))
            value = {kind: _values(value)}
        values[each.name] = value
    return values


def _object(value, what):
    if not isinstance(value, dict):
        raise UserError(f'{what} must be an object with named fields, not {shown(value)}')
    return value


def _record(cls, value):
    given = _object(value, cls.__name__)
    known = {each.name: each for each in dataclasses.fields(cls)}
    if unknown := sorted(str(name) for name in set(given) - set(known)):
        raise UserError(f'{cls.__name__}: has no field {unknown[0]!r}')
    values = {}
    for name, each in known.items():
        fact = each.metadata.get('fact')
        if name in given:
            values[name] = given[name]
        elif fact and fact.before is not ALWAYS:
            values[name] = fact.before
        else:
            raise UserError(f'{cls.__name__}: lacks the field {name!r}')
    if cls is RunSpec:
        values['model'] = _record(ModelSpec, values['model'])
        values['source'] = _source(values['source'])
    return cls(**values)


def _source(value):
    if value is None:
        return None
    given = _object(value, 'source')
    if len(given) != 1 or not set(given) <= set(KINDS):
        raise UserError(f'source must be null or an object with one key, {" or ".join(KINDS)}, not {shown(value)}')
    ((kind, record),) = given.items()
    return _record(KINDS[kind], record)
