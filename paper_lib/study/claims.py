"""The paper's claims as statistics on whatever runs exist. `docs/protocol.md` says why these and not others.

C1 to C12 are the claims of the paper; P1 to P9 are what its published version adds.
"""

import functools
import typing

import numpy as np
import pandas as pd

from paper_lib.contract import agents, quantities
from paper_lib.study import reference, stats

# Normalised scores that differ by less count as equal: a tenth of what the Active agent gains over random actions. Set
# before any run of these agents was seen.
MARGIN = 0.1
LEVEL = 0.05  # rate of wrong verdicts: of one row, and after Holm's correction of all primary rows together
EARLY = 0.5  # share of a run that counts as its beginning
SOLVED = 0.9  # share of its final normalised score that Active has by then on a task that it solves early
PAIR = ['task', 'pair_seed']
LISTED = 3  # pairs of a task from which on exceptions to C12 are listed
MAZE = ('C1', 'C2', 'C3')  # what the toy maze can test
PRIMARY, SECONDARY = 'primary', 'secondary'
NO_RUNS, SUPPORTED, CONTRADICTED, UNDECIDED = 'no runs', 'supported', 'contradicted', 'undecided'
COLUMNS = [
    'id', 'claim', 'row', 'statistic', 'estimate', 'low', 'high', 'p', 'adjusted_p', 'pairs', 'tasks', 'verdict',
    'words', 'iqm', 'iqm_low', 'iqm_high',
]  # fmt: skip


class Runs(typing.NamedTuple):
    """What claims are computed from; in all but `finals` scores are normalised, and tasks on which Active is no better
    than random are left out."""

    finals: pd.DataFrame  # one row per run: means over its last evaluations
    learned: pd.DataFrame  # the same, with normalised `score`
    areas: pd.DataFrame  # one row per run: means over all its evaluations
    early: pd.DataFrame  # one row per run: means over the first half of its evaluations
    curves: pd.DataFrame  # one row per evaluation


class Row(typing.NamedTuple):
    """One comparison: a value per task and pair seed, and the range in which the claim wants their mean."""

    statistic: str
    agents: tuple[str, ...]
    values: typing.Callable[[Runs], pd.Series] | None  # indexed by PAIR; None: the runs do not record it
    above: float = -np.inf
    below: float = np.inf
    exact: typing.Callable[[pd.Series], pd.Series] | None = None  # what every single value fulfils; then there is no p
    listed: typing.Callable[[Runs], str] | None = None  # further words for the statistic
    needs: str = ''  # what has to be recorded first


class Claim(typing.NamedTuple):
    """One claim in a sentence. The first of its rows is primary, the others are secondary."""

    id: str
    text: str
    rows: tuple[Row, ...]


TEXTS = {
    'C1': 'Offline agents end with a lower score than the Active agent.',
    'C2': 'The world-model loss of offline agents on their own episodes ends higher than that of Active.',
    'C3': 'Offline agents overestimate their value more than Active does.',
    'C4': "The second half of Active's data alone teaches less than a uniform half of all of it.",
    'C5': 'On exploration data, Passive is at least as good as the explorer that collected them.',
    'C6': 'A mixed reward collects better data than the task or exploration alone.',
    'C7': 'With 10 % of data of its own, Passive is as good as Active.',
    'C8': 'The adaptive schedule is as good as the fixed one of 10 %, with less data of its own.',
    'C9': 'It makes no difference to Passive whether it starts from the initial weights of Active or from others.',
    'C10': 'Tandem follows Active exactly from equal initial weights, and leaves it from any others.',
    'C11': 'Tandem ends with a lower score than Active even if it has the world model of Active.',
    'C12': 'Of the agents of a pair, those with a higher world-model loss end with a lower score.',
    'P1': 'Sharing the world model of Active does not harm Tandem, and a frozen one does not help Passive.',
    'P2': 'A policy can fail in states that its world model knows well.',
    'P3': 'The reconstruction loss of the policy input can stay low where the world model is wrong.',
    'P4': 'Offline agents predict more reward than they collect, as Active does not.',
    'P5': 'An agent that stops collecting half-way ends with a lower score than one that goes on.',
    'P6': 'One percent of data of its own makes Passive worse than none.',
    'P7': 'On freeway, Passive ends with a lower score than Active without a higher world-model loss.',
    'P8': 'Where Active solves the task early, later data add nothing to the first half of its data.',
    'P9': 'Passive learns faster than Active at first and falls back later.',
}


def _outcome(runs: Runs, column: str, of: str) -> pd.DataFrame:
    """The table in which the values of a quantity may be compared. Losses are compared by their ratio, as recorded."""
    return runs.finals if column in ('wm_loss', 'added') else getattr(runs, of)


WORDS = {'added': 'environment steps added, percent', 'reward_error': 'predicted - collected reward of a step'}
WHEN = {'learned': 'final', 'areas': 'area under the curve of', 'early': 'first half of training:'}


def _compared(agent, baseline='active', column='score', above=-np.inf, below=np.inf, of='learned') -> Row:
    """Difference of two agents of the same task and pair seed; of world-model losses the log ratio.

    `of` names the table of `Runs` that the values are taken from.
    """
    loss = column == 'wm_loss'
    name = WORDS.get(column) or quantities.get(column).words
    words = f'normalised {name}' if column == 'score' else name
    compare = stats.log_ratio if loss else stats.difference

    def values(runs):
        pairs = stats.pairs(_outcome(runs, column, of), agent, baseline, column)
        return pd.Series(compare(pairs), pairs.index, dtype=float)

    when = '' if column == 'added' else f'{WHEN[of]} '
    text = f'{agent} against {baseline}: {"log ratio" if loss else "difference"} of {when}{words}'
    return Row(text, (agent, baseline), values, above, below)


_loss = functools.partial(_compared, column='wm_loss')
_error = functools.partial(_compared, column='value_error')


def _equal(agent, baseline='active') -> Row:
    return _compared(agent, baseline, above=-MARGIN, below=MARGIN)


def _weights(kind) -> Row:
    """The best mixed weight against the better of 0 and 1, both chosen on the other pair seeds, seen on this one."""
    names = agents.family(kind)
    inside = ', '.join(f'{weight:g}' for weight in names.values() if 0 < weight < 1)
    text = f'{kind}: normalised score of the best w_expl of {inside} less that of the best of 0 and 1'

    def values(runs):
        return best_inside(by_weight(runs.learned, names))

    def best(runs):
        means = by_weight(runs.learned, names).groupby('task').mean()
        return '; best: ' + (', '.join(f'{w:g} in {task}' for task, w in means.idxmax(axis=1).items()) or 'none yet')

    return Row(text, tuple(names), values, above=0.0, listed=best)


def by_weight(finals: pd.DataFrame, names: dict) -> pd.DataFrame:
    """Scores (task, pair seed) x weight, of the pairs that have every agent of `names` {agent: weight}."""
    own = finals[finals.agent.isin(names)].set_index(PAIR)
    own = own[own.groupby(PAIR).agent.transform('nunique') == len(names)]
    return own.set_index('agent', append=True).score.unstack('agent').reindex(columns=names).rename(columns=names)


def best_inside(table: pd.DataFrame) -> pd.Series:
    """Scores (task, pair seed) x weight -> advantage of the best weight between 0 and 1 over the better of 0 and 1.

    Both are chosen by their mean over the task's other pair seeds, so that luck of the choice is no advantage. Tasks
    with one pair seed have no value.
    """
    ends, found = table.columns.isin([0.0, 1.0]), {}
    for (task, seed), own in table.iterrows():
        others = table.loc[task].drop(index=seed)
        if len(others):
            ok, mean = finite(table.loc[task]), others.mean()
            inside, outside = (own[mean[part].idxmax()] if ok else np.nan for part in (~ends, ends))
            found[task, seed] = inside - outside
    return _series(found)


def finite(values) -> bool:
    """Whether all values are finite numbers."""
    return bool(np.isfinite(np.asarray(values, float)).all())


def _series(found: dict) -> pd.Series:
    return pd.Series(found.values(), pd.MultiIndex.from_tuples(found, names=PAIR), dtype=float)


def _distance(agent, exact) -> Row:
    """Mean over evaluations of the absolute difference of normalised score from the Active run."""

    def values(runs):
        sides = [_curve(runs.curves, name) for name in (agent, 'active')]
        gap = pd.concat(sides, axis=1, join='inner').diff(axis=1).iloc[:, 1].abs()
        return gap.groupby(PAIR).agg(lambda x: x.mean(skipna=False))

    text = f'{agent} against active: mean distance of normalised score over training'
    return Row(text, (agent, 'active'), values, exact=exact)


def _curve(curves: pd.DataFrame, agent: str) -> pd.Series:
    """Normalised scores of an agent by task, pair seed and environment step."""
    return curves[curves.agent == agent].set_index([*PAIR, 'env_step']).score


def _alphas() -> Row:
    """Distance from Active of every Tandem agent with other weights, and of the one with equal weights.

    Of a pair the value is the smallest distance of those with other weights, or -1 if the one with equal weights is
    not exactly where Active is.
    """
    names = agents.group('alphas')
    parts = {name: _distance(name, None).values for name in names}

    def values(runs):
        gaps = pd.DataFrame({name: part(runs) for name, part in parts.items()})
        same = gaps.columns.isin([name for name in names if agents.get(name).values['alpha'] == 0])
        gaps = gaps[gaps.loc[:, same].notna().all(axis=1) & gaps.loc[:, ~same].notna().any(axis=1)]
        left = (gaps.loc[:, same] != 0).any(axis=1)
        return gaps.loc[:, ~same].min(axis=1).where(~left, -1.0)

    text = 'smallest distance of normalised score over training from Active, of all alphas above 0; -1: alpha 0 differs'
    return Row(text, (*names, 'active'), values, exact=lambda x: x > 0)


def correlations(finals: pd.DataFrame) -> pd.Series:
    """Rank correlation of final loss and score over the agents of each task and pair seed with three or more.

    0 where one of the two is the same for all; NaN where a value is not finite.
    """
    found = {}
    for pair, own in finals.groupby(PAIR):
        ranks = own[['wm_loss', 'score']].rank()
        if len(own) > 2:
            constant = (ranks.nunique() == 1).any()
            ok = finite(own[['wm_loss', 'score']])
            found[pair] = (0.0 if constant else ranks.corr().iloc[0, 1]) if ok else np.nan
    return _series(found)


def _correlation(words: str, group: str) -> Row:
    names = agents.group(group)
    text = f'rank correlation of final world-model loss and score over {words} of a pair'
    return Row(text, ('active',), lambda runs: correlations(runs.finals[runs.finals.agent.isin(names)]), below=0.0)


def counter_examples(finals: pd.DataFrame) -> pd.DataFrame:
    """Agents with a higher loss than Active and yet no lower score (by MARGIN) in every pair of a task, if LISTED.

    `finals` with normalised `score`. Of agents with Active's own loss, one in eight would be among them with three
    pairs. Columns task, agent, n.
    """
    active = finals[finals.agent == 'active'][[*PAIR, 'score', 'wm_loss']]
    both = finals[finals.agent != 'active'].merge(active, on=PAIR, suffixes=('', '_active'))
    both['yet'] = (both.wm_loss > both.wm_loss_active) & (both.score > both.score_active - MARGIN)
    found = both.groupby(['task', 'agent']).yet.agg(['all', 'size']).reset_index()
    found = found[found['all'].astype(bool) & (found['size'] >= LISTED)]
    return found[['task', 'agent', 'size']].rename(columns={'size': 'n'}).reset_index(drop=True)


def _exceptions(runs):
    pairs = runs.learned[runs.learned.agent != 'active'].groupby(['task', 'agent']).size()
    if pairs.max() < LISTED or pairs.empty:
        return f'; exceptions: looked for from {LISTED} pairs of a task on'
    found = counter_examples(runs.learned)
    return '; exceptions: ' + (', '.join(f'{row.agent} in {row.task}' for row in found.itertuples()) or 'none')


def _on(row: Row, chosen: typing.Callable[[Runs], list[str]], words: str) -> Row:
    """The same row on some of the tasks, which a function of the runs chooses."""

    def values(runs):
        found = row.values(runs)
        return found[found.index.isin(chosen(runs), level='task')]

    return row._replace(statistic=f'{row.statistic} ({words})', values=values)


def solved_early(runs: Runs) -> list[str]:
    """Tasks on which Active has, over the last fifth of the first half, SOLVED of its final normalised score."""
    active = runs.curves[runs.curves.agent == 'active']
    ends = active.groupby('run_id').env_step.transform('max')
    middle = active[(active.env_step <= EARLY * ends) & (active.env_step > (1 - stats.LAST) * EARLY * ends)]
    means = middle.groupby('task').score.mean()
    return list(means.index[means >= SOLVED])


def _freeway(runs: Runs) -> list[str]:
    return [task for task in runs.finals.task.unique() if task.startswith('freeway-')]


def _falls_back() -> Row:
    """How much more of Active's score Passive has in the first half of training than at its end."""
    early, late = _compared('passive', of='early'), _compared('passive')

    def values(runs):
        return early.values(runs) - late.values(runs)

    text = 'passive against active: difference of normalised score in the first half of training, less that at its end'
    return Row(text, ('passive', 'active'), values, above=0.0)


def _unrecorded(statistic: str, needs: str) -> Row:
    return Row(statistic, ('active', 'passive', 'tandem'), None, needs=needs)


def _steps() -> str:
    return 'the losses of every step of the last evaluation of every run; the archive keeps one episode of one pair'


def every_claim() -> list[Claim]:
    """All claims with their rows, in the order of the tables. The first row of each claim is its primary one."""
    offline = [name for name in agents.group('compared') if agents.get(name).source]
    adaptive = [name for name in agents.group('thresholds') if name != 'passive_auto']
    tiny = [name for name in agents.group('alphas') if agents.get(name).values['alpha'] > 0]
    on_early = functools.partial(_on, chosen=solved_early, words='tasks that Active solves early')
    on_freeway = functools.partial(_on, chosen=_freeway, words='freeway')
    rows = {
        'C1': (
            *(_compared(agent, below=0.0) for agent in offline),
            *(_compared(agent, below=0.0, of='areas') for agent in offline),
        ),
        'C2': tuple(_loss(agent, above=0.0) for agent in offline),
        'C3': tuple(_error(agent, above=0.0) for agent in offline),
        'C4': (
            _compared('passive_half', 'passive_expert', above=0.0),
            _loss('passive_half', 'passive_expert', below=0.0),
        ),
        'C5': (_compared('passive_expl', 'active_expl', above=-MARGIN), _equal('tandem_expl', 'active_expl')),
        'C6': tuple(_weights(kind) for kind in ('active', 'passive')),
        'C7': (_equal('passive_10'), _compared('passive_10', 'passive', above=0.0)),
        'C8': (
            _equal('passive_auto', 'passive_10'),
            _compared('passive_auto', 'passive_10', 'added', below=0.0),
            _compared('passive_auto', 'passive', above=0.0),
            *(row for agent in adaptive for row in (
                _equal(agent, 'passive_10'), _compared(agent, 'passive_10', 'added', below=0.0))),
        ),
        'C9': (_equal('passive_same', 'passive'), _equal('passive_expl_same', 'passive_expl')),
        'C10': (
            _alphas(),
            _distance('tandem_alpha_0', lambda x: x == 0),
            *(_distance(agent, lambda x: x > 0) for agent in tiny),
            *(_compared(agent, below=0.0) for agent in tiny),
        ),
        'C11': tuple(_compared(agent, below=0.0) for agent in agents.group('world_models')),
        'C12': (
            _correlation('Active, Passive and Tandem', 'compared'),
            _correlation('all agents', agents.EVERY)._replace(listed=_exceptions),
        ),
        'P1': (
            _compared('tandem_same_wm', 'tandem', above=-MARGIN),
            _compared('tandem_same_wm', 'tandem', above=0.0),
            _compared('passive_frozen_wm', 'passive', below=MARGIN),
        ),
        'P2': (_unrecorded('steps with a low world-model loss among those before the reward falls away', _steps()),),
        'P3': (_unrecorded('steps with a high world-model loss and a low reconstruction loss', _steps()),),
        'P4': tuple(_compared(agent, column='reward_error', above=0.0) for agent in offline),
        'P5': (_compared('active_stopped', below=0.0), _loss('active_stopped', above=0.0),
               _error('active_stopped', above=0.0)),
        'P6': (_compared('passive_1', 'passive', below=0.0),),
        'P7': (on_freeway(_compared('passive', below=0.0)), on_freeway(_loss('passive', below=0.0))),
        'P8': (on_early(_compared('passive', 'passive_suboptimal', below=MARGIN)),
               on_early(_compared('passive_half', 'passive_suboptimal', below=0.0))),
        'P9': (_falls_back(), _compared('passive', above=0.0, of='early')),
    }  # fmt: skip
    return [Claim(name, TEXTS[name], rows[name]) for name in TEXTS]


def primary_rows() -> pd.DataFrame:
    """The primary row of every claim, announced before its runs. Columns: id, claim, primary row, asked."""
    rows = []
    for claim in every_claim():
        row = claim.rows[0]
        asked = 'every single value above 0' if row.exact else within(row.above, row.below)
        if row.values is None:
            asked = 'nothing yet: it is not recorded'
        rows.append({'id': claim.id, 'claim': claim.text, 'primary row': row.statistic, 'asked of the mean': asked})
    return pd.DataFrame(rows)


def zero(task: str) -> float:
    """Mean score of random actions in the maze: they never come near the goal."""
    return 0.0


def random(chapter: str) -> typing.Callable[[str], float]:
    """The function that gives the mean score of random actions in a task of this chapter."""
    return zero if chapter == 'toy_maze' else reference.random_score


def added(metrics: pd.DataFrame) -> pd.Series:
    """Environment steps that a run added, in percent of those of its source (which is as long), by run id."""
    last = metrics.sort_values('env_step').groupby('run_id').tail(1).set_index('run_id')
    return 100 * last.added / last.env_step if 'added' in last else pd.Series(dtype=float)


RECORDED = ('score', 'wm_loss', 'value_error', 'reward_error')


def gather(metrics: pd.DataFrame, random: typing.Callable[[str], float]) -> Runs:
    """`random`: the uniform random policy's mean score of a task.

    Value errors of several tasks are in units of Active's mean discounted return, reward errors in units of its mean
    reward.
    """
    unknown = pd.Series(np.nan, metrics.index)
    collected = metrics.get('reward_collected', unknown)
    metrics = metrics.assign(reward_error=metrics.get('reward_predicted', unknown) - collected)
    finals = stats.final(metrics, *RECORDED)
    finals['added'] = finals.run_id.map(added(metrics))
    lost = stats.unlearned(finals, random)
    base = {task: own for task, own in stats.reference(finals, 'score').items() if task not in lost}

    def learned(frame):
        own = frame[~frame.task.isin(lost)]
        floor = stats.by_task(own, {task: random(task) for task in base})
        return own.assign(score=(own.score - floor) / (stats.by_task(own, base) - floor))

    found = learned(finals)
    if metrics.task.nunique() > 1:
        units = {
            'value_error': stats.reference(metrics, 'mc_return'),
            'reward_error': stats.reference(metrics.assign(reward_collected=collected), 'reward_collected'),
        }
        for column, unit in units.items():
            found[column] = found[column] / stats.by_task(found, unit.where(unit > 0))
    first = metrics[metrics.env_step <= EARLY * metrics.groupby('run_id').env_step.transform('max')]
    areas, early = (learned(stats.final(part, *RECORDED, share=1.0)) for part in (metrics, first))
    return Runs(finals, found, areas, early, learned(metrics))


def verdict(low: float, high: float, above: float = -np.inf, below: float = np.inf) -> str:
    """Of an interval and the range that a claim names: 'supported' inside, 'contradicted' outside, else 'undecided'."""
    if np.isnan([low, high]).any():
        return UNDECIDED
    if above < low and high < below:
        return SUPPORTED
    return CONTRADICTED if high < above or low > below else UNDECIDED


def table(metrics: pd.DataFrame, random=zero, ids=MAZE, primary: bool = False) -> pd.DataFrame:
    """One row per comparison of the claims `ids`, whether the agents ran or not.

    Columns: id, claim, row (primary or secondary), statistic, estimate (`stats.mean_of_tasks`), low, high (its 95 %
    interval), p (`stats.p_of_range`), adjusted_p (Holm, over the primary rows of all claims), pairs (same
    task and pair seed), tasks, verdict, words, and for comparison iqm, iqm_low, iqm_high (interquartile mean of all
    pairs with its bootstrap interval). `random` gives the uniform random policy's mean score of a task. Without
    `primary` all rows are secondary: these metrics are not what the claims are judged by.
    """
    runs = gather(metrics, random)
    wanted = [claim for claim in every_claim() if primary or claim.id in ids]
    rows = []
    for claim in wanted:
        for row in claim.rows if claim.id in ids else claim.rows[:1]:
            kind = PRIMARY if primary and row is claim.rows[0] else SECONDARY
            rows.append({'id': claim.id, 'claim': claim.text, 'row': kind} | tested(row, runs))
    found = pd.DataFrame(rows, columns=[*COLUMNS, 'limits', 'tests'])
    main = (found.row == PRIMARY) & found.tests
    found['adjusted_p'] = found.adjusted_p.astype(float)
    found.loc[main, 'adjusted_p'] = stats.holm(found.p[main])
    found.loc[found.adjusted_p >= LEVEL, 'verdict'] = UNDECIDED
    found['words'] = [in_words(row) for row in found.itertuples()]
    return found[found.id.isin(ids)][COLUMNS].reset_index(drop=True)


def by_task(values: pd.Series) -> dict[str, np.ndarray]:
    """Values by task and pair seed -> {task: (n,)}."""
    return {task: own.to_numpy() for task, own in values.groupby(level='task')}


def tested(row: Row, runs: Runs) -> dict:
    """A row of the table, as if it were the only one."""
    values = row.values(runs) if row.values else _series({})
    groups = by_task(values)
    found = stats.mean_of_tasks(groups)
    p, iqm = np.nan, stats.stratified(groups)
    if not found.n or (row.values and values.isna().all()):
        return _result(row, runs, stats.Estimate(np.nan, np.nan, np.nan, 0), p, iqm._replace(n=0), NO_RUNS, 0)
    if row.exact:
        found = found._replace(low=np.nan, high=np.nan)
        says = UNDECIDED if not finite(values) else SUPPORTED if row.exact(values).all() else CONTRADICTED
    else:
        if finite(values):
            p = stats.p_of_range(stats.sign_flips(groups), row.above, row.below)
        says = verdict(found.low, found.high, row.above, row.below)
    return _result(row, runs, found, p, iqm, says, len(groups))


def _result(row, runs, found, p, iqm, says, tasks) -> dict:
    known = found.n > 0
    return {
        'statistic': row.statistic + (row.listed(runs) if row.listed else ''),
        'estimate': found.value, 'low': found.low, 'high': found.high, 'p': p, 'adjusted_p': np.nan,
        'pairs': found.n, 'tasks': tasks, 'verdict': says, 'words': row.needs,
        'iqm': iqm.value if known else np.nan, 'iqm_low': iqm.low if known else np.nan,
        'iqm_high': iqm.high if known else np.nan,
        'limits': (row.above, row.below), 'tests': row.exact is None and row.values is not None,
    }  # fmt: skip


def in_words(row) -> str:
    """What a row of the table says, in a sentence or two."""
    above, below = row.limits
    if row.verdict == NO_RUNS:
        return f'It needs {row.words}.' if row.words else 'No pair of these agents has run.'
    if not row.tests:
        return {
            SUPPORTED: 'Every single pair is as the claim says.',
            CONTRADICTED: 'At least one pair is not as the claim says.',
        }.get(row.verdict, _damaged(row))
    place = within(above, below)
    if row.verdict == SUPPORTED:
        return f'The mean lies {place}, as the claim says.'
    if row.verdict == CONTRADICTED:
        return f'The mean does not lie {place}, against what the claim says.'
    if np.isnan(row.p):
        return _damaged(row)
    if 2 ** (1 - row.pairs) >= LEVEL:
        return f'{row.pairs} pairs are too few for any verdict.'
    if row.p < LEVEL:
        return f'Alone this row would have a verdict (p = {row.p:.2g}); among all primary rows it has none.'
    return f'These pairs do not decide whether the mean lies {place}.'


def _damaged(row) -> str:
    return 'A value is not a finite number.'


def within(above: float, below: float) -> str:
    """A range in words."""
    if not np.isfinite(below):
        return f'above {above:g}'
    if not np.isfinite(above):
        return f'below {below:g}'
    return f'between {above:g} and {below:g}'
