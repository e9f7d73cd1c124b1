import re

import numpy as np
import pandas as pd
import pytest

from paper_lib.contract import agents
from paper_lib.study import claims, comparisons, power, scales, stats

ACTIVE = {'score': 200.0, 'wm_loss': 1.0, 'value_error': 0.0}
WORSE = {'score': 50.0, 'wm_loss': 3.0, 'value_error': 8.0}


def study(active, offline, pairs=8):
    rows = [{'run_id': f'{agent}{seed}', 'task': 'maze', 'agent': agent, 'pair_seed': seed, 'env_step': 0}
            | {key: value + 0.01 * seed * (agent != 'active') for key, value in values.items()}
            for agent, values in (('active', active), ('passive', offline), ('tandem', offline))
            for seed in range(pairs)]  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(table):
    return dict(zip(table.id, table.verdict, strict=True))


def test_what_the_paper_says_is_supported_by_what_it_would_look_like():
    assert set(verdicts(claims.table(study(ACTIVE, WORSE))).values()) == {'supported'}


def test_flipped_data_flip_the_verdicts():
    table = claims.table(study(WORSE, ACTIVE))
    assert verdicts(table) == dict.fromkeys(['C1', 'C2', 'C3'], 'contradicted')


def test_estimates_by_hand():
    table = claims.table(study(ACTIVE, WORSE, pairs=3)).set_index(['id', 'statistic']).estimate
    passive = {claim: table[claim].iloc[0] for claim in ('C1', 'C2', 'C3')}
    assert passive['C1'] == pytest.approx((50.01 - 200) / 200)
    assert passive['C2'] == pytest.approx(np.log([3.0, 3.01, 3.02]).mean())
    assert passive['C3'] == pytest.approx(8.01)


def test_a_catastrophic_pair_counts_in_full():
    """The mean holds it, the interquartile mean beside it does not."""
    metrics = study(ACTIVE, ACTIVE)
    metrics.loc[metrics.run_id == 'passive0', 'score'] = 0.0
    row = claims.table(metrics).iloc[0]
    assert row.estimate == pytest.approx((-1 + sum(range(1, 8)) * 0.01 / 200) / 8)
    assert row.iqm > 0 and row.iqm_low <= row.iqm <= row.iqm_high


def test_normalised_score_takes_the_random_policy_off():
    table = claims.table(study(ACTIVE, WORSE, pairs=3), random=lambda task: 100.0)
    assert table.estimate[0] == pytest.approx((50.01 - 200) / 100)


def test_a_reference_no_better_than_random_leaves_nothing_to_compare_scores_by():
    table = claims.table(study(ACTIVE | {'score': 0.0}, WORSE))
    assert verdicts(table)['C1'] == 'no pairs'
    assert verdicts(table)['C2'] == 'supported'


def test_an_active_agent_without_a_finite_score_leaves_its_row_undecided():
    metrics = study(ACTIVE, WORSE)
    metrics.loc[metrics.run_id == 'active3', 'score'] = np.nan
    row = claims.table(metrics).iloc[0]
    assert (row.id, row.pairs, row.verdict, row.words) == ('C1', 8, 'undecided', claims.NOT_FINITE)


def test_where_no_task_is_learned_losses_alone_decide():
    metrics = study(ACTIVE | {'score': 0.0, 'mc_return': 1.0}, WORSE | {'mc_return': 1.0})
    tables = claims.table(pd.concat([metrics, metrics.assign(task='other')]))
    found = {claim: set(own.verdict) for claim, own in tables.groupby('id')}
    assert found == {'C1': {'no pairs'}, 'C2': {'supported'}, 'C3': {'no pairs'}}


@pytest.mark.parametrize('pairs', [1, 3, 5])
def test_fewer_than_six_pairs_decide_nothing(pairs):
    table = claims.table(study(ACTIVE, WORSE, pairs))
    assert set(table.verdict) == {'undecided'}
    assert set(table.pairs) == {pairs}
    assert set(table.words) == {f'{pairs} {"pair is" if pairs == 1 else "pairs are"} too few for any verdict.'}


@pytest.mark.parametrize(
    ('interval', 'above', 'below', 'expected'),
    [
        ((0.1, 0.5), 0, np.inf, 'supported'),
        ((0.1, 0.5), -np.inf, 0, 'contradicted'),
        ((-0.5, -0.1), -np.inf, 0, 'supported'),
        ((-0.5, -0.1), 0, np.inf, 'contradicted'),
        ((-0.1, 0.5), 0, np.inf, 'undecided'),
        ((0.0, 0.5), 0, np.inf, 'undecided'),
        ((-0.05, 0.09), -0.1, 0.1, 'supported'),
        ((-0.05, 0.11), -0.1, 0.1, 'undecided'),
        ((-0.2, 0.2), -0.1, 0.1, 'undecided'),
        ((0.11, 0.2), -0.1, 0.1, 'contradicted'),
        ((-0.2, -0.11), -0.1, 0.1, 'contradicted'),
        ((np.nan, np.nan), 0, np.inf, 'undecided'),
        ((-np.inf, np.inf), 0, np.inf, 'undecided'),
    ],
)
def test_verdict_is_where_the_interval_lies_of_the_range_that_is_claimed(interval, above, below, expected):
    assert claims.verdict(*interval, above, below) == expected


def test_columns(full):
    table = claims.table(full.metrics)
    assert list(table) == claims.COLUMNS
    assert table.id.tolist() == ['C1'] * 4 + ['C2'] * 2 + ['C3'] * 2
    assert table.pairs.tolist() == [2] * 8
    assert set(table.row) == {'secondary'}


def test_every_claim_has_one_primary_row():
    found = claims.table(study(ACTIVE, WORSE), ids=ALL, primary=True)
    assert found[found.row == 'primary'].id.tolist() == list(ALL)
    assert found.adjusted_p.notna().tolist() == ((found.row == 'primary') & found.p.notna()).tolist()
    alone = claims.table(study(ACTIVE, WORSE), ids=ALL, primary=True, secondary=False)
    pd.testing.assert_frame_equal(alone, found[found.row == 'primary'].reset_index(drop=True))


def test_a_primary_row_is_judged_among_those_of_all_claims():
    """Eight pairs of one sign have p = 2 / 256: enough alone, too much among so many primary rows."""
    for pairs, expected in ((8, 'undecided'), (12, 'supported')):
        row = claims.table(study(ACTIVE, WORSE, pairs), ids=('C1',), primary=True).iloc[0]
        tests = power.tests()
        assert row.p == 2 / 2**pairs and row.adjusted_p == pytest.approx(min(1, tests * row.p))
        assert row.verdict == expected
    assert claims.table(study(ACTIVE, WORSE), ids=('C1',), primary=True).words[0].startswith('Alone this row would')


def test_what_took_part_in_the_choice_of_a_claim_can_be_left_out():
    metrics = study(ACTIVE, WORSE).assign(task='maze')
    metrics = pd.concat([metrics, metrics[metrics.agent == 'passive'].assign(agent='active_stopped')])
    metrics['pair_seed'] += claims.KNOWN_PAIR
    of_stopped = (metrics.agent == 'active_stopped') & (metrics.pair_seed == claims.KNOWN_PAIR)
    metrics.loc[of_stopped, 'score'] = 1000.0
    found = claims.table(metrics, ids=('P5',), primary=True)
    every, rest = found.iloc[0], found[found.statistic.str.endswith(f'(without pair {claims.KNOWN_PAIR})')].iloc[0]
    assert (every.pairs, rest.pairs) == (8, 7)
    assert rest.estimate == pytest.approx((50 + 0.01 * np.arange(1, 8).mean() - 200) / 200)


def test_the_main_tasks_have_a_row_of_their_own_once_there_are_others():
    main = study(ACTIVE, WORSE).assign(task=scales.MAIN[0])
    other = study(ACTIVE, ACTIVE, pairs=4).assign(task='other')
    on_main = f'({claims.ON_MAIN})'
    assert not claims.table(main, ids=('C1',)).statistic.str.endswith(on_main).any()
    found = claims.table(pd.concat([main, other]), ids=('C1',))
    passive, tandem = [row for row in found.itertuples() if row.statistic.endswith(on_main)]
    assert (found.pairs[0], passive.pairs, passive.tasks) == (12, 8, 1) and tandem.pairs == 8
    assert passive.estimate == pytest.approx(claims.table(main, ids=('C1',)).estimate[0])


def test_the_area_under_the_curve_is_a_row_of_its_own():
    metrics = runs({'passive': 1.0}, pairs=4, steps=10)
    metrics.loc[(metrics.agent == 'passive') & (metrics.env_step <= 5000) & (metrics.task == 'a'), 'score'] = 0.0
    final, area = (row for row in rows(metrics, 'C1', 'passive'))
    assert (final.estimate, area.estimate) == pytest.approx((0, -0.25))  # half of the run in one of two tasks


ALL = tuple(claims.TEXTS)


def runs(score, tasks=(('a', 0.0, 1.0), ('b', 100.0, 50.0)), pairs=3, steps=2, **other):
    """Metrics of agents with these normalised scores (a number or one per pair), and other columns by agent.

    Tasks differ in random score and scale; Active scores 1.
    """
    rows = [{'run_id': f'{task}_{agent}{seed}', 'task': task, 'agent': agent, 'pair_seed': seed,
             'env_step': 1000 * step, 'score': low + scale * np.broadcast_to(value, pairs)[seed],
             'mc_return': 2 * scale, 'value_error': 0.0, 'wm_loss': 1.0, 'added': np.nan}
            | {key: values[agent] for key, values in other.items() if agent in values}
            for task, low, scale in tasks for agent, value in ({'active': 1.0} | score).items()
            for seed in range(pairs) for step in range(1, steps + 1)]  # fmt: skip
    return pd.DataFrame(rows)


def rows(metrics, claim, *names):
    found = claims.table(metrics, {'a': 0.0, 'b': 100.0}.get, [claim])
    labels = {agents.get(name).label for name in names}
    return [own for own in found.itertuples() if labels <= set(re.split(': | against ', own.statistic))]


def test_scores_of_several_tasks_are_normalised_and_paired_by_task():
    row = rows(runs({'passive': 0.5}), 'C1', 'passive')[0]
    assert (row.estimate, row.low, row.high) == pytest.approx((-0.5, -0.5, -0.5))
    assert (row.pairs, row.tasks, row.verdict) == (6, 2, 'supported')


def test_value_errors_of_several_tasks_are_in_units_of_the_return():
    metrics = runs({'passive': 0.5}).assign(value_error=lambda x: x.mc_return * (x.agent == 'passive') / 2)
    (row,) = rows(metrics, 'C3', 'passive')
    assert row.estimate == pytest.approx(0.5)


def test_a_task_that_active_does_not_learn_counts_for_the_loss_alone():
    metrics = runs({'passive': 0.5}, tasks=(('a', 0.0, 1.0), ('b', 50.0, 50.0)), pairs=5, wm_loss={'passive': 2.0})
    score, loss = (rows(metrics, claim, 'passive')[0] for claim in ('C1', 'C2'))
    assert (score.tasks, score.pairs, loss.tasks, loss.pairs) == (1, 5, 2, 10)
    assert loss.estimate == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ('gain', 'passive', 'tandem'),
    [
        (-0.05, 'supported', 'supported'),
        (0.3, 'supported', 'contradicted'),
        (-0.3, 'contradicted', 'contradicted'),
        ([-0.2, 0.0, 0.2], 'undecided', 'undecided'),
    ],
)
def test_on_exploration_data_at_least_as_good_and_about_equal(gain, passive, tandem):
    scores = {'active_expl': 0.5, 'passive_expl': 0.5 + np.array(gain), 'tandem_expl': 0.5 + np.array(gain)}
    assert [row.verdict for row in rows(runs(scores), 'C5')] == [passive, tandem]


def test_expert_data_by_hand():
    metrics = runs({'passive_half': 0.75, 'passive_expert': 0.5}, wm_loss={'passive_half': 1.0, 'passive_expert': 4.0})
    assert [row.estimate for row in rows(metrics, 'C4')] == pytest.approx([0.25, -np.log(4)])
    assert [row.verdict for row in rows(metrics, 'C4')] == ['supported'] * 2


def weights(*scores):
    """One task, a row of scores per pair seed, columns w_expl 0, 0.1, 0.5, 0.9, 1."""
    index = pd.MultiIndex.from_product([['a'], range(len(scores))], names=['task', 'pair_seed'])
    return pd.DataFrame(scores, index, [0.0, 0.1, 0.5, 0.9, 1.0])


def test_a_lucky_weight_is_no_advantage():
    found = comparisons.best_inside(weights([5, 9, 1, 0, 0], [5, 1, 9, 0, 0]))
    assert found.tolist() == [-4, -4]  # the highest of each row would be 9 - 5 = 4


def test_the_best_weight_is_compared_with_the_better_end():
    assert comparisons.best_inside(weights([1, 2, 7, 0, 4], [0, 2, 8, 0, 5])).tolist() == [3, 3]
    assert comparisons.best_inside(weights([1, 2, 7, 0, 4])).empty
    assert comparisons.best_inside(weights([1, 2, np.nan, 0, 4], [0, 2, 8, 0, 5])).isna().all()


@pytest.mark.parametrize(('mixed', 'expected'), [(1.5, 'supported'), (0.5, 'contradicted')])
def test_weights_by_agent(mixed, expected):
    scores = {'active_mixed_10': 0.2, 'active_mixed': mixed, 'active_mixed_90': 0.0, 'active_expl': 0.8}
    active, passive = rows(runs(scores), 'C6')
    assert active.verdict == expected and active.estimate == pytest.approx(mixed - 1)
    best = 0.5 if mixed > 1 else 0
    assert active.statistic.endswith(f'; best: {best:g} in a, {best:g} in b')
    assert (passive.pairs, passive.verdict) == (0, 'no pairs')


def test_a_score_that_is_not_finite_leaves_weights_undecided():
    scores = {'active_mixed_10': 0.2, 'active_mixed': 1.5, 'active_mixed_90': 0.0, 'active_expl': 0.8}
    metrics = runs(scores)
    metrics.loc[(metrics.agent == 'active') & (metrics.task == 'a'), 'score'] = np.nan
    active, _ = rows(metrics, 'C6')
    assert active.verdict == 'undecided' and active.statistic.endswith('; best: 0.5 in b')


def test_own_data_recovers_active_and_costs_what_was_added_at_the_end():
    metrics = runs({'passive': 0.5, 'passive_10': 1.05, 'passive_auto': 1.1, 'passive_auto_200': 0.5}, steps=20)
    for agent, share in (('passive_10', 0.1), ('passive_auto', 0.05), ('passive_auto_200', 0.2)):
        metrics.loc[metrics.agent == agent, 'added'] = share * metrics.env_step
    assert [row.estimate for row in rows(metrics, 'C7')] == pytest.approx([0.05, 0.55])
    assert [row.verdict for row in rows(metrics, 'C7')] == ['supported'] * 2
    found = rows(metrics, 'C8')
    assert [row.estimate for row in found[:3]] == pytest.approx([0.05, -5, 0.6])
    assert [row.verdict for row in found[:3]] == ['supported'] * 3
    other = [row for row in found if row.statistic.startswith('Passive + auto 2.0')]
    assert [row.estimate for row in other] == pytest.approx([-0.55, 10])
    assert [row.verdict for row in other] == ['contradicted'] * 2


def test_what_was_added_is_read_at_the_last_evaluation():
    metrics = pd.DataFrame({'run_id': 'x', 'env_step': [2000, 1000], 'added': [100.0, 80.0]})
    assert claims.added(metrics).to_dict() == {'x': 5}


@pytest.mark.parametrize(('gap', 'expected'), [(0.05, 'supported'), (-0.2, 'contradicted')])
def test_initial_weights_make_no_difference(gap, expected):
    assert rows(runs({'passive': 0.5, 'passive_same': 0.5 + gap}), 'C9')[0].verdict == expected


def of_alpha(metrics):
    """The verdicts of C10: of all alphas together, of alpha 0 and of alpha 1e-6."""
    found = rows(metrics, 'C10')
    return [found[0], *(next(row for row in found if row.statistic.startswith(f'Tandem alpha {name}'))
                        for name in ('0', '1e-6'))]  # fmt: skip


def test_one_difference_at_alpha_0_contradicts_and_one_equality_above():
    zero, tiny = 'tandem_alpha_0', 'tandem_alpha_1e-6'
    metrics = runs({zero: 1.0, tiny: [0.5, 1.0, 1.25]})
    last = metrics.env_step == 2000
    metrics['score'] += 0.25 * ((metrics.agent == tiny) & last) * np.where(metrics.task == 'b', 50, 1)
    found = of_alpha(metrics)
    assert [row.verdict for row in found] == ['supported'] * 3
    assert found[1].estimate == 0 and np.isnan(found[1].p)
    assert found[2].estimate == pytest.approx(np.mean([0.625 - 0.25, 0.125, 0.375]))
    metrics.loc[metrics.run_id == f'a_{tiny}1', 'score'] = 1.0
    assert [row.verdict for row in of_alpha(metrics)] == ['contradicted', 'supported', 'contradicted']
    metrics.loc[metrics[metrics.agent == zero].index[0], 'score'] += 1e-9
    assert [row.verdict for row in of_alpha(metrics)] == ['contradicted'] * 3


def test_a_follower_that_leaves_active_at_alpha_0_contradicts_all_of_c10():
    metrics = runs({'tandem_alpha_0': 1.0 + 1e-9, 'tandem_alpha_1e-6': 1.25})
    assert [row.verdict for row in of_alpha(metrics)] == ['contradicted', 'contradicted', 'supported']


@pytest.mark.parametrize('agent', ['tandem_alpha_0', 'tandem_alpha_1e-6'])
def test_a_distance_that_is_not_finite_leaves_c10_undecided(agent):
    metrics = runs({'tandem_alpha_0': 1.0, 'tandem_alpha_1e-6': 1.25})
    metrics.loc[metrics[metrics.agent == agent].index[0], 'score'] = np.nan
    found = rows(metrics, 'C10')[0]
    assert (found.pairs, found.verdict) == (6, 'undecided')


def test_one_pair_decides_what_is_no_matter_of_intervals():
    found = of_alpha(runs({'tandem_alpha_0': 1.0, 'tandem_alpha_1e-6': 1.25}, (('a', 0.0, 1.0),), pairs=1))
    assert [(row.pairs, row.verdict) for row in found] == [(1, 'supported')] * 3


def test_the_same_world_model():
    found = rows(runs({'tandem_same_wm': 0.5, 'passive_frozen_wm': 1.5}), 'C11')
    assert [row.verdict for row in found] == ['supported', 'contradicted']


def test_rank_correlations_by_hand():
    finals = runs({'passive': 0.5, 'tandem': 0.25}, wm_loss={'passive': 2.0, 'tandem': 5.0}, pairs=1, steps=1)
    assert comparisons.correlations(finals).tolist() == pytest.approx([-1, -1])
    turned = finals.assign(wm_loss=finals.wm_loss.map({1.0: 1.0, 2.0: 5.0, 5.0: 2.0}))
    assert comparisons.correlations(turned).tolist() == pytest.approx([-0.5, -0.5])
    assert comparisons.correlations(finals.assign(wm_loss=1.0)).tolist() == [0, 0]
    assert comparisons.correlations(finals.assign(score=np.nan)).isna().all()
    assert comparisons.correlations(finals[finals.agent != 'tandem']).empty


def test_high_losses_without_harm_are_listed():
    scores = {'passive': 0.95, 'tandem': 0.5, 'passive_10': [2, 2, 0.5], 'passive_1': 1.0}
    losses = {'passive': 2.0, 'tandem': 2.0, 'passive_10': 2.0, 'passive_1': 0.5}
    row = rows(runs(scores, wm_loss=losses), 'C12')[1]
    assert row.statistic.endswith('; exceptions: Passive in a, Passive in b')
    few = runs(scores | {'passive_10': 2.0}, wm_loss=losses, pairs=2)
    assert rows(few, 'C12')[1].statistic.endswith('; exceptions: looked for from 3 pairs of a task on')
    row = rows(runs(scores | {'passive': 0.5}, wm_loss=losses), 'C12')[1]
    assert row.statistic.endswith('; exceptions: none')


def test_the_primary_correlation_is_over_active_passive_and_tandem():
    scores = {'passive': 0.5, 'tandem': 0.25, 'active_expl': 2.0}
    losses = {'passive': 2.0, 'tandem': 5.0, 'active_expl': 9.0}
    compared, every = rows(runs(scores, wm_loss=losses), 'C12')
    assert compared.estimate == pytest.approx(-1)
    assert every.estimate == pytest.approx(0.2)  # ranks of loss 1 2 3 4, of score 3 2 1 4


def test_a_shared_world_model_may_help_and_a_frozen_one_not():
    scores = {'passive': 0.5, 'tandem': 0.5, 'tandem_same_wm': 0.7, 'passive_frozen_wm': 0.4}
    found = rows(runs(scores), 'P1')
    assert [row.verdict for row in found] == ['supported'] * 3
    assert [row.estimate for row in found] == pytest.approx([0.2, 0.2, -0.1])


def test_predicted_and_collected_rewards_are_compared_where_they_are_recorded():
    metrics = runs({'passive': 0.5, 'tandem': 0.5})
    assert {row.verdict for row in rows(metrics, 'P4')} == {'no pairs'}
    metrics['reward_collected'] = np.where(metrics.task == 'b', 10.0, 1.0)
    metrics['reward_predicted'] = metrics.reward_collected * np.where(metrics.agent == 'active', 1.0, 1.5)
    found = rows(metrics, 'P4')
    assert [row.estimate for row in found] == pytest.approx([0.5, 0.5])  # in units of Active's reward
    assert {row.verdict for row in found} == {'supported'}


def test_an_agent_that_stops_collecting():
    found = rows(runs({'active_stopped': 0.6}, wm_loss={'active_stopped': 2.0}), 'P5')
    assert [row.estimate for row in found[:2]] == pytest.approx([-0.4, np.log(2)])


def test_freeway_alone_is_asked_about_freeway():
    tasks = (('freeway-vision', 0.0, 1.0), ('b', 0.0, 1.0))
    metrics = runs({'passive': 0.5}, tasks, pairs=6, wm_loss={'passive': 0.5})
    found = claims.table(metrics, claims.zero, ['P7'])
    assert found.pairs.tolist() == [6, 6] and found.verdict.tolist() == ['supported'] * 2
    assert claims.table(metrics[metrics.task == 'b'], claims.zero, ['P7']).verdict.tolist() == ['no pairs'] * 2


def test_tasks_that_active_solves_early():
    """Of the first half of training the last fifth counts."""
    metrics = runs({'passive': 1.0, 'passive_suboptimal': 1.0}, steps=10)
    late = (metrics.agent == 'active') & (metrics.task == 'b') & (metrics.env_step <= 5000)
    metrics.loc[late, 'score'] = 100 + 50 * 0.8
    assert comparisons.solved_early(claims.gather(metrics, {'a': 0.0, 'b': 100.0}.get)) == ['a']
    first = rows(metrics, 'P8')[0]
    assert (first.tasks, first.pairs) == (1, 3)


def test_ahead_at_first_and_behind_later():
    metrics = runs({'passive': 0.5}, steps=10)
    ahead = (metrics.agent == 'passive') & (metrics.env_step <= 5000)
    metrics.loc[ahead, 'score'] = np.where(metrics.task[ahead] == 'b', 100 + 50 * 1.2, 1.2)
    back, early = rows(metrics, 'P9')
    assert (back.estimate, early.estimate) == pytest.approx((0.7, 0.2))
    assert (back.verdict, early.verdict) == ('supported', 'supported')


def test_a_value_that_is_not_finite_leaves_a_row_undecided():
    metrics = runs({'passive': 0.5})
    metrics.loc[metrics.run_id == 'a_passive0', 'score'] = np.nan
    row = rows(metrics, 'C1', 'passive')[0]
    assert (row.verdict, row.words) == ('undecided', 'A value is not a finite number.') and np.isnan(row.estimate)


def test_nothing_run_yet_decides_nothing(chapters):
    found = claims.table(chapters['study'].metrics[:0], ids=ALL, primary=True)
    assert set(found.id) == set(ALL) and set(found.verdict) == {'no pairs'} and set(found.pairs) == {0}
    assert set(found.words) == {'No pair of these agents has run where claims are tested.'}


def test_one_pair_of_each_task_decides_nothing(chapters):
    found = claims.table(chapters['study'].metrics, ids=('C1', 'C7'))
    assert found.id.tolist() == ['C1'] * 4 + ['C7'] * 2
    assert set(found.pairs) == {3} and set(found.verdict) == {'undecided'}
    assert list(found) == claims.COLUMNS


def test_verdicts_where_there_is_no_effect():
    """Of 500 studies of 3 pairs in each of 3 tasks without an effect a row has a verdict in 5 %, as it promises."""
    rng = np.random.default_rng(0)
    tests = [stats.mean_of_tasks({task: rng.normal(size=3) for task in 'abc'}) for _ in range(500)]
    decided = np.mean([claims.verdict(found.low, found.high, below=0.0) != 'undecided' for found in tests])
    assert 0.02 < decided < 0.08


def test_five_pairs_are_too_few_and_six_are_not():
    assert claims.too_few(5) and not claims.too_few(6)
    assert claims.waits(claims.UNDECIDED, 5, 0.5) and not claims.waits(claims.UNDECIDED, 6, 0.5)
    assert not claims.waits(claims.UNDECIDED, 1, np.nan) and not claims.waits(claims.SUPPORTED, 1, 0.5)


def test_later_pairs_enter_no_row_of_active_passive_and_tandem_alone_and_set_no_unit():
    first = scales.LATER_PAIRS.start
    early = pd.concat(
        [study(ACTIVE, WORSE).assign(task=task, mc_return=5.0) for task in scales.MAIN], ignore_index=True
    )
    early = early.assign(run_id=early.run_id + early.task)
    late = early.assign(pair_seed=early.pair_seed + first, run_id=early.run_id + ' later', score=2 * early.score + 9)
    adds = late[late.agent == 'passive'].assign(agent='passive_10', run_id='adds' + late.run_id)
    ids = ('C1', 'C3', 'C7', 'C12', 'P9')
    table = claims.table(pd.concat([early, late, adds]), ids=ids)
    alone = table.id != 'C7'
    of_all = table.statistic.str.contains('all agents')
    assert table[of_all].pairs.tolist() == [32] and table[table.id == 'C7'].pairs.tolist() == [16, 16]
    before = claims.table(early, ids=ids)
    pd.testing.assert_frame_equal(table[alone & ~of_all], before[alone & ~of_all])
    assert set(before[before.id == 'C1'].pairs) == {16}
    assert set(claims.table(late.assign(pair_seed=late.pair_seed - first), ids=('C1',)).pairs) == {16}
