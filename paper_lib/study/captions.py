"""What stands below figures and tables: what is shown, of which runs, and in what they differ from the paper's."""

from paper_lib.contract import agents, tasks
from paper_lib.study import comparisons, episodes, published, scales, stats
from paper_lib.study.catalogue import Entry
from paper_lib.study.figures import OUTLIER
from paper_lib.study.frames import Frames
from paper_lib.study.paper import PAPER_TASKS

WITHIN = f'resampled within tasks; none where a task has fewer than {stats.FEWEST} seeds'
BAND = 'Thin lines: seeds; thick: their mean; band, from four seeds on: 95 % bootstrap interval of the mean.'
NORMALISED = """Normalised per task: the score of random actions is 0, the mean final score of the Active runs 1
    (a loss: over their mean final loss); tasks on which Active is no better than random are left out of scores."""
OWN = """{fixed}: data of its own on a fixed schedule of this rate (none at the end, so the sum is less); {adaptive}:
    only where the OOD ratio is above the number."""
BASELINE = 'Dashed: mean of the {active.label} agent, which collects for the task.'
LISTED = 6  # tasks that a caption lists; more are counted


def _words(frames: Frames) -> dict:
    """What may be filled into a caption's text: rows of agents by name, and what captions have in common."""
    interacting = [agents.get(name) for name in agents.group('interacting')]
    adaptive = [row.label for row in interacting if row.values['interact_above']]
    fixed = [row.label for row in interacting if not row.values['interact_above']]
    models = [f'{agents.get(name).label}: {agents.get(name).about}' for name in agents.group('world_models')]
    own = OWN.format(fixed=', '.join(fixed), adaptive=', '.join(adaptive))
    return agents.AGENTS | {
        'band': BAND, 'baseline': BASELINE.format(**agents.AGENTS), 'within': WITHIN, 'own': _line(own),
        'normalised': _line(NORMALISED), 'world_models': '. '.join(models), 'first': frames.first, 'outlier': OUTLIER,
        'share': f'{100 * stats.LAST:g} %', 'margin': comparisons.MARGIN, 'last': published.LAST,
        'at': published.AT, 'percentile': episodes.PERCENTILE, 'stretch': episodes.STRETCH,
    }  # fmt: skip


def _line(text):
    return ' '.join(text.split())


def caption(entry: Entry, frames: Frames) -> str:
    """Two paragraphs: what a figure or table shows, of which runs, how they collect; what differs from v1."""
    lacking = {*frames.missing, *frames.optional_missing}
    told = [spec for spec in frames.specs if spec.run_id not in frames.optional or spec not in lacking]
    lines = [
        _line(entry.text).format(**_words(frames)),
        f'Scale {frames.scale}: {"; ".join(_sizes(frames))}. {seeds(frames)}.',
        in_paper(entry, frames),
        published.summary(frames) if entry.name == 'figure_base_agent' else '',
        *dict.fromkeys(published.goal(spec) for spec in frames.specs),
        *dict.fromkeys(published.mixed(spec) for spec in frames.specs),
        *dict.fromkeys(published.schedule(spec) for spec in told),
        f'{frames.warning}.' if frames.warning else '',
        *without_result(frames),
    ]
    return ' '.join(line for line in lines if line) + f'\n\n{_differences(frames)}'


def without_result(frames: Frames) -> list[str]:
    """Sentences that say which runs have no result, and the commands that train them."""
    lines = []
    if frames.missing:
        planned = [spec for spec in frames.specs if spec.run_id not in frames.optional]
        lines.append(f'Planned, no result yet: {len(frames.missing)} of {len(planned)} runs; '
                     f'`{train_planned(frames.scale)}` trains them.')  # fmt: skip
    there, lacking = set(frames.runs.agent), {spec.agent for spec in frames.optional_missing}
    optional = [row.label for name, row in agents.AGENTS.items() if name in lacking - there]
    if optional:
        lines.append(f'Optional, not trained: {", ".join(optional)}; `{train_optional(frames.scale)}` trains them.')
    return lines


def train_planned(scale: str) -> str:
    """The command that trains what is planned at a scale."""
    if scales.get(scale).trains:
        return f'make figures SCALE={scale}'
    return f'paper-lib notebooks --scale {scale} -p train yes'


def train_optional(scale: str) -> str:
    """The command that trains the optional runs too."""
    return f'paper-lib notebooks --scale {scale} -p train all'


def _sizes(frames):
    """Tasks with their budgets, those with equal ones together."""
    groups = {}
    for spec in frames.specs:
        repeat = tasks.get(spec.task).repeat
        text = f'{spec.budget:,} environment steps ({repeat} per agent step), {spec.schedule.updates:,} updates'
        groups.setdefault(text, {})[spec.task] = None
    return [f'{_names(names)}, {text}' for text, names in groups.items()]


def _names(names):
    return ', '.join(names) if len(names) <= LISTED else f'{len(names)} tasks'


def seeds(frames: Frames) -> str:
    """How many runs there are of every agent; of every task where tasks differ."""
    there = frames.runs.groupby(['agent', 'task']).size()
    names, words = frames.tasks, []
    for agent in (agent for agent in agents.AGENTS if agent in set(frames.runs.agent)):
        counts, label = {task: there.get((agent, task), 0) for task in names}, agents.get(agent).label
        if len(set(counts.values())) == 1:
            words.append(f'{counts[names[0]]} {label}')
        else:
            words += [f'{n} {label} ({_names([task for task in names if counts[task] == n])})'
                      for n in sorted(set(counts.values()), reverse=True)]  # fmt: skip
    return f'Number of seeds{" per task" if len(names) > 1 else ""}: {", ".join(words) or "none yet"}'


def in_paper(entry: Entry, frames: Frames) -> str:
    """Which tasks the paper's figure shows, '' where they are those shown here."""
    here = set(frames.tasks)
    if entry.named is not None:
        count, named = len(entry.tasks), entry.named
        if here == set(named) and len(here) == count:
            return ''
        rest = f' among {count} tasks' if named and len(named) < count else '' if named else f'{count} tasks'
        return f'The paper shows {", ".join(named)}{rest}.'
    every = entry.is_figure and entry.chapter == 'study' and entry.tasks is None
    return f'The paper shows all {len(PAPER_TASKS)} tasks.' if every and len(here) < len(PAPER_TASKS) else ''


def _differences(frames):
    """In what the runs differ from v1: tasks with equal differences together, more of them as an addition."""
    specs, groups = {}, {}
    for spec in frames.specs:
        specs.setdefault(spec.task, []).append(spec)
    for task, own in specs.items():
        groups.setdefault(tuple(dict.fromkeys(x for spec in own for x in published.deviations(spec))), []).append(task)
    if len(groups) == 1:
        return published.differences(frames.specs)
    least, parts = min(groups, key=len), []
    for values, names in sorted(groups.items(), key=lambda group: len(group[0])):
        if values != least and set(least) <= set(values):
            text = f'the same, and {", ".join(x for x in values if x not in least)}.'
        else:
            text = published.differences([spec for name in names for spec in specs[name]])
        parts.append(f'{_names(names)}: {text}')
    return ' '.join(parts)
