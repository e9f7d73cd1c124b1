"""Our agent beside the scores that the author of DreamerV3 v1 published: the evidence that it is what it says.

published.csv holds his scores at size S on two tasks (danijar/dreamerv3 at commit 423291a), the tasks under our ids.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from paper_lib.contract import agents, maze_layout, quantities, tasks
from paper_lib.contract.errors import RunError
from paper_lib.contract.facts import Fact, facts
from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.study.frames import Frames
from paper_lib.study.names import listed

FILE = Path(__file__).with_name('published.csv')
AT = 250_000  # environment steps at which ours is compared with theirs
LAST = 5  # evaluations up to there that count: a single one is noisy
ALARM = {'walker_walk-proprio': 700, 'cup_catch-proprio': 850}  # below this something is wrong; set before any run


def scores(task: str) -> pd.DataFrame:
    """Published scores of a task: rows are environment steps, columns seeds. Raises RunError for a damaged file."""
    try:
        every_score = pd.read_csv(FILE)
        of_task = every_score[every_score.task == task]
        return of_task.pivot(index='env_steps', columns='seed', values='score').astype(float)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        cause = str(error).partition('\n')[0]
        advice = f'restore it (`git checkout -- {FILE}`) or install the package again'
        raise RunError(f'{FILE}: cannot be read ({cause}); {advice}') from None


def span(task: str) -> tuple[float, float]:
    """Lowest and highest published seed at AT environment steps."""
    at_the_end = scores(task).loc[AT]
    return at_the_end.min(), at_the_end.max()


def last(metrics: pd.DataFrame, spec: RunSpec) -> float:
    """Mean score of the LAST evaluations of a run up to AT environment steps; NaN if it has none."""
    evaluations = metrics[(metrics.run_id == spec.run_id) & (metrics.env_step <= AT)]
    return evaluations.sort_values('env_step').score.tail(LAST).mean(skipna=False)


def verdict(score: float, task: str) -> str:
    """'inside', 'above' or 'below' the published range, or 'alarm'. A score that is not finite is an alarm."""
    low, high = span(task)
    if low <= score <= high:
        return 'inside'
    if high < score < float('inf'):
        return 'above'
    if ALARM[task] <= score < low:
        return 'below'
    return 'alarm'


def table(frames: Frames) -> pd.DataFrame:
    """One row per planned run: mean of its last evaluations, the published range, and its verdict."""
    archived = set(frames.runs.run_id)
    rows = []
    for spec in frames.specs:
        score = last(frames.metrics, spec)
        if spec.run_id not in archived:
            result = 'missing'
        elif spec.budget < AT:
            result = 'too short'
        else:
            result = verdict(score, spec.task)
        rows.append(
            {
                'result': result,
                'task': spec.task,
                'seed': spec.seed,
                f'mean of last {LAST} evaluations': score,
                f'published at {AT // 1000}K': _range(spec.task),
                'alarm below': ALARM[spec.task],
            }
        )
    return pd.DataFrame(rows)


def _range(task: str) -> str:
    """The published range in words."""
    low, high = span(task)
    return f'{low:.0f} to {high:.0f}'


def deviations(spec: RunSpec) -> list[str]:
    """Values of the run that differ from those of DreamerV3 v1 at size S, which stand in brackets."""
    original = RunSpec(spec.task)
    return _deviations(spec.model, original.model, spec) + _deviations(spec, original, spec)


def _deviations(record: RunSpec | ModelSpec, original: RunSpec | ModelSpec, spec: RunSpec) -> list[str]:
    """The fields of a record in which the run `spec` differs from the original."""
    differing = []
    for each, fact in facts(record):
        if not fact.caption or not _has_effect(fact, spec):
            continue
        ours = _value(record, each.name)
        theirs = _value(original, each.name)
        if ours != theirs:
            differing.append(f'{fact.about} {_text(ours)} ({_text(theirs)})')
    return differing


def _has_effect(fact: Fact, spec: RunSpec) -> bool:
    """Whether a field has an effect on this run."""
    if fact.needs == 'explore':
        return spec.w_expl > 0
    if fact.needs == 'see':
        return tasks.get(spec.task).has_image
    return True


def _value(record: RunSpec | ModelSpec, name: str) -> int | float | str:
    """The value of a field. 0 starts of imagination stand for as many as a batch has steps."""
    value = getattr(record, name)
    if name == 'starts' and value == 0:
        return record.batch * record.length
    return value


def _text(value: int | float | str) -> str:
    if isinstance(value, float):
        return f'{value:g}' if value >= 1e-3 else f'{value:.1e}'
    return f'{value:,}' if isinstance(value, int) else value


def differences(specs: Iterable[RunSpec]) -> str:
    """For every caption: in what these runs differ from v1."""
    texts = {}
    for spec in specs:
        texts |= dict.fromkeys(deviations(spec))
    if not texts:
        return 'Size and all values are those of DreamerV3 v1, size S.'
    return f'Values that differ from DreamerV3 v1 at size S (its values in brackets): {", ".join(texts)}.'


def collected_for(spec: RunSpec) -> str:
    """A sentence about the reward that an agent collects for; '' if its row says it already."""
    if not spec.expl_until and spec.w_expl == agents.get(spec.agent).values.get('w_expl', 0):
        return ''
    until = ''
    if spec.expl_until:
        until = f' until {spec.expl_until:,} environment steps, then on the task reward alone'
    reward = f'{1 - spec.w_expl:g} task + {spec.w_expl:g} disagreement reward'
    return f'{agents.get(spec.agent).label} collects its data acting on {reward}{until}.'


def schedules(specs: Iterable[RunSpec]) -> list[str]:
    """Sentences about when offline runs collect data of their own; none of agents that do so as in the paper, or never.

    Where runs of an agent differ, the tasks are named.
    """
    tasks_of: dict[str, dict[str, dict[str, None]]] = {}  # by agent and schedule
    for spec in specs:
        tasks_of.setdefault(spec.agent, {}).setdefault(_schedule(vars(spec)), {})[spec.task] = None
    sentences = []
    for name, found in tasks_of.items():
        row = agents.get(name)
        theirs = _schedule(row.values)
        is_in_paper = 'interact_by' not in row.values
        if is_in_paper and set(found) == {theirs}:
            continue
        paper = f'; in the paper {theirs}' if is_in_paper else ''
        parts = [f'{ours} on {listed(names)}' if len(found) > 1 else ours for ours, names in found.items()]
        sentences.append(f'{row.label} adds {", and ".join(parts)}{paper}.')
    return sentences


def _schedule(values: Mapping[str, Any]) -> str:
    """The schedule that fields of a run describe, in environment steps."""
    every = values.get('interact_every', 0)
    if not every:
        return 'nothing'
    steps = values.get('interact_steps', 0)
    above = values.get('interact_above', 0)
    below = values.get('interact_below', 0)
    where = ''
    if above or below:
        measure = quantities.get(values.get('interact_by', quantities.OOD_RATIO)).words
        where = f' where the {measure} is {f"above {above:g}" if above else f"below {below:g}"}'
    return f'{steps:,} steps every {every:,}{where}'


def goal(spec: RunSpec) -> str:
    """A sentence about the radius of the maze's goal; '' if it is the paper's."""
    if spec.goal_radius == maze_layout.GOAL_RADIUS:
        return ''
    ours = f'{1000 * spec.goal_radius:g} mm'
    theirs = f'{1000 * maze_layout.GOAL_RADIUS:g} mm'
    return f'The full reward is given within {ours} of the goal, in the paper within {theirs}.'


def summary(frames: Frames) -> str:
    """For the caption: every seed against the published range and the alarm."""
    archived = set(frames.runs.run_id)
    lines = []
    for task in frames.tasks:
        specs = [spec for spec in frames.specs if spec.task == task and spec.run_id in archived]
        ends = [f'{last(frames.metrics, spec):.0f}' for spec in specs]
        lines.append(
            f'{task}, mean of the last {LAST} evaluations up to {AT:,} steps per seed: '
            f'{", ".join(ends) or "no finished run"} '
            f'(aim: {_range(task)}, the published range there; alarm: below {ALARM[task]}).'
        )
    return ' '.join(lines)
