"""Runs the jobs of a study, and then its notebooks, with Snakemake on the machines of a site.

Snakemake is called in rounds. It knows nothing of the jobs that an earlier call has submitted, and it waits for ever
for a job that the queue has lost. So each round is made of what is not finished now, and leaves out what may still be
running. Whatever dies, the next round, or the same command again, goes on from what is finished. The leases of the runs
keep writers apart where the queue is wrong.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from paper_lib.contract import files
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.lease import Busy, Lease
from paper_lib.data.store import Store
from paper_lib.engine import jobs, queue
from paper_lib.engine.jobs import Job
from paper_lib.engine.site import Site

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = ROOT / 'workflow' / 'Snakefile'
OWN = ROOT / '.venv-cluster' / 'bin' / 'snakemake'  # of `make cluster`
OLDEST = (9, 27)
NOTEBOOK_MINUTES = 120
NOTEBOOK_MEMORY = 8 * 10**9
END = 20.0  # seconds that Snakemake has to end when it is told to
PR_SET_PDEATHSIG = 1  # of prctl
# How long nothing of ours may be in the queue while Snakemake waits: as long as some questions to the queue take, and
# before the first job some seconds more. Snakemake asks more and more seldom, and for lost jobs without end.
QUESTIONS = 5
IDLE = 90.0
PAUSE = 300.0  # seconds until jobs that failed are given again while nothing changes: the reason may have passed


@dataclasses.dataclass(frozen=True)
class Step:
    """What Snakemake runs as one job: a job that trains, or a notebook after them."""

    id: str
    after: tuple[str, ...]
    command: str
    cores: int
    gpus: int
    megabytes: int
    minutes: int
    specs: tuple[RunSpec, ...] = ()  # of a notebook none


def folder(store: Store) -> Path:
    """Where jobs, their logs and what drives them lie: beside the runs, which all machines see."""
    return store.root.absolute() / 'jobs'


def steps(
    planned: list[Job], notebooks: dict[str, list[RunSpec]], site: Site, store: Store, options: str, figures: Path
) -> list[Step]:
    """The jobs, and the notebooks that need these runs.

    `options` are those of every notebook's command. `figures` is the folder that notebooks draw into; it is named in
    the command, because jobs work in another folder than the caller and may not get its environment.
    """
    runs = shlex.quote(str(store.root.absolute()))
    drawing = f'env PAPER_LIB_FIGURES={shlex.quote(str(figures.absolute()))}'
    made = []
    for job in planned:
        path = shlex.quote(str(folder(store) / job.id / 'job.json'))
        command = f'{site.workers} work {path} --runs {runs}'
        minutes = min(job.minutes, site.longest)
        memory = job.memory // 10**6
        made.append(Step(job.id, job.after, command, job.cores, job.gpus, memory, minutes, job.specs))
    job_of = {spec: step.id for step in made for spec in step.specs}
    for name, specs in notebooks.items():
        after = tuple(dict.fromkeys(job_of[spec] for spec in specs if spec in job_of))
        command = f'{drawing} {site.workers} notebooks {name} --runs {runs} {options}'
        minutes = min(NOTEBOOK_MINUTES, site.longest)
        made.append(Step(f'notebook_{name}', after, command, 1, 0, NOTEBOOK_MEMORY // 10**6, minutes))
    return made


def document(todo: list[Step], store: Store) -> dict[str, Any]:
    """The plan that the Snakefile reads: the steps of a round, without those that are finished."""
    after = _after(todo, store)
    listed = []
    for step in todo:
        values = dataclasses.asdict(dataclasses.replace(step, specs=()))
        values['specs'] = [spec.run_id for spec in step.specs]
        values['after'] = after[step.id]
        listed.append(values)
    return {'folder': str(folder(store)), 'jobs': listed}


def _after(todo: list[Step], store: Store) -> dict[str, list[str]]:
    """Id of each step -> those of `todo` that it waits for.

    A job does not wait for another of which all that it needs is finished or has failed: it trains what it can, and
    one run that diverged does not stop the followers of all runs that were packed with it.
    """
    names = {step.id for step in todo}
    trained_by = {spec.run_id: step.id for step in todo for spec in step.specs}
    waits = {}
    for step in todo:
        sources = {spec.source.run_id: spec.source for spec in step.specs if isinstance(spec.source, RunSpec)}
        ended = {name for name, source in sources.items() if store.status(source) in ('done', 'failed')}
        needed = {trained_by.get(name) for name in sources.keys() - ended}
        waits[step.id] = [name for name in step.after if name in (needed if step.specs else names)]
    return waits


def is_done(step: Step, store: Store) -> bool:
    """Whether a step is finished: its runs are, or the notebook has been executed."""
    if step.specs:
        return all(store.status(spec) == 'done' for spec in step.specs)
    return _marker(step, store).exists()


def _marker(step: Step, store: Store) -> Path:
    """The output that Snakemake knows of. It says nothing that the runs do not say."""
    return folder(store) / step.id / 'done.json'


def write(todo: list[Step], planned: list[Job], site: Site, store: Store) -> Path:
    """Write the plan of a round, and a file for each of its jobs. Returns the plan's path.

    Every job reads the plan again when it begins, and one that waits in the queue may begin when another plan was
    written: so each has a file of its own, which does not change.
    """
    by_id = {job.id: job for job in planned}
    content = json.dumps(document(todo, store), indent=0).encode()
    path = folder(store) / f'plan_{hashlib.sha256(content).hexdigest()[:16]}.json'
    with files.guard(path):
        for step in todo:
            place = path.parent / step.id
            place.mkdir(parents=True, exist_ok=True)
            _marker(step, store).unlink(missing_ok=True)
            if step.id in by_id and not _is_written(place / 'job.json', by_id[step.id]):
                jobs.write(place / 'job.json', by_id[step.id])
    files.write_bytes(path.with_name(SNAKEFILE.name), SNAKEFILE.read_bytes())  # all machines see it here
    files.write_bytes(path, content)
    return path


def _is_written(path: Path, job: Job) -> bool:
    try:
        return jobs.read(path) == job
    except RunError:
        return False


def submit(every: list[Step], planned: list[Job], site: Site, store: Store, say: Callable[[str], None]) -> None:
    """Run the steps until all are finished. The same call may be given again at any moment.

    Raises UserError if another process does this already, RunError if steps fail and nothing moves any more.
    """
    program = snakemake(site)
    with driving(store) as driver:
        _stop_mark(store).unlink(missing_ok=True)
        for step in every:
            if not step.specs:  # what it draws may have changed
                _marker(step, store).unlink(missing_ok=True)
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
    said = ''
    still = 0  # rounds that were broken off before anything moved
    tried = None  # what was alive when the last round had ended, and how far its jobs had been before it
    ended = 0.0  # when that was
    while todo := [step for step in every if not is_done(step, store)]:
        _check_stop(store)
        driver.check()
        live = alive(todo, site, store)
        ready = without(todo, live)
        is_same = bool(live) and tried == (live, _progress(ready, store))
        if not ready or (is_same and time.monotonic() - ended < PAUSE):
            text = f'waiting for {len(live)} jobs that were submitted before'
            if text != said:
                say(text)
            said = text
            time.sleep(site.seconds)
            continue
        before = _progress(todo, store)
        of_ready = _progress(ready, store)
        plan = write(ready, planned, site, store)
        say(f'{len(every) - len(todo)} of {len(every)} jobs done, {len(ready)} for Snakemake; log: {_log(store)}')
        code = _round(program, plan, ready, site, store, driver)
        live = alive(todo, site, store)
        tried = (live, of_ready)
        ended = time.monotonic()
        if _progress(todo, store) != before or live:
            still = 0
            continue
        still += 1
        if code >= 0 or still > site.retries:
            failed = [step for step in ready if not is_done(step, store)]
            lines = [f'{step.id}: {last_line(step.id, store)}' for step in failed if last_line(step.id, store)]
            reason = lines[0] if lines else f'see {_log(store)}'
            raise RunError(f'{len(failed)} jobs are not finished (Snakemake ended with {code}); {reason}')


def alive(todo: Iterable[Step], site: Site, store: Store) -> set[str]:
    """Ids of the steps that something may still be working on: by the queue, or by the leases of their runs."""
    queued = {each.step for each in queue.jobs(site, folder(store)) or ()}
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
    seen: dict[str, Any] = {'after': _after(todo, store)}
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
    with open(_log(store), 'ab') as log:
        process = subprocess.Popen(
            command(program, plan, site, store),
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
                queued = queue.jobs(site, folder(store))
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


def command(program: str, plan: Path, site: Site, store: Store) -> list[str]:
    """The call of Snakemake for a plan."""
    place = folder(store)
    line = [program, '--snakefile', str(place / SNAKEFILE.name), '--directory', str(place), '--config', f'plan={plan}']
    line += ['--jobs', str(site.at_once), '--resources', 'archive=1', '--keep-going', '--retries', str(site.retries)]
    line += ['--scheduler', 'greedy', '--rerun-triggers', 'mtime', 'input', '--rerun-incomplete']
    line += ['--nolock', '--latency-wait', '60']
    line += ['--executor', site.engine]
    if site.engine == 'slurm':
        line += ['--slurm-requeue', '--slurm-logdir', str(place / 'slurm'), '--slurm-keep-successful-logs']
        line += ['--slurm-jobname-prefix', queue.prefix(place)]
        line += ['--slurm-init-seconds-before-status-checks', str(site.seconds)]
        line += ['--slurm-status-command', 'sacct' if queue.keeps_accounts() else 'squeue']
        line += ['--default-resources']
        line += [f'slurm_partition={site.partition}'] if site.partition else []
        line += [f'slurm_account={site.account}'] if site.account else []
        if not site.account:
            line += ['--slurm-no-account']
    if site.engine == 'kubernetes':
        line += ['--kubernetes-namespace', site.namespace, '--container-image', site.image]
        line += ['--kubernetes-persistent-volumes', site.volume]
        line += ['--default-storage-provider', 'fs', '--default-storage-prefix', str(place / 'storage')]
        line += ['--set-resources', 'work:gpu_manufacturer=nvidia', 'work:scale=0']
    elif site.gpu_type:
        line += ['--set-resources', f'work:gpu_model={site.gpu_type}']
    return line


def snakemake(site: Site) -> str:
    """The Snakemake to call. Raises UserError, one line, if there is none or it is too old."""
    chosen = site.snakemake or (str(OWN) if OWN.exists() else shutil.which('snakemake'))
    if not chosen:
        raise UserError('snakemake: not found; `make cluster` installs it, or name yours in the site file')
    try:
        answer = subprocess.run([chosen, '--version'], capture_output=True, text=True, timeout=120)
        version = tuple(int(part) for part in answer.stdout.strip().split('.')[:2])
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UserError(f'snakemake={chosen!r}: does not run ({error})') from None
    if version < OLDEST:
        oldest = '.'.join(map(str, OLDEST))
        raise UserError(f'snakemake={chosen!r}: is {answer.stdout.strip()}, must be {oldest} or newer')
    return chosen


def cancel(site: Site, store: Store, say: Callable[[str], None]) -> None:
    """Stop the process that drives the jobs, and take them out of the queue. What is finished stays.

    Raises UserError where the queue cannot be asked, after the process was stopped.
    """
    from paper_lib.data.lease import alive as held

    driver = folder(store) / 'driver.json'
    if driver.exists() and held(driver):
        files.write_bytes(_stop_mark(store), b'')
        say('waiting for the process that drives the jobs')
        while held(driver):
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


def _log(store: Store) -> Path:
    return folder(store) / 'snakemake.log'


def log(step_id: str, store: Store) -> Path:
    """The log of a step: what its command printed, of all attempts."""
    return folder(store) / step_id / 'log.txt'


def last_line(step_id: str, store: Store) -> str:
    """The last line of a step's log; '' if there is none."""
    try:
        with open(log(step_id, store), 'rb') as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode(errors='replace').strip().splitlines()
    except OSError:
        return ''
    return lines[-1].strip() if lines else ''
