"""Commands that train runs, list them and delete replays."""

import collections
import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import tyro

from paper_lib.cli.data import fitting, refuse_run
from paper_lib.cli.options import Folder, Json, Markdown, ModelValues, RunValues, Scale, given, show
from paper_lib.contract import agents
from paper_lib.contract.errors import RunError, UserError, choose
from paper_lib.contract.spec import RunSpec

if TYPE_CHECKING:
    from paper_lib.contract import scales
    from paper_lib.data.store import Store

Filter = Annotated[str | None, tyro.conf.arg(metavar='STR', help_behavior_hint='(default: all)')]


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one run, after the source that it learns from.

    The same command resumes an unfinished run, and checks the files of a finished one.

    In the texts below, v1 is DreamerV3 of January 2023, and Eq., Alg. and A. are of the paper. An option marked
    [switch] is not in v1, or departs from v1's algorithm.
    """

    task: str  # see `paper-lib tasks`
    agent: str = 'active'  # see `paper-lib agents`
    seed: int = 0  # pair seed: the seed of an online run, or of the source of an offline run
    scale: Scale = 'laptop'
    chapter: Annotated[str, tyro.conf.arg(help_behavior_hint='(default: the first that has this run)')] = ''
    """the chapter that gives the values: base_agent, toy_maze or study"""
    size: Annotated[str | None, tyro.conf.arg(metavar='STR', help_behavior_hint='(default: as the scale)')] = None
    """a model size: see `paper-lib sizes`"""
    dataset: Annotated[str, tyro.conf.arg(metavar='DATA', help_behavior_hint='')] = ''
    """a file, a folder or a Minari id that an offline agent learns from instead of a run; see docs/your_data.md"""
    values: Annotated[RunValues, tyro.conf.arg(name='')] = dataclasses.field(default_factory=RunValues)
    model: ModelValues = dataclasses.field(default_factory=ModelValues)
    runs: Folder = None
    workers: int = 0  # number of processes; 0: one per core, or one if there is a GPU
    dry_run: bool = False  # show what would be trained, and its cost; hours are those of one core in archived runs
    json: Json = False  # with --dry-run

    def specs(self) -> list[RunSpec]:
        """The run, preceded by its source if it has one. Raises UserError for a wrong name or value."""
        from paper_lib.data import datasets, formats
        from paper_lib.data.store import Store
        from paper_lib.study import plan, scales

        scale = scales.get(self.scale)
        if self.chapter and self.task not in scale.tasks(self.chapter):
            raise UserError(f'chapter={self.chapter!r}: has no {self.task} at scale {self.scale}')
        model = {} if self.size is None else dataclasses.asdict(choose('size', self.size, scales.sizes()))
        values = given(self.values) | {'model': model | given(self.model)}
        dataset = None
        if self.dataset:
            refuse_run(self.dataset, Store(self.runs).root)
            dataset = datasets.describe(formats.title(self.dataset), self.task, fitting(self.dataset, self.task)[0])
        spec = plan.make(self.agent, self.task, self.seed, scale, self.chapter, dataset, **values)
        return [spec.source, spec] if isinstance(spec.source, RunSpec) else [spec]

    def __call__(self):
        from paper_lib.data import datasets
        from paper_lib.data.store import Store
        from paper_lib.engine import ensure

        specs = self.specs()
        store = Store(self.runs)
        if self.json and not self.dry_run:
            raise UserError('json=True: training prints no table; only with --dry-run')
        self._say_chapter()
        if self.dataset and not self.dry_run:
            ensure.unfinished(specs, store, self.workers)  # raises for what would stop the training
            datasets.add(store.root, specs[-1].source.name, self.task, fitting(self.dataset, self.task)[0])
        done = [spec for spec in specs if store.status(spec) == 'done']
        if specs[-1] in done:
            specs = done  # the source of a finished run is not needed again
        for spec in done:
            store.require(spec).verify()
        if self.dry_run:
            from paper_lib.run.backend import check_device
            from paper_lib.run.cost import check_space, cost
            from paper_lib.study import rates, scales

            check_device()
            unfinished = ensure.unfinished(specs, store, self.workers)
            missing = [spec for spec in unfinished if store.status(spec) == 'missing']
            workers, lanes = ensure.layout()
            check_space(missing, store.root, (self.workers or workers) * lanes)
            rows = []
            measured = rates.measured(scales.get(self.scale))
            for spec in specs:
                hours = rates.hours([spec], measured)
                of_one_core = {'hours': None if hours is None else round(hours, 2)}
                rows.append({'run_id': spec.run_id, 'state': store.status(spec)} | cost(spec) | of_one_core)
            return show(rows, self.json)
        ensure.ensure(specs, store, self.workers)
        print(f'done: {store.path(specs[-1])}')

    def _say_chapter(self) -> None:
        """Say which chapter gives the values, if several chapters train this task."""
        from paper_lib.study import scales

        scale = scales.get(self.scale)
        chapters = sorted({entry.chapter for entry in scale.planned if self.task in entry.tasks})
        if not self.chapter and len(chapters) > 1:
            chosen = scale.chapter_of(self.task, self.agent)
            text = f'{self.task} is trained in chapters {", ".join(chapters)}; these are the values of {chosen}'
            print(f'{text}, see --chapter', file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class Runs:
    """Count the runs of the study in every state, and list each run with its state.

    A run with a result is done (on this machine) or archived (in figures/data). A run that was begun is running,
    partial or failed. All others are planned or optional; only `-p train all` trains optional runs.
    """

    scale: Scale = 'laptop'
    task: Filter = None  # show only this task
    agent: Filter = None  # show only this agent, or this group of agents
    state: Filter = None  # show only the runs in this state
    runs: Folder = None
    markdown: Markdown = False
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.study import archive, paths, plan, scales

        store = Store(self.runs)
        scale = scales.get(self.scale)
        self._check_filters(scale)
        planned = plan.planned(scale)
        rows = []
        for chapter in scale.chapters:
            specs = [spec for spec in plan.specs(chapter, scale, optional=True) if self._wants(spec)]
            states = archive.state(specs, store, paths.archive(self.scale), chapter, planned).state
            for spec, state in zip(specs, states):
                if self.state in (None, state):
                    row = {
                        'chapter': chapter,
                        'task': spec.task,
                        'agent': spec.agent,
                        'pair_seed': spec.pair_seed,
                        'state': state,
                        'run_id': spec.run_id,
                        'reason': _failure(store, spec),
                    }
                    rows.append(row)
        if not self.json:
            counts = collections.Counter(row['state'] for row in rows)
            found = [f'{counts[state]} {state}' for state in archive.STATES if counts[state]]
            print(f'{len(rows)} runs: {", ".join(found)}\n' if rows else 'no such run')
        show(rows, self.json, self.markdown)

    def _check_filters(self, scale: 'scales.Scale') -> None:
        """Raise UserError for a filter that can match nothing, because its name is mistyped."""
        from paper_lib.study import archive

        names = dict.fromkeys(name for chapter in scale.chapters for name in scale.tasks(chapter))
        if self.task is not None:
            choose('task', self.task, names)
        if self.agent is not None:
            choose('agent', self.agent, agents.words())
        if self.state is not None:
            choose('state', self.state, dict.fromkeys(archive.STATES))

    def _wants(self, spec: RunSpec) -> bool:
        """Whether a run passes the filters of its task and agent."""
        return self.task in (None, spec.task) and (self.agent is None or spec.agent in agents.group(self.agent))


@dataclasses.dataclass(frozen=True)
class Prune:
    """Delete replays of a scale's runs that no unfinished run will read. Without --yes they are only listed.

    Everything else of these runs stays, metrics and weights included. To have a replay again, delete the run and
    its followers and train them again, or restore it from what `paper-lib export-dataset` wrote before. Without this
    command every replay is kept, because new runs may learn from it.
    """

    scale: Scale = 'laptop'
    runs: Folder = None
    yes: bool = False  # delete the replays
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.study import plan, scales

        store = Store(self.runs)
        scale = scales.get(self.scale)
        specs = {}  # without repetition, in order
        for chapter in scale.chapters:
            specs |= dict.fromkeys(plan.specs(chapter, scale, optional=True))
        rows = []
        for spec, size in store.droppable(specs).items():
            if self.yes:
                store.drop_replay(spec)
            rows.append({'run_id': spec.run_id, 'MB': round(size / 1e6, 1), 'dropped': self.yes})
        if rows or self.json:
            return show(rows, self.json)
        reason = 'no replay to drop' if store.root.is_dir() else 'no such folder, nothing to drop'
        print(f'{store.root}: {reason}')


def _failure(store: 'Store', spec: RunSpec) -> str:
    """Why a run stopped; '' if it did not."""
    try:
        return store.failure(spec) or ''
    except RunError as error:
        return str(error)
