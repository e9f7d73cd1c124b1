"""The paper's claims as statistics of the runs that exist. `docs/protocol.md` gives the reasons for the choice.

C1 to C12 are the claims of the paper; P1 to P9 are what its published version adds;
P5 is an experiment that it leaves for future work, whose direction is ours.
"""

import functools
import itertools
import typing
from collections.abc import Collection

import numpy as np
import pandas as pd

from paper_lib.contract import agents, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.study import reference, stats, steps
from paper_lib.study.comparisons import (
    APART,
    EARLY,
    EQUAL,
    MARGIN,
    Row,
    Runs,
    about_equal,
    best_weight,
    compared,
    compared_loss,
    compared_value_error,
    correlation,
    distance,
    exceptions,
    falls_back,
    finite,
    freeway_tasks,
    in_units,
    of_steps,
    only_on,
    pairs_with,
    part_on,
    part_without,
    score_units,
    smallest_distance,
    solved_early,
    split_by_task,
    taken,
    units,
)
from paper_lib.study.names import listed
from paper_lib.study.scales import MAIN

LEVEL = 0.05  # rate of wrong verdicts: of one row, and with Holm's correction of all primary rows together
KNOWN_PAIR = 10  # its result was known when it was decided which claims get further pairs
WITHOUT_KNOWN = f'without pair {KNOWN_PAIR}'
MAZE = ('C1', 'C2', 'C3')  # what the toy maze can test
ON_MAIN = listed([tasks.get(name).short for name in MAIN])
KNOWN = 'share of the steps with little reward whose world-model loss is not unusual'
UNSEEN = 'share of the steps with an unusual world-model loss whose reconstruction loss is not unusual'
PRIMARY, SECONDARY = 'primary', 'secondary'
NO_PAIRS, SUPPORTED, CONTRADICTED, UNDECIDED = 'no pairs', 'supported', 'contradicted', 'undecided'
NOT_FINITE = 'A value is not a finite number.'
COLUMNS = [
    'id', 'claim', 'row', 'agent', 'table', 'part', 'statistic', 'asked', 'estimate', 'low', 'high', 'p', 'adjusted_p',
    'pairs', 'tasks', 'verdict', 'words', 'iqm', 'iqm_low', 'iqm_high',
]  # fmt: skip


KEYS = ['agent', 'table', 'part']  # columns by which code finds a row of a claim about scores


class Claim(typing.NamedTuple):
    """One claim in a sentence. The first of its rows is primary, the others are secondary."""

    id: str
    text: str
    rows: tuple[Row, ...]


TEXTS = {
    'C1': 'Offline agents end with a lower score than the Active agent.',
    'C2': 'The world-model loss of offline agents on their own episodes ends higher than that of Active.',
    'C3': 'Offline agents overestimate their value more than Active does.',
    'C4': "The second half of Active's data alone teaches less than a uniform half of all of it.",
    'C5': 'On exploration data, Passive is at least as good as the explorer that collected them.',
    'C6': 'A mixed reward collects better data than the task or exploration alone.',
    'C7': 'With 10 % of data of its own, Passive is as good as Active.',
    'C8': 'The adaptive schedule is as good as the fixed one of 10 %.',
    'C9': 'It makes no difference to Passive whether it starts from the initial weights of Active or from others.',
    'C10': 'Tandem follows Active exactly from equal initial weights, and leaves it from any others.',
    'C11': 'Tandem ends with a lower score than Active even if it has the world model of Active.',
    'C12': 'Of the agents of a pair, those with a higher world-model loss end with a lower score.',
    'P1': 'Sharing the world model of Active does not harm Tandem.',
    'P2': 'A policy can fail in states that its world model knows well.',
    'P3': 'The reconstruction loss of the policy input can stay low where the world model is wrong.',
    'P4': 'Offline agents overestimate their reward more than Active does.',
    'P5': 'An agent that stops collecting half-way ends with a lower score than one that goes on.',
    'P6': 'One percent of data of its own makes Passive worse than none.',
    'P7': 'On freeway, Passive ends with a lower score than Active.',
    'P8': 'Where Active solves the task early, later data add nothing to the first half of its data.',
    'P9': 'Passive falls behind Active between the first half of training and its end.',
}


def every_claim() -> list[Claim]:
    """All claims with their rows, in the order of the tables. The first row of each claim is its primary one."""
    offline = [name for name in agents.group('compared') if agents.get(name).source]
    adaptive = [name for name in agents.group('thresholds') if name != 'passive_auto']
    tiny = [name for name in agents.group('alphas') if agents.get(name).values['alpha'] > 0]
    shared_model = [compared(agent, below=0.0) for agent in agents.group('world_models')]
    stopped = compared('active_stopped', below=0.0)
    other_thresholds = []
    for agent in adaptive:
        other_thresholds.append(about_equal(agent, 'passive_10'))
        other_thresholds.append(compared(agent, 'passive_10', 'added', below=0.0))
    on_early = functools.partial(only_on, chosen=solved_early, words='tasks that Active solves early')
    on_freeway = functools.partial(only_on, chosen=freeway_tasks, words='freeway')
    on_main = functools.partial(part_on, names=MAIN, words=ON_MAIN)
    without_known = functools.partial(part_without, seed=KNOWN_PAIR, words=WITHOUT_KNOWN)
    lower_scores = tuple(compared(agent, below=0.0) for agent in offline)
    higher_losses = tuple(compared_loss(agent, above=0.0) for agent in offline)
    higher_errors = tuple(compared_value_error(agent, above=0.0) for agent in offline)
    higher_rewards = tuple(compared(agent, column='reward_error', above=0.0) for agent in offline)
    rows = {
        'C1': (
            *lower_scores,
            *(compared(agent, below=0.0, table='areas') for agent in offline),
            *map(on_main, lower_scores),
        ),
        'C2': (*higher_losses, *map(on_main, higher_losses)),
        'C3': (*higher_errors, *map(on_main, higher_errors)),
        'C4': (
            compared('passive_half', 'passive_expert', above=0.0),
            compared_loss('passive_half', 'passive_expert', below=0.0),
        ),
        'C5': (compared('passive_expl', 'active_expl', above=-MARGIN), about_equal('tandem_expl', 'active_expl')),
        'C6': tuple(best_weight(kind) for kind in ('active', 'passive')),
        'C7': (about_equal('passive_10'), compared('passive_10', 'passive', above=0.0)),
        'C8': (
            about_equal('passive_auto', 'passive_10'),
            compared('passive_auto', 'passive_10', 'added', below=0.0),
            compared('passive_auto', 'passive', above=0.0),
            *other_thresholds,
        ),
        'C9': (about_equal('passive_same', 'passive'), about_equal('passive_expl_same', 'passive_expl')),
        'C10': (
            smallest_distance(),
            distance('tandem_alpha_0', EQUAL),
            *(distance(agent, APART) for agent in tiny),
            *(compared(agent, below=0.0) for agent in tiny),
        ),
        'C11': (*shared_model, without_known(shared_model[0])),
        'C12': (
            correlation('Active, Passive and Tandem', 'compared'),
            correlation('all agents', agents.EVERY)._replace(listed=exceptions),
        ),
        'P1': (
            compared('tandem_same_wm', 'tandem', above=-MARGIN),
            compared('tandem_same_wm', 'tandem', above=0.0),
            compared('passive_frozen_wm', 'passive', below=MARGIN),
        ),
        'P2': tuple(of_steps(agent, steps.known_failures, KNOWN) for agent in (*offline, 'active')),
        'P3': tuple(of_steps(agent, steps.unseen_errors, UNSEEN) for agent in (*offline, 'active')),
        'P4': (*higher_rewards, *map(on_main, higher_rewards)),
        'P5': (
            stopped,
            compared_loss('active_stopped', above=0.0),
            compared_value_error('active_stopped', above=0.0),
            without_known(stopped),
        ),
        'P6': (compared('passive_1', 'passive', below=0.0),),
        'P7': (on_freeway(compared('passive', below=0.0)), on_freeway(compared_loss('passive', below=0.0))),
        'P8': (
            on_early(compared('passive', 'passive_suboptimal', below=MARGIN)),
            on_early(compared('passive_half', 'passive_suboptimal', below=0.0)),
        ),
        'P9': (falls_back(), compared('passive', above=0.0, table='early'), on_main(falls_back())),
    }
    return [Claim(name, TEXTS[name], tuple(map(_of_pairs_that_it_takes, rows[name]))) for name in TEXTS]


def _of_pairs_that_it_takes(row: Row) -> Row:
    """The same row without the pairs that a comparison of its agents does not take."""
    if row.has_others:
        return row

    def values(runs):
        of_all_pairs = row.values(runs)
        return of_all_pairs[taken(row.agents, of_all_pairs.index.to_frame())]

    return row._replace(values=values)


def primary_rows() -> pd.DataFrame:
    """The primary row of every claim, announced before its runs.

    Columns: id, claim, primary row, asked of the mean.
    """
    rows = []
    for claim in every_claim():
        row = claim.rows[0]
        asked = _asked(row)
        rows.append({'id': claim.id, 'claim': claim.text, 'primary row': row.statistic, 'asked of the mean': asked})
    return pd.DataFrame(rows)


def zero(task: str) -> float:
    """Mean score of random actions in the maze: they never come near the goal."""
    return 0.0


def random(chapter: str) -> typing.Callable[[str], float]:
    """The function that gives the mean score of random actions in a task of this chapter."""
    return zero if chapter == 'toy_maze' else reference.random_score


def added(metrics: pd.DataFrame) -> pd.Series:
    """Environment steps that a run added, in percent of those of its source, by run id.

    A source has as many steps as its followers.
    """
    last = metrics.sort_values('env_step').groupby('run_id').tail(1).set_index('run_id')
    return 100 * last.added / last.env_step if 'added' in last else pd.Series(dtype=float)


RECORDED = ('score', 'wm_loss', 'value_error', 'reward_error')
UNITS = {'value_error': 'mc_return', 'reward_error': 'reward_collected'}  # of Active, where there are several tasks


def gather(metrics: pd.DataFrame, random: typing.Callable[[str], float], traces: pd.DataFrame | None = None) -> Runs:
    """The tables that claims are computed from. `random` gives the mean score of the uniform random policy in a task.

    If there are several tasks, value errors are in units of Active's mean discounted return, and reward errors in units
    of its mean reward.
    """
    lacking = {*UNITS.values(), 'reward_predicted'} - set(metrics.columns)
    metrics = metrics.assign(**dict.fromkeys(lacking, np.nan))
    metrics['reward_error'] = metrics.reward_predicted - metrics.reward_collected
    finals = stats.final(metrics, *RECORDED, *UNITS.values())
    finals['added'] = finals.run_id.map(added(metrics))
    normalise = functools.partial(in_units, of_active=score_units(finals, random), random=random)
    normalised = normalise(finals)
    if metrics.task.nunique() > 1:
        for column, name in UNITS.items():
            unit = units(finals, name)
            normalised[column] = normalised[column] / stats.by_task(normalised, unit.where(unit > 0))
    first_half = metrics[metrics.env_step <= EARLY * metrics.groupby('run_id').env_step.transform('max')]
    return Runs(
        finals=finals,
        normalised=normalised,
        areas=normalise(stats.final(metrics, *RECORDED, share=1.0)),
        early=normalise(stats.final(first_half, *RECORDED, share=1.0)),
        curves=normalise(metrics),
        traces=steps.NONE if traces is None else traces,
    )


def verdict(low: float, high: float, above: float = -np.inf, below: float = np.inf) -> str:
    """The verdict on a claim that the mean lies between `above` and `below`, from its interval `low` to `high`.

    It is 'supported' if the interval lies inside this range, 'contradicted' if it lies outside, else 'undecided'.
    """
    if np.isnan([low, high]).any():
        return UNDECIDED
    if above < low and high < below:
        return SUPPORTED
    return CONTRADICTED if high < above or low > below else UNDECIDED


def table(
    metrics: pd.DataFrame,
    random: typing.Callable[[str], float] = zero,
    ids: tuple[str, ...] = MAZE,
    primary: bool = False,
    traces: pd.DataFrame | None = None,
    secondary: bool = True,
) -> pd.DataFrame:
    """One row per comparison of the claims `ids`, also of comparisons without pairs, but not of parts without any.

    Columns: id, claim, row (primary or secondary), agent (the first one), table and part (as in `Row`), statistic,
    asked (where the mean lies if the claim holds), estimate (`stats.mean_of_tasks`), low, high (its 95 % interval), p
    (`stats.p_of_range`), adjusted_p (Holm, over the primary rows of all claims), pairs (same task and pair seed),
    tasks, verdict, words, and for comparison iqm, iqm_low, iqm_high (interquartile mean of all pairs with its bootstrap
    interval). `random` gives the mean score of the uniform random policy in a task. Without `primary` all rows are
    secondary, because the claims are judged by other metrics than these. `traces` has the steps of the final episodes,
    for the claims about steps. Without `secondary` there is only the first row of each claim.
    """
    runs = gather(metrics, random, traces)
    rows = []
    for claim in every_claim():
        if claim.id not in ids and not primary:
            continue
        is_whole = secondary and claim.id in ids
        claim_rows = claim.rows if is_whole else claim.rows[:1]  # Holm's correction needs all primary rows
        for row in claim_rows:
            kind = PRIMARY if primary and row is claim.rows[0] else SECONDARY
            found = outcome(row, runs)
            if found['pairs'] or not row.part:
                what = {'agent': row.agents[0], 'table': row.table, 'part': row.part}
                rows.append({'id': claim.id, 'claim': claim.text, 'row': kind} | what | found)
    results = pd.DataFrame(rows, columns=[*COLUMNS, 'limits', 'tests'])
    is_corrected = (results.row == PRIMARY) & results.tests
    results['adjusted_p'] = results.adjusted_p.astype(float)
    results.loc[is_corrected, 'adjusted_p'] = stats.holm(results.p[is_corrected])
    results.loc[results.adjusted_p >= LEVEL, 'verdict'] = UNDECIDED
    results['words'] = [in_words(row) for row in results.itertuples()]
    return results[results.id.isin(ids)][COLUMNS].reset_index(drop=True)


def outcome(row: Row, runs: Runs) -> dict[str, typing.Any]:
    """The results of a row by column, without Holm's correction.

    Besides COLUMNS there are `limits`, the range of the claim, and `tests`, whether the row has a p-value.
    """
    values = row.values(runs)
    groups = split_by_task(values) if len(values) else {}
    test = stats.sign_flips(groups) if groups and finite(values) else None
    estimate = stats.mean_of_tasks(groups, test)
    iqm = stats.stratified(groups)
    p = np.nan
    if not estimate.n:
        decision = NO_PAIRS
    elif row.exact:
        estimate = estimate._replace(low=np.nan, high=np.nan)
        decision = _exact_verdict(row, values)
    else:
        if test:
            p = stats.p_of_range(test, row.above, row.below)
        decision = verdict(estimate.low, estimate.high, row.above, row.below)
    return {
        'statistic': row.statistic + (row.listed(runs) if row.listed else ''),
        'asked': _asked(row),
        'estimate': estimate.value, 'low': estimate.low, 'high': estimate.high, 'p': p, 'adjusted_p': np.nan,
        'pairs': estimate.n, 'tasks': len(groups), 'verdict': decision,
        'iqm': iqm.value, 'iqm_low': iqm.low, 'iqm_high': iqm.high,
        'limits': (row.above, row.below), 'tests': row.exact is None,
    }  # fmt: skip


def given_pairs(before: Collection[RunSpec], after: Collection[RunSpec], in_plan: Collection[str]) -> list[str]:
    """Ids of the claims whose primary row has more pairs in the runs `after` than in those `before`.

    A row compares those of its agents that are `in_plan`.
    """
    found = []
    for claim in every_claim():
        names = set(in_plan).intersection(claim.rows[0].agents)
        if pairs_with(names, after) > pairs_with(names, before):
            found.append(claim.id)
    return found


def too_few(pairs: int) -> bool:
    """Whether a row with so many pairs is undecided whatever they show: even if all agree, p is not below LEVEL."""
    return 2.0 ** (1 - pairs) >= LEVEL


FEWEST = next(pairs for pairs in itertools.count(1) if not too_few(pairs))  # that can decide a row


def waits(verdict: str, pairs: int, p: float | None) -> bool:
    """Whether a row is undecided because it has too few pairs. A row without p is undecided for another reason."""
    return verdict == UNDECIDED and bool(pd.notna(p)) and too_few(pairs)


def _asked(row: Row) -> str:
    """Where the mean, or every single value, lies if the claim is true."""
    return row.exact.words if row.exact else within(row.above, row.below)


def _exact_verdict(row: Row, values: pd.Series) -> str:
    """The verdict on a row whose every single value must fulfil a condition."""
    if not finite(values):
        return UNDECIDED
    return SUPPORTED if row.exact.holds(values).all() else CONTRADICTED


def in_words(row: typing.Any) -> str:
    """A sentence about a row of the table, which is a named tuple of its columns."""
    above, below = row.limits
    if row.verdict == NO_PAIRS:
        return 'No pair of these agents has run where claims are tested.'
    if not row.tests:
        if row.verdict == SUPPORTED:
            return 'Every single pair is as the claim says.'
        if row.verdict == CONTRADICTED:
            return 'At least one pair is not as the claim says.'
        return NOT_FINITE
    place = within(above, below)
    if row.verdict == SUPPORTED:
        return f'The whole interval lies {place}, as the claim says.'
    if row.verdict == CONTRADICTED:
        return f'No part of the interval lies {place}, unlike what the claim says.'
    if np.isnan(row.p):
        return NOT_FINITE
    if too_few(row.pairs):
        return f'{row.pairs} {"pair is" if row.pairs == 1 else "pairs are"} too few for any verdict.'
    if row.p < LEVEL:
        return f'Alone this row would be decided (p = {row.p:.2g}); corrected for all claims it is undecided.'
    return f'These pairs do not decide whether the mean lies {place}.'


def within(above: float, below: float) -> str:
    """A range in words."""
    if not np.isfinite(below):
        return f'above {above:g}'
    if not np.isfinite(above):
        return f'below {below:g}'
    return f'between {above:g} and {below:g}'
