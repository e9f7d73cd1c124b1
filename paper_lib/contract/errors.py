"""Errors that end a command with one line in place of a traceback."""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

Row = TypeVar('Row')
LONGEST = 2000  # characters of a message


def one_line(text: str) -> str:
    """The text as one printable line.

    Control characters are escaped; a long text loses its middle.
    """
    if len(text) > LONGEST:
        text = f'{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}'
    printable = [char if char.isprintable() else char.encode('unicode_escape').decode() for char in text]
    return ''.join(printable)


class UserError(Exception):
    """A mistake that the user can correct.

    Its one line names the value and what is allowed.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython shows in place of a traceback."""
        return [f'{type(self).__name__}: {self}']


class RunError(UserError):
    """Run data that is missing, damaged, locked or of another run.

    Its one line names the file and what to do.
    """


class Diverged(RunError):
    """Weights of a run that are no longer finite."""


def hint(name: str, known: Collection[str]) -> str:
    """'; did you mean ...?' if a known name is close or begins with this one, else ''."""
    name = str(name)
    near = difflib.get_close_matches(name, known, n=1)
    near += [each for each in known if name and each.startswith(name)]
    return f'; did you mean {near[0]!r}?' if near else ''


def choose(kind: str, name: str, table: Mapping[str, Row]) -> Row:
    """The entry of this name. Raises UserError with the allowed names for an unknown one."""
    if name not in table:
        allowed = ', '.join(table)
        raise UserError(f'{kind}={name!r}: must be one of {allowed}{hint(name, table)}')
    return table[name]
