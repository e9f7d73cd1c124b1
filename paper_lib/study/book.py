"""A notebook of the study as one object: what its cells call."""

import dataclasses

import pandas as pd

from paper_lib.contract import agents
from paper_lib.contract.spec import RunSpec
from paper_lib.study import (
    archive,
    captions,
    catalogue,
    claims,
    drawing,
    frames,
    parameters,
    paths,
    plan,
    scales,
    tables,
)
from paper_lib.study.catalogue import Entry
from paper_lib.study.names import choose


@dataclasses.dataclass(frozen=True)
class Book:
    """Runs of one notebook at one scale. `store` is where trained runs are (a `paper_lib.data.store.Store`)."""

    name: str
    parameters: parameters.Parameters
    entries: tuple[Entry, ...]  # figures and tables that it shows
    runs_of: dict[str, tuple[RunSpec, ...]]  # chapter of the archive -> the runs shown, the optional ones too
    planned: frozenset[str]  # ids of the planned runs; all others are optional
    store: object

    @property
    def scale(self) -> str:
        return self.parameters.scale

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        return tuple(dict.fromkeys(spec for specs in self.runs_of.values() for spec in specs))

    def state(self) -> pd.DataFrame:
        """One row per run with its state, as `archive.state` gives it.

        A run of several chapters has the state in that where it is needed most.
        """
        folder = paths.archive(self.scale)
        parts = [archive.state(specs, self.store, folder, chapter, self.planned)
                 for chapter, specs in self.runs_of.items()]  # fmt: skip
        rows = pd.concat(parts, ignore_index=True)
        return rows.iloc[(rows.state == 'archived').argsort(kind='stable')].drop_duplicates('run_id').sort_index()

    def runs(self) -> pd.DataFrame:
        """The state of every run as a table of agents (of tasks and agents, where there are several) by pair seeds."""
        rows = self.state()
        ranks = {name: rank for rank, name in enumerate((*agents.AGENTS, *dict.fromkeys(rows.task)))}
        table = rows.pivot(index=self._rows, columns='pair_seed', values='state').fillna('')
        return table.sort_index(key=lambda level: level.map(ranks))

    @property
    def _rows(self):
        """What tells the rows of a table of runs apart."""
        several = [key for key in ('task', 'agent') if len({getattr(spec, key) for spec in self.specs}) > 1]
        return several or ['agent']

    def to_train(self) -> list[RunSpec]:
        """Runs without a result, after the sources that they need here; none where training is off."""
        if not self.parameters.trains:
            return []
        left_out = ['done', 'archived'] + ['optional'] * (self.parameters.train != 'all')
        state = self.state()
        wanted = set(state.run_id[~state.state.isin(left_out)])
        lost = [spec for spec in self.specs if spec.run_id in wanted]
        sources = [spec.source for spec in lost if spec.source and self.store.status(spec.source) != 'done']
        return list(dict.fromkeys([*sources, *lost]))

    def archive(self) -> pd.DataFrame:
        """Copy what the figures need of the finished runs into figures/data; returns the number of runs per state."""
        for chapter, specs in self.runs_of.items():
            for run_id, reason in archive.add(specs, self.store, paths.archive(self.scale), chapter).items():
                print(f'dropped from figures/data: {run_id}, as {reason}')
        return self.state().groupby([*self._rows, 'state'], sort=False).size().unstack(fill_value=0)

    def frames(self, entry: Entry) -> frames.Frames:
        """The archived rows that a figure or a table is made of."""
        return load(entry, self.runs_of[entry.chapter], scales.get(self.scale), self.planned)

    def figure(self, name: str) -> drawing.Drawing:
        """Draw a figure from the archive and save it as PNG, PDF and caption."""
        entry = choose('figure', name, {entry.name: entry for entry in self.entries if entry.is_figure})
        found, path = self.frames(entry), paths.drawings(self.scale) / name
        caption = captions.caption(entry, found)
        drawing.save(entry.make(found), path, drawing.provenance(found))
        paths.write(path.with_name(f'{name}.md'), f'{caption}\n'.encode())
        return drawing.Drawing(path.with_name(f'{name}.png').read_bytes(), caption)

    def table(self, name: str) -> tables.Table:
        """Compute a table from the archive and save it as CSV, Markdown and LaTeX."""
        known = {entry.name.removeprefix('table_'): entry for entry in self.entries if not entry.is_figure}
        return self._save(choose('table', name, known))

    def claims(self) -> tables.Table:
        """Test the paper's claims that the notebook is about; saved as table_claims_NAME."""
        entry = catalogue.tested(self.name)
        rows = verdicts(entry.chapter, scales.get(self.scale), catalogue.CLAIMS[self.name], self.parameters.seeds)
        return self._save(entry, rows)

    def _save(self, entry, rows=None):
        found = self.frames(entry)
        table = tables.Table(entry.make(found) if rows is None else rows, captions.caption(entry, found))
        tables.save(table.frame, paths.drawings(self.scale) / entry.name, table.caption)
        return table


def load(entry: Entry, specs, scale: scales.Scale, planned: frozenset[str]) -> frames.Frames:
    """What the archive of a scale has of an entry's runs among `specs`; those not `planned` are optional."""
    shown = entry.part(specs)
    optional = frozenset(spec.run_id for spec in shown) - planned
    return archive.load(shown, paths.archive(scale.name), entry.chapter, optional=optional, scale=scale.name,
                        warning=scale.warning)  # fmt: skip


def verdicts(chapter: str, scale: scales.Scale, ids: tuple[str, ...], seeds: int = 0) -> pd.DataFrame:
    """The table of these claims on all archived runs of a chapter, as `claims.table` gives it.

    All of them, since a primary row is judged among those of all claims. In the maze every row is secondary.
    """
    everything = Entry('', '', chapter, (agents.EVERY,), None)
    found = load(everything, plan.specs(chapter, scale, seeds, optional=True), scale, plan.planned(scale, seeds))
    return claims.table(found.metrics, claims.random(chapter), ids, primary=chapter == 'study')


def open(name: str, names: dict, store) -> Book:
    """The notebook of this name with the parameters found in its `globals()`.

    Raises UserError for a wrong parameter and for a notebook that does not exist.
    """
    choose('notebook', name, catalogue.CLAIMS)
    chosen = parameters.check(names)
    scale, entries = scales.get(chosen.scale), catalogue.shown(name)
    tested = [catalogue.tested(name)] if catalogue.CLAIMS[name] else []
    runs_of = {}
    for chapter in dict.fromkeys(entry.chapter for entry in [*entries, *tested]):
        specs = plan.specs(chapter, scale, chosen.seeds, optional=True)
        own = [entry for entry in [*entries, *tested] if entry.chapter == chapter]
        shown = {spec for entry in own for spec in entry.part(specs)}
        runs_of[chapter] = tuple(spec for spec in specs if spec in shown)
    return Book(name, chosen, tuple(entries), runs_of, plan.planned(scale, chosen.seeds), store)
