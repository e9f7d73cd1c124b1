"""Errors that end a command with one line instead of a traceback."""


class UserError(Exception):
    """A mistake that the user can mend: one line that names the value and what is allowed."""

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython shows in place of a traceback."""
        return [f'{type(self).__name__}: {self}']


class RunError(UserError):
    """Run data that is missing, damaged, locked or of another run: one line that names the file and what to do."""
