"""How much the verdicts hang on our own choices: what counts as final, and how pairs are summarised."""

from collections.abc import Callable

import pandas as pd

from paper_lib.contract import agents, quantities
from paper_lib.study import claims, comparisons, reference, stats
from paper_lib.study.frames import Frames

SHARES = (0.1, stats.LAST, 0.4)
# Mean with the interval of the sign-flip test; interquartile mean with a bootstrap interval, which rliable gives too.
SUMMARIES = {'mean': stats.mean_of_tasks, 'interquartile mean': stats.stratified}
USED = (stats.LAST, 'mean')  # in every other table
AS_USED = 'as used'
IDS = ('C1', 'C2', 'C3')


def of_tested_tasks(frames: Frames) -> pd.DataFrame:
    """Metrics of the tasks that claims are tested on."""
    return frames.metrics[~frames.metrics.task.isin(frames.exploratory)]


def cut(metrics: pd.DataFrame, share: float) -> pd.DataFrame:
    """Metrics with one row per run: the mean of its last evaluations, `stats.final_count` of them.

    The step and totals are the last evaluation's.
    """
    runs = metrics.sort_values('env_step').groupby('run_id', sort=False)
    count = runs.run_id.transform('size').map(lambda evaluations: stats.final_count(evaluations, share))
    last = metrics[(runs.cumcount(ascending=False) < count).reindex(metrics.index)].sort_values('env_step')
    values = last.select_dtypes('number').columns.difference(['env_step', *quantities.totals(), 'pair_seed', 'seed'])
    means = last.groupby('run_id')[list(values)].agg(lambda x: x.mean(skipna=False))
    ends = last.groupby('run_id').tail(1).set_index('run_id')
    return ends.drop(columns=values).join(means).reset_index()


def claims_at(frames: Frames, share: float, random: Callable[[str], float]) -> pd.DataFrame:
    """The table of claims IDS with this share of evaluations as final; `random`: mean score of random actions.

    Rows of the whole curve are left out, since a curve is cut to one value.
    """
    table = claims.table(cut(of_tested_tasks(frames), share), random, IDS)
    return table[table.table != 'areas'].assign(row='recomputed')


def table(frames: Frames, random: Callable[[str], float] = reference.random_score) -> pd.DataFrame:
    """C1 for every share and summary, each row as if it were the only one.

    Columns: verdict, final, summary, agent (compared with Active), estimate, low, high, pairs, choice.
    """
    (claim,) = (claim for claim in claims.every_claim() if claim.id == 'C1')
    of_finals = [row for row in claim.rows if not row.part and row.table != 'areas']
    rows = []
    for share in SHARES:
        runs = claims.gather(cut(of_tested_tasks(frames), share), random)
        for name, summary in SUMMARIES.items():
            for row in of_finals:
                values = comparisons.split_by_task(row.values(runs))
                found = summary(values)
                rows.append({
                    'verdict': claims.verdict(found.low, found.high, row.above, row.below),
                    'final': f'last {share:.0%}', 'summary': name, 'agent': agents.get(row.agents[0]).label,
                    'estimate': found.value, 'low': found.low, 'high': found.high, 'pairs': found.n,
                    'choice': AS_USED if (share, name) == USED else '',
                })  # fmt: skip
    return pd.DataFrame(rows)
