"""Turns a spec into plain values for JSON and back, without loss.

A run is `{"schema": SCHEMA, "run": {field: value, ...}}`. The field `source` is `{"run":
{...}}`, `{"dataset": {...}}` or null. Run directories and jobs hold specs in this form.
"""

import dataclasses
from typing import Any

from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import ALWAYS, facts, shown
from paper_lib.contract.spec import SCHEMA, Dataset, ModelSpec, RunSpec

KINDS = {'run': RunSpec, 'dataset': Dataset}


def to_plain(spec: RunSpec) -> dict[str, Any]:
    """All fields of the spec, those of its source included."""
    return {'schema': SCHEMA, 'run': _values(spec)}


def from_plain(value: Any) -> RunSpec:
    """The inverse of `to_plain`.

    Raises UserError, one line, for anything that is not a valid spec.

    A field that the file lacks because it is younger gets the value that all runs had
    before it existed.
    """
    given = _object(value, 'a spec')
    if given.get('schema') != SCHEMA:
        raise UserError(f'schema={shown(given.get("schema"))}: must be {SCHEMA}, the schema of this code')
    if set(given) != {'schema', 'run'}:
        keys = sorted(map(str, given))
        raise UserError(f'a spec has the keys schema and run, not {shown(keys)}')
    return _record(RunSpec, given['run'])


def _values(record: Any) -> dict[str, Any]:
    values = {}
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        if isinstance(value, ModelSpec):
            value = _values(value)
        elif isinstance(value, RunSpec):
            value = {'run': _values(value)}
        elif isinstance(value, Dataset):
            value = {'dataset': _values(value)}
        values[each.name] = value
    return values


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f'{what} must be an object with named fields, not {shown(value)}')
    return value


def _record(cls: type, value: Any) -> Any:
    """A record of this class from the plain values of its fields."""
    given = _object(value, cls.__name__)
    fields = {each.name: fact for each, fact in facts(cls)}
    unknown = sorted(str(name) for name in given if name not in fields)
    if unknown:
        raise UserError(f'{cls.__name__}: has no field {unknown[0]!r}')
    values = {}
    for name, fact in fields.items():
        if name not in given and fact.before is ALWAYS:
            raise UserError(f'{cls.__name__}: lacks the field {name!r}')
        values[name] = given.get(name, fact.before)
    if cls is RunSpec:
        values['model'] = _record(ModelSpec, values['model'])
        values['source'] = _source(values['source'])
    return cls(**values)


def _source(value: Any) -> RunSpec | Dataset | None:
    if value is None:
        return None
    given = _object(value, 'source')
    if len(given) != 1 or not set(given) <= set(KINDS):
        kinds = ' or '.join(KINDS)
        raise UserError(f'source must be null or an object with one key, {kinds}, not {shown(value)}')
    ((kind, record),) = given.items()
    return _record(KINDS[kind], record)
