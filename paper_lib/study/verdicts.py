"""The claims tested on the archived runs of a scale."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import pandas as pd

from paper_lib.contract.scales import Scale
from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive, claims, paths, plan, scales
from paper_lib.study.comparisons import pairs_with
from paper_lib.study.names import counted

TESTED = {'study': tuple(claims.TEXTS), 'toy_maze': claims.MAZE}  # chapter of the archive -> the claims that it tests


def table(chapter: str, scale: Scale, ids: tuple[str, ...], seeds: int = 0, secondary: bool = True) -> pd.DataFrame:
    """The table of these claims on the archived runs of a chapter, as `claims.table` gives it.

    Besides its columns there is `planned`: the number of pairs that are planned, where some of them have not run, else
    that of pairs. Runs of all agents count, since a primary row is judged among those of all claims; exploratory runs
    do not. In the maze every row is secondary. Without `secondary` a claim has its first row alone.
    """
    tested = plan.specs(chapter, scale, seeds, optional=True, exploratory=False)
    folder = paths.archive(scale.name)
    complete = {spec.run_id for spec in tested} & archive.ids(folder, chapter)
    is_primary = chapter == 'study'
    of_runs = {}
    for name in ('metrics', 'traces') if is_primary else ('metrics',):  # no claim about steps is tested in the maze
        rows = archive.table(folder, chapter, name)
        of_runs[name] = rows[rows.run_id.isin(complete)].reset_index(drop=True)
    found = claims.table(
        of_runs['metrics'],
        claims.random(chapter),
        ids,
        primary=is_primary,
        traces=of_runs.get('traces'),
        secondary=secondary,
    )
    found['planned'] = found.pairs
    if is_primary:
        pairs_of = _progress(tested, complete)
        for index, row in found[found.row == claims.PRIMARY].iterrows():
            pairs = pairs_of[row.id]
            if pairs.finished < pairs.planned:
                found.loc[index, 'planned'] = pairs.planned
    return found


def primary_table(scale: str) -> pd.DataFrame:
    """The row of `claims.table` by which each claim is judged."""
    return table('study', scales.get(scale), TESTED['study'], secondary=False)


def on_each_task(names: Collection[str], scale: Scale, ids: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Task -> the first row of each of these claims on the study's runs of this task alone, indexed by `id`.

    These rows decide nothing, so no p is adjusted.
    """
    tested = plan.specs('study', scale, optional=True, exploratory=False)
    metrics = archive.table(paths.archive(scale.name), 'study', 'metrics')
    metrics = metrics[metrics.run_id.isin([spec.run_id for spec in tested])]
    found = {}
    for task in names:
        own = metrics[metrics.task == task].reset_index(drop=True)
        found[task] = claims.table(own, claims.random('study'), ids, secondary=False).set_index('id')
    return found


class Progress(NamedTuple):
    """How many pairs have all planned agents of the primary row of a claim, and how many it needs at least."""

    planned: int
    finished: int
    needed: int


def progress(scale: str) -> dict[str, Progress]:
    """Claim -> how far its pairs are, those that are planned as optional ones included."""
    specs = plan.specs('study', scales.get(scale), optional=True, exploratory=False)
    return _progress(specs, archive.ids(paths.archive(scale), 'study'))


def _progress(specs: list[RunSpec], archived: Collection[str]) -> dict[str, Progress]:
    finished = [spec for spec in specs if spec.run_id in archived]
    in_plan = {spec.agent for spec in specs}
    found = {}
    for claim in claims.every_claim():
        row = claim.rows[0]
        names = in_plan.intersection(row.agents)
        needed = 1 if row.exact else claims.FEWEST
        found[claim.id] = Progress(pairs_with(names, specs), pairs_with(names, finished), needed)
    return found


def waiting(scale: str) -> dict[str, str]:
    """Claims that are undecided or lack planned pairs -> why no run of their agents can decide them; '' if runs can."""
    pairs_of = progress(scale)
    found = {}
    for row in primary(scale):
        if row['verdict'] in (claims.NO_PAIRS, claims.UNDECIDED) or row['planned'] > row['pairs']:
            found[row['id']] = obstacle(row, pairs_of[row['id']])
    return found


NO_RUN_DECIDES = (
    'At this scale, no further run of the agents that they compare can decide'  # before claims with reasons
)


def obstacle(row: dict[str, Any], pairs: Progress) -> str:
    """Why planned runs of its agents that have no result yet cannot decide a primary row of `rows`; '' if they can."""
    if row['verdict'] == claims.NO_PAIRS and pairs.finished:
        return 'no finished pair is of the kind that is asked for'
    if pairs.planned < pairs.needed:
        return 'too few pairs are planned'
    if pairs.finished < pairs.planned:
        return ''
    if row['p'] is not None and row['p'] < claims.LEVEL:
        return 'all planned pairs have run, and only the correction for other claims can still change the verdict'
    return 'all planned pairs have run'


def rows(scale: str) -> list[dict[str, Any]]:
    """One row per test of a claim at a scale, also of tests without pairs. Every number is a float, an int or None.

    Columns: id, claim, row (primary or secondary), statistic, asked (where the mean lies if the claim holds), on (the
    maze, or a number of tasks), estimate, low and high (its 95 % interval; None where there is none), p, adjusted_p,
    pairs, planned (as in `table`), verdict.
    """
    known = scales.get(scale)
    found = []
    for chapter, ids in TESTED.items():
        if chapter in known.chapters:
            found += _plain(table(chapter, known, ids), chapter)
    return found


def primary(scale: str) -> list[dict[str, Any]]:
    """The row of `rows` by which each claim is judged."""
    return _plain(primary_table(scale), 'study')


def _plain(frame: pd.DataFrame, chapter: str) -> list[dict[str, Any]]:
    """The rows of `claims.table` as `rows` gives them."""
    found = []
    for row in frame.to_dict('records'):
        on = 'maze' if chapter == 'toy_maze' else counted(row['tasks'], 'task')
        numbers = {name: _finite(row[name]) for name in ('estimate', 'low', 'high', 'p', 'adjusted_p')}
        kept = {name: row[name] for name in ('id', 'claim', 'row', 'statistic', 'asked')}
        found.append(kept | {'on': on} | numbers | {name: row[name] for name in ('pairs', 'planned', 'verdict')})
    return found


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def words(row: dict[str, Any]) -> dict[str, str]:
    """The numbers of a row as a reader sees them: the estimate with its interval, both p-values, pairs, verdict."""
    return {
        'estimate, 95 % interval': estimate(row),
        'p': probability(row['p']),
        'adjusted p': probability(row['adjusted_p']),
        'pairs': of_planned(row),
        'verdict': row['verdict'],
    }


def of_planned(row: dict[str, Any]) -> str:
    """The number of pairs of a row, beside that of the planned ones where some have not run."""
    planned = row.get('planned', row['pairs'])
    return f'{row["pairs"]} of {planned}' if planned > row['pairs'] else str(row['pairs'])


def probability(p: float | None) -> str:
    """A p-value as a reader sees it; '' if there is none."""
    if p is None or math.isnan(p):
        return ''
    return f'{p:.3f}' if p >= 0.001 else f'{p:.1e}'


def number(value: float) -> str:
    """A number as a reader sees it."""
    digits = 2 if abs(value) < 10 else 1
    return f'{round(value, digits) + 0.0:.{digits}f}'  # never -0.00


def estimate(row: dict[str, Any]) -> str:
    """The estimate of a row with its interval, which too few pairs do not have; '' without an estimate."""
    if pd.isna(row['estimate']):
        return ''
    value = number(row['estimate'])
    if row['low'] is None or not math.isfinite(row['low']):
        return value
    return f'{value} [{number(row["low"])}, {number(row["high"])}]'
