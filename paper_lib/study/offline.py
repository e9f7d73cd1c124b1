"""How well measures that take no step in an environment tell which agents have degraded.

`docs/protocol_measures.md` fixes the measures with their directions, the targets and the statistics.
"""

import functools
import math
import typing
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from paper_lib.contract import agents, quantities
from paper_lib.study import reference, sensitivity, stats
from paper_lib.study.frames import Frames

RIVAL = quantities.OOD_RATIO
# 1 where degraded agents should have more of a measure, -1 where they should have less.
DIRECTIONS = {
    'promise_ratio': 1,
    'promise_rate_ratio': 1,
    'round_trip_15': 1,
    'round_trip_50': 1,
    'density_auc': 1,
    'density_ess': -1,
    'edge_spread': 1,
    'imagined_disagreement': 1,
    'imagined_return': 1,
    'kl_recorded': 1,
    'return_across_15': 1,
    'return_across_50': 1,
    'return_elsewhere': -1,
    RIVAL: 1,
}
DEGRADED, OUTSIDE = 'degraded', 'outside'
LEAST_GAIN = 0.8  # of Active's; an agent below it is degraded
THRESHOLD = agents.get('passive_auto').values['interact_above']  # an OOD ratio above it is outside
TARGETS = {
    DEGRADED: f'gain below {LEAST_GAIN:g} of Active',
    OUTSIDE: f'OOD ratio above {THRESHOLD:g}',
}
GOOD = 0.8  # AUROC on every task of a measure that works
# The agents whose runs say what a measure tells: none that a measure steers, and no exact copy of Active.
EVIDENCE = tuple(
    name
    for name, row in agents.AGENTS.items()
    if row.values.get('interact_by') not in DIRECTIONS and row.values.get('alpha') != 0
)
SEEN = agents.group('compared')  # the agents on whose runs the measures were first looked at; all others came later
CHANCE = 0.5  # AUROC of a measure that tells nothing
FEWEST_PAIRS = 5  # of each task
FEWEST_TASKS = 2
RESAMPLES = 2000
WORKS, FAILS, TOO_FEW = 'works', 'fails', 'too few pairs'
BEATS = 'works, beats the OOD ratio'


def moments(metrics: pd.DataFrame, random: Callable[[str], float]) -> pd.DataFrame:
    """Measures and targets at every moment: means over as many evaluations, up to this one, as are final at the end.

    `random` gives the mean score of the uniform random policy in a task. The columns are task, pair_seed, agent,
    env_step, those of DIRECTIONS (turned, so that degraded agents should have more), gain (over random actions, as a
    share of that of the Active agent of the pair), DEGRADED and OUTSIDE (1, 0, or NaN: it cannot be said), and is_last.
    """
    columns = ['score', *DIRECTIONS]
    metrics = metrics.sort_values(['run_id', 'env_step'], ignore_index=True)
    finite = metrics[columns].astype(float).replace([np.inf, -np.inf], np.nan)
    parts = []
    for _, run in finite.groupby(metrics.run_id):
        count = stats.final_count(len(run))
        part = run.rolling(count, min_periods=1).mean().iloc[count - 1 :]
        parts.append(part.assign(is_last=np.arange(len(part)) == len(part) - 1))
    place = ['task', 'pair_seed', 'env_step']
    rows = metrics[['agent', *place]].join(pd.concat(parts), how='inner').reset_index(drop=True)
    gain = rows.score - stats.by_task(rows, {task: random(task) for task in rows.task.unique()})
    of_active = rows.assign(gain=gain)[rows.agent == 'active'].set_index(place).gain
    active_gain = rows[place].join(of_active, on=place).gain
    rows['gain'] = gain / active_gain.where(active_gain > 0)
    rows[DEGRADED] = (rows.gain < LEAST_GAIN).astype(float).where(rows.gain.notna())
    rows[OUTSIDE] = (rows[RIVAL] > THRESHOLD).astype(float).where(rows[RIVAL].notna())
    for name, direction in DIRECTIONS.items():
        rows[name] = direction * rows[name]
    return rows


class Couples(typing.NamedTuple):
    """Couples of runs of one task at the same moment, a degraded one of pair a and another one of pair b."""

    wins: np.ndarray  # (pairs, pairs) indexed [a, b]: in how many the measure is higher for the degraded one; ties: 1/2
    number: np.ndarray  # (pairs, pairs) how many there are


def couples(rows: pd.DataFrame, measure: str, target: str) -> Couples:
    """The couples of one task; `rows` are its moments."""
    pairs, cluster = np.unique(rows.pair_seed, return_inverse=True)
    moment = rows.env_step.to_numpy()
    values = rows[measure].to_numpy()
    targets = rows[target].to_numpy()
    usable = ~np.isnan(values) & ~np.isnan(targets)
    positive = np.flatnonzero(usable & (targets == 1))
    negative = np.flatnonzero(usable & (targets != 1))
    first, second = np.nonzero(moment[positive][:, None] == moment[negative])
    degraded, other = positive[first], negative[second]
    wins = (values[degraded] > values[other]) + 0.5 * (values[degraded] == values[other])
    shape = (len(pairs), len(pairs))
    place = np.ravel_multi_index((cluster[degraded], cluster[other]), shape)
    count = math.prod(shape)
    return Couples(
        np.bincount(place, wins, count).reshape(shape),
        np.bincount(place, minlength=count).astype(float).reshape(shape),
    )


def auroc(tasks: Sequence[Couples], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over tasks of the share of couples won.

    `weights` has for each task how often each pair counts, (R, pairs) for R resamples; returns (R,). A task without a
    couple has no share and is left out; the result is NaN if all tasks are.
    """
    if not tasks:
        return np.array([np.nan])
    shares = []
    for task, weight in zip(tasks, weights, strict=True):
        number, wins = ((weight @ count * weight).sum(axis=1) for count in (task.number, task.wins))
        shares.append(np.divide(wins, number, out=np.full(len(number), np.nan), where=number > 0))
    found = np.isfinite(shares)
    total = np.where(found, shares, 0).sum(axis=0)
    return np.divide(total, found.sum(axis=0), out=np.full(len(total), np.nan), where=found.any(axis=0))


@functools.lru_cache(maxsize=8)
def resampled(sizes: tuple[int, ...]) -> list[np.ndarray]:
    """For each task of so many pairs: how often each pair is drawn in RESAMPLES resamples of the pairs, (R, pairs)."""
    rng = np.random.default_rng(0)
    return [rng.multinomial(size, np.full(size, 1 / size), RESAMPLES) for size in sizes]


class Judged(typing.NamedTuple):
    """The AUROC of a measure for a target on some moments."""

    value: float
    low: float  # 95 % interval
    high: float
    by_task: dict[str, float]
    draws: np.ndarray  # (R,) the AUROC of every resample


def known(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The moments that have a value in all of these columns, on tasks with enough pairs of them (`is_judged`).

    Measures across models have values of Active, Passive and Tandem alone.
    """
    found = rows.dropna(subset=[*columns])
    return found[is_judged(found)]


def judge(rows: pd.DataFrame, measure: str, target: str) -> Judged:
    """The AUROC over these moments of all tasks, at which the measure must be `known`, with its interval."""
    groups = _couples_of_tasks(rows, measure, target)
    tasks = list(groups.values())
    by_task = {name: _each_pair_once([task]) for name, task in groups.items()}
    draws = auroc(tasks, resampled(tuple(len(task.number) for task in tasks)))
    finite = draws[np.isfinite(draws)]
    low, high = np.quantile(finite, stats.TAILS) if len(finite) else (np.nan, np.nan)
    return Judged(_each_pair_once(tasks), float(low), float(high), by_task, draws)


def estimate(rows: pd.DataFrame, measure: str, target: str) -> float:
    """The AUROC over these moments of all tasks, without its interval."""
    return _each_pair_once(list(_couples_of_tasks(rows, measure, target).values()))


def _couples_of_tasks(rows: pd.DataFrame, measure: str, target: str) -> dict[str, Couples]:
    columns = rows[['task', 'pair_seed', 'env_step', measure, target]]
    return {task: couples(of_task, measure, target) for task, of_task in columns.groupby('task')}


def _each_pair_once(tasks: Sequence[Couples]) -> float:
    """The AUROC over the pairs as they are."""
    return float(auroc(tasks, [np.ones((1, len(task.number))) for task in tasks])[0])


class Standing(typing.NamedTuple):
    """How well a measure tells a target: on the tasks where it is known, and on further ones."""

    last: pd.DataFrame  # the moments at the end that it is judged by
    end: Judged
    throughout: Judged  # NaN for a measure that is known at the end alone
    further: float  # the AUROC at the end of the tasks with too few pairs


def standing(rows: pd.DataFrame, measure: str, target: str) -> Standing:
    """The standing of a measure by the moments `rows` of all tasks."""
    ends = rows[rows.is_last]
    last = known(ends, measure, target)
    has_all_moments = quantities.ACROSS not in quantities.get(measure).per
    throughout = rows[rows.task.isin(last.task) & has_all_moments]
    further = estimate(ends[~ends.task.isin(last.task)], measure, target)
    return Standing(last, judge(last, measure, target), judge(throughout, measure, target), further)


def rank_correlation(last: pd.DataFrame, measure: str) -> float:
    """Mean over tasks of Spearman's correlation of a measure with the gain relative to Active's at the end."""
    found = []
    for _, of_task in last.groupby('task'):
        ranks = of_task[[measure, 'gain']].dropna().rank()
        if len(ranks) > 2 and (ranks.nunique() > 1).all():
            found.append(ranks.corr().iloc[0, 1])
    return float(np.mean(found)) if found else np.nan


def elsewhere(last: pd.DataFrame, measure: str, target: str) -> float:
    """Balanced accuracy on a task of the threshold that is best on all others; mean over the tasks left out."""
    found = [told.balanced for told in told_elsewhere(last, measure, target)]
    return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan


class Told(typing.NamedTuple):
    """What a threshold tells rightly; NaN where there are not both kinds, or no threshold."""

    positive: float  # share of the rows with the target
    negative: float  # share of those without it

    @property
    def balanced(self) -> float:
        """The balanced accuracy."""
        return (self.positive + self.negative) / 2


def told_elsewhere(last: pd.DataFrame, measure: str, target: str) -> list[Told]:
    """For every task, what the threshold that is best on all others tells rightly on it."""
    usable = last.dropna(subset=[measure, target])
    found = []
    for task in usable.task.unique():
        is_left_out = usable.task == task
        threshold = best_threshold(usable[~is_left_out], measure, target)
        found.append(tell(usable[is_left_out], measure, target, threshold))
    return found


def best_threshold(rows: pd.DataFrame, measure: str, target: str) -> float:
    """The threshold with the highest balanced accuracy, half-way between two values; the lowest one of several."""
    values = rows[measure].to_numpy()
    is_positive = rows[target].to_numpy() == 1
    different = np.unique(values)
    candidates = (different[:-1] + different[1:]) / 2
    if not len(candidates) or is_positive.all() or not is_positive.any():
        return np.nan
    is_above = np.greater.outer(values, candidates)
    accuracies = (is_above[is_positive].mean(axis=0) + (~is_above[~is_positive]).mean(axis=0)) / 2
    return float(candidates[np.argmax(accuracies)])


def tell(rows: pd.DataFrame, measure: str, target: str, threshold: float) -> Told:
    """What a threshold tells rightly on these rows."""
    is_positive = rows[target] == 1
    is_above = rows[measure] > threshold
    if np.isnan(threshold) or is_positive.all() or not is_positive.any():
        return Told(np.nan, np.nan)
    return Told(float(is_above[is_positive].mean()), float((~is_above[~is_positive]).mean()))


def reaches(found: Judged) -> bool:
    """Whether the AUROC is good on every task that has one, and not that of a measure that tells nothing."""
    values = [value for value in found.by_task.values() if np.isfinite(value)]
    return len(values) >= FEWEST_TASKS and min(values) >= GOOD and found.low > CHANCE


def is_judged(rows: pd.DataFrame) -> pd.Series:
    """Whether a moment is of a task with FEWEST_PAIRS pairs or more; all count if fewer than FEWEST_TASKS have them."""
    pairs = rows.groupby('task').pair_seed.transform('nunique')
    has_enough = pairs >= FEWEST_PAIRS
    return has_enough | (rows.task[has_enough].nunique() < FEWEST_TASKS)


def verdict(end: Judged, against: np.ndarray, pairs: int, tasks: int) -> str:
    """What the protocol says of a measure.

    `against` are the resamples of the difference to the OOD ratio, all NaN where there is none to beat; `pairs` is the
    lowest number of pairs of a task.
    """
    if pairs < FEWEST_PAIRS or tasks < FEWEST_TASKS:
        return TOO_FEW
    if not reaches(end):
        return FAILS
    finite = against[np.isfinite(against)]
    if len(finite) and np.quantile(finite, stats.TAILS[0]) > 0:
        return BEATS
    return WORKS


def of_measured_runs(frames: Frames) -> pd.DataFrame:
    """The evaluations of runs that record the measures, without those of exploratory tasks."""
    metrics = sensitivity.of_tested_tasks(frames)
    if not set(DIRECTIONS) <= set(metrics):
        return metrics.iloc[:0]
    own = [name for name in DIRECTIONS if name != RIVAL]
    recorded = metrics[own].notna().any(axis=1).groupby(metrics.run_id).transform('any')
    return metrics[recorded.astype(bool)]


COLUMNS = [
    'target', 'measure', 'AUROC', 'low', 'high', 'lowest task', 'all moments', 'moments low', 'moments high',
    'offline agents', 'later agents',
    'further tasks', 'unseen', 'rank correlation', 'other task', 'pairs', 'tasks', 'verdict',
]  # fmt: skip


def table(frames: Frames) -> pd.DataFrame:
    """One row per target and measure, with COLUMNS; no rows without runs that record the measures.

    A measure is judged on the runs that have it, and compared with the OOD ratio on the same runs.

    AUROC, low, high and `lowest task` are of all agents at the end, `all moments` (with `moments low` and `moments
    high`) of all agents, `offline agents` and `later agents` (all but SEEN) of these alone at the end. `other task` is
    `elsewhere`. `pairs` counts those of all `tasks` of these columns, in which the measure is `known`. `further tasks`
    is of the tasks with too few such pairs, which no other column shows but `unseen`: that is of the degraded runs of
    all tasks whose OOD ratio does not show it, at the end.
    """
    metrics = of_measured_runs(frames)
    if metrics.empty:
        return pd.DataFrame(columns=COLUMNS)
    every = moments(metrics, reference.random_score)
    ends = every[every.is_last]
    unseen = ends[(ends[DEGRADED] == 0) | (ends[OUTSIDE] == 0)]
    found = []
    for target in TARGETS:
        for measure in DIRECTIONS:
            if measure == RIVAL and target == OUTSIDE:
                continue
            last, end, throughout, further = standing(every, measure, target)
            pairs = last.groupby('task').pair_seed.nunique()
            against = np.full(RESAMPLES, np.nan)
            if target == DEGRADED and measure != RIVAL:
                both = last.dropna(subset=RIVAL)
                against = judge(both, measure, target).draws - judge(both, RIVAL, target).draws
            found.append({
                'target': target,
                'measure': measure,
                'AUROC': end.value, 'low': end.low, 'high': end.high,
                'lowest task': pd.Series(end.by_task).min(),
                'all moments': throughout.value, 'moments low': throughout.low, 'moments high': throughout.high,
                'offline agents': estimate(last[last.agent.map(is_offline).astype(bool)], measure, target),
                'later agents': estimate(last[~last.agent.isin(SEEN)], measure, target),
                'further tasks': further,
                'unseen': estimate(unseen, measure, target) if target == DEGRADED else np.nan,
                'rank correlation': rank_correlation(last, measure),
                'other task': elsewhere(last, measure, target),
                'pairs': int(pairs.sum()),
                'tasks': len(pairs),
                'verdict': verdict(end, against, min(pairs, default=0), len(pairs)),
            })  # fmt: skip
    return pd.DataFrame(found, columns=COLUMNS)


def in_words(frames: Frames) -> pd.DataFrame:
    """`table` as a reader sees it: the verdict first, measures in words, three decimals, no empty `further tasks`."""
    rows = table(frames)
    if rows['further tasks'].isna().all():
        rows = rows.drop(columns='further tasks')
    named = rows.assign(measure=rows.measure.map(words)).round(3)
    return named[['verdict', 'measure', *(name for name in rows if name not in ('verdict', 'measure'))]]


def words(measure: str) -> str:
    """How figures call a measure; those of which degraded agents should have less are marked."""
    less = '' if DIRECTIONS[measure] > 0 else ' (less)'
    return f'{quantities.get(measure).words}{less}'


def is_offline(agent: str) -> bool:
    """Whether an agent learns from the data of another one."""
    return bool(agents.get(agent).source)
