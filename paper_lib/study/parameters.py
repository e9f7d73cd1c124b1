"""The parameters of the notebooks, checked: papermill alone accepts a mistyped name silently."""

import dataclasses
import difflib
import re

from paper_lib.contract.agents import OWN
from paper_lib.contract.errors import UserError
from paper_lib.study import scales
from paper_lib.study.names import choose, hint

PLAIN = (bool, int, float, str, bytes, list, tuple, dict, set, type(None))
INJECTED = '# Parameters\n'  # how the cell begins that papermill adds
TRAIN = ('auto', 'yes', 'no', 'all')


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Names, types and defaults of a notebook's `parameters` cell."""

    scale: str = 'laptop'
    train: str = 'auto'
    seeds: int = 0

    @property
    def trains(self) -> bool:
        return scales.get(self.scale).trains if self.train == 'auto' else self.train != 'no'


def check(names: dict) -> Parameters:
    """The parameters among a notebook's `globals()`, or among values given by name.

    Raises UserError for a name that is meant as a parameter and is none (see `_meant`), and for a value of the wrong
    type or out of range.
    """
    fields = {field.name: field.type for field in dataclasses.fields(Parameters)}
    for name in _meant(names, fields):
        if name not in fields:
            allowed = f'no such parameter (allowed: {", ".join(fields)})'
            raise UserError(f'{name}={names[name]!r}: {allowed}{hint(name.lower(), fields)}')
    for name, kind in fields.items():
        if name in names and type(names[name]) is not kind:
            raise UserError(f'{name}={names[name]!r}: must be {kind.__name__}, got {type(names[name]).__name__}')
    parameters = Parameters(**{name: names[name] for name in fields if name in names})
    scales.get(parameters.scale)
    choose('train', parameters.train, dict.fromkeys(TRAIN))
    if not 0 <= parameters.seeds <= OWN:
        raise UserError(f'seeds={parameters.seeds}: must be from 1 to {OWN}, or 0 for the seeds of the scale')
    return parameters


def _meant(names, fields):
    """Names that are meant as parameters.

    In a kernel (it has `In`, the cells run so far) these are the names that papermill's own cell sets, whatever they
    are, and every plain value whose name is close to a parameter's: other variables of a session are its own business.
    Without a kernel they are all.
    """
    if 'In' not in names:
        return list(names)
    given = [name for cell in names['In'] if cell.startswith(INJECTED) for name in re.findall(r'(?m)^(\w+) = ', cell)]
    return [name for name, value in names.items() if isinstance(value, PLAIN)
            and (name in given or difflib.get_close_matches(name.lower(), fields, n=1, cutoff=0.8))]  # fmt: skip
