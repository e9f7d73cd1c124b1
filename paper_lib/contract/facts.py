"""What is known of a field of a spec, said once, beside the field.

Validation, identity, grouping into programs, lane values, command-line options and documentation
are derived from these facts.
"""

import dataclasses
import enum
import math
from collections.abc import Iterator
from typing import Any

from paper_lib.contract.errors import UserError


class Role(enum.Enum):
    """What a field decides about the program that trains a run, and so about grouping runs as lanes."""

    STATIC = 'static'  # it fixes shapes, the program or the schedule: runs that share a program agree in it
    TRACED = 'traced'  # a value per lane that enters the compiled program
    HOST = 'host'  # a value per lane that only the host reads
    ALONE = 'alone'  # a run that departs from its default trains alone: its lanes would not stay in step
    WATCHES = 'watches'  # it changes what is recorded, and no weight of the agent; lanes agree in it


class Side(enum.Enum):
    """Whose field it is where an offline run learns from an online one."""

    BOTH = 'both'
    SOURCE = 'source'  # it says how data are collected
    FOLLOWER = 'follower'  # it says how an offline run learns from them


class _Always:
    """The field is as old as the schema: it is part of every identity."""


ALWAYS = _Always()
MOST_STEPS = 10**12  # environment steps: bounds what a loop over a schedule can be asked for
MOST_WIDTH = 65_536  # units, bins and such
MOST_LAYERS = 64


@dataclasses.dataclass(frozen=True)
class Fact:
    """What is known of a field beside its name, type and default."""

    about: str  # its meaning with the unit, as options' help and captions say it
    more: str = ''  # what the help says besides
    role: Role = Role.STATIC
    side: Side = Side.BOTH
    low: float | None = None  # smallest value allowed
    high: float | None = None  # largest value allowed
    above: float | None = None  # values must be larger than this
    choices: tuple[str, ...] = ()
    before: Any = ALWAYS  # a younger field: the value of all older runs; runs with this value keep their ids
    switch: bool = False  # v1 has no such field, or departs from it when it is changed
    simulator: bool = False  # only runs whose simulator takes an option of this name have it in their identity
    option: bool = True  # it can be set by name; the others follow from the agent's row and the pair's seed
    caption: bool = True  # captions name its value where that is not v1's
    needs: str = ''  # what a run must do for the field to mean anything: 'explore' or 'see' pictures

    @property
    def help(self) -> str:
        """What the help of a command-line option says."""
        mark = '[switch] ' if self.switch else ''
        return f'{mark}{self.about}; {self.more}' if self.more else f'{mark}{self.about}'

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        if self.choices:
            return ' or '.join(repr(choice) for choice in self.choices)
        if self.low is not None:
            return f'from {self.low:,} to {self.high:,}'
        if self.above is not None:
            return f'above {self.above:g}, at most {self.high:g}'
        return 'any text'

    def admits(self, value: Any) -> bool:
        """Whether a value lies within the bounds."""
        if self.choices:
            return value in self.choices
        if self.above is not None and not value > self.above:
            return False
        if self.low is not None and not value >= self.low:
            return False
        return self.high is None or value <= self.high


def field(default: Any, about: str, **facts: Any) -> Any:
    """A dataclass field with its facts (see `Fact`)."""
    return dataclasses.field(default=default, metadata={'fact': Fact(about, **facts)})


def required(about: str, **facts: Any) -> Any:
    """A dataclass field without a default, with its facts (see `Fact`)."""
    return dataclasses.field(metadata={'fact': Fact(about, **facts)})


def facts(record: Any) -> Iterator[tuple[dataclasses.Field, Fact]]:
    """Every field of a spec (or of its class) with its facts, in order."""
    for each in dataclasses.fields(record):
        yield each, each.metadata['fact']


def names(record: Any, role: Role | None = None, side: Side | None = None) -> tuple[str, ...]:
    """Names of the fields with this role and on this side."""
    found = []
    for each, fact in facts(record):
        if (role is None or fact.role is role) and (side is None or fact.side is side):
            found.append(each.name)
    return tuple(found)


def need(condition: bool, name: str, value: Any, allowed: str) -> None:
    """Raise UserError, one line, unless the condition holds."""
    if not condition:
        raise UserError(f'{name}={shown(value)}: must be {allowed}')


def shown(value: Any) -> str:
    """A value as an error shows it: on one line and short."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:60]}... ({len(text)} characters)'


def check(record: Any) -> None:
    """Raise UserError unless every plain field holds its type and lies within its bounds. An int is a valid float."""
    for each, fact in facts(record):
        value = getattr(record, each.name)
        if each.type not in (int, float, str):
            continue
        kinds = (int, float) if each.type is float else (each.type,)
        if not isinstance(value, kinds) or isinstance(value, bool):
            kind = type(value).__name__
            raise UserError(f'{each.name}={shown(value)}: must be {each.type.__name__}, got {kind}')
        if each.type is float:
            finite = not isinstance(value, int) or abs(value) < 2**1023
            need(finite and math.isfinite(value), each.name, value, 'finite')
        need(fact.admits(value), each.name, value, fact.allowed)


def identity(record: Any) -> dict[str, Any]:
    """The plain fields that identify a record: all but younger ones that have the value of the older records.

    Numbers are brought to one form: 1 and 1.0, and 0.0 and -0.0, are the same value of a float.
    """
    values = {}
    for each, fact in facts(record):
        value = getattr(record, each.name)
        if fact.before is not ALWAYS and value == fact.before:
            continue
        values[each.name] = float(value) + 0.0 if each.type is float else value
    return values
