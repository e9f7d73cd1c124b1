"""What is said of agents that learned from a recording: the verdict, what it rests on, and what to collect next.

`docs/protocol_measures.md` fixes the rule.
"""

import dataclasses

import numpy as np
import pandas as pd

from paper_lib.study import archive, offline, paths, plan, reference, scales, stats
from paper_lib.study.coverage import FAR, Coverage
from paper_lib.study.offline import DEGRADED, DIRECTIONS

SCALE = 'laptop'  # of the known runs
CHAPTER = 'study'
MEASURES = tuple(name for name in DIRECTIONS if name != offline.RIVAL)  # those that take no step in an environment
DEGRADES, HOLDS, CANNOT_TELL = 'degrades', 'holds', 'cannot tell'
NO_KNOWN = 'There are no known runs to compare with.'


def known() -> pd.DataFrame:
    """The moments of the study's runs that record the measures, from the archive; see `offline.moments`.

    Those of agents that are no evidence of what a measure tells are left out.
    """
    planned = plan.specs(CHAPTER, scales.get(SCALE), optional=True, exploratory=False)
    specs = [spec for spec in planned if spec.agent in offline.EVIDENCE]
    metrics = offline.of_measured_runs(archive.load(specs, paths.archive(SCALE), CHAPTER, scale=SCALE))
    return offline.moments(metrics, reference.random_score) if len(metrics) else pd.DataFrame()


@dataclasses.dataclass(frozen=True)
class Rule:
    """How the known runs say that an agent is to be judged.

    A measure and its threshold are turned: degraded agents should have more. NaN where the known runs say nothing.
    """

    measure: str  # the one that is asked
    threshold: float
    auroc: float  # of the measure
    left_out: float  # AUROC on a task of the measure that is best on all others, mean over tasks
    missed: float  # share of degraded agents of a task left out that the threshold of the others misses
    false_alarms: float  # share of all other agents of it, which it calls degraded
    missed_offline: float  # both shares among offline agents alone, of the measure that is best on all other tasks
    false_alarms_offline: float
    pairs: dict[str, int]  # number of pairs of each task
    working: tuple[str, ...]  # the measures that work
    doubts: tuple[str, ...]  # why no verdict can rest on it; () if one can

    @property
    def shown_threshold(self) -> float:
        """The threshold in the units of the measure."""
        return DIRECTIONS[self.measure] * self.threshold


def learn(rows: pd.DataFrame) -> Rule | None:
    """The rule that moments of known runs give; None without runs. Tasks with too few pairs do not count."""
    if rows.empty:
        return None
    ends = rows[rows.is_last]
    pairs = ends[offline.is_judged(ends)].groupby('task').pair_seed.nunique()
    judged = {name: offline.judge(offline.known(ends, name, DEGRADED), name, DEGRADED) for name in MEASURES}
    by_task = {name: found.by_task for name, found in judged.items()}
    working = tuple(name for name, found in judged.items() if offline.reaches(found))
    measure = best({name: judged[name].value for name in working or MEASURES})
    left_out = chosen_elsewhere(by_task)
    last = offline.known(ends, measure, DEGRADED)
    told = offline.told_elsewhere(last, measure, DEGRADED)
    told_offline = among_offline(ends, by_task)
    rule = Rule(
        measure=measure,
        threshold=offline.best_threshold(last, measure, DEGRADED),
        auroc=judged[measure].value,
        left_out=left_out,
        missed=1 - mean_of([each.positive for each in told]),
        false_alarms=1 - mean_of([each.negative for each in told]),
        missed_offline=1 - mean_of([each.positive for each in told_offline]),
        false_alarms_offline=1 - mean_of([each.negative for each in told_offline]),
        pairs={task: int(count) for task, count in pairs.items()},
        working=working,
        doubts=(),
    )
    return dataclasses.replace(rule, doubts=doubts(rule))


def standing_doubts(rule: Rule | None) -> tuple[str, ...]:
    """Why this rule allows a verdict on no recording; () if it allows one. None: there are no known runs."""
    return rule.doubts if rule else (NO_KNOWN,)


def best(values: dict[str, float]) -> str:
    """The name with the highest value, the first of several; values that are NaN come last."""
    return max(values, key=lambda name: -np.inf if np.isnan(values[name]) else values[name])


def chosen_elsewhere(by_task: dict[str, dict[str, float]]) -> float:
    """AUROC on a task of the measure with the highest mean AUROC on all other tasks; mean over the tasks left out."""
    names = dict.fromkeys(task for values in by_task.values() for task in values)
    if len(names) < 2:
        return np.nan
    return mean_of([by_task[best_without(task, by_task)].get(task, np.nan) for task in names])


def best_without(left_out: str, by_task: dict[str, dict[str, float]]) -> str:
    """The measure with the highest mean AUROC on all tasks but one."""
    others = {}
    for measure, values in by_task.items():
        others[measure] = mean_of([value for task, value in values.items() if task != left_out])
    return best(others)


def among_offline(ends: pd.DataFrame, by_task: dict[str, dict[str, float]]) -> list[offline.Told]:
    """For every task, what measure and threshold that are best on all others tell rightly of its offline agents."""
    found = []
    for task in ends.task[offline.is_judged(ends)].unique():
        measure = best_without(task, by_task)
        last = offline.known(ends, measure, DEGRADED)
        is_left_out = last.task == task
        threshold = offline.best_threshold(last[~is_left_out], measure, DEGRADED)
        judged = last[is_left_out & last.agent.map(offline.is_offline).astype(bool)]
        found.append(offline.tell(judged, measure, DEGRADED, threshold))
    return found


def mean_of(values: list[float]) -> float:
    """The mean of the finite values; NaN without any."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else np.nan


def doubts(rule: Rule) -> tuple[str, ...]:
    """Why the rule may not be used, a sentence each."""
    found = []
    enough = [task for task, count in rule.pairs.items() if count >= offline.FEWEST_PAIRS]
    if len(enough) < offline.FEWEST_TASKS:
        has = ', '.join(f'{count} pairs of {task}' for task, count in rule.pairs.items())
        found.append(
            f'The known runs are too few: {has}; {offline.FEWEST_PAIRS} pairs of each of {offline.FEWEST_TASKS} tasks '
            'are needed.'
        )
    if not rule.working:
        found.append(f'No measure has an AUROC of {offline.GOOD} or more on every task of the known runs.')
    if not rule.left_out >= offline.GOOD:
        found.append(
            'If the measure is chosen on all tasks but one, its mean AUROC on the task left out is '
            f'{number(rule.left_out)}; {offline.GOOD} is needed.'
        )
    return tuple(found)


# The verdict.


def final(metrics: pd.DataFrame, names: tuple[str, ...]) -> dict[str, float]:
    """The value of each column at the end of a run, as a moment has it; NaN where none is finite."""
    count = stats.final_count(len(metrics))
    last = metrics.sort_values('env_step').tail(count)
    found = {}
    for name in names:
        values = last[name].astype(float).to_numpy() if name in last else np.array([np.nan])
        found[name] = mean_of(list(values))
    return found


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is said of a recording, and why."""

    verdict: str
    flagged: int  # agents whose measure is on the side of degraded agents
    agents: int
    reasons: tuple[str, ...]


def decide(rule: Rule | None, values: list[dict[str, float]], doubts: tuple[str, ...] = ()) -> Verdict:
    """The verdict on agents with these values of all measures.

    It is open without a rule, with a doubt, the rule's or a further one, and if the agents disagree.
    """
    if rule is None:
        return Verdict(CANNOT_TELL, 0, len(values), (NO_KNOWN, *doubts))
    turned = [DIRECTIONS[rule.measure] * value[rule.measure] for value in values]
    flagged = sum(value > rule.threshold for value in turned)
    open_because = [*rule.doubts, *doubts]
    if not np.isfinite(turned).all():
        open_because.append(f'The measure in use, {offline.words(rule.measure)}, is not finite for every agent.')
    elif 0 < flagged < len(values):
        open_because.append(f'The agents disagree: {flagged} of {len(values)} are on the side of degraded ones.')
    if open_because:
        return Verdict(CANNOT_TELL, flagged, len(values), tuple(open_because))
    side = 'beyond' if flagged else 'short of'
    reason = (
        f'{offline.words(rule.measure).capitalize()}: all {len(values)} agents lie {side} the threshold '
        f'{rule.shown_threshold:.3g}.'
    )
    missed = (
        f'On a task that it was not fitted to, such a threshold missed {rule.missed:.0%} of the degraded agents. Among '
        f'offline agents, with the measure chosen on the other tasks too, it missed {rule.missed_offline:.0%}.'
    )
    accused = (
        f'Such a threshold called {rule.false_alarms:.0%} of the other agents degraded; among offline agents '
        f'{rule.false_alarms_offline:.0%}.'
    )
    return Verdict(DEGRADES if flagged else HOLDS, flagged, len(values), (reason, missed, accused))


def table(rows: pd.DataFrame, values: list[dict[str, float]]) -> pd.DataFrame:
    """One row per measure: the agents' values beside the 10 %, 50 % and 90 % quantiles of known runs at their end."""
    last = rows[rows.is_last]
    found = []
    for name in MEASURES:
        direction = DIRECTIONS[name]
        degraded, others = ((direction * last[name][last[DEGRADED] == each]).dropna() for each in (1, 0))
        own = [value[name] for value in values]
        found.append({
            'measure': offline.words(name), 'these agents': ', '.join(map(number, own)),
            'known, degraded': quantiles(degraded), 'known, not degraded': quantiles(others),
        })  # fmt: skip
    return pd.DataFrame(found)


def number(value: float) -> str:
    """Three digits, or what a value without any is."""
    return f'{value:.3g}' if np.isfinite(value) else 'not finite'


def quantiles(values: pd.Series) -> str:
    """Median and, in brackets, the 10 % and the 90 % quantile."""
    if values.empty:
        return 'no run'
    low, middle, high = values.quantile([0.1, 0.5, 0.9])
    return f'{middle:.3g} [{low:.3g}, {high:.3g}]'


# The check by rollouts.


@dataclasses.dataclass(frozen=True)
class Check:
    """How the agents do in the environment, and whether that is what the verdict says."""

    scores: tuple[float, ...]  # of every agent at its end
    random: float  # mean score of random actions
    recorded: float  # mean return of the best fifth of the recorded episodes
    degraded: int  # agents that gain less over random actions than LEAST_GAIN of what the best recorded episodes do
    outcome: str


def check(verdict: Verdict, scores: list[float], random: float, recorded: float, cut_at: int | None = None) -> Check:
    """Compare a verdict with scores. The recording has no Active agent; its best episodes stand for one.

    `cut_at` is the length of the longest recorded episodes in agent steps, if they were cut before the task's limit.
    """
    least = random + offline.LEAST_GAIN * (recorded - random)
    degraded = sum(score < least for score in scores)
    found = f'{degraded} of {len(scores)} agents score below {least:.4g}.'
    if cut_at is not None:
        outcome = (
            f'Recorded episodes are cut after at most {cut_at:,} steps, before the limit of the environment, so their '
            'returns are no measure of scores, and nothing can be said.'
        )
    elif recorded <= random:
        outcome = 'The best recorded episodes are no better than random actions, so nothing can be said.'
    elif verdict.verdict == CANNOT_TELL:
        outcome = f'{found} There was no verdict that could be right or wrong.'
    elif 0 < degraded < len(scores):
        outcome = f'{found} The verdict "{verdict.verdict}" was right for some of them.'
    else:
        is_right = (verdict.verdict == DEGRADES) == bool(degraded)
        outcome = f'{found} The verdict "{verdict.verdict}" was {"right" if is_right else "wrong"}.'
    return Check(tuple(scores), random, recorded, degraded, outcome)


# What to collect next.


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A remedy of the paper, with the number of the recording that speaks for it."""

    remedy: str
    weight: float  # from 0 to 1, by which remedies are ranked
    reason: str


def remedies(cover: Coverage, values: list[dict[str, float]]) -> list[Remedy]:
    """The paper's remedies with a weight above 0, the heaviest first. The weights are a rule of thumb."""
    auc = mean_of([value['density_auc'] for value in values])
    found = []
    if np.isfinite(auc):
        found.append(Remedy(
            'Let the trained agent act for a tenth as many steps as the recording has, at intervals of its training, '
            'and learn from these steps too (Passive + 10 % and Passive + auto of the study).',
            min(1.0, max(0.0, 2 * auc - 1)),
            f'A classifier tells imagined steps from recorded ones with an AUC of {auc:.2f} (0.5: not at all), '
            'so the agents may imagine states that the recording does not have.',
        ))  # fmt: skip
    if cover.exploration_like is not None:
        found.append(Remedy(
            'Collect for a mix of task and exploration reward (Active-mixed and Active-expl of the study).',
            max(0.0, 1 - 2 * cover.exploration_like),
            f'{cover.exploration_like:.0%} of the steps are exploration-like, and {cover.alone:.0%} have no step of '
            f'another episode within {FAR} mean steps.',
        ))  # fmt: skip
    if cover.expert_like is not None:
        found.append(Remedy(
            'Add the poor episodes from which the good ones were learned: a whole replay instead of its expert part.',
            max(0.0, 2 * cover.expert_like - 1),
            f'{cover.expert_like:.0%} of the steps belong to episodes in the highest fifth of the range of returns.',
        ))  # fmt: skip
    return sorted((each for each in found if each.weight > 0), key=lambda each: -each.weight)
