"""The parameters of the notebooks, checked: papermill alone accepts a mistyped name silently."""

import dataclasses
import difflib
import re
from collections.abc import Collection
from typing import Any

from paper_lib.contract.agents import OWN
from paper_lib.contract.errors import UserError, choose, hint
from paper_lib.study import scales

PLAIN = (bool, int, float, str, bytes, list, tuple, dict, set, type(None))
INJECTED = '# Parameters\n'  # the first line of the cell that papermill adds
TRAIN = ('auto', 'yes', 'no', 'all')


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Names, types and defaults of a notebook's `parameters` cell."""

    scale: str = 'laptop'
    train: str = 'auto'
    seeds: int = 0

    @property
    def trains(self) -> bool:
        """Whether the notebook trains runs that have no result."""
        return scales.get(self.scale).trains if self.train == 'auto' else self.train != 'no'


def check(names: dict[str, Any]) -> Parameters:
    """The parameters among a notebook's `globals()`, or among values given by name.

    Raises UserError for a name that is meant as a parameter and is none (see `_meant`), and for a value of the wrong
    type or out of range.
    """
    types = {field.name: field.type for field in dataclasses.fields(Parameters)}
    for name in _meant(names, types):
        if name not in types:
            allowed = f'no such parameter (allowed: {", ".join(types)})'
            raise UserError(f'{name}={names[name]!r}: {allowed}{hint(name.lower(), types)}')
    given = {name: names[name] for name in types if name in names}
    for name, value in given.items():
        if type(value) is not types[name]:
            raise UserError(f'{name}={value!r}: must be {types[name].__name__}, got {type(value).__name__}')
    parameters = Parameters(**given)
    scales.get(parameters.scale)
    choose('train', parameters.train, dict.fromkeys(TRAIN))
    if not 0 <= parameters.seeds <= OWN:
        raise UserError(f'seeds={parameters.seeds}: must be from 1 to {OWN}, or 0 for the seeds of the scale')
    return parameters


def _meant(names: dict[str, Any], parameters: Collection[str]) -> list[str]:
    """The names that are meant as parameters.

    Outside a kernel, every name is. A kernel has `In`, the cells that it ran. There, a name is meant as a parameter if
    the cell that papermill added sets it, or if it holds a plain value and is close to the name of a parameter. A
    session may have other variables.
    """
    if 'In' not in names:
        return list(names)
    injected = set()
    for cell in names['In']:
        if cell.startswith(INJECTED):
            injected.update(re.findall(r'(?m)^(\w+) = ', cell))
    meant = []
    for name, value in names.items():
        close = difflib.get_close_matches(name.lower(), parameters, n=1, cutoff=0.8)
        if isinstance(value, PLAIN) and (name in injected or close):
            meant.append(name)
    return meant
