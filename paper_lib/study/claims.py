"""The paper's claims as statistics on whatever runs exist (C1 to C3: the ones that the toy maze can test)."""

import dataclasses
import typing

import numpy as np
import pandas as pd

from paper_lib.study import stats

# Pairs below which no verdict is given. Where there is no effect (normal values), this share of the tests would give
# one: 25 % of those with 3 pairs, 12.5 % with 4, 9 % with 5, 6 % with 8; the interval's level promises 5 %.
ENOUGH = 5


@dataclasses.dataclass(frozen=True)
class Claim:
    """A paired statistic and the sign that the paper expects of it."""

    id: str
    text: str
    statistic: str
    column: str  # of the metrics
    compare: typing.Callable  # pairs (offline, online) -> (n,)
    sign: int


CLAIMS = (
    Claim('C1', 'offline agents score below the Active agent', 'difference of final normalised score', 'score',
          stats.difference, -1),
    Claim('C2', 'the degradation comes with a higher world-model loss on their own rollouts',
          'log ratio of final world-model loss', 'wm_loss', stats.log_ratio, +1),
    Claim('C3', 'offline agents overestimate their value', 'difference of final value error', 'value_error',
          stats.difference, +1),
)  # fmt: skip


def verdict(estimate: stats.Estimate, sign: int) -> str:
    """'supported' or 'contradicted' where the interval lies on one side of 0, else 'undecided'."""
    low, high = sorted((sign * estimate.low, sign * estimate.high))
    if estimate.n < ENOUGH or not np.isfinite([low, high]).all():
        return 'undecided'
    return 'supported' if low > 0 else 'contradicted' if high < 0 else 'undecided'


def normalised(finals: pd.DataFrame, random: float) -> pd.DataFrame:
    """Scores as (score - random) / (reference - random); reference = mean final score of the Active runs.

    All NaN where the Active runs are no better than random: then there is nothing to normalise by.
    """
    reference = finals.score[finals.agent == 'active'].mean() - random
    scale = reference if reference > 0 else np.nan
    return finals.assign(score=(finals.score - random) / scale)


def table(metrics: pd.DataFrame, random: float = 0.0, offline=('passive', 'tandem'), online='active') -> pd.DataFrame:
    """One row per claim and offline agent, paired by pair seed with the online agent.

    Columns: id, claim, statistic, estimate (interquartile mean over pairs), low, high (95 % bootstrap interval), n,
    verdict. `random` is the mean score of the uniform random policy (0 in the maze).
    """
    rows = []
    for claim in CLAIMS:
        finals = stats.final(metrics, claim.column)
        finals = normalised(finals, random) if claim.column == 'score' else finals
        for agent in offline:
            found = stats.estimate(claim.compare(stats.pairs(finals, agent, online, claim.column)))
            what = f'{agent} against {online}: {claim.statistic}'
            rows.append((claim.id, claim.text, what, *found, verdict(found, claim.sign)))
    return pd.DataFrame(rows, columns=['id', 'claim', 'statistic', 'estimate', 'low', 'high', 'n', 'verdict'])
