"""The paper's claims as statistics on whatever runs exist."""

import functools
import typing

import numpy as np
import pandas as pd

from paper_lib.contract import agents, quantities
from paper_lib.study import reference, stats

# Pairs below which an interval gives no verdict. Where there is no effect (normal values), this share of the tests of
# a sign would give one: 24 % of those with 3 pairs, 11 % with 4, 9 % with 5, 6 % with 8; the interval's level
# promises 5 %. With 3 pairs in each of several tasks, resampled within tasks: 15 % with 2 tasks, 14 % with 3, 12 % with
# 8 or 31; with 5 pairs in each of 3 tasks 9 %.
ENOUGH = 5
# Normalised scores that differ by less count as equal: a tenth of what the Active agent gains over random actions. Set
# before any run of these agents was seen. With 3 pairs in each of 3 tasks, a true difference of just this size would
# count as equal in 7 % of the tests; none at all in 73 % where the seeds' standard deviation is 0.1, 29 % where 0.15.
MARGIN = 0.1
PAIR = ['task', 'pair_seed']
LISTED = 3  # pairs of a task from which on exceptions to C12 are listed
MAZE = ('C1', 'C2', 'C3')  # what the toy maze can test
COLUMNS = ['id', 'claim', 'statistic', 'estimate', 'low', 'high', 'n', 'tasks', 'verdict']


class Claim(typing.NamedTuple):
    """One row of the table: a value per task and pair seed, and what the claim says of their interquartile mean.

    `values`: Runs -> Series indexed by task and pair seed; `rule`: Estimate, values (n,) -> verdict.
    """

    id: str
    statistic: str
    agents: tuple[str, ...]
    values: typing.Callable
    rule: typing.Callable
    listed: typing.Callable | None = None  # Runs -> further words for the statistic


class Runs(typing.NamedTuple):
    """What claims are computed from; `learned` and `curves` without tasks on which Active is no better than random."""

    finals: pd.DataFrame  # one row per run
    learned: pd.DataFrame  # as finals, with normalised `score`
    curves: pd.DataFrame  # metrics with normalised `score`


def verdict(low: float, high: float, above: float = -np.inf, below: float = np.inf) -> str:
    """Of an interval and the range that a claim names: 'supported' inside, 'contradicted' outside, else 'undecided'."""
    if not finite([low, high]):
        return 'undecided'
    outside = high < above or low > below
    return 'supported' if above < low and high < below else 'contradicted' if outside else 'undecided'


def within(above: float = -np.inf, below: float = np.inf) -> typing.Callable:
    """Rule: the interval lies in this range, of ENOUGH pairs."""
    return lambda found, _: verdict(found.low, found.high, above, below) if found.n >= ENOUGH else 'undecided'


def every(test: typing.Callable) -> typing.Callable:
    """Rule: every single value passes, be it the only one."""

    def rule(_, values):
        if values.empty or not finite(values):
            return 'undecided'
        return 'supported' if test(values).all() else 'contradicted'

    return rule


def finite(values) -> bool:
    return bool(np.isfinite(np.asarray(values, float)).all())


NEGATIVE, POSITIVE, EQUAL = within(below=0.0), within(above=0.0), within(-MARGIN, MARGIN)
NOT_BELOW = within(above=-MARGIN)

TEXTS = {
    'C1': 'offline agents score below the Active agent',
    'C2': 'the degradation comes with a higher world-model loss on their own rollouts',
    'C3': 'offline agents overestimate their value',
    'C4': 'expert data alone is worse than mixed data',
    'C5': 'with exploration data, Passive is at least as good as Active-expl and Tandem about equal',
    'C6': 'pure exploration is not best, a mixed reward is',
    'C7': '10 % self-generated data recovers the Active agent',
    'C8': 'the adaptive schedule recovers it with less data',
    'C9': 'same or different initial weights make no difference for Passive',
    'C10': 'even a tiny alpha makes Tandem diverge from Active',
    'C11': 'an identical world model does not remove the degradation',
    'C12': 'world-model loss is a pessimistic indicator',
}


def _compared(claim, agent, baseline, rule, column='score', compare=stats.difference):
    """One agent against another of the same task and pair seed."""
    row = quantities.get(column)
    what = f'normalised {row.words}' if row.normalised == 'score' else row.words

    def values(runs):
        pairs = stats.pairs(runs.finals if column == 'wm_loss' else runs.learned, agent, baseline, column)
        return pd.Series(compare(pairs), pairs.index)

    how = {stats.difference: 'difference', stats.log_ratio: 'log ratio'}[compare]
    return Claim(claim, f'{agent} against {baseline}: {how} of final {what}', (agent, baseline), values, rule)


_loss = functools.partial(_compared, column='wm_loss', compare=stats.log_ratio)
_error = functools.partial(_compared, column='value_error')


def _added(agent):
    """Percent of its source's environment steps that an agent added, less those that the fixed schedule added."""

    def values(runs):
        pairs = stats.pairs(runs.finals, agent, 'passive_10', 'added')
        return pd.Series(stats.difference(pairs), pairs.index)

    text = f'{agent} against passive_10: difference of environment steps added, percent'
    return Claim('C8', text, (agent, 'passive_10'), values, NEGATIVE)


def _weights(kind):
    """The best mixed weight against the better of 0 and 1, both chosen on the other pair seeds, seen on this one."""
    names = agents.family(kind)
    inside = ', '.join(f'{weight:g}' for weight in names.values() if 0 < weight < 1)
    text = f'{kind}: normalised score of the best w_expl of {inside} less that of the best of 0 and 1'

    def best(runs):
        means = by_weight(runs.learned, names).groupby('task').mean()
        return '; best: ' + (', '.join(f'{w:g} in {task}' for task, w in means.idxmax(axis=1).items()) or 'none yet')

    return Claim('C6', text, tuple(names), lambda runs: best_inside(by_weight(runs.learned, names)), POSITIVE, best)


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


def _series(found):
    return pd.Series(found.values(), pd.MultiIndex.from_tuples(found, names=PAIR), dtype=float)


def _distance(agent, rule):
    """Mean over evaluations of the absolute difference of normalised score from the Active run."""

    def values(runs):
        sides = [runs.curves[runs.curves.agent == name].set_index([*PAIR, 'env_step']).score
                 for name in (agent, 'active')]  # fmt: skip
        gap = pd.concat(sides, axis=1, join='inner').diff(axis=1).iloc[:, 1].abs()
        return gap.groupby(PAIR).agg(lambda x: x.mean(skipna=False))

    text = f'{agent} against active: mean distance of normalised score over training'
    return Claim('C10', text, (agent, 'active'), values, rule)


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


def _exceptions(runs):
    pairs = runs.learned[runs.learned.agent != 'active'].groupby(['task', 'agent']).size()
    if pairs.max() < LISTED or pairs.empty:
        return f'; exceptions: looked for from {LISTED} pairs of a task on'
    found = counter_examples(runs.learned)
    return '; exceptions: ' + (', '.join(f'{row.agent} in {row.task}' for row in found.itertuples()) or 'none')


def every_claim() -> list[Claim]:
    """All rows of the table, in the order of the paper's claims."""
    offline = [name for name in agents.group('compared') if agents.get(name).source]
    adaptive = agents.group('thresholds')
    tiny = [name for name in agents.group('alphas') if agents.get(name).values['alpha'] > 0]
    return [
        *(_compared('C1', agent, 'active', NEGATIVE) for agent in offline),
        *(_loss('C2', agent, 'active', POSITIVE) for agent in offline),
        *(_error('C3', agent, 'active', POSITIVE) for agent in offline),
        _compared('C4', 'passive_half', 'passive_expert', POSITIVE),
        _loss('C4', 'passive_half', 'passive_expert', NEGATIVE),
        _compared('C5', 'passive_expl', 'active_expl', NOT_BELOW),
        _compared('C5', 'tandem_expl', 'active_expl', EQUAL),
        *(_weights(kind) for kind in ('active', 'passive')),
        _compared('C7', 'passive_10', 'active', EQUAL),
        _compared('C7', 'passive_10', 'passive', POSITIVE),
        *(row for agent in adaptive for row in (_compared('C8', agent, 'passive_10', EQUAL), _added(agent))),
        _compared('C9', 'passive_same', 'passive', EQUAL),
        _compared('C9', 'passive_expl_same', 'passive_expl', EQUAL),
        _distance('tandem_alpha_0', every(lambda x: x == 0)),
        *(_distance(agent, every(lambda x: x > 0)) for agent in tiny),
        *(_compared('C11', agent, 'active', NEGATIVE) for agent in agents.group('world_models')),
        Claim('C12', 'rank correlation of final world-model loss and score over the agents of a pair', ('active',),
              lambda runs: correlations(runs.finals), NEGATIVE, _exceptions),
    ]  # fmt: skip


def zero(task: str) -> float:
    """Mean score of random actions in the maze: they never come near the goal."""
    return 0.0


def random(chapter: str) -> typing.Callable[[str], float]:
    """The function that gives the mean score of random actions in a task of this chapter."""
    return zero if chapter == 'toy_maze' else reference.random_score


def added(metrics: pd.DataFrame) -> pd.Series:
    """Environment steps that a run added, in percent of those of its source (which is as long), by run id."""
    last = metrics.sort_values('env_step').groupby('run_id').tail(1).set_index('run_id')
    return 100 * last.added / last.env_step if 'added' in last else pd.Series(dtype=float)


def gather(metrics: pd.DataFrame, random: typing.Callable[[str], float]) -> Runs:
    """`random`: the uniform random policy's mean score of a task."""
    finals = stats.final(metrics, 'score', 'wm_loss', 'value_error')
    finals['added'] = finals.run_id.map(added(metrics))
    lost = stats.unlearned(finals, random)
    learned, curves = (stats.normalised(x[~x.task.isin(lost)], random) for x in (finals, metrics))
    if metrics.task.nunique() > 1:
        returns = stats.reference(metrics, 'mc_return')
        learned['value_error'] = learned.value_error / stats.by_task(learned, returns.where(returns > 0))
    return Runs(finals, learned, curves)


def table(metrics: pd.DataFrame, random=zero, ids=MAZE) -> pd.DataFrame:
    """One row per comparison of the claims `ids`, whether the agents ran or not.

    Columns: id, claim, statistic, estimate (interquartile mean over pairs), low, high (95 % bootstrap interval,
    by `stats.stratified`), n (pairs: same task and pair seed), tasks (their number, where there are several), verdict.
    `random` gives the uniform random policy's mean score of a task; scores are normalised by it and by Active's, and
    tasks on which Active is no better are left out where scores or values are compared. Value errors of several tasks
    are in units of Active's mean discounted return.
    """
    runs = gather(metrics, random)
    found = pd.DataFrame([tested(claim, runs) for claim in every_claim() if claim.id in ids], columns=COLUMNS)
    return found if metrics.task.nunique() > 1 else found.drop(columns='tasks')


def tested(claim: Claim, runs: Runs, summary: typing.Callable = stats.iqm) -> dict:
    """One row of the table; `summary` of the pairs in place of their interquartile mean."""
    values = claim.values(runs)
    groups = {task: own.to_numpy() for task, own in values.groupby(level='task')}
    found = stats.stratified(groups, summary)
    statistic = claim.statistic + (claim.listed(runs) if claim.listed else '')
    return dict(
        zip(
            COLUMNS, (claim.id, TEXTS[claim.id], statistic, *found, len(groups), claim.rule(found, values)), strict=True
        )
    )
