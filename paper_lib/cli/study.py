"""Commands that draw the study, and those that list what it is made of."""

import contextlib
import dataclasses
from typing import Annotated

import tyro

from paper_lib.cli.options import Folder, Json, Markdown, Output, Scale, convert, end, show
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError


@dataclasses.dataclass(frozen=True)
class Notebooks:
    """Run notebooks without opening them, and render each to HTML in figures/. If one fails, the others still run."""

    names: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar='[NAME ...]', help_behavior_hint='')]
    ] = ()
    """names of notebooks; without any, all are run of which the scale plans the runs"""
    scale: Scale = 'laptop'
    parameters: Annotated[
        tyro.conf.UseAppendAction[tuple[tuple[str, str], ...]],
        tyro.conf.arg(name='parameter', aliases=['-p'], metavar='NAME VALUE'),
    ] = ()
    """a parameter of the notebooks and its value: train (auto, yes, no or all) or seeds"""
    runs: Folder = None
    output: Output = None
    """folder of the pages and the executed notebooks, in place of figures/SCALE and build/SCALE"""

    def __call__(self) -> int:
        from paper_lib import machine, notebooks
        from paper_lib.data.store import Store
        from paper_lib.study import book, parameters

        types = {field.name: field.type for field in dataclasses.fields(parameters.Parameters)}
        values = {'scale': self.scale}
        for name, text in self.parameters:
            values[name] = convert(name, text, types.get(name, str))
        parameters.check(values)
        chosen = notebooks.find(self.names, self.scale)
        names = {path.stem for path in chosen}
        at_once = 1
        with contextlib.suppress(UserError):  # each notebook will say itself what is wrong
            books = book.every(values, Store(self.runs))
            if not any(opened.to_train() for opened in books if opened.name in names):
                at_once = len(machine.cores())
        failures = notebooks.run_all(chosen, values, self.runs, self.output, _say, at_once)
        if failures:
            return end(2, '\n'.join(f'error: {failure}' for failure in failures))
        return 0


def _say(line: str) -> None:
    print(f'{line}\n', end='', flush=True)  # as one piece: notebooks run side by side


@dataclasses.dataclass(frozen=True)
class Html:
    """Draw every figure, table and page of a scale, from the data in figures/ alone."""

    scale: Scale = 'laptop'

    def __call__(self) -> None:
        from paper_lib import notebooks
        from paper_lib.study import paths, scales

        scales.get(self.scale)
        notebooks.redraw(self.scale)
        print(f'done: {paths.drawings(self.scale) / "index.html"}')


@dataclasses.dataclass(frozen=True)
class Verify:
    """Draw everything again in another folder, and list the files of figures/SCALE whose bytes differ."""

    scale: Scale = 'laptop'

    def __call__(self) -> int:
        from paper_lib import notebooks
        from paper_lib.study import scales

        scales.get(self.scale)
        lines = notebooks.differences(self.scale)
        if not lines:
            print(f'{self.scale}: every file has the bytes that are drawn from the data')
            return 0
        print('\n'.join(lines))
        return 1


@dataclasses.dataclass(frozen=True)
class Docs:
    """Write those parts of README.md and docs/ again that tell results of runs, from the data in figures/.

    Their pages in figures/laptop are written again too.
    """

    def __call__(self) -> None:
        from paper_lib.pages import documents
        from paper_lib.study import report

        for path in [*report.write(), *documents.write(report.SCALE)]:
            print(f'written: {path}')


@dataclasses.dataclass(frozen=True)
class Figures:
    """List the paper's figures and tables: title, file, notebook, and the scales that have data for each."""

    scale: Scale = 'laptop'  # of --draw
    draw: bool = False  # measure how long drawing each takes, from the data in figures/
    markdown: Markdown = False
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.study import artefacts

        show(artefacts.listing(self.scale, self.draw), self.json, self.markdown)


@dataclasses.dataclass(frozen=True)
class Claims:
    """Test the paper's claims on the data in figures/: the primary row of each claim, then the claims without pairs."""

    scale: Scale = 'laptop'
    all: bool = False  # show the secondary rows and those of the maze too
    markdown: Markdown = False
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.study import claims, paths, verdicts

        rows = verdicts.rows(self.scale) if self.all else verdicts.primary(self.scale)
        tested = [row for row in rows if row['pairs']]
        if not tested:
            raise UserError(f'scale={self.scale}: no runs in {paths.archive(self.scale)}, so there is nothing to test')
        if self.json:
            return show(rows, as_json=True)
        table = []
        for row in tested:
            compared = {name: row[name] for name in ('row', 'statistic', 'asked', 'on')} if self.all else {}
            table.append({'claim': f'{row["id"]}: {row["claim"]}'} | compared | verdicts.words(row))
        show(table, False, self.markdown)
        lacking = [row for row in rows if row['row'] == claims.PRIMARY and not row['pairs']]
        if lacking:
            print('\nNo pairs to test yet:')
        for row in lacking:
            print(f'  {row["id"]}: {row["claim"]}')


@dataclasses.dataclass(frozen=True)
class Export:
    """Copy weights of finished runs into figures/weights, for the interactive parts of the notebooks."""

    scale: Scale = 'laptop'
    seed: int = 0  # pair seed of the runs
    runs: Folder = None
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.data.store import Store
        from paper_lib.explore import weights

        rows = weights.export_all(Store(self.runs), self.scale, self.seed)
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Across:
    """Compute the measures that compare final weights within a pair, for pairs that lack them in figures/data.

    They are added to figures/data, beside the runs that are archived there. A pair is `lacking` while one of its runs
    is not archived, or its weights are not in the folder of the runs.
    """

    scale: Scale = 'laptop'
    runs: Folder = None
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.data.store import Store
        from paper_lib.explore import across
        from paper_lib.study import plan, scales

        specs = plan.specs(across.CHAPTER, scales.get(self.scale), optional=True)
        rows = across.add(specs, Store(self.runs), self.scale)
        if not rows:
            raise UserError(f'scale={self.scale}: plans no pair that records the measures; must be laptop or smoke')
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Starts:
    """Play the agents in figures/weights from many starts, and write the pages on which a click starts them."""

    scale: Scale = 'laptop'

    def __call__(self) -> None:
        from paper_lib.explore import starts
        from paper_lib.pages import clicks
        from paper_lib.study import scales

        scales.get(self.scale)
        for task in starts.KINDS:
            print(f'written: {starts.write(task, self.scale)}', flush=True)
        for page in clicks.write(self.scale):
            print(f'written: {page}')


@dataclasses.dataclass(frozen=True)
class Tasks:
    """List the tasks and their settings (Table S1). Tasks of Gymnasium are not: gym:ID, e.g. gym:Pendulum-v1."""

    markdown: Markdown = False
    json: Json = False

    def __call__(self) -> None:
        rows = []
        for task in tasks.known():
            row = dataclasses.asdict(task)
            if task.plane and not self.json:
                row['plane'] = ', '.join(task.plane.labels)
            rows.append(row)
        show(rows, self.json, self.markdown)


@dataclasses.dataclass(frozen=True)
class Agents:
    """List the agents and the groups that they belong to."""

    markdown: Markdown = False
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.contract.agents import AGENTS

        rows = []
        for name, row in AGENTS.items():
            rows.append(
                {
                    'agent': name,
                    'label': row.label,
                    'source': row.source,
                    'data': row.data,
                    'groups': ' '.join(row.groups),
                    'about': row.about,
                }
            )
        show(rows, self.json, self.markdown)


@dataclasses.dataclass(frozen=True)
class Scales:
    """List the scales of the study."""

    markdown: Markdown = False
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.study import plan, scales

        show([plan.summary(scale) for scale in scales.SCALES.values()], self.json, self.markdown)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """List the model sizes."""

    markdown: Markdown = False
    json: Json = False

    def __call__(self) -> None:
        from paper_lib.study import scales

        models = {name: dataclasses.asdict(model) for name, model in scales.sizes().items()}
        if self.json:
            rows = [{'size': name} | values for name, values in models.items()]
        else:  # one column per size: there are many more fields than sizes
            fields = next(iter(models.values()))
            rows = [{'field': field} | {name: models[name][field] for name in models} for field in fields]
        show(rows, self.json, self.markdown)
