"""Entries of tables by name."""

import difflib

from paper_lib.contract.errors import UserError


def hint(name, known) -> str:
    """'; did you mean ...?' where a known name is close, else ''."""
    near = difflib.get_close_matches(str(name), known, n=1)
    return f'; did you mean {near[0]!r}?' if near else ''


def choose(kind: str, name: str, table: dict):
    """The entry of this name. Raises UserError with the allowed names for an unknown one."""
    if name not in table:
        raise UserError(f'{kind}={name!r}: must be one of {", ".join(table)}{hint(name, table)}')
    return table[name]
