import itertools

import numpy as np
import pandas as pd
import pytest

from paper_lib.study import stats


def flips(test, **groups):
    """A p by hand: the share of all ways to flip the signs of weighted differences for which `test` holds."""
    x = np.concatenate([np.array(own) / len(own) for own in groups.values()])
    sums = [float(np.dot(signs, x)) for signs in itertools.product([1, -1], repeat=len(x))]
    return np.mean([test(found, sums[0]) for found in sums])


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
    found = stats.stratified({})
    assert found.n == 0
    assert np.isnan(found.value)


def test_final_is_the_mean_of_the_last_fifth():
    frame = metrics('active', 0, np.arange(20.0))
    assert stats.final(frame.sample(frac=1, random_state=0), 'score').score.tolist() == [17.5]
    assert stats.final(metrics('active', 0, np.arange(24.0)), 'score').score.tolist() == [21.5]  # 4 of 24


def test_the_area_under_a_curve_is_the_mean_of_all_its_evaluations():
    assert stats.final(metrics('active', 0, [1.0, 2.0, 6.0]), 'score', share=1.0).score.tolist() == [3]


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
        'score': [300.0, 500.0, 100.0, 6.0, 5.0], 'wm_loss': [1.0, 3.0, 8.0, 5.0, 10.0], 'pair_seed': 0,
    })  # fmt: skip
    found = stats.normalised(finals, {'a': 100.0, 'b': 4.0}.get)
    assert found.score.tolist() == pytest.approx([2 / 3, 4 / 3, 0, 1, 0.5])
    assert found.wm_loss.tolist() == pytest.approx([0.5, 1.5, 4, 1, 2])


def test_what_active_has_not_learned_has_no_normalised_score():
    finals = pd.DataFrame({'task': ['a', 'a', 'b', 'c'], 'agent': ['active', 'passive', 'active', 'passive'],
                           'score': [5.0, 9.0, 6.0, 1.0], 'pair_seed': 0})  # fmt: skip
    assert stats.normalised(finals, lambda task: 5.0).score.isna().tolist() == [True, True, False, True]
    assert stats.unlearned(finals, lambda task: 5.0) == ['a', 'c']
    assert stats.unlearned(finals.assign(score=np.nan), lambda task: 5.0) == ['c']  # a NaN is shown, not left out


def test_units_are_those_of_active_agents_that_passive_learned_from():
    """On task a the second Active agent has no Passive; on task b no Active agent has one."""
    finals = pd.DataFrame({
        'task': ['a', 'a', 'a', 'a', 'b', 'b'], 'pair_seed': [0, 1, 0, 1, 0, 1],
        'agent': ['active', 'active', 'passive', 'tandem', 'active', 'active'], 'score': [2.0, 9.0, 1.0, 5.0, 3.0, 5.0],
    })  # fmt: skip
    assert stats.of_active(finals, 'score').to_dict() == {'a': 2.0, 'b': 4.0}


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
    assert stats.interval(x) == (sorted(means)[0], sorted(means)[26])  # 1 of 27 is 3.7 %


def test_stratified_leaves_the_difference_between_tasks_out():
    apart = {'a': np.zeros(4), 'b': np.full(4, 10.0)}
    assert stats.stratified(apart)[:3] == (5, 5, 5)
    assert stats.stratified({'both': [0] * 4 + [10] * 4}).low < 3


def test_stratified_is_the_iqm_of_all_values():
    assert stats.stratified({'a': [100, 1, 2, 3], 'b': [-50, 4, 5, 6]})[0::3] == (3.5, 8)


def test_a_task_without_values_changes_nothing():
    x = [1.0, 2.0, 5.0, 9.0]
    assert stats.stratified({'a': x, 'b': []}) == stats.stratified({'a': x})


def test_a_task_with_one_value_or_two_is_not_certain():
    single = {'a': [0.0], 'b': [10.0], 'c': [2.0]}
    assert stats.stratified(single) == stats.stratified({'all': [0.0, 10.0, 2.0]})
    few = {'a': [0.0, 1.0], 'b': [10.0, 11.0, 12.0]}
    assert stats.stratified(few) == stats.stratified({'all': [0.0, 1.0, 10.0, 11.0, 12.0]})
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


@pytest.mark.parametrize('pairs', [1, 2, 5, 10])
def test_unanimous_pairs_have_the_smallest_p(pairs):
    test = stats.sign_flips({'a': 1 + np.arange(pairs) / 100})
    assert test.p() == 2 / 2**pairs
    assert (test.p_above(0), test.p_below(0)) == (1 / 2**pairs, 1)
    assert stats.sign_flips({'a': -np.ones(pairs)}).p() == 2 / 2**pairs


def test_pairs_that_cancel_say_nothing():
    assert stats.sign_flips({'a': [1.0, -1.0]}).p() == 1
    assert stats.sign_flips({'a': [0.0, 0.0, 0.0]}).p() == 1


def test_p_by_hand():
    # Sums of 3, 2 and -1 with all signs: +-6, +-4, +-2, 0, 0; as far from 0 as 4 are 4 of 8, as high as 4 are 2.
    test = stats.sign_flips({'a': [3.0, 2.0, -1.0]})
    assert (test.p(), test.p_above(0), test.p_below(0)) == (4 / 8, 2 / 8, 7 / 8)


@pytest.mark.parametrize('at', [-0.3, 0.0, 0.1, 0.5, 0.9])
def test_tasks_weigh_alike_and_any_mean_can_be_tested(at):
    groups = {'a': [0.5, -0.2, 0.3], 'b': [1.0, 0.1]}
    test = stats.sign_flips(groups)
    moved = {task: np.array(own) - at for task, own in groups.items()}
    assert test.mean == pytest.approx((0.2 + 0.55) / 2)
    assert test.p(at) == flips(lambda x, found: abs(x) >= abs(found) - 1e-9, **moved)
    assert test.p_above(at) == flips(lambda x, found: x >= found - 1e-9, **moved)
    assert test.p_below(at) == flips(lambda x, found: x <= found + 1e-9, **moved)


def test_many_pairs_are_flipped_by_chance_and_the_observed_one_counts():
    few, many = (stats.sign_flips({'a': np.ones(n)}) for n in (stats.FLIPPED, stats.FLIPPED + 10))
    assert few.p() == 2 / 2**stats.FLIPPED
    assert many.p() == 1 / (1 + stats.FLIPS)
    x = np.random.default_rng(0).normal(0.3, 1, stats.FLIPPED)
    by_chance = stats.sign_flips({'a': np.append(x, [0.0])})  # which changes nothing but the number of pairs
    assert by_chance.p(0) == pytest.approx(stats.sign_flips({'a': x}).p(0), abs=0.01)


def test_the_interval_is_what_the_test_does_not_refuse():
    values = {'a': [0.1, 0.5, -0.2, 0.4], 'b': [1.0, 0.3, 0.2, 0.7]}
    test = stats.sign_flips(values)
    low, high = test.interval()
    assert test.p(low - 1e-6) <= 0.05 < test.p(low + 1e-6)
    assert test.p(high + 1e-6) <= 0.05 < test.p(high - 1e-6)
    found = stats.mean_of_tasks(values)
    assert found == (test.mean, low, high, 8)


def test_a_mean_is_in_the_interval_if_and_only_if_its_p_says_so():
    """Also at the ends of the interval, which rounding moves."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        differences = rng.integers(-3, 10, size=8) / 10  # many sums of these are equal but for rounding
        test = stats.sign_flips({'a': differences[:3], 'b': differences[3:]})
        low, high = test.interval()
        for at in (low, high, 0.0):
            assert (test.p(at) > 1 - stats.LEVEL) == (low <= at <= high)


def test_five_pairs_have_no_interval_and_six_have_the_range_of_their_values():
    # Of 2 ** 4 ways none is rarer than 1 in 20; of 2 ** 5 the observed one alone is.
    assert np.isnan(stats.mean_of_tasks({'a': [1.0, 2, 3, 4, 5]})[1:3]).all()
    assert stats.mean_of_tasks({'a': [1.0, 2, 3, 4, 5, 6]})[1:3] == pytest.approx((1, 6))


def test_a_mean_of_what_is_not_finite_is_not_finite():
    found = stats.mean_of_tasks({'a': [1.0, np.nan], 'b': [2.0]})
    assert np.isnan(found[:3]).all() and found.n == 3
    assert stats.mean_of_tasks({}).n == 0


def _coverage(draw, truth, studies=400):
    found = [stats.mean_of_tasks(draw()) for _ in range(studies)]
    return np.mean([each.low <= truth <= each.high for each in found])


def test_coverage_of_the_interval():
    """How often the 95 % interval holds the truth: 95 % of normal differences, always where tasks lie apart, 94 % where
    three pairs in ten fail, but 86 % where only three in twenty do: then many studies see next to no failure."""
    rng = np.random.default_rng(0)

    def failing(share):
        return {task: -0.8 * (rng.random(6) < share) + 0.1 * rng.normal(size=6) for task in 'ab'}

    assert _coverage(lambda: {task: rng.normal(size=4) for task in 'abc'}, 0) == pytest.approx(0.95, abs=0.03)
    apart = {'a': -1, 'b': 0, 'c': 1}
    assert _coverage(lambda: {task: mean + 0.3 * rng.normal(size=4) for task, mean in apart.items()}, 0) > 0.99
    assert _coverage(lambda: failing(0.3), -0.24) == pytest.approx(0.94, abs=0.03)
    assert _coverage(lambda: failing(0.15), -0.12) == pytest.approx(0.86, abs=0.05)


def test_p_of_a_range_by_hand():
    ten = stats.sign_flips({'a': np.full(10, 0.05)})
    assert stats.p_of_range(ten, above=0.0) == stats.p_of_range(ten, below=0.0) == ten.p() == 2 / 1024
    assert stats.p_of_range(ten, -0.1, 0.1) == 2 / 1024  # above -0.1 and below 0.1
    assert stats.p_of_range(ten, -0.1, 0.02) == 2 / 1024  # above 0.02
    assert stats.p_of_range(stats.sign_flips({'a': [0.3, -0.3] * 5}), -0.1, 0.1) > 0.4


def test_a_p_of_a_range_below_a_twentieth_is_an_interval_on_one_side():
    rng = np.random.default_rng(0)
    for _ in range(100):
        values = {'a': rng.normal(rng.choice([0, 0.4, -0.4]), 0.15, 8)}
        found, test = stats.mean_of_tasks(values), stats.sign_flips(values)
        inside, outside = found.low > -0.1 and found.high < 0.1, found.high < -0.1 or found.low > 0.1
        assert (stats.p_of_range(test, -0.1, 0.1) <= 0.05) == (inside or outside)


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]).tolist() == [1, 1]
    found = stats.holm([0.01, np.nan, 0.2])  # what was announced counts, whether it has data or not
    assert found[[0, 2]].tolist() == pytest.approx([0.03, 0.4]) and np.isnan(found[1])
