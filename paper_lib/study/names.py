"""How names and small numbers stand in sentences."""

from collections.abc import Collection

NUMBERS = ('none', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')


def listed(names: Collection[str], joint: str = 'and') -> str:
    """Names as 'A, B and C'; there is at least one."""
    *first, last = names
    return f'{", ".join(first)} {joint} {last}' if first else last


def word(count: int) -> str:
    """A small number as a word."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def counted(count: int, noun: str) -> str:
    """'1 pair', '2 pairs'."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def unwrapped(text: str) -> str:
    """A text of several lines as one."""
    return ' '.join(text.split())
