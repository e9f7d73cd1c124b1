"""Drives the jobs of a study: calls Snakemake until all are finished.

Snakemake is called in rounds. It knows nothing of the jobs that an earlier call has submitted, and it waits for ever
for a job that the queue has lost. So each round is made of what is not finished now, and leaves out what may still be
running. Whatever dies, the next round, or the same command again, goes on from what is finished. The leases of the runs
keep writers apart where the queue is wrong.
"""

import contextlib
import ctypes
import math
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from paper_lib.contract import files
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data import lease
from paper_lib.data.lease import Busy, Lease
from paper_lib.data.store import Store
from paper_lib.engine import jobs, queue, workflow
from paper_lib.engine.jobs import Job
from paper_lib.engine.queue import Queued
from paper_lib.engine.site import Site
from paper_lib.engine.workflow import Step, folder, is_done

END = 20.0  # seconds that Snakemake has to end when it is told to
PR_SET_PDEATHSIG = 1  # of prctl
# How long nothing of ours may be in the queue while Snakemake waits: as long as some questions to the queue take, and
# before the first job some seconds more. Snakemake asks more and more seldom, and for lost jobs without end.
QUESTIONS = 5
IDLE = 90.0
PAUSE = 300.0  # seconds until jobs that failed are given again while nothing changes: the reason may have passed


def submit(every: list[Step], planned: list[Job], site: Site, store: Store, say: Callable[[str], None]) -> None:
    """Run the steps until all are finished. The same call may be given again at any moment.

    Raises UserError if another process does this already, RunError if steps fail and nothing moves any more.
    """
    program = workflow.snakemake(site)
    with driving(store) as driver:
        _stop_mark(store).unlink(missing_ok=True)
        for step in every:
            if not step.specs:  # what it draws may have changed
                workflow.marker(step, store).unlink(missing_ok=True)
        _drive(every, planned, site, store, driver, program, say)


@contextlib.contextmanager
def driving(store: Store) -> Iterator[Lease]:
    """Hold the right to plan the jobs of a store and to submit them. Raises UserError if another process has it."""
    store.check_writable()
    place = folder(store)
    with files.guard(place):
        place.mkdir(parents=True, exist_ok=True)
    try:
        with Lease(place / 'driver.json') as driver:
            yield driver
    except Busy as error:
        if 'driver.json' not in str(error):
            raise
        who = str(error).partition(': ')[2].partition(' is working')[0]
        raise UserError(f'{place}: {who} drives these jobs already; see `paper-lib cluster status`') from None


def _drive(
    every: list[Step],
    planned: list[Job],
    site: Site,
    store: Store,
    driver: Lease,
    program: str,
    say: Callable[[str], None],
) -> None:
    still = 0  # rounds that were broken off before anything moved
    while todo := [step for step in every if not is_done(step, store)]:
        _check_stop(store)
        driver.check()
        live = alive(todo, site, store)
        ready = without(todo, live)
        if not ready:
            say(f'waiting for {len(live)} jobs that were submitted before')
            _rest(todo, live, math.inf, site, store, driver)
            continue
        before = _progress(todo, store)
        of_ready = _progress(ready, store)
        plan = workflow.write(ready, planned, site, store)
        done = len(every) - len(todo)
        log = workflow.whole_log(store)
        say(f'{done} of {len(every)} jobs done, {len(ready)} for Snakemake; log: {log}')
        code = _round(program, plan, ready, site, store, driver)
        live = alive(todo, site, store)
        if live and _progress(ready, store) == of_ready:  # the same jobs would fail again at once
            _rest(todo, live, PAUSE, site, store, driver)
        if live or _progress(todo, store) != before:
            still = 0
            continue
        still += 1
        if code >= 0 or still > site.retries:
            raise RunError(_unfinished(ready, code, store))


def _rest(todo: list[Step], live: set[str], seconds: float, site: Site, store: Store, driver: Lease) -> None:
    """Wait until other steps are alive than these, but no longer than so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if alive((step for step in todo if not is_done(step, store)), site, store) != live:
            return
        _check_stop(store)
        driver.check()
        time.sleep(site.seconds)


def _unfinished(ready: list[Step], code: int, store: Store) -> str:
    """What to say when nothing moves any more: how many steps failed, and the last line of the first one's log."""
    failed = [step for step in ready if not is_done(step, store)]
    lines = [f'{step.id}: {line}' for step in failed if (line := workflow.last_line(step.id, store))]
    reason = lines[0] if lines else f'see {workflow.whole_log(store)}'
    return f'{len(failed)} jobs are not finished (Snakemake ended with {code}); {reason}'


def alive(todo: Iterable[Step], site: Site, store: Store) -> set[str]:
    """Ids of the steps that something may still be working on: by the queue, or by the leases of their runs."""
    queued = {each.step for each in _queued(site, store) or ()}
    runs = set()  # those of jobs that were planned in another way, too
    for name in queued:
        with contextlib.suppress(RunError):
            runs.update(spec.run_id for spec in jobs.read(folder(store) / name / 'job.json').specs)
    found = set()
    for step in todo:
        is_held = any(spec.run_id in runs or store.status(spec) == 'running' for spec in step.specs)
        if step.id in queued or is_held:
            found.add(step.id)
    return found


def _queued(site: Site, store: Store) -> list[Queued] | None:
    """What `queue.jobs` returns. Jobs that it would hold for ever are taken out, and are gone the next time."""
    found = queue.jobs(site, folder(store))
    with contextlib.suppress(UserError):
        queue.cancel([each for each in found or () if each.reason == queue.HELD])
    return found


def without(todo: list[Step], live: Collection[str]) -> list[Step]:
    """The steps that need not wait for a live one. `todo` has sources before followers."""
    blocked = set(live)
    ready = []
    for step in todo:
        if step.id in blocked or blocked & set(step.after):
            blocked.add(step.id)
        else:
            ready.append(step)
    return ready


def _progress(todo: list[Step], store: Store) -> dict[str, Any]:
    """What changes when anything moves: finished steps and runs, newest checkpoints, and what waits for what."""
    seen: dict[str, Any] = {'after': workflow.waits_for(todo, store)}
    for step in todo:
        seen[step.id] = is_done(step, store)
        for spec in step.specs:
            names = sorted(path.name for path in store.path(spec).glob('checkpoint-*.npz'))
            seen[spec.run_id] = (store.status(spec) == 'done', names)
    return seen


def _round(program: str, plan: Path, ready: list[Step], site: Site, store: Store, driver: Lease) -> int:
    """One call of Snakemake: its exit code. `cancel` ends it, and so does waiting for jobs that the queue has lost.

    It ends, too, when another process drives the jobs, because this one was suspended for a minute.
    """
    with open(workflow.whole_log(store), 'ab') as log:
        process = subprocess.Popen(
            workflow.command(program, plan, site, store),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        try:
            last_seen = time.monotonic()
            patience = IDLE + QUESTIONS * site.seconds
            while process.poll() is None:
                time.sleep(min(site.seconds, 5))
                if _stop_mark(store).exists():
                    _interrupt(process)
                    _check_stop(store)
                driver.check()
                queued = _queued(site, store)
                if queued is None or queued or alive(ready, site, store):
                    last_seen = time.monotonic()
                    patience = QUESTIONS * site.seconds
                elif time.monotonic() - last_seen > patience:
                    process.kill()  # not by a signal that it handles: it would cancel numbers that others may have now
            return process.returncode
        except KeyboardInterrupt:
            _interrupt(process)
            raise
        finally:
            process.kill()
            process.wait()


def _interrupt(process: subprocess.Popen) -> None:
    """Let Snakemake take its jobs out of the queue. One that was started in the background ignores this signal."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END)


def _die_with_parent() -> None:
    """In the process of Snakemake: a driver that is killed leaves none behind that submits more (on Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def cancel(site: Site, store: Store, say: Callable[[str], None]) -> None:
    """Stop the process that drives the jobs, and take them out of the queue. What is finished stays.

    Raises UserError where the queue cannot be asked, after the process was stopped.
    """
    driver = folder(store) / 'driver.json'
    if driver.exists() and lease.alive(driver):
        files.write_bytes(_stop_mark(store), b'')
        say('waiting for the process that drives the jobs')
        while lease.alive(driver):
            time.sleep(1)
    queued = queue.jobs(site, folder(store))
    if queued is None:
        tried = 'squeue' if site.engine == 'slurm' else f'the queue of engine {site.engine}'
        raise UserError(f'{tried}: no answer on this machine; if jobs of {folder(store)} are left, they go on')
    queue.cancel(queued)
    say(f'{len(queued)} jobs taken out of the queue; `paper-lib cluster submit` goes on with them')


def _stop_mark(store: Store) -> Path:
    return folder(store) / 'cancel'


def _check_stop(store: Store) -> None:
    if _stop_mark(store).exists():
        raise RunError('cancelled by `paper-lib cluster cancel`; `paper-lib cluster submit` goes on')
