"""The parameters of the notebooks, checked: papermill alone accepts a mistyped name silently."""

import dataclasses
import difflib

from paper_lib.spec import UserError
from paper_lib.study import scales

PLAIN = (bool, int, float, str, bytes, list, tuple, dict, set, type(None))
IPYTHON = ('In', 'Out')
TRAIN = ('auto', 'yes', 'no')


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Names, types and defaults of a notebook's `parameters` cell."""

    scale: str = 'laptop'
    train: str = 'auto'
    seeds: int = 0

    @property
    def trains(self) -> bool:
        return scales.get(self.scale).trains if self.train == 'auto' else self.train == 'yes'


def check(names: dict) -> Parameters:
    """The parameters among a notebook's `globals()`, called right after its `parameters` cell.

    papermill puts injected values into a cell of their own, so a mistyped name is a plain value in the namespace that
    no parameter answers to. Raises UserError for one, and for a value of the wrong type or out of range.
    """
    fields = {field.name: field.type for field in dataclasses.fields(Parameters)}
    for name, value in names.items():
        if name not in fields and isinstance(value, PLAIN) and not name.startswith('_') and name not in IPYTHON:
            _unknown(name, value, fields)
    for name, kind in fields.items():
        if name in names and type(names[name]) is not kind:
            raise UserError(f'{name}={names[name]!r}: must be {kind.__name__}, got {type(names[name]).__name__}')
    parameters = Parameters(**{name: names[name] for name in fields if name in names})
    scales.get(parameters.scale)
    if parameters.train not in TRAIN:
        raise UserError(f'train={parameters.train!r}: must be one of {", ".join(TRAIN)}')
    if parameters.seeds < 0:
        raise UserError(f'seeds={parameters.seeds}: must be at least 1, or 0 for the seeds of the scale')
    return parameters


def _unknown(name, value, fields):
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f'; did you mean {near[0]}?' if near else ''
    raise UserError(f'{name}={value!r}: no such parameter (allowed: {", ".join(fields)}){hint}')
