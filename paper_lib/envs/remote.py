"""Environments in processes of their own, stepped at the same time."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable

from paper_lib import machine
from paper_lib.contract.errors import RunError
from paper_lib.envs.base import Env


class Remote:
    """Environment number `index` of the process behind a pipe; offers what an Env does, and raises what it raises."""

    def __init__(self, pipe, index):
        self._pipe, self._index = pipe, index
        self.spaces = self._call(getattr, 'spaces')

    @property
    def episode(self) -> int:
        return self._call(getattr, 'episode')

    @episode.setter
    def episode(self, value):
        self._call(setattr, 'episode', value)

    def step(self, action: dict) -> dict:
        return self._call(Env.step, action)

    def _call(self, function, *args):
        return call([self], function, [args])[0]


def call(envs: list[Remote], function: Callable, args: list[tuple]) -> list:
    """function(env, *args) of every environment, all processes at once. Raises the first error when all are done."""
    calls = {}
    for number, (env, own) in enumerate(zip(envs, args, strict=True)):
        calls.setdefault(env._pipe, []).append((number, (env._index, function, own)))
    answers = [None] * len(envs)
    try:
        for pipe, own in calls.items():
            pipe.send([each for _, each in own])  # one message each way: more could fill both pipes at once
        for pipe, own in calls.items():
            for (number, _), answer in zip(own, pipe.recv(), strict=True):
                answers[number] = answer
    except (EOFError, OSError) as error:
        what = 'a process of environments has ended (out of memory?)'
        raise RunError(f'{what}; run the same command again to resume') from error
    return _checked(answers)


def _checked(answers):
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def spread(makers: list[Callable[[], Env]], processes: int) -> list[Remote]:
    """The environments that `makers` make, in order, shared out over new processes. These end with this one."""
    context, pipes = multiprocessing.get_context('spawn'), []
    for number in range(processes):
        ours, theirs = context.Pipe()
        args = theirs, makers[number::processes], max(1, len(machine.cores()) // processes)
        context.Process(target=_serve, args=args, daemon=True).start()
        theirs.close()  # else its end would go unnoticed
        pipes.append(ours)
    try:
        answers = [pipe.recv() for pipe in pipes]
    except (EOFError, OSError):
        causes = "out of memory, or `if __name__ == '__main__':` is missing in a script"
        raise RunError(f'a process of environments does not start ({causes})') from None
    _checked(answers)
    return [Remote(pipes[index % processes], index // processes) for index in range(len(makers))]


def _serve(pipe, makers, threads):
    """Answer calls until the other end is closed, at the latest by the end of that process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches every process; the parent ends this one
    os.environ.setdefault('LP_NUM_THREADS', str(threads if threads > 1 else 0))  # llvmpipe's own: one for every core
    envs = []
    with contextlib.suppress(EOFError, OSError):
        pipe.send(_tried(lambda: envs.extend(make() for make in makers)))
        while True:
            pipe.send([_tried(function, envs[index], *args) for index, function, args in pipe.recv()])


def _tried(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return error
