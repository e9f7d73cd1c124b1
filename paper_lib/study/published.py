"""Our agent beside the scores that the author of DreamerV3 v1 published: the evidence that it is what it says.

published.csv holds his scores at size S on two tasks (danijar/dreamerv3 at commit 423291a), the tasks under our ids.
"""

from pathlib import Path

import pandas as pd

from paper_lib.contract import agents, maze_layout, tasks
from paper_lib.contract.errors import RunError
from paper_lib.contract.facts import facts
from paper_lib.contract.spec import RunSpec
from paper_lib.study.frames import Frames

FILE = Path(__file__).with_name('published.csv')
AT = 250_000  # environment steps at which ours is compared with theirs
LAST = 5  # evaluations up to there that count: a single one is noisy
ALARM = {'walker_walk-proprio': 700, 'cup_catch-proprio': 850}  # below this something is wrong; set before any run


def scores(task: str) -> pd.DataFrame:
    """Published scores of a task: rows are environment steps, columns seeds. Raises RunError for a damaged file."""
    try:
        found = pd.read_csv(FILE)
        return found[found.task == task].pivot(index='env_steps', columns='seed', values='score').astype(float)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        cause = str(error).partition('\n')[0]
        raise RunError(f'{FILE}: cannot be read ({cause}); restore it (`git checkout -- {FILE}`) or install the '
                       'package again') from None  # fmt: skip


def span(task: str) -> tuple[float, float]:
    """Lowest and highest published seed at AT environment steps."""
    there = scores(task).loc[AT]
    return there.min(), there.max()


def last(metrics: pd.DataFrame, spec: RunSpec) -> float:
    """Mean score of the LAST evaluations of a run up to AT environment steps; NaN where it is not there."""
    own = metrics[(metrics.run_id == spec.run_id) & (metrics.env_step <= AT)]
    return own.sort_values('env_step').score.tail(LAST).mean(skipna=False)


def verdict(score: float, task: str) -> str:
    """'inside', 'above' or 'below' the published range, or 'alarm'; a score that is not finite is an alarm."""
    low, high = span(task)
    if low <= score <= high:
        return 'inside'
    return 'above' if high < score < float('inf') else 'below' if ALARM[task] <= score < low else 'alarm'


def table(frames: Frames) -> pd.DataFrame:
    """One row per planned run: mean of its last evaluations, the published range, and where it lies."""
    there, rows = set(frames.runs.run_id), []
    for spec in frames.specs:
        score = last(frames.metrics, spec)
        if spec.run_id not in there:
            result = 'missing'
        else:
            result = 'too short' if spec.budget < AT else verdict(score, spec.task)
        rows.append({'task': spec.task, 'seed': spec.seed, f'mean of last {LAST} evaluations': score,
                     'published at 250K': _words(spec.task), 'alarm below': ALARM[spec.task],
                     'result': result})  # fmt: skip
    return pd.DataFrame(rows)


def _words(task):
    return '{:.0f} to {:.0f}'.format(*span(task))


def deviations(spec: RunSpec) -> list[str]:
    """Values of the run that differ from v1 at size S, theirs in brackets."""
    found = []
    original = RunSpec(spec.task)
    for own, theirs in ((spec.model, original.model), (spec, original)):
        for each, fact in facts(own):
            if not fact.caption or not _means_anything(fact, spec):
                continue
            ours, default = _value(own, each.name), _value(theirs, each.name)
            if ours != default:
                found.append(f'{fact.about} {_plain(ours)} ({_plain(default)})')
    return found


def _means_anything(fact, spec):
    """Whether a field has an effect on this run."""
    if fact.needs == 'explore':
        return spec.w_expl > 0
    return fact.needs != 'see' or tasks.get(spec.task).obs == 'vision'


def _value(record, name):
    """The value of a field; 0 starts of imagination are as many as a batch has steps."""
    value = getattr(record, name)
    return value or record.batch * record.length if name == 'starts' else value


def _plain(value):
    if isinstance(value, float):
        return f'{value:g}' if value >= 1e-3 else f'{value:.1e}'
    return f'{value:,}' if isinstance(value, int) else value


def differences(specs) -> str:
    """For every caption: in what these runs differ from v1."""
    differ = ', '.join(dict.fromkeys(text for spec in specs for text in deviations(spec)))
    values = f'Not as in DreamerV3 v1, size S (its value in brackets): {differ}.'
    return values if differ else 'Size and all values are those of DreamerV3 v1, size S.'


def mixed(spec: RunSpec) -> str:
    """What an agent acts on while it collects, '' if that is what its row says or it collects nothing."""
    if not spec.expl_until and spec.w_expl == agents.get(spec.agent).values.get('w_expl', 0):
        return ''
    until = f' until {spec.expl_until:,} environment steps, then on the task reward alone' if spec.expl_until else ''
    return (f'{agents.get(spec.agent).label} collects its data acting on {1 - spec.w_expl:g} task + {spec.w_expl:g} '
            f'disagreement reward{until}.')  # fmt: skip


def schedule(spec: RunSpec) -> str:
    """When an offline run collects data of its own, '' if as in the paper or never."""
    own, theirs = (_schedule(*(values.get(f'interact_{key}', 0) for key in ('every', 'steps', 'above')))
                   for values in (vars(spec), agents.get(spec.agent).values))  # fmt: skip
    return f'{agents.get(spec.agent).label} adds {own}; in the paper {theirs}.' if own != theirs else ''


def _schedule(every, steps, above):
    """In environment steps."""
    where = f' where the OOD ratio is above {above:g}' if above else ''
    return f'{steps:,} steps every {every:,}{where}' if every else 'nothing'


def goal(spec: RunSpec) -> str:
    """How near to the goal is near enough, '' where it is as in the paper."""
    ours, theirs = (1000 * radius for radius in (spec.goal_radius, maze_layout.GOAL_RADIUS))
    if ours == theirs:
        return ''
    return f'The full reward is given within {ours:g} mm of the goal, in the paper within {theirs:g} mm.'


def summary(frames: Frames) -> str:
    """For the caption: every seed against the published range and the alarm."""
    lines, there = [], set(frames.runs.run_id)
    for task in frames.tasks:
        own = [last(frames.metrics, spec) for spec in frames.specs if spec.task == task and spec.run_id in there]
        values = ', '.join(f'{score:.0f}' for score in own) or 'no finished run'
        lines.append(f'{task}, mean of the last {LAST} evaluations up to {AT:,} steps per seed: {values} '
                     f'(aim: {_words(task)}, the published range there; alarm: below {ALARM[task]}).')  # fmt: skip
    return ' '.join(lines)
