"""Comparisons of agents, from which the claims are built: a value for every pair, and a range for their mean.

A pair is identified by a task and a pair seed.
"""

import collections
import functools
import typing

import numpy as np
import pandas as pd

from paper_lib.contract import agents, quantities
from paper_lib.contract.spec import RunSpec
from paper_lib.study import stats, steps
from paper_lib.study.scales import LATER_PAIRS, MAIN

# Normalised scores that differ by less than this count as equal: a tenth of what the Active agent gains over random
# actions. It was chosen before any run of these agents was seen.
MARGIN = 0.1
EARLY = 0.5  # share of a run that counts as its beginning
# Active solves a task early if it has this share of its final normalised score at the end of the beginning.
SOLVED = 0.9
PAIR = steps.PAIR
LISTED = 3  # exceptions to C12 are listed for tasks with at least so many pairs


class Runs(typing.NamedTuple):
    """The tables that claims are computed from.

    In all tables but `finals`, scores are normalised, and tasks on which Active is no better than random are left out.
    In `normalised` alone, errors of values and rewards are in units of Active, if there are several tasks.
    """

    finals: pd.DataFrame  # one row per run: means over its last evaluations
    normalised: pd.DataFrame  # the same with normalised scores
    areas: pd.DataFrame  # one row per run: means over all its evaluations
    early: pd.DataFrame  # one row per run: means over the first half of its evaluations
    curves: pd.DataFrame  # one row per evaluation
    traces: pd.DataFrame  # one row per step of the final episodes


def takes(names: typing.Collection[str], task: str, pair_seed: int) -> bool:
    """Whether a comparison of these agents takes a pair; see LATER_PAIRS."""
    is_later = task in MAIN and pair_seed in LATER_PAIRS
    return not is_later or _has_others(frozenset(names))


def taken(names: typing.Collection[str], rows: pd.DataFrame) -> np.ndarray:
    """Whether a comparison of these agents takes the pair of each row, (rows,). Columns: PAIR."""
    pairs = zip(rows.task, rows.pair_seed, strict=True)
    return np.array([takes(names, task, pair_seed) for task, pair_seed in pairs], bool)


@functools.cache
def _has_others(names: frozenset[str]) -> bool:
    """Whether there are other agents among these than Active, Passive and Tandem."""
    return not names <= {*agents.group('compared')}


def pairs_with(names: typing.Collection[str], specs: typing.Iterable[RunSpec]) -> int:
    """The number of pairs that a comparison of these agents takes, and in which all of them are among `specs`."""
    found = collections.defaultdict(set)
    for spec in specs:
        found[spec.task, spec.pair_seed].add(spec.agent)
    return sum(agents_of >= set(names) and takes(names, *pair) for pair, agents_of in found.items())


def units(finals: pd.DataFrame, column: str) -> pd.Series:
    """The mean final value of Active by task, as `stats.of_active` gives it, that later pairs do not move.

    On a task that has later pairs alone, it is that of these.
    """
    earlier = finals[taken(agents.group('compared'), finals)]
    return stats.of_active(earlier, column).combine_first(stats.of_active(finals, column))


def score_units(finals: pd.DataFrame, random: typing.Callable[[str], float]) -> dict[str, float]:
    """The `units` of scores by task, of the tasks on which Active is better than random actions.

    A unit that is not finite is kept: it leaves the rows of claims undecided.
    """
    return {task: score for task, score in units(finals, 'score').items() if not score <= random(task)}


def in_units(frame: pd.DataFrame, of_active: dict[str, float], random: typing.Callable[[str], float]) -> pd.DataFrame:
    """The rows on tasks with `score_units` (`of_active`), with scores normalised: 0 is random actions, 1 the unit."""
    learned = frame[frame.task.isin(of_active)]
    zero = stats.by_task(learned, {task: random(task) for task in of_active})
    one = stats.by_task(learned, of_active)
    return learned.assign(score=(learned.score - zero) / (one - zero))


def label(agent: str) -> str:
    """The name of an agent in figures."""
    return agents.get(agent).label


class Exact(typing.NamedTuple):
    """A condition that every single value must fulfil."""

    words: str
    holds: typing.Callable[[pd.Series], pd.Series]


EQUAL = Exact('every single value exactly 0', lambda values: values == 0)
APART = Exact('every single value above 0', lambda values: values > 0)


class Row(typing.NamedTuple):
    """One comparison: a value for each pair, and the range in which their mean lies if the claim is true."""

    statistic: str
    agents: tuple[str, ...]
    values: typing.Callable[[Runs], pd.Series]  # the values, indexed by PAIR
    above: float = -np.inf
    below: float = np.inf
    exact: Exact | None = None  # takes the place of a test, so there is no p
    listed: typing.Callable[[Runs], str] | None = None  # words that are added to the statistic
    table: str = ''  # of `Runs`, if all values are taken from one by `compared`
    has_others: bool = False  # whether it has agents of a pair besides these
    part: str = ''  # the pairs that it has of another row; it has no values where it would have all of them


# How a row of a comparison is worded: columns that are no quantity, and tables of `Runs`.
WORDS = {'added': 'environment steps added, percent', 'reward_error': 'predicted - collected reward of a step'}
WHEN = {
    'finals': 'final',
    'normalised': 'final',
    'areas': 'area under the curve of',
    'early': 'first half of training:',
}


def compared(
    agent: str, baseline: str = 'active', column: str = 'score', *, above: float = -np.inf, below: float = np.inf,
    table: str = 'normalised',
) -> Row:  # fmt: skip
    """Difference of a quantity between two agents of the same pair. World-model losses have a log ratio instead.

    `table` names the table of `Runs` that the values are taken from. Losses and added steps, which are not normalised,
    are always taken from `finals`.
    """
    is_loss = column == 'wm_loss'
    compare = stats.log_ratio if is_loss else stats.difference
    table = 'finals' if column in ('wm_loss', 'added') else table

    def values(runs):
        pairs = stats.pairs(getattr(runs, table), agent, baseline, column)
        if column == 'reward_error' and pairs.isna().all(axis=None):
            pairs = pairs[:0]  # the runs did not record it
        return pd.Series(compare(pairs), pairs.index, dtype=float)

    words = WORDS.get(column) or quantities.get(column).words
    if column == 'score':
        words = f'normalised {words}'
    when = '' if column == 'added' else f'{WHEN[table]} '
    comparison = 'log ratio' if is_loss else 'difference'
    text = f'{label(agent)} against {label(baseline)}: {comparison} of {when}{words}'
    return Row(text, (agent, baseline), values, above, below, table=table)


compared_loss = functools.partial(compared, column='wm_loss')
compared_value_error = functools.partial(compared, column='value_error')


def about_equal(agent: str, baseline: str = 'active') -> Row:
    """The claim that the scores of two agents differ by less than MARGIN."""
    return compared(agent, baseline, above=-MARGIN, below=MARGIN)


def best_weight(kind: str) -> Row:
    """The best weight of the exploration reward strictly between 0 and 1, against the better of 0 and 1: `best_inside`.

    `kind` names the agents, see `agents.family`.
    """
    weights = agents.family(kind)  # {agent: weight}
    inside = ', '.join(f'{weight:g}' for weight in weights.values() if 0 < weight < 1)
    text = f'{label(kind)}: normalised score of the best w_expl of {inside} less that of the best of 0 and 1'

    def values(runs):
        return best_inside(by_weight(runs.normalised, weights))

    def best(runs):
        means = by_weight(runs.normalised, weights).groupby('task').mean().dropna(how='all')
        best_weights = [f'{weight:g} in {task}' for task, weight in means.idxmax(axis=1).items()]
        return '; best: ' + (', '.join(best_weights) or 'none yet')

    return Row(text, tuple(weights), values, above=0.0, listed=best)


def by_weight(finals: pd.DataFrame, weights: dict[str, float]) -> pd.DataFrame:
    """Scores with an index PAIR and a column for each weight, of the pairs that have all agents of `weights`.

    `weights` is {agent: weight}.
    """
    of_agents = finals[finals.agent.isin(weights)].set_index(PAIR)
    is_complete = of_agents.groupby(PAIR).agent.transform('nunique') == len(weights)
    scores = of_agents[is_complete].set_index('agent', append=True).score.unstack('agent')
    return scores.reindex(columns=weights).rename(columns=weights)


def best_inside(table: pd.DataFrame) -> pd.Series:
    """Advantage of the best weight strictly between 0 and 1 over the better of 0 and 1, for each pair.

    `table` has the scores as `by_weight` gives them. Both weights are chosen by their means over the task's other pair
    seeds, so that a lucky choice is no advantage. Pairs of a task with one pair seed have no value.
    """
    is_end = table.columns.isin([0.0, 1.0])
    advantages = {}
    for (task, seed), scores in table.iterrows():
        others = table.loc[task].drop(index=seed)
        if others.empty:
            continue
        if finite(table.loc[task]):
            means = others.mean()
            advantages[task, seed] = scores[means[~is_end].idxmax()] - scores[means[is_end].idxmax()]
        else:
            advantages[task, seed] = np.nan
    return steps.by_pair(advantages)


def split_by_task(values: pd.Series) -> dict[str, np.ndarray]:
    """Values by task and pair seed -> {task: (n,)}."""
    return {task: of_task.to_numpy() for task, of_task in values.groupby(level='task')}


def finite(values: typing.Any) -> bool:
    """Whether all values are finite numbers."""
    return bool(np.isfinite(np.asarray(values, float)).all())


def distance(agent: str, exact: Exact | None) -> Row:
    """Absolute difference of normalised score from the Active run, mean over evaluations. `exact` is as in `Row`."""

    def values(runs):
        of_agent = runs.curves[runs.curves.agent == agent]
        of_active = runs.curves[runs.curves.agent == 'active']
        both = of_agent.merge(of_active, on=[*PAIR, 'env_step'], suffixes=('', '_active'))
        gaps = (both.score - both.score_active).abs()
        return gaps.groupby([both[name] for name in PAIR]).agg(lambda x: x.mean(skipna=False))

    text = f'{label(agent)} against Active: mean distance of normalised score over training'
    return Row(text, (agent, 'active'), values, exact=exact)


def smallest_distance() -> Row:
    """The smallest distance from Active of the Tandem agents of a pair with initial weights unlike Active's.

    The value is -1 if the Tandem agent with Active's initial weights (alpha 0) has a distance other than 0.
    """
    names = agents.group('alphas')
    equal_names = [name for name in names if agents.get(name).values['alpha'] == 0]
    distances = {name: distance(name, None).values for name in names}

    def values(runs):
        found = {name: function(runs) for name, function in distances.items()}
        gaps = pd.DataFrame(found)
        has_run = pd.DataFrame({name: gaps.index.isin(own.index) for name, own in found.items()}, gaps.index)
        is_equal = gaps.columns.isin(equal_names)
        is_complete = has_run.loc[:, is_equal].all(axis=1) & has_run.loc[:, ~is_equal].any(axis=1)
        is_finite = (gaps.notna() | ~has_run).all(axis=1)  # no value of an agent that has run is dropped
        has_left = (gaps.loc[:, is_equal] != 0).any(axis=1)
        return gaps.loc[:, ~is_equal].min(axis=1).where(~has_left, -1.0).where(is_finite)[is_complete]

    text = 'smallest distance of normalised score over training from Active, of all alphas above 0; -1: alpha 0 differs'
    return Row(text, (*names, 'active'), values, exact=APART)


def correlations(finals: pd.DataFrame) -> pd.Series:
    """Rank correlation of final loss and score over the agents of each pair with three or more agents.

    It is 0 if all agents have the same loss or the same score, and NaN if a value is not finite.
    """
    by_pair = {}
    columns = ['wm_loss', 'score']
    values = finals[columns].to_numpy(float)
    ranks = finals.groupby(PAIR)[columns].rank().to_numpy()
    for pair, places in finals.groupby(PAIR).indices.items():
        if len(places) < 3:
            continue
        of_pair = ranks[places].T
        if not finite(values[places]):
            by_pair[pair] = np.nan
        elif any(len(set(of_column)) == 1 for of_column in of_pair):
            by_pair[pair] = 0.0
        else:
            by_pair[pair] = np.corrcoef(of_pair)[0, 1]
    return steps.by_pair(by_pair)


def correlation(words: str, group: str) -> Row:
    """Rank correlation of loss and score over the agents of a group. `words` names these agents."""
    names = agents.group(group)
    text = f'rank correlation of final world-model loss and score over {words} of a pair'

    def values(runs):
        return correlations(runs.finals[runs.finals.agent.isin(names)])

    if group == agents.EVERY:
        return Row(text, ('active',), values, below=0.0, has_others=True)
    return Row(text, tuple(names), values, below=0.0)


def counter_examples(finals: pd.DataFrame) -> pd.DataFrame:
    """Agents that have, in every pair of a task, a higher loss than Active and a score that is not lower by MARGIN.

    Only tasks with LISTED pairs or more count. `finals` has normalised scores. With three pairs, one in eight of the
    agents whose loss is distributed as Active's would have the higher loss in every pair. Columns: task, agent, n.
    """
    active = finals[finals.agent == 'active'][[*PAIR, 'score', 'wm_loss']]
    both = finals[finals.agent != 'active'].merge(active, on=PAIR, suffixes=('', '_active'))
    both['is_exception'] = (both.wm_loss > both.wm_loss_active) & (both.score > both.score_active - MARGIN)
    by_agent = both.groupby(['task', 'agent']).is_exception.agg(['all', 'size']).reset_index()
    always = by_agent[by_agent['all'].astype(bool) & (by_agent['size'] >= LISTED)]
    return always[['task', 'agent', 'size']].rename(columns={'size': 'n'}).reset_index(drop=True)


def exceptions(runs: Runs) -> str:
    """The agents of `counter_examples`, in words."""
    pairs = runs.normalised[runs.normalised.agent != 'active'].groupby(['task', 'agent']).size()
    if pairs.empty or pairs.max() < LISTED:
        return f'; exceptions: looked for from {LISTED} pairs of a task on'
    names = [f'{label(row.agent)} in {row.task}' for row in counter_examples(runs.normalised).itertuples()]
    return '; exceptions: ' + (', '.join(names) or 'none')


def only_on(row: Row, chosen: typing.Callable[[Runs], list[str]], words: str) -> Row:
    """The same row on those tasks that `chosen` returns. `words` says which tasks these are."""

    def values(runs):
        on_all_tasks = row.values(runs)
        return on_all_tasks[on_all_tasks.index.isin(chosen(runs), level='task')]

    return row._replace(statistic=f'{row.statistic} ({words})', values=values)


def part_without(row: Row, seed: int, words: str) -> Row:
    """The part of a row without the pairs of this seed. `words` says so."""
    return _part(row, 'pair_seed', lambda seeds: seeds != seed, words)


def part_on(row: Row, names: typing.Collection[str], words: str) -> Row:
    """The part of a row on these tasks. `words` says which tasks these are."""
    return _part(row, 'task', lambda tasks: tasks.isin(names), words)


def _part(row: Row, level: str, is_kept: typing.Callable[[pd.Index], np.ndarray], words: str) -> Row:
    """The part of a row with the pairs whose `level` of PAIR is kept."""

    def values(runs):
        of_all_pairs = row.values(runs)
        kept = is_kept(of_all_pairs.index.get_level_values(level))
        return of_all_pairs[kept & ~np.all(kept)]

    return row._replace(statistic=f'{row.statistic} ({words})', values=values, part=words)


def solved_early(runs: Runs) -> list[str]:
    """Tasks on which Active's mean normalised score, over the last fifth of the first half, is at least SOLVED.

    The final normalised score of Active is 1 on average.
    """
    active = runs.curves[runs.curves.agent == 'active']
    last_step = active.groupby('run_id').env_step.transform('max')
    is_early = active.env_step <= EARLY * last_step
    is_late_in_it = active.env_step > (1 - stats.LAST) * EARLY * last_step
    means = active[is_early & is_late_in_it].groupby('task').score.mean()
    return list(means.index[means >= SOLVED])


def freeway_tasks(runs: Runs) -> list[str]:
    """The tasks of the game freeway."""
    return [task for task in runs.finals.task.unique() if task.startswith('freeway-')]


def falls_back() -> Row:
    """Passive's score minus Active's in the first half of training, less the same difference at the end."""
    early = compared('passive', table='early')
    final = compared('passive')

    def values(runs):
        return early.values(runs) - final.values(runs)

    text = 'Passive against Active: difference of normalised score in the first half of training, less that at its end'
    return Row(text, ('passive', 'active'), values, above=0.0)


def of_steps(agent: str, share: typing.Callable[[steps.Episode], float], words: str) -> Row:
    """A share of the steps of an agent's first final episode, of which most are asked for. `words` say which share."""

    def values(runs):
        return steps.of_pairs(runs.traces, agent, share)

    return Row(f'{label(agent)}: {words}', (agent, 'active'), values, above=0.5)
