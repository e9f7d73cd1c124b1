"""A notebook of the study as one object: what its cells call."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from paper_lib.contract import agents
from paper_lib.contract.errors import UserError, choose
from paper_lib.contract.spec import RunSpec
from paper_lib.study import (
    archive,
    captions,
    catalogue,
    claims,
    conclusion,
    drawing,
    offline,
    outcomes,
    parameters,
    paths,
    plan,
    published,
    rates,
    scales,
    screening,
    tables,
    verdicts,
)
from paper_lib.study.catalogue import Entry
from paper_lib.study.frames import Frames

WITH_RESULT = ('done', 'archived')  # states of a run


@dataclasses.dataclass(frozen=True)
class Book:
    """Runs of one notebook at one scale. `store` is where trained runs are (a `paper_lib.data.store.Store`)."""

    name: str
    parameters: parameters.Parameters
    entries: tuple[Entry, ...]  # figures and tables that it shows
    runs_of: dict[str, tuple[RunSpec, ...]]  # chapter of the archive -> the runs shown, the optional ones too
    planned: frozenset[str]  # ids of the planned runs; all others are optional
    store: Any

    @property
    def scale(self) -> str:
        """The name of the scale."""
        return self.parameters.scale

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """The runs of all chapters, each once."""
        every = {}
        for specs in self.runs_of.values():
            every |= dict.fromkeys(specs)
        return tuple(every)

    def state(self) -> pd.DataFrame:
        """One row per run with its state, as `archive.state` gives it.

        A run of several chapters counts as archived only if every chapter has it in its archive.
        """
        folder = paths.archive(self.scale)
        parts = []
        for chapter, specs in self.runs_of.items():
            parts.append(archive.state(specs, self.store, folder, chapter, self.planned))
        rows = pd.concat(parts, ignore_index=True)
        archived_last = (rows.state == 'archived').argsort(kind='stable')
        return rows.iloc[archived_last].drop_duplicates('run_id').sort_index()

    def runs(self) -> tables.Counted:
        """The state of every run: a row per task, agent, or both if there are several, and a column per pair seed."""
        rows = self.state()
        order = [*agents.AGENTS, *dict.fromkeys(rows.task)]
        ranks = {name: rank for rank, name in enumerate(order)}
        table = rows.pivot(index=self._row_keys, columns='pair_seed', values='state').fillna('')
        return tables.Counted(table.sort_index(key=lambda level: level.map(ranks)))

    @property
    def _row_keys(self) -> list[str]:
        """The columns that tell the rows of a table of runs apart."""
        keys = []
        for key in ('task', 'agent'):
            if len({getattr(spec, key) for spec in self.specs}) > 1:
                keys.append(key)
        return keys or ['agent']

    def to_train(self) -> list[RunSpec]:
        """Runs without a result, after the sources that they need here. None where training is off."""
        if not self.parameters.trains:
            return []
        state = self.state()
        left_out = state.state.isin(WITH_RESULT)
        if self.parameters.train != 'all':
            left_out |= state.state == 'optional'
        ids = set(state.run_id[~left_out])
        specs = [spec for spec in self.specs if spec.run_id in ids]
        sources = [spec.source for spec in specs if spec.source]
        lacking = [source for source in sources if self.store.status(source) != 'done']
        return list(dict.fromkeys([*lacking, *specs]))

    def needs(self) -> list[RunSpec]:
        """The planned runs that are not archived alone, finished here or not, after the sources that they need here."""
        state = self.state()
        ids = set(state.run_id[~state.state.isin(('archived', 'optional'))])
        specs = [spec for spec in self.specs if spec.run_id in ids]
        return list(dict.fromkeys([*(spec.source for spec in specs if spec.source), *specs]))

    def archive(self) -> tables.Counted:
        """Copy what the figures need of the finished runs into figures/data; returns the number of runs per state."""
        folder = paths.archive(self.scale)
        for chapter, specs in self.runs_of.items():
            dropped = archive.add(specs, self.store, folder, chapter)
            for run_id, reason in dropped.items():
                print(f'dropped from figures/data: {run_id}, as {reason}')
        vars(self).pop('_obstacles', None)  # they are computed again, from the new runs
        counts = self.state().groupby([*self._row_keys, 'state'], sort=False).size()
        return tables.Counted(counts.unstack(fill_value=0))

    def frames(self, entry: Entry | str) -> Frames:
        """The archived rows that a figure or a table is made of, given itself or by its name."""
        if isinstance(entry, str):
            entry = choose('name', entry, {known.name: known for known in self.entries})
        specs = self.runs_of[entry.chapter]
        return load(entry, specs, scales.get(self.scale), self.planned)

    def lacking(self, train: str) -> list[RunSpec]:
        """The runs that 'yes' or 'all' trains on a machine without runs: those not archived, after their sources."""
        wanted = []
        for chapter, specs in self.runs_of.items():
            archived = archive.ids(paths.archive(self.scale), chapter)
            for spec in specs:
                if spec.run_id not in archived and (train == 'all' or spec.run_id in self.planned):
                    wanted += [spec.source, spec] if isinstance(spec.source, RunSpec) else [spec]
        return list(dict.fromkeys(wanted))

    def cost(self, train: str) -> str:
        """How many runs 'yes' or 'all' trains on a machine without runs, and the hours if archived runs tell them."""
        return ', '.join(filter(None, [f'{len(self.lacking(train))} runs', self.hours(train)]))

    def hours(self, train: str) -> str:
        """How long the runs of `cost` take; '' if archived runs do not tell it."""
        hours = rates.hours(self.lacking(train), rates.measured(scales.get(self.scale)))
        return '' if hours is None else f'about {math.ceil(hours)} hours of one core'

    def caption(self, entry: Entry, rows: Frames) -> str:
        """What stands below a figure or a table."""
        if not rows.missing and not rows.optional_missing:
            return captions.caption(entry, rows)
        return captions.caption(entry, rows, {train: self.cost(train) for train in ('yes', 'all')}, self._obstacles)

    @functools.cached_property
    def _obstacles(self) -> dict[str, str]:
        """The claims of the notebook that lack runs or a verdict, and why no run of the scale can decide them."""
        own = catalogue.NOTEBOOKS[self.name].claims
        if not own:
            return {}
        return {claim: reason for claim, reason in verdicts.waiting(self.scale).items() if claim in own}

    def figure(self, name: str, tasks: Sequence[str] = (), agents: Sequence[str] = ()) -> drawing.Drawing:
        """Draw a figure from the archive and save it as PNG, PDF and caption.

        With `tasks`, or with `agents` (names or groups), only these are drawn, and nothing is saved. Active, which the
        others are compared with, stays. Raises UserError for a name that is not in the figure.
        """
        figures = {entry.name: entry for entry in self.entries if entry.is_figure}
        entry = choose('figure', name, figures)
        rows = self.frames(entry)
        if tasks or agents:
            return _part(entry, rows, tasks, agents)
        caption = self.caption(entry, rows)
        path = paths.drawings(self.scale) / name
        png = drawing.save(entry.make(rows), path, drawing.provenance(rows))
        paths.write(path.with_name(f'{name}.md'), f'{caption}\n'.encode())
        return drawing.Drawing(png, caption)

    def table(self, name: str) -> tables.Table:
        """Compute a table from the archive and save it as CSV, Markdown and LaTeX."""
        known = {entry.name.removeprefix('table_'): entry for entry in self.entries if not entry.is_figure}
        return self._save(choose('table', name, known))

    def outcome(self) -> outcomes.Outcome:
        """What came out, in sentences that follow from the archive."""
        if self.name == '0_base_agent':
            return outcomes.Outcome([conclusion.of_base_agent(published.table(self.frames('table_base_agent')))])
        if self.name == '6_offline_measure':
            found = conclusion.without_acting(offline.table(self.frames('table_offline')))
            bought = catalogue.ENTRIES['table_price'].make(self.frames('table_price'))
            return outcomes.Outcome([' '.join(found), conclusion.of_trigger(bought)])
        seeds = self.parameters.seeds
        notebook = catalogue.NOTEBOOKS[self.name]
        if notebook.chapter == 'toy_maze':
            return outcomes.Outcome([conclusion.maze(self.scale, seeds)])
        return outcomes.Outcome(points=conclusion.of_claims(notebook.claims, self.scale, seeds))

    def screening(self) -> tables.Table:
        """Which tasks Active learns at scale laptop."""
        return screening.table()

    def claims(self) -> tables.Table:
        """Test the paper's claims that the notebook is about; saved as table_claims_NAME."""
        entry = catalogue.tested(self.name)
        ids = catalogue.NOTEBOOKS[self.name].claims
        rows = verdicts.table(entry.chapter, scales.get(self.scale), ids, self.parameters.seeds)
        saved = self._save(entry, rows.drop(columns=claims.KEYS))
        return outcomes.Claims(saved.frame, saved.caption)

    def _save(self, entry: Entry, table_rows: pd.DataFrame | None = None) -> tables.Table:
        rows = self.frames(entry)
        if table_rows is None:
            table_rows = entry.make(rows)
        table = tables.Table(table_rows, self.caption(entry, rows))
        tables.save(table.frame, paths.drawings(self.scale) / entry.name, table.caption)
        return table


def _part(entry: Entry, rows: Frames, tasks: Sequence[str], names: Sequence[str]) -> drawing.Drawing:
    """A figure of these tasks and agents alone."""
    for task in tasks:
        choose('task', task, dict.fromkeys(rows.tasks))
    chosen = set(agents.group(*names) if names else entry.agents)
    if not chosen & set(entry.agents):
        raise UserError(f'agents={tuple(names)}: must be some of {", ".join(entry.agents)}')
    shown = [name for name in entry.agents if name in chosen | {'active'}]
    whole = rows.of(tasks or rows.tasks, key='task')  # all runs of a task set the units of its scores
    part = whole.of(shown)
    png = drawing.png(entry.make(whole, shown), drawing.provenance(part))
    return drawing.Drawing(png, captions.caption(entry, part))


def load(entry: Entry, specs: Sequence[RunSpec], scale: scales.Scale, planned: frozenset[str]) -> Frames:
    """What the archive of a scale has of an entry's runs among `specs`. Those not `planned` are optional.

    A task is left out if none of its runs is planned or has a result, unless that is so of all tasks.
    """
    optional = frozenset(spec.run_id for spec in specs) - planned
    exploratory = tuple(scale.exploratory(entry.chapter))
    shown = entry.part(specs, optional, exploratory)
    folder = paths.archive(scale.name)
    rows = archive.load(shown, folder, entry.chapter, optional=optional, scale=scale.name, exploratory=exploratory)
    rows = begun(rows)
    warnings = [scale.warning, entry.warning(rows) if entry.name else '']
    return dataclasses.replace(rows, warning='; '.join(filter(None, warnings)))


def shown(name: str, scale: scales.Scale) -> Frames:
    """What the archive of a scale has of the figure or table of this name."""
    entry = catalogue.ENTRIES[name]
    return load(entry, plan.specs(entry.chapter, scale, optional=True), scale, plan.planned(scale))


def begun(rows: Frames) -> Frames:
    """The tasks of which a run is planned or has a result; all tasks, if there is none of these."""
    found = {*rows.runs.task, *(spec.task for spec in rows.specs if spec.run_id not in rows.optional)}
    return rows.of(found, key='task') if found else rows


def open(name: str, names: dict[str, Any], store: Any) -> Book:
    """The notebook of this name with the parameters found in its `globals()`.

    Raises UserError for a wrong parameter, a notebook that does not exist, and one of whose chapters the scale plans
    no run.
    """
    choose('notebook', name, catalogue.NOTEBOOKS)
    chosen = parameters.check(names)
    scale = scales.get(chosen.scale)
    planned = plan.planned(scale, chosen.seeds)
    chapters = {chapter: plan.specs(chapter, scale, chosen.seeds, optional=True) for chapter in scale.chapters}
    return _open(name, chosen, chapters, planned, store)


def every(names: dict[str, Any], store: Any) -> list[Book]:
    """The notebooks of the scale with these parameters, as `open`. It is faster than to open one after the other."""
    chosen = parameters.check(names)
    scale = scales.get(chosen.scale)
    chapters = {chapter: plan.specs(chapter, scale, chosen.seeds, optional=True) for chapter in scale.chapters}
    planned = plan.planned(scale, chosen.seeds)
    return [_open(name, chosen, chapters, planned, store) for name in catalogue.in_scale(scale)]


def _open(
    name: str,
    chosen: parameters.Parameters,
    chapters: dict[str, list[RunSpec]],
    planned: frozenset[str],
    store: Any,
) -> Book:
    """A notebook; `chapters` holds all runs of each chapter of the scale, the optional ones too."""
    with_claims = catalogue.shown_and_tested(name)
    runs_of = {}
    for chapter in dict.fromkeys(entry.chapter for entry in with_claims):
        specs = choose('chapter', chapter, chapters)
        optional = {spec.run_id for spec in specs} - planned
        exploratory = scales.get(chosen.scale).exploratory(chapter)
        shown = set()
        for entry in with_claims:
            if entry.chapter == chapter:
                shown.update(spec.run_id for spec in entry.part(specs, optional, exploratory))
        runs_of[chapter] = tuple(spec for spec in specs if spec.run_id in shown)
    return Book(name, chosen, tuple(catalogue.shown(name)), runs_of, planned, store)
