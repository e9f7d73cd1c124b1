"""The contract: facts of fields, identity, schedules, and specs as plain values."""

import dataclasses
import json

import pytest

from paper_lib.contract import plain
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import ALWAYS, Role, Side, facts, names
from paper_lib.contract.spec import ModelSpec, RunSpec

MAZE = 'point_mass_maze-proprio'
ACTIVE = RunSpec(MAZE)
PASSIVE = RunSpec(MAZE, 'passive', data='final', source=ACTIVE, seed=1000, init_seed=1000)
DATASET = Dataset('mine', MAZE, rows=5000, envs=1, sha256='ab' * 32)
FIELDS = [(cls, each, fact) for cls in (ModelSpec, RunSpec, Dataset) for each, fact in facts(cls)]


def spec_with(cls, **values):
    """A spec of this class with these values."""
    if cls is RunSpec:
        return RunSpec(**{'task': MAZE} | values)
    return dataclasses.replace(DATASET, **values) if cls is Dataset else ModelSpec(**values)


@pytest.mark.parametrize(('cls', 'each', 'fact'), FIELDS, ids=lambda x: getattr(x, 'name', None))
def test_every_field_says_what_it_means_and_has_bounds(cls, each, fact):
    assert fact.about and not fact.about.endswith('.')
    if each.type in (int, float):
        assert fact.high is not None and (fact.low is not None or fact.above is not None)
    if fact.before is not ALWAYS:
        assert type(fact.before) is each.type


@pytest.mark.parametrize(('cls', 'each', 'fact'), FIELDS, ids=lambda x: getattr(x, 'name', None))
def test_values_outside_of_the_bounds_are_one_line(cls, each, fact):
    if each.type in (int, float):
        outside = [fact.high * 2 + 1, 10**400, fact.low - 1 if fact.low is not None else fact.above]
    elif fact.choices:
        outside = ['nonsense', 'x' * 100_000]
    else:
        return
    for value in outside:
        with pytest.raises(UserError, match=f'{each.name}=.*must be') as caught:
            spec_with(cls, **{each.name: value})
        assert len(str(caught.value)) < 400 and '\n' not in str(caught.value)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), '1', None, True])
def test_values_of_another_kind_are_one_line(value):
    for name in ('lr_model', 'ratio'):
        with pytest.raises(UserError, match=f'{name}=.*must be'):
            RunSpec(MAZE, **{name: value})


def test_equal_specs_have_equal_ids():
    assert RunSpec(MAZE, lr_model=1).run_id == RunSpec(MAZE, lr_model=1.0).run_id
    negative = dataclasses.replace(PASSIVE, interact_above=-0.0)
    assert negative == PASSIVE and negative.run_id == PASSIVE.run_id


@pytest.mark.parametrize('each', [each.name for each, _ in facts(RunSpec) if each.name not in ('task', 'agent')])
def test_every_field_is_part_of_the_identity(each):
    """A change of any value changes the id; a younger field counts from the first value that older runs had not."""
    source = dataclasses.replace(ACTIVE, w_expl=0.5, seed=5)
    values = {
        'seed': 1, 'init_seed': 1, 'model': ModelSpec(units=256), 'budget': 500_000, 'ratio': 1.0, 'prefill': 2000,
        'chunk': 20, 'w_expl': 0.5, 'collect_until': 500_000, 'capacity': 80_000, 'eval_every': 10_000,
        'eval_episodes': 2, 'measures': 1, 'lr_model': 1e-3, 'lr_actor': 1e-3, 'lr_critic': 1e-3, 'lr_expl': 1e-3,
        'goal_radius': 0.05,
    }  # fmt: skip
    follows = {
        'source': source, 'alpha': 0.5, 'part': 'first', 'interact_every': 20_000, 'interact_steps': 4000,
        'interact_above': 1.35, 'interact_below': 1.35, 'interact_by': 'density_ess', 'world_model': 'frozen',
    }  # fmt: skip
    if each in values:
        base, changed = ACTIVE, dataclasses.replace(ACTIVE, **{each: values[each]})
    elif each in follows:
        base = PASSIVE
        if each.startswith('interact'):
            base = dataclasses.replace(PASSIVE, interact_every=10_000, interact_steps=2000)
        if each == 'interact_by':
            base = dataclasses.replace(base, interact_below=0.1, measures=1)
        changed = dataclasses.replace(base, **{each: follows[each]})
    else:
        base, changed = {
            'data': (PASSIVE, dataclasses.replace(PASSIVE, data='batches')),
            'expl_until': (source, dataclasses.replace(source, expl_until=500_000)),
            'render': tuple(RunSpec('point_mass_maze-vision', render=render) for render in ('fast', 'suite')),
        }[each]
    assert base.run_id != changed.run_id


def test_fields_of_one_side_are_refused_on_the_other():
    for name in names(RunSpec, side=Side.FOLLOWER):
        kind = {each.name: each.type for each, _ in facts(RunSpec)}[name]
        value = {int: 20_000, float: 0.5}.get(kind)
        value = value or {'world_model': 'frozen', 'part': 'first', 'interact_by': 'density_ess'}[name]
        with pytest.raises(UserError):
            dataclasses.replace(ACTIVE, **{name: value})
    for name, value in (('w_expl', 0.5), ('collect_until', 40_000), ('capacity', 80_000)):
        with pytest.raises(UserError, match='only its source collects by this value'):
            dataclasses.replace(PASSIVE, **{name: value})
    assert set(names(RunSpec, Role.TRACED)) == {'lr_model', 'lr_actor', 'lr_critic', 'lr_expl', 'w_expl'}


@pytest.mark.parametrize('spec', [
    ACTIVE,
    PASSIVE,
    dataclasses.replace(PASSIVE, source=DATASET),
    RunSpec('breakout-vision', model=ModelSpec(precision='bfloat16'), lr_model=3),
])  # fmt: skip
def test_a_spec_goes_to_json_and_back(spec):
    again = plain.from_plain(json.loads(json.dumps(plain.to_plain(spec))))
    assert again == spec and again.run_id == spec.run_id
    assert (again.source is None) == (spec.source is None)


def test_a_younger_field_may_be_missing_and_an_older_one_may_not():
    value = plain.to_plain(PASSIVE)
    for record in (value['run'], value['run']['source']['run']):
        for each, fact in facts(RunSpec):
            if fact.before is not ALWAYS:
                del record[each.name]
    assert plain.from_plain(value) == PASSIVE
    del value['run']['budget']
    with pytest.raises(UserError, match="RunSpec: lacks the field 'budget'"):
        plain.from_plain(value)


@pytest.mark.parametrize(('change', 'words'), [
    (lambda v: [], 'must be an object'),
    (lambda v: v | {'schema': 1}, 'schema=1: must be 2, the schema of this code'),
    (lambda v: v | {'more': 1}, 'has the keys schema and run'),
    (lambda v: v | {'run': 7}, 'must be an object'),
    (lambda v: v | {'run': v['run'] | {'nonsense': 1}}, "has no field 'nonsense'"),
    (lambda v: v | {'run': v['run'] | {'model': None}}, 'must be an object'),
    (lambda v: v | {'run': v['run'] | {'source': {'other': {}}}}, 'one key, run or dataset'),
    (lambda v: v | {'run': v['run'] | {'budget': '5'}}, "budget='5': must be int, got str"),
    (lambda v: v | {'run': v['run'] | {'task': 7}}, 'task=7: must be str'),
])  # fmt: skip
def test_what_is_no_spec_is_one_line(change, words):
    with pytest.raises(UserError, match=words):
        plain.from_plain(change(plain.to_plain(PASSIVE)))


def test_the_schedule_of_an_online_run_by_hand():
    """4 environments, action repeat 2: a chunk of 20 agent steps is 40 environment steps and 5 rows."""
    spec = RunSpec(MAZE, budget=6000, eval_every=2000, prefill=400, chunk=20, ratio=0.5, w_expl=0.5, expl_until=3000,
                   collect_until=4000)  # fmt: skip
    schedule = spec.schedule
    assert (schedule.steps, schedule.updates, schedule.rows, schedule.evaluate_every) == (3000, 1300, 500, 1000)
    assert schedule.updates_due(400) == range(0) and schedule.updates_due(420) == range(0, 10)
    assert schedule.updates_due(3000) == range(1290, 1300)
    assert schedule.rows_due(20) == range(5) and schedule.rows_due(2000) == range(495, 500)
    assert schedule.rows_due(2020) == range(500, 500)
    assert [clock for clock in range(20, 3001, 20) if schedule.evaluation_due(clock)] == [1000, 2000, 3000]
    assert [schedule.evaluation_at(clock) for clock in (1000, 3000)] == [1, 3]
    assert schedule.random_rows == 100
    assert schedule.exploring_row(374) and not schedule.exploring_row(375)
    resting = [clock for clock in range(20, 3001, 20) if schedule.explorer_rests(clock)]
    assert resting == list(range(2020, 3001, 20))  # from the first evaluation after the step on


def test_the_schedule_of_an_offline_run_by_hand():
    source = RunSpec(MAZE, budget=6000, eval_every=2000, prefill=400, chunk=20)
    spec = dataclasses.replace(source, data='final', source=source, interact_every=1200, interact_steps=400, seed=1000)
    schedule = spec.schedule
    assert [clock for clock in range(20, 3001, 20) if schedule.interaction_due(clock)] == [600, 1200, 1800, 2400]
    assert (schedule.interactions, schedule.interact_rows, spec.own_rows) == (4, 50, 200)
    assert schedule.rows_due(20) == range(0) and schedule.random_rows == 0
    assert spec.source_rows == source.schedule.rows == 750
    huge = dataclasses.replace(spec, source=dataclasses.replace(source, budget=10**9), budget=10**9)
    assert huge.schedule.interactions == 10**9 // 1200 - (10**9 % 1200 == 0)


def test_a_tandem_run_counts_the_rows_of_a_source_that_stops():
    source = RunSpec(MAZE, budget=6000, eval_every=2000, prefill=400, chunk=20, collect_until=4000)
    tandem = dataclasses.replace(source, data='batches', source=source, collect_until=0)
    assert [tandem.schedule.rows_at(clock) for clock in (1000, 2000, 3000)] == [250, 500, 500]


def test_a_source_gives_its_follower_a_window_at_least():
    """Of the rows that it draws from itself, which a capacity makes fewer."""
    small = RunSpec(MAZE, model=ModelSpec(length=64), budget=6000, eval_every=2000, prefill=400, chunk=20)
    follower = dataclasses.replace(small, data='final', source=small)
    with pytest.raises(UserError, match='length=900: must be at most 750, the rows that its source gives'):
        dataclasses.replace(follower, model=ModelSpec(length=900), budget=60_000, prefill=4000)
    forgets = dataclasses.replace(small, capacity=800)  # 100 rows
    assert dataclasses.replace(follower, source=forgets).rows_seen == 100
    with pytest.raises(UserError, match="'all' for a source that gives fewer than 128 rows"):
        dataclasses.replace(follower, source=forgets, part='second')


def test_a_run_that_is_to_interact_does():
    source = RunSpec(MAZE, budget=6000, eval_every=2000, prefill=2800, chunk=20)
    with pytest.raises(UserError, match='interact_every=2000: must be 0, or so short'):
        dataclasses.replace(source, data='final', source=source, interact_every=2000, interact_steps=400)


@pytest.mark.parametrize(('values', 'line'), [
    ({'interact_by': 'nonsense'}, "interact_by='nonsense': must be 'ood_ratio' or .*'density_ess'.*"),
    ({'interact_by': 'score', 'interact_above': 1.0}, "interact_by='score': must be 'ood_ratio' or .*"),
    ({'interact_above': 1.35, 'interact_below': 0.1}, 'interact_below=0.1: must be 0 for a run with .*=1.35'),
    ({'interact_by': 'density_ess', 'measures': 1}, "interact_by='density_ess': must be 'ood_ratio' without .*"),
    ({'interact_by': 'density_ess', 'interact_below': 0.1}, "measures=0: must be 1 for .*='density_ess'"),
    ({'interact_every': 0, 'interact_steps': 0, 'interact_below': 0.1}, 'interact_below=0.1: must be 0 for .*never.*'),
    ({'interact_below': 0.1, 'interact_every': 10_020}, 'interact_every=10020: must be 0, or a multiple of 5000'),
    ({'interact_above': 0.1, 'interact_every': 10_020}, 'interact_every=10020: must be 0, or a multiple of 5000'),
])  # fmt: skip
def test_a_measure_that_cannot_decide_is_one_line(values, line):
    with pytest.raises(UserError, match=f'^{line}$'):
        dataclasses.replace(PASSIVE, **{'interact_every': 10_000, 'interact_steps': 2000} | values)


def test_a_run_that_asks_a_measure_is_trained_alone_and_others_are_not():
    """The measure's name is a text, which is true in itself."""
    asks = dataclasses.replace(PASSIVE, interact_every=10_000, interact_steps=2000, interact_by='density_ess',
                               interact_below=0.1, measures=1)  # fmt: skip
    assert asks.is_adaptive and asks.signature[-1] == asks.run_id
    assert not PASSIVE.is_adaptive and PASSIVE.signature[-1] == ''
