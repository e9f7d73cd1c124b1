"""Seeded statistics on small samples. Values are never dropped: one that is not finite makes the result not finite."""

import typing

import numpy as np
import pandas as pd
from scipy.stats import trim_mean

RESAMPLES = 10_000
LEVEL = 0.95


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


def interval(x, statistic=mean, seed=0):
    """Percentile bootstrap interval over the last axis. x: (..., n) -> low (...), high (...); NaN below two values."""
    x = np.asarray(x, float)
    n = x.shape[-1]
    if n < 2:
        return np.full(x.shape[:-1], np.nan), np.full(x.shape[:-1], np.nan)
    index = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    draws = statistic(x[..., index])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=-1)
    return low, high


def estimate(x, statistic=iqm, seed=0) -> Estimate:
    """The statistic of x (n,) with its 95 % interval and n."""
    x = np.asarray(x, float)
    if not len(x):
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = interval(x, statistic, seed)
    return Estimate(float(statistic(x)), float(low), float(high), len(x))


def final(metrics: pd.DataFrame, column: str) -> pd.DataFrame:
    """Final value of every run: mean over its last 10 % of evaluations (at least one).

    Rows: one per run, with agent, pair_seed and `column`.
    """

    def last(run):
        run = run.sort_values('env_step')
        return run[column].iloc[-max(1, len(run) // 10) :].mean(skipna=False)

    runs = metrics.groupby(['agent', 'pair_seed', 'run_id'])[['env_step', column]]
    return pd.DataFrame([(*key, last(run)) for key, run in runs], columns=['agent', 'pair_seed', 'run_id', column])


def pairs(finals: pd.DataFrame, agent: str, baseline: str, column: str) -> pd.DataFrame:
    """Values of two agents side by side, one row per pair seed that both have: columns `agent`, `baseline`."""
    sides = [finals[finals.agent == name].set_index('pair_seed')[column].rename(name) for name in (agent, baseline)]
    return pd.concat(sides, axis=1, join='inner').sort_index()


def difference(pairs: pd.DataFrame) -> np.ndarray:
    """First column minus second, (n,)."""
    return (pairs.iloc[:, 0] - pairs.iloc[:, 1]).to_numpy()


def log_ratio(pairs: pd.DataFrame) -> np.ndarray:
    """Natural log of first column over second, (n,); NaN where a value is not positive."""
    positive = pairs.where(pairs > 0)
    return np.log(positive.iloc[:, 0] / positive.iloc[:, 1]).to_numpy()
