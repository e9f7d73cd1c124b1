"""Seeded statistics on small samples. No value is dropped: if one is not finite, the result is not finite."""

import dataclasses
import functools
import itertools
import math
import typing

import numpy as np
import pandas as pd

from paper_lib.contract import quantities

RESAMPLES = 10_000  # random resamples of an interval
EXACT = 20_000  # if there are at most so many ways to resample, all of them are used, instead of random ones
LEVEL = 0.95  # of intervals
TAILS = (1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2
CURVE = 1000  # random resamples at every step of a curve
LAST = 0.2  # share of a run's evaluations, the last ones, whose mean is its final value
FLIPPED = 16  # up to so many pairs all sets of flipped signs are tried: 2 ** 15, since a set and its complement are one
FLIPS = 99_999  # random sets for more pairs
FEWEST = 3  # values of a task that are needed to estimate its spread
RUN = ['agent', 'task', 'pair_seed', 'run_id']  # columns that identify a run
MEAN = ['agent', 'env_step', 'value', 'low', 'high', 'tasks']  # columns of `mean_curve`


class Estimate(typing.NamedTuple):
    """A statistic of n values with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def iqm(x: np.ndarray) -> np.ndarray:
    """Interquartile mean: a quarter of the values (rounded down) is left out at either end. x: (..., n) -> (...)."""
    x = np.asarray(x, float)
    count = x.shape[-1]
    low, high = count // 4, count - count // 4
    inner = np.partition(x, (low, high - 1))[..., low:high]
    return np.where(np.isfinite(x).all(-1), inner.mean(-1), np.nan)


@functools.lru_cache(maxsize=16)
def resamples(*sizes: int) -> list[np.ndarray]:
    """For each stratum of n values: indices (R, n) of R resamples, drawn with replacement.

    If there are at most EXACT ways to resample all strata, each way occurs once. So chance does not decide a verdict
    whose interval ends close to its limit.
    """
    if math.prod(n**n for n in sizes) <= EXACT:
        all_ways = [np.array(list(itertools.product(range(n), repeat=n))) for n in sizes]
        combinations = np.indices([len(ways) for ways in all_ways]).reshape(len(sizes), -1)
        return [ways[numbers] for ways, numbers in zip(all_ways, combinations)]
    rng = np.random.default_rng(0)
    return [rng.integers(n, size=(RESAMPLES, n)) for n in sizes]


def interval(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval of the mean over the last axis. x: (..., n) -> low (...), high (...); NaN if n < 2."""
    x = np.asarray(x, float)
    n = x.shape[-1]
    if n < 2:
        return np.full(x.shape[:-1], np.nan), np.full(x.shape[:-1], np.nan)
    low, high = np.quantile(x[..., resamples(n)[0]].mean(-1), TAILS, axis=-1, method='inverted_cdf')
    return low, high


def stratified(values: dict[str, np.ndarray]) -> Estimate:
    """The interquartile mean of all values {task: (n,)}, its 95 % bootstrap interval from resampling within tasks.

    If a task has fewer than FEWEST values, its spread cannot be estimated, and the values of all tasks are resampled
    together. (Two normal values for each of two tasks, resampled within tasks, would give an interval that misses the
    true mean in 34 % of studies.)
    """
    groups = [np.asarray(x, float) for x in values.values() if len(x)]
    x = np.concatenate([*groups, []])
    if len(x) < 2:
        return Estimate(float(iqm(x)) if len(x) else np.nan, np.nan, np.nan, len(x))
    if min(map(len, groups)) < FEWEST:
        groups = [x]
    draws = np.concatenate([group[index] for group, index in zip(groups, resamples(*map(len, groups)))], axis=1)
    low, high = np.quantile(iqm(draws), TAILS, method='inverted_cdf')
    return Estimate(float(iqm(x)), float(low), float(high), len(x))


@dataclasses.dataclass(frozen=True)
class SignFlips:
    """The sign-flip test of a weighted mean of paired differences, for every hypothetical value t of the mean.

    Let d_i be the difference of pair i, and w_i its weight: 1 / (tasks x pairs of its task), so that all tasks have
    equal weight. If the true mean is t and differences are distributed symmetrically about it, each d_i - t has the
    opposite sign with equal probability. Flip the signs of d_i - t in a set S of pairs. The absolute value of their
    mean does not become smaller if and only if t lies between the two weighted means

        m(S) = sum over S of w_i d_i / sum over S of w_i,   and m(not S).

    Therefore `low` and `high`, the smaller and the larger of these two for each S, give the test for every t:

        p(t) = share of the sets S with low(S) <= t <= high(S)                                   (two-sided)

    The 95 % interval is all t with p(t) > 0.05. S and its complement are the same flip and count once. The first set
    is the empty one, the observed differences; so p is never zero.
    """

    mean: float
    low: np.ndarray  # (sets,)
    high: np.ndarray  # (sets,)
    rounding: float = 0.0  # difference up to which two means count as equal

    def p(self, at: float = 0.0) -> float:
        """Two-sided p of the hypothesis that the mean is `at`."""
        return float(np.mean((self.low <= at + self.rounding) & (at - self.rounding <= self.high)))

    def p_above(self, at: float) -> float:
        """One-sided p of the hypothesis that the mean is `at`, against the alternative that it lies above."""
        high = np.where(np.isinf(self.high), self.mean, self.high)  # infinite for the empty set: m(not S) is the mean
        return float(np.mean([self.low <= at + self.rounding, high <= at + self.rounding]))

    def p_below(self, at: float) -> float:
        """One-sided p of the hypothesis that the mean is `at`, against the alternative that it lies below."""
        return SignFlips(-self.mean, -self.high, -self.low, self.rounding).p_above(-at)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The lowest and the highest mean that the test does not reject; NaN if with so few pairs it rejects none."""
        rank = int((1 - level) * len(self.low))
        low = np.partition(self.low, rank)[rank]
        high = np.partition(self.high, -1 - rank)[-1 - rank]
        if not np.isfinite([low, high]).all():
            return np.nan, np.nan
        return float(low - self.rounding), float(high + self.rounding)


def sign_flips(values: dict[str, np.ndarray]) -> SignFlips:
    """The sign-flip test of paired differences {task: (n,)}; there is at least one, and all are finite.

    For up to FLIPPED pairs in all, every set of pairs is tried. For more pairs, FLIPS sets are drawn, and
    p(t) = (1 + number of drawn sets with low <= t <= high) / (1 + FLIPS).
    """
    groups = [np.asarray(differences, float) for differences in values.values() if len(differences)]
    x = np.concatenate(groups)
    sizes = tuple(map(len, groups))
    weights = _weights(sizes)
    sums = _sums_over_sets(x * weights)
    shares = _shares(sizes)
    total = float((x * weights).sum())  # not a product of BLAS, whose last bits depend on the processor
    with np.errstate(divide='ignore', invalid='ignore'):
        inside = sums / shares
        outside = (total - sums) / (1 - shares)
    low = np.minimum(inside, outside)
    high = np.maximum(inside, outside)
    low[shares == 0] = -np.inf
    high[shares == 0] = np.inf
    return SignFlips(total, low, high, rounding=1e-12 * float(np.abs(x).max()))


def _weights(sizes: tuple[int, ...]) -> np.ndarray:
    """The weights of the pairs of tasks with so many pairs, (n,)."""
    return np.concatenate([np.full(size, 1 / (len(sizes) * size)) for size in sizes])


@functools.lru_cache(maxsize=4)
def _shares(sizes: tuple[int, ...]) -> np.ndarray:
    """Sums of these weights over the sets, (sets,); most claims are tested on equally many pairs."""
    return _sums_over_sets(_weights(sizes))


def _sums_over_sets(x: np.ndarray) -> np.ndarray:
    """Sums of x (n,) over sets of its elements without the first element, (sets,).

    The first set is the empty one. The others are all that there are, or FLIPS random ones.
    """
    if len(x) <= FLIPPED:
        sums = np.zeros(1)
        for value in x[1:]:
            sums = np.concatenate([sums, sums + value])
        return sums
    sums = np.zeros(1 + FLIPS)
    for value, is_in_set in zip(x[1:], _random_sets(len(x) - 1)):
        sums[1:] += value * is_in_set
    return sums


@functools.lru_cache(maxsize=4)
def _random_sets(count: int) -> np.ndarray:
    """(count, FLIPS) whether each of `count` elements is in each of FLIPS random sets."""
    rng = np.random.default_rng(0)
    return np.array([rng.integers(2, size=FLIPS, dtype=np.int64) == 1 for _ in range(count)])


def mean_of_tasks(values: dict[str, np.ndarray], test: SignFlips | None = None) -> Estimate:
    """Mean over tasks of each task's mean paired difference, {task: (n,)}, with the interval of `sign_flips`.

    `test` is the result of `sign_flips` for these values, where the caller has it.
    """
    groups = [np.asarray(differences, float) for differences in values.values()]
    x = np.concatenate([*groups, []])
    if not len(x) or not np.isfinite(x).all():
        return Estimate(np.nan, np.nan, np.nan, len(x))
    test = test or sign_flips(values)
    return Estimate(test.mean, *test.interval(), len(x))


def p_of_range(test: SignFlips, above: float = -np.inf, below: float = np.inf) -> float:
    """Two-sided p of the claim that the mean lies between `above` and `below`, of which one may be infinite.

    The claim is shown if one-sided tests show that the mean lies above `above` and below `below`; the larger of their
    p counts. It is refuted if one of them shows that the mean lies below `above` or above `below`; the smaller of
    their p counts. The result is twice the smaller of these two p, because a claim may be shown or refuted. With
    `below` = 0 alone it is the two-sided p of a mean of 0.
    """
    p_shown = []
    p_refuted = []
    if np.isfinite(above):
        p_shown.append(test.p_above(above))
        p_refuted.append(test.p_below(above))
    if np.isfinite(below):
        p_shown.append(test.p_below(below))
        p_refuted.append(test.p_above(below))
    return min(1.0, 2 * min(max(p_shown), min(p_refuted)))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values of p (n,). For sorted p, the i-th is max over j <= i of (n - j + 1) p_j, at most 1.

    NaN stands for an announced test without data. It counts as p = 1 for the others, and its result is NaN.
    """
    p = np.asarray(p, float)
    filled = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(filled, kind='stable')
    scaled = (len(p) - np.arange(len(p))) * filled[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return np.where(np.isnan(p), np.nan, adjusted)


def final_count(evaluations: int, share: float = LAST) -> int:
    """How many of a run's evaluations, the last ones, are final: this share of them, and at least one."""
    return max(1, int(share * evaluations + 1e-9))  # a product may be rounded to just below a whole number


def final(metrics: pd.DataFrame, *columns: str, share: float = LAST) -> pd.DataFrame:
    """Final values of every run: means over its last `final_count` evaluations.

    With a share of 1 they are means over the whole curve. One row per run, with the columns RUN and `columns`.
    """
    metrics = metrics.sort_values('env_step')
    values = metrics[list(columns)].to_numpy(float).T.copy()
    rows = []
    for key, places in sorted(metrics.groupby(RUN).indices.items()):
        count = final_count(len(places), share)
        rows.append((*key, *(column[places[-count:]].mean() for column in values)))
    finals = pd.DataFrame(rows, columns=[*RUN, *columns])
    return finals.astype(dict.fromkeys(columns, float))


def of_active(frame: pd.DataFrame, column: str) -> pd.Series:
    """Mean final value by task of the Active runs. `frame` has metrics or final values.

    Where Passive has runs on a task, the Active runs of its pairs count alone: what is compared with other agents of
    other pairs does not move the units.
    """
    finals = final(frame, column) if 'env_step' in frame else frame
    by_pair = finals.set_index(['task', 'pair_seed'])
    active = by_pair[by_pair.agent == 'active'][column]
    passive_pairs = by_pair.index[by_pair.agent == 'passive']
    is_followed = active.index.isin(passive_pairs)
    has_no_passive = ~active.index.isin(passive_pairs.unique('task'), level='task')
    return active[is_followed | has_no_passive].groupby('task').agg(lambda x: x.mean(skipna=False))


def normalised(frame: pd.DataFrame, random: typing.Callable[[str], float]) -> pd.DataFrame:
    """Metrics or final values with every quantity normalised per task, as its row in `quantities` says.

    A score becomes (score - random) / (active - random), and a loss becomes loss / active. `random` gives the mean
    score of the uniform random policy in a task, and active is the value of `of_active`. Scores of a task are NaN if it
    has no Active runs, or if these are no better than random.
    """
    columns = {}
    for name, quantity in quantities.QUANTITIES.items():
        if name not in frame or not quantity.normalised:
            continue
        active = by_task(frame, of_active(frame, name))
        if quantity.normalised == 'loss':
            columns[name] = frame[name] / active
        else:
            of_random = by_task(frame, {task: random(task) for task in frame.task.unique()})
            gain = active - of_random
            columns[name] = (frame[name] - of_random) / gain.where(gain > 0)
    return frame.assign(**columns)


def by_task(frame: pd.DataFrame, values: typing.Mapping[str, float] | pd.Series) -> pd.Series:
    """For each row of `frame` the value of its task, from `values` by task; NaN if the task has no value."""
    return frame.task.map(values).astype(float)


def unlearned(frame: pd.DataFrame, random: typing.Callable[[str], float]) -> list[str]:
    """Tasks without a normalised score: they have no Active runs, or these end no better than random."""
    active = of_active(frame, 'score')
    return [task for task in frame.task.unique() if task not in active or active[task] <= random(task)]


def mean_curve(metrics: pd.DataFrame, column: str, random: typing.Callable[[str], float]) -> pd.DataFrame:
    """Curves of agents: the mean over tasks of each task's mean normalised `column`.

    A curve has the steps that all tasks of the agent have. The columns are MEAN: `low` and `high` are the 95 % interval
    of `over_tasks`, `tasks` is the number of tasks. Curves of scores leave out the tasks of `unlearned`.
    """
    if quantities.get(column).normalised == 'score':
        metrics = metrics[~metrics.task.isin(unlearned(metrics, random))]
    return mean_of_normalised(normalised(metrics, random), column)


def mean_of_normalised(metrics: pd.DataFrame, column: str) -> pd.DataFrame:
    """`mean_curve` of metrics that are normalised already."""
    curves = []
    for agent, of_agent in metrics.groupby('agent', sort=False):
        tables = []  # one per task: (steps, seeds)
        for _, of_task in of_agent.groupby('task'):
            tables.append(of_task.pivot(index='env_step', columns='pair_seed', values=column))
        steps = functools.reduce(pd.Index.intersection, [table.index for table in tables])
        curve = over_tasks([table.loc[steps].to_numpy(float) for table in tables])
        curves.append(pd.DataFrame({'agent': agent, 'env_step': steps, **curve, 'tasks': len(tables)}))
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=MEAN)


def over_tasks(values: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Mean over tasks of each task's mean over seeds. `values` has an array (steps, seeds) for each task.

    Returns `value`, `low` and `high`, (steps,) each. The 95 % interval is from resampling seeds within tasks; it is NaN
    if a task has fewer than FEWEST seeds.
    """
    value = np.mean([x.mean(1) for x in values], 0)
    if min(x.shape[1] for x in values) < FEWEST:
        return {'value': value, 'low': np.full_like(value, np.nan), 'high': np.full_like(value, np.nan)}
    rng = np.random.default_rng(0)
    sums = np.zeros((len(value), CURVE))
    for x in values:
        seeds = rng.integers(x.shape[1], size=(CURVE, x.shape[1]))
        sums += x[:, seeds].mean(-1)
    low, high = np.quantile(sums / len(values), TAILS, axis=-1)
    return {'value': value, 'low': low, 'high': high}


def pairs(finals: pd.DataFrame, agent: str, baseline: str, column: str) -> pd.DataFrame:
    """Values of two agents side by side, one row per task and pair seed that both have: columns `agent`, `baseline`."""
    values = {}
    for name in (agent, baseline):
        of_agent = finals[finals.agent == name]
        values[name] = dict(zip(zip(of_agent.task, of_agent.pair_seed, strict=True), of_agent[column], strict=True))
    both = sorted(values[agent].keys() & values[baseline].keys())
    index = pd.MultiIndex.from_tuples(both, names=['task', 'pair_seed'])
    return pd.DataFrame(
        {name: [of_pair[pair] for pair in both] for name, of_pair in values.items()}, index, dtype=float
    )


def difference(pairs: pd.DataFrame) -> np.ndarray:
    """First column minus second, (n,)."""
    return (pairs.iloc[:, 0] - pairs.iloc[:, 1]).to_numpy()


def log_ratio(pairs: pd.DataFrame) -> np.ndarray:
    """Natural log of first column over second, (n,); NaN where a value is not positive."""
    positive = pairs.where(pairs > 0)
    return np.log(positive.iloc[:, 0] / positive.iloc[:, 1]).to_numpy()
