"""Progress with rate and time left: a bar in a terminal or a notebook, a line a minute elsewhere."""

import os
import sys
from typing import TextIO

EVERY = 60.0  # seconds between lines where there is no terminal


class Progress:
    """Counts the agent steps of several runs; use it as a context manager."""

    def __init__(self, total: int):
        self.total = total
        self._clocks, self._notes, self._bar = {}, set(), None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def update(self, names: list[str], clock: int) -> None:
        """The runs `names`, trained together, stand at `clock` agent steps."""
        made_before = clock * len(set(names) - self._clocks.keys())  # not now: they say nothing of the rate
        if self._bar is None:
            self._bar = _bar(self.total, made_before)
        else:
            self._skip(made_before)
        self._clocks |= dict.fromkeys(names, clock)
        self._bar.set_postfix_str(f'{names[0]} at {clock}', refresh=False)
        self._bar.update(sum(self._clocks.values()) - self._bar.n)

    def note(self, text: str) -> None:
        """Print a line, once however often it is noted."""
        from tqdm import tqdm

        if text not in self._notes:
            self._notes.add(text)
            tqdm.write(text, file=sys.stderr)  # above the bar
            sys.stderr.flush()

    def _skip(self, steps):
        self._bar.initial += steps
        self._bar.n += steps
        self._bar.last_print_n += steps


class _Lines:
    """Prints what a bar draws as lines of their own."""

    def __init__(self, out: TextIO):
        self.out = out

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=self.out, flush=True)

    def flush(self) -> None:
        self.out.flush()


def _seen() -> bool:
    """Whether this is the kernel of a notebook that is open: Jupyter's server and VS Code say so in the environment."""
    return 'ipykernel' in sys.modules and any(name in os.environ for name in ('JPY_SESSION_NAME', 'VSCODE_PID'))


def _bar(total, initial):
    """A tqdm bar where it can be drawn again and again, else one that prints a line now and then.

    A kernel started by `paper-lib notebooks` is told the terminal in PAPER_LIB_TERMINAL, empty if there is none. Other
    kernels can show a bar only if a browser or an editor has opened them.
    """
    options = {'total': total, 'initial': initial, 'unit': ' steps', 'unit_scale': True, 'smoothing': 0}
    terminal = os.environ.get('PAPER_LIB_TERMINAL')
    if terminal:
        from tqdm import tqdm

        return tqdm(**options, dynamic_ncols=True, file=open(terminal, 'w'))
    if terminal is None and (sys.stderr.isatty() or _seen()):
        from tqdm.auto import tqdm

        return tqdm(**options, dynamic_ncols=True)
    from tqdm import tqdm

    layout = '{percentage:3.0f}% of {total_fmt} agent steps, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}'
    return tqdm(**options, bar_format=layout, mininterval=EVERY, miniters=1, file=_Lines(sys.stderr))
