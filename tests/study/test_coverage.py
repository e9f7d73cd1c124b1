"""What a recording covers, on recordings whose numbers follow from how they are made."""

import numpy as np
import pytest

from paper_lib.study import coverage

LENGTH = 11  # rows of an episode


def line(starts, reward=None):
    """Episodes along a line: each begins at its start and moves by 1 a step. Rewards are one number an episode."""
    episodes = len(starts)
    vector = np.concatenate([start + np.arange(LENGTH) for start in starts])[:, None]
    rewards = np.repeat(np.arange(episodes) if reward is None else reward, LENGTH)
    firsts = np.arange(episodes) * LENGTH
    rewards[firsts] = 0
    return coverage.cover(vector, rewards, firsts)


def test_counts_and_returns():
    found = line([0, 0, 0], reward=[1, 2, 9])
    assert (found.transitions, found.episodes, found.lengths) == (30, 3, (10, 10, 10))
    assert found.returns == (10, 20, 90) and found.best == 90
    assert sum(found.counts) == 3 and found.counts[0] == found.counts[-1] == 1


@pytest.mark.parametrize('rewards', [[5e14], [1.0, 1.0 + 2e-15], [1e300, 1e300]])
def test_returns_that_hardly_differ_are_counted(rewards):
    found = line([0.0] * len(rewards), reward=rewards)
    assert sum(found.counts) == len(rewards) and found.edges[0] <= found.returns[0] <= found.edges[-1]


def test_a_distance_is_that_of_another_episode_in_steps():
    """Episodes that are 0.25 of a step apart; an episode that repeats another one has a distance of 0."""
    assert line([0, 0.25]).distance == pytest.approx(0.25, rel=1e-3)
    assert line([0, 0]).distance == pytest.approx(0, abs=1e-3)


def test_an_episode_far_from_all_others_is_alone():
    found = line([0, 0, 0, 1000])
    assert found.alone == pytest.approx(0.25)
    assert set(found.loneliest) <= set(range(3 * LENGTH, 4 * LENGTH))
    assert found.by_return[-1] > 100 > found.by_return[0]


def test_time_says_where_episodes_part():
    """Two episodes that begin at the same place and go in opposite directions."""
    vector = np.concatenate([np.arange(LENGTH), -np.arange(LENGTH)])[:, None]
    found = coverage.cover(vector, np.zeros(2 * LENGTH), np.array([0, LENGTH]))
    assert list(found.by_time) == sorted(found.by_time) and found.by_time[0] < 2 < 8 < found.by_time[-1]


def test_expert_like_and_exploration_like_steps():
    """Of ten episodes two have high returns; of the eight poor ones four are far from everything."""
    starts = [0, 0, 0, 0, 0, 0, 100, 200, 300, 400]
    found = line(starts, reward=[9, 10, 0, 1, 0, 1, 0, 1, 0, 1])
    assert found.expert_like == pytest.approx(0.2)
    assert found.exploration_like == pytest.approx(0.4)


def test_nothing_is_said_of_equal_returns_and_of_a_single_episode():
    assert line([0, 5], reward=[0, 0]).expert_like is None
    alone = line([0])
    assert (alone.distance, alone.far, alone.alone, alone.exploration_like) == (None,) * 4
    assert alone.loneliest == () and set(alone.by_time) == {None}
    still = coverage.cover(np.ones((2 * LENGTH, 1)), np.arange(2 * LENGTH), np.array([0, LENGTH]))
    assert still.distance is None and still.expert_like is not None and still.exploration_like is None


def test_what_is_not_finite_or_never_changes_does_not_spoil_the_rest():
    vector = np.stack([np.tile(np.arange(LENGTH), 2), np.ones(2 * LENGTH)], 1)
    vector[3] = np.nan
    found = coverage.cover(vector, np.full(2 * LENGTH, np.nan), np.array([0, LENGTH]))
    assert np.isfinite([found.distance, *found.returns]).all()
