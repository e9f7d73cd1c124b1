"""The command line `paper-lib`: every command is a frozen dataclass, its fields are its options.

Exit codes: 0 fine; 1 the doctor found a problem; 2 a mistake in the command, run data that cannot be used, or something
that the system refuses, as space on a disk (one line on stderr says what to do); 130 interrupted, 143 terminated
(training resumes with the same command); 141 nobody reads the output. A traceback is a bug.
"""

import contextlib
import errno
import io
import logging
import os
import re
import shutil
import signal
import sys

import tyro

from paper_lib.cli.machine import Bench, Doctor, Reference
from paper_lib.cli.options import end
from paper_lib.cli.runs import Prune, Runs, Train
from paper_lib.cli.study import Agents, Claims, Export, Figures, Html, Notebooks, Scales, Sizes, Tasks, Verify
from paper_lib.contract.errors import UserError, one_line

NARROWEST = 40  # columns that help is printed in, at least: the library that wraps it never ends in very few


def main(args: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    for name in ('stdout', 'stderr'):
        if not getattr(sys, name):  # closed: `>&-`
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w'))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # a path may have letters that the output has not
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
    except ImportError as error:  # a package is there, a system library that it loads is not
        reason = ' '.join(str(error).split())
        return end(2, f'error: {error.name or "a package"} does not load ({reason}); see `paper-lib doctor`')
    except BrokenPipeError:  # `| head`
        _discard()
        return 141
    except Terminated:
        return end(143, 'terminated; a training resumes with the same command')
    except KeyboardInterrupt:
        return end(130, 'interrupted; a training resumes with the same command')
    except Exception as error:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # of what could not be done or left in order after it
            return end(143, 'terminated; a training resumes with the same command')
        if not isinstance(error, OSError):
            raise
        return end(2, f'error: {_refusal(error)}')


def _check_umask():
    """UserError where files that are made here could not be read again."""
    mask = os.umask(0)
    os.umask(mask)
    if mask & 0o700:
        raise UserError(f'umask={mask:04o}: files that you make would be closed to yourself; run `umask 022` first')


def _refusal(error: OSError) -> str:
    """What the system refuses, as one line."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # a folder was copied
        *_, reason = error.args[0][0]
        return one_line(f'{reason}; remove the cause and run again')
    name = error.filename
    if name is None and error.errno == errno.ENOSPC:
        name = 'output'
        _discard()
    text = error.strerror or str(error)
    return one_line(f'{f"{name}: " if name else ""}{text}; remove the cause and run again')


def _discard():
    """What is left of the output must not be written at the exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever an interrupt tidies up is tidied up."""


def _terminate(number, _):
    signal.signal(number, signal.SIG_IGN)  # `timeout` and schedulers send it more than once
    logging.disable()  # what is tidied up would be reported: a kernel that died, a cell that was left
    raise Terminated


def _parse(args):
    study = Train | Runs | Notebooks | Html | Verify | Figures | Claims | Export | Tasks | Agents | Scales | Sizes
    commands = study | Doctor | Bench | Prune | Reference
    args = sys.argv[1:] if args is None else args
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ['COLUMNS'] = str(NARROWEST)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as box:
            return tyro.cli(commands, args=args, prog='paper-lib', description='Runs and figures of the study.',
                            config=(tyro.conf.FlagCreatePairsOff,))  # fmt: skip
    except SystemExit as end:
        if not end.code:
            sys.stdout.flush()
            raise
        command = [name for name in args[:1] if name in [each.__name__.lower() for each in commands.__args__]]
        raise UserError(f'{_line(box.getvalue())}; see `{" ".join(["paper-lib", *command, "--help"])}`') from None


def _line(box):
    """tyro's message, a title and sections with rules between, as one line; options without their descriptions."""
    _, *rows = box.replace('\u2502', ' ').splitlines()
    text = '\n'.join(row for row in rows if row[:10].strip())  # descriptions are indented
    text = re.sub(r'Argument helptext: *\n(.*)(\n +[^ \u2500-].*)*', r'expected \1', text)  # but this one
    sections = [' '.join(section.split()).rstrip('.') for section in re.split(r'(?m)^[ \u2500-\u257f-]+$', text)]
    return '; '.join(section for section in sections if section and not section.startswith('For full helptext'))
