"""Errors that end a command with one line instead of a traceback."""

LONGEST = 2000  # characters of a message


def one_line(text: str) -> str:
    """The text as one printable line: control characters are escaped, the middle of a long text is left out."""
    if len(text) > LONGEST:
        text = f'{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}'
    return ''.join(x if x.isprintable() else x.encode('unicode_escape').decode() for x in text)


class UserError(Exception):
    """A mistake that the user can mend: one line that names the value and what is allowed."""

    def __str__(self) -> str:
        return one_line(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython shows in place of a traceback."""
        return [f'{type(self).__name__}: {self}']


class RunError(UserError):
    """Run data that is missing, damaged, locked or of another run: one line that names the file and what to do."""
