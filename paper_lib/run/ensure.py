"""Makes sure that runs exist: trains what is missing, sources first, on all cores or one GPU.

Each worker is a process of its own, pinned to its share of the cores, one each by default: on a CPU two small runs side
by side are faster than one on two cores, and a notebook's process never holds jax.
"""

import concurrent.futures
import contextlib
import importlib.util
import multiprocessing
import os
import queue
import signal
import threading
import time
from pathlib import Path

from paper_lib.contract import files
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.lease import Busy
from paper_lib.data.store import Store
from paper_lib.envs.remote import cores
from paper_lib.run.progress import Progress

GPU_LANES = 8  # runs that train as one program where there is a GPU
MOST = 1000  # workers, and lanes
RETRY = 5.0  # seconds until a run that another process works on is looked at again


def layout() -> tuple[int, int]:
    """(workers, lanes) by default: one pinned worker per core, or one program of several lanes on a GPU."""
    on_cpu = os.environ.get('JAX_PLATFORMS', '').startswith('cpu')
    plugin = any(importlib.util.find_spec(f'jax_cuda{version}_plugin') for version in (12, 13))
    return (1, GPU_LANES) if plugin and Path('/dev/nvidia0').exists() and not on_cpu else (len(cores()), 1)


def ensure(specs: list[RunSpec], store: Store | None = None, workers: int = 0, lanes: int = 0) -> None:
    """Train every run that is not finished. Sources must be among `specs` or finished.

    Returns when all are finished. Raises UserError for what the user can mend; runs then go on where they
    stopped when the same call is made again. A run that another process works on is waited for.
    """
    store, default = store or Store(), layout()
    waiting = unfinished(specs, store, workers, lanes)
    if not waiting:
        return
    alone = single(specs)
    named = [spec.task for spec in waiting]
    waiting.sort(key=lambda spec: named.index(spec.task))  # a worker that stays with a task keeps its programs
    progress = Progress(sum(spec.schedule.steps for spec in waiting))
    workers, lanes = workers or default[0], lanes or default[1]
    with progress, _Pool(workers, store.root) as pool:
        pool.check([spec for spec in waiting if store.status(spec) == 'missing'], workers * lanes)
        if len(waiting) > 1:
            progress.note(f'runs to train: {len(waiting)}, agent steps: {progress.total:,}')
        while waiting or pool.running:
            ready = [spec for spec in waiting if spec.source is None or store.status(spec.source) == 'done']
            if not (ready or pool.running):
                raise RunError(f'{waiting[0].source.run_id}: is not there any more; run the same command again')
            for group in groups(ready, lanes, store, alone)[: pool.free] if pool.free else ():
                pool.start(group)
                waiting = [spec for spec in waiting if spec not in group]
            waiting += pool.wait(progress)
            waiting = [spec for spec in waiting if spec.source not in pool.failed]
            for error in pool.failed.values() if waiting or pool.running else ():
                progress.note(f'failed: {error}')
    if pool.failed:  # the others are finished
        first, *more = dict.fromkeys(map(str, pool.failed.values()))
        raise RunError(first + (f' (and {len(more)} more: see paper-lib runs)' if more else ''))


def single(specs: list[RunSpec]) -> set[RunSpec]:
    """Those that train as a program of their own, whatever there is to group: runs of equal bits, and their sources."""
    return {run for spec in specs if spec.exact for run in (spec, spec.source)}


def unfinished(specs: list[RunSpec], store: Store, workers: int = 0, lanes: int = 0) -> list[RunSpec]:
    """Those of the runs that are not finished. Raises UserError for what shows before any is trained (as `ensure`)."""
    for name, value in {'workers': workers, 'lanes': lanes}.items():
        if not 0 <= value <= MOST:
            raise UserError(f'{name}={value}: must be from 1 to {MOST}, or 0 for as many as suit this machine')
    waiting = [spec for spec in dict.fromkeys(specs) if store.status(spec) != 'done']
    for spec in waiting:
        if spec.source and spec.source not in waiting:
            store.source(spec.source)
    if waiting:
        store.check_writable()
    return waiting


def groups(specs, size, store, alone=frozenset()):
    """Split runs into groups of at most `size` that can share a program, in the order given; those in `alone` do not.

    Runs that were interrupted go on with those that they were begun with, in the same order: another grouping
    would change their last bits.
    """
    begun = {}
    for spec in specs:
        for path in store.path(spec).glob('checkpoint-*.npz'):
            meta = files.read_meta(path, {'meta': {'setting': {'lanes': [str]}}})
            together = meta['meta']['setting']['lanes'] if meta else []
            begun |= dict.fromkeys(together, tuple(together))
    found = {}
    for spec in specs:
        own = spec.run_id if spec in alone else ''
        found.setdefault((spec.signature, begun.get(spec.run_id), own), []).append(spec)
    cut = []
    for (_, together, _), same in found.items():
        if together:
            cut.append(sorted(same, key=lambda spec: together.index(spec.run_id)))
        else:
            cut += [same[i : i + size] for i in range(0, len(same), size)]
    return sorted(cut, key=lambda group: specs.index(group[0]))


class _Pool:
    """Worker processes; every one runs one group at a time and reports its clock."""

    def __init__(self, workers, root):
        context = multiprocessing.get_context('spawn')
        self.messages, number = context.Queue(), context.Value('i', 0)
        args = (number, workers, cores(), self.messages, os.getpid())
        self.executor = concurrent.futures.ProcessPoolExecutor(workers, context, _begin, args)
        self.root, self.workers, self.running, self.failed = root, workers, {}, {}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:  # a killed worker resumes bit-exactly: no reason to wait for it
            terminate(self.executor)
        self.executor.shutdown(cancel_futures=True)

    @property
    def free(self):
        return self.workers - len(self.running)

    def check(self, specs, at_once):
        """Raise UserError if the disk cannot hold what these runs will write, or jax does not start."""
        checked = self.executor.submit(_check, specs, self.root, at_once)
        processes = list(self.executor._processes.values())
        try:
            checked.result()
        except concurrent.futures.process.BrokenProcessPool:
            self.executor.shutdown()  # until then it is not known how its processes ended
            flags = os.environ.get('XLA_FLAGS')
            if flags and any(process.exitcode > 0 for process in processes):  # jax ended it, and no signal
                raise UserError(f'XLA_FLAGS={flags!r}: jax does not start with it; see the line above') from None
            raise _killed(specs) from None

    def start(self, group):
        try:
            self.running[self.executor.submit(_work, group, self.root)] = group
        except concurrent.futures.process.BrokenProcessPool:
            raise _killed(group) from None

    def wait(self, progress):
        """Pass reports on for a second; return the runs that must be tried again."""
        done, _ = concurrent.futures.wait(self.running, timeout=1, return_when=concurrent.futures.FIRST_COMPLETED)
        with contextlib.suppress(queue.Empty):
            while True:
                progress.update(*self.messages.get_nowait())
        again = []
        for future in done:
            group = self.running.pop(future)
            try:
                future.result()
            except Busy as error:
                progress.note(f'waiting: {str(error).partition(";")[0]}')
                again += group
            except UserError as error:
                self.failed |= dict.fromkeys(group, error)
            except concurrent.futures.process.BrokenProcessPool:
                raise _killed(group) from None
        time.sleep(RETRY if again else 0)
        return again


def _killed(group):
    names = ', '.join(spec.run_id for spec in group)
    return RunError(f'{names}: a training process was killed (out of memory?); run the same command again to resume')


_messages = None


def _begin(number, workers, pins, messages, parent):
    """Set a new worker up: before jax is imported, since it sizes its thread pools by the cores it may use."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches every process; the parent ends this one
    with number.get_lock():
        index, number.value = number.value, number.value + 1
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, pins[index::workers] or {pins[index % len(pins)]})  # pictures are drawn on all of them
    threading.Thread(target=follow, args=(parent,), daemon=True).start()


def terminate(executor: concurrent.futures.ProcessPoolExecutor):
    """End its processes at once, whatever they do: leaving it would wait for them."""
    for process in list((executor._processes or {}).values()):  # none where it was shut down
        process.terminate()


def follow(parent: int):
    """End this process when its parent is gone, so that nothing works unseen."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _check(specs, root, at_once):
    from paper_lib.run import cost

    cost.check_device()
    cost.check_space(specs, root, at_once)


def _work(group, root):
    from jax.errors import JaxRuntimeError

    from paper_lib.run.train import train

    last = 0.0

    def report(clock):
        nonlocal last
        if time.monotonic() - last > 1 or clock == group[0].schedule.steps:
            last = time.monotonic()
            _messages.put(([spec.run_id for spec in group], clock))

    try:
        train(group, Store(root), report, lean=True)
    except UserError:
        raise
    except JaxRuntimeError as error:
        names, reason = ', '.join(spec.run_id for spec in group), str(error).partition('\n')[0]
        raise RunError(f'{names}: {reason}; if this is for want of memory, choose a smaller model or batch') from error
    except OSError as error:
        reason = error.strerror or error
        what = f'{error.filename or root}: {reason}; remove the cause, then run the same command again'
        raise RunError(what) from error
