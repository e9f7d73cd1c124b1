"""The rule of the verdict, on known runs whose answers are known."""

import dataclasses
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from paper_lib.study import coverage, diagnosis, diagnosis_panels, diagnosis_report, drawing, offline, scales
from paper_lib.study.diagnosis import CANNOT_TELL, DEGRADES, HOLDS, MEASURES, Verdict
from paper_lib.study.offline import DEGRADED, DIRECTIONS

SAYS = 'density_ess'  # of which degraded agents should have less


def known(pairs=(5, 5), **columns):
    """Known runs at their end: in every pair a degraded agent and another one.

    SAYS tells them rightly: it is turned, -1 and -2. All other measures are the same for all; `columns` replaces them.
    """
    rows = []
    for task, count in enumerate(pairs):
        for seed in range(count):
            for degraded in (0, 1):
                rows.append({'task': f't{task}', 'pair_seed': seed, DEGRADED: float(degraded)})
    frame = pd.DataFrame(rows).assign(env_step=1000, is_last=True, agent='passive', **dict.fromkeys(MEASURES, 1.0))
    frame[SAYS] = frame[DEGRADED] - 2
    return frame.assign(**{name: make(frame) for name, make in columns.items()})


def agents(*values):
    return [dict.fromkeys(MEASURES, 0.0) | {SAYS: value} for value in values]


@pytest.mark.parametrize(('values', 'verdict'), [((0.5, 1.2), DEGRADES), ((1.8, 2.5), HOLDS), ((1, 2), CANNOT_TELL)])
def test_a_verdict_needs_all_agents_on_one_side_of_the_threshold(values, verdict):
    rule = diagnosis.learn(known())
    assert rule.measure == SAYS and rule.shown_threshold == 1.5
    assert (rule.auroc, rule.left_out, rule.missed, rule.false_alarms, rule.doubts) == (1, 1, 0, 0, ())
    assert (rule.missed_offline, rule.false_alarms_offline) == (0, 0)
    found = diagnosis.decide(rule, agents(*values))
    assert found.verdict == verdict
    assert ('disagree' in found.reasons[0]) == (verdict == CANNOT_TELL)


@pytest.mark.parametrize('pairs', [(5, 4), (4, 9), (20,)])
def test_no_verdict_with_fewer_than_five_pairs_on_two_tasks(pairs):
    found = diagnosis.decide(diagnosis.learn(known(pairs)), agents(0.5))
    assert found.verdict == CANNOT_TELL
    assert f'{pairs[0]} pairs of t0' in found.reasons[0] and '5 pairs of each of 2 tasks' in found.reasons[0]


def test_a_task_with_four_pairs_does_not_count():
    """SAYS is turned round on it."""
    turned = {SAYS: lambda rows: np.where(rows.task == 't2', -rows[DEGRADED], rows[DEGRADED])}
    rule = diagnosis.learn(known((5, 5, 4), **turned))
    assert rule.working == (SAYS,) and rule.left_out == 1 and set(rule.pairs) == {'t0', 't1'}
    assert diagnosis.learn(known((5, 5, 5), **turned)).working == ()


def test_no_verdict_if_no_measure_works_on_every_task():
    """SAYS is turned round on the second task, so that it says nothing of a task that it has not seen."""
    rule = diagnosis.learn(known(**{SAYS: lambda rows: np.where(rows.task == 't0', rows[DEGRADED], -rows[DEGRADED])}))
    assert rule.working == () and rule.left_out < offline.GOOD
    found = diagnosis.decide(rule, agents(0.5))
    assert found.verdict == CANNOT_TELL and len(found.reasons) == 2


def test_the_measure_that_is_asked_is_the_best_that_works_and_the_first_of_several():
    best = known(promise_ratio=lambda rows: rows[DEGRADED], round_trip_15=lambda rows: rows[DEGRADED])
    assert diagnosis.learn(best).measure == 'promise_ratio'
    noise = np.random.default_rng(0).normal(size=20)
    worse = known(promise_ratio=lambda rows: rows[DEGRADED] + noise)
    assert diagnosis.learn(worse).measure == SAYS


def test_a_measure_is_chosen_without_the_task_that_it_is_judged_on():
    by_task = {'a': {'t0': 1.0, 't1': 0.2, 't2': 0.9}, 'b': {'t0': 0.4, 't1': 0.9, 't2': 0.6}}
    # Without t0 b is best (0.75 against 0.55), without t1 a (0.95), without t2 b (0.65 against 0.6).
    assert diagnosis.chosen_elsewhere(by_task) == pytest.approx((0.4 + 0.2 + 0.6) / 3)
    assert math.isnan(diagnosis.chosen_elsewhere({'a': {'t0': 1.0}}))


def test_errors_are_those_of_a_task_that_the_threshold_was_not_fitted_to():
    """The threshold of t0 is 0.5 and that of t1 10.5: each misses or accuses all of one kind on the other task."""
    rule = diagnosis.learn(known(**{SAYS: lambda rows: rows[DEGRADED] + 10 * (rows.task == 't1')}))
    assert (rule.missed, rule.false_alarms) == (0.5, 0.5)
    assert (rule.missed_offline, rule.false_alarms_offline) == (0.5, 0.5)
    assert rule.auroc == 1  # within tasks it is perfect


def test_errors_among_offline_agents_are_of_the_measure_that_is_best_elsewhere():
    """Each measure tells the agents of one task rightly, and those of the other the wrong way round."""
    sign = {'t0': 1, 't1': -1}
    rows = known(promise_ratio=lambda rows: rows.task.map(sign) * rows[DEGRADED])
    rows['round_trip_15'] = -rows.promise_ratio
    by_task = {'promise_ratio': {'t0': 1.0, 't1': 0.0}, 'round_trip_15': {'t0': 0.0, 't1': 1.0}}
    assert diagnosis.among_offline(rows, by_task) == [offline.Told(0, 1)] * 2


def test_errors_among_offline_agents_leave_active_out():
    """Active is never degraded and easy to tell; of the offline agents the threshold calls all degraded."""
    rows = known()
    active = rows[rows[DEGRADED] == 0].assign(agent='active', **{SAYS: -9.0})
    rows[SAYS] = -1.0
    rule = diagnosis.learn(pd.concat([rows, active]))
    assert (rule.false_alarms, rule.false_alarms_offline, rule.missed_offline) == (0.5, 1, 0)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_no_verdict_without_a_finite_measure_or_without_known_runs_or_with_a_doubt(value):
    rule = diagnosis.learn(known())
    assert diagnosis.decide(rule, agents(0.5, value)).verdict == CANNOT_TELL
    assert diagnosis.decide(None, agents(0.5)).verdict == CANNOT_TELL
    found = diagnosis.decide(rule, agents(0.5), ('A doubt.',))
    assert (found.verdict, found.reasons) == (CANNOT_TELL, ('A doubt.',))


def test_the_archive_gives_a_rule():
    rows = diagnosis.known()
    rule = diagnosis.learn(rows)
    assert set(rule.pairs) == set(scales.TESTED) and rule.measure in MEASURES
    enough = min(rule.pairs.values()) >= offline.FEWEST_PAIRS
    assert enough or diagnosis.decide(rule, agents(0.0)).verdict == CANNOT_TELL


def test_the_end_of_a_run_is_the_mean_of_the_last_fifth_of_its_evaluations():
    metrics = pd.DataFrame({'env_step': np.arange(10), 'a': np.arange(10.0), 'b': [*[1.0] * 9, np.inf]})
    found = diagnosis.final(metrics, ('a', 'b', 'c'))
    assert found['a'] == 8.5 and found['b'] == 1 and math.isnan(found['c'])


@pytest.mark.parametrize(
    ('verdict', 'scores', 'words'),
    [
        (DEGRADES, (10, 50), 'was right'), (HOLDS, (10, 50), 'was wrong'), (HOLDS, (90, 95), 'was right'),
        (DEGRADES, (90, 95), 'was wrong'), (HOLDS, (10, 95), 'right for some'), (CANNOT_TELL, (10, 50), 'no verdict'),
    ],
)  # fmt: skip
def test_a_verdict_is_checked_by_scores(verdict, scores, words):
    """Random actions score 20 and the best episodes 100, so that an agent below 84 is degraded."""
    found = diagnosis.check(Verdict(verdict, 0, 2, ()), list(scores), 20, 100)
    assert words in found.outcome and found.degraded == sum(score < 84 for score in scores)
    assert 'nothing can be said' in diagnosis.check(Verdict(verdict, 0, 2, ()), list(scores), 100, 100).outcome
    cut = diagnosis.check(Verdict(verdict, 0, 2, ()), list(scores), 20, 100, cut_at=50).outcome
    assert 'cut after at most 50 steps' in cut and 'nothing can be said' in cut


@pytest.fixture
def cover():
    vector = np.random.default_rng(0).normal(size=(60, 2))
    return coverage.cover(vector, np.arange(60.0), np.arange(6) * 10)


@pytest.mark.parametrize(
    ('auc', 'explores', 'expert', 'order'),
    [
        (0.95, 0.4, 0.7, ['act', 'poor', 'mix']), (0.6, 0.0, 0.9, ['mix', 'poor', 'act']), (0.5, 0.5, 0.5, []),
        (math.nan, 0.0, 0.0, ['mix']), (0.6, None, None, ['act']),
    ],
)  # fmt: skip
def test_remedies_are_ranked_by_the_numbers_of_the_recording(auc, explores, expert, order, cover):
    cover = dataclasses.replace(cover, exploration_like=explores, expert_like=expert)
    values = [dict.fromkeys(MEASURES, 1.0) | {'density_auc': auc}]
    words = {'act': 'trained agent act', 'mix': 'mix of task and exploration', 'poor': 'poor episodes'}
    found = [next(key for key, text in words.items() if text in each.remedy)
             for each in diagnosis.remedies(cover, values)]  # fmt: skip
    assert found == order


def made(cover, **changes):
    values = [{'seed': seed, 'run_id': f'r{seed}'} | dict.fromkeys(MEASURES, 1.0 + seed) for seed in range(2)]
    values[1]['round_trip_50'] = math.nan
    rows = known(promise_ratio=lambda rows: rows[DEGRADED] + 1)
    rule = diagnosis.learn(rows)
    verdict = diagnosis.decide(rule, values)
    found = diagnosis_report.Diagnosis('mine', {}, [], [], cover, verdict, rule, rows, values, None)
    return dataclasses.replace(found, **changes)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take most of the time of a page."""
    monkeypatch.setattr(diagnosis_report.drawing, 'png', lambda figure: b'')


def test_both_figures_are_drawn(cover):
    rows = known()
    covered = diagnosis_panels.covered(dataclasses.replace(cover, by_return=(None, *cover.by_return[1:])))
    placed = diagnosis_panels.placed(rows, made(cover).agents)
    assert all(drawing.png(figure).startswith(b'\x89PNG') for figure in (covered, placed))
    shown = [axes for axes in placed.axes if axes.axison]
    titles = [axes.get_title('left').replace('\n', ' ') for axes in shown]
    assert titles == [offline.words(name) for name in MEASURES]


def test_the_page_and_the_json_say_the_same(cover, undrawn):
    found = made(cover)
    values = json.loads(json.dumps(diagnosis_report.plain(found), allow_nan=False))
    body = diagnosis_report.body(found)
    assert values['verdict']['verdict'] in body and all(reason in body for reason in values['verdict']['reasons'])
    assert all(each['reason'] in body and each['remedy'] in body for each in values['remedies'])
    assert values['agents'][1]['round_trip_50'] is None and 'not finite' in body
    assert values['agents'][0]['run_id'] in body and values['cover']['counts'] == list(cover.counts)
    rule = diagnosis.learn(known())
    body = diagnosis_report.body(dataclasses.replace(found, rule=rule))
    assert DIRECTIONS[rule.measure] == -1 and re.search(r'known runs</td><td[^>]*>1.5<', body)
    assert diagnosis_report.plain(dataclasses.replace(found, rule=rule))['rule']['threshold'] == 1.5


def test_without_an_environment_no_score_is_claimed(cover, undrawn):
    found = made(cover)
    assert diagnosis_report.plain(found)['check'] is None
    body = diagnosis_report.body(found)
    assert 'this page has no scores' in body and 'agents score' not in body
    checked = made(cover, check=diagnosis.check(found.verdict, [1.0, 2.0], 0.0, 10.0))
    assert 'agents score 1, 2' in diagnosis_report.body(checked)


def test_a_recording_with_errors_has_a_page_without_agents(cover, undrawn):
    found = made(cover, agents=[], verdict=Verdict(CANNOT_TELL, 0, 0, ('<errors>',)), rule=None, known=pd.DataFrame())
    body = diagnosis_report.body(found)
    assert '&lt;errors&gt;' in body and 'First repair' in body and 'Measures beside' not in body


def test_a_table_shows_measures_in_their_own_units():
    found = diagnosis.table(known(), agents(0.5)).set_index('measure')
    row = found.loc[offline.words(SAYS)]
    assert DIRECTIONS[SAYS] == -1 and row['known, degraded'].startswith('1 ') and row['these agents'] == '0.5'


def test_a_measure_that_a_task_lacks_is_no_measure_there():
    by_task = {'a': {'t': 0.6, 'u': 0.6}, 'b': {'t': 0.9, 'u': 0.9, 'v': 0.5}}
    assert diagnosis.chosen_elsewhere(by_task) == pytest.approx((0.9 + 0.9 + 0.5) / 3)
    by_task = {'a': {'t': 0.9, 'u': 0.9}, 'b': {'t': 0.6, 'u': 0.6, 'v': 0.5}}
    assert diagnosis.chosen_elsewhere(by_task) == pytest.approx(0.9)
