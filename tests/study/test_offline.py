"""Measures without the environment: targets, couples, intervals and verdicts, from numbers that fit a page."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from paper_lib.study import forest, offline
from paper_lib.study.offline import DEGRADED, DIRECTIONS, OUTSIDE, RIVAL, Couples, Judged


def evaluations(run_id='r', agent='passive', task='t', pair_seed=0, **columns):
    """Metrics of one run with these columns; all others are 1."""
    count = len(next(iter(columns.values())))
    ones = {name: np.ones(count) for name in ('score', *DIRECTIONS)}
    keys = {'run_id': run_id, 'agent': agent, 'task': task, 'pair_seed': pair_seed}
    return pd.DataFrame(keys | {'env_step': np.arange(1, count + 1) * 1000} | ones | columns)


def at_the_end(values, task='t', measure='promise_ratio'):
    """Moments of runs at their end: (pair seed, is degraded, value)."""
    rows = [{'task': task, 'pair_seed': seed, DEGRADED: float(bad), measure: value} for seed, bad, value in values]
    return pd.DataFrame(rows).assign(env_step=1000, agent='passive', is_last=True)


def random(task):
    return 10.0


def test_a_moment_is_the_mean_of_the_last_fifth():
    active = evaluations('a', 'active', score=np.full(10, 110.0))
    passive = evaluations('p', score=np.array([0, 0, 0, 0, 0, 0, 0, 0, 80.0, 100.0]), ood_ratio=np.linspace(1, 1.9, 10))
    rows = offline.moments(pd.concat([active, passive]), random)
    mine = rows[rows.agent == 'passive']
    assert len(mine) == 9 and mine.env_step.iloc[0] == 2000 and mine.is_last.sum() == 1
    last = mine.iloc[-1]
    assert last.gain == pytest.approx((90 - 10) / (110 - 10))
    assert last[RIVAL] == pytest.approx(1.85)


@pytest.mark.parametrize(('score', 'ratio', 'is_degraded', 'is_outside'), [(89, 1.3, 1, 0), (91, 1.4, 0, 1)])
def test_targets(score, ratio, is_degraded, is_outside):
    """0.8 of a gain of 100 over random actions, which score 10, is a score of 90."""
    active = evaluations('a', 'active', score=np.full(5, 110.0))
    passive = evaluations('p', score=np.full(5, float(score)), ood_ratio=np.full(5, ratio))
    rows = offline.moments(pd.concat([active, passive]), random)
    assert (rows[rows.agent == 'active'][DEGRADED] == 0).all()
    assert (rows[rows.agent == 'passive'][DEGRADED] == is_degraded).all()
    assert (rows[rows.agent == 'passive'][OUTSIDE] == is_outside).all()


def test_nothing_is_said_where_active_is_no_better_than_random_or_a_value_is_missing():
    active = evaluations('a', 'active', score=np.full(5, 10.0))
    passive = evaluations('p', score=np.full(5, 5.0), promise_ratio=np.array([1, 1, 1, 1, np.inf]))
    rows = offline.moments(pd.concat([active, passive]), random)
    assert rows[DEGRADED].isna().all()
    assert np.isnan(rows[(rows.agent == 'passive') & rows.is_last].promise_ratio.iloc[0])


def test_a_follower_is_compared_with_the_active_agent_of_its_own_pair_at_the_same_moment():
    runs = [
        evaluations('a0', 'active', pair_seed=0, score=np.array([110, 110, 110, 110, 210.0])),
        evaluations('a1', 'active', pair_seed=1, score=np.full(5, 20.0)),
        evaluations('p0', pair_seed=0, score=np.full(5, 110.0)),
        evaluations('p1', pair_seed=1, score=np.full(5, 20.0)),
    ]
    rows = offline.moments(pd.concat(runs), random)
    assert rows[(rows.agent == 'passive') & (rows.pair_seed == 0)].gain.tolist() == [1, 1, 1, 1, 0.5]
    assert (rows[(rows.agent == 'passive') & (rows.pair_seed == 1)].gain == 1).all()


def test_what_is_known_at_the_end_alone_stands_in_the_last_moment_alone():
    rows = offline.moments(evaluations(agent='active', return_across_15=np.array([*[np.nan] * 9, 2.0])), random)
    assert rows.return_across_15.notna().sum() == 1 and rows.return_across_15[rows.is_last].tolist() == [2]


def test_of_the_effective_share_degraded_agents_should_have_less():
    rows = offline.moments(
        evaluations(agent='active', density_ess=np.full(5, 0.3), promise_ratio=np.full(5, 2.0)), random
    )
    assert (rows.density_ess == -0.3).all() and (rows.promise_ratio == 2).all()


def test_couples_are_of_one_moment_and_ties_count_half():
    rows = at_the_end([(0, 1, 3), (0, 0, 1), (1, 1, 1), (1, 0, 2)])
    found = offline.couples(rows, 'promise_ratio', DEGRADED)
    assert found.number.tolist() == [[1, 1], [1, 1]]
    assert found.wins.tolist() == [[1, 1], [0.5, 0]]
    later = rows.assign(env_step=2000, promise_ratio=-rows.promise_ratio)
    both = offline.couples(pd.concat([rows, later], ignore_index=True), 'promise_ratio', DEGRADED)
    assert both.number.sum() == 8  # not 16: a run is never coupled with one of another moment
    assert both.wins.sum() == pytest.approx(2.5 + 1.5)


def test_a_value_that_is_not_finite_makes_no_couple():
    rows = at_the_end([(0, 1, np.nan), (0, 0, 1), (1, 1, 2)])
    assert offline.couples(rows, 'promise_ratio', DEGRADED).number.sum() == 1


def test_tasks_have_equal_weight_and_one_without_couples_has_none():
    few = Couples(np.array([[1.0]]), np.array([[1.0]]))
    many = Couples(np.array([[25.0]]), np.array([[100.0]]))
    none = Couples(np.zeros((1, 1)), np.zeros((1, 1)))
    one = np.ones((1, 1))
    assert offline.auroc([few, many, none], [one] * 3)[0] == pytest.approx((1 + 0.25) / 2)
    assert np.isnan(offline.auroc([none], [one])[0])


def test_an_interval_does_not_shrink_with_the_number_of_moments():
    """Moments of a run are not independent: only pairs are drawn again."""
    rng = np.random.default_rng(0)
    rows = at_the_end([(seed, bad, rng.normal(bad)) for seed, bad in itertools.product(range(8), (0, 1))])
    often = pd.concat([rows.assign(env_step=step) for step in range(20)], ignore_index=True)
    once = offline.judge(rows, 'promise_ratio', DEGRADED)
    again = offline.judge(often, 'promise_ratio', DEGRADED)
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))
    assert once.low < once.value < once.high


def test_intervals_hold_the_true_auroc_and_a_measure_of_noise_hardly_ever_works():
    """100 studies of two tasks with ten pairs of three agents, true AUROC 0.76.

    An interval with a coverage of 90 % would hold it in fewer than 80 studies with a probability of 0.1 %. Noise has an
    AUROC of 0.8 on both tasks in fewer than one study in a thousand.
    """
    rng = np.random.default_rng(1)
    held, worked = 0, 0
    for _ in range(100):
        values = [(seed, bad, rng.normal(bad)) for seed in range(10) for bad in (0, 1, 1)]
        tasks = [at_the_end(values, 't')]
        tasks.append(at_the_end([(seed, bad, rng.normal(bad)) for seed in range(10) for bad in (0, 1, 1)], 'u'))
        rows = pd.concat(tasks, ignore_index=True)
        found = offline.judge(rows, 'promise_ratio', DEGRADED)
        held += found.low <= 0.76 <= found.high
        noise = offline.judge(rows.assign(promise_ratio=rng.normal(size=len(rows))), 'promise_ratio', DEGRADED)
        worked += offline.verdict(noise, np.full(1, np.nan), 10, 2) == offline.WORKS
    assert held >= 80
    assert worked <= 1


def test_a_threshold_is_chosen_on_the_other_tasks():
    easy = at_the_end([(0, 0, 1), (1, 0, 2), (2, 1, 4), (3, 1, 6)], 'easy')
    assert offline.best_threshold(easy, 'promise_ratio', DEGRADED) == 3
    moved = at_the_end([(0, 0, 5), (1, 0, 2), (2, 1, 7), (3, 1, 8)], 'moved')  # best threshold 6
    rows = pd.concat([easy, moved])
    assert offline.elsewhere(rows, 'promise_ratio', DEGRADED) == pytest.approx((0.75 + 0.5) / 2)
    assert np.isnan(offline.elsewhere(easy, 'promise_ratio', DEGRADED))


def test_a_task_counts_once_it_has_five_pairs_and_all_do_where_fewer_than_two_have():
    values = [(seed, bad, 0) for seed in range(5) for bad in (0, 1)]
    rows = pd.concat([at_the_end(values, 't'), at_the_end(values, 'u'), at_the_end(values[:8], 'v')])
    assert offline.is_judged(rows).groupby(rows.task).agg(set).to_dict() == {'t': {True}, 'u': {True}, 'v': {False}}
    assert offline.is_judged(rows[rows.task != 'u']).all()


@pytest.fixture
def with_a_further_task():
    """Degraded agents have more of the measure and are outside, but for the one pair of v, which is turned round."""
    runs = []
    for task, seed in (*itertools.product('tu', range(5)), ('v', 0)):
        measure, ratio = (0.5, 1.3) if task == 'v' else (2.0, 1.4)
        values = {'score': [50.0], 'promise_ratio': [measure], RIVAL: [ratio]}
        runs.append(evaluations(f'{task}{seed}a', 'active', task, seed, score=[110.0]))
        runs.append(evaluations(f'{task}{seed}p', 'passive', task, seed, **values))
    return pd.concat(runs)


def test_further_tasks_and_agents_that_the_adaptive_schedule_does_not_see_have_columns(
    with_a_further_task, monkeypatch
):
    monkeypatch.setattr(offline, 'of_measured_runs', lambda frames: with_a_further_task)
    monkeypatch.setattr(offline.reference, 'random_score', random)
    found = offline.table(None).set_index(['target', 'measure'])
    of_target = found.loc[(DEGRADED, 'promise_ratio')]
    assert of_target[['AUROC', 'lowest task', 'further tasks', 'unseen']].tolist() == [1, 1, 0, 0]
    assert of_target.pairs == 10 and of_target.verdict == offline.WORKS
    assert found.loc[OUTSIDE].unseen.isna().all()


def test_a_measure_is_judged_beside_the_ood_ratio_on_the_pairs_that_have_it(with_a_further_task, monkeypatch):
    """Of ten pairs two have none of it. It tells degraded agents on each of eight; so does the OOD ratio there."""
    rows = with_a_further_task.reset_index(drop=True)
    is_lacking = (rows.pair_seed == 4) & (rows.task != 'v')
    rows.loc[is_lacking, 'promise_ratio'] = np.nan
    rows.loc[is_lacking & (rows.agent == 'passive'), RIVAL] = 0.5  # the OOD ratio fails on the two others
    monkeypatch.setattr(offline, 'FEWEST_PAIRS', 4)
    monkeypatch.setattr(offline, 'of_measured_runs', lambda frames: rows)
    monkeypatch.setattr(offline.reference, 'random_score', random)
    found = offline.table(None).set_index(['target', 'measure'])
    measure, rival = found.loc[(DEGRADED, 'promise_ratio')], found.loc[(DEGRADED, RIVAL)]
    assert (measure.pairs, rival.pairs) == (8, 10)
    assert measure.AUROC == 1 > rival.AUROC and measure.verdict == offline.WORKS  # it does not beat the OOD ratio


def test_a_measure_that_too_few_pairs_of_a_task_have_is_judged_on_the_others(with_a_further_task, monkeypatch):
    of_third = with_a_further_task[with_a_further_task.task == 'v']
    copies = [of_third.assign(pair_seed=seed, run_id=of_third.run_id + f'-{seed}') for seed in range(1, 5)]
    rows = pd.concat([with_a_further_task, *copies], ignore_index=True)
    rows.loc[(rows.task == 'v') & (rows.pair_seed == 4), 'promise_ratio'] = np.nan
    monkeypatch.setattr(offline, 'of_measured_runs', lambda frames: rows)
    monkeypatch.setattr(offline.reference, 'random_score', random)
    found = offline.table(None).set_index(['target', 'measure'])
    measure, rival = found.loc[(DEGRADED, 'promise_ratio')], found.loc[(DEGRADED, RIVAL)]
    assert (measure.pairs, measure.tasks, measure.verdict) == (10, 2, offline.WORKS)
    assert measure[['AUROC', 'all moments', 'further tasks']].tolist() == [1, 1, 0]
    assert rival['moments low'] <= rival['all moments'] <= rival['moments high']
    assert (rival.pairs, rival.tasks) == (15, 3)


def test_a_further_task_has_a_mark_of_its_own(with_a_further_task):
    axes = Figure().subplots()
    forest._draw_target(axes, offline.moments(with_a_further_task, random), DEGRADED)
    marks = {line.get_marker(): [*line.get_xdata()] for line in axes.lines if [*line.get_ydata()][:1] == [0]}
    assert (marks['|'], marks['o'], marks['x']) == ([1, 1], [1], [0])


def judged(value, low, by_task):
    return Judged(value, low, 1.0, by_task, np.full(3, value))


@pytest.mark.parametrize(
    ('end', 'against', 'pairs', 'tasks', 'word'),
    [
        (judged(0.9, 0.6, {'t': 0.8, 'u': 1.0}), np.full(3, -0.1), 5, 2, offline.WORKS),
        (judged(0.9, 0.6, {'t': 0.8, 'u': 1.0}), np.full(3, 0.1), 5, 2, offline.BEATS),
        (judged(0.9, 0.6, {'t': 0.79, 'u': 1.0}), np.full(3, 0.1), 5, 2, offline.FAILS),
        (judged(0.9, 0.5, {'t': 0.9, 'u': 0.9}), np.full(3, 0.1), 5, 2, offline.FAILS),
        (judged(0.9, 0.6, {'t': 0.9, 'u': np.nan}), np.full(3, 0.1), 5, 2, offline.FAILS),
        (judged(0.9, 0.6, {'t': 0.9, 'u': 0.8, 'v': np.nan}), np.full(3, 0.1), 5, 3, offline.BEATS),
        (judged(0.9, 0.6, {'t': 0.9, 'u': 0.9}), np.full(3, 0.1), 4, 2, offline.TOO_FEW),
        (judged(0.9, 0.6, {'t': 0.9}), np.full(3, 0.1), 9, 1, offline.TOO_FEW),
    ],
)
def test_verdicts(end, against, pairs, tasks, word):
    assert offline.verdict(end, against, pairs, tasks) == word


def test_the_rank_correlation_is_within_tasks():
    first = pd.DataFrame({'task': 't', 'promise_ratio': [1, 2, 3], 'gain': [3, 2, 1]})
    second = first.assign(task='u', promise_ratio=first.promise_ratio + 100, gain=first.gain + 100)
    assert offline.rank_correlation(pd.concat([first, second]), 'promise_ratio') == pytest.approx(-1)
