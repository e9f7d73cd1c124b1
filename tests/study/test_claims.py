import numpy as np
import pandas as pd
import pytest

from paper_lib.study import claims

ACTIVE = {'score': 200.0, 'wm_loss': 1.0, 'value_error': 0.0}
WORSE = {'score': 50.0, 'wm_loss': 3.0, 'value_error': 8.0}


def study(active, offline, pairs=5):
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


def test_normalised_score_takes_the_random_policy_off():
    table = claims.table(study(ACTIVE, WORSE, pairs=3), random=lambda task: 100.0)
    assert table.estimate[0] == pytest.approx((50.01 - 200) / 100)


def test_a_reference_no_better_than_random_leaves_the_score_undecided():
    table = claims.table(study(ACTIVE | {'score': 0.0}, WORSE))
    assert verdicts(table)['C1'] == 'undecided'
    assert verdicts(table)['C2'] == 'supported'


@pytest.mark.parametrize('pairs', [1, 2, 3, 4])
def test_fewer_than_five_pairs_decide_nothing(pairs):
    table = claims.table(study(ACTIVE, WORSE, pairs))
    assert set(table.verdict) == {'undecided'}
    assert set(table.n) == {pairs}


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
    ],
)
def test_verdict_is_where_the_interval_lies_of_the_range_that_is_claimed(interval, above, below, expected):
    assert claims.verdict(*interval, above, below) == expected


def test_columns(full):
    table = claims.table(full.metrics)
    assert list(table) == ['id', 'claim', 'statistic', 'estimate', 'low', 'high', 'n', 'verdict']
    assert table.id.tolist() == ['C1', 'C1', 'C2', 'C2', 'C3', 'C3']
    assert table.n.tolist() == [2] * 6
