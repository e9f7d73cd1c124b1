"""How an entry of a table is found by its name, and how names and small numbers stand in sentences."""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

from paper_lib.contract.errors import UserError

Row = TypeVar('Row')
NUMBERS = ('none', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')


def hint(name: str, known: Collection[str]) -> str:
    """'; did you mean ...?' if a known name is close, else ''."""
    near = difflib.get_close_matches(str(name), known, n=1)
    return f'; did you mean {near[0]!r}?' if near else ''


def choose(kind: str, name: str, table: Mapping[str, Row]) -> Row:
    """The entry of this name. Raises UserError with the allowed names for an unknown one."""
    if name not in table:
        allowed = ', '.join(table)
        raise UserError(f'{kind}={name!r}: must be one of {allowed}{hint(name, table)}')
    return table[name]


def listed(names: Collection[str]) -> str:
    """Names as 'A, B and C'; there is at least one."""
    *first, last = names
    return f'{", ".join(first)} and {last}' if first else last


def word(count: int) -> str:
    """A small number as a word."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def counted(count: int, noun: str) -> str:
    """'1 pair', '2 pairs'."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'
