"""Every figure and table: its name, notebook, chapter, agents and tasks, what draws it, and the words below it.

To add one, add a row here and a cell to the notebook (`docs/extending.md`).
"""

import collections
import dataclasses
import functools
import importlib
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from paper_lib.contract import agents, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.contract.tasks import Task
from paper_lib.study import (
    claims,
    comparisons,
    offline,
    paper,
    price,
    published,
    scales,
    sensitivity,
    supplement,
    visitation,
)
from paper_lib.study.frames import Frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Takes frames and the names of agents, and returns a figure or a table.
Draw = Callable[[Frames, Sequence[str]], 'Figure | pd.DataFrame']

STATES = COMPLETE, PARTIAL, SUBJECT_MISSING = 'complete', 'partial', 'subject not run yet'
LISTED = 3  # agents that a warning lists; more are counted


@dataclasses.dataclass(frozen=True)
class Entry:
    """One figure or table.

    The caption begins with `title`, which says in what it differs from all others, and `text`. In `text`, {agent.label}
    and the words of `captions` are filled in.
    """

    name: str  # also of its files
    notebook: str
    chapter: str  # of the archive
    wanted: tuple[str, ...]  # agents or groups of them
    draw: Draw | None  # None: its runs alone are asked for
    title: str = ''
    text: str = ''
    tasks: tuple[str, ...] | None = None  # those of the paper, or that it is about; None: all of the chapter
    named: tuple[str, ...] | None = None  # those of them that the paper's text names; None: nothing is said of it
    fits: Callable[[Task], Any] | None = None  # which tasks can be shown in place of the paper's; None: all
    about: tuple[str, ...] = ()  # agents or groups that it is about, if others stand beside them only to compare
    tested: bool = False  # exploratory tasks are left out, if there are others
    # Whether pairs are left out in which none of the agents that it is about is planned. Once one of these has run,
    # pairs in which none has run are not drawn.
    paired: bool = False

    @property
    def is_figure(self) -> bool:
        """Whether it is a figure; otherwise it is a table."""
        return self.name.startswith('figure')

    @property
    def number(self) -> str:
        """Its number in the paper, as '2' or 'S1'; '' for what the paper does not have."""
        numbered = re.fullmatch(r'(?:figure|table)_(S?\d+)', self.name)
        return numbered.group(1) if numbered else ''

    @property
    def called(self) -> str:
        """'Fig. 4 (published: 5)', for a part of it with its name; '' for what the paper does not have."""
        found = re.fullmatch(r'(figure|table)_(S?\d+)(?:_(\w+))?', self.name)
        if not found:
            return ''
        kind, number, part = found.groups()
        words = f'{"Fig." if kind == "figure" else "Table"} {number}'
        if kind == 'figure' and paper.published_number(number) != number:
            words += f' (published: {paper.published_number(number)})'
        return f'{words}, {part}' if part else words

    @property
    def agents(self) -> list[str]:
        """Names of the agents that are shown."""
        return agents.group(*self.wanted)

    @property
    def subject(self) -> list[str]:
        """Names of the agents that it is about."""
        return agents.group(*(self.about or self.wanted))

    def state(self, frames: Frames) -> str:
        """One of STATES, for the frames that are shown."""
        return self.state_of(frames.specs, frames.optional, set(frames.runs.run_id))

    def state_of(self, specs: Sequence[RunSpec], optional: Collection[str], archived: Collection[str]) -> str:
        """One of STATES, for the runs that are shown. `optional` and `archived` are ids of runs.

        It is complete if all agents have runs on all tasks, all that is planned has run, and so have the optional pairs
        of the agents that it is about.
        """
        have_run = {(spec.agent, spec.task) for spec in specs if spec.run_id in archived}
        if not {agent for agent, _ in have_run} & set(self.subject):
            return SUBJECT_MISSING
        wanted = set(itertools.product(self.agents, {spec.task for spec in specs}))
        lacking = [spec for spec in specs if spec.run_id not in archived]
        are_needed = [spec for spec in lacking if spec.run_id not in optional or spec.agent in self.subject]
        return PARTIAL if are_needed or not wanted <= have_run else COMPLETE

    def warning(self, frames: Frames) -> str:
        """What stands on the face of a figure whose subject is missing; '' if it is there."""
        if self.state(frames) != SUBJECT_MISSING:
            return ''
        labels = [agents.get(name).label for name in self.subject]
        more = f' and {len(labels) - LISTED} more' if len(labels) > LISTED else ''
        names = ', '.join(labels[:LISTED]) + more
        return f'No run yet of {names}'

    def over(
        self, specs: Iterable[RunSpec], optional: Collection[str] = (), exploratory: Collection[str] = ()
    ) -> list[str]:
        """The tasks that are shown, out of those of the runs of a chapter. `optional` are ids of optional runs.

        These are the paper's. If the chapter has none of them, they are as many others that fit: first those on which
        most of the agents are planned, then in the order of the chapter. A task on which half of these or fewer are
        planned is not shown, nor one on which only agents are planned that the entry is not about.
        """
        names = []
        own = self.agents
        planned = collections.defaultdict(set)
        for spec in specs:
            names.append(spec.task)
            if spec.agent in own and spec.run_id not in optional:
                planned[spec.task].add(spec.agent)
        names = list(dict.fromkeys(names))
        names = [task for task in names if not planned[task] or planned[task].intersection(self.subject)] or names
        if self.tested:
            names = [task for task in names if task not in exploratory] or names
        if self.tasks is None:
            return names
        of_paper = [task for task in self.tasks if task in names]
        if of_paper:
            return of_paper
        others = [task for task in names if self.fits is None or self.fits(tasks.get(task))]
        most = max((len(planned[task]) for task in others), default=0)
        others = [task for task in others if not most or 2 * len(planned[task]) > most]
        others.sort(key=lambda task: -len(planned[task]))
        return others[: len(self.tasks)]

    def part(
        self, specs: Iterable[RunSpec], optional: Collection[str] = (), exploratory: Collection[str] = ()
    ) -> list[RunSpec]:
        """The runs that are shown, out of those of a chapter; see `over`.

        An optional source is left out where nothing else of its pair is shown: it was trained for others.
        """
        specs = list(specs)
        own, shown_tasks = self.agents, self.over(specs, optional, exploratory)
        subject = self.subject
        found = [spec for spec in specs if spec.agent in own and spec.task in shown_tasks]
        found = [spec for spec in found if comparisons.takes([spec.agent, *subject], spec.task, spec.pair_seed)]
        if self.paired:
            kept = {(spec.task, spec.pair_seed) for spec in found if spec.agent in subject}
            found = [spec for spec in found if (spec.task, spec.pair_seed) in kept]
        in_pair = collections.Counter((spec.task, spec.pair_seed) for spec in found)

        def is_alone(spec: RunSpec) -> bool:
            return not spec.source and spec.run_id in optional and in_pair[spec.task, spec.pair_seed] == 1

        return [spec for spec in found if not is_alone(spec)]

    def of(self, frames: Frames) -> Frames:
        """The part of a chapter's frames that is shown."""
        shown = self.part(frames.specs, frames.optional, frames.exploratory)
        return frames.of({spec.run_id for spec in shown}, 'run_id')

    def drawn(self, frames: Frames, names: Sequence[str] = ()) -> Frames:
        """The part that is drawn with these agents: if it is `paired`, that of the pairs in which one has run.

        Only agents that it is about count.
        """
        return frames.of_pairs({*self.subject}.intersection(names or self.agents)) if self.paired else frames

    def make(self, frames: Frames, names: Sequence[str] = ()) -> 'Figure | pd.DataFrame':
        """The figure or the table of these frames, with these agents; without `names`, with all of its own."""
        drawn = dataclasses.replace(self.drawn(frames, names), subject=tuple(self.subject))
        return self.draw(drawn, names or self.agents)


def _draw(function: str, frames: Frames, names: Sequence[str], **options: Any) -> 'Figure | pd.DataFrame':
    """What MODULE.FUNCTION of the room of figures makes. Its module loads matplotlib, so it is loaded only here."""
    module, _, name = function.partition('.')
    drawing = importlib.import_module(f'paper_lib.study.{module}')
    return getattr(drawing, name)(frames, names, **options)


def _draws(function: str, **options: Any) -> Draw:
    return functools.partial(_draw, function, **options)


def _curves(columns: Sequence[str], faded: Sequence[str] = (), mean: bool = False) -> Draw:
    """Draws curves of these quantities for every task."""
    return _draws('grids.curves', columns=columns, faded=faded, mean=mean)


def _ordered_curves(
    frames: Frames, names: Sequence[str], field: str, otherwise: float, reverse: bool = False, **options: Any
) -> 'Figure':
    """Curves with the agents in the order of a field of their rows, Active first.

    So a legend is in the order of what was varied. An agent whose row lacks the field has the value `otherwise`.
    `options` are those of `grids.curves`.
    """
    offline = [name for name in names if name != 'active']
    offline.sort(key=lambda name: agents.get(name).values.get(field, otherwise), reverse=reverse)
    return _draw('grids.curves', frames, ['active', *offline], **options)


def _of_frames(function: Callable[[Frames], pd.DataFrame]) -> Draw:
    """Makes a table that needs no names of agents."""
    return lambda frames, names: function(frames)


BOTH = ('score', 'wm_loss')
SELECTED = ('cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'basketball-proprio')
HALVES = ('cheetah_run-vision', 'quadruped_run-vision', 'point_mass_maze-vision', 'pick-place-proprio')
ADDING = ('cheetah_run-vision', 'quadruped_run-vision', 'pick-place-proprio', 'space_invaders-vision')
SWEPT = ('quadruped_run-vision', 'point_mass_maze-vision', 'pick-place-proprio')
FROZEN = ('hopper_hop-proprio', 'quadruped_run-proprio', 'cheetah_run-vision', 'pick-place-proprio')
EPISODES = ('point_mass_maze-vision', 'cheetah_run-vision')
PARTS = ('active', 'passive', 'parts')
INTERACTING = ('active', 'passive', 'interacting')
BOUGHT = ('active', *price.FIXED, 'passive_auto', price.AGENT)
STARTS = ('compared', 'initial_weights')
EXPLORED = ('active', 'exploration', 'passive_expl_same')
OTHER_THRESHOLDS = tuple(name for name in agents.group('thresholds') if name != 'passive_auto')

ROWS = (
    Entry(
        'figure_base_agent',
        '0_base_agent',
        'base_agent',
        ('active',),
        _draws('figures.beside_published'),
        title='Our agent beside the published DreamerV3',
        text="""Episode score of our agent over the scores that the author of DreamerV3 published for v1 at size S
        (grey; danijar/dreamerv3 at commit 423291a). Dashed: mean of the published runs. Black bar: their range at
        {at:,} steps. Dotted: an agent that ends below this line does not work as it should. Each of our points is the
        mean of 4 evaluation episodes; each published point is one or two training episodes. {band} The losses, the
        actor's gradient (through the learned dynamics) and the number of updates per agent step (0.5) are v1's. This
        agent is larger than those of the study, so the figure does not vouch for their scores.""",
    ),
    Entry(
        'table_base_agent',
        '0_base_agent',
        'base_agent',
        ('active',),
        _of_frames(published.table),
        title='Our agent beside the published scores',
        text="""Mean score of the last {last} evaluations up to {at:,} environment steps, the range of the published
        runs there, and where our mean lies.""",
    ),
    Entry(
        'figure_1',
        '1_toy_maze',
        'study',
        ('compared', 'exploration', 'interacting'),
        _draws('overview.glance'),
        title='The whole study at a glance',
        text="""(a) Where the data of an agent come from. (b) The tasks of the paper, some of which it has both as
        numbers and as pictures; those of (c-e) are framed. (c-e) Final score of (c) offline agents on {active.label}'s
        data, (d, hatched) agents on data of pure exploration, and (e) agents that add data of their own. 1 is
        {active.label} of the same pair (dashed). The distance from it is in units of what {active.label} gains over
        random actions, as in the claims. Bar: mean over tasks. Black line: its 95 % interval, by the sign-flip test of
        the claims. Outlined, without a line: fewer than {fewest} pairs, too few for a test. White marks: mean of each
        task. Dotted: {passive.label} in the same pairs as the bar, where it has run. Tasks on which {active.label} is
        no better than random are left out.""",
        tested=True,
    ),
    Entry(
        'figure_2',
        '1_toy_maze',
        'toy_maze',
        ('compared',),
        _draws('figures.trajectories'),
        title='The maze: score, coverage and paths',
        text="""(a) Episode score, mean of 4 episodes per evaluation. {band} (b-d) The first of the 4 final evaluation
        episodes of pair seed {first}; this choice was fixed in advance. The path begins at the yellow dot. Episodes
        start in the dotted square, and the red circle is the goal. Upper row: the path over the number of states per
        1 cm cell in the replay that the agent learned from (logarithmic colours; grey: never visited). Lower row: the
        path, coloured by world-model loss (logarithmic colours). Table: the median of that number over the distinct
        cells of the path; the median of this over all final episodes and runs; the preprint's number (1M steps, size
        S, cell size not stated; in the published version {published_visits}).""",
    ),
    Entry(
        'figure_2_walker',
        '1_toy_maze',
        'study',
        ('compared',),
        _draws('figures.trajectories'),
        title='walker_walk: score, coverage and paths',
        text="""As Fig. 2, for a task with a body. The axes of (b-d) are two numbers that the agent observes; a step
        beyond the end of an axis is counted in the last cell. (a) Episode score, mean of 4 episodes per evaluation.
        {band} (b-d) The first of the 4 final evaluation episodes of pair seed {first}; this choice was fixed in
        advance. The path begins at the yellow dot. Upper row: the path over the number of states per cell in the
        replay that the agent learned from (logarithmic colours; grey: never visited). Lower row: the path, coloured
        by world-model loss (logarithmic colours). Table: the median of that number over the distinct cells of the
        path, for the path shown and over the first final episodes of all runs.""",
        tasks=('walker_walk-proprio',),
        fits=attrgetter('plane'),
    ),
    Entry(
        'figure_2_curves',
        '1_toy_maze',
        'toy_maze',
        ('compared',),
        _draws('figures.quantity_panels', columns=('wm_loss', 'value', 'mc_return', 'value_error')),
        title='The maze: world-model loss and value error',
        text="""(a) World-model loss on the evaluation episodes. (b-d) The critic's value of their first state, their
        discounted return, and the value minus the return, as in Fig. S2. {band}""",
    ),
    Entry(
        'table_visitation',
        '1_toy_maze',
        'toy_maze',
        ('compared',),
        visitation.table,
        title='The maze: how well the replay covers a path',
        text="""Median number of states per 1 cm cell in the replay that the agent learned from, over the distinct
        cells of a path of the final evaluation. shown: the path of Fig. 2 (pair seed {first}). Then the median and the
        mean over all final episodes and runs, and the preprint's number (1M steps, size S, cell size not stated; in
        the published version {published_visits}).""",
    ),
    Entry(
        'figure_3',
        '2_validation',
        'study',
        ('compared',),
        _curves(BOTH),
        title='Score and world-model loss of the three agents',
        text='Upper row: episode score. Lower row: world-model loss on the same evaluation episodes. {band}',
        tasks=SELECTED,
        named=SELECTED,
    ),
    Entry(
        'table_finals',
        '2_validation',
        'study',
        ('compared',),
        _draws('overview.finals'),
        title='Final score of every run',
        text="""A final score is the mean over the last {share} of a run's evaluations. The agents of one row are of
        one pair.""",
    ),
    Entry(
        'figure_S2',
        '2_validation',
        'study',
        ('compared',),
        _curves(('value', 'mc_return', 'value_error')),
        title='Value, return and value error',
        text="""The critic's value of the first state of the evaluation episodes, their discounted Monte-Carlo return,
        and the value minus the return. {band}""",
        tasks=SELECTED,
        named=SELECTED,
    ),
    Entry(
        'figure_S10',
        '2_validation',
        'study',
        STARTS,
        _curves(('score',), mean=True),
        title='Score on every task',
        text="""{mean_panel} {passive.label} has initial weights of its own (the paper's Passive-diff). {normalised}
        {band}""",
        about=('compared',),
    ),
    Entry(
        'figure_S11',
        '2_validation',
        'study',
        STARTS,
        _curves(('wm_loss',), mean=True),
        title='World-model loss on every task',
        text='{mean_panel} {normalised_loss} {band}',
        about=('compared',),
    ),
    Entry(
        'figure_4',
        '3_deep_dive',
        'study',
        PARTS,
        _curves(BOTH),
        title='Learning from a half of the replay',
        text="""Upper row: episode score. Lower row: world-model loss on the same evaluation episodes. The agents
        learn from different parts of {active.label}'s final replay: all of it ({passive.label}), its second half
        ({passive_expert.label}), its first half ({passive_suboptimal.label}), or a uniform half of it
        ({passive_half.label}, the paper's Passive-mixed). {band}""",
        tasks=HALVES,
        named=('point_mass_maze-vision',),
        about=('parts',),
        paired=True,
    ),
    Entry(
        'figure_S8',
        '3_deep_dive',
        'study',
        PARTS,
        _draws('grids.halves', columns=BOTH),
        title='How the replay is cut into halves',
        text="""Top: the part of {active.label}'s final replay that each agent learns from. The replay is split at
        half of its environment steps. Hatched: a uniform half of all steps (the paper's Passive-mixed). Below:
        episode score and world-model loss, as in Fig. 4. {band}""",
        tasks=HALVES,
        named=('point_mass_maze-vision',),
        about=('parts',),
        paired=True,
    ),
    Entry(
        'figure_S3',
        '3_deep_dive',
        'study',
        ('compared',),
        _draws('episodes.within'),
        title='One episode, step by step',
        text="""The first episode of the final evaluation, pair seed {first}. All agents start it from the same state.
        Shaded, in the colour of the agent: at least {stretch} steps in a row with a world-model loss above the
        {percentile}th percentile of {active.label}'s losses in this episode. This rule was fixed before any episode
        was seen. {stretches} Thin lines: every step. Thick: mean over {smooth} steps.""",
        tasks=EPISODES,
        named=EPISODES,
    ),
    Entry(
        'figure_S4',
        '3_deep_dive',
        'study',
        ('tandem',),
        _draws('episodes.hallucination'),
        title='Pictures seen and pictures decoded',
        text="""What {tandem.label} observes and what its world model decodes, in the first episode of the final
        evaluation, pair seed {first}. The framed step is chosen by a rule: it has the highest world-model loss of all
        steps whose policy-input reconstruction loss is not above its median. A model that hallucinates at this step
        decodes a clear picture of something else, and the two pictures differ at least {hallucinates:g} times as much
        as at the other steps. {pictures}""",
        tasks=('point_mass_maze-vision',),
        named=('point_mass_maze-vision',),
        fits=attrgetter('has_image'),
    ),
    Entry(
        'figure_S5',
        '3_deep_dive',
        'study',
        ('compared', 'world_models'),
        _curves(BOTH),
        title='Offline agents with the world model of Active',
        text='{world_models}. Both train an actor and a critic of their own. {band}',
        tasks=FROZEN,
        named=('hopper_hop-proprio', 'quadruped_run-proprio'),
        about=('world_models',),
        paired=True,
    ),
    Entry(
        'figure_S6',
        '3_deep_dive',
        'study',
        ('active', 'passive', 'initial_weights'),
        _curves(BOTH, faded=('active',)),
        title="Passive from Active's initial weights",
        text="""Passive agents with {active.label}'s initial weights ({passive_same.label}) and with others
        ({passive.label}, the paper's Passive-diff). {baseline} {band}""",
        tasks=SELECTED,
        about=('initial_weights',),
        paired=True,
    ),
    Entry(
        'figure_S7',
        '3_deep_dive',
        'study',
        ('active', 'tandem', 'alphas'),
        functools.partial(_ordered_curves, field='alpha', otherwise=1.0, columns=BOTH),
        title="Tandem from weights close to Active's",
        text="""The initial weights of a Tandem agent are (1 - alpha) times {active.label}'s plus alpha times its own
        (Eq. S3). {tandem.label}, where it is drawn, has alpha 1. A line that lies on that of {active.label} hides
        it. {band}""",
        tasks=SELECTED,
        about=('alphas',),
        paired=True,
    ),
    Entry(
        'figure_5',
        '4_remedies',
        'toy_maze',
        ('collectors',),
        _draws('figures.maps'),
        title='The maze: where three collectors have been',
        text="""Number of states per cell in the final replay of three agents that collect their own data: for the
        task (a reward mixed in at first is named below), for exploration alone, and for both. One run of each, pair
        seed {first}. All maps have the same logarithmic colours. Grey: never visited. Dark red: above the
        {outlier:g}th percentile of visited cells. Dotted: where episodes start. Red circle: the goal. The paper draws
        these maps from the vision variant.""",
    ),
    Entry(
        'figure_5_curves',
        '4_remedies',
        'toy_maze',
        ('active', 'exploration', 'mixed'),
        _draws('figures.explorers', columns=BOTH),
        title='The maze: learning from explorers',
        text="""The two explorers and the agents that learn from their data, all evaluated on the task. (a, b) Data of
        exploration alone. (c, d) Data of a mixed reward. Dashed: mean of the {active.label} agent. {band}""",
        about=('exploration', 'mixed'),
    ),
    Entry(
        'figure_6',
        '4_remedies',
        'study',
        ('active', 'exploration'),
        _curves(BOTH, faded=('active',)),
        title='Learning from exploration data',
        text="""An agent that only explores and the agents that learn from its data, all evaluated on the task.
        {baseline} {band}""",
        tasks=SELECTED,
        named=('quadruped_run-vision', 'pick-place-proprio'),
        about=('exploration',),
        paired=True,
    ),
    Entry(
        'figure_S16',
        '4_remedies',
        'study',
        EXPLORED,
        _curves(('score',), faded=('active',), mean=True),
        title='Exploration data: score on every task',
        text="""An agent that only explores and the agents that learn from its data. {mean_panel} {baseline}
        {normalised} {band}""",
        about=('exploration',),
        paired=True,
    ),
    Entry(
        'figure_S17',
        '4_remedies',
        'study',
        EXPLORED,
        _curves(('wm_loss',), faded=('active',), mean=True),
        title='Exploration data: world-model loss on every task',
        text='The agents of Fig. S16. {mean_panel} {baseline} {normalised_loss} {band}',
        about=('exploration',),
        paired=True,
    ),
    Entry(
        'figure_7',
        '4_remedies',
        'study',
        ('weights',),
        _draws('grids.sweep'),
        title='How much exploration: one task',
        text="""Final score over w_expl, the weight of the exploration reward in the reward that data are collected for
        (0: the task alone; 1: exploration alone; the weights are spaced evenly). {active.label} collects the data, and
        {passive.label} and {tandem.label} learn from them. All are evaluated on the task. A score is 1 plus its
        distance from {active.label} at weight 0 of the same pair, in units of the mean gain of Active over random
        actions. {relative} {weights}""",
        tasks=SWEPT[:1],
        named=SWEPT[:1],
        about=scales.MIXES,
    ),
    Entry(
        'figure_S9',
        '4_remedies',
        'study',
        ('weights',),
        _draws('grids.sweep'),
        title='How much exploration: several tasks',
        text="""Final score over w_expl ({active.label} at weight 0 of the same pair: 1), as in Fig. 7. {relative}
        {weights}""",
        tasks=SWEPT,
        named=SWEPT,
        about=scales.MIXES,
    ),
    Entry(
        'figure_8',
        '4_remedies',
        'study',
        INTERACTING,
        _curves(BOTH),
        title='Passive with some data of its own',
        text='Episode score and world-model loss of Passive agents that add data of their own. {schedules} {band}',
        tasks=ADDING,
        named=ADDING,
        about=('interacting',),
        paired=True,
    ),
    Entry(
        'figure_S12',
        '4_remedies',
        'study',
        INTERACTING,
        _curves(('score',), mean=True),
        title='Own data: score on every task',
        text='Passive agents that add data of their own. {mean_panel} {schedules} {normalised} {band}',
        about=('interacting',),
        paired=True,
    ),
    Entry(
        'figure_S13',
        '4_remedies',
        'study',
        INTERACTING,
        _curves(('wm_loss',), mean=True),
        title='Own data: world-model loss on every task',
        text='The agents of Fig. S12. {mean_panel} {schedules} {normalised_loss} {band}',
        about=('interacting',),
        paired=True,
    ),
    Entry(
        'figure_S14',
        '4_remedies',
        'study',
        INTERACTING,
        _curves(('ood_ratio',), mean=True),
        title='Own data: OOD ratio on every task',
        text="""The agents of Fig. S12. The OOD ratio is the world-model loss on the evaluation episodes divided by that
        on episodes of the replay, and is not normalised. {thresholds} {mean_panel} {schedules} {band}""",
        about=('interacting',),
        paired=True,
    ),
    Entry(
        'figure_S15',
        '4_remedies',
        'study',
        INTERACTING,
        _draws('grids.interaction'),
        title='Own data: score over the amount added',
        text="""Normalised score over the data of its own that an agent had added (environment steps, in percent of
        those in the source's replay, on a square-root axis); both are means over tasks, of the pairs in which all
        agents that add data have run. Training goes on along each line, so its slope is not the effect of the data
        alone: compare the ends. Dots: evaluations. Line: mean of the evaluations with the same amount. Dashed: final
        score of {active.label} and of {passive.label}, which adds nothing. {schedules} {normalised}""",
        about=('interacting',),
        paired=True,
    ),
    Entry(
        'table_S2',
        '4_remedies',
        'study',
        (supplement.ADAPTIVE,),
        _of_frames(supplement.self_generated),
        title='How much data the adaptive schedule adds',
        text="""Environment steps that {passive_auto.label} added, in percent of those in its source's replay: mean,
        lowest and highest run, number of runs, and the number in the paper's Table S2 (1M steps, size S). The last line
        has the means over the tasks that have runs. {agreement}""",
    ),
    Entry(
        'figure_S1',
        '5_ablations',
        'study',
        ('active', 'thresholds'),
        functools.partial(
            _ordered_curves,
            field='interact_above',
            otherwise=0.0,
            reverse=True,
            columns=('score', 'ood_ratio', 'added'),
            faded=('active',),
            mean=True,
        ),
        title='Thresholds of the adaptive schedule',
        text="""Passive adds data of its own if its OOD ratio is above a threshold. Rows: episode score, OOD ratio, and
        the added environment steps in percent of those in the source's replay. {thresholds} {mean_column}
        {mean_normalised} {baseline} {band}""",
        tasks=SWEPT,
        named=(),
        about=OTHER_THRESHOLDS,
        paired=True,
    ),
    Entry(
        'figure_stopped',
        '5_ablations',
        'study',
        ('active', 'stopped'),
        _draws('grids.stopped'),
        title='An agent that stops acting half-way',
        text="""Until half of the environment steps, {active_stopped.label} is {active.label}. Then it adds nothing to
        its replay, and learns on from what is there, with as many updates as before. Upper row: episode score. Lower
        row: world-model loss on its own evaluation episodes. {mean_column} Where values are normalised, it is by the
        Active runs shown: a score is 0 for random actions and 1 for their mean final score, a loss is 1 for their mean
        final loss. (Claim P5 divides by the gain of other Active runs, those of the pairs that {passive.label} has, so
        its numbers differ a little.) Grey line: half of the steps. {band}""",
        tasks=scales.MAIN,
        about=('stopped',),
        paired=True,
    ),
    Entry(
        'table_S1',
        '5_ablations',
        'study',
        ('active',),
        lambda *_: supplement.environments(),
        title='Settings of the environments',
        text='The code that builds the environments reads the same table.',
    ),
    Entry(
        'table_sensitivity',
        '5_ablations',
        'study',
        ('compared',),
        _of_frames(sensitivity.table),
        title='Claim C1 under other choices',
        text="""Claim C1 with other shares of the evaluations that count as final, and with another summary of the
        pairs. The values are differences of the final normalised score to that of {active.label}. low, high: 95 %
        interval. {normalised}""",
    ),
    Entry(
        'figure_offline_curves',
        '6_offline_measure',
        'study',
        ('compared',),
        _curves(('score', 'promise_ratio', 'round_trip_50', 'density_ess')),
        title='Offline measures over training',
        text="""From above: episode score; the critic's value of the recording's first states over the best return of
        the recording; after 50 imagined steps, the KL divergence of imagined states that are decoded and encoded again
        over that of recorded states; and the share of the recorded steps that count if they are weighted to look like
        the imagined ones. {band}""",
        tasks=scales.MAIN,
    ),
    Entry(
        'figure_offline',
        '6_offline_measure',
        'study',
        offline.EVIDENCE,
        _draws('forest.draw'),
        title='Which measures tell degraded agents from others',
        text="""Measures that take no step in an environment and, last, the OOD ratio of the paper, which takes
        episodes. How well do they tell, within a task, (a) agents whose gain over random actions is below
        {offline.LEAST_GAIN:g} of that of the {active.label} agent of their pair, and (b) agents whose OOD ratio is
        above the paper's threshold? AUROC: take one run of each kind at the same moment of training. It is the share of
        such couples in which the degraded one (b: the one above the threshold) has the higher value (in rows marked
        'less': the lower one). docs/protocol_measures.md defines every measure. Returns in other models need final
        weights of a pair and are known of Active, Passive and Tandem at the end. Line: chance ({offline.CHANCE:g}).
        Dotted: what the protocol asks for ({offline.GOOD:g}). Bars: 95 % bootstrap interval over pairs. {further}""",
        tasks=scales.TESTED,
    ),
    Entry(
        'table_offline',
        '6_offline_measure',
        'study',
        offline.EVIDENCE,
        _of_frames(offline.in_words),
        title='Offline measures in numbers',
        text="""The AUROC of the figure above for both targets (degraded: its panel a; outside: b) at the end of
        training, with its 95 % interval and the lowest one of a task; over all moments, with its interval; of the
        offline agents alone; of the later agents alone (all but {active.label}, {passive.label} and {tandem.label}),
        which were trained after the measures had been looked at. Returns in other models are known of these three
        alone, and only at the end. pairs, tasks: those in which the measure is known. {further} unseen: of the degraded
        agents of all tasks whose OOD ratio is {offline.THRESHOLD:g} or less, so that the adaptive schedule does not see
        them. rank correlation: Spearman's, within tasks, of the measure with the gain; the effective share and the
        return in other models, of which degraded agents should have less, have their sign reversed. other task: the
        threshold that is best on all other tasks, applied to the task left out; its balanced accuracy. verdict: a
        measure works if its AUROC is at least {offline.GOOD:g} on every task and its interval lies above
        {offline.CHANCE:g}, and fails otherwise. With fewer than {fewest_measured} pairs on each of two tasks there is
        no verdict.""",
        tasks=scales.TESTED,
    ),
    Entry(
        'figure_price',
        '6_offline_measure',
        'study',
        BOUGHT,
        _draws('figures.scores_bought'),
        title='What data of its own cost an offline agent, and what they buy',
        text="""Normalised final score over the environment steps that an agent used beyond its recording. Upper row:
        the steps that it added to its data, as the paper counts. Lower row: with the evaluation episodes that its
        schedule needs. {passive_auto.label} needs them wherever its schedule asks for the OOD ratio; fixed rates need
        none, and {passive_auto_offline.label} asks a measure that takes none. Small marks: pairs. Large marks: their
        mean. Grey: means of fixed rates, joined by a line. Dashed: mean of {active.label} in these pairs. Dotted: as
        many steps as the recording has. Only pairs in which {passive_auto_offline.label} has run are shown.
        {in_units}""",
        tasks=scales.MAIN,
        about=(price.AGENT,),
    ),
    Entry(
        'table_price',
        '6_offline_measure',
        'study',
        BOUGHT,
        price.table,
        title='What data of its own cost an offline agent, in numbers',
        text="""The means of the figure above. pairs: how many of an agent have run; they may differ. score: normalised
        final score. active: that of {active.label} in the same pairs. collections: how often the agent added data. at
        most: how often its schedule allows it to. own steps: environment steps that it added. all steps: these and
        those of the evaluation episodes that its schedule needs. The percentages are of the environment steps in its
        recording. {in_units}""",
        tasks=scales.MAIN,
        about=(price.AGENT,),
    ),
    Entry(
        'table_trigger',
        '6_offline_measure',
        'study',
        BOUGHT,
        _of_frames(price.compared),
        title='An offline measure in the place of evaluation episodes',
        text="""{passive_auto_offline.label} against other agents of its pairs. mean: mean over tasks of the mean
        difference within pairs, {passive_auto_offline.label} less the other agent. low, high: its 95 % interval, from
        the sign-flip test of the claims. verdict: supported if the interval lies as asked, contradicted if it lies
        outside, and undecided otherwise. docs/protocol_measures.md fixed the rows, and says what counts as success.
        {in_units}""",
        tasks=scales.MAIN,
        about=(price.AGENT,),
    ),
)
ENTRIES: dict[str, Entry] = {row.name: row for row in ROWS}


class Notebook(NamedTuple):
    """The claims that a notebook tests. The rows of its figures and tables name the notebook."""

    claims: tuple[str, ...] = ()
    title: str = ''  # of their table: what they ask
    chapter: str = 'study'  # of the archive, whose runs they are tested on


NOTEBOOKS: dict[str, Notebook] = {
    '0_base_agent': Notebook(),
    '1_toy_maze': Notebook(
        ('C1', 'C2', 'C3'), 'Claims tested in the maze: whether offline agents fall behind', 'toy_maze'
    ),
    '2_validation': Notebook(
        ('C1', 'C2', 'C3', 'C12', 'P4', 'P7', 'P9'),
        'Claims tested: whether offline agents fall behind on other tasks',
    ),
    '3_deep_dive': Notebook(
        ('C4', 'C9', 'C10', 'C11', 'P1', 'P2', 'P3', 'P8'), 'Claims tested: why offline agents fall behind'
    ),
    '4_remedies': Notebook(
        ('C5', 'C6', 'C7', 'C8', 'P6'), 'Claims tested: whether exploration and data of its own help'
    ),
    '5_ablations': Notebook(('C8', 'P5'), 'Claims tested: whether the threshold matters, and acting to the end'),
    '6_offline_measure': Notebook(),
}
CLAIMS_TEXT = """Each row compares runs of the same task and pair seed. A final value is the mean over the last {share}
    of the evaluations. estimate: mean over tasks of the mean over pairs, with its 95 % interval, which holds all means
    that the sign-flip test of the pairs does not reject (with so few pairs that it rejects none, there is no interval).
    p: the two-sided p-value of this test. adjusted p: the same after Holm's correction over the primary rows of all
    claims; in the maze all rows are secondary. verdict: supported if the interval lies inside the range that the claim
    names (about equal: within {margin} of a normalised score), contradicted if it lies outside, and undecided
    otherwise; a primary row also needs an adjusted p below 0.05. A row without pair {known_pair} leaves out the pair
    whose result was known when it was decided which claims get further pairs. The CSV has the interval as low and high,
    and besides iqm, the interquartile mean of all pairs with its bootstrap interval. {in_units}"""


def shown(notebook: str) -> list[Entry]:
    """The figures and tables of a notebook, in their order."""
    return [entry for entry in ENTRIES.values() if entry.notebook == notebook]


def tested(notebook: str) -> Entry:
    """The runs and the caption of a notebook's claims: agents that they are about, and those that its figures show.

    The table itself is made by `verdicts.table`: a verdict depends on the runs of all claims.
    """
    ids, title, chapter = NOTEBOOKS[notebook]
    rows = [row for claim in claims.every_claim() if claim.id in ids for row in claim.rows]
    wanted = {agent for row in rows for agent in row.agents}
    for entry in shown(notebook):
        if entry.is_figure and entry.chapter == chapter:
            wanted |= set(entry.agents)
    name = f'table_claims_{notebook.partition("_")[2]}'
    return Entry(name, notebook, chapter, tuple(sorted(wanted)), None, title, CLAIMS_TEXT)


def shown_and_tested(notebook: str) -> list[Entry]:
    """The figures and tables of a notebook, then the table of its claims if it tests any."""
    return [*shown(notebook), tested(notebook)] if NOTEBOOKS[notebook].claims else shown(notebook)


def in_scale(scale: scales.Scale) -> list[str]:
    """The notebooks of which a scale plans all chapters."""
    return [name for name in NOTEBOOKS if {entry.chapter for entry in shown_and_tested(name)} <= {*scale.chapters}]
