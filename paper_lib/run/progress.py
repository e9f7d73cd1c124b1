"""Progress with rate and time left: a bar in a terminal or a notebook, a line a minute elsewhere."""

import os
import sys
import time

EVERY = 60.0  # seconds between lines where there is no terminal


def draw_bar(total: int):
    """A tqdm bar where it can be redrawn, else None: in a terminal, or in a notebook that someone looks at.

    A kernel started by `paper-lib notebooks` is told the terminal in PAPER_LIB_TERMINAL, empty if there is none.
    """
    options = {'total': total, 'unit': 'step', 'unit_scale': True, 'dynamic_ncols': True}
    terminal = os.environ.get('PAPER_LIB_TERMINAL')
    if terminal:
        from tqdm import tqdm

        return tqdm(**options, file=open(terminal, 'w'))
    if terminal is None and (sys.stderr.isatty() or 'ipykernel' in sys.modules):
        from tqdm.auto import tqdm

        return tqdm(**options)
    return None


class Progress:
    """Counts agent steps of several runs; use as a context manager."""

    def __init__(self, total: int, out=None):
        self.total, self.clocks, self.out, self.notes = total, {}, out or sys.stderr, set()
        self.began, self.first, self.last, self.bar = time.monotonic(), {}, time.monotonic(), None

    def __enter__(self):
        self.bar = draw_bar(self.total)
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()
        elif self.steps == self.total:
            self.line('done')

    def update(self, names: list[str], clock: int):
        """The runs `names`, trained together, stand at `clock` agent steps."""
        for name in names:
            self.first.setdefault(name, clock)  # a resumed run did not make its first steps now
            self.clocks[name] = clock
        if self.bar is not None:
            self.bar.set_postfix_str(names[0], refresh=False)
            self.bar.update(self.steps - self.bar.n)
        elif time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.line(f'{names[0]} at {clock}')

    def note(self, text: str):
        """Print a line, once however often it is noted."""
        if text not in self.notes:
            self.notes.add(text)
            print(text, file=self.out, flush=True)

    @property
    def steps(self) -> int:
        return sum(self.clocks.values())

    def line(self, what: str):
        """One line: share done, agent steps per second, minutes left."""
        elapsed = time.monotonic() - self.began
        rate = (self.steps - sum(self.first.values())) / max(elapsed, 1e-9)
        left = f'{(self.total - self.steps) / rate / 60:.0f} min left' if rate else 'time left unknown'
        share = f'{self.steps / self.total:4.0%} of {self.total} agent steps'
        print(f'{share}, {rate:.0f}/s, {elapsed / 60:.0f} min, {left}; {what}', file=self.out, flush=True)
