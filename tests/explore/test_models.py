"""Agents of one recording in each other's models, from arrays of weights and a replay."""

import dataclasses

import numpy as np
import pytest
import smoke

from paper_lib import envs
from paper_lib.contract import quantities
from paper_lib.data.replay import Replay
from paper_lib.explore import models
from paper_lib.run import lanes

pytestmark = pytest.mark.usefixtures('quick')

SPEC = dataclasses.replace(smoke.ACTIVE, measures=1)
NAMES = quantities.recorded(quantities.ACROSS)
GAPS = NAMES[:2]


@pytest.fixture(scope='module')
def weights():
    """Those of two agents."""
    nets = lanes.networks_of(SPEC, envs.make(SPEC.task, 0).spaces)
    params = lanes.program(nets, 1).initial_state([SPEC])['params']
    arrays = {name: array[0] for name, array in lanes.flatten(params).items()}
    made = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        made.append({name: np.float32(array + 0.3 * rng.normal(size=array.shape)) for name, array in arrays.items()})
    return made


@pytest.fixture
def recording(tmp_path):
    """Makes a recording of one episode with this reward at every step."""

    def make(reward):
        like = {'vector': ((4,), 'float32'), 'action': ((2,), 'float32')}
        replay = Replay.create(tmp_path / f'{reward}', like, rows=30, envs=1)
        rng = np.random.default_rng(0)
        for row in range(30):
            step = {name: rng.normal(size=(1, *shape)) for name, (shape, _) in like.items()}
            flags = {'is_first': [row == 0], 'is_last': [row == 29], 'is_terminal': [False]}
            replay.write(row, step | flags | {'reward': [reward]})
        return replay

    return make


def test_values_are_the_agents_own_in_units_of_the_best_recorded_rate(weights, recording):
    first, second = models.measure([SPEC] * 2, weights, recording(1.0))
    assert list(first) == NAMES and first != second and 0 not in first.values()
    assert models.measure([SPEC] * 2, weights[::-1], recording(1.0)) == [second, first]
    twice = models.measure([SPEC] * 3, [weights[0], weights[0], weights[1]], recording(2.0))
    assert twice[0] == twice[1]  # one of two others is equal, and the unit is twice as large
    assert [twice[0][name] for name in GAPS] == pytest.approx([first[name] / 4 for name in GAPS])
    own = first['return_across_50'] + first['return_elsewhere']
    assert twice[0]['return_elsewhere'] == pytest.approx((own + first['return_elsewhere']) / 4)


def test_equal_agents_gain_nothing_in_their_own_model_and_nothing_is_said_without_a_reward(weights, recording):
    for values in models.measure([SPEC] * 2, [weights[0]] * 2, recording(1.0)):
        assert [values[name] for name in GAPS] == [0.0, 0.0] and values['return_elsewhere'] != 0
    for values in models.measure([SPEC] * 2, weights, recording(0.0)):
        assert np.isnan(list(values.values())).all()
