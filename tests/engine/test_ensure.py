"""Which worker trains what, and what becomes of runs that fail. The workers here train nothing."""

import dataclasses
import types

import pytest
import smoke

from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.store import Store
from paper_lib.engine import ensure, pool

OTHER = dataclasses.replace(smoke.ACTIVE, seed=1, init_seed=1)  # of the same program
FOLLOWER = dataclasses.replace(smoke.PASSIVE, source=OTHER)
EXPLORER = dataclasses.replace(smoke.EXPLORER, seed=2, init_seed=2)  # of another one


@pytest.fixture
def workers(monkeypatch):
    """Two workers that write down what they are given; runs are done when they were given, `lost` ones fail."""
    made, lost, done = [], set(), set()

    class Worker(pool.Worker):
        def __init__(self, *args):
            super().__init__(*args)
            self.did = []
            made.append(self)

        def call(self, function, *args):
            self.group = args[0] if function is ensure._train else []
            self.did += self.group

        def receive(self):
            done.update(spec for spec in self.group if spec not in lost)
            for spec in self.group:
                if spec in lost:
                    return pool.Raised(RunError(f'{spec.run_id}: diverged'))
            return pool.Returned(None)

        def stop(self):
            self.did.append('stop')

    monkeypatch.setattr(pool, 'Worker', Worker)
    monkeypatch.setattr(pool, 'ready', lambda workers, seconds: workers[:1])
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done' if spec in done else 'missing')
    return made, lost


@pytest.mark.parametrize('lanes', [1, 2])
def test_a_run_that_fails_stops_its_followers_alone(lanes, workers, tmp_path):
    """Those of a run that was trained in one program with it go on."""
    made, lost = workers
    lost.add(OTHER)
    with pytest.raises(RunError, match=f'^{OTHER.run_id}: diverged$'):
        ensure.ensure([OTHER, FOLLOWER, smoke.ACTIVE, smoke.PASSIVE], Store(tmp_path), workers=2, lanes=lanes)
    trained = {spec for worker in made for spec in worker.did if spec != 'stop'}
    assert trained == {OTHER, smoke.ACTIVE, smoke.PASSIVE}


def test_a_worker_makes_way_for_another_program_and_not_for_its_own(workers, tmp_path):
    made, _ = workers
    ensure.ensure([smoke.ACTIVE, OTHER, EXPLORER, smoke.EXPLORER], Store(tmp_path), workers=1)
    (worker,) = made
    assert worker.did == [smoke.ACTIVE, OTHER, 'stop', EXPLORER, smoke.EXPLORER, 'stop']


def test_runs_go_to_the_worker_that_holds_their_program(workers, tmp_path):
    made, _ = workers
    first, second = smoke.ACTIVE, smoke.EXPLORER
    ensure.ensure([first, second, OTHER, EXPLORER], Store(tmp_path), workers=2)
    assert [worker.did for worker in made] == [[first, OTHER, 'stop'], [second, EXPLORER, 'stop']]


def test_a_source_that_another_process_finishes_meanwhile_makes_its_followers_come_last(workers, tmp_path, monkeypatch):
    made, _ = workers
    answers = iter([False, True])  # when the job begins, and after its other runs
    monkeypatch.setattr(ensure, 'has_source', lambda spec, store: spec is not FOLLOWER or next(answers, True))
    monkeypatch.setattr(Store, 'source', lambda self, source: None)
    programs = [(smoke.EXPLORER,), (FOLLOWER,)]
    job = types.SimpleNamespace(programs=programs, specs=[spec for program in programs for spec in program])
    ensure.work(job, Store(tmp_path))
    assert [worker.did for worker in made] == [[smoke.EXPLORER, 'stop'], [FOLLOWER, 'stop']]


@pytest.mark.parametrize('threads', ['', 'two', '0'])
def test_a_number_of_threads_that_is_none_is_named(workers, tmp_path, monkeypatch, threads):
    monkeypatch.setenv('NPROC', threads)
    with pytest.raises(UserError, match=f'^NPROC={threads!r}: must be a number of threads'):
        ensure.ensure([smoke.ACTIVE], Store(tmp_path), workers=1)
