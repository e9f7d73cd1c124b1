import numpy as np
import pandas as pd
import pytest

from paper_lib.study import stats


def metrics(agent, pair_seed, scores, task='a'):
    return pd.DataFrame({'run_id': f'{task}_{agent}{pair_seed}', 'task': task, 'agent': agent, 'pair_seed': pair_seed,
                         'env_step': np.arange(len(scores)), 'score': scores})  # fmt: skip


def test_iqm_leaves_out_a_quarter_at_either_end():
    assert stats.iqm([100, 1, 2, 3, -50, 4, 5, 6]) == 3.5
    assert stats.iqm([1, 2, 9]) == 4  # a quarter of three rounds down to none


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_iqm_does_not_hide_what_is_not_finite(bad):
    assert np.isnan(stats.iqm([1, 2, 3, 4, bad]))


def test_interval_of_equal_values_has_no_width():
    assert stats.interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_interval_of_two_values_spans_them():
    # A quarter of the resamples is (1, 1) and a quarter (3, 3): both tails are wider than 2.5 %.
    assert stats.interval([1.0, 3.0]) == (1.0, 3.0)


def test_interval_has_the_tails_of_the_normal_distribution():
    x = np.random.default_rng(1).normal(size=400)
    low, high = stats.interval(x)
    assert (high - low) / (2 * 1.96 * x.std() / 20) == pytest.approx(1, abs=0.05)
    assert (high + low) / 2 == pytest.approx(x.mean(), abs=0.01)


def test_interval_is_seeded_and_needs_two_values():
    x = [1.0, 2.0, 5.0, 9.0]
    assert stats.interval(x) == stats.interval(x)
    assert np.isnan(stats.interval([1.0])).all()


def test_interval_works_along_the_last_axis():
    x = np.array([[1.0, 1.0], [5.0, 5.0]])
    np.testing.assert_array_equal(stats.interval(x), [[1, 5], [1, 5]])


def test_estimate_of_nothing():
    found = stats.estimate([])
    assert found.n == 0
    assert np.isnan(found.value)


def test_final_is_the_mean_of_the_last_tenth():
    frame = metrics('active', 0, np.arange(20.0))
    assert stats.final(frame.sample(frac=1, random_state=0), 'score').score.tolist() == [18.5]


def test_final_uses_at_least_one_evaluation():
    assert stats.final(metrics('active', 0, [1.0, 2.0, 7.0]), 'score').score.tolist() == [7]


def test_final_keeps_nan():
    assert np.isnan(stats.final(metrics('active', 0, [1.0] * 19 + [np.nan]), 'score').score[0])


def test_pairs_match_by_pair_seed_and_leave_out_the_unpaired():
    runs = [('active', 0, 10), ('active', 1, 20), ('passive', 1, 5), ('passive', 2, 7)]
    finals = stats.final(pd.concat([metrics(agent, seed, [score]) for agent, seed, score in runs]), 'score')
    pairs = stats.pairs(finals, 'passive', 'active', 'score')
    assert pairs.to_dict('list') == {'passive': [5], 'active': [20]}
    assert stats.difference(pairs).tolist() == [-15]
    assert stats.log_ratio(pairs) == pytest.approx([np.log(5 / 20)])


def test_log_ratio_of_what_is_not_positive_is_nan():
    assert np.isnan(stats.log_ratio(pd.DataFrame({'a': [0.0, -1.0, 2.0], 'b': [1.0, 1.0, 0.0]}))).all()


def test_random_scores_0_and_active_1_when_normalised():
    finals = pd.DataFrame({
        'task': ['a', 'a', 'a', 'b', 'b'], 'agent': ['active', 'active', 'passive', 'active', 'passive'],
        'score': [300.0, 500.0, 100.0, 6.0, 5.0], 'wm_loss': [1.0, 3.0, 8.0, 5.0, 10.0],
    })  # fmt: skip
    found = stats.normalised(finals, {'a': 100.0, 'b': 4.0}.get)
    assert found.score.tolist() == pytest.approx([2 / 3, 4 / 3, 0, 1, 0.5])
    assert found.wm_loss.tolist() == pytest.approx([0.5, 1.5, 4, 1, 2])


def test_what_active_has_not_learned_has_no_normalised_score():
    finals = pd.DataFrame({'task': ['a', 'a', 'b', 'c'], 'agent': ['active', 'passive', 'active', 'passive'],
                           'score': [5.0, 9.0, 6.0, 1.0]})  # fmt: skip
    assert stats.normalised(finals, lambda task: 5.0).score.isna().tolist() == [True, True, False, True]
    assert stats.unlearned(finals, lambda task: 5.0) == ['a', 'c']
    assert stats.unlearned(finals.assign(score=np.nan), lambda task: 5.0) == ['c']  # a NaN is shown, not left out


def test_metrics_are_normalised_by_final_values():
    found = stats.normalised(metrics('active', 0, [0.0] * 10 + [10.0] * 10), lambda task: 2.0).score
    assert (found.iloc[0], found.iloc[-1]) == (-0.25, 1)


def test_pairs_are_of_the_same_task():
    frames = [metrics('active', 0, [10], 'a'), metrics('active', 0, [20], 'b'), metrics('passive', 0, [5], 'b'),
              metrics('passive', 1, [7], 'a')]  # fmt: skip
    pairs = stats.pairs(stats.final(pd.concat(frames), 'score'), 'passive', 'active', 'score')
    assert pairs.to_dict('index') == {('b', 0): {'passive': 5, 'active': 20}}


def test_all_resamples_are_made_where_they_are_few():
    (pair,) = stats.resamples(2)
    assert pair.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    left, right = stats.resamples(1, 2)
    assert left.tolist() == [[0]] * 4 and right.tolist() == pair.tolist()
    assert len(set(map(bytes, np.hstack(stats.resamples(3, 3, 3))))) == 27**3
    assert [len(index) for index in stats.resamples(3, 6)] == [stats.RESAMPLES] * 2
    x = np.array([0.0, 1.0, 4.0])
    means = [x[[i, j, k]].mean() for i in range(3) for j in range(3) for k in range(3)]
    assert stats.interval(x) == (sorted(means)[0], sorted(means)[26]) == stats.interval(x, seed=1)  # 1 of 27 is 3.7 %


def test_stratified_leaves_the_difference_between_tasks_out():
    apart = {'a': np.zeros(4), 'b': np.full(4, 10.0)}
    assert stats.stratified(apart)[:3] == (5, 5, 5)
    assert stats.estimate([0] * 4 + [10] * 4).low < 3


def test_stratified_is_the_iqm_of_all_values():
    assert stats.stratified({'a': [100, 1, 2, 3], 'b': [-50, 4, 5, 6]})[0::3] == (3.5, 8)


def test_stratified_by_one_task_is_the_plain_estimate():
    x = [1.0, 2.0, 5.0, 9.0]
    assert stats.stratified({'a': x, 'b': []}) == stats.estimate(x)


def test_a_task_with_one_value_or_two_is_not_certain():
    single = {'a': [0.0], 'b': [10.0], 'c': [2.0]}
    assert stats.stratified(single) == stats.estimate([0.0, 10.0, 2.0])
    few = {'a': [0.0, 1.0], 'b': [10.0, 11.0, 12.0]}
    assert stats.stratified(few) == stats.estimate([0.0, 1.0, 10.0, 11.0, 12.0])
    assert np.isnan(stats.stratified({'a': [1.0]}).low) and stats.stratified({}).n == 0


def test_mean_curve_weighs_tasks_equally_and_resamples_within_them():
    runs = [('active', 'a', [[0, 10], [0, 10]]), ('active', 'b', [[1, 2]] * 2), ('passive', 'a', [[0, 0], [0, 10]] * 2),
            ('passive', 'b', [[2, 2]] * 4), ('tandem', 'a', [[5, 5]] * 2)]  # fmt: skip
    frame = pd.concat(metrics(agent, i, own, task) for agent, task, seeds in runs for i, own in enumerate(seeds))
    found = stats.mean_curve(frame, 'score', {'a': 0.0, 'b': 1.0}.get).set_index(['agent', 'env_step'])
    assert found.value.to_dict() == {('active', 0): 0, ('active', 1): 1, ('passive', 0): 0.5, ('passive', 1): 0.75,
                                     ('tandem', 0): 0.5, ('tandem', 1): 0.5}  # fmt: skip
    assert found.loc[('passive', 1), ['low', 'high']].tolist() == [0.5, 1]
    assert found.loc['tandem'].low.isna().all()
    assert found.tasks.groupby('agent').first().to_dict() == {'active': 2, 'passive': 2, 'tandem': 1}


def test_mean_curve_leaves_out_what_is_not_learned_and_steps_that_a_task_lacks():
    frame = pd.concat([metrics('active', 0, [1, 2, 3], 'a'), metrics('active', 0, [0, 4], 'b'),
                       metrics('active', 0, [0, 0], 'c')])  # fmt: skip
    found = stats.mean_curve(frame, 'score', lambda task: 0.0)
    assert found.env_step.tolist() == [0, 1]
    assert found.value.tolist() == pytest.approx([1 / 6, 5 / 6])
    assert set(found.tasks) == {2}
    assert list(stats.mean_curve(frame[:0], 'score', lambda task: 0.0)) == stats.MEAN
