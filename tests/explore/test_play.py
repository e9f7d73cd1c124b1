"""Weights that are shipped, and what an agent made of them does: the same as the run did, to the bit."""

import dataclasses
import types

import numpy as np
import pytest
import smoke

from paper_lib import envs
from paper_lib.contract.errors import RunError
from paper_lib.envs import placed
from paper_lib.explore import weights
from paper_lib.explore.play import Player
from paper_lib.run import evaluate, lanes

SPEC = smoke.ACTIVE


class Run:
    """What a finished run has to show, of an agent that has not learned anything."""

    def __init__(self):
        agent = lanes.networks_of(SPEC, envs.make(SPEC.task, 0).spaces)
        program = lanes.program(agent, 1)
        params, empty = program.initial_state([SPEC])['params'], types.SimpleNamespace(episodes=lambda rows: [])
        evaluation = evaluate.Evaluation(program, [SPEC], [empty])
        self.traces = evaluation(params, SPEC.schedule.steps // SPEC.schedule.evaluate_every, 0)[1][0]
        self.weights = {name: array[0] for name, array in lanes.flatten(params).items()}

    def require(self, spec):
        return types.SimpleNamespace(arrays={'weights.npz': self.weights | {'disag/x': np.zeros(1)}}.get)


@pytest.fixture(scope='module')
def store():
    return Run()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))


@pytest.fixture
def player(store):
    weights.export(SPEC, store, 'smoke')
    return Player(SPEC, weights.load(SPEC, 'smoke'))


def test_exported_weights_are_the_runs_own_and_equal_bytes_again(store):
    path = weights.export(SPEC, store, 'smoke')
    first, own = path.read_bytes(), store.weights
    loaded = weights.load(SPEC, 'smoke')
    assert {name.split('/')[0] for name in loaded} == {'wm', 'task', 'probe'}
    assert all((own[name] == array).all() and own[name].dtype == array.dtype for name, array in loaded.items())
    assert weights.export(SPEC, store, 'smoke').read_bytes() == first


def test_missing_weights_are_told_in_one_line():
    with pytest.raises(RunError, match='no weights at scale smoke; `paper-lib export --scale smoke` copies'):
        weights.load(SPEC, 'smoke')


def test_damaged_weights_and_those_of_another_run_are_refused(store):
    path = weights.export(SPEC, store, 'smoke')
    other = dataclasses.replace(SPEC, seed=1)
    weights.path(other, 'smoke').write_bytes(path.read_bytes())
    with pytest.raises(RunError, match='of another run than its name says'):
        weights.load(other, 'smoke')
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match='damaged'):
        weights.load(SPEC, 'smoke')


@pytest.mark.parametrize('seed', [0, 1])
def test_weights_are_of_three_agents_of_a_pair_of_every_task(seed):
    specs = weights.wanted('laptop', seed)
    assert {spec.agent for spec in specs} == {'active', 'passive', 'tandem'}
    assert len(specs) == 3 * len({spec.task for spec in specs})
    assert {(spec.source or spec).seed for spec in specs} == {seed}


def test_the_last_evaluation_is_played_again_to_the_bit(player, store):
    found, kept = player.episode(), store.traces
    valid = kept['valid'][0]
    for name in ('vector', 'reward', 'wm_loss', 'value', 'recon_loss'):
        np.testing.assert_array_equal(found[name], kept[name][0][valid], name)
    assert found['decoded'].shape == found['vector'].shape


def test_an_episode_after_a_walk_is_the_archived_one_again(player):
    before = player.episode()
    player.walk(0.1, 0.25)
    np.testing.assert_array_equal(player.episode()['vector'], before['vector'])


def test_a_walk_begins_where_it_is_told(player):
    found = player.walk(0.1, 0.25)
    np.testing.assert_allclose(found['vector'][0], [0.1, 0.25, 0, 0], atol=1e-7)
    assert np.linalg.norm(np.diff(found['vector'][:, :2], axis=0), axis=1).max() < 0.05
    assert len(found['wm_loss']) == 501


def test_imagination_begins_in_the_state_of_the_step_and_sees_nothing_more(player):
    found, beside = player.rollouts([placed.maze(SPEC, x, 0.25) for x in (0.1, -0.1)])
    np.testing.assert_allclose(beside['vector'][0], [-0.1, 0.25, 0, 0], atol=1e-7)
    imagined = player.imagine(found, 7, 9)
    several = player.imagine_from(found, [7, 20], 9, 2)
    np.testing.assert_allclose(several[:, :, 0], found['decoded'][[7, 20], None].repeat(2, 1), rtol=1e-4, atol=1e-5)
    assert imagined.shape == (8, 10, 4)
    np.testing.assert_allclose(imagined[:, 0], found['decoded'][7][None].repeat(8, 0), rtol=1e-4, atol=1e-5)
    assert len(np.unique(imagined[:, -1], axis=0)) == 8  # each draw is its own
    later = {name: np.concatenate([found[name][:8], found[name][8:] + 1]) for name in ('deter', 'stoch')}
    np.testing.assert_array_equal(player.imagine(later, 7, 9), imagined)
