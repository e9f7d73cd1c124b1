"""Comparisons of agents, of which the claims are made: a value for every pair, and the range asked of their mean.

A pair is a task and a pair seed.
"""

import functools
import typing

import numpy as np
import pandas as pd

from paper_lib.contract import agents, quantities
from paper_lib.study import stats

# Normalised scores that differ by less count as equal: a tenth of what the Active agent gains over random actions. Set
# before any run of these agents was seen.
MARGIN = 0.1
EARLY = 0.5  # share of a run that counts as its beginning
SOLVED = 0.9  # share of its final normalised score that Active has by then on a task that it solves early
PAIR = ['task', 'pair_seed']
LISTED = 3  # pairs of a task from which on exceptions to C12 are listed


class Runs(typing.NamedTuple):
    """What claims are computed from; in all but `finals` scores are normalised, and tasks on which Active is no better
    than random are left out."""

    finals: pd.DataFrame  # one row per run: means over its last evaluations
    learned: pd.DataFrame  # the same, with normalised `score`
    areas: pd.DataFrame  # one row per run: means over all its evaluations
    early: pd.DataFrame  # one row per run: means over the first half of its evaluations
    curves: pd.DataFrame  # one row per evaluation


class Row(typing.NamedTuple):
    """One comparison: a value per task and pair seed, and the range in which the claim wants their mean."""

    statistic: str
    agents: tuple[str, ...]
    values: typing.Callable[[Runs], pd.Series] | None  # indexed by PAIR; None: the runs do not record it
    above: float = -np.inf
    below: float = np.inf
    exact: typing.Callable[[pd.Series], pd.Series] | None = None  # what every single value fulfils; then there is no p
    listed: typing.Callable[[Runs], str] | None = None  # further words for the statistic
    needs: str = ''  # what has to be recorded first


def _outcome(runs: Runs, column: str, of: str) -> pd.DataFrame:
    """The table in which the values of a quantity may be compared. Losses are compared by their ratio, as recorded."""
    return runs.finals if column in ('wm_loss', 'added') else getattr(runs, of)


WORDS = {'added': 'environment steps added, percent', 'reward_error': 'predicted - collected reward of a step'}
WHEN = {'learned': 'final', 'areas': 'area under the curve of', 'early': 'first half of training:'}


def compared(
    agent: str, baseline: str = 'active', column: str = 'score', *, above: float = -np.inf, below: float = np.inf,
    of: str = 'learned',
) -> Row:  # fmt: skip
    """Difference of two agents of the same task and pair seed; of world-model losses the log ratio.

    `of` names the table of `Runs` that the values are taken from.
    """
    loss = column == 'wm_loss'
    name = WORDS.get(column) or quantities.get(column).words
    words = f'normalised {name}' if column == 'score' else name
    compare = stats.log_ratio if loss else stats.difference

    def values(runs):
        pairs = stats.pairs(_outcome(runs, column, of), agent, baseline, column)
        if column == 'reward_error' and pairs.isna().all(axis=None):
            pairs = pairs[:0]  # of runs that did not record it
        return pd.Series(compare(pairs), pairs.index, dtype=float)

    when = '' if column == 'added' else f'{WHEN[of]} '
    text = f'{agent} against {baseline}: {"log ratio" if loss else "difference"} of {when}{words}'
    return Row(text, (agent, baseline), values, above, below)


compared_loss = functools.partial(compared, column='wm_loss')
compared_value_error = functools.partial(compared, column='value_error')


def about_equal(agent: str, baseline: str = 'active') -> Row:
    """Scores that differ by less than MARGIN."""
    return compared(agent, baseline, above=-MARGIN, below=MARGIN)


def best_weight(kind: str) -> Row:
    """The best mixed weight against the better of 0 and 1, both chosen on the other pair seeds, seen on this one."""
    names = agents.family(kind)
    inside = ', '.join(f'{weight:g}' for weight in names.values() if 0 < weight < 1)
    text = f'{kind}: normalised score of the best w_expl of {inside} less that of the best of 0 and 1'

    def values(runs):
        return best_inside(by_weight(runs.learned, names))

    def best(runs):
        means = by_weight(runs.learned, names).groupby('task').mean()
        return '; best: ' + (', '.join(f'{w:g} in {task}' for task, w in means.idxmax(axis=1).items()) or 'none yet')

    return Row(text, tuple(names), values, above=0.0, listed=best)


def by_weight(finals: pd.DataFrame, names: dict) -> pd.DataFrame:
    """Scores (task, pair seed) x weight, of the pairs that have every agent of `names` {agent: weight}."""
    own = finals[finals.agent.isin(names)].set_index(PAIR)
    own = own[own.groupby(PAIR).agent.transform('nunique') == len(names)]
    return own.set_index('agent', append=True).score.unstack('agent').reindex(columns=names).rename(columns=names)


def best_inside(table: pd.DataFrame) -> pd.Series:
    """Scores (task, pair seed) x weight -> advantage of the best weight between 0 and 1 over the better of 0 and 1.

    Both are chosen by their mean over the task's other pair seeds, so that luck of the choice is no advantage. Tasks
    with one pair seed have no value.
    """
    ends, found = table.columns.isin([0.0, 1.0]), {}
    for (task, seed), own in table.iterrows():
        others = table.loc[task].drop(index=seed)
        if len(others):
            ok, mean = finite(table.loc[task]), others.mean()
            inside, outside = (own[mean[part].idxmax()] if ok else np.nan for part in (~ends, ends))
            found[task, seed] = inside - outside
    return _series(found)


def by_task(values: pd.Series) -> dict[str, np.ndarray]:
    """Values by task and pair seed -> {task: (n,)}."""
    return {task: own.to_numpy() for task, own in values.groupby(level='task')}


def finite(values: typing.Any) -> bool:
    """Whether all values are finite numbers."""
    return bool(np.isfinite(np.asarray(values, float)).all())


def _series(found: dict) -> pd.Series:
    return pd.Series(found.values(), pd.MultiIndex.from_tuples(found, names=PAIR), dtype=float)


def distance(agent: str, exact: typing.Callable[[pd.Series], pd.Series] | None) -> Row:
    """Mean over evaluations of the absolute difference of normalised score from the Active run."""

    def values(runs):
        sides = [_curve(runs.curves, name) for name in (agent, 'active')]
        gap = pd.concat(sides, axis=1, join='inner').diff(axis=1).iloc[:, 1].abs()
        return gap.groupby(PAIR).agg(lambda x: x.mean(skipna=False))

    text = f'{agent} against active: mean distance of normalised score over training'
    return Row(text, (agent, 'active'), values, exact=exact)


def _curve(curves: pd.DataFrame, agent: str) -> pd.Series:
    """Normalised scores of an agent by task, pair seed and environment step."""
    return curves[curves.agent == agent].set_index([*PAIR, 'env_step']).score


def smallest_distance() -> Row:
    """Distance from Active of every Tandem agent with other weights, and of the one with equal weights.

    Of a pair the value is the smallest distance of those with other weights, or -1 if the one with equal weights is
    not exactly where Active is.
    """
    names = agents.group('alphas')
    parts = {name: distance(name, None).values for name in names}

    def values(runs):
        gaps = pd.DataFrame({name: part(runs) for name, part in parts.items()})
        same = gaps.columns.isin([name for name in names if agents.get(name).values['alpha'] == 0])
        gaps = gaps[gaps.loc[:, same].notna().all(axis=1) & gaps.loc[:, ~same].notna().any(axis=1)]
        left = (gaps.loc[:, same] != 0).any(axis=1)
        return gaps.loc[:, ~same].min(axis=1).where(~left, -1.0)

    text = 'smallest distance of normalised score over training from Active, of all alphas above 0; -1: alpha 0 differs'
    return Row(text, (*names, 'active'), values, exact=lambda x: x > 0)


def correlations(finals: pd.DataFrame) -> pd.Series:
    """Rank correlation of final loss and score over the agents of each task and pair seed with three or more.

    0 where one of the two is the same for all; NaN where a value is not finite.
    """
    found = {}
    for pair, own in finals.groupby(PAIR):
        ranks = own[['wm_loss', 'score']].rank()
        if len(own) > 2:
            constant = (ranks.nunique() == 1).any()
            ok = finite(own[['wm_loss', 'score']])
            found[pair] = (0.0 if constant else ranks.corr().iloc[0, 1]) if ok else np.nan
    return _series(found)


def correlation(words: str, group: str) -> Row:
    """Rank correlation of loss and score over the agents of a group; `words` say which these are."""
    names = agents.group(group)
    text = f'rank correlation of final world-model loss and score over {words} of a pair'
    return Row(text, ('active',), lambda runs: correlations(runs.finals[runs.finals.agent.isin(names)]), below=0.0)


def counter_examples(finals: pd.DataFrame) -> pd.DataFrame:
    """Agents with a higher loss than Active and yet no lower score (by MARGIN) in every pair of a task, if LISTED.

    `finals` with normalised `score`. Of agents with Active's own loss, one in eight would be among them with three
    pairs. Columns task, agent, n.
    """
    active = finals[finals.agent == 'active'][[*PAIR, 'score', 'wm_loss']]
    both = finals[finals.agent != 'active'].merge(active, on=PAIR, suffixes=('', '_active'))
    both['yet'] = (both.wm_loss > both.wm_loss_active) & (both.score > both.score_active - MARGIN)
    found = both.groupby(['task', 'agent']).yet.agg(['all', 'size']).reset_index()
    found = found[found['all'].astype(bool) & (found['size'] >= LISTED)]
    return found[['task', 'agent', 'size']].rename(columns={'size': 'n'}).reset_index(drop=True)


def exceptions(runs: Runs) -> str:
    """The agents of `counter_examples`, in words."""
    pairs = runs.learned[runs.learned.agent != 'active'].groupby(['task', 'agent']).size()
    if pairs.max() < LISTED or pairs.empty:
        return f'; exceptions: looked for from {LISTED} pairs of a task on'
    found = counter_examples(runs.learned)
    return '; exceptions: ' + (', '.join(f'{row.agent} in {row.task}' for row in found.itertuples()) or 'none')


def only_on(row: Row, chosen: typing.Callable[[Runs], list[str]], words: str) -> Row:
    """The same row on some of the tasks, which a function of the runs chooses."""

    def values(runs):
        found = row.values(runs)
        return found[found.index.isin(chosen(runs), level='task')]

    return row._replace(statistic=f'{row.statistic} ({words})', values=values)


def solved_early(runs: Runs) -> list[str]:
    """Tasks on which Active has, over the last fifth of the first half, SOLVED of its final normalised score."""
    active = runs.curves[runs.curves.agent == 'active']
    ends = active.groupby('run_id').env_step.transform('max')
    middle = active[(active.env_step <= EARLY * ends) & (active.env_step > (1 - stats.LAST) * EARLY * ends)]
    means = middle.groupby('task').score.mean()
    return list(means.index[means >= SOLVED])


def freeway_tasks(runs: Runs) -> list[str]:
    """The tasks of the game freeway."""
    return [task for task in runs.finals.task.unique() if task.startswith('freeway-')]


def falls_back() -> Row:
    """How much more of Active's score Passive has in the first half of training than at its end."""
    early, late = compared('passive', of='early'), compared('passive')

    def values(runs):
        return early.values(runs) - late.values(runs)

    text = 'passive against active: difference of normalised score in the first half of training, less that at its end'
    return Row(text, ('passive', 'active'), values, above=0.0)


def unrecorded(statistic: str, needs: str) -> Row:
    """A row that cannot be computed from what runs record today, and what it needs."""
    return Row(statistic, ('active', 'passive', 'tandem'), None, needs=needs)
