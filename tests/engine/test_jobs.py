"""A plan as jobs: what is packed together, what waits for what, and what a job asks for."""

import dataclasses
import json

import pytest
import smoke

from paper_lib.contract.errors import RunError
from paper_lib.data.lease import Busy, Lease
from paper_lib.data.store import Store
from paper_lib.engine import ensure, estimate, jobs

SEEDS = range(5)
SOURCES = [dataclasses.replace(smoke.ACTIVE, seed=seed, init_seed=seed) for seed in SEEDS]
FOLLOWERS = [dataclasses.replace(smoke.PASSIVE, source=source) for source in SOURCES]
MANY = 10**6  # minutes


def programs_of(planned):
    return [job.programs for job in planned]


def test_without_packing_every_program_is_a_job_and_sources_come_first():
    planned = jobs.plan([*FOLLOWERS, *SOURCES], lanes=2)
    sizes = [[len(program) for program in job.programs] for job in planned]
    assert sizes == [[2], [2], [1]] * 2
    assert [spec for job in planned for spec in job.specs] == [*SOURCES, *FOLLOWERS]
    assert [job.after for job in planned] == [(), (), ()] + [(job.id,) for job in planned[:3]]


def test_small_runs_share_a_job_up_to_the_minutes_that_are_asked_for():
    alone = jobs.plan(SOURCES)
    one = estimate.START + estimate.seconds(SOURCES[0], estimate.CORE)
    packed = jobs.plan(SOURCES, minutes=2.5 * one / 60)
    assert [len(job.specs) for job in packed] == [2, 2, 1]
    assert packed[0].minutes == pytest.approx(2 * alone[0].minutes, abs=1)
    assert packed[0].disk == 2 * alone[0].disk and packed[0].memory == alone[0].memory


def test_a_follower_waits_for_every_job_that_has_a_source_of_it_and_for_no_other():
    first, second, *_ = planned = jobs.plan([*SOURCES[:4], *FOLLOWERS[:3]], lanes=2)
    assert [job.after for job in planned[2:]] == [(first.id,), (second.id,)]
    together = jobs.plan([*SOURCES[:4], *FOLLOWERS[1:4]], lanes=2, minutes=0.0)
    assert together[2].after == (first.id, second.id)


def test_sources_and_followers_never_share_a_job():
    assert [len(job.specs) for job in jobs.plan([*SOURCES, *FOLLOWERS], minutes=MANY)] == [5, 5]


def test_no_job_has_more_runs_than_its_file_holds(tmp_path):
    many = [dataclasses.replace(smoke.ACTIVE, seed=seed) for seed in range(jobs.MOST_RUNS + 1)]
    many = [dataclasses.replace(smoke.PASSIVE, source=source) for source in many]
    planned = jobs.plan(many, minutes=MANY)
    assert [len(job.specs) for job in planned] == [jobs.MOST_RUNS, 1]
    jobs.write(tmp_path / 'job.json', planned[0])
    assert jobs.read(tmp_path / 'job.json') == planned[0]


def test_what_is_left_of_a_plan_waits_for_what_is_left_of_it():
    packed = jobs.plan(SOURCES + FOLLOWERS, minutes=MANY)
    sources, followers = jobs.left(packed, {SOURCES[0]}, estimate.CORE)
    assert SOURCES[0] in packed[0].specs and set(sources.specs) == set(packed[0].specs) - {SOURCES[0]}
    assert sources.minutes < packed[0].minutes and sources.disk < packed[0].disk
    assert (followers.after, followers.specs) == ((sources.id,), packed[1].specs)
    (alone,) = jobs.left(packed, packed[0].specs, estimate.CORE)
    assert alone.after == ()


def test_an_id_follows_from_the_runs_alone():
    (one,) = jobs.plan(SOURCES, minutes=MANY)
    (other,) = jobs.plan(SOURCES[::-1], lanes=5, machine=estimate.GPU)
    assert one.id == other.id and one != other
    assert jobs.plan(SOURCES[:4], minutes=MANY)[0].id != one.id


def test_exact_runs_and_their_sources_are_trained_alone():
    exact = dataclasses.replace(smoke.CONTROL, source=SOURCES[0])
    planned = jobs.plan([*SOURCES, exact], lanes=8)
    assert programs_of(planned) == [((SOURCES[0],),), (tuple(SOURCES[1:]),), ((exact,),)]


def test_a_job_comes_back_from_its_file(tmp_path):
    for number, job in enumerate(jobs.plan([*SOURCES, *FOLLOWERS], lanes=2, minutes=MANY)):
        path = tmp_path / str(number) / 'job.json'
        jobs.write(path, job)
        assert jobs.read(path) == job


@pytest.mark.parametrize('change', [
    lambda values: values.pop('programs'),
    lambda values: values['programs'][0][0].pop('run'),
    lambda values: values.update(minutes='3'),
    lambda values: values.update(sha256=''),
])  # fmt: skip
def test_a_damaged_job_is_one_line(tmp_path, change):
    path = tmp_path / 'job.json'
    jobs.write(path, jobs.plan(SOURCES[:1])[0])
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match='write it again with `paper-lib cluster submit`'):
        jobs.read(path)


def test_a_gpu_takes_lanes_and_a_core_one_run():
    (job,) = jobs.plan(SOURCES[:1], machine=estimate.GPU)
    assert (job.gpus, job.cores) == (1, estimate.GPU.cores)
    (job,) = jobs.plan(SOURCES[:1])
    assert (job.gpus, job.cores) == (0, 1)


# `work`: one job on one machine.


@pytest.fixture
def trained(monkeypatch):
    """What `work` gives to a worker to train."""
    given = []

    def train(programs, store, workers, patience):
        given.extend(programs)

    monkeypatch.setattr(ensure, 'train', train)
    return given


def test_a_job_trains_what_is_not_finished(trained, tmp_path, monkeypatch):
    (job,) = jobs.plan(SOURCES, lanes=2, minutes=MANY)
    done = {SOURCES[0], SOURCES[2], SOURCES[3]}
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done' if spec in done else 'missing')
    ensure.work(job, Store(tmp_path))
    assert trained == [(SOURCES[1],), (SOURCES[4],)]
    trained.clear()
    done.update(SOURCES)
    ensure.work(job, Store(tmp_path))
    assert not trained


def test_a_job_whose_sources_are_not_there_says_so(tmp_path):
    with pytest.raises(RunError, match=f'{SOURCES[0].run_id}: this run does not exist; train it first'):
        ensure.work(jobs.plan(FOLLOWERS[:1])[0], Store(tmp_path))


def test_a_job_leaves_out_what_has_no_source_and_says_so_at_the_end(trained, tmp_path, monkeypatch):
    (job,) = jobs.plan(FOLLOWERS, minutes=MANY)
    statuses = dict.fromkeys(SOURCES, 'done') | {SOURCES[1]: 'failed'}
    monkeypatch.setattr(Store, 'status', lambda self, spec: statuses.get(spec, 'missing'))

    def source(self, spec):
        if statuses[spec] != 'done':
            raise RunError(f'{spec.run_id}: unfinished')

    monkeypatch.setattr(Store, 'source', source)
    with pytest.raises(RunError, match=f'{SOURCES[1].run_id}: unfinished'):
        ensure.work(job, Store(tmp_path))
    assert [spec for program in trained for spec in program] == FOLLOWERS[:1] + FOLLOWERS[2:]


def test_a_second_worker_steps_aside(tmp_path, monkeypatch):
    """It waits for a while, in case the first is dead, and leaves the run alone."""
    monkeypatch.setattr(ensure, 'RETRY', 0.1)
    store = Store(tmp_path)
    (job,) = jobs.plan(SOURCES[:1])
    store.path(SOURCES[0]).mkdir()
    with Lease(store.path(SOURCES[0]) / 'lease.json') as first:
        with pytest.raises(Busy, match='is working on this run'):
            ensure.work(job, store, patience=0.5)
        first.check()
    assert not (store.path(SOURCES[0]) / 'spec.json').exists()
