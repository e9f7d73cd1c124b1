"""What Snakemake is given: the jobs of a study and then its notebooks as steps, a plan of them, and a command line."""

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from paper_lib.contract import files
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
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
    waits = waits_for(todo, store)
    listed = []
    for step in todo:
        values = dataclasses.asdict(dataclasses.replace(step, specs=()))
        values['specs'] = [spec.run_id for spec in step.specs]
        values['after'] = waits[step.id]
        listed.append(values)
    return {'folder': str(folder(store)), 'jobs': listed}


def waits_for(todo: list[Step], store: Store) -> dict[str, list[str]]:
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
    return marker(step, store).exists()


def marker(step: Step, store: Store) -> Path:
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
            marker(step, store).unlink(missing_ok=True)
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


def whole_log(store: Store) -> Path:
    """The log of Snakemake itself."""
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
