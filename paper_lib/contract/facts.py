"""The facts of a field of a spec, each said once, beside the field.

Six things are derived from them: validation, the identity of a run, which runs can share a
program, the values of each lane, command-line options with their help, and the captions of
figures.
"""

import dataclasses
import enum
import functools
import math
from collections.abc import Mapping
from typing import Any

from paper_lib.contract.errors import UserError


class Role(enum.Enum):
    """What a field means for the lanes of a program, that is for runs that are trained together."""

    STATIC = 'static'  # fixes shapes, the program or the schedule: equal in all lanes
    TRACED = 'traced'  # one value per lane, an argument of the compiled program
    HOST = 'host'  # one value per lane, read outside of the compiled program
    ALONE = 'alone'  # a run with another value than the default is trained without other lanes
    # Says what is recorded: equal in all lanes. No weight that acts or is evaluated depends on it, but in a run that
    # adds data by what its evaluations measure.
    WATCHES = 'watches'


class Side(enum.Enum):
    """Which runs use a field: online runs, which collect, or the offline runs that learn from them."""

    BOTH = 'both'
    SOURCE = 'source'  # says how an online run collects
    FOLLOWER = 'follower'  # says how an offline run learns


ALWAYS = object()  # marks a field that is as old as the schema and so is part of every identity
MOST_STEPS = 10**12  # environment steps: no schedule is longer
MOST_WIDTH = 65_536  # units, bins and such
MOST_LAYERS = 64


@dataclasses.dataclass(frozen=True)
class Fact:
    """Everything about a field that its name, type and default do not say."""

    about: str  # its meaning with the unit; captions and the help of options show it
    more: str = ''  # an explanation that only the help shows
    role: Role = Role.STATIC
    side: Side = Side.BOTH
    low: float | None = None  # smallest value allowed
    high: float | None = None  # largest value allowed
    above: float | None = None  # values must be larger than this
    choices: tuple[str, ...] = ()
    before: Any = ALWAYS  # of a younger field: the value of all older runs, whose ids thereby stay
    switch: bool = False  # v1 has no such field, or another value departs from v1's algorithm
    simulator: bool = False  # an option of some simulators; runs of other simulators leave it out of their ids
    option: bool = True  # the command line can set it; others follow from the agent's row and the pair seed
    caption: bool = True  # captions list its value where that is not v1's
    needs: str = ''  # the field has an effect only if a run does this: 'explore', or 'see' images

    @property
    def help(self) -> str:
        """The help of a command-line option."""
        mark = '[switch] ' if self.switch else ''
        explanation = f'; {self.more}' if self.more else ''
        return f'{mark}{self.about}{explanation}'

    @property
    def allowed(self) -> str:
        """The allowed values in words, of a field that has choices or bounds."""
        if self.choices:
            return ' or '.join(repr(choice) for choice in self.choices)
        if self.low is not None:
            return f'from {self.low:,} to {self.high:,}'
        return f'above {self.above:g}, at most {self.high:g}'

    def admits(self, value: Any) -> bool:
        """Whether a value is one of the choices and lies within the bounds."""
        if self.choices:
            return value in self.choices
        if self.above is not None and not value > self.above:
            return False
        if self.low is not None and not value >= self.low:
            return False
        return self.high is None or value <= self.high


def field(default: Any, about: str, *shared: Mapping[str, Any], **facts: Any) -> Any:
    """A dataclass field with its facts (see `Fact`).

    Each of `shared` holds facts that several fields have.
    """
    return dataclasses.field(default=default, metadata={'fact': _fact(about, shared, facts)})


def required(about: str, *shared: Mapping[str, Any], **facts: Any) -> Any:
    """As `field`, for a field without a default."""
    return dataclasses.field(metadata={'fact': _fact(about, shared, facts)})


def _fact(about, shared, facts):
    merged = {}
    for group in (*shared, facts):
        merged |= group
    return Fact(about, **merged)


def facts(record: Any) -> tuple[tuple[dataclasses.Field, Fact], ...]:
    """Every field of a spec (or of its class) with its facts, in order."""
    return _facts(record if isinstance(record, type) else type(record))


@functools.cache
def _facts(cls: type) -> tuple[tuple[dataclasses.Field, Fact], ...]:
    return tuple((each, each.metadata['fact']) for each in dataclasses.fields(cls))


def names(record: Any, role: Role | None = None, side: Side | None = None) -> tuple[str, ...]:
    """Names of the fields with this role and this side; None stands for every role or side."""
    chosen = []
    for each, fact in facts(record):
        if role in (None, fact.role) and side in (None, fact.side):
            chosen.append(each.name)
    return tuple(chosen)


def need(condition: bool, name: str, value: Any, allowed: str) -> None:
    """Raise UserError, one line, unless the condition holds."""
    if not condition:
        raise UserError(f'{name}={shown(value)}: must be {allowed}')


def shown(value: Any) -> str:
    """The repr of a value, shortened for an error message."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:60]}... ({len(text)} characters)'


def check(record: Any) -> None:
    """Raise UserError unless every plain field has its type and an allowed value.

    Plain fields are those of type int, float or str. An int is a valid float.
    """
    for each, fact in facts(record):
        if each.type not in (int, float, str):
            continue
        value = getattr(record, each.name)
        kinds = (int, float) if each.type is float else (each.type,)
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = each.type.__name__
            given = type(value).__name__
            raise UserError(f'{each.name}={shown(value)}: must be {wanted}, got {given}')
        if each.type is float:
            too_large = isinstance(value, int) and abs(value) >= 2**1023  # for a float
            need(not too_large and math.isfinite(value), each.name, value, 'finite')
        if not fact.admits(value):  # the allowed values are put into words only then
            need(False, each.name, value, fact.allowed)


def identity(record: Any) -> dict[str, Any]:
    """The fields that identify a record, by name.

    A younger field is left out where it has the value that all records had before the field
    existed. Equal numbers have one form: 1 and 1.0, and 0.0 and -0.0, are the same float.
    """
    values = {}
    for each, fact in facts(record):
        value = getattr(record, each.name)
        if fact.before is not ALWAYS and value == fact.before:
            continue
        values[each.name] = float(value) + 0.0 if each.type is float else value
    return values
