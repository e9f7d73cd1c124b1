"""Worker processes, each on cores of its own. They end with the process that started them, or at once when told to.

A worker makes one call at a time. Its pipe carries everything: the call, what the call reports on its way, and how the
call ended.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from paper_lib import machine
from paper_lib.run import backend


@dataclasses.dataclass(frozen=True)
class Reported:
    """What a call said with `report` while it went on."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Returned:
    """The call is over, and this is its result."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Raised:
    """The call is over, with this error."""

    error: Exception


@dataclasses.dataclass(frozen=True)
class Died:
    """The process is gone: a positive exit code is its own, a negative one is the signal that killed it."""

    exit_code: int


Message = Reported | Returned | Raised | Died


def shares(workers: int) -> list[list[int]]:
    """The cores of each of so many workers: all that there are, shared out; one core each where they are too few."""
    cores = machine.cores()
    return [cores[number::workers] or [cores[number % len(cores)]] for number in range(workers)]


class Worker:
    """One process on these cores, computing in `threads` of them. Use it as a context manager."""

    def __init__(self, cores: list[int], threads: int = 1):
        self.cores, self.threads = cores, threads
        self._process = self._pipe = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def call(self, function: Callable, *args: Any) -> None:
        """Begin a call; the first one starts the process. `receive` says how it goes and how it ends."""
        if self._process is None:
            self._start()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the process has died: `receive` will say so
            self._pipe.send((function, args))

    def receive(self) -> Message:
        """The next message of the call that goes on; waits for it."""
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return Died(self._process.exitcode)

    def resume(self) -> None:
        """Let a call go on that waits in `meet`."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(None)

    def stop(self) -> None:
        """End the process at once, whatever it does. The next call starts a new one."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.join()
        self._pipe.close()
        self._process = self._pipe = None

    def _start(self):
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.cores, os.getpid()))
        with _environment(backend.variables(self.threads)):
            self._process.start()
        theirs.close()  # else the end of the process would go unnoticed


def ready(workers: list[Worker], seconds: float | None = None) -> list[Worker]:
    """Those workers that have a message, as soon as one has; none after so many seconds."""
    pipes = {worker._pipe: worker for worker in workers}
    return [pipes[pipe] for pipe in connection.wait(pipes, seconds)]


def report(value: Any) -> None:
    """Tell the process that made this call something; nothing happens in a call that no worker makes."""
    if _pipe:
        _pipe.send(Reported(value))


def meet() -> None:
    """Report, then wait until `resume`: several workers can go on at the same time."""
    if _pipe:
        report(None)
        _pipe.recv()


_pipe = None  # of a worker's process, to the one that started it


@contextlib.contextmanager
def _environment(values):
    """Environment variables of the processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe, cores, parent):
    """Make calls until the other end is closed, at the latest by the end of that process."""
    global _pipe
    _pipe = pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches every process; the parent ends this one
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, cores)  # before JAX starts, which has as many threads as it may use cores
    backend.prepare()
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, args = pipe.recv()
            _send(pipe, _outcome(function, args))


def _outcome(function, args):
    try:
        return Returned(function(*args))
    except Exception as error:
        error.add_note(traceback.format_exc())  # a traceback does not travel between processes, a note does
        return Raised(error)


def _send(pipe, outcome):
    """Send how a call ended, or an error that says why this cannot be sent."""
    try:
        pipe.send(outcome)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        pipe.send(Raised(TypeError(f'the outcome of a call cannot travel between processes: {error}')))


def _follow(parent):
    """End this process when its parent is gone, so that nothing works unseen."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
