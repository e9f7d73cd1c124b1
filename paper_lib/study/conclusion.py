"""What came out, in sentences and points: the front page and README.md both say them."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import pandas as pd

from paper_lib.contract import agents, quantities, tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.study import archive, claims, comparisons, offline, paths, plan, price, scales, stats, verdicts
from paper_lib.study.names import counted, listed, word
from paper_lib.study.paper import PAPER_TASKS
from paper_lib.study.verdicts import number, probability

ASKED = 'Can it be seen without acting?'  # before the sentences of `without_acting`
COMPARED = agents.group('compared')
NAMED = 4  # tasks that a sentence names; more are counted
LISTED = 8  # tasks whose estimates are listed
FUTURE_WORK = 'P5'  # the claim about the experiment that the paper leaves for future work
UNITS = '0: random actions, 1: Active'  # of scores
ASIDE = 'a secondary row, which decides no claim'
# Outcome -> its words, and whether the paper says that it is higher for Passive.
OUTCOMES = {
    'score': ('score', False),
    'wm_loss': ('world-model loss', True),
    'value_error': ('value error (value less return)', True),
}
VERDICTS = {
    claims.SUPPORTED: 'supported',
    claims.CONTRADICTED: 'contradicted',
    claims.UNDECIDED: 'undecided',
    claims.NO_PAIRS: 'without a pair to test',
}
ANSWERS = {
    claims.SUPPORTED: 'On average over {where}, Passive ends below Active, as the paper says.',
    claims.CONTRADICTED: 'On average over {where}, Passive ends above Active, unlike in the paper.',
    claims.UNDECIDED: 'Over {where}, it is undecided whether Passive ends below Active.',
}


class Conclusion(NamedTuple):
    """What came out, in sentences."""

    answer: str
    effect: str = ''  # how far Passive is from Active
    context: str = ''  # where Tandem ends, and how small the study is
    points: tuple[str, ...] = ()  # on how far this goes


def conclude(scale: str, primary: pd.DataFrame) -> Conclusion:
    """What came out at a scale. `primary` is the table of the primary rows of all claims.

    Where other tasks than the main ones have pairs, the main ones are told alone too. The points: in how many pairs
    Passive is behind; each task alone, and the whole of training; how many pairs are finished, and how well Active
    learned; what the maze shows; the verdicts on the claims; and the experiment that the paper leaves for future work.
    """
    (effect,) = primary[primary.id == 'C1'].to_dict('records')
    if not effect['pairs']:
        return Conclusion('No pair of Passive and Active has run yet at this scale.')
    values = finals(scale)
    counts = progress(values, scale)
    rows = verdicts.table('study', scales.get(scale), ('C1', 'P9', FUTURE_WORK))
    secondary = rows[(rows.row == claims.SECONDARY) & (rows.pairs > 0)]
    names = list(dict.fromkeys(values.task))
    of_tasks = {}
    if len(names) <= LISTED:
        of_tasks = verdicts.on_each_task(names, scales.get(scale), ('C1', 'C2', FUTURE_WORK))
    scored = [task for task, rows in of_tasks.items() if rows.loc['C1'].pairs] or names
    points = [
        _signs(values),
        f'{_by_task(of_tasks, values)} {_throughout(secondary)}'.strip(),
        f'{_state(counts)} {_level(values)}'.strip(),
        maze(scale, has_units=False),
        _verdicts(primary, any(pairs.finished < pairs.planned for pairs in counts)),
        _stopped(primary, secondary, of_tasks),
    ]
    on_main = _of(secondary, 'C1', 'passive', part=claims.ON_MAIN).to_dict('records')
    context = f'{_tandem(secondary)} {_size(counts, scale)}'.strip()
    where = _where(scored)
    answers = [ANSWERS[effect['verdict']].format(where=f'{where}{_with_few_pairs(values, scored, counts)}')]
    effects = [_effect(effect, f' on {where} of equal weight' if on_main else '')]
    for row in on_main:
        answers.append(ANSWERS[row['verdict']].format(where=f'{claims.ON_MAIN} alone'))
        effects.append(f'In {_pairs(row)} on {claims.ON_MAIN} it ends {_distance(row)} Active ({_test(row)}).')
    return Conclusion(' '.join(answers), ' '.join(effects), context, tuple(filter(None, points)))


def without_acting(table: pd.DataFrame) -> list[str]:
    """Which measures tell, without a step in an environment, who has degraded; [] if no runs can be told apart.

    `table` is that of `offline`.
    """
    of_target = table[(table.target == offline.DEGRADED) & table.AUROC.notna()].set_index('measure')
    if offline.RIVAL not in of_target.index:
        return []
    own = of_target.drop(index=offline.RIVAL).sort_values('AUROC', ascending=False)
    works = own[own.verdict.isin((offline.WORKS, offline.BEATS))]
    beats = [f'the {quantities.get(name).words}' for name in own.index[own.verdict == offline.BEATS]]
    told = own.head(1) if works.empty else works
    found = []
    for name, row in told.iterrows():
        known_in = f'; known in {row.pairs} pairs of {word(row.tasks)} tasks' if row.pairs < own.pairs.max() else ''
        worst = f'on its worst task {row["lowest task"]:.3f}'
        found.append(f'the {quantities.get(name).words} ({_auroc(row)}; {worst}{known_in})')
    rival = of_target.loc[offline.RIVAL]
    tell = 'tell' if len(works) > 1 else 'tells'
    joint = '. The best is ' if works.empty else ': '
    beaten = f'is beaten by {listed(beats)}' if beats else 'no measure is shown to be better'
    sentences = [
        f'Of {word(len(own))} measures that take no step in the environment, {word(len(works))} {tell} degraded agents '
        f'from others with an AUROC of at least {offline.GOOD:g} on each of {word(own.tasks.max())} tasks '
        f'({own.pairs.max()} pairs){joint}{"; ".join(found)}.',
        f'(An agent is degraded if it gains less than {offline.LEAST_GAIN:g} of what Active of its pair '
        f'gains; Active never is. AUROC: how often a measure ranks a degraded run above another; chance: '
        f'{offline.CHANCE:g}.)',
        _among_offline(own['offline agents'].dropna(), told.index),
        'The OOD ratio (the loss on episodes that the agent plays over that on recorded ones) has '
        f'{_auroc(rival)}, and {beaten}.',
    ]
    sentences += [_beyond(row, rival) for _, row in told.iterrows()]
    return list(filter(None, sentences))


def _beyond(row: pd.Series, rival: pd.Series) -> str:
    """What a measure says of other runs than those that it is judged by, beside the OOD ratio; '' without such runs."""
    first = listed([agents.get(name).label for name in offline.SEEN])
    columns = {
        'later agents': f'on agents trained after the measures were looked at (all but {first})',
        'further tasks': f'on further tasks, which do not count before they have {word(offline.FEWEST_PAIRS)} pairs',
        'unseen': f'if only those degraded agents count that the OOD ratio misses ({offline.THRESHOLD:g} or less)',
    }
    parts = []
    for column, where in columns.items():
        if not math.isnan(row[column]):
            parts.append(f'{row[column]:.2f} (OOD ratio: {rival[column]:.2f}) {where}')
    words = quantities.get(row.name).words
    return f'The AUROC of the {words} is {"; ".join(parts)}.' if parts else ''


def _among_offline(values: pd.Series, told: pd.Index) -> str:
    """The highest AUROC of any measure among offline agents, whether it is good, and those of the `told` measures.

    It is '' if none is known.
    """
    if values.empty:
        return ''
    good = int((values >= offline.GOOD).sum())
    those = {0: 'no measure has', 1: 'one measure has'}.get(good, f'{word(good)} measures have')
    state = f'{those} a mean AUROC of {offline.GOOD:g} or more'
    digits = 2 if (round(values.max(), 2) < offline.GOOD) == (values.max() < offline.GOOD) else 3
    highest = quantities.get(values.idxmax())
    seen = listed([agents.get(name).label for name in offline.SEEN if offline.is_offline(name)])
    alone = f', of {seen} alone' if quantities.ACROSS in highest.per else ''
    parts = [f'highest: {values.max():.{digits}f}, the {highest.words}{alone}']
    for name in told.intersection(values.index).drop(values.idxmax(), errors='ignore'):
        parts.append(f'the {quantities.get(name).words}: {values[name]:.2f}')
    return f'Among offline agents alone {state} ({"; ".join(parts)}).'


def _auroc(row: pd.Series) -> str:
    return f'AUROC {row.AUROC:.2f} [{row.low:.2f}, {row.high:.2f}]'


def scores(run_ids: list[str], scale: str) -> str:
    """A sentence on the final scores of some runs, in this order; '' if the archive has none of them."""
    folder = paths.archive(scale)
    tables = [archive.table(folder, chapter, 'metrics') for chapter in scales.get(scale).chapters]
    found = pd.concat([rows[rows.run_id.isin(run_ids)] for rows in tables])
    if found.empty:
        return ''
    finals = stats.final(found, 'score').set_index('run_id').reindex(run_ids).dropna()
    parts = [f'{agents.get(row.agent).label} {row.score:.0f}' for row in finals.itertuples()]
    return f'Final scores of its runs, means over the last evaluations: {", ".join(parts)}.'


def finals(scale: str) -> pd.DataFrame:
    """The final values of COMPARED in the pairs that have Active and Passive: one row per run, in the plan's order."""
    folder = paths.archive(scale)
    planned = plan.specs('study', scales.get(scale), optional=True, exploratory=False)
    order = {name: place for place, name in enumerate(dict.fromkeys(spec.task for spec in planned))}
    own = [spec for spec in planned if spec.agent in COMPARED]
    taken = [spec for spec in own if comparisons.takes(COMPARED, spec.task, spec.pair_seed)]
    wanted = {spec.run_id for spec in taken} & archive.ids(folder, 'study')
    metrics = archive.table(folder, 'study', 'metrics')
    found = stats.final(metrics[metrics.run_id.isin(wanted)], *OUTCOMES)
    is_pair = found.groupby(['task', 'pair_seed']).agent.transform(lambda names: {'active', 'passive'} <= {*names})
    return found[is_pair.astype(bool)].sort_values('task', key=lambda names: names.map(order), kind='stable')


class Pairs(NamedTuple):
    """How many pairs of COMPARED are planned on each of these tasks, and how many of them are finished."""

    tasks: tuple[str, ...]
    planned: int
    finished: int


def progress(values: pd.DataFrame, scale: str) -> list[Pairs]:
    """The pairs of the study's plan that have all of COMPARED, in runs that are not exploratory.

    A pair is finished if `values`, as `finals` gives them, have all of its runs. Tasks with equal counts are together.
    """
    runs = values.groupby(['task', 'pair_seed']).run_id.nunique()
    complete = set(runs.index[runs == len(COMPARED)])
    found: dict[tuple[int, int], list[str]] = {}  # planned and finished pairs -> tasks
    for entry in scales.get(scale).planned:
        if entry.chapter != 'study' or entry.exploratory or not {*COMPARED} <= {*agents.group(*entry.agents)}:
            continue
        for task in entry.tasks:
            seeds = range(entry.first, entry.first + entry.pairs)
            finished = sum((task, seed) in complete for seed in seeds)
            found.setdefault((entry.pairs, finished), []).append(task)
    return [Pairs(tuple(names), planned, finished) for (planned, finished), names in found.items()]


def _state(counts: list[Pairs]) -> str:
    """How many of the planned pairs are finished, on which tasks; '' if none is planned."""
    if not counts:
        return ''
    is_interim = any(pairs.finished < pairs.planned for pairs in counts)
    parts = []
    for pairs in counts:
        each = 'each of ' if len(pairs.tasks) > 1 else ''
        planned = ' planned pairs' if not parts else ''
        parts.append(f'{word(pairs.finished)} of {word(pairs.planned)}{planned} on {each}{_where(pairs.tasks)}')
    start = 'This is an interim result: finished' if is_interim else 'Finished'
    return f'{start} are {listed(parts)}.'


def _size(counts: list[Pairs], scale: str) -> str:
    """How much smaller the study is than the paper's; '' if its runs are as long."""
    if not counts:
        return ''
    steps = scales.get(scale).values(counts[0].tasks[0], 'active', 'study').get('budget', RunSpec.budget)
    if steps >= RunSpec.budget:
        return ''
    return (
        f'Runs have {steps:,} environment steps (the paper: 1M, on {len(PAPER_TASKS)} tasks) and smaller models, which '
        'may matter.'
    )


def _where(names: Collection[str]) -> str:
    """The names of tasks or, where there are many, their number."""
    return listed([tasks.get(name).short for name in names]) if len(names) <= NAMED else f'{word(len(names))} tasks'


def _with_few_pairs(values: pd.DataFrame, names: list[str], counts: list[Pairs]) -> str:
    """How many of these tasks lack planned pairs, as ', four of which have 1 pair so far'; '' if none or all do."""
    planned = {task: pairs.planned for pairs in counts for task in pairs.tasks}
    finished = values.groupby('task').pair_seed.nunique()
    few = [finished[task] for task in names if finished[task] < planned.get(task, 0)]
    if not 0 < len(few) < len(names):
        return ''
    pairs = counted(few[0], 'pair') if len(set(few)) == 1 else f'{min(few)} to {max(few)} pairs'
    return f', {word(len(few))} of which {"has" if len(few) == 1 else "have"} {pairs} so far'


def _distance(row: dict | pd.Series) -> str:
    """How far from Active the agent of a row ends, as '0.12 below'."""
    return f'{number(abs(row["estimate"]))} {"below" if row["estimate"] < 0 else "above"}'


def _interval(row: dict | pd.Series) -> str:
    """The interval of a row, as '-0.34 to 0.1'; '' if its pairs are too few for one."""
    return f'{number(row["low"])} to {number(row["high"])}' if math.isfinite(row['low']) else ''


def _effect(row: dict[str, Any], where: str) -> str:
    """A row on the final score of Passive, with the units of scores."""
    distance = f'{_distance(row)} the Active agent from whose data it learned'
    return f'In {_pairs(row)}{where}, Passive ends on average {distance} ({UNITS}; {_test(row)}).'


def _test(row: dict[str, Any]) -> str:
    """How sure a row is: its interval and its p, of a primary row also the adjusted one."""
    interval = 'too few pairs for an interval'
    if _interval(row):
        interval = f'95 % interval {_interval(row)}'
    is_primary = row['row'] == claims.PRIMARY
    kind = f', and {probability(row["adjusted_p"])} adjusted for all claims' if is_primary else f'; {ASIDE}'
    return f'{interval}; p {probability(row["p"])}{kind}'


def of_claims(ids: tuple[str, ...], scale: str, seeds: int = 0) -> dict[str, list[str]]:
    """Verdict in words -> the claims that have it by their primary rows, with this number of pairs (0: all)."""
    primary = verdicts.table('study', scales.get(scale), ids, seeds, secondary=False)
    found = {}
    for verdict, words in VERDICTS.items():
        points = []
        for row in primary[primary.verdict == verdict].to_dict('records'):
            numbers = f' ({verdicts.estimate(row)}, {_pairs(row)})' if row['pairs'] else ''
            points.append(f'{row["id"]}: {row["claim"].rstrip(".")}{numbers}.')
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
        compared = of_agent[(of_agent.pairs == own.pairs) & (of_agent.index != trigger)]
        others = [f'{agents.get("active").label}: {own.active:.2f}']
        others += [f'{name}: {row.score:.2f}' for name, row in compared.iterrows()]
        means = 'means of ' if own.pairs > 1 else ''
        parts.append(
            f'On {tasks.get(task).short} it ends at {own.score:.2f}, and adds data at {own.collections:.3g} of '
            f'{own["at most"]:.0f} chances ({means}{_pairs(own)}; {", ".join(others)}).'
        )
    if not parts:
        return ''
    rule = f'{trigger} adds data where the measure tells it to (1: mean of Active).'
    return f'{rule} {" ".join(parts)}'


def of_base_agent(table: pd.DataFrame) -> str:
    """Where the runs end beside the published ones; '' without runs. `table` is that of `published`."""
    counts = table.result[table.result != 'missing'].value_counts()
    if counts.empty:
        return ''
    parts = [f'{word(count)} {"ends" if count == 1 else "end"} {result}' for result, count in counts.items()]
    return f'Of {counted(counts.sum(), "run")}, {listed(parts)} the range of the published scores.'


def maze(scale: str, seeds: int = 0, has_units: bool = True) -> str:
    """How far Passive is from Active in the toy maze, where no claim is judged; '' if nothing has run there.

    `seeds` is the number of pairs (0: all). Without `has_units`, the units were told before.
    """
    known = scales.get(scale)
    if 'toy_maze' not in known.chapters:
        return ''
    (row,) = verdicts.table('toy_maze', known, ('C1',), seeds, secondary=False).to_dict('records')
    if not row['pairs']:
        return ''
    interval = f'95 % interval {_interval(row)}' if _interval(row) else 'too few for an interval'
    units = f'{UNITS}; ' if has_units else ''
    details = f'{units}{_pairs(row)}, {interval}'
    return f'In the toy maze, whose rows decide no claim, Passive ends {_distance(row)} Active ({details}).'


def _pairs(row: dict | pd.Series) -> str:
    return counted(row['pairs'], 'pair')


def _signs(values: pd.DataFrame) -> str:
    """In how many pairs Passive ends as the paper says, for each outcome."""
    parts = []
    for column, (words, is_higher) in OUTCOMES.items():
        both = stats.pairs(values, 'passive', 'active', column).dropna()
        count = int(((both.passive > both.active) if is_higher else (both.passive < both.active)).sum())
        article = 'a higher' if is_higher else 'a lower'
        parts.append(f'{article} {words} in {count} of {len(both)} pairs')
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
            waiting = sum(map(claims.waits, rows.verdict, rows.pairs, rows.p))
            of_them = f'{word(waiting)} ' if waiting < len(rows) else ''
            notes = [f' ({of_them}for want of pairs)'] if waiting else []
            exact = rows[rows.p.isna() & (rows.pairs > 0)]
            notes += [f' ({row.id} by {_pairs(row)})' for _, row in exact.iterrows()]
            verb = '' if parts else 'is ' if len(rows) == 1 else 'are '
            parts.append(f'{word(len(rows))} {verb}{words}{"".join(notes)}')
    return f'{"So far, of" if is_interim else "Of"} {len(primary)} claims, {listed(parts)}.'


def _stopped(primary: pd.DataFrame, secondary: pd.DataFrame, of_tasks: dict[str, pd.DataFrame]) -> str:
    """What came out of the experiment that the paper leaves for future work; '' without runs."""
    (row,) = primary[primary.id == FUTURE_WORK].to_dict('records')
    if not row['pairs']:
        return ''
    words = row['claim'][0].lower() + row['claim'][1:].rstrip('.')
    is_part = row['planned'] > row['pairs']
    pairs = f'{verdicts.of_planned(row)} planned pairs' if is_part else _pairs(row)
    found = {task: rows.loc[FUTURE_WORK] for task, rows in of_tasks.items() if rows.loc[FUTURE_WORK].pairs}
    each = listed([_on(task, own) for task, own in found.items()]) if len(found) > 1 else ''
    parts = _of(secondary, FUTURE_WORK, row['agent'], part=claims.WITHOUT_KNOWN)
    known = 'which was known when the others were planned'
    without = [f'{number(estimate)} {claims.WITHOUT_KNOWN}, {known}' for estimate in parts.estimate]
    numbers = '; '.join(filter(None, [verdicts.estimate(row), each, *without]))
    return f'What the paper leaves for future work: {row["id"]} ({words}) is {row["verdict"]} by {pairs}: {numbers}.'


def _on(task: str, row: pd.Series) -> str:
    """The estimate of a row on one task, as '-0.34 on walker_walk (p 0.002)'; of too few pairs, with their number."""
    test = _pairs(row) if claims.too_few(row['pairs']) else f'p {probability(row["p"])}'
    return f'{number(row["estimate"])} on {tasks.get(task).short} ({test})'


def _by_task(of_tasks: dict[str, pd.DataFrame], values: pd.DataFrame) -> str:
    """The primary rows of C1 and C2 on each task alone, and how much C1 rests on one of them. `values` are `finals`.

    It is '' where fewer than two tasks have a normalised score.
    """
    scored = {task: rows for task, rows in of_tasks.items() if rows.loc['C1'].pairs}
    if len(scored) < 2:
        return ''
    differences = [_on(task, rows.loc['C1']) for task, rows in scored.items()]
    without_one = _without_one({task: rows.loc['C1'].estimate for task, rows in scored.items()})
    ratios = [f'{math.exp(rows.loc["C2"].estimate):.1f}' for rows in scored.values()]
    others = [tasks.get(task).short for task in of_tasks if task not in scored]
    left_out = ''
    if others:
        left_out = f' No score counts on {listed(others)}, where Active ends no better than random actions.'
    return (
        f'Task by task, the score of Passive less that of Active is {listed(differences)}.'
        f'{left_out}{_ahead(values, scored)}{without_one} '
        f'Its world-model loss is, in this order of tasks, {listed(ratios)} times that of Active.'
    )


def _ahead(values: pd.DataFrame, names: Collection[str]) -> str:
    """On which of these tasks Passive ends above Active in every pair; '' if on none. Few pairs do not count."""
    both = stats.pairs(values, 'passive', 'active', 'score').dropna()
    gains = comparisons.split_by_task(both.passive - both.active)
    is_ahead = {task: len(gain) >= comparisons.LISTED and (gain > 0).all() for task, gain in gains.items()}
    found = [tasks.get(task).short for task in names if is_ahead.get(task)]
    return f' On {listed(found)} Passive ends above Active in every pair.' if found else ''


def _without_one(estimates: dict[str, float]) -> str:
    """The lowest and the highest mean over all tasks but one; '' of fewer than three tasks."""
    if len(estimates) < 3:
        return ''
    total = sum(estimates.values())
    means = {task: (total - estimate) / (len(estimates) - 1) for task, estimate in estimates.items()}
    ends = [min(means, key=means.get), max(means, key=means.get)]
    lowest, highest = (f'{number(means[task])} without {tasks.get(task).short}' for task in ends)
    return f' With one task left out, the mean is {lowest} at the lowest and {highest} at the highest.'


def _tandem(secondary: pd.DataFrame) -> str:
    """The secondary row of C1 on where Tandem ends; '' without its runs."""
    rows = _of(secondary, 'C1', 'tandem')
    if rows.empty:
        return ''
    (row,) = rows.to_dict('records')
    return f'Tandem ends {_distance(row)} Active ({_details(row)}; {ASIDE}).'


def _of(rows: pd.DataFrame, claim: str, agent: str, table: str = 'normalised', part: str = '') -> pd.DataFrame:
    """The rows of a claim that compare this agent by a table of `comparisons.Runs`: of C1, P5 and P9 one or none."""
    return rows[(rows.id == claim) & (rows.agent == agent) & (rows.table == table) & (rows.part == part)]


def _details(row: dict[str, Any]) -> str:
    """How sure a secondary row is, as '-0.71 to -0.20; p 0.012, 20 pairs'."""
    return f'{_interval(row) or "no interval"}; p {probability(row["p"])}, {_pairs(row)}'


def _throughout(secondary: pd.DataFrame) -> str:
    """The secondary rows of C1 over the whole of training and of P9 over its first half; '' without their runs."""
    area = _of(secondary, 'C1', 'passive', 'areas')
    first = _of(secondary, 'P9', 'passive', 'early')
    if area.empty or first.empty:
        return ''
    return (
        f'Averaged over the whole of training the difference is {verdicts.estimate(area.iloc[0])}, and over the first '
        f'half, where the paper has Passive ahead, {verdicts.estimate(first.iloc[0])}.'
    )
