"""The command line `paper-lib`: every command is a frozen dataclass, and its fields are its options.

Exit codes:
    0    the command succeeded
    1    the doctor, the audit, a diagnosis or `verify` found a problem
    2    the command has a mistake, run data cannot be used, or the system refuses something, e.g. space on a disk;
         one line on stderr says what to do
    130  interrupted, and 143 terminated: training resumes with the same command
    141  nobody reads the output any more
A traceback is a bug.
"""

import contextlib
import errno
import functools
import io
import logging
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable

import tyro

import paper_lib
from paper_lib.cli.cluster import Cluster, Work
from paper_lib.cli.data import Audit, ExportDataset, Restore
from paper_lib.cli.diagnose import Diagnose
from paper_lib.cli.machine import Bench, Doctor, Reference
from paper_lib.cli.options import discard, end
from paper_lib.cli.runs import Prune, Runs, Train
from paper_lib.cli.study import (
    Across,
    Agents,
    Claims,
    Docs,
    Export,
    Figures,
    Html,
    Notebooks,
    Scales,
    Sizes,
    Starts,
    Tasks,
    Verify,
)
from paper_lib.contract.errors import UserError, hint, one_line

NARROWEST = 40  # columns of help at least; in much fewer the library that wraps it never ends


def _name(command: type) -> str:
    """How a command is called: `ExportDataset` as export-dataset."""
    return re.sub('(?<=.)(?=[A-Z])', '-', command.__name__).lower()


# Who uses a command -> the commands.
GROUPS = {
    'To read the results': (Claims, Figures, Runs, Tasks, Agents, Scales, Sizes),
    'To train and draw': (Notebooks, Train, Doctor, Bench, Prune),
    'To train on a cluster': (Cluster, Work),
    'To use recordings': (Audit, Diagnose, ExportDataset, Restore),
    'To keep the repository': (Html, Verify, Docs, Across, Export, Starts, Reference),
}
COMMANDS = {_name(command): command for group in GROUPS.values() for command in group}


def main(args: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    for name in ('stdout', 'stderr'):
        if not getattr(sys, name):  # closed: `>&-`
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w'))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # a path may have letters that the output cannot encode
    try:
        _check_umask()
        code = _parse(args)() or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        return end(2, f'error: {error}')
    except ModuleNotFoundError as error:
        if (error.name or 'paper_lib').startswith('paper_lib'):
            raise
        return end(2, f"error: this command needs the package {error.name}: pip install -e '.[all]'")
    except ImportError as error:  # the package is installed, but a system library that it loads is missing
        reason = ' '.join(str(error).split())
        return end(2, f'error: {error.name or "a package"} does not load ({reason}); see `paper-lib doctor`')
    except BrokenPipeError:  # `| head`
        discard(sys.stdout)
        return 141
    except Terminated:
        return end(143, 'terminated; a training resumes with the same command')
    except KeyboardInterrupt:
        return end(130, 'interrupted; a training resumes with the same command')
    except Exception as error:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # an error while a termination was tidied up
            return end(143, 'terminated; a training resumes with the same command')
        if not isinstance(error, OSError):
            raise
        return end(2, f'error: {_refusal(error)}')


def _check_umask():
    """Raise UserError if this process could not read the files that it makes."""
    mask = os.umask(0)
    os.umask(mask)
    if mask & 0o700:
        raise UserError(f'umask={mask:04o}: you could not read the files that you make; run `umask 022` first')


def _refusal(error: OSError) -> str:
    """What the system refuses, as one line."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # from copying a folder
        *_, reason = error.args[0][0]
        return one_line(f'{reason}; remove the cause and run again')
    name = error.filename
    if name is None and error.errno == errno.ENOSPC:
        name = 'output'
        discard(sys.stdout)
    text = error.strerror or str(error)
    prefix = f'{name}: ' if name else ''
    return one_line(f'{prefix}{text}; remove the cause and run again')


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. It is handled like an interrupt, so that everything is tidied up."""


def _terminate(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # `timeout` and schedulers send the signal more than once
    logging.disable()  # the packages that are stopped would report it, e.g. that a kernel died
    raise Terminated


def _parse(args: list[str] | None) -> Callable[[], int | None]:
    """The command that the arguments name. Raises UserError for a mistake in them."""
    args = sys.argv[1:] if args is None else args
    columns = max(NARROWEST, shutil.get_terminal_size().columns)
    os.environ['COLUMNS'] = str(columns)
    name, *options = args or ['--help']
    if name in ('-h', '--help'):
        return functools.partial(print, _overview(columns))
    if name == '--version':
        return functools.partial(print, f'paper-lib {paper_lib.__version__}')
    if name not in COMMANDS:
        allowed = ', '.join(COMMANDS)
        raise UserError(f'command={name!r}: must be one of {allowed}{hint(name, COMMANDS)}; see `paper-lib --help`')
    try:
        with contextlib.redirect_stderr(io.StringIO()) as box:
            return tyro.cli(COMMANDS[name], args=options, prog=f'paper-lib {name}',
                            config=(tyro.conf.FlagCreatePairsOff,))  # fmt: skip
    except SystemExit as end:
        if not end.code:
            sys.stdout.flush()
            raise
        raise UserError(f'{_line(box.getvalue())}; see `paper-lib {name} --help`') from None


def _overview(columns: int) -> str:
    """The help of `paper-lib` itself: every command with the first sentence of its help."""
    widest = max(map(len, COMMANDS))
    lines = ['usage: paper-lib COMMAND [OPTIONS]', '', 'Runs, figures and claims of the study.']
    for title, commands in GROUPS.items():
        lines += ['', f'{title}:']
        for command in commands:
            about = ' '.join(command.__doc__.partition('\n\n')[0].split())
            name = _name(command).ljust(widest)
            lines += textwrap.wrap(f'  {name}  {about}', columns, subsequent_indent=' ' * (widest + 4))
    lines += [
        '',
        '`paper-lib COMMAND --help` lists the options of a command. `paper-lib --version` prints the version.',
    ]
    return '\n'.join(lines)


def _line(box: str) -> str:
    """tyro's error box as one line: its sections, without the descriptions of options."""
    _, *rows = box.replace('\u2502', ' ').splitlines()
    text = '\n'.join(row for row in rows if row[:10].strip())  # descriptions are indented
    text = re.sub(r'Argument helptext: *\n(.*)(\n +[^ \u2500-].*)*', r'expected \1', text)  # this one is needed
    sections = [' '.join(section.split()).rstrip('.') for section in re.split(r'(?m)^[ \u2500-\u257f-]+$', text)]
    return '; '.join(section for section in sections if section and not section.startswith('For full helptext'))
