"""What came out, in a few sentences: the front page and README.md both say them."""

import itertools
import math
from typing import NamedTuple

import pandas as pd

from paper_lib.contract import agents, quantities, tasks
from paper_lib.contract.scales import Planned
from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive, claims, offline, paths, plan, price, scales, stats, verdicts
from paper_lib.study.names import counted, listed, word
from paper_lib.study.paper import PAPER_TASKS
from paper_lib.study.verdicts import number, probability

ASKED = 'Can it be seen without acting?'  # before the sentences of `without_acting`
COMPARED = agents.group('compared')
NAMED = 4  # tasks that are named; more are counted
UNITS = '0: random actions, 1: Active'  # of scores
# Outcome -> its words, and whether the paper says that it is higher for Passive.
OUTCOMES = {
    'score': ('score', False),
    'wm_loss': ('world-model loss', True),
    'value_error': ('value error', True),
}
VERDICTS = {
    claims.SUPPORTED: 'supported',
    claims.CONTRADICTED: 'contradicted',
    claims.UNDECIDED: 'undecided',
    claims.NO_RUNS: 'not tested yet',
}
ANSWERS = {
    claims.SUPPORTED: 'On {where}, an agent that never acts learns less well, as the paper says.',
    claims.CONTRADICTED: 'On {where}, an agent that never acts learns better, unlike in the paper.',
    claims.UNDECIDED: "The paper's effect on the score has not been shown at this scale.",
}
# Verdict on the secondary row of P9 -> what is said of it.
AT_FIRST = {
    claims.SUPPORTED: 'here it is too',
    claims.CONTRADICTED: 'here it is not',
    claims.UNDECIDED: 'here this does not show',
}


class Conclusion(NamedTuple):
    """What came out: the answer in a sentence, how far Passive is from Active, and points on how far this goes."""

    answer: str
    effect: str = ''
    points: tuple[str, ...] = ()


def conclude(scale: str, primary: pd.DataFrame) -> Conclusion:
    """What came out at a scale. `primary` is the table of the primary rows of all claims.

    The points: in how many pairs Passive is behind; how many pairs of what size are finished, and how well Active
    learned; what the maze shows; the verdicts on the claims, and whether Passive is ahead at first.
    """
    (effect,) = primary[primary.id == 'C1'].to_dict('records')
    if not effect['pairs']:
        return Conclusion('No pair of Passive and Active has run yet at this scale.')
    entry = main_entry(scale)
    values = finals(scale)
    done = finished(values, entry)
    points = [
        _signs(values),
        f'{_state(done, entry, scale)} {_level(values)}'.strip(),
        maze(scale, units=''),
        f'{_verdicts(primary, done < entry.pairs)} {_at_first(scale)}'.strip(),
    ]
    answer = ANSWERS[effect['verdict']].format(where=_where(entry))
    return Conclusion(answer, _effect(effect), tuple(filter(None, points)))


def without_acting(table: pd.DataFrame) -> list[str]:
    """Which measures tell, without a step in an environment, who has degraded; [] if no runs can be told apart.

    `table` is that of `offline`.
    """
    of_target = table[(table.target == offline.DEGRADED) & table.AUROC.notna()].set_index('measure')
    if offline.RIVAL not in of_target.index:
        return []
    own = of_target.drop(index=offline.RIVAL).sort_values('AUROC', ascending=False)
    works = own[own.verdict.isin((offline.WORKS, offline.BEATS))]
    found = [f'the {quantities.get(name).words}, {_auroc(row)}' for name, row in works.iterrows()]
    beats = [f'the {quantities.get(name).words}' for name in own.index[own.verdict == offline.BEATS]]
    tell = 'tells' if len(works) == 1 else 'tell'
    rival = f'The OOD ratio, which takes episodes in the environment, has {_auroc(of_target.loc[offline.RIVAL])}'
    return [
        f'In {own.pairs.iloc[0]} pairs, {word(len(works))} of {word(len(own))} measures that take no step in the '
        f'environment {tell} degraded agents (which gain less than {offline.LEAST_GAIN:g} of what Active gains) from '
        f'others{": " if found else ""}{"; ".join(found)}.',
        f'{rival}, and {"is beaten by " + listed(beats) if beats else "no measure is shown to be better"}.',
        'None was tried on new runs, nor corrected for their number.',
    ]


def _auroc(row: pd.Series) -> str:
    among = row['offline agents']
    alone = '' if math.isnan(among) else f' ({among:.2f} among offline agents alone)'
    return f'AUROC {row.AUROC:.2f} [{row.low:.2f}, {row.high:.2f}]{alone}'


def scores(run_ids: list[str], scale: str) -> str:
    """A sentence on the final scores of some runs, in this order; '' if the archive has none of them."""
    folder = paths.archive(scale)
    tables = [archive.table(folder, chapter, 'metrics') for chapter in scales.get(scale).chapters]
    found = pd.concat([rows[rows.run_id.isin(run_ids)] for rows in tables])
    if found.empty:
        return ''
    finals = stats.final(found, 'score').set_index('run_id').reindex(run_ids).dropna()
    parts = [f'{agents.get(row.agent).label} {row.score:.0f}' for row in finals.itertuples()]
    return f'Final scores of its runs: {", ".join(parts)}.'


def main_entry(scale: str) -> Planned:
    """The entry of a scale's plan that the primary claims are about first."""
    entries = scales.get(scale).planned
    return next(entry for entry in entries if entry.chapter == 'study' and not entry.optional and not entry.exploratory)


def finals(scale: str) -> pd.DataFrame:
    """The final values of COMPARED: one row per run on the tasks of `main_entry` that has a result."""
    folder = paths.archive(scale)
    planned = plan.specs('study', scales.get(scale), optional=True, exploratory=False)
    main_tasks = main_entry(scale).tasks
    wanted = {spec.run_id for spec in planned if spec.task in main_tasks and spec.agent in COMPARED}
    metrics = archive.table(folder, 'study', 'metrics')
    return stats.final(metrics[metrics.run_id.isin(wanted & archive.ids(folder, 'study'))], *OUTCOMES)


def finished(values: pd.DataFrame, entry: Planned) -> int:
    """How many pair seeds have a result of all of COMPARED on every task of the entry."""
    wanted = set(itertools.product(entry.tasks, COMPARED))
    found = values.groupby('pair_seed')[['task', 'agent']].apply(lambda rows: set(zip(rows.task, rows.agent)))
    return sum(wanted <= runs for runs in found)


def _state(done: int, entry: Planned, scale: str) -> str:
    """How many of the planned pairs are finished, on which tasks, and how long a run is."""
    if entry.pairs == 1:
        state = f'There is one pair on each of {_where(entry)}'
    else:
        pairs = f'{word(entry.pairs)} planned pairs on each of {_where(entry)} are finished'
        state = f'All {pairs}' if done >= entry.pairs else f'This is an interim result: {word(done)} of {pairs}'
    steps = scales.get(scale).values(entry.tasks[0], 'active', 'study').get('budget', RunSpec.budget)
    is_smaller = steps < RunSpec.budget
    paper = f' (the paper: {len(PAPER_TASKS)} tasks, larger models, 1M steps)' if is_smaller else ''
    return f'{state}, with {steps:,} environment steps a run{paper}.'


def _where(entry: Planned) -> str:
    """The tasks of an entry or, where there are many, their number."""
    names = [task.rpartition('-')[0] for task in entry.tasks]
    return listed(names) if len(names) <= NAMED else f'{len(names)} tasks'


def _effect(row: dict) -> str:
    """The outcome of claim C1."""
    direction = 'below' if row['estimate'] < 0 else 'above'
    interval = f'95 % interval of the difference: {number(row["low"])} to {number(row["high"])}'
    if not math.isfinite(row['low']):
        interval = 'too few pairs for an interval'
    test = f'p {probability(row["p"])}, and {probability(row["adjusted_p"])} adjusted for all claims'
    distance = f'{number(abs(row["estimate"]))} {direction} Active'
    return (
        f'On average over {_pairs(row)} of an Active agent and its followers, Passive ends {distance} ({UNITS}; '
        f'{interval}; {test}).'
    )


def of_claims(ids: tuple[str, ...], scale: str, seeds: int = 0) -> dict[str, list[str]]:
    """Verdict in words -> the claims that have it by their primary rows, with this number of pairs (0: all)."""
    primary = verdicts.table('study', scales.get(scale), ids, seeds, secondary=False)
    found = {}
    for verdict, words in VERDICTS.items():
        points = []
        for row in primary[primary.verdict == verdict].to_dict('records'):
            numbers = f' {row["statistic"]}: {verdicts.estimate(row)}, {_pairs(row)}.' if row['pairs'] else ''
            points.append(f'{row["id"]}: {row["claim"]}{numbers}')
        if points:
            found[words.capitalize()] = points
    return found


def of_trigger(table: pd.DataFrame) -> str:
    """Where the agent ends that asks a measure when to act, beside others of its pairs; '' without runs.

    `table` is that of `price`.
    """
    trigger = agents.get(price.AGENT).label
    parts = []
    for task, rows in table.groupby('task', sort=False):
        of_agent = rows.set_index('agent')
        own = of_agent.loc[trigger]
        if not own.pairs:
            continue
        others = [f'{name} {row.score:.2f}' for name, row in of_agent.iterrows() if name != trigger and row.pairs]
        parts.append(
            f'On {tasks.get(task).short} it ends at {own.score:.2f}, and added data {own.collections:.1f} of '
            f'{own["at most"]:.0f} times ({_pairs(own)}; {", ".join(others)}).'
        )
    if not parts:
        return ''
    return f'{trigger} adds data where the measure tells it to (1: mean of all Active agents). {" ".join(parts)}'


def of_base_agent(table: pd.DataFrame) -> str:
    """Where the runs end beside the published ones; '' without runs. `table` is that of `published`."""
    counts = table.result[table.result != 'missing'].value_counts()
    if counts.empty:
        return ''
    parts = [f'{word(count)} {result}' for result, count in counts.items()]
    return f'Where the runs end beside the range of the published ones: {listed(parts)}.'


def maze(scale: str, seeds: int = 0, units: str = f'{UNITS}; ') -> str:
    """How far Passive is from Active in the toy maze, where no claim is judged; '' if nothing has run there.

    `seeds` is the number of pairs (0: all). `units` stands before it, and is '' where the units were told before.
    """
    (row,) = verdicts.table('toy_maze', scales.get(scale), ('C1',), seeds, secondary=False).to_dict('records')
    if not row['pairs']:
        return ''
    direction = 'below' if row['estimate'] < 0 else 'above'
    distance = f'{number(abs(row["estimate"]))} {direction} Active'
    interval = f', 95 % interval {number(row["low"])} to {number(row["high"])}'
    if not math.isfinite(row['low']):
        interval = ', too few for an interval'
    pairs = f'{_pairs(row)}{interval}'
    return f'In the toy maze, where no claim is judged, Passive ends {distance} ({units}{pairs}).'


def _pairs(row: dict) -> str:
    return counted(row['pairs'], 'pair')


def _signs(values: pd.DataFrame) -> str:
    """In how many pairs Passive ends as the paper says, for each outcome."""
    parts = []
    for column, (words, is_higher) in OUTCOMES.items():
        wide = values.pivot(index=['task', 'pair_seed'], columns='agent', values=column)
        wide = wide.dropna(subset=['passive', 'active'])
        count = int(((wide.passive > wide.active) if is_higher else (wide.passive < wide.active)).sum())
        article = 'a higher' if is_higher else 'a lower'
        parts.append(f'{article} {words} in {count} of {len(wide)} pairs')
    return f'Compared with its Active agent, Passive ends with {listed(parts)}.'


def _level(values: pd.DataFrame) -> str:
    """How well the Active agents learned, as shares of the highest score of their task; '' if none is known."""
    own = values[values.agent == 'active']
    highest = own.task.map(lambda task: tasks.get(task).highest).astype(float)
    shares = (100 * own.score / highest).dropna()
    if shares.empty:
        return ''
    span = f'{shares.min():.0f} to {shares.max():.0f} %'
    return f'The Active agents of these pairs end at {span} of the highest possible score.'


def _verdicts(primary: pd.DataFrame, is_interim: bool) -> str:
    """How many claims have which verdict."""
    parts = []
    for verdict, words in VERDICTS.items():
        rows = primary[primary.verdict == verdict]
        if len(rows):
            waiting = sum(map(claims.waits, rows.verdict, rows.pairs))
            few = f' ({word(waiting)} of them for want of pairs)' if waiting else ''
            parts.append(f'{word(len(rows))} {"is" if len(rows) == 1 else "are"} {words}{few}')
    return f'{"So far, of" if is_interim else "Of"} {len(primary)} claims, {listed(parts)}.'


def _at_first(scale: str) -> str:
    """Whether Passive is ahead of Active in the first half of training, which P9 does not ask; '' without runs."""
    rows = verdicts.table('study', scales.get(scale), ('P9',))
    found = AT_FIRST.get(rows.verdict[rows.row == claims.SECONDARY].iloc[0])
    return f'The paper also says that Passive is ahead at first (P9); {found}.' if found else ''
