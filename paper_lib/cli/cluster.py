"""Commands for machines beyond this one: what a study costs there, its jobs, and what becomes of them."""

import dataclasses
import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from paper_lib.cli.options import NAMED, Folder, Input, Json, Scale, show
from paper_lib.contract.errors import RunError, UserError, choose
from paper_lib.contract.spec import RunSpec

if TYPE_CHECKING:
    from paper_lib.data.attempts import Note
    from paper_lib.data.store import Store
    from paper_lib.engine.jobs import Job
    from paper_lib.engine.queue import Queued
    from paper_lib.engine.site import Site
    from paper_lib.engine.workflow import Step

SiteFile = Annotated[
    Path | None,
    NAMED,
    tyro.conf.arg(metavar='FILE', help='settings of the cluster; see workflow/', help_behavior_hint='(default: none)'),
]
Names = tyro.conf.Positional[
    Annotated[
        tuple[str, ...], tyro.conf.arg(metavar='[NOTEBOOK ...]', help='which (all, if none)', help_behavior_hint='')
    ]
]


@dataclasses.dataclass(frozen=True)
class Work:
    """Train the runs of one job that are not finished. The jobs of a cluster call this.

    The command may be repeated, even while it runs. Finished runs stay, unfinished runs resume, and a run that another
    process is working on is left to that process.
    """

    job: tyro.conf.Positional[Input]
    """a job.json of `paper-lib cluster submit`"""
    runs: Folder = None

    def __call__(self) -> None:
        from paper_lib.data.store import Store
        from paper_lib.engine import ensure, jobs

        job = jobs.read(self.job)
        ensure.work(job, Store(self.runs))
        print(f'done: {len(job.specs)} runs of {job.id}')


@dataclasses.dataclass(frozen=True)
class _Study:
    """The jobs of a scale's notebooks on a site."""

    notebooks: dict[str, list[RunSpec]]  # the runs that each draws and that are in no archive
    site: 'Site'
    store: 'Store'

    def plan(self, specs: list[RunSpec]) -> 'list[Job]':
        """The jobs of these runs. Those that were interrupted go on with the runs that they were begun with."""
        from paper_lib.engine import jobs

        return jobs.plan(specs, self.site.lanes, self.site.pack, self.site.machine, self._begun)

    @functools.cached_property
    def _specs(self) -> list[RunSpec]:
        return list(dict.fromkeys(spec for specs in self.notebooks.values() for spec in specs))

    @functools.cached_property
    def _begun(self) -> dict[str, tuple[str, ...]]:
        from paper_lib.engine import jobs

        return jobs.begun(self._specs, self.store)

    @functools.cached_property
    def planned(self) -> 'list[Job]':
        """The jobs of all notebooks together."""
        return self.plan(self._specs)

    @property
    def done(self) -> set[RunSpec]:
        return {spec for spec in self._specs if self.store.status(spec) == 'done'}

    def row(self, name: str, planned: 'list[Job]', done: set[RunSpec]) -> dict[str, Any]:
        """The row of these jobs in the table of `cluster plan`."""
        from paper_lib.engine import jobs, outlook

        return outlook.row(name, jobs.left(planned, done, self.site.machine), len(done), self.site)

    def steps(self, scale: str, seeds: int) -> 'list[Step]':
        from paper_lib.engine import workflow
        from paper_lib.study import paths

        options = f'--scale {scale} --parameter train no'
        if seeds:
            options += f' --parameter seeds {seeds}'
        return workflow.steps(self.planned, self.notebooks, self.site, self.store, options, paths.figures())


@dataclasses.dataclass(frozen=True)
class _Common:
    """What the commands share."""

    names: Names = ()
    scale: Scale = 'paper'
    seeds: int = 0  # pairs of every agent; 0: as many as the scale says
    site: SiteFile = None
    runs: Folder = None

    def study(self) -> _Study:
        """Raises UserError for a wrong name or value, and for a mistake in the site file."""
        from paper_lib.data.store import Store
        from paper_lib.engine import site as sites
        from paper_lib.study import book

        site = sites.read(self.site) if self.site else sites.Site()
        store = Store(self.runs)
        books = {each.name: each for each in book.every({'scale': self.scale, 'seeds': self.seeds}, store)}
        chosen = [choose('notebook', name, books) for name in self.names or books]
        notebooks = {each.name: each.needs() for each in chosen}
        return _Study(notebooks, site, store)


@dataclasses.dataclass(frozen=True)
class Plan(_Common):
    """Print what the notebooks of a scale would cost on a site, each alone and all together. Nothing is submitted."""

    write: bool = False  # write the jobs and the plan too, for a Snakemake that you call yourself
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.engine import driver, outlook, workflow

        study = self.study()
        if self.write:
            steps = [step for step in study.steps(self.scale, self.seeds) if not workflow.is_done(step, study.store)]
            with driver.driving(study.store):
                path = workflow.write(steps, study.planned, study.site, study.store)
            print(f'{len(steps)} jobs written: {path}', file=sys.stderr)
        done = study.done
        rows = []
        for name, specs in study.notebooks.items():
            rows.append(study.row(name, study.plan(specs), done.intersection(specs)))
        rows.append(study.row('together', study.planned, done))
        show(rows, self.json)
        print(outlook.terms(study.site), file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Submit(_Common):
    """Run the jobs of the notebooks on a site, then the notebooks; return when all is done.

    If anything dies meanwhile, even this process, give the same command again.
    """

    def __call__(self) -> None:
        from paper_lib.engine import driver
        from paper_lib.engine import site as sites

        if not self.site:
            raise UserError('site: none given; name the file with --site (workflow/ has examples)')
        study = self.study()
        steps = study.steps(self.scale, self.seeds)
        sites.check_queue(study.site, max(step.megabytes for step in steps))
        driver.submit(steps, study.planned, study.site, study.store, lambda line: print(line, flush=True))
        print(f'done: {len(steps)} jobs')


@dataclasses.dataclass(frozen=True)
class Status(_Common):
    """Show which runs are done, running, waiting or failed: first by the run store, then by the queue."""

    json: Json = False

    def __call__(self) -> None:
        study = self.study()
        rows = _states(study)
        if self.json:
            return show(rows, True)
        counts: dict[str, int] = {}
        for row in rows:
            counts[row['state']] = counts.get(row['state'], 0) + 1
        print(', '.join(f'{count} {state}' for state, count in counts.items()) or 'no runs')
        show([row for row in rows if row['state'] not in ('done', 'planned')], False)


def _states(study: _Study) -> list[dict[str, Any]]:
    """One row per run."""
    from paper_lib.data import attempts
    from paper_lib.engine import queue, workflow

    answer = queue.jobs(study.site, workflow.folder(study.store))
    if answer is None:
        print('no queue answers on this machine; this is what the runs say alone', file=sys.stderr)
    queued = {each.step: each for each in answer or ()}
    rows = []
    for job in study.planned:
        for spec in job.specs:
            notes = attempts.read(study.store.path(spec))
            state, detail = _state(spec, job.id, study.store, notes, queued.get(job.id))
            if late := attempts.two_writers(notes):
                detail = f'TWO WRITERS: attempt {late[0].attempt} wrote after a later one had begun; {detail}'
            rows.append({'state': state, 'run_id': spec.run_id, 'job': job.id, 'detail': detail})
    return rows


def _state(spec: RunSpec, job_id: str, store: 'Store', notes: 'list[Note]', queued: 'Queued | None') -> tuple[str, str]:
    """The state of a run, and what is to be said of it."""
    from paper_lib.engine import workflow

    status = store.status(spec)
    if status == 'done':
        return status, ''
    if status == 'running':
        begun = [note for note in notes if note.event == 'begin']
        if not begun:
            return status, ''
        since = time.strftime('%Y-%m-%d %H:%M', time.localtime(begun[-1].time))
        return status, f'on {begun[-1].host} since {since}'
    if queued:
        return 'queued', f'{queued.state.lower()}, {queued.elapsed} {queued.node}'.rstrip()
    if status == 'failed':
        return status, store.failure(spec) or ''
    if isinstance(spec.source, RunSpec) and store.status(spec.source) != 'done':
        return 'waiting', f'for its source {spec.source.run_id}'
    line = workflow.last_line(job_id, store)
    if line.startswith('error: '):
        return 'failed', line
    return 'planned' if status == 'missing' else status, line


@dataclasses.dataclass(frozen=True)
class Cancel:
    """Stop the process that drives the jobs, and take its jobs out of the queue. What is finished stays."""

    site: SiteFile = None
    runs: Folder = None

    def __call__(self) -> None:
        from paper_lib.data.store import Store
        from paper_lib.engine import driver
        from paper_lib.engine import site as sites

        site = sites.read(self.site) if self.site else sites.Site()
        driver.cancel(site, Store(self.runs), lambda line: print(line, flush=True))


@dataclasses.dataclass(frozen=True)
class Logs:
    """Print the log of the job that a run is in."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar='RUN')]
    """the id of a run or its beginning, or the name of a notebook"""
    runs: Folder = None

    def __call__(self) -> None:
        from paper_lib.data.store import Store
        from paper_lib.engine import jobs, workflow

        store = Store(self.runs)
        place = workflow.folder(store)
        found = {}
        for path in sorted(place.glob('*/log.txt')):
            names = [path.parent.name]
            try:
                names += [spec.run_id for spec in jobs.read(path.parent / 'job.json').specs]
            except RunError:
                names.append(path.parent.name.removeprefix('notebook_'))
            if any(name.startswith(self.run) for name in names):
                found[path.parent.name] = path
        if not found:
            raise UserError(f'run={self.run!r}: no job with a log in {place} has it')
        for path in found.values():
            print(f'{path}:\n{path.read_text(errors="replace")}', end='')


@dataclasses.dataclass(frozen=True)
class Collect:
    """Merge finished runs of other machines into figures/data: run folders (runs/) or archives (figures/data/SCALE).

    A run that is archived already stays as it is. Runs of a pair must be of the same code and hardware.
    """

    folders: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar='FOLDER [FOLDER ...]', help_behavior_hint='')
    ]
    """folders of these runs or archives"""
    scale: Scale = 'paper'
    seeds: int = 0  # pairs of every agent; 0: as many as the scale says
    mixed: bool = False  # runs of a pair may be of different code or hardware
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.data.store import Store
        from paper_lib.study import merge, paths, plan, scales

        if not self.folders:
            raise UserError('folder: none given; name folders of runs, or archives (figures/data/SCALE)')
        for folder in self.folders:
            if not folder.is_dir():
                raise UserError(f'folder={str(folder)!r}: is not a folder')
        scale = scales.get(self.scale)
        specs_of = {}
        parts_of: dict[str, list[merge.Tables]] = {}
        fruitful = set()
        for chapter in scale.chapters:
            specs = specs_of[chapter] = plan.specs(chapter, scale, self.seeds, optional=True)
            parts = parts_of[chapter] = []
            for folder in self.folders:
                if any(folder.glob('*_manifest.json')):
                    parts.append(merge.of_archive(specs, folder, chapter))
                else:
                    parts.append(merge.of_store(specs, Store(folder), chapter))
                if any(map(len, parts[-1].values())):
                    fruitful.add(folder)
        for folder in self.folders:
            if folder not in fruitful:
                advice = f'name an archive (figures/data/{self.scale}) or a folder of runs'
                raise UserError(f'folder={str(folder)!r}: holds no finished run of scale {self.scale}; {advice}')
        target = paths.archive(self.scale)
        if not self.mixed:
            for chapter, specs in specs_of.items():  # all, before the first is written
                merge.check(specs, parts_of[chapter], target, chapter)
        counts: dict[tuple[str, merge.Origin], int] = {}
        for chapter, specs in specs_of.items():
            new = merge.add(specs, parts_of[chapter], target, chapter, self.mixed)
            for origin, count in merge.origins(new).items():
                counts[chapter, origin] = count
        rows = []
        for (chapter, origin), count in counts.items():
            rows.append({'chapter': chapter, 'runs': count, 'code': origin.code, 'hardware': origin.hardware})
        if rows or self.json:
            return show(rows, self.json)
        print('no run that is not archived already')


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Train a study on a cluster with Snakemake: docs/cluster.md explains every step."""

    do: Annotated[
        tyro.conf.OmitSubcommandPrefixes[Plan | Submit | Status | Cancel | Logs | Collect], tyro.conf.arg(name='')
    ]

    def __call__(self) -> int | None:
        return self.do()
