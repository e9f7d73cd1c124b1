"""What stands below figures and tables: what is shown, of which runs, and in what they differ from the paper's."""

from paper_lib.contract import tasks
from paper_lib.study import claims, episodes, panels, published, stats, style
from paper_lib.study.figures import FIGURES, OUTLIER
from paper_lib.study.frames import Frames
from paper_lib.study.paper import PAPER_TASKS
from paper_lib.study.style import LOOKS

WITHIN = f'resampled within tasks; none where a task has fewer than {stats.FEWEST} seeds'
BAND = 'Thin lines: seeds; thick: their mean; band, from four seeds on: 95 % bootstrap interval of the mean.'
NORMALISED = """Normalised per task: the score of random actions is 0, the mean final score of the Active runs 1
    (a loss: over their mean final loss); tasks on which Active is no better than random are left out of scores."""
OWN = """Passive + 50 %, 10 % and 1 %: data of its own on a fixed schedule of this rate (none at the end, so the sum is
    less); auto: only where the OOD ratio is above the number."""
BASELINE = 'Dashed: mean of the Active agent, which collects for the task.'
VALUES = {'band': BAND, 'outlier': OUTLIER, 'enough': claims.ENOUGH, 'margin': claims.MARGIN, 'last': published.LAST,
          'at': published.AT, 'normalised': ' '.join(NORMALISED.split()), 'own': ' '.join(OWN.split()),
          'within': WITHIN, 'fewest': stats.FEWEST, 'baseline': BASELINE,
          'percentile': episodes.PERCENTILE, 'stretch': episodes.STRETCH}  # fmt: skip
CONTENT = {
    'figure_base_agent': """Episode score of our agent over the published scores of DreamerV3 v1 at size S
        (danijar/dreamerv3 at commit 423291a; dashed: their mean; black bar: their range at 250,000 steps; dotted:
        below this something would be wrong). Ours: mean of 4 evaluation episodes; theirs: training episodes, one or
        two per point. {band} Losses, actor gradient (through the learned dynamics) and number of updates per agent
        step (0.5) are v1's.""",
    'figure_2': """(a) Episode score, mean of 4 episodes per evaluation. {band}
        (b-d) First of the 4 episodes of the final evaluation, pair seed {first} (a rule fixed in advance), from the
        yellow dot; episodes start in the dotted square, the red circle is the goal. Above: over the number of states
        per 1 cm cell in the replay that the agent learned from (log colours, grey: never visited). Below: coloured by
        world-model loss (log colours). Table: median count over the distinct cells that the trajectory covers; the
        median of that over all final episodes and seeds; the number in the paper (1M steps, size S, cell size not
        stated).""",
    'figure_2_curves': """(a) World-model loss on the evaluation episodes. (b-d) Value of their first state, its
        discounted return, and the difference (as Fig. S2). {band}""",
    'figure_5': """States in the final replay of three agents that collect their own data, one run each (pair
        seed {first}): for the task (how: see below), for exploration alone, for both. One logarithmic colour scale;
        grey: never visited; dark red: above the {outlier:g}th percentile of visited cells. Dotted: where episodes
        start; red circle: the goal. The paper draws this from the vision variant.""",
    'figure_5_curves': """Agents trained on the data of the two explorers, all evaluated on the task; dashed: mean of
        the Active agent. {band}""",
    'figure_1': """(a) Where an agent's data comes from. (b) The tasks of the paper; framed: those of this scale.
        (c-e) Final score, normalised: mean over tasks (bar), its 95 % bootstrap interval (line; {within}), mean of each
        task (dots) and of Active (dashed). (c) Offline agents on Active's data; (d) agents
        on data of pure exploration; (e) agents that add data of their own. {normalised}""",
    'figure_3': """Episode score and world-model loss on the evaluation episodes. {band}""",
    'figure_4': """Episode score and world-model loss by the part of Active's final replay that is learned from:
        all of it (Passive), its second half (expert), its first half (suboptimal), or a uniform half of it
        (Passive-half, the paper's Passive-mixed). {band}""",
    'figure_6': """Agents on the data of an agent that explores only, all evaluated on the task. {baseline} {band}""",
    'figure_7': """Final score over w_expl, the weight of the exploration reward in what the data are collected for
        (0: the task alone; 1: exploration alone; spaced evenly). Active acts on it, Passive and Tandem learn from its
        data; all are evaluated on the task. Lines: means; dots: seeds; bars, from three seeds on: 95 % bootstrap
        interval of the mean; dashed: Active at weight 0.""",
    'figure_8': """Episode score and world-model loss of Passive agents that add data of their own. {own} {band}""",
    'figure_S1': """Thresholds of the OOD ratio above which Passive adds data of its own: episode score, OOD ratio,
        and what was added in percent of the environment steps in the source's replay. Last column: mean over tasks of
        scores normalised, of the others as they are, with its 95 % interval ({within}). {normalised}
        {baseline} {band}""",
    'figure_S2': """Value estimate of the first state of the evaluation episodes, their discounted Monte-Carlo return,
        and the first minus the second. {band}""",
    'figure_S3': """First episode of the final evaluation, pair seed {first}; it starts alike for all agents. Shaded, in
        the colour of the agent: stretches of at least {stretch} steps in a row with a world-model loss above the
        {percentile}th percentile of Active's in this episode, a rule fixed before any episode was seen.""",
    'figure_S4': """What Tandem sees and what its world model decodes, around the step (framed) of the first episode of
        the final evaluation, pair seed {first}, at which the world-model loss is highest among the steps whose
        policy-input reconstruction loss is not above its median.""",
    'figure_S5': """Tandem_sameWM: a Tandem whose world model has Active's weights at every update. Passive_sameWM:
        a Passive with Active's final world model, frozen. Both train an actor and a critic of their own. {band}""",
    'figure_S6': """Passive agents with Active's initial weights (same) and with others (the paper's Passive-diff).
        {baseline} {band}""",
    'figure_S7': """Tandem agents whose initial weights are (1 - alpha) Active's + alpha their own (Eq. S3); Tandem is
        alpha 1. {band}""",
    'figure_S8': """Above: which part of Active's final replay, split at half of its environment steps, an agent learns
        from; the hatched one from a uniform half of all (the paper's Passive-mixed). Below: episode score and
        world-model loss, as Fig. 4. {band}""",
    'figure_S9': """As Fig. 7: final score over w_expl. Lines: means; dots: seeds; bars, from three seeds on: 95 %
        bootstrap interval of the mean; dashed: Active at weight 0.""",
    'figure_S10': """Episode score of all tasks; last: normalised mean over tasks, with its 95 % interval
        ({within}). Passive: the paper's Passive-diff, with initial weights of its own. {normalised} {band}""",
    'figure_S11': """World-model loss of all tasks; last: normalised mean over tasks, as Fig. S10. {normalised}
        {band}""",
    'figure_S12': """Episode score of all tasks of Passive agents that add data of their own; last: normalised mean over
        tasks, with its 95 % interval ({within}). {own} {normalised} {band}""",
    'figure_S13': """World-model loss of all tasks of the agents of Fig. S12; last: normalised mean over tasks. {own}
        {normalised} {band}""",
    'figure_S14': """OOD ratio of all tasks of the agents of Fig. S12: world-model loss on the evaluation episodes over
        that on episodes of the replay; last: mean over tasks, not normalised. {own} {band}""",
    'figure_S15': """Mean normalised score over the data of its own that an agent had added (environment steps, percent
        of those in the source's replay; mean over tasks): one marker per evaluation. Dashed: last evaluation of Active
        and of Passive, which adds none. {own} {normalised}""",
    'figure_S16': """Episode score of all tasks on the data of an agent that explores only; last: normalised mean over
        tasks, with its 95 % interval ({within}). {baseline} {normalised} {band}""",
    'figure_S17': """World-model loss of all tasks on the data of an agent that explores only; last: normalised mean
        over tasks. {baseline} {normalised} {band}""",
    'table_base_agent': """Mean score of the last {last} evaluations up to {at:,} environment steps, the range of the
        published seeds there, and where ours lies.""",
    'table_visitation': """Median number of states per 1 cm cell in the replay that the agent learned from, over the
        distinct cells that a final-evaluation trajectory covers. shown: the trajectory of Fig. 2 (pair seed {first});
        then the median and mean over all final episodes and seeds; the paper's number (1M steps, size S, cell size not
        stated).""",
    'table_claims': """Each row compares runs of the same task and pair seed (n of them); a final value is the mean over
        the last tenth of the evaluations. estimate: interquartile mean; low, high: its 95 % bootstrap interval,
        resampled within tasks, or over all pairs where a task has fewer than {fewest}. supported: the interval lies in
        the range that the claim names (about equal: within {margin} of a normalised score); contradicted: outside of
        it; undecided otherwise and, but for C10, where n is below {enough}. {normalised}""",
    'table_sensitivity': """Claim C1 with other choices of what counts as a final value (share of the last evaluations)
        and of how pairs are summarised. Columns as in the tables of claims. {normalised}""",
    'table_S1': """Settings of the environments, from the table that the code itself uses.""",
    'table_S2': """Environment steps that Passive + auto 1.35 added, in percent of those in its source's replay: mean,
        lowest and highest run, number of runs, and the paper's Table S2 (1M steps, size S). Last row: mean over the
        tasks that have runs, of the paper's numbers for the same tasks.""",
}
NAMED = {  # how many tasks the paper's figure shows, those of them that its text names
    'figure_3': (4, ['cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'basketball-proprio']),
    'figure_4': (4, ['point_mass_maze-vision']),
    'figure_6': (4, ['quadruped_run-vision', 'pick-place-proprio']),
    'figure_7': (1, ['quadruped_run-vision']),
    'figure_8': (4, ['cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'space_invaders-vision']),
    'figure_S1': (3, []),
    'figure_S2': (4, ['cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'basketball-proprio']),
    'figure_S3': (2, ['point_mass_maze-vision', 'cheetah_run-vision']),
    'figure_S4': (1, ['point_mass_maze-vision']),
    'figure_S5': (4, ['hopper_hop-proprio', 'quadruped_run-proprio']),
    'figure_S8': (4, ['point_mass_maze-vision']),
    'figure_S9': (3, ['quadruped_run-vision', 'point_mass_maze-vision', 'pick-place-proprio']),
}
LISTED = 6  # tasks that a caption lists; more are counted


def caption(name: str, frames: Frames, scale: str) -> str:
    """Two paragraphs: what figure or table `name` shows, of which runs, how they collect; what differs from v1."""
    unasked, missing = panels.planned(scale), frames.missing
    wanted = [spec in unasked for spec in frames.specs]
    lost = [spec for spec in missing if spec in unasked]
    asked = {spec for spec in missing if spec not in unasked}
    there = set(frames.runs.agent)
    further = [agent for agent in LOOKS if agent in {spec.agent for spec in asked} - there]
    lines = [
        ' '.join(CONTENT[name].split()).format(**VALUES, first=frames.first),
        f'Scale {scale}: {"; ".join(_sizes(frames))}. {seeds(frames)}.',
        in_paper(name, frames),
        published.summary(frames) if name == 'figure_base_agent' else '',
        *dict.fromkeys(published.goal(spec) for spec in frames.specs),
        *dict.fromkeys(published.mixed(spec) for spec in frames.specs),
        *dict.fromkeys(published.schedule(spec) for spec in frames.specs if spec not in asked),
        f'{style.WARNING}.' if scale == 'smoke' else '',
        f'Missing: {len(lost)} of {sum(wanted)} runs.' if lost else '',
        f'Only on request: {", ".join(LOOKS[agent].label for agent in further)}.' if further else '',
    ]
    return ' '.join(line for line in lines if line) + f'\n\n{_differences(frames)}'


def _sizes(frames):
    """Tasks with their budgets, those with equal ones together."""
    groups = {}
    for spec in frames.specs:
        repeat = tasks.get(spec.task).repeat
        text = f'{spec.budget:,} environment steps ({repeat} per agent step), {spec.updates:,} updates'
        groups.setdefault(text, {})[spec.task] = None
    return [f'{_names(names)}, {text}' for text, names in groups.items()]


def _names(names):
    return ', '.join(names) if len(names) <= LISTED else f'{len(names)} tasks'


def seeds(frames: Frames) -> str:
    """How many runs there are of every agent; of every task where tasks differ."""
    there = frames.runs.groupby(['agent', 'task']).size()
    names = list(dict.fromkeys(spec.task for spec in frames.specs))
    words = []
    for agent in (agent for agent in LOOKS if agent in set(frames.runs.agent)):
        counts, label = {task: there.get((agent, task), 0) for task in names}, LOOKS[agent].label
        if len(set(counts.values())) == 1:
            words.append(f'{counts[names[0]]} {label}')
        else:
            words += [f'{n} {label} ({_names([task for task in names if counts[task] == n])})'
                      for n in sorted(set(counts.values()), reverse=True)]  # fmt: skip
    return f'Number of seeds{" per task" if len(names) > 1 else ""}: {", ".join(words) or "none yet"}'


def in_paper(name: str, frames: Frames) -> str:
    """Which tasks the paper's figure shows, '' where they are those shown here."""
    here = {spec.task for spec in frames.specs}
    if name in NAMED:
        count, named = NAMED[name]
        if here == set(named) and len(here) == count:
            return ''
        rest = f' among {count} tasks' if named and len(named) < count else '' if named else f'{count} tasks'
        return f'The paper shows {", ".join(named)}{rest}.'
    every = name in FIGURES and FIGURES[name].section == 'study' and FIGURES[name].tasks is None
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
