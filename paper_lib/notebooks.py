"""Runs notebooks without a browser, in a kernel of the Python that runs this.

Results are written whole or not at all. papermill alone would take the first kernel named python3 that it finds, and
would hide what the notebook reports meanwhile.
"""

import collections
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paper_lib import machine
from paper_lib.contract.errors import RunError, UserError, choose
from paper_lib.study import paths

PAUSE = 0.05  # seconds between two looks at threads
LONGEST_FOLDER = 60  # letters of a folder for sockets: the path of a socket has at most 103
_KERNELS = weakref.WeakSet()  # managers of the kernels of this process, some of which have ended
EXPECTED = ('UserError', 'RunError', 'Busy', 'Failed')  # errors of a cell whose message says it all


def folder() -> Path:
    """Where the notebooks lie."""
    return paths.root() / 'notebooks'


def find(names: tuple[str, ...], scale: str) -> list[Path]:
    """The notebooks of these names (their stems), or all of a scale. Raises UserError for an unknown name."""
    from paper_lib.study import catalogue, scales

    known = {path.stem: path for path in sorted(folder().glob('*.ipynb'))}
    if not known:
        raise UserError(f'{folder()}: has no notebooks; run this from a checkout of the repository')
    names = names or catalogue.in_scale(scales.get(scale))
    return list(dict.fromkeys(choose('notebook', Path(name).stem, known) for name in names))


def run(path: Path, values: dict[str, Any], runs: Path | None = None, output: Path | None = None) -> Path:
    """Execute a notebook with these parameters; returns the path of its HTML.

    The executed copy is `NAME.partial.ipynb` until every cell has run. RunError names the error of a cell.
    """
    from paper_lib.pages.notebook import render

    executed = (output or paths.root() / 'build' / values['scale']) / path.name
    partial = executed.with_suffix('.partial.ipynb')
    try:
        executed.parent.mkdir(parents=True, exist_ok=True)
        notebook = _execute(path, partial, values, runs)
        partial.replace(executed)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f'{error.filename or partial}: {reason}; remove the cause and run again') from None
    scale = values['scale']
    page = (output or paths.drawings(scale)) / f'{path.stem}.html'
    paths.write(page, render(notebook, path.stem, page.parent, scale).encode())
    return page


def run_all(
    chosen: list[Path],
    values: dict[str, Any],
    runs: Path | None,
    output: Path | None,
    say: Callable[[str], None],
    at_once: int = 1,
) -> list[UserError]:
    """Run these notebooks, `at_once` at a time, and write the other pages; returns what failed.

    Where one fails the next one still runs. `say` is told when a notebook begins and ends. Without `output` the
    results are those of the scale. Notebooks that train should run one after the other: training takes all cores.
    """

    def attempt(path: Path) -> UserError | None:
        say(f'{path.stem}: running')
        try:
            page = run(path, values, runs, output)
        except UserError as error:
            say(f'{path.stem}: failed')
            return error
        say(f'{path.stem}: done, {page}')
        return None

    failures = [error for error in _side_by_side(attempt, chosen, at_once) if error]
    if output is None:
        try:
            _write_pages(values['scale'])
        except UserError as error:
            failures.append(error)
    return failures


def _write_pages(scale: str) -> None:
    """Write the pages of a scale that belong to no notebook."""
    from paper_lib.pages import clicks, documents, front

    clicks.write(scale)
    documents.write(scale)
    front.write(scale)


def redraw(scale: str) -> None:
    """Draw everything of a scale from the archive alone, as if nothing had been trained on this machine.

    The files in the repository were made in this way. Raises RunError for the first notebook that fails.
    """
    with tempfile.TemporaryDirectory(prefix='paper-lib-') as no_runs:

        def draw(path: Path) -> None:
            run(path, {'scale': scale, 'train': 'no'}, Path(no_runs))

        _side_by_side(draw, find((), scale), len(machine.cores()))
    _write_pages(scale)


def _side_by_side(function: Callable[[Path], Any], chosen: list[Path], at_once: int) -> list[Any]:
    """The results of a function that runs a notebook, `at_once` notebooks at a time.

    After an error no other notebook begins. An interrupt ends the kernels too. It may reach the main thread just after
    this has taken a lock, which then stays locked. So the main thread shares no lock with those that run notebooks.
    """
    if at_once == 1:
        return [function(path) for path in chosen]
    waiting = collections.deque(chosen)
    results = {}
    errors = []

    def work() -> None:
        while True:
            try:
                path = waiting.popleft()
            except IndexError:
                return
            try:
                results[path] = function(path)
            except Exception as error:
                errors.append(error)
                waiting.clear()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(at_once)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(PAUSE)
    except KeyboardInterrupt:  # or a termination, which is one
        logging.disable()  # else every kernel that is ended would be reported
        waiting.clear()
        _kill_kernels(threads)
        raise
    if errors:
        raise errors[0]
    return [results[path] for path in chosen]


def _kill_kernels(threads: list[threading.Thread]) -> None:
    """Kill every kernel until these threads have ended. One that is only about to start is killed once it has."""
    while any(thread.is_alive() for thread in threads):
        for manager in [*_KERNELS]:
            if manager.has_kernel:
                manager.provisioner.process.kill()
        time.sleep(PAUSE)


def differences(scale: str) -> list[str]:
    """Files of figures/SCALE that differ, byte by byte, from what is drawn from the archive now. Raises UserError."""
    kept = paths.drawings(scale)
    if not kept.is_dir():
        raise UserError(f'{kept}: not there, so there is nothing to compare; `paper-lib html --scale {scale}` makes it')
    with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder, _elsewhere(Path(folder)):
        redraw(scale)
        old = _contents(kept)
        new = _contents(paths.drawings(scale))
    lines = []
    for name in sorted(old | new):
        if name not in new:
            lines.append(f'{name}: is not drawn any more')
        elif name not in old:
            lines.append(f'{name}: is missing')
        elif old[name] != new[name]:
            lines.append(f'{name}: differs')
    return lines


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder: name -> content."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextlib.contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """Figures are written to this folder, from a copy of the data and weights."""
    for name in ('data', 'weights'):
        original = paths.figures() / name
        if original.is_dir():
            shutil.copytree(original, folder / name)
    before = os.environ.get('PAPER_LIB_FIGURES')
    os.environ['PAPER_LIB_FIGURES'] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ['PAPER_LIB_FIGURES']
        else:
            os.environ['PAPER_LIB_FIGURES'] = before


def _execute(path: Path, partial: Path, values: dict[str, Any], runs: Path | None) -> Any:
    """The executed notebook. RunError names the error of a cell."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    temporary = tempfile.gettempdir()
    near = temporary if len(temporary) < LONGEST_FOLDER else '/tmp'
    with tempfile.TemporaryDirectory(prefix='paper-lib-', dir=near) as sockets:
        try:
            return papermill.execute_notebook(
                path,
                partial,
                values,
                kernel_name='python3',
                progress_bar=False,
                stderr_file=sys.stderr,
                start_timeout=300,
                kernel_manager_class=kernel(Path(sockets), runs),
                shutdown_kernel='immediate',
            )
        except papermill.PapermillExecutionError as error:
            reason = error.evalue.partition('\n')[0]
            if error.ename not in EXPECTED:
                reason = f'cell {error.exec_count} ended with {error.ename}: {reason}'
        except KeyboardInterrupt:
            logging.disable()  # asyncio would report the cell that was left
            raise
        except DeadKernelError:
            reason = 'the kernel died (out of memory?); run the same command again to resume'
        raise RunError(f'{path.stem}: {reason} (executed up to there: {partial})')


def kernel(sockets: Path, runs: Path | None) -> type:
    """A kernel manager whose kernel is this interpreter, which nothing installed elsewhere can replace.

    It talks through sockets in a folder: notebooks that run side by side would race for TCP ports.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from traitlets import default

    env = {'PAPER_LIB_TERMINAL': _terminal()}
    if runs:
        env['PAPER_LIB_RUNS'] = str(runs.absolute())
    argv = [sys.executable, '-Xfrozen_modules=off', '-m', 'ipykernel_launcher', '-f', '{connection_file}']

    class Kernel(AsyncKernelManager):
        def __init__(self, **options):
            super().__init__(**options)
            _KERNELS.add(self)

        kernel_spec = KernelSpec(argv=argv, env=env, display_name='Python 3', language='python')

        @default('transport')
        def _sockets(self) -> str:
            return 'ipc'

        @default('connection_file')
        def _folder(self) -> str:
            return str(sockets / 'kernel.json')

    return Kernel


def _terminal() -> str:
    """Path of the terminal that this command reports to, '' if there is none or the kernel could not open it."""
    name = os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else ''
    return name if name and os.access(name, os.W_OK) else ''
