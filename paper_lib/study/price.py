"""What data of its own an offline agent pays for in environment steps, and what score they buy.

Evaluation episodes that a schedule needs are environment steps too. The paper's counts leave them out.
"""

import typing

import numpy as np
import pandas as pd

from paper_lib.contract import agents, quantities, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.study import claims, comparisons, reference, scales, stats
from paper_lib.study.frames import Frames

(AGENT,) = scales.BEYOND  # whose pairs are compared
FIXED = ('passive', 'passive_10', 'passive_50')  # agents that ask nothing, by the data that they add
OWN, ALL = 'own', 'all'  # the two counts


def evaluation_steps(spec: RunSpec, metrics: pd.DataFrame) -> float:
    """Environment steps of the evaluation episodes that the schedule of a run needs.

    They are those of the evaluations at which it asks a measure that takes episodes. `metrics` has a row per evaluation
    of the run, with `env_step` and `length`, the mean number of agent steps of its episodes; where this is NaN, an
    episode counts as long as the task allows.
    """
    if not spec.is_adaptive or not quantities.get(spec.interact_by).environment:
        return 0.0
    task = tasks.get(spec.task)
    is_asked = (metrics.env_step // task.repeat).map(spec.schedule.interaction_due)
    lengths = metrics.length[is_asked].astype(float).fillna(task.limit)
    return float(spec.eval_episodes * task.repeat * lengths.sum())


def used(frames: Frames) -> pd.DataFrame:
    """One row per run of the pairs in which AGENT has run or, if it has no run, of those in which it is planned.

    Columns: task, pair_seed, agent; score (final, in the units of the claims), and `active`, that of Active of the
    pair; OWN, the environment steps that the run added to its recording; ALL, these and `evaluation_steps`;
    collections, of the `due` ones that its schedule allows; and recording, the environment steps in its recording.
    Active and tasks without a normalised score are left out.
    """
    specs = {spec.run_id: spec for spec in frames.specs}
    wanted = frames.wanted(AGENT)
    archived = set(frames.metrics.run_id)
    finished = [spec for spec in wanted if spec.run_id in archived]
    pairs = {(spec.task, spec.pair_seed) for spec in finished or wanted}
    finals = stats.final(frames.metrics, 'score')
    units = comparisons.score_units(finals, reference.random_score)
    finals = comparisons.in_units(finals, units, reference.random_score)
    metrics = {run_id: rows.sort_values('env_step') for run_id, rows in frames.metrics.groupby('run_id')}
    of_active = finals[finals.agent == 'active'].set_index(['task', 'pair_seed']).score.to_dict()
    found = []
    for run in finals.itertuples():
        spec = specs[run.run_id]
        if spec.source is None or (run.task, run.pair_seed) not in pairs:
            continue
        own = float(metrics[run.run_id].added.iloc[-1]) if spec.interact_every else 0.0
        found.append({
            'task': run.task, 'pair_seed': run.pair_seed, 'agent': run.agent, 'score': run.score,
            'active': of_active.get((run.task, run.pair_seed), np.nan), OWN: own,
            ALL: own + evaluation_steps(spec, metrics[run.run_id]),
            'collections': own / spec.interact_steps if spec.interact_every else 0.0,
            'due': spec.schedule.interactions, 'recording': spec.source.budget,
        })  # fmt: skip
    columns = ['task', 'pair_seed', 'agent', 'score', 'active', OWN, ALL, 'collections', 'due', 'recording']
    return pd.DataFrame(found, columns=columns)


def table(frames: Frames, names: typing.Sequence[str]) -> pd.DataFrame:
    """Means over pairs of what each of these agents used and reached, one row per task and agent."""
    runs = used(frames)
    shown = [name for name in names if name != 'active']
    rows = []
    for task in frames.tasks:
        for agent in shown:
            own = runs[(runs.task == task) & (runs.agent == agent)]
            rows.append({
                'task': task, 'agent': agents.get(agent).label, 'pairs': len(own),
                'score': own.score.mean(skipna=False), 'active': own.active.mean(skipna=False),
                'collections': own.collections.mean(), 'at most': own.due.mean(),
                'own steps': own[OWN].mean(), 'own (%)': 100 * (own[OWN] / own.recording).mean(),
                'all steps': own[ALL].mean(), 'all (%)': 100 * (own[ALL] / own.recording).mean(),
            })  # fmt: skip
    return pd.DataFrame(rows)


class Comparison(typing.NamedTuple):
    """AGENT against another agent of its pairs: what is compared, and where the mean difference is to lie."""

    baseline: str
    column: str  # of `used`
    words: str
    above: float = -np.inf
    below: float = np.inf


SCORE, STEPS = 'normalised final score', 'environment steps, all counted (% of the recording)'
# docs/protocol_measures.md fixes them. The first two say whether the measure can replace evaluation episodes.
COMPARISONS = (
    Comparison('passive_auto', 'score', SCORE, above=-comparisons.MARGIN),
    Comparison('passive_auto', ALL, STEPS, below=0.0),
    Comparison('passive_10', 'score', SCORE, above=-comparisons.MARGIN),
    Comparison('passive_10', ALL, STEPS, below=0.0),
    Comparison('passive', 'score', SCORE, above=0.0),
)


def compared(frames: Frames) -> pd.DataFrame:
    """One row per comparison: the mean over tasks of paired differences, with the interval of the sign-flip test."""
    runs = used(frames)
    runs[ALL] = 100 * runs[ALL] / runs.recording
    rows = []
    for each in COMPARISONS:
        pairs = stats.pairs(runs, AGENT, each.baseline, each.column)
        values = comparisons.split_by_task(pd.Series(stats.difference(pairs), pairs.index))
        found = stats.mean_of_tasks(values)
        verdict = claims.verdict(found.low, found.high, each.above, each.below) if found.n else claims.NO_PAIRS
        rows.append({
            'verdict': verdict, 'against': agents.get(each.baseline).label, 'difference of': each.words,
            'asked': claims.within(each.above, each.below), 'mean': found.value, 'low': found.low,
            'high': found.high, 'pairs': found.n,
        })  # fmt: skip
    return pd.DataFrame(rows)
