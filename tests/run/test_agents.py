"""The defining property of every offline agent, in tiny runs on one Active run's data."""

import dataclasses

import numpy as np
import pytest
import smoke

from paper_lib import cli
from paper_lib.data.replay import FIRST
from paper_lib.data.store import Store
from paper_lib.run import train

COPIED = dataclasses.replace(smoke.TANDEM, world_model='copied')
FROZEN = dataclasses.replace(smoke.PASSIVE, world_model='frozen')
NEVER = dataclasses.replace(smoke.PASSIVE, interact_every=2000, interact_steps=400, interact_above=1e9)
FIXED = dataclasses.replace(smoke.PASSIVE, interact_every=1200, interact_steps=400)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    """Finished runs: an Active one, an exploring one, and a Passive one."""
    store = Store(tmp_path_factory.mktemp('runs'))
    for spec in (smoke.ACTIVE, smoke.EXPLORER, smoke.PASSIVE):
        train.train([spec], store)
    return store


def part(weights, name):
    return {key: value for key, value in weights.items() if key.startswith(f'{name}/')}


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize('source', [smoke.ACTIVE, smoke.EXPLORER], ids=['active', 'explorer'])
def test_a_copied_world_model_is_the_sources_at_every_update_and_the_behaviour_is_not(source, store):
    spec = dataclasses.replace(COPIED, source=source)
    train.train([spec], store)
    ours, theirs = store.weights(spec), store.weights(source)
    assert equal(part(ours, 'wm'), part(theirs, 'wm'))
    assert not any(np.array_equal(value, theirs[key]) for key, value in part(ours, 'task/actor').items() if value.any())
    losses = [store.metrics(each).train_model_loss for each in (spec, source)]  # means over all updates
    assert losses[0].equals(losses[1])


def test_a_frozen_world_model_is_the_sources_last_one_and_the_behaviour_is_trained_in_it(store):
    train.train([FROZEN], store)
    ours, theirs, passive = (store.weights(spec) for spec in (FROZEN, smoke.ACTIVE, smoke.PASSIVE))
    assert equal(part(ours, 'wm'), part(theirs, 'wm'))
    assert np.array_equal(store.batches(FROZEN), store.batches(smoke.PASSIVE))
    for other in (theirs, passive):
        assert not equal(part(ours, 'task'), part(other, 'task'))
    spread = store.metrics(FROZEN).train_entropy
    assert spread.notna().all() and spread.nunique() == len(spread)  # the actor moves


@pytest.mark.parametrize('name', ['first', 'second', 'mixed'])
def test_an_agent_of_a_part_never_sees_the_rest(name, store):
    spec = dataclasses.replace(smoke.PASSIVE, part=name)
    train.train([spec], store)
    starts = store.batches(spec).ravel()
    seen = np.zeros((spec.source.schedule.rows, 4), bool)
    for offset in range(spec.model.length):
        seen.reshape(-1)[starts + 4 * offset] = True
    border = spec.source.schedule.rows // 2
    if name == 'mixed':
        assert seen[:border].any() and seen[border:].any()
        assert 0.4 < seen.mean() <= 0.5
    else:
        kept, rest = (seen[:border], seen[border:])[:: 1 if name == 'first' else -1]
        assert not rest.any() and kept.mean() > 0.9


def test_a_fixed_schedule_adds_what_it_says_and_trains_on_it(store):
    theirs = [path.read_bytes() for path in sorted(store.path(smoke.ACTIVE).glob('replay/*.bin'))]
    train.train([FIXED], store)
    metrics = store.metrics(FIXED).set_index('env_step')
    # After 1200, 2400, 3600 and 4800 steps, evaluations first; none at the end, where nobody would learn from it.
    assert metrics.added.to_dict() == {2000: 400, 4000: 1200, 6000: 1600}
    rows, lengths = FIXED.source.schedule.rows, store.lengths(FIXED)
    assert sorted(set(lengths - rows)) == [0, 50, 100, 150, 200] and (np.diff(lengths) >= 0).all()
    starts = store.batches(FIXED) // 4
    assert ((starts < rows) | (starts + FIXED.model.length <= lengths[:, None])).all()
    share = (starts[lengths == rows + 200] >= rows).mean()
    assert abs(share - 195 / (195 + rows - 5)) < 0.05  # uniform over the windows of both: 4 standard deviations
    own = store.replay(FIXED)
    assert own.rows == 200 and (own.arrays['flags'][0] & FIRST).all() and not (own.arrays['flags'][50:] & FIRST).any()
    assert own.arrays['action'][0].any() and len(np.unique(own.arrays['action'][:, 0, 0])) > 150
    assert [path.read_bytes() for path in sorted(store.path(smoke.ACTIVE).glob('replay/*.bin'))] == theirs


def test_an_adaptive_agent_that_is_never_surprised_is_the_passive_one(store):
    train.train([NEVER], store)
    assert equal(store.weights(NEVER), store.weights(smoke.PASSIVE))
    frame = store.metrics(NEVER)
    assert (frame.added == 0).all() and frame.drop(columns='added').equals(store.metrics(smoke.PASSIVE))


def test_a_replay_that_was_never_written_is_neither_audited_nor_exported(store, tmp_path, capsys):
    train.train([NEVER], store)
    for command in (['audit'], ['export-dataset', str(tmp_path / 'out')]):
        command.insert(1, str(store.path(NEVER)))
        assert cli.main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith('holds no steps, because its run has never added any')
    assert not (tmp_path / 'out').exists()


def test_an_adaptive_agent_collects_after_evaluations_that_surprise_it(store):
    ratios = store.metrics(smoke.PASSIVE).ood_ratio.to_numpy()
    train.train([spec := dataclasses.replace(NEVER, interact_above=ratios[:2].max() * 0.999)], store)
    added = np.cumsum([0, *(400 * (ratio > spec.interact_above) for ratio in store.metrics(spec).ood_ratio[:2])])
    assert store.metrics(spec).added.tolist() == added.tolist() and added[-1] > 0
    first = int(np.argmax(ratios[:2] > spec.interact_above))
    assert np.array_equal(store.metrics(spec).ood_ratio[: first + 1], ratios[: first + 1])


@pytest.mark.parametrize('saves', [40, 90])
def test_an_interacting_run_that_was_stopped_ends_with_the_same_bytes(saves, store, tmp_path, monkeypatch):
    other = Store(tmp_path)
    (tmp_path / smoke.ACTIVE.run_id).symlink_to(store.path(smoke.ACTIVE))
    train.train([FIXED], store)

    smoke.stop_after(saves, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train.train([FIXED], other, checkpoint_seconds=0)
    monkeypatch.undo()
    train.train([FIXED], other)
    for name in ('metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'lengths.bin', 'replay/vector.bin'):
        assert (other.path(FIXED) / name).read_bytes() == (store.path(FIXED) / name).read_bytes(), name


def test_interacting_runs_are_never_lanes_of_one_program():
    """Each may add its own number of rows."""
    assert NEVER.signature != dataclasses.replace(NEVER, seed=7).signature
    assert smoke.PASSIVE.signature == dataclasses.replace(smoke.PASSIVE, seed=7).signature
