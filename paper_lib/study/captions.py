"""What stands below figures and tables: what is shown, of which runs, and in what they differ from the paper's."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from paper_lib.contract import agents, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.study import (
    claims,
    comparisons,
    episodes,
    offline,
    parameters,
    published,
    scales,
    stats,
    steps,
    supplement,
    verdicts,
    visitation,
)
from paper_lib.study.catalogue import Entry
from paper_lib.study.figures import OUTLIER
from paper_lib.study.frames import Frames
from paper_lib.study.names import listed, unwrapped, word
from paper_lib.study.paper import PAPER_TASKS

WITHIN = f'from resampling within tasks; there is none if a task has fewer than {stats.FEWEST} runs'
BAND = """Thin lines: single runs. Thick: their mean. Band: 95 % bootstrap interval of the mean, if there are four
    runs or more."""
UNIT = 'of the Active runs from which Passive learned (on a task without Passive: of all Active runs)'
UNIT_WITHOUT_PASSIVE = 'of the Active runs shown'
NORMALISED = """Scores are normalised per task: 0 is the score of random actions, and 1 is the mean final score
    {unit}. Means leave out tasks on which Active is no better than random."""
NORMALISED_LOSS = 'Losses are normalised per task: 1 is the mean final loss {unit}.'
SCHEDULES = """{fixed}: data are added at this rate, but none at the end of training, so the total is a little less.
    {adaptive}: data are added only if the OOD ratio is above the number in the name."""
WEIGHTS = """Large marks: means{joined}. Dots: runs. Bars: 95 % bootstrap interval of the mean, if there are four runs
    or more. Dashed: {active.label} at weight 0 of the same pair."""
RELATIVE = 'Left out are pairs without this Active, and tasks on which it is no better than random.'
JOINED = '; a line joins neighbouring weights that have runs'
BASELINE = 'Dashed: mean of the {active.label} agent, which collects for the task.'
NOT_KNOWN = MappingProxyType({'yes': 'them', 'all': 'them'})
NONE = MappingProxyType({})
SHARED = """Shared tasks are those on which all agents that the figure is about have run, for the same number of
    steps. Other agents are drawn only if they have run on all of these tasks."""
LISTED = 6  # tasks that a caption lists; more are counted


def _words(frames: Frames) -> dict[str, Any]:
    """What may be filled into a caption's text: rows of agents by name, and words that captions share."""
    interacting = [agents.get(name) for name in agents.group('interacting')]
    adaptive = [row.label for row in interacting if row.values['interact_above']]
    fixed = [row.label for row in interacting if not row.values['interact_above']]
    models = [agents.get(name) for name in agents.group('world_models')]
    schedules = SCHEDULES.format(fixed=', '.join(fixed), adaptive=', '.join(adaptive))
    unit = UNIT if 'passive' in frames.archived_agents else UNIT_WITHOUT_PASSIVE
    normalised = unwrapped(NORMALISED).format(unit=unit)
    shared = {
        'agreement': supplement.agreement(frames),
        'at': published.AT,
        'band': unwrapped(BAND),
        'baseline': BASELINE.format(**agents.AGENTS),
        'fewest': word(claims.FEWEST),
        'fewest_measured': word(offline.FEWEST_PAIRS),
        'first': _first_seeds(frames),
        'further': _further(frames),
        'hallucinates': episodes.HALLUCINATES,
        'in_units': unwrapped(NORMALISED).format(unit=f'{UNIT}{_set_aside(frames)}'),
        'known_pair': claims.KNOWN_PAIR,
        'last': published.LAST,
        'margin': comparisons.MARGIN,
        'mean_column': _mean('Last column', frames),
        'mean_panel': _mean('Last panel', frames),
        'mean_normalised': f'Only scores are normalised. {normalised}' if len(frames.tasks) > 1 else '',
        'normalised': normalised,
        'offline': offline,
        'normalised_loss': NORMALISED_LOSS.format(unit=unit),
        'outlier': OUTLIER,
        'schedules': unwrapped(schedules),
        'relative': RELATIVE,
        'thresholds': 'Dotted: the threshold of an adaptive schedule.',
        'published_visits': listed([f'{visits:g}' for visits in visitation.PUBLISHED.values()]),
        'percentile': steps.PERCENTILE,
        'pictures': _pictures(frames),
        'smooth': episodes.SMOOTH,
        'stretch': episodes.STRETCH,
        'stretches': _stretches(frames),
        'share': f'{100 * stats.LAST:g} %',
        'weights': unwrapped(WEIGHTS).format(**agents.AGENTS, joined=JOINED if _has_neighbours(frames) else ''),
        'world_models': '. '.join(f'{row.label}: {row.about}' for row in models),
    }
    return agents.AGENTS | shared


def _set_aside(frames: Frames) -> str:
    """Which pairs set no unit of the claims; '' if none of them is planned."""
    compared = agents.group('compared')
    later = [spec for spec in frames.specs if not comparisons.takes(compared, spec.task, spec.pair_seed)]
    if not later:
        return ''
    names = listed([tasks.get(name).short for name in dict.fromkeys(spec.task for spec in later)])
    return f', on {names} without pairs from {scales.LATER_PAIRS.start} on'


def _further(frames: Frames) -> str:
    """A sentence on the tasks on which the measures are not judged; '' if there are none."""
    if offline.is_judged(offline.of_measured_runs(frames)).all():
        return ''
    return f'Further tasks have fewer than {word(offline.FEWEST_PAIRS)} pairs, and no measure is judged by them.'


def _mean(place: str, frames: Frames) -> str:
    """Sentences on the last column or panel of a grid; '' where there is one task, and so no mean over tasks."""
    if len(frames.tasks) == 1:
        return ''
    return f'{place}: mean over shared tasks, and its 95 % interval ({WITHIN}). {unwrapped(SHARED)}'


def _has_neighbours(frames: Frames) -> bool:
    """Whether agents that learn in the same way have run on one task at two neighbouring weights of exploration."""
    archived = set(zip(frames.runs.agent, frames.runs.task))
    families = [agents.family(name) for name in agents.group('weights') if not agents.exploration_weight(name)]
    for task, family in itertools.product(frames.tasks, families):
        has_run = [(agent, task) in archived for agent in family]
        if any(lower and higher for lower, higher in itertools.pairwise(has_run)):
            return True
    return False


def _first_seeds(frames: Frames) -> str:
    """The pair seed that single-run panels show, of every task where tasks differ."""
    tasks_by_seed: dict[int, list[str]] = {}
    for task in frames.tasks:
        tasks_by_seed.setdefault(frames.of([task], 'task').first, []).append(task)
    if len(tasks_by_seed) == 1:
        return str(frames.first)
    return ', '.join(f'{seed} ({_tasks(names)})' for seed, names in tasks_by_seed.items())


def _stretches(frames: Frames) -> str:
    """How many stretches of the shown episodes are abnormal, as a sentence."""
    count = 0
    for task in frames.tasks:
        of_task = frames.of([task], 'task')
        if of_task.traces.empty:
            continue
        usual = of_task.episode('active')
        for agent in of_task.archived_agents - {'active'}:
            if len(usual):
                count += len(episodes.abnormal(of_task.episode(agent).wm_loss, usual.wm_loss))
    found = {0: 'no such stretch', 1: 'one such stretch'}.get(count, f'{count} such stretches')
    return f'Here there {"is" if count < 2 else "are"} {found}.'


def _pictures(frames: Frames) -> str:
    """How far the decoded pictures are from the seen ones, and whether this is a hallucination; '' without any."""
    rows = frames.pictures
    if rows.empty or rows.shown.all() or not rows.shown.any():
        return ''
    differences = rows.apply(episodes.difference, axis=1)
    framed, others = differences[rows.shown].mean(), differences[~rows.shown].mean()
    is_there = framed >= episodes.HALLUCINATES * others
    return (
        f'Here the mean difference is {framed:.1f} of 255 at the framed step and {others:.1f} at the others: this '
        f'episode shows {"a hallucination" if is_there else "no hallucination"}.'
    )


def caption(
    entry: Entry, frames: Frames, costs: Mapping[str, str] = NOT_KNOWN, obstacles: Mapping[str, str] = NONE
) -> str:  # fmt: skip
    """Two paragraphs: what is shown, of which runs; then how these are made, and in what they differ from v1.

    `costs` says what the notebook trains that shows the entry, by its parameter `train`: 'yes' or 'all'. `obstacles`
    has the claims of the notebook that lack runs or a verdict, and why no run of the scale can decide them; '' if one
    can.
    """
    later = set(frames.optional_missing)
    scheduled = [spec for spec in frames.specs if spec not in later]
    drawn = entry.drawn(frames)
    title = '. '.join(filter(None, [entry.called, entry.title]))
    what = [
        f'**{title}.**' if title else '',
        unwrapped(entry.text.format(**_words(drawn))),
        _pairs_with(entry, frames),
        f'Scale {frames.scale}: {_tasks(drawn.tasks)}. {counts(drawn)}.',
        exploratory(drawn),
        fewer_pairs(drawn) if '{band}' in entry.text else '',
        published.summary(frames) if entry.name == 'figure_base_agent' else '',
        f'{frames.warning}.' if frames.warning else '',
        _planned_missing(entry, frames, costs['yes']),
    ]
    how = [
        f'Budgets: {"; ".join(_sizes(drawn))}.',
        in_paper(entry, frames),
        *dict.fromkeys(published.goal(spec) for spec in frames.specs),
        *dict.fromkeys(published.collected_for(spec) for spec in frames.specs),
        *published.schedules(scheduled),
        _optional_missing(entry, frames, costs['all']),
        _gives_pairs(entry, frames, obstacles),
        _cannot_decide(entry, frames, obstacles),
        _differences(frames),
    ]
    return '\n\n'.join(' '.join(filter(None, sentences)) for sentences in (what, how))


def _pairs_with(entry: Entry, frames: Frames) -> str:
    """A sentence on the pairs that are left out, since an agent is only compared with others of its pairs."""
    labels = [agents.get(name).label for name in entry.subject if name in frames.archived_agents]
    if not entry.paired or not labels:
        return ''
    units = ', and set the units' if '{normalised' in entry.text or '{relative' in entry.text else ''
    return f'Only the pairs in which {listed(labels, "or")} has run are drawn{units}.'


def _planned_missing(entry: Entry, frames: Frames, cost: str) -> str:
    """How many planned runs have no result, the command that trains them, and what it costs."""
    if not frames.missing:
        return ''
    planned = [spec for spec in frames.specs if spec.run_id not in frames.optional]
    missing = f'{len(frames.missing)} of {len(planned)} runs'
    command = training(entry.notebook, frames.scale, 'yes')
    return f'Planned, no result yet: {missing}. `{command}` trains {cost}.'


def _optional_missing(entry: Entry, frames: Frames, cost: str) -> str:
    """Which optional runs have no result, the command that trains them, and what it costs."""
    if not frames.optional_missing:
        return ''
    without = {spec.agent for spec in frames.optional_missing}
    labels = [row.label for name, row in agents.AGENTS.items() if name in without - frames.archived_agents]
    if without & frames.archived_agents:
        labels.append('further pairs')
    command = training(entry.notebook, frames.scale, 'all')
    return f'Optional, not trained: {", ".join(labels)}. `{command}` trains {cost}.'


def _gives_pairs(entry: Entry, frames: Frames, obstacles: Mapping[str, str]) -> str:
    """Which claims get pairs from the missing runs of the entry."""
    if entry.chapter != 'study':
        return ''
    planned = [spec for spec in frames.specs if spec.task not in frames.exploratory]
    archived = set(frames.runs.run_id)
    finished = [spec for spec in planned if spec.run_id in archived]
    in_plan = scales.get(frames.scale).agents(entry.chapter)
    names = [name for name in claims.given_pairs(finished, planned, in_plan) if obstacles.get(name) == '']
    return f'The missing runs give pairs to {listed(names)}.' if names else ''


def _cannot_decide(entry: Entry, frames: Frames, obstacles: Mapping[str, str]) -> str:
    """Which claims about agents of the entry stay undecided when the missing runs are trained, and why."""
    if entry.chapter != 'study' or not (frames.missing or frames.optional_missing):
        return ''
    claims_of: dict[str, list[str]] = {}  # obstacle -> claims
    for claim in claims.every_claim():
        compared = set(claim.rows[0].agents) - {'active'}
        if obstacles.get(claim.id) and compared & set(entry.subject):
            claims_of.setdefault(obstacles[claim.id], []).append(f'{claim.id} ({claim.text.rstrip(".")})')
    parts = [f'{listed(names)}: {obstacle}' for obstacle, names in claims_of.items()]
    if not parts:
        return ''
    return f'{verdicts.NO_RUN_DECIDES} {"; ".join(parts)}.'


def training(notebook: str, scale: str, train: str) -> str:
    """The command that trains what a notebook plans (`train` is 'yes'), and its optional runs too ('all')."""
    named = '' if scale == parameters.Parameters().scale else f' --scale {scale}'
    asked = '' if train == 'yes' and scales.get(scale).trains else f' -p train {train}'
    return f'paper-lib notebooks {notebook}{named}{asked}'


def _sizes(frames: Frames) -> list[str]:
    """Tasks with their budgets; tasks with equal budgets stand together."""
    groups: dict[str, dict[str, None]] = {}
    for spec in frames.specs:
        repeat = tasks.get(spec.task).repeat
        budget = f'{spec.budget:,} environment steps ({repeat} per agent step), {spec.schedule.updates:,} updates'
        groups.setdefault(budget, {})[spec.task] = None
    return [f'{_tasks(names)}, {budget}' for budget, names in groups.items()]


def _tasks(names: Iterable[str]) -> str:
    """The names of the tasks or, where there are many, their number."""
    names = list(names)
    return ', '.join(names) if len(names) <= LISTED else f'{len(names)} tasks'


def counts(frames: Frames) -> str:
    """The number of runs of every agent, for every group of tasks with equal numbers."""
    archived = frames.runs.groupby(['agent', 'task']).size()
    groups: dict[str, list[str]] = {}
    for task in frames.tasks:
        labels_of: dict[int, list[str]] = {}
        for agent, row in agents.AGENTS.items():
            if count := archived.get((agent, task), 0):
                labels_of.setdefault(count, []).append(row.label)
        numbers = [f'{count} of {listed(labels)}' for count, labels in labels_of.items()]
        groups.setdefault(', '.join(numbers) or 'none yet', []).append(task)
    parts = list(groups)
    if len(groups) > 1:
        parts = [f'{numbers} ({_tasks(names)})' for numbers, names in groups.items()]
    per_task = ' per task' if len(frames.tasks) > 1 else ''
    return f'Number of runs{per_task}: {"; ".join(parts) or "none yet"}'


def exploratory(frames: Frames) -> str:
    """A sentence about the tasks that no claim is tested on; '' if there are none."""
    found = [task for task in frames.exploratory if task in frames.tasks]
    return f'Exploratory, so no claim is tested there: {_tasks(found)}.' if found else ''


def fewer_pairs(frames: Frames) -> str:
    """Which agents have run in fewer pairs than Active, and where Active ends in these; '' if there are none."""
    finals = stats.final(frames.metrics, 'score')
    parts = []
    for task in frames.tasks:
        here = finals[finals.task == task]
        active = here[here.agent == 'active'].set_index('pair_seed').score
        agents_of: dict[tuple[int, ...], list[str]] = {}  # pair seeds -> labels
        for name in (name for name in agents.AGENTS if name in set(here.agent)):
            seeds = tuple(sorted(active.index.intersection(here.pair_seed[here.agent == name])))
            if 0 < len(seeds) < len(active):
                agents_of.setdefault(seeds, []).append(agents.get(name).label)
        for seeds, labels in agents_of.items():
            ends = f'{_score(active.loc[list(seeds)].mean())}, in all pairs at {_score(active.mean())}'
            parts.append(f'{listed(labels)} on {task}: {_seeds(seeds)}, in which Active ends at a score of {ends}')
    if not parts:
        return ''
    return f'Some agents have run in fewer pairs than Active. Compare them with Active there: {"; ".join(parts)}.'


def _score(value: float) -> str:
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'


def _seeds(numbers: Sequence[int]) -> str:
    """Pair seeds in words: 'pair seed 10', 'pair seeds 10, 12 to 15'."""
    if len(numbers) == 1:
        return f'pair seed {numbers[0]}'
    return f'pair seeds {", ".join(_spans(numbers))}'


def _spans(numbers: Sequence[int]) -> list[str]:
    """Rising numbers, those that follow on each other as one: [1, 3, 4, 5] -> ['1', '3 to 5']."""
    spans = []
    for _, span in itertools.groupby(enumerate(numbers), key=lambda at: at[1] - at[0]):
        members = [number for _, number in span]
        spans += map(str, members) if len(members) < 3 else [f'{members[0]} to {members[-1]}']
    return spans


def in_paper(entry: Entry, frames: Frames) -> str:
    """A sentence about the tasks that the paper shows; '' where they are those shown here, or nothing is known."""
    here = set(frames.tasks)
    if entry.named is None:
        shows_all = entry.is_figure and entry.chapter == 'study' and entry.tasks is None
        if shows_all and len(here) < len(PAPER_TASKS):
            return f'The paper shows all {len(PAPER_TASKS)} tasks.'
        return ''
    count = len(entry.tasks)
    if here == set(entry.named) and len(here) == count:
        return ''
    if not entry.named:
        return f'The paper shows {count} tasks.'
    among = f' among {count} tasks' if len(entry.named) < count else ''
    return f'The paper shows {", ".join(entry.named)}{among}.'


def _differences(frames: Frames) -> str:
    """In what the runs differ from v1.

    Tasks with equal differences stand together. Where a group differs in the values of the smallest group and in more,
    only the further values are listed.
    """
    specs_of: dict[str, list[RunSpec]] = {}
    for spec in frames.specs:
        specs_of.setdefault(spec.task, []).append(spec)
    groups: dict[tuple[str, ...], list[str]] = {}
    for task, specs in specs_of.items():
        values = {}
        for spec in specs:
            values |= dict.fromkeys(published.deviations(spec))
        groups.setdefault(tuple(values), []).append(task)
    if len(groups) == 1:
        return published.differences(frames.specs)

    smallest = min(groups, key=len)
    parts = []
    for values in sorted(groups, key=len):
        names = groups[values]
        if values != smallest and set(smallest) <= set(values):
            further = [value for value in values if value not in smallest]
            text = f'the same, and {", ".join(further)}.'
        else:
            text = published.differences(spec for task in names for spec in specs_of[task])
        parts.append(f'{_tasks(names)}: {text}')
    return ' '.join(parts)
