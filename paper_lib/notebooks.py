"""Runs notebooks without a browser: in a kernel of this very Python, with whole results or none.

papermill alone would take the first kernel named python3 that it finds, and hide what the notebook reports meanwhile.
"""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

from paper_lib import pages
from paper_lib.contract.errors import RunError, UserError
from paper_lib.study import paths
from paper_lib.study.names import choose


def folder() -> Path:
    return paths.root() / 'notebooks'


def find(names: tuple[str, ...]) -> list[Path]:
    """The notebooks of these names (their stems), or all. Raises UserError for an unknown name."""
    known = {path.stem: path for path in sorted(folder().glob('*.ipynb'))}
    if not known:
        raise UserError(f'{folder()}: has no notebooks; run this from a checkout of the repository')
    return [choose('notebook', Path(name).stem, known) for name in names or known]


def run(path: Path, values: dict, runs: Path | None = None, output: Path | None = None) -> Path:
    """Execute a notebook with these parameters; returns the path of its HTML.

    The executed copy is `NAME.partial.ipynb` until every cell has run. RunError names the error of a cell.
    """
    executed = (output or paths.root() / 'build' / values['scale']) / path.name
    partial = executed.with_suffix('.partial.ipynb')
    try:
        executed.parent.mkdir(parents=True, exist_ok=True)
        notebook = _execute(path, partial, values, runs)
        partial.replace(executed)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f'{error.filename or partial}: {reason}; remove the cause and run again') from None
    html = (output or paths.drawings(values['scale'])) / f'{path.stem}.html'
    paths.write(html, pages.notebook(notebook, path.stem).encode())
    return html


def redraw(scale: str) -> None:
    """Draw everything of a scale from the archive alone, as if nothing had been trained on this machine; and the index.

    This is how the files in the repository were made. Raises RunError for the first notebook that fails.
    """
    with tempfile.TemporaryDirectory(prefix='paper-lib-') as nothing:
        for path in find(()):
            run(path, {'scale': scale, 'train': 'no'}, Path(nothing))
    pages.write_index(scale)


def differences(scale: str) -> list[str]:
    """Files of figures/SCALE that differ, byte by byte, from what is drawn from the archive now. Raises UserError."""
    kept = paths.drawings(scale)
    if not kept.is_dir():
        raise UserError(f'{kept}: not there, so there is nothing to compare; `paper-lib html --scale {scale}` makes it')
    with tempfile.TemporaryDirectory(prefix='paper-lib-') as folder, _elsewhere(Path(folder)):
        redraw(scale)
        old, new = ({path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
                    for place in (kept, paths.drawings(scale)))  # fmt: skip
    return [f'{name}: {_difference(name, old, new)}' for name in sorted(old | new) if old.get(name) != new.get(name)]


def _difference(name, old, new):
    return 'differs' if name in old and name in new else 'is not drawn any more' if name in old else 'is missing'


@contextlib.contextmanager
def _elsewhere(folder):
    """Drawings go to this folder, made from a copy of the data and weights."""
    for name in ('data', 'weights'):
        if (paths.figures() / name).is_dir():
            shutil.copytree(paths.figures() / name, folder / name)
    was = os.environ.get('PAPER_LIB_FIGURES')
    os.environ['PAPER_LIB_FIGURES'] = str(folder)
    try:
        yield
    finally:
        os.environ.pop('PAPER_LIB_FIGURES')
        os.environ.update({} if was is None else {'PAPER_LIB_FIGURES': was})


def _execute(path, partial, values, runs):
    import papermill
    from nbclient.exceptions import DeadKernelError

    near = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else '/tmp'  # a socket's path has 103 characters
    with tempfile.TemporaryDirectory(prefix='paper-lib-', dir=near) as sockets:
        options = {'kernel_manager_class': kernel(Path(sockets), runs), 'shutdown_kernel': 'immediate'}
        try:
            return papermill.execute_notebook(path, partial, values, kernel_name='python3', progress_bar=False,
                                              stderr_file=sys.stderr, start_timeout=300, **options)  # fmt: skip
        except papermill.PapermillExecutionError as error:
            what = error.evalue.partition('\n')[0]
            known = error.ename in ('UserError', 'RunError', 'Busy')
            what = what if known else f'cell {error.exec_count} ended with {error.ename}: {what}'
        except KeyboardInterrupt:
            logging.disable()  # asyncio would report the cell that was left
            raise
        except DeadKernelError:
            what = 'the kernel died (out of memory?); run the same command again to resume'
        raise RunError(f'{path.stem}: {what} (executed up to there: {partial})')


def kernel(sockets: Path, runs: Path | None) -> type:
    """A kernel manager whose kernel is this interpreter, which nothing installed elsewhere can replace.

    It talks through sockets in a folder: notebooks that run side by side would race for TCP ports.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from traitlets import default

    env = {'PAPER_LIB_TERMINAL': _terminal()}
    env |= {'PAPER_LIB_RUNS': str(runs.absolute())} if runs else {}
    argv = [sys.executable, '-Xfrozen_modules=off', '-m', 'ipykernel_launcher', '-f', '{connection_file}']

    class Kernel(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=argv, env=env, display_name='Python 3', language='python')

        @default('transport')
        def _sockets(self):
            return 'ipc'

        @default('connection_file')
        def _folder(self):
            return str(sockets / 'kernel.json')

    return Kernel


def _terminal():
    """Path of the terminal that this command reports to, '' if there is none or the kernel could not open it."""
    name = os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else ''
    return name if name and os.access(name, os.W_OK) else ''
