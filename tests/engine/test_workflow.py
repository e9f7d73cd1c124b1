"""What Snakemake is given, round by round, and what becomes of jobs that die. Snakemake itself is not called here."""

import dataclasses
import json
from pathlib import Path

import pytest
import smoke

from paper_lib.contract.errors import RunError, UserError
from paper_lib.data.lease import Lease
from paper_lib.data.store import Store
from paper_lib.engine import driver, jobs, outlook, queue, workflow
from paper_lib.engine.queue import Queued
from paper_lib.engine.site import Site

OTHER = dataclasses.replace(smoke.ACTIVE, seed=1, init_seed=1)
FOLLOWER = dataclasses.replace(smoke.PASSIVE, source=OTHER)
SPECS = [smoke.ACTIVE, OTHER, smoke.PASSIVE, FOLLOWER]
SITE = Site(gpus=0, cores=1, seconds=1)
FIRST, SECOND, AFTER_FIRST, AFTER_SECOND = PLANNED = jobs.plan(SPECS)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / 'runs')


@pytest.fixture
def steps(store):
    return workflow.steps(PLANNED, {'1_toy_maze': SPECS}, SITE, store, '--scale smoke', Path('drawn here'))


@pytest.fixture
def world(monkeypatch):
    """Which runs are finished, what the queue has, and what Snakemake does in each round."""

    class World:
        def __init__(self):
            self.done, self.queue, self.rounds, self.plans, self.act = set(), [], [], [], []

        def round(self, program, plan, ready, site, store, driver):
            self.plans.append(json.loads(plan.read_text()))
            self.rounds.append([step.id for step in ready])
            return self.act.pop(0)(ready, store)

    made = World()
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done' if spec in made.done else 'missing')
    monkeypatch.setattr(queue, 'jobs', lambda site, folder: list(made.queue))
    monkeypatch.setattr(driver, '_round', made.round)
    monkeypatch.setattr(workflow, 'snakemake', lambda site: 'snakemake')
    monkeypatch.setattr(driver.time, 'sleep', lambda seconds: made.queue.clear())
    return made


def ids(planned):
    return [job.id for job in planned]


def finish(world):
    """Snakemake finishes whatever it is given."""

    def act(ready, store):
        for step in ready:
            world.done.update(step.specs)
            workflow.marker(step, store).touch()
        return 0

    return act


def submit(steps, store):
    driver.submit(steps, PLANNED, SITE, store, lambda line: None)


def test_a_notebook_comes_after_the_jobs_of_its_runs(steps):
    *trained, notebook = steps
    assert [step.id for step in trained] == ids(PLANNED)
    assert notebook.id == 'notebook_1_toy_maze' and set(notebook.after) == set(ids(PLANNED))
    assert notebook.command.endswith('notebooks 1_toy_maze --runs ' + notebook.command.split()[-3] + ' --scale smoke')
    assert notebook.command.startswith(f"env PAPER_LIB_FIGURES='{Path.cwd()}/drawn here' ")


def test_a_plan_is_small_and_has_what_the_snakefile_reads(steps, store):
    plan = json.loads(workflow.write(steps, PLANNED, SITE, store).read_text())
    assert [job['id'] for job in plan['jobs']] == [step.id for step in steps]
    for job, step in zip(plan['jobs'], steps, strict=True):
        assert job['after'] == list(step.after)
        assert {'cores', 'gpus', 'megabytes', 'minutes', 'command'} <= set(job)
    for job in PLANNED:
        assert jobs.read(workflow.folder(store) / job.id / 'job.json') == job


def test_a_plan_that_jobs_in_the_queue_will_read_is_not_changed_by_a_later_one(steps, store):
    first = workflow.write(steps, PLANNED, SITE, store)
    content = first.read_bytes()
    later = workflow.write(steps[1:], PLANNED, SITE, store)
    assert later != first and first.read_bytes() == content


def test_a_command_whose_place_was_taken_while_it_was_suspended_ends(world, steps, store):
    def suspended(ready, store):
        path = workflow.folder(store) / 'driver.json'
        path.write_text(json.dumps({'host': 'elsewhere', 'pid': 7, 'token': 'another'}))
        return -9

    world.act = [suspended, finish(world)]
    with pytest.raises(UserError, match='process 7 on elsewhere drives these jobs already'):
        submit(steps, store)
    assert len(world.rounds) == 1


def test_one_round_is_enough_where_nothing_dies(world, steps, store):
    world.act = [finish(world)]
    submit(steps, store)
    assert world.rounds == [[*ids(PLANNED), 'notebook_1_toy_maze']]


def test_what_is_finished_is_not_planned_again_and_nobody_waits_for_it(world, steps, store):
    world.done = {smoke.ACTIVE, OTHER}
    world.act = [finish(world)]
    submit(steps, store)
    assert world.rounds == [[AFTER_FIRST.id, AFTER_SECOND.id, 'notebook_1_toy_maze']]
    assert [job['after'] for job in world.plans[0]['jobs'][:2]] == [[], []]


def test_jobs_of_an_earlier_command_are_left_alone_until_they_have_ended(world, steps, store):
    """With their followers; the rest goes on meanwhile."""
    world.queue = [Queued('7', 'RUNNING', FIRST.id, '1:00', 'n1')]
    world.act = [finish(world), finish(world)]
    submit(steps, store)
    assert world.rounds[0] == [SECOND.id, AFTER_SECOND.id]
    assert world.rounds[1] == [FIRST.id, AFTER_FIRST.id, 'notebook_1_toy_maze']


def test_a_job_that_the_queue_will_never_start_is_taken_out_and_submitted_again(world, steps, store, monkeypatch):
    world.done = {OTHER, smoke.PASSIVE, FOLLOWER}
    world.queue = [
        Queued('7', 'PENDING', FIRST.id, '0:00', '', queue.HELD),
        Queued('8', 'PENDING', 'notebook_1_toy_maze', '0:00', '', 'JobHeldUser'),
    ]
    cancelled = []

    def cancel(jobs):
        cancelled.extend(each.number for each in jobs)
        world.queue = [each for each in world.queue if each not in jobs]

    monkeypatch.setattr(queue, 'cancel', cancel)
    world.act = [finish(world), finish(world)]
    submit(steps, store)
    assert cancelled == ['7'] and world.rounds == [[FIRST.id], ['notebook_1_toy_maze']]


def test_what_has_failed_is_not_submitted_again_and_again_while_an_earlier_job_goes_on(world, steps, store):
    world.queue = [Queued('7', 'RUNNING', FIRST.id, '1:00', 'n1')]
    world.act = [lambda *_: 1, finish(world)]
    submit(steps, store)
    assert world.rounds == [[SECOND.id, AFTER_SECOND.id], [*ids(PLANNED), 'notebook_1_toy_maze']]


def test_what_has_failed_is_submitted_again_after_a_pause(world, steps, store, monkeypatch):
    world.queue = [Queued('7', 'RUNNING', FIRST.id, '1:00', 'n1')]
    monkeypatch.setattr(driver, 'PAUSE', 0.0)
    world.act = [lambda *_: 1, finish(world), finish(world)]
    submit(steps, store)
    assert world.rounds[:2] == [[SECOND.id, AFTER_SECOND.id]] * 2


def test_jobs_of_other_packing_in_the_queue_hold_their_runs_all_the_same(world, steps, store):
    (packed, _) = jobs.plan(SPECS, minutes=10**6)
    jobs.write(workflow.folder(store) / packed.id / 'job.json', packed)
    world.queue = [Queued('7', 'PENDING', packed.id, '0:00', '')]
    assert driver.alive(steps, SITE, store) == {FIRST.id, SECOND.id}


def test_a_run_that_is_held_by_somebody_counts_as_alive(world, steps, store, monkeypatch):
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'running' if spec == OTHER else 'missing')
    assert driver.alive(steps, SITE, store) == {SECOND.id}


def test_a_round_that_is_broken_off_is_followed_by_another_while_anything_moves(world, steps, store):
    def broken(ready, store):
        world.done.add(smoke.ACTIVE)
        return -9

    world.act = [broken, finish(world)]
    submit(steps, store)
    assert FIRST.id in world.rounds[0] and FIRST.id not in world.rounds[1]


def test_a_queue_that_loses_jobs_again_and_again_ends_the_command(world, steps, store):
    world.act = [lambda *_: -9, lambda *_: -9, finish(world)]
    submit(steps, store)
    assert len(world.rounds) == 3
    world.done.clear()
    world.act = [lambda *_: -9] * (SITE.retries + 1)
    with pytest.raises(RunError, match='ended with -9'):
        submit(steps, store)


def test_a_job_at_its_time_limit_is_tried_again_as_long_as_it_has_new_checkpoints(world, steps, store):
    def progressed(ready, store):
        store.path(OTHER).mkdir(parents=True)
        (store.path(OTHER) / 'checkpoint-20.npz').touch()
        return 1

    world.act = [progressed, finish(world)]
    submit(steps, store)
    assert len(world.rounds) == 2


def test_when_nothing_moves_the_command_ends_with_the_last_line_of_a_log(world, steps, store):
    def fail(ready, store):
        workflow.log(FIRST.id, store).write_text('begin\nerror: diverged\n')
        return 1

    world.act = [fail]
    with pytest.raises(RunError, match=rf'5 jobs are not finished \(Snakemake ended with 1\); {FIRST.id}: error: div'):
        submit(steps, store)


def test_a_run_that_diverged_stops_its_own_followers_and_no_other(world, steps, store, monkeypatch):
    """Its job has failed, and so the jobs after it would wait for ever."""
    packed = jobs.plan(SPECS, minutes=10**6)
    first, after = each = workflow.steps(packed, {'1_toy_maze': SPECS}, SITE, store, '', Path('figures'))[:2]
    notebook = workflow.steps(packed, {'1_toy_maze': SPECS}, SITE, store, '', Path('figures'))[2]
    statuses = {}
    monkeypatch.setattr(Store, 'status', lambda self, spec: statuses.get(spec, 'missing'))
    plans = []

    def diverge(ready, store):
        plans.append(workflow.document(ready, store))
        statuses.update({smoke.ACTIVE: 'failed', OTHER: 'done'})
        return 1

    def finish_the_other(ready, store):
        plans.append(workflow.document(ready, store))
        statuses[FOLLOWER] = 'done'
        return 1

    world.act = [diverge, finish_the_other, lambda *_: 1]
    with pytest.raises(RunError, match='3 jobs are not finished'):
        driver.submit([*each, notebook], packed, SITE, store, lambda line: None)
    afters = [{job['id']: job['after'] for job in plan['jobs']} for plan in plans]
    assert [each[after.id] for each in afters] == [[first.id], []]
    assert [each[notebook.id] for each in afters] == [[first.id, after.id]] * 2


def test_two_commands_at_once_are_refused(world, steps, store):
    place = workflow.folder(store)
    place.mkdir(parents=True)
    with Lease(place / 'driver.json'), pytest.raises(UserError, match='drives these jobs already'):
        submit(steps, store)
    assert not world.rounds


def test_a_marker_of_a_run_that_was_deleted_counts_for_nothing(world, steps, store):
    place = workflow.marker(steps[0], store)
    place.parent.mkdir(parents=True)
    place.touch()
    world.act = [lambda ready, store: world.rounds.append(place.exists()) or finish(world)(ready, store)]
    submit(steps, store)
    assert world.rounds[1] is False


def test_the_queue_is_read_by_the_names_of_this_stores_jobs(tmp_path):
    name = queue.prefix(tmp_path)
    text = f'{name}_5f|12|RUNNING|rule_work_wildcards_job_0a|1:02|n1|None\n'
    text += f'{name}_5f|13|PENDING|rule_notebook_wildcards_notebook_1_toy_maze|0:00||Resources\n'
    text += 'paper-lib-other_5f|14|RUNNING|rule_work_wildcards_job_0b|1:02|n1|None\n'
    text += 'mine|15|RUNNING|(null)|0:01|n2|None\n'
    assert queue.parse(text, name) == [
        Queued('12', 'RUNNING', 'job_0a', '1:02', 'n1', 'None'),
        Queued('13', 'PENDING', 'notebook_1_toy_maze', '0:00', '', 'Resources'),
    ]
    assert queue.prefix(tmp_path / 'other') != name


def test_a_job_asks_for_no_longer_than_the_site_allows(store):
    (job,) = jobs.plan([smoke.ACTIVE])
    short = dataclasses.replace(SITE, longest=5)
    assert workflow.steps([job], {}, short, store, '', Path('figures'))[0].minutes == 5 < job.minutes


def test_hours_with_few_machines_are_no_less_than_the_longest_chain():
    at_once = {count: outlook.makespan(PLANNED, count) for count in (1, 2, 100)}
    assert at_once[1] == pytest.approx(outlook.hours(PLANNED))
    assert at_once[100] == pytest.approx(outlook.hours([FIRST, AFTER_FIRST]))
    assert at_once[100] <= at_once[2] < at_once[1]


def test_no_machine_is_idle_while_a_job_could_run():
    """A follower that is listed early does not keep a machine waiting for its source."""
    other = dataclasses.replace(smoke.ACTIVE, seed=2, init_seed=2)
    third = dataclasses.replace(smoke.ACTIVE, seed=3, init_seed=3)
    source, second, third, follower = jobs.plan([smoke.ACTIVE, other, third, smoke.PASSIVE])
    same = [dataclasses.replace(job, minutes=90) for job in (source, follower, second, third)]
    assert outlook.makespan(same, 2) == 2


def test_a_job_on_cores_is_paid_for_all_that_it_holds():
    one, eight = (outlook.row('', PLANNED, 0, dataclasses.replace(SITE, cores=cores, price=1.0)) for cores in (1, 8))
    assert eight['price'] == pytest.approx(8 * one['price'], abs=0.1)
    assert eight['core hours'] == pytest.approx(8 * one['core hours'], abs=0.5)
    assert 'hours at 128 cores' in eight and 'hours at 16 cores' in one
