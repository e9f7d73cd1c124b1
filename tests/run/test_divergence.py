"""A run that diverges fails alone: those that train in one program with it end as they would beside any other."""

import numpy as np
import pytest
import smoke
import tiny

from paper_lib.contract.errors import RunError
from paper_lib.data import writer
from paper_lib.data.store import Store
from paper_lib.run import lanes, train

FILES = ('metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'replay/vector.bin', 'replay/action.bin')
FIRST, HEALTHY, LAST, LOST, TOO = (
    tiny.run(tiny.task(tiny.Noise, limit=3, count=2), budget=24, eval_every=6, prefill=6, chunk=2, seed=seed)
    for seed in range(5)
)
GROUP = [FIRST, LOST, LAST]
REASON = f'^{LOST.run_id}: diverged before agent step (8|10|12); lower the learning rates$'


@pytest.fixture(autouse=True)
def rates(monkeypatch):
    """LOST and TOO have an infinite learning rate, which no spec can have: they diverge at their first update."""
    hyper = lanes.hyper

    def infinite(specs):
        lost = np.array([spec in (LOST, TOO) for spec in specs])
        values = hyper(specs)
        return values | {'lr_actor': np.where(lost, np.float32(np.inf), values['lr_actor'])}

    monkeypatch.setattr(lanes, 'hyper', infinite)


def content(store, spec):
    return [(store.path(spec) / name).read_bytes() for name in FILES]


def statuses(store, group=GROUP):
    return [store.status(spec) for spec in group]


@pytest.fixture(scope='module')
def healthy(quick, tmp_path_factory):
    """The same runs beside one that does not diverge."""
    store = Store(tmp_path_factory.mktemp('healthy'))
    train.train([FIRST, HEALTHY, LAST], store)
    return store


@pytest.mark.parametrize('saves', [0, 5, 21, 23, 36])
def test_a_lane_that_diverges_fails_and_the_others_end_with_the_same_bytes(saves, healthy, tmp_path, monkeypatch):
    """Also if they are interrupted before or after it, between two checkpoints of a group, or at the end."""
    store = Store(tmp_path)
    if saves:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            smoke.stop_after(saves, patch)
            train.train(GROUP, store, checkpoint_seconds=0)
        assert statuses(store) == ['partial'] * 3
    with pytest.raises(RunError, match=REASON):
        train.train(GROUP, store, checkpoint_seconds=0)
    assert statuses(store) == ['done', 'failed', 'done']
    assert store.failure(LOST).startswith(f'Diverged: {LOST.run_id}: diverged')
    for spec in (FIRST, LAST):
        assert content(store, spec) == content(healthy, spec)


@pytest.mark.parametrize('finished', [0, 1, 2])
def test_a_group_that_is_stopped_while_its_runs_are_finished_goes_on(finished, healthy, tmp_path, monkeypatch):
    store, finish, done = Store(tmp_path), writer.Run.finish, []

    def stop(*args):
        if len(done) == finished:
            raise KeyboardInterrupt
        finish(*args)
        done.append(args)
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer.Run, 'finish', stop)
        train.train(GROUP, store)
    left = [spec for spec in GROUP if store.status(spec) != 'done']
    assert len(left) == 3 - finished
    for _ in range(2):  # it fails again, at once
        with pytest.raises(RunError, match=REASON):
            train.train(left, store)
        assert statuses(store) == ['done', 'failed', 'done']
        left = [LOST]
    for spec in (FIRST, LAST):
        assert content(store, spec) == content(healthy, spec)


def test_a_group_of_which_none_is_left_ends_at_once(quick, tmp_path):
    store, clocks = Store(tmp_path), []
    with pytest.raises(RunError, match=f'^{LOST.run_id}, {TOO.run_id}: diverged before agent step (.+), \\1; lower'):
        train.train([LOST, TOO], store, clocks.append)
    assert statuses(store, [LOST, TOO]) == ['failed', 'failed'] and max(clocks) < 12
