"""Steps of an episode: which earn little, which surprise the world model, and what share is both."""

import numpy as np
import pandas as pd
import pytest

from paper_lib.study import claims, comparisons, steps

ORDINARY = np.arange(100) / 100  # losses 0 to 0.99, of which the 99th percentile is 0.98


def episode(agent, reward, wm_loss=ORDINARY, recon_loss=ORDINARY, task='t', pair_seed=0, number=0):
    keys = {'task': task, 'pair_seed': pair_seed, 'agent': agent, 'episode': number}
    return pd.DataFrame(keys | {'step': np.arange(100), 'reward': reward, 'wm_loss': wm_loss, 'recon_loss': recon_loss})


ACTIVE = episode('active', 1.0)


def test_unusual_is_above_the_99th_percentile_of_active():
    assert steps.unusual([0.98, 0.99, 5.0], ORDINARY).tolist() == [False, True, True]


def test_little_is_less_than_half_of_actives_reward_over_the_25_steps_around():
    """From step 50 on the agent earns nothing: the mean over 25 steps is below 0.5 from step 50 on, not before."""
    little = steps.beside(episode('passive', np.where(np.arange(100) < 50, 1.0, 0.0)), ACTIVE).little
    assert not little[:50].any() and little[50:].all()
    assert not steps.beside(episode('passive', 0.5), ACTIVE).little.any()
    assert steps.beside(episode('passive', 0.49), ACTIVE).little.all()


def test_failures_where_the_model_is_not_surprised():
    """Half of the steps earn nothing; at 10 of these, and at 20 of the others, the loss is unusual."""
    loss = np.where((np.arange(100) >= 90) | (np.arange(100) < 20), 5.0, 0.1)
    found = steps.beside(episode('passive', np.where(np.arange(100) < 50, 1.0, 0.0), loss), ACTIVE)
    assert steps.known_failures(found) == pytest.approx(40 / 50)


def test_errors_that_the_reconstruction_does_not_show():
    loss = np.where(np.arange(100) >= 60, 5.0, 0.1)
    recon = np.where(np.arange(100) >= 90, 5.0, 0.1)
    found = steps.beside(episode('passive', 1.0, loss, recon), ACTIVE)
    assert steps.unseen_errors(found) == pytest.approx(30 / 40)


def test_a_pair_without_such_steps_has_no_value_and_others_keep_to_their_own_active():
    high = episode('active', 10.0, pair_seed=1)
    traces = pd.concat([ACTIVE, episode('passive', 1.0), high, episode('passive', 1.0, pair_seed=1)])
    later = episode('passive', 0.0, wm_loss=np.full(100, 5.0), number=1)  # of the four episodes the first one counts
    values = steps.of_pairs(pd.concat([traces, later]), 'passive', steps.known_failures)
    assert values.to_dict() == {('t', 1): pytest.approx(0.99)}  # one loss of 100 is above the 99th percentile


def test_claims_about_steps_ask_for_most_of_them():
    rewards = {'active': 1.0, 'passive': 0.1}
    pairs = [episode(agent, reward, pair_seed=seed) for seed in range(6) for agent, reward in rewards.items()]
    run = {'run_id': 'a', 'task': 't', 'agent': 'active', 'pair_seed': 0, 'env_step': 0}
    metrics = pd.DataFrame([run | {'score': 1.0, 'wm_loss': 1.0, 'value_error': 0.0}])
    found = claims.table(metrics, ids=('P2', 'P3'), traces=pd.concat(pairs)).set_index('statistic')
    row = found.loc[f'Passive: {claims.KNOWN}']
    assert (row.verdict, row.pairs, row.estimate) == ('supported', 6, pytest.approx(0.99))
    assert found.loc[f'Tandem: {claims.KNOWN}'].verdict == 'no pairs'
    assert comparisons.of_steps('passive', steps.known_failures, '').above == 0.5
