"""Commands that draw the study, and those that list what it is made of."""

import dataclasses
import json
from typing import Annotated

import tyro

from paper_lib.cli.options import Folder, Json, Output, Scale, convert, end, show
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError


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
    output: Output = None
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
        try:
            if not self.output:
                pages.write_index(values['scale'])
        except UserError as error:
            failed.append(f'error: {error}')
        return end(2, '\n'.join(failed)) if failed else 0


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
        from paper_lib.study import artefacts

        _list(artefacts.listing(self.scale, self.draw), self.json)


@dataclasses.dataclass(frozen=True)
class Claims:
    """Test the paper's claims on the data in figures/, and list those that have runs as Markdown."""

    scale: Scale = 'laptop'
    json: Annotated[bool, tyro.conf.arg(help='print JSON instead of Markdown')] = False

    def __call__(self):
        from paper_lib.study import artefacts, paths

        if not (rows := artefacts.claims(self.scale)):
            raise UserError(f'scale={self.scale}: no runs in {paths.archive(self.scale)}, so there is nothing to test')
        _list(rows, self.json)


def _list(rows, as_json):
    import pandas as pd

    from paper_lib.study import tables

    print(json.dumps(rows, indent=1) if as_json else tables.markdown(pd.DataFrame(rows)).rstrip())


@dataclasses.dataclass(frozen=True)
class Export:
    """Copy the weights that the interactive parts of the notebooks need out of finished runs, into figures/weights."""

    scale: Scale = 'laptop'
    seed: int = 0  # of the pairs
    runs: Folder = None
    json: Json = False

    def __call__(self):
        from paper_lib.data.store import Store
        from paper_lib.explore import weights

        store, rows = Store(self.runs), []
        for spec in weights.wanted(self.scale, self.seed):
            file, state = weights.path(spec, self.scale), store.status(spec)
            if state == 'done':
                weights.export(spec, store, self.scale)
            size = f'{file.stat().st_size / 1e6:.2f} MB' if file.exists() else 'none'
            rows.append({'run_id': spec.run_id, 'run': state, 'weights': size})
        if not rows:
            raise UserError(f'seed={self.seed}: scale {self.scale} has no pair of runs with this seed')
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Tasks:
    """List the tasks and their settings (Table S1). Those of Gymnasium are not listed: gym:ID, e.g. gym:Pendulum-v1."""

    json: Json = False

    def __call__(self):
        show([dataclasses.asdict(task) for task in tasks.known()], self.json)


@dataclasses.dataclass(frozen=True)
class Agents:
    """List the agents, and the groups that figures ask for."""

    json: Json = False

    def __call__(self):
        from paper_lib.contract.agents import AGENTS

        rows = []
        for name, row in AGENTS.items():
            rows.append({'agent': name, 'source': row.source, 'data': row.data, 'groups': ' '.join(row.groups),
                         'about': row.about})  # fmt: skip
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Scales:
    """List the scales of the study."""

    json: Json = False

    def __call__(self):
        from paper_lib.study import plan, scales

        rows = []
        for name, scale in scales.SCALES.items():
            planned, whole = (sum(len(plan.specs(chapter, scale, optional=optional)) for chapter in scale.chapters)
                              for optional in (False, True))  # fmt: skip
            rows.append({'scale': name, 'planned': planned, 'optional': whole - planned,
                         'trains unasked': 'yes' if scale.trains else 'no', 'about': scale.about})  # fmt: skip
        show(rows, self.json)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """List the model sizes."""

    json: Json = False

    def __call__(self):
        from paper_lib.study import scales

        rows = [{'size': name} | dataclasses.asdict(model) for name, model in scales.sizes().items()]
        if not self.json:  # one column per size: there are many more fields than sizes
            rows = [{'field': field} | {row['size']: row[field] for row in rows} for field in list(rows[0])[1:]]
        show(rows, self.json)
