"""Seeded statistics on small samples. Values are never dropped: one that is not finite makes the result not finite."""

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
FEWEST = 3  # seeds of a task whose spread an interval of the mean over tasks is made of
RUN = ['agent', 'task', 'pair_seed', 'run_id']
MEAN = ['agent', 'env_step', 'value', 'low', 'high', 'tasks']


class Estimate(typing.NamedTuple):
    value: float
    low: float  # of the 95 % interval
    high: float
    n: int


def mean(x, axis=-1):
    return np.mean(x, axis)


def iqm(x, axis=-1):
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


def interval(x, statistic=mean, seed=0):
    """Percentile bootstrap interval over the last axis. x: (..., n) -> low (...), high (...); NaN below two values."""
    x = np.asarray(x, float)
    n = x.shape[-1]
    if n < 2:
        return np.full(x.shape[:-1], np.nan), np.full(x.shape[:-1], np.nan)
    draws = statistic(x[..., resamples(n, seed=seed)[0]])
    low, high = np.quantile(draws, TAILS, axis=-1, method='inverted_cdf')
    return low, high


def estimate(x, statistic=iqm, seed=0) -> Estimate:
    """The statistic of x (n,) with its 95 % interval and n."""
    x = np.asarray(x, float)
    if not len(x):
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = interval(x, statistic, seed)
    return Estimate(float(statistic(x)), float(low), float(high), len(x))


def stratified(values: dict, statistic=iqm, seed=0) -> Estimate:
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


def final(metrics: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Final value of every run: mean over its last 10 % of evaluations (at least one).

    Rows: one per run, with RUN and `columns`.
    """

    def last(run):
        run = run.sort_values('env_step')
        return [run[column].iloc[-max(1, len(run) // 10) :].mean(skipna=False) for column in columns]

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


def by_task(frame: pd.DataFrame, values) -> pd.Series:
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
