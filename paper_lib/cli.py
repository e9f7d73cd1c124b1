"""The command line `paper-lib`: every command is a frozen dataclass, its fields are its options.

Exit codes: 0 fine; 1 the doctor found a problem; 2 a mistake in the command, or run data that cannot be used (one line
on stderr says what to do); 130 interrupted, 143 terminated (training resumes with the same command); 141 nobody reads
the output. A traceback is a bug.
"""

import contextlib
import dataclasses
import inspect
import io
import json
import math
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated

import tyro

from paper_lib import tasks
from paper_lib.spec import ModelSpec, RunError, RunSpec, UserError


def main(args: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _parse(args)() or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        return _end(2, f'error: {error}')
    except ModuleNotFoundError as error:
        if (error.name or 'paper_lib').startswith('paper_lib'):
            raise
        return _end(2, f"error: this command needs the package {error.name}: pip install -e '.[all]'")
    except ImportError as error:  # a package is there, a system library that it loads is not
        reason = ' '.join(str(error).split())
        return _end(2, f'error: {error.name or "a package"} does not load ({reason}); see `paper-lib doctor`')
    except BrokenPipeError:  # `| head`; what is left must not be written at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Terminated:
        return _end(143, 'terminated; a training resumes with the same command')
    except KeyboardInterrupt:
        return _end(130, 'interrupted; a training resumes with the same command')


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever an interrupt tidies up is tidied up."""


def _terminate(number, _):
    signal.signal(number, signal.SIG_IGN)  # `timeout` and schedulers send it more than once
    raise Terminated


def _parse(args):
    study = Train | Runs | Notebooks | Html | Verify | Figures | Export | Tasks | Agents | Scales | Sizes
    commands = study | Doctor | Bench | Prune | Reference
    args = sys.argv[1:] if args is None else args
    try:
        with contextlib.redirect_stderr(io.StringIO()) as box:
            return tyro.cli(commands, args=args, prog='paper-lib', description='Runs and figures of the study.',
                            config=(tyro.conf.FlagCreatePairsOff,))  # fmt: skip
    except SystemExit as end:
        if not end.code:
            sys.stdout.flush()
            raise
        command = [name for name in args[:1] if name in [each.__name__.lower() for each in commands.__args__]]
        raise UserError(f'{_line(box.getvalue())}; see `{" ".join(["paper-lib", *command, "--help"])}`') from None


def _line(box):
    """tyro's message, a title and sections with rules between, as one line; options without their descriptions."""
    _, *rows = box.replace('\u2502', ' ').splitlines()
    text = '\n'.join(row for row in rows if row[:10].strip())  # descriptions are indented
    text = re.sub(r'Argument helptext: *\n(.*)(\n +[^ \u2500-].*)*', r'expected \1', text)  # but this one
    sections = [' '.join(section.split()).rstrip('.') for section in re.split(r'(?m)^[ \u2500-\u257f-]+$', text)]
    return '; '.join(section for section in sections if section and not section.startswith('For full helptext'))


def _end(code, line):
    print(line, file=sys.stderr, flush=True)
    return code


def convert(name: str, text: str, kind: type):
    """The value of a parameter given as text. Raises UserError where it is not of this type."""
    try:
        return kind(text)
    except ValueError:
        raise UserError(f'{name}={text!r}: must be {kind.__name__}') from None


def show(rows: list[dict], as_json: bool) -> None:
    """Print rows of equal keys as JSON or as a table."""
    if as_json:
        return print(json.dumps(rows, indent=1))
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print('  '.join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


# Values of a spec as options, of which only those that are given count.


def _comments(cls):
    """The comment behind each field in the source of a dataclass."""
    found = re.findall(r'^    (\w+): [^#\n]*# (.*)$', inspect.getsource(cls), re.MULTILINE)
    return {name: text.strip(' .') for name, text in found}


def _option(field, about):
    """A field whose default is None and whose text is converted to the field's type."""
    name, kind = field.name, field.type
    given = tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=lambda texts: convert(name, texts[0], kind),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )
    about = tyro.conf.arg(help=about, help_behavior_hint='(default: as the scale)')
    return name, Annotated[object, given, about], None


def _values(cls, leave=()):
    """A dataclass of the plain fields of a spec, None where not given."""
    fields = [field for field in dataclasses.fields(cls) if field.type in (int, float, str) and field.name not in leave]
    about = _comments(cls)
    options = [_option(field, about.get(field.name, '')) for field in fields]
    return dataclasses.make_dataclass(f'{cls.__name__}Values', options, frozen=True)


def _given(values):
    return {name: value for name, value in dataclasses.asdict(values).items() if value is not None}


RunValues = _values(RunSpec, leave=('task', 'agent', 'seed', 'init_seed', 'data'))
ModelValues = _values(ModelSpec)

Json = Annotated[bool, tyro.conf.arg(help='print JSON instead of a table')]
Scale = Annotated[str, tyro.conf.arg(help='see `paper-lib scales`')]
Folder = Annotated[Path | None, tyro.conf.arg(metavar='DIR', help='folder of the runs',
                                              help_behavior_hint='(default: PAPER_LIB_RUNS, else runs/)')]  # fmt: skip


def sizes() -> dict[str, ModelSpec]:
    """Model sizes by name: the paper's, those of the smaller scales, and of their sections that have another one."""
    from paper_lib.study import scales

    found = {'S': ModelSpec()}
    for scale in scales.SCALES.values():
        plans = {f'{scale.name}_{section}': plan.values.get('model')
                 for section, plans in scale.plans.items() for plan in plans}  # fmt: skip
        for name, model in {scale.name: scale.model, **plans}.items():
            if model and model not in found.values():
                found[name] = model
    return found


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one run, after the source that it learns from. Called again it resumes; a finished run is checked."""

    task: str  # see `paper-lib tasks`
    agent: str = 'active'  # see `paper-lib agents`
    seed: int = 0  # of the pair: the online run's, or that of an offline run's source
    scale: Scale = 'laptop'
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
        from paper_lib.study import agents, scales
        from paper_lib.study.names import choose

        scale = scales.get(self.scale)
        planned = scale.planned(self.task)
        model = planned.get('model', scale.model) if self.size is None else choose('size', self.size, sizes())
        values = planned | _given(self.values) | {'model': dataclasses.replace(model, **_given(self.model))}
        spec = agents.make(self.agent, self.task, self.seed, scale, **values)
        return [spec.source, spec] if spec.source else [spec]

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.run import ensure

        specs, store = self.specs(), Store(self.runs)
        if self.json and not self.dry_run:
            raise UserError('json=True: training prints no table; only with --dry-run')
        for spec in specs:
            if store.status(spec) == 'done':
                store.require(spec).verify()
        if self.dry_run:
            from paper_lib.run.cost import check_space, cost

            missing = [
                spec for spec in ensure.unfinished(specs, store, self.workers) if store.status(spec) == 'missing'
            ]
            workers, lanes = ensure.layout()
            check_space(missing, store.root, (self.workers or workers) * lanes)
            return show([{'run_id': s.run_id, 'state': store.status(s)} | cost(s) for s in specs], self.json)
        ensure.ensure(specs, store, self.workers)
        print(f'done: {store.path(specs[-1])}')


@dataclasses.dataclass(frozen=True)
class Runs:
    """Show the state of every run of the study: done, archived (in figures/data), running, partial, failed, missing."""

    scale: Scale = 'laptop'
    runs: Folder = None
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.study import agents, frames, paths, scales

        store, scale, rows = Store(self.runs), scales.get(self.scale), []
        for section in scale.plans:
            specs = agents.plan(section, scale)
            states = frames.state(specs, store, paths.archive(self.scale), section).state
            rows += [{'section': section, 'task': spec.task, 'agent': spec.agent, 'pair_seed': agents.pair_seed(spec),
                      'state': state, 'run_id': spec.run_id, 'reason': _failure(store, spec)}
                     for spec, state in zip(specs, states)]  # fmt: skip
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
        from paper_lib.study import agents, scales

        store, scale = Store(self.runs), scales.get(self.scale)
        specs = list(dict.fromkeys(spec for section in scale.plans for spec in agents.plan(section, scale)))
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


@dataclasses.dataclass(frozen=True)
class Notebooks:
    """Run notebooks without opening them, and render each to HTML in figures/. Where one fails the next still runs."""

    names: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar='NAME', help_behavior_hint='')]] = ()
    """which (all, if none is named)"""
    scale: Scale = 'laptop'
    parameters: Annotated[
        tyro.conf.UseAppendAction[tuple[tuple[str, str], ...]],
        tyro.conf.arg(name='parameter', aliases=['-p'], metavar='NAME VALUE'),
    ] = ()
    """a further parameter of the notebooks"""
    runs: Folder = None
    output: Annotated[Path | None, tyro.conf.arg(metavar='DIR', help_behavior_hint='')] = None
    """for HTML and executed notebooks, instead of figures/SCALE and build/SCALE"""

    def __call__(self) -> int:
        from paper_lib import notebooks, pages
        from paper_lib.study import parameters

        kinds = {field.name: field.type for field in dataclasses.fields(parameters.Parameters)}
        given = {'scale': self.scale} | dict(self.parameters)
        values = {name: convert(name, text, kinds.get(name, str)) for name, text in given.items()}
        parameters.check(values)
        failed = []
        for path in notebooks.find(self.names):
            print(f'{path.stem}: running', flush=True)
            try:
                print(f'{path.stem}: done, {notebooks.run(path, values, self.runs, self.output)}', flush=True)
            except UserError as error:  # the next one may not depend on it
                print(f'{path.stem}: failed', flush=True)
                failed.append(f'error: {error}')
        if not self.output:
            pages.write_index(self.scale)
        return _end(2, '\n'.join(failed)) if failed else 0


@dataclasses.dataclass(frozen=True)
class Html:
    """Draw every figure, table and page of a scale from the data in figures/ alone, and an index: figures/SCALE."""

    scale: Scale = 'laptop'

    def __call__(self):
        from paper_lib import notebooks
        from paper_lib.study import paths, scales

        scales.get(self.scale)
        notebooks.redraw(self.scale)
        print(f'done: {paths.drawings(self.scale) / "index.html"}')


@dataclasses.dataclass(frozen=True)
class Verify:
    """Draw everything again, elsewhere, and list the files of figures/SCALE that are not the same bytes."""

    scale: Scale = 'laptop'

    def __call__(self) -> int:
        from paper_lib import notebooks
        from paper_lib.study import scales

        scales.get(self.scale)
        found = notebooks.differences(self.scale)
        print('\n'.join(found) or f'{self.scale}: every file is what is drawn from the data')
        return int(bool(found))


@dataclasses.dataclass(frozen=True)
class Figures:
    """List the paper's figures and tables as Markdown: file, notebook, the scales that have data of it."""

    scale: Scale = 'laptop'  # of --draw
    draw: bool = False  # measure how long drawing each takes, from the data in figures/
    json: Annotated[bool, tyro.conf.arg(help='print JSON instead of Markdown')] = False

    def __call__(self):
        import pandas as pd

        from paper_lib.study import artefacts, tables

        rows = artefacts.listing(self.scale, self.draw)
        print(json.dumps(rows, indent=1) if self.json else tables.markdown(pd.DataFrame(rows)).rstrip())


@dataclasses.dataclass(frozen=True)
class Export:
    """Copy the weights that the interactive parts of the notebooks need out of finished runs, into figures/weights."""

    scale: Scale = 'laptop'
    runs: Folder = None
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.explore import weights

        store, rows = Store(self.runs), []
        for spec in weights.wanted(self.scale):
            state = store.status(spec)
            if state == 'done':
                state = f'{weights.export(spec, store, self.scale).stat().st_size / 1e6:.2f} MB'
            rows.append({'run_id': spec.run_id, 'exported': state})
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Tasks:
    """List the tasks and their settings (Table S1)."""

    json: Json = False

    def __call__(self):
        show([dataclasses.asdict(task) for task in tasks.TASKS.values()], self.json)


@dataclasses.dataclass(frozen=True)
class Agents:
    """List the agents of the paper."""

    json: Json = False

    def __call__(self):
        from paper_lib.study.agents import PRESETS

        show([{'agent': name, 'source': row.source or '', 'data': row.data, 'about': row.about}
              for name, row in PRESETS.items()], self.json)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Scales:
    """List the scales of the study."""

    json: Json = False

    def __call__(self):
        from paper_lib.study import agents, scales

        show([{'scale': name, 'runs': sum(len(agents.plan(section, scale)) for section in scale.plans),
               'trains unasked': 'yes' if scale.trains else 'no', 'about': scale.about}
              for name, scale in scales.SCALES.items()], self.json)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Sizes:
    """List the model sizes."""

    json: Json = False

    def __call__(self):
        rows = [{'size': name} | dataclasses.asdict(model) for name, model in sizes().items()]
        if not self.json:  # one column per size: there are many more fields than sizes
            rows = [{'field': field} | {row['size']: row[field] for row in rows} for field in list(rows[0])[1:]]
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Say what works on this machine and what to do about what does not."""

    runs: Folder = None

    def __call__(self) -> int:
        from paper_lib import doctor
        from paper_lib.data.store import Store

        found = 0
        for check in doctor.checks(Store(self.runs).root):
            print(f'{"ok" if check.ok else "PROBLEM":8}{check.name}: {check.detail}', flush=True)
            if check.todo:
                print(f'{"":8}-> {check.todo}', flush=True)
            found += not check.ok
        return int(found > 0)


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure how fast this machine trains and what each scale would cost on it. Without a GPU all takes long."""

    scales: tuple[str, ...] = ('laptop', 'paper')  # whose programs and plans are measured
    lanes: tuple[int, ...] = (1, 2, 4, 8, 16)  # runs in one program; fewer for a program that is slow here
    precisions: tuple[str, ...] = ('float32', 'bfloat16')
    seconds: float = 5.0  # of each measurement, compilation not counted
    json: Annotated[bool, tyro.conf.arg(help='print JSON instead of tables, everything at the end')] = False

    def __call__(self):
        from paper_lib.run import bench
        from paper_lib.study import agents, scales

        for name, value in [('seconds', self.seconds), *(('lanes', count) for count in self.lanes)]:
            if not 0 < value < math.inf:
                raise UserError(f'{name}={value}: must be above 0 and finite')
        for name in ('scales', 'lanes', 'precisions'):
            if not getattr(self, name):
                raise UserError(f'{name}: none given; name at least one')
        for precision in self.precisions:
            ModelSpec(precision=precision)
        chosen = [scales.get(name) for name in self.scales]
        plans = {f'{scale.name} {section}': agents.plan(section, scale) for scale in chosen for section in scale.plans}
        tables = bench.tables(plans, self.lanes, self.precisions, self.seconds)
        if self.json:
            return print(json.dumps({title: list(rows) for title, rows in tables}, indent=1))
        for title, rows in tables:
            print(f'\n{title}', flush=True)
            widths = None
            for row in rows:  # shown as they come: each takes a while
                lines = [[str(value) for value in row.values()]]
                if not widths:
                    widths = [max(bench.WIDTHS.get(name, 8), len(name), len(value) + 2)
                              for name, value in zip(row, lines[0])]  # fmt: skip
                    lines.insert(0, list(row))
                for line in lines:
                    print('  '.join(text.ljust(width) for text, width in zip(line, widths)).rstrip(), flush=True)


@dataclasses.dataclass(frozen=True)
class Reference:
    """Measure the random policy on every task and draw a picture of each, for paper_lib/study. Takes minutes."""

    episodes: int = 25  # of each task; of the short ones of MinAtar ten times as many
    output: Annotated[Path | None, tyro.conf.arg(metavar='DIR', help_behavior_hint='')] = None
    """instead of paper_lib/study"""

    def __call__(self):
        from paper_lib.data import files
        from paper_lib.run import reference
        from paper_lib.study.reference import PICTURES, SCORES

        if self.episodes < 1:
            raise UserError(f'episodes={self.episodes}: must be at least 1')
        folder, lines = self.output or SCORES.parent, ['task,mean,std,episodes']
        files.write_npz(folder / PICTURES.name, reference.pictures())
        for row in reference.random_scores(self.episodes):
            lines.append(','.join(map(str, row.values())))
            print(lines[-1], flush=True)  # as they come: each takes a while
        files.write_bytes(folder / SCORES.name, '\n'.join([*lines, '']).encode())


if __name__ == '__main__':
    sys.exit(main())
