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
