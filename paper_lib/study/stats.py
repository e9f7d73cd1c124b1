"""Seeded statistics on small samples. Values are never dropped: one that is not finite makes the result not finite."""

import dataclasses
import functools
import itertools
import math
import typing

import numpy as np
import pandas as pd
from scipy.stats import trim_mean

from paper_lib.contract import quantities

RESAMPLES = 10_000
EXACT = 20_000  # resamples that are all made, instead of RESAMPLES by chance, if there are no more
LEVEL = 0.95
TAILS = (1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2
CURVE = 1000  # resamples at every step of a curve
LAST = 0.2  # share of a run's evaluations whose mean is its final value
FLIPPED = 16  # pairs up to which every way to flip their signs is tried: 2 ** 15, as mirror images are alike
FLIPS = 99_999  # ways drawn by chance where there are more pairs
FEWEST = 3  # seeds of a task whose spread an interval of the mean over tasks is made of
RUN = ['agent', 'task', 'pair_seed', 'run_id']
MEAN = ['agent', 'env_step', 'value', 'low', 'high', 'tasks']
Statistic = typing.Callable[..., np.ndarray]  # (..., n) -> (...)


class Estimate(typing.NamedTuple):
    value: float
    low: float  # of the 95 % interval
    high: float
    n: int


def mean(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over an axis. x: (..., n) -> (...)."""
    return np.mean(x, axis)


def iqm(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Interquartile mean: a quarter of the values (rounded down) left out at either end. x: (..., n) -> (...)."""
    x = np.asarray(x, float)
    return np.where(np.isfinite(x).all(axis), trim_mean(x, 0.25, axis), np.nan)


def resamples(*sizes: int, seed: int = 0) -> list[np.ndarray]:
    """Indices (R, n) for strata of these sizes: every way to draw n of n with replacement, or R random ones.

    Chance would decide a verdict whose interval ends close to its limit.
    """
    if math.prod(n**n for n in sizes) <= EXACT:
        every = [np.array(list(itertools.product(range(n), repeat=n))) for n in sizes]
        combined = np.indices([len(ways) for ways in every]).reshape(len(sizes), -1)
        return [ways[chosen] for ways, chosen in zip(every, combined)]
    rng = np.random.default_rng(seed)
    return [rng.integers(n, size=(RESAMPLES, n)) for n in sizes]


def interval(x: np.ndarray, statistic: Statistic = mean, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval over the last axis. x: (..., n) -> low (...), high (...); NaN below two values."""
    x = np.asarray(x, float)
    n = x.shape[-1]
    if n < 2:
        return np.full(x.shape[:-1], np.nan), np.full(x.shape[:-1], np.nan)
    draws = statistic(x[..., resamples(n, seed=seed)[0]])
    low, high = np.quantile(draws, TAILS, axis=-1, method='inverted_cdf')
    return low, high


def estimate(x: np.ndarray, statistic: Statistic = iqm, seed: int = 0) -> Estimate:
    """The statistic of x (n,) with its 95 % interval and n."""
    x = np.asarray(x, float)
    if not len(x):
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = interval(x, statistic, seed)
    return Estimate(float(statistic(x)), float(low), float(high), len(x))


def stratified(values: dict[str, np.ndarray], statistic: Statistic = iqm, seed: int = 0) -> Estimate:
    """The statistic of all values, {task: (n,)}, with its 95 % interval from resampling within tasks.

    Two values of a task say too little of its spread, and one nothing: then resampling is over all values. (With
    two normal values of each of two tasks, resampled within tasks, the interval would miss the truth in 34 %.)
    """
    values = [np.asarray(x, float) for x in values.values() if len(x)]
    if len(values) < 2 or min(map(len, values)) < FEWEST:
        return estimate(np.concatenate([*values, []]), statistic, seed)
    x = np.concatenate(values)
    draws = [own[index] for own, index in zip(values, resamples(*map(len, values), seed=seed))]
    low, high = np.quantile(statistic(np.concatenate(draws, axis=1)), TAILS, method='inverted_cdf')
    return Estimate(float(statistic(x)), float(low), float(high), len(x))


@dataclasses.dataclass(frozen=True)
class SignFlips:
    """The sign-flip test of a weighted mean of paired differences, for every value that the mean may have.

    Let d_i be the difference of pair i, and w_i its weight: 1 / (tasks x pairs of its task), so that tasks weigh alike.
    If the mean is t, and differences scatter about it symmetrically, every d_i - t may as well have the other sign.
    Flipping those of a set S makes the mean no smaller in size exactly if t lies between the two weighted means

        m(S) = sum over S of w_i d_i / sum over S of w_i,   and m(not S).

    So `low` and `high`, the smaller and the larger of these two for each S, give the test for every t at once:

        p(t) = share of the sets S with low(S) <= t <= high(S)                                   (two-sided)

    and the 95 % interval is all t with p(t) > 0.05. S and its complement count once. The first set is the empty one:
    what was observed is among what could have been, so p is never zero.
    """

    mean: float
    low: np.ndarray  # (sets,)
    high: np.ndarray  # (sets,)
    rounding: float = 0.0  # by which equal means may differ

    def p(self, at: float = 0.0) -> float:
        """Two-sided p that the mean is `at`."""
        return float(np.mean((self.low <= at + self.rounding) & (at - self.rounding <= self.high)))

    def p_above(self, at: float) -> float:
        """One-sided p, small if the mean lies above `at`."""
        high = np.where(np.isinf(self.high), self.mean, self.high)  # of all pairs, where the other set is empty
        return float(np.mean([self.low <= at + self.rounding, high <= at + self.rounding]))

    def p_below(self, at: float) -> float:
        """One-sided p, small if the mean lies below `at`."""
        return SignFlips(-self.mean, -self.high, -self.low, self.rounding).p_above(-at)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The lowest and highest mean that the test does not refuse; infinite where pairs are too few to refuse any."""
        rank = int((1 - level) * len(self.low))
        return float(np.sort(self.low)[rank]), float(np.sort(self.high)[-1 - rank])


def sign_flips(values: dict, seed: int = 0) -> SignFlips:
    """The sign-flip test of paired differences {task: (n,)}, all finite and at least one.

    Every set of pairs is tried up to FLIPPED pairs in all; of more pairs FLIPS sets are drawn, which makes
    p = (1 + sets as extreme) / (1 + FLIPS).
    """
    groups = [np.asarray(own, float) for own in values.values() if len(own)]
    x = np.concatenate(groups)
    weights = np.concatenate([np.full(len(own), 1 / (len(groups) * len(own))) for own in groups])
    sums, shares = _of_sets(x * weights, seed), _of_sets(weights, seed)
    total = float(x @ weights)
    with np.errstate(divide='ignore', invalid='ignore'):
        inside, outside = sums / shares, (total - sums) / (1 - shares)
    low, high = np.minimum(inside, outside), np.maximum(inside, outside)
    low[shares == 0], high[shares == 0] = -np.inf, np.inf
    return SignFlips(total, low, high, rounding=1e-12 * float(np.abs(x).max()))


def _of_sets(x: np.ndarray, seed: int) -> np.ndarray:
    """Sums of x (n,) over sets that leave out the first one: the empty set, then all others, or FLIPS random ones."""
    if len(x) <= FLIPPED:
        sums = np.zeros(1)
        for value in x[1:]:
            sums = np.concatenate([sums, sums + value])
        return sums
    rng, sums = np.random.default_rng(seed), np.zeros(1 + FLIPS)
    for value in x[1:]:
        sums[1:] += value * rng.integers(2, size=FLIPS)
    return sums


def mean_of_tasks(values: dict) -> Estimate:
    """Mean over tasks of the mean of their paired differences, {task: (n,)}, with the interval of `sign_flips`."""
    x = np.concatenate([*(np.asarray(own, float) for own in values.values()), []])
    if not len(x) or not np.isfinite(x).all():
        return Estimate(np.nan, np.nan, np.nan, len(x))
    test = sign_flips(values)
    return Estimate(test.mean, *test.interval(), len(x))


def p_of_range(test: SignFlips, above: float = -np.inf, below: float = np.inf) -> float:
    """Two-sided p of the claim that the mean lies between two values, of which one may be infinite.

    The claim holds if one-sided tests show the mean above `above` and below `below` (two one-sided tests: the larger p
    counts). It fails if one shows it below `above` or above `below` (the smaller p counts). This is twice the smaller
    of the two, so that a claim may be refuted as well as shown; with `below` = 0 alone it is the two-sided p of 0.
    """
    limits = [(test.p_above(above), test.p_below(above))] if np.isfinite(above) else []
    limits += [(test.p_below(below), test.p_above(below))] if np.isfinite(below) else []
    holds, fails = max(p for p, _ in limits), min(p for _, p in limits)
    return min(1.0, 2 * min(holds, fails))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p (n,): of sorted p the i-th (from 1) is max over j <= i of (n - j + 1) p_j, at most 1.

    NaN is a test that was announced but has no data: it counts as 1, and stays NaN.
    """
    p = np.asarray(p, float)
    known = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(known, kind='stable')
    steps = (len(p) - np.arange(len(p))) * known[order]
    found = np.empty(len(p))
    found[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return np.where(np.isnan(p), np.nan, found)


def final(metrics: pd.DataFrame, *columns: str, share: float = LAST) -> pd.DataFrame:
    """Final value of every run: mean over this share of its evaluations, its last ones (at least one).

    With a share of 1 it is the area under the curve over its length. Rows: one per run, with RUN and `columns`.
    """

    def last(run):
        run = run.sort_values('env_step')
        count = max(1, int(share * len(run) + 1e-9))
        return [run[column].iloc[-count:].mean(skipna=False) for column in columns]

    runs = metrics.groupby(RUN)[['env_step', *columns]]
    found = pd.DataFrame([(*key, *last(run)) for key, run in runs], columns=[*RUN, *columns])
    return found.astype(dict.fromkeys(columns, float))


def reference(frame: pd.DataFrame, column: str) -> pd.Series:
    """Mean final value of the Active runs by task, from metrics or final values."""
    finals = final(frame, column) if 'env_step' in frame else frame
    return finals[finals.agent == 'active'].groupby('task')[column].agg(lambda x: x.mean(skipna=False))


def normalised(frame: pd.DataFrame, random: typing.Callable[[str], float]) -> pd.DataFrame:
    """Metrics or final values with every quantity normalised per task, as its row in `quantities` says.

    Scores are (score - random) / (reference - random), losses are over the reference. `random` gives the uniform random
    policy's mean score of a task; `reference` is of the Active runs. Scores are NaN where these are no better than
    random or not there: then there is nothing to normalise by.
    """
    values = {}
    for name, row in quantities.QUANTITIES.items():
        if name not in frame or not row.normalised:
            continue
        base = by_task(frame, reference(frame, name))
        if row.normalised == 'loss':
            values[name] = frame[name] / base
        else:
            floor = by_task(frame, {task: random(task) for task in frame.task.unique()})
            gain = base - floor
            values[name] = (frame[name] - floor) / gain.where(gain > 0)
    return frame.assign(**values)


def by_task(frame: pd.DataFrame, values: typing.Mapping[str, float] | pd.Series) -> pd.Series:
    """The value of each row's task, from a mapping or Series by task; NaN for a task that has none."""
    return frame.task.map(values).astype(float)


def unlearned(frame: pd.DataFrame, random: typing.Callable[[str], float]) -> list[str]:
    """Tasks without a normalised score: those whose Active runs end no better than random, or are not there."""
    found = reference(frame, 'score')
    return [task for task in frame.task.unique() if task not in found or found[task] <= random(task)]


def mean_curve(metrics: pd.DataFrame, column: str, random: typing.Callable[[str], float]) -> pd.DataFrame:
    """Mean over tasks of each task's mean normalised `column`, for every agent at the steps that all its tasks have.

    Columns MEAN: low and high are of 95 %, from resampling pair seeds within tasks (NaN where a task has fewer than
    FEWEST), tasks is their number. Of scores, tasks that nothing can be normalised by are left out (`unlearned`).
    """
    if quantities.get(column).normalised == 'score':
        metrics = metrics[~metrics.task.isin(unlearned(metrics, random))]
    found, rows = normalised(metrics, random), []
    for agent, own in found.groupby('agent', sort=False):
        tables = [x.pivot(index='env_step', columns='pair_seed', values=column) for _, x in own.groupby('task')]
        steps = functools.reduce(pd.Index.intersection, [table.index for table in tables])
        curve = over_tasks([table.loc[steps].to_numpy(float) for table in tables])
        rows.append(pd.DataFrame({'agent': agent, 'env_step': steps, **curve, 'tasks': len(tables)}))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=MEAN)


def over_tasks(values: list[np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """Mean of the tasks' means with its interval: one (steps, seeds) per task -> arrays (steps,) value, low, high."""
    value = np.mean([x.mean(1) for x in values], 0)
    if min(x.shape[1] for x in values) < FEWEST:
        return {'value': value, 'low': np.full_like(value, np.nan), 'high': np.full_like(value, np.nan)}
    rng, sums = np.random.default_rng(seed), np.zeros((len(value), CURVE))
    for x in values:
        sums += x[:, rng.integers(x.shape[1], size=(CURVE, x.shape[1]))].mean(-1)
    low, high = np.quantile(sums / len(values), TAILS, axis=-1)
    return {'value': value, 'low': low, 'high': high}


def pairs(finals: pd.DataFrame, agent: str, baseline: str, column: str) -> pd.DataFrame:
    """Values of two agents side by side, one row per task and pair seed that both have: columns `agent`, `baseline`."""
    sides = [finals[finals.agent == x].set_index(['task', 'pair_seed'])[column].rename(x) for x in (agent, baseline)]
    return pd.concat(sides, axis=1, join='inner').sort_index().astype(float)


def difference(pairs: pd.DataFrame) -> np.ndarray:
    """First column minus second, (n,)."""
    return (pairs.iloc[:, 0] - pairs.iloc[:, 1]).to_numpy()


def log_ratio(pairs: pd.DataFrame) -> np.ndarray:
    """Natural log of first column over second, (n,); NaN where a value is not positive."""
    positive = pairs.where(pairs > 0)
    return np.log(positive.iloc[:, 0] / positive.iloc[:, 1]).to_numpy()
