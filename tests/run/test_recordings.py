"""Runs on a recording whose environment is not there: no step is taken, and the training is the same to the byte."""

import dataclasses

import numpy as np
import pytest
import smoke
import tiny

from paper_lib import envs
from paper_lib.contract import quantities
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data import datasets
from paper_lib.data.store import Store
from paper_lib.envs.suites import recording
from paper_lib.run import train

TASK = recording.name(vector=2, actions=1, discrete=False, limit=9)
MODEL = dataclasses.replace(tiny.MODEL, length=4)
VALUES = {
    'agent': 'passive', 'data': 'final', 'model': MODEL, 'budget': 32, 'eval_every': 8, 'eval_episodes': 2,
    'prefill': 20, 'chunk': 4, 'ratio': 0.5, 'measures': 1,
}  # fmt: skip
FILES = ('weights.npz', 'batches.bin', 'lengths.bin')


def steps(episodes=6, length=10):
    rng = np.random.default_rng(0)
    row = np.tile(np.arange(length), episodes)
    return {
        'vector': rng.normal(size=(len(row), 2)).astype(np.float32), 'reward': (row % 3).astype(np.float32),
        'action': rng.uniform(-1, 1, (len(row), 1)).astype(np.float32), 'is_first': row == 0,
        'is_last': row == length - 1, 'is_terminal': np.zeros(len(row), bool),
    }  # fmt: skip


def spec_of(store, task):
    return RunSpec(task, source=datasets.add(store.root, 'mine', task, steps()), **VALUES)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, quick):
    store = Store(tmp_path_factory.mktemp('runs'))
    spec = spec_of(store, TASK)
    train.train([spec], store)
    return store, spec


def test_a_run_without_an_environment_records_what_needs_none(trained):
    store, spec = trained
    metrics = store.metrics(spec)
    assert metrics.env_step.tolist() == [8, 16, 24, 32]
    measured = [name for name in metrics if name in quantities.QUANTITIES and metrics[name].notna().all()]
    assert {'promise_ratio', 'density_auc', 'round_trip_15', 'edge_spread'} <= set(measured)
    assert not any(quantities.get(name).environment for name in measured)
    traces = store.traces(spec)
    assert traces['vector'].shape[:2] == (2, 10)  # two recorded episodes


def test_it_ends_with_the_weights_and_measures_of_the_run_that_is_evaluated_in_an_environment(trained, tmp_path):
    store, spec = trained
    other = Store(tmp_path)
    played = spec_of(other, tiny.task(tiny.Noise, limit=9, count=4))
    train.train([played], other)
    for name in FILES:
        assert (store.path(spec) / name).read_bytes() == (other.path(played) / name).read_bytes(), name
    ours, theirs = store.metrics(spec), other.metrics(played)
    assert theirs.score.notna().all()
    shared = [name for name in ours if name in theirs]
    assert 'promise_ratio' in shared and ours[shared].equals(theirs[shared])


@pytest.mark.parametrize('saves', [6, 8])
def test_it_resumes_to_the_same_bytes(saves, trained, tmp_path, monkeypatch):
    """Also from its last checkpoint, when only the final files are missing."""
    store, spec = trained
    other = Store(tmp_path)
    assert spec_of(other, TASK) == spec
    smoke.stop_after(saves, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train.train([spec], other, checkpoint_seconds=0)
    monkeypatch.undo()
    train.train([spec], other)
    for name in (*FILES, 'metrics.parquet', 'traces.npz'):
        assert (other.path(spec) / name).read_bytes() == (store.path(spec) / name).read_bytes(), name


@pytest.mark.parametrize(
    ('values', 'field'),
    [
        ({'data': 'own', 'source': None, 'agent': 'active'}, 'data'),
        ({'part': 'first'}, 'part'),
        ({'interact_every': 8, 'interact_steps': 4}, 'interact_every'),
    ],
)
def test_nothing_can_be_collected(values, field, trained):
    with pytest.raises(UserError, match=f'^{field}=.*no environment to step'):
        dataclasses.replace(trained[1], **values)


def test_no_step_can_be_taken():
    env = envs.make(TASK, 0)
    assert env.spaces == envs.Spaces((2,), None, 1)
    with pytest.raises(UserError, match='no environment to step'):
        env.step({'action': None, 'reset': True})


@pytest.mark.parametrize('wrong', ['recording:', 'recording:v0-a1-l9', 'recording:v2-a1', 'recording:v2-a1-l9-x'])
def test_an_id_says_the_spaces(wrong):
    with pytest.raises(UserError, match='must be like recording:v24-a6-l1000'):
        envs.make(wrong, 0)
