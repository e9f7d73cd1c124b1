"""Runs that forget, runs that stop collecting, and runs that learn from a dataset, in tiny runs."""

import dataclasses

import numpy as np
import pytest
import smoke

from paper_lib import cli
from paper_lib.data import datasets
from paper_lib.data.audit import audit
from paper_lib.data.replay import FIRST
from paper_lib.data.steps import of_replay
from paper_lib.data.store import Store
from paper_lib.run import train

FORGETS = dataclasses.replace(smoke.ACTIVE, capacity=1600)  # 200 of 750 rows
STOPS = dataclasses.replace(smoke.ACTIVE, collect_until=2400)  # 300 of 750 rows


def follower(spec, source):
    return dataclasses.replace(spec, source=source)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp('runs'))
    for spec in (FORGETS, STOPS):
        train.train([spec], store)
    return store


def ages(store, spec):
    """How many rows before the newest one each window of each update begins, (updates, B)."""
    return store.lengths(spec)[:, None] - store.batches(spec) // 4


def test_a_run_with_a_capacity_draws_from_its_newest_rows_and_keeps_all(store):
    age = ages(store, FORGETS)
    assert store.replay(FORGETS).rows == FORGETS.schedule.rows == 750
    assert age.min() >= FORGETS.model.length and age.max() <= 200
    late = age[store.lengths(FORGETS) > 400]
    assert late.max() > 190 and late.min() < 15  # it draws from the whole window


@pytest.mark.parametrize('source', [FORGETS, STOPS], ids=['forgets', 'stops'])
def test_tandem_with_alpha_0_is_its_source_whatever_that_forgets_or_stops(source, store):
    control = follower(smoke.CONTROL, source)
    train.train([control], store)
    ours, theirs = store.weights(control), store.weights(source)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert store.metrics(control).equals(store.metrics(source))


def test_the_final_replay_of_a_run_with_a_capacity_is_its_newest_rows(store):
    for part, oldest, newest in (('all', 550, 750), ('first', 550, 650), ('second', 650, 750)):
        spec = dataclasses.replace(follower(smoke.PASSIVE, FORGETS), part=part)
        train.train([spec], store)
        first = store.batches(spec) // 4
        last = first + spec.model.length
        assert (oldest <= first).all() and (last <= newest).all(), part
        assert first.min() < oldest + 10 and last.max() > newest - 10, part


def test_a_run_that_stops_collecting_learns_on_from_what_it_has(store):
    lengths = store.lengths(STOPS)
    assert store.replay(STOPS).rows == STOPS.schedule.rows == 300
    assert len(lengths) == smoke.ACTIVE.schedule.updates and lengths.max() == 300
    assert (lengths == 300).sum() > len(lengths) / 2
    metrics = store.metrics(STOPS)
    assert metrics.env_step.tolist() == [2000, 4000, 6000] and metrics.train_model_loss.notna().all()
    full = follower(smoke.PASSIVE, STOPS)
    train.train([full], store)
    assert (store.batches(full) // 4).max() == 300 - full.model.length


@pytest.mark.parametrize('saves', [20, 250])
def test_such_runs_resume_to_the_same_bytes(saves, store, tmp_path, monkeypatch):
    spec = dataclasses.replace(STOPS, capacity=1600)
    train.train([spec], store)
    other = Store(tmp_path)

    smoke.stop_after(saves, monkeypatch)
    if saves < spec.schedule.steps // spec.chunk:
        with pytest.raises(KeyboardInterrupt):
            train.train([spec], other, checkpoint_seconds=0)
    monkeypatch.undo()
    train.train([spec], other)
    for name in ('metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'lengths.bin', 'replay/vector.bin'):
        assert (other.path(spec) / name).read_bytes() == (store.path(spec) / name).read_bytes(), name


@pytest.mark.parametrize('spec', [FORGETS, STOPS], ids=['forgets', 'stops'])
def test_the_audit_invents_nothing_in_the_replay_of_a_run(spec, store, capsys):
    """Its four environments have few episodes. A planted bug has the number that it has in a batch."""
    assert cli.main(['audit', spec.run_id, '--runs', str(store.root), '--length', '6']) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert {row.split()[0] for row in rows} <= {'few_episodes', 'zero_rewards'}
    steps = of_replay(store.replay(spec), 300)
    flags = steps.whole('flags')
    flags[2 * 300 + 7] |= FIRST  # row 7 of environment 2
    planted = dataclasses.replace(steps, read=lambda key: iter([flags]) if key == 'flags' else steps.read(key))
    found = {finding.kind: finding.rows for finding in audit(planted, 6, of_run=True)}
    assert found['misplaced_first'] == (7 * 4 + 2,)


def test_passive_on_a_dataset_learns_from_it_and_is_evaluated_in_its_task(store):
    replay = store.replay(STOPS)
    episodes = [replay.episode(env, 0, replay.rows - 1) for env in range(replay.envs)]
    for episode in episodes:
        episode['is_last'][-1] = True  # they were running when the run stopped collecting
    steps = {key: np.concatenate([episode[key] for episode in episodes]) for key in episodes[0]}
    dataset = datasets.add(store.root, 'mine', smoke.ACTIVE.task, steps)
    spec = follower(smoke.PASSIVE, dataset)
    train.train([spec], store)
    assert store.lengths(spec).tolist() == [1200] * spec.schedule.updates
    assert store.batches(spec).max() == 1200 - spec.model.length
    metrics = store.metrics(spec)
    assert metrics.score.notna().all() and metrics.train_model_loss.notna().all()
    assert metrics.wm_loss_replay.notna().all()  # its episodes are what the OOD ratio compares with
    adds = dataclasses.replace(spec, interact_every=2000, interact_steps=400)
    train.train([adds], store)
    assert store.metrics(adds).added.tolist() == [0, 400, 800]
