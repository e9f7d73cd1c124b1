"""Every measurement runs in a process of its own, with as many threads as it has cores, and compiles anew."""

import contextlib
import functools
import tempfile
from collections.abc import Callable
from typing import Any

import jax
from jax.errors import JaxRuntimeError

from paper_lib import machine
from paper_lib.contract.errors import UserError
from paper_lib.engine import pool
from paper_lib.engine.bench.measure import Case


def together(measure: Callable[[Case], Any], cases: list[Case], cores: list[list[int]]) -> list[Any]:
    """The results of `measure` for each case, all timed at the same time, each on its own cores.

    Raises UserError, one line, where one of them fails, for want of memory above all.
    """
    results = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='paper-lib-'))  # a process may be terminated
        workers = [stack.enter_context(pool.Worker(own, threads=len(own))) for own in cores]
        for worker, case in zip(workers, cases):
            worker.call(_measured, measure, case, folder)
        waiting = list(workers)  # for all to be ready to be timed
        while len(results) < len(workers):
            for worker in pool.ready([worker for worker in workers if worker not in results]):
                match worker.receive():
                    case pool.Reported():
                        waiting.remove(worker)
                        if not waiting:
                            waiting = list(workers)
                            for each in workers:
                                each.resume()
                    case pool.Returned(value):
                        results[worker] = value
                    case pool.Raised(error):
                        raise error
                    case pool.Died():
                        raise UserError('killed: out of memory?')
    return [results[worker] for worker in workers]


@functools.cache
def alone(measure: Callable[[Case], Any], case: Case) -> Any:
    """The result of `measure` for a case in a process of its own on one core."""
    return together(measure, [case], [machine.cores()[:1]])[0]


def _measured(measure, case, folder):
    """In a process of its own."""
    tempfile.tempdir = folder
    jax.config.update('jax_enable_compilation_cache', False)
    try:
        return measure(case)
    except JaxRuntimeError as error:
        raise UserError(str(error).partition('\n')[0]) from None
