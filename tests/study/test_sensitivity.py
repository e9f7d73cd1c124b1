import numpy as np
import pandas as pd
import pytest

from paper_lib.study import claims, frames, sensitivity, stats


def metrics(scores: dict) -> pd.DataFrame:
    """Runs of one task, {(agent, pair seed): scores}."""
    rows = [{'run_id': f'{agent}{seed}', 'task': 'a', 'agent': agent, 'pair_seed': seed, 'seed': seed,
             'env_step': 1000 * (i + 1), 'score': float(score), 'wm_loss': 1.0, 'value_error': 0.0, 'added': 10.0 * i}
            for (agent, seed), values in scores.items() for i, score in enumerate(values)]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.mark.parametrize(('share', 'count'), [(0.05, 1), (0.1, 2), (0.2, 4), (0.3, 6), (1.0, 20), (0.001, 1)])
def test_a_run_is_cut_to_the_mean_of_its_last_evaluations(share, count):
    found = sensitivity.cut(metrics({('active', 0): range(20), ('active', 1): [*range(19), 100]}), share)
    last = np.arange(20)[-count:]
    assert found.set_index('run_id').score.to_dict() == pytest.approx(
        {'active0': last.mean(), 'active1': (last[:-1].sum() + 100) / count}
    )
    assert (found.env_step == 20_000).all()
    assert (found.added == 190).all()


def test_a_value_that_is_not_finite_is_not_dropped():
    found = sensitivity.cut(metrics({('active', 0): [1, 2, np.nan, 3]}), 1.0)
    assert found.score.isna().all()


def test_the_share_as_used_gives_the_final_values_of_all_other_tables():
    table = metrics({('active', 0): np.arange(40) ** 2, ('passive', 0): np.arange(30)})
    cut, whole = (
        stats.final(x, 'score').set_index('run_id').score for x in (sensitivity.cut(table, stats.LAST), table)
    )
    assert cut.to_dict() == whole.to_dict()


@pytest.fixture
def study():
    """Passive is behind at the end and ahead before; one pair is far from the others."""
    early = {('passive', seed): [20] * 17 + [5 - 4 * (seed == 0)] * 2 + [5] for seed in range(8)}
    table = metrics({('active', seed): [10] * 20 for seed in range(8)} | early)
    empty = {name: pd.DataFrame() for name in frames.TABLES if name != 'metrics'}
    return frames.Frames((), metrics=table, scale='smoke', **empty)


def test_rows_follow_share_and_summary(study):
    found = sensitivity.table(study, claims.zero)
    found = found[found.agent == 'Passive'].set_index(['final', 'summary'])
    assert found.estimate['last 10%', 'mean'] == pytest.approx(-(7 * 0.5 + 0.7) / 8)
    assert found.estimate['last 10%', 'interquartile mean'] == pytest.approx(-0.5)
    assert found.estimate['last 20%', 'mean'] == pytest.approx(-(7 * 0.125 + 0.325) / 8)
    assert found.estimate['last 40%', 'interquartile mean'] == pytest.approx(0.4375)
    assert found.verdict['last 10%', 'mean'] == 'supported'
    assert found.verdict['last 40%', 'mean'] == 'contradicted'
    assert found.index[found.choice == 'as used'].tolist() == [('last 20%', 'mean')]


def test_claims_change_with_the_share(study):
    at = {share: sensitivity.claims_at(study, share, claims.zero) for share in (0.05, 1.0)}
    assert [list(found.id) for found in at.values()] == [['C1'] * 2 + ['C2'] * 2 + ['C3'] * 2] * 2
    assert at[0.05].verdict[0] == 'supported'
    assert at[1.0].verdict[0] == 'contradicted'
    assert at[0.05].verdict[1] == 'no pairs'  # there is no Tandem
