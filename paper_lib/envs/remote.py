"""Environments in other processes, which are stepped at the same time."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from paper_lib import machine
from paper_lib.contract.errors import RunError
from paper_lib.envs.base import Env


class Remote:
    """Environment number `index` of the process behind a pipe.

    It has the methods and errors of an Env.
    """

    def __init__(self, pipe: Connection, index: int):
        self._pipe = pipe
        self._index = index
        self.spaces = self._call(getattr, 'spaces')

    @property
    def episode(self) -> int:
        return self._call(getattr, 'episode')

    @episode.setter
    def episode(self, value: int) -> None:
        self._call(setattr, 'episode', value)

    def step(self, action: dict) -> dict:
        return self._call(Env.step, action)

    def _call(self, function, *args):
        return call([self], function, [args])[0]


def call(envs: list[Remote], function: Callable, args: list[tuple]) -> list:
    """function(env, *args) for every environment; the processes work at the same time.

    Raises the first error after all calls have ended.
    """
    numbers, requests = {}, {}  # by process: which environments are called, and the calls
    for number, (env, env_args) in enumerate(zip(envs, args, strict=True)):
        numbers.setdefault(env._pipe, []).append(number)
        requests.setdefault(env._pipe, []).append((env._index, function, env_args))
    answers = [None] * len(envs)
    try:
        for pipe, request in requests.items():
            pipe.send(request)  # one message each way: several could fill both pipes and block
        for pipe in requests:
            for number, answer in zip(numbers[pipe], pipe.recv(), strict=True):
                answers[number] = answer
    except (EOFError, OSError) as error:
        what = 'a process of environments has ended (out of memory?)'
        raise RunError(f'{what}; run the same command again to resume') from error
    return _checked(answers)


def _checked(answers: list) -> list:
    """The answers. Raises the first one that is an error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def spread(makers: list[Callable[[], Env]], processes: int) -> list[Remote]:
    """The environments of `makers`, in order, distributed over new processes, which end with this one."""
    context = multiprocessing.get_context('spawn')
    threads = max(1, len(machine.cores()) // processes)
    pipes = []
    for number in range(processes):
        parent_end, child_end = context.Pipe()
        args = (child_end, makers[number::processes], threads)
        context.Process(target=_serve, args=args, daemon=True).start()
        child_end.close()  # so that the parent notices when the child ends
        pipes.append(parent_end)
    try:
        answers = [pipe.recv() for pipe in pipes]
    except (EOFError, OSError):
        causes = "out of memory, or `if __name__ == '__main__':` is missing in a script"
        raise RunError(f'a process of environments does not start ({causes})') from None
    _checked(answers)
    return [Remote(pipes[index % processes], index // processes) for index in range(len(makers))]


def _serve(pipe: Connection, makers: list[Callable[[], Env]], threads: int) -> None:
    """Make environments, and answer calls until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches every process; the parent ends this one
    # The software renderer would start a thread for every core. It takes 0 as: draw in the calling thread.
    os.environ.setdefault('LP_NUM_THREADS', str(threads if threads > 1 else 0))
    envs = []
    with contextlib.suppress(EOFError, OSError):
        pipe.send(_tried(lambda: envs.extend(make() for make in makers)))
        while True:
            pipe.send([_tried(function, envs[index], *args) for index, function, args in pipe.recv()])


def _tried(function: Callable, *args: Any) -> Any:
    """The result of a call, or the error that it raised."""
    try:
        return function(*args)
    except Exception as error:
        return error
