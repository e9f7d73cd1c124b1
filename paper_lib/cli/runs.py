"""Commands that train runs, show them and tidy up."""

import dataclasses
import sys
from typing import Annotated

import tyro

from paper_lib.cli.options import Folder, Json, ModelValues, RunValues, Scale, given, show
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one run, after the source that it learns from. Called again it resumes; a finished run is checked."""

    task: str  # see `paper-lib tasks`
    agent: str = 'active'  # see `paper-lib agents`
    seed: int = 0  # of the pair: the online run's, or that of an offline run's source
    scale: Scale = 'laptop'
    chapter: Annotated[str, tyro.conf.arg(help_behavior_hint='(default: the first that has this run)')] = ''
    """whose values: base_agent, toy_maze or study"""
    size: Annotated[str | None, tyro.conf.arg(metavar='STR', help_behavior_hint='(default: as the scale)')] = None
    """another model: see `paper-lib sizes`"""
    values: Annotated[RunValues, tyro.conf.arg(name='')] = dataclasses.field(default_factory=RunValues)
    model: ModelValues = dataclasses.field(default_factory=ModelValues)
    runs: Folder = None
    workers: int = 0  # processes; 0: one per core, or one where there is a GPU
    dry_run: bool = False  # show what would be trained, and what it costs; refuses what training would
    json: Json = False  # with --dry-run

    def specs(self) -> list[RunSpec]:
        """The run after its source. Raises UserError for a wrong name or value."""
        from paper_lib.study import plan, scales
        from paper_lib.study.names import choose

        scale = scales.get(self.scale)
        if self.chapter and self.task not in scale.tasks(self.chapter):
            raise UserError(f'chapter={self.chapter!r}: has no {self.task} at scale {self.scale}')
        model = {} if self.size is None else dataclasses.asdict(choose('size', self.size, scales.sizes()))
        values = given(self.values) | {'model': model | given(self.model)}
        spec = plan.make(self.agent, self.task, self.seed, scale, self.chapter, **values)
        return [spec.source, spec] if spec.source else [spec]

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.engine import ensure

        specs, store = self.specs(), Store(self.runs)
        if self.json and not self.dry_run:
            raise UserError('json=True: training prints no table; only with --dry-run')
        self._say_chapter()
        done = [spec for spec in specs if store.status(spec) == 'done']
        specs = done if specs[-1] in done else specs  # its source is not needed again, wherever that is
        for spec in done:
            store.require(spec).verify()
        if self.dry_run:
            from paper_lib.run.backend import check_device
            from paper_lib.run.cost import check_space, cost

            check_device()
            missing = [
                spec for spec in ensure.unfinished(specs, store, self.workers) if store.status(spec) == 'missing'
            ]
            workers, lanes = ensure.layout()
            check_space(missing, store.root, (self.workers or workers) * lanes)
            return show([{'run_id': s.run_id, 'state': store.status(s)} | cost(s) for s in specs], self.json)
        ensure.ensure(specs, store, self.workers)
        print(f'done: {store.path(specs[-1])}')

    def _say_chapter(self):
        """Where chapters train this task with other values, say whose these are."""
        from paper_lib.study import scales

        scale = scales.get(self.scale)
        having = {entry.chapter for entry in scale.planned if self.task in entry.tasks}
        if not self.chapter and len(having) > 1:
            taken = scale.chapter_of(self.task, self.agent)
            text = f'{self.task} is trained in chapters {", ".join(sorted(having))}; these are the values of {taken}'
            print(f'{text}, see --chapter', file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Runs:
    """Show the state of every run of the study.

    With a result it is done (on this machine) or archived (in figures/data); begun, it is running, partial or failed.
    The others are planned, or optional: those are trained by `-p train all` only.
    """

    scale: Scale = 'laptop'
    runs: Folder = None
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.study import archive, paths, plan, scales

        store, scale, rows = Store(self.runs), scales.get(self.scale), []
        planned = plan.planned(scale)
        for chapter in scale.chapters:
            specs = plan.specs(chapter, scale, optional=True)
            states = archive.state(specs, store, paths.archive(self.scale), chapter, planned).state
            for spec, state in zip(specs, states):
                rows.append({'chapter': chapter, 'task': spec.task, 'agent': spec.agent,
                             'pair_seed': spec.pair_seed, 'state': state, 'run_id': spec.run_id,
                             'reason': _failure(store, spec)})  # fmt: skip
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Prune:
    """Drop the replays of a scale's plan that no unfinished run will read; without --yes, only list them.

    By default every replay is kept: new runs may want its data. The run stays, and its metrics and weights. To have a
    replay again, delete the run and those that learned from it, and train them again.
    """

    scale: Scale = 'laptop'
    runs: Folder = None
    yes: bool = False  # delete, and do not only list
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.study import plan, scales

        store, scale = Store(self.runs), scales.get(self.scale)
        specs = list(dict.fromkeys(x for chapter in scale.chapters for x in plan.specs(chapter, scale, optional=True)))
        done = [spec for spec in specs if store.status(spec) == 'done']
        needed = store.needed() | {spec.source.run_id for spec in specs if spec.source and spec not in done}
        sizes = {spec: store.require(spec).size() for spec in done if spec.run_id not in needed}
        rows = []
        for spec, size in sizes.items():
            if size:
                if self.yes:
                    store.drop_replay(spec)
                rows.append({'run_id': spec.run_id, 'MB': round(size / 1e6, 1), 'dropped': self.yes})
        if rows or self.json:
            return show(rows, self.json)
        print(f'{store.root}: ' + ('no replay to drop' if store.root.is_dir() else 'no such folder, nothing to drop'))


def _failure(store, spec):
    """Why a run stopped, '' if it did not."""
    try:
        return store.failure(spec) or ''
    except RunError as error:
        return str(error)
