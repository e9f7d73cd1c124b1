"""A section of the paper as one object: what a notebook calls."""

import dataclasses

import pandas as pd

from paper_lib.contract.spec import RunSpec
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
    sensitivity,
    supplement,
    tables,
    visitation,
)
from paper_lib.study.figures import Entry
from paper_lib.study.names import choose


@dataclasses.dataclass(frozen=True)
class Book:
    """What a notebook shows. Its runs are those of the agents that figures and tables show."""

    figures: tuple[str, ...]
    tables: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()  # ids


BOOKS = {  # by the name of the notebook
    '0_base_agent': Book(('figure_base_agent',), ('base_agent',)),
    '1_toy_maze': Book(('figure_1', 'figure_2', 'figure_2_curves'), ('visitation',), ('C1', 'C2', 'C3')),
    '2_validation': Book(('figure_3', 'figure_S2', 'figure_S10', 'figure_S11'), (), ('C1', 'C2', 'C3', 'C12')),
    '3_deep_dive': Book(('figure_4', *(f'figure_S{i}' for i in (8, 3, 4, 5, 6, 7))), (), ('C4', 'C9', 'C10', 'C11')),
    '4_remedies': Book(
        ('figure_5', 'figure_5_curves', 'figure_6', 'figure_S16', 'figure_S17', 'figure_7', 'figure_S9', 'figure_8',
         *(f'figure_S{i}' for i in range(12, 16))), ('S2',), ('C5', 'C6', 'C7', 'C8'),
    ),
    '5_ablations': Book(('figure_S1',), ('S1', 'sensitivity'), ('C8',)),
}  # fmt: skip
TABLES = {  # Entry.draw: Frames -> DataFrame
    'base_agent': Entry(published.table, 'base_agent', ['active']),
    'visitation': Entry(visitation.table, 'toy_maze', figures.AGENTS),
    'S1': Entry(lambda found: supplement.environments(), 'study', ['active']),
    'S2': Entry(supplement.self_generated, 'study', [supplement.ADAPTIVE]),
    'sensitivity': Entry(lambda found: sensitivity.table(found, random('study')), 'study', figures.AGENTS),
}


def random(section: str):
    """The function that gives the mean score of random actions in a task of this section."""
    if section == 'toy_maze':
        return claims.zero
    from paper_lib.study import reference

    return reference.random_score


@dataclasses.dataclass(frozen=True)
class Section:
    """Runs of one notebook at one scale. `store` is where trained runs are (a `paper_lib.data.store.Store`)."""

    name: str
    parameters: parameters.Parameters
    plans: dict[str, tuple[RunSpec, ...]]  # section of the archive -> the runs shown, those trained on request too
    asked: frozenset[str]  # ids of the runs that are trained where they are missing
    store: object

    @property
    def scale(self) -> str:
        return self.parameters.scale

    @property
    def book(self) -> Book:
        return BOOKS[self.name]

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return tuple(dict.fromkeys(spec for specs in self.plans.values() for spec in specs))

    def state(self) -> pd.DataFrame:
        """One row per run: done (on this machine), archived (in figures/data), running, partial, failed, missing.

        A run that is missing and trained only when asked for is `on request`; one of several sections has the state
        in that where it is needed most.
        """
        parts = [frames.state(specs, self.store, paths.archive(self.scale), section, self.asked)
                 for section, specs in self.plans.items()]  # fmt: skip
        rows = pd.concat(parts, ignore_index=True)
        return rows.iloc[(rows.state == 'archived').argsort(kind='stable')].drop_duplicates('run_id').sort_index()

    def runs(self) -> pd.DataFrame:
        """The state of every run as a table of agents (of tasks and agents, where there are several) by pair seeds."""
        rows = self.state()
        ranks = {name: rank for rank, name in enumerate((*agents.PRESETS, *dict.fromkeys(rows.task)))}
        table = rows.pivot(index=self._rows, columns='pair_seed', values='state').fillna('')
        return table.sort_index(key=lambda level: level.map(ranks))

    @property
    def _rows(self):
        """What tells the rows of a table of runs apart."""
        several = [key for key in ('task', 'agent') if len({getattr(spec, key) for spec in self.specs}) > 1]
        return several or ['agent']

    def to_train(self) -> list[RunSpec]:
        """Runs neither done nor archived, after the sources that they need here; none where training is off."""
        state = self.state()
        wanted = set(state.run_id[~state.state.isin(['done', 'archived', 'on request'])])
        lost = [spec for spec in self.specs if spec.run_id in wanted]
        sources = [spec.source for spec in lost if spec.source and self.store.status(spec.source) != 'done']
        return list(dict.fromkeys([*sources, *lost])) if self.parameters.trains else []

    def archive(self) -> pd.DataFrame:
        """Copy what the figures need of the finished runs into figures/data; returns the number of runs per state."""
        for section, specs in self.plans.items():
            for run_id, reason in frames.archive(specs, self.store, paths.archive(self.scale), section).items():
                print(f'dropped from figures/data: {run_id}, as {reason}')
        return self.state().groupby([*self._rows, 'state'], sort=False).size().unstack(fill_value=0)

    def frames(self, entry: Entry) -> frames.Frames:
        """The archived rows that a figure or a table is made of."""
        return frames.load(part(self.plans[entry.section], entry), paths.archive(self.scale), entry.section)

    def figure(self, name: str) -> drawing.Drawing:
        """Draw a figure from the archive and save it as PNG, PDF and caption."""
        entry = choose('figure', name, {name: figures.FIGURES[name] for name in self.book.figures})
        found, path = self.frames(entry), paths.drawings(self.scale) / name
        caption = drawing.caption(name, found, self.scale)
        drawing.save(entry.draw(found, self.scale), path, drawing.provenance(found, self.scale))
        paths.write(path.with_name(f'{name}.md'), f'{caption}\n'.encode())
        return drawing.Drawing(path.with_name(f'{name}.png').read_bytes(), caption)

    def table(self, name: str) -> tables.Table:
        """Compute a table from the archive and save it as CSV, Markdown and LaTeX."""
        entry = choose('table', name, {name: TABLES[name] for name in self.book.tables})
        return self._save(f'table_{name}', f'table_{name}', self.frames(entry), entry.draw)

    def claims(self) -> tables.Table:
        """Test the paper's claims that the notebook is about; saved as table_claims_NAME."""
        return self._save(f'table_claims_{self.name.partition("_")[2]}', 'table_claims',
                          self.frames(tested(self.name)), lambda found: verdicts(self.name, found))  # fmt: skip

    def _save(self, stem, caption, found, compute):
        table = tables.Table(compute(found), drawing.caption(caption, found, self.scale))
        tables.save(table.frame, paths.drawings(self.scale) / stem, table.caption)
        return table


def tested(name: str) -> Entry:
    """What the claims of a notebook are tested on: the agents that they are about and those that its figures show."""
    book, section = BOOKS[name], 'toy_maze' if name == '1_toy_maze' else 'study'
    about = {agent for claim in claims.CLAIMS if claim.id in book.claims for agent in claim.agents}
    shown = {agent for figure in book.figures if figures.FIGURES[figure].section == section
             for agent in figures.FIGURES[figure].agents}  # fmt: skip
    return Entry(None, section, [agent for agent in agents.PRESETS if agent in about | shown])


def verdicts(name: str, found: frames.Frames) -> pd.DataFrame:
    """The claims of a notebook, tested on runs as `claims.table` does."""
    return claims.table(found.metrics, random(tested(name).section), BOOKS[name].claims)


def entries(name: str) -> list[Entry]:
    """Everything that a notebook shows."""
    book = BOOKS[name]
    shown = [*(figures.FIGURES[name] for name in book.figures), *(TABLES[name] for name in book.tables)]
    return shown + ([tested(name)] if book.claims else [])


def part(specs, entry: Entry) -> list[RunSpec]:
    """The runs among a section's that an entry shows."""
    names = entry.over(spec.task for spec in specs)
    return [spec for spec in specs if spec.agent in entry.agents and spec.task in names]


def open(name: str, names: dict, store) -> Section:
    """The section of a notebook with the parameters found in its `globals()`.

    Raises UserError for a wrong parameter and for a notebook that does not exist.
    """
    choose('notebook', name, BOOKS)
    chosen = parameters.check(names)
    scale, shown = scales.get(chosen.scale), entries(name)
    plans, asked = {}, set()
    for section in dict.fromkeys(entry.section for entry in shown):
        specs = agents.plan(section, scale, chosen.seeds, further=True)
        own = [entry for entry in shown if entry.section == section]
        shown_here = {spec for entry in own for spec in part(specs, entry)}
        plans[section] = tuple(spec for spec in specs if spec in shown_here)
        asked |= {spec.run_id for spec in agents.plan(section, scale, chosen.seeds, chosen.train == 'all')}
    return Section(name, chosen, plans, frozenset(asked), store)
