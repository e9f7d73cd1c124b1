"""A section of the paper as one object: what a notebook calls."""

import dataclasses

import pandas as pd

from paper_lib.spec import RunSpec
from paper_lib.study import (
    agents,
    claims,
    drawing,
    figures,
    frames,
    parameters,
    paths,
    published,
    scales,
    tables,
    visitation,
)
from paper_lib.study.names import choose

TABLES = {  # section -> name -> how it is computed, agents that it compares
    'base_agent': {'base_agent': (published.table, ['active'])},
    'toy_maze': {
        'visitation': (visitation.table, figures.AGENTS),
        'claims': (lambda found: claims.table(found.metrics), figures.AGENTS),
    },
}


@dataclasses.dataclass(frozen=True)
class Section:
    """Runs of one section at one scale. `store` is where trained runs are (a `paper_lib.data.store.Store`)."""

    name: str
    parameters: parameters.Parameters
    specs: tuple[RunSpec, ...]
    store: object

    @property
    def scale(self) -> str:
        return self.parameters.scale

    def state(self) -> pd.DataFrame:
        """One row per run: done (on this machine), archived (in figures/data), running, partial, failed, missing."""
        return frames.state(self.specs, self.store, paths.archive(self.scale), self.name)

    def runs(self) -> pd.DataFrame:
        """The state of every run as a table of agents (of tasks, where there are several) by pair seeds."""
        table = self.state().pivot(index=self._rows, columns='pair_seed', values='state').fillna('')
        return table.reindex([name for name in (*agents.PRESETS, *self._tasks) if name in table.index])

    @property
    def _tasks(self):
        return list(dict.fromkeys(spec.task for spec in self.specs))

    @property
    def _rows(self):
        return 'task' if len(self._tasks) > 1 else 'agent'

    def to_train(self) -> list[RunSpec]:
        """Runs neither done nor archived, after the sources that they need here; none where training is off."""
        state = self.state()
        wanted = state[~state.state.isin(['done', 'archived'])].run_id
        lost = [spec for spec in self.specs if spec.run_id in set(wanted)]
        sources = [spec.source for spec in lost if spec.source and self.store.status(spec.source) != 'done']
        return list(dict.fromkeys([*sources, *lost])) if self.parameters.trains else []

    def archive(self) -> pd.DataFrame:
        """Copy what the figures need of the finished runs into figures/data; returns the number of runs per state."""
        dropped = frames.archive(self.specs, self.store, paths.archive(self.scale), self.name)
        if dropped:
            print(f'dropped from figures/data, because they are planned with other values now: {", ".join(dropped)}')
        return self.state().groupby([self._rows, 'state'], sort=False).size().unstack(fill_value=0)

    def frames(self) -> frames.Frames:
        return frames.load(self.specs, paths.archive(self.scale), self.name)

    def figure(self, name: str) -> drawing.Drawing:
        """Draw a figure from the archive and save it as PNG, PDF and caption."""
        draw, names = choose('figure', name, figures.FIGURES[self.name])
        found, path = self.frames().of(names), paths.drawings(self.scale) / name
        caption = drawing.caption(name, found, self.scale)
        drawing.save(draw(found, self.scale), path, drawing.provenance(found, self.scale))
        paths.write(path.with_name(f'{name}.md'), f'{caption}\n'.encode())
        return drawing.Drawing(path.with_name(f'{name}.png').read_bytes(), caption)

    def table(self, name: str) -> tables.Table:
        """Compute a table from the archive and save it as CSV, Markdown and LaTeX."""
        compute, names = choose('table', name, TABLES[self.name])
        found = self.frames().of(names)
        table = tables.Table(compute(found), drawing.caption(f'table_{name}', found, self.scale))
        tables.save(table.frame, paths.drawings(self.scale) / f'table_{name}', table.caption)
        return table


def _section(section, names, store):
    chosen = parameters.check(names)
    return Section(section, chosen, tuple(agents.plan(section, scales.get(chosen.scale), chosen.seeds)), store)


def base_agent(names: dict, store) -> Section:
    """Our agent beside the published DreamerV3, with the parameters found in a notebook's `globals()`.

    Raises UserError for a wrong parameter.
    """
    return _section('base_agent', names, store)


def toy_maze(names: dict, store) -> Section:
    """The section of Figs. 2 and 5 with the parameters found in a notebook's `globals()`. Raises UserError."""
    return _section('toy_maze', names, store)
