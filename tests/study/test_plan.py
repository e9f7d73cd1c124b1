import dataclasses
import hashlib

import pytest

from paper_lib.contract import agents
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import ALWAYS, facts
from paper_lib.contract.scales import Planned, Rule, Scale
from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.study import plan, scales

TASK = 'point_mass_maze-proprio'
SMOKE = scales.get('smoke')
LATER = {each.name for kind in (ModelSpec, RunSpec) for each, fact in facts(kind) if fact.before is not ALWAYS}
DEFAULTS = {
    'agent': 'active', 'seed': 0, 'init_seed': 0, 'budget': 1000000, 'ratio': 0.5, 'prefill': 1300, 'chunk': 4,
    'data': 'own', 'source': None, 'alpha': 1.0, 'w_expl': 0.0, 'expl_until': 0, 'eval_every': 5000, 'eval_episodes': 4,
    'lr_model': 0.0001, 'lr_actor': 3e-05, 'lr_critic': 3e-05, 'lr_expl': 0.0001, 'goal_radius': 0.015,
    'render': 'fast', 'deter': 512, 'stoch': 32, 'classes': 32, 'units': 512, 'layers': 2, 'mlp_units': 1024,
    'mlp_layers': 5, 'cnn_depth': 32, 'bins': 255, 'batch': 16, 'length': 64, 'horizon': 15, 'starts': 0,
    'gradient': 'v1', 'discount_horizon': 333.0, 'lam': 0.95, 'entropy': 0.0003, 'free_nats': 1.0, 'obs_scale': 1.0,
    'vector_scale': 1.0, 'ensemble': 8, 'disag_target': 'stoch', 'disag_scale': 1.0, 'probe_units': 256,
    'precision': 'float32', 'world_model': 'own', 'part': 'all', 'interact_every': 0, 'interact_steps': 0,
    'interact_by': 'ood_ratio', 'interact_above': 0.0, 'interact_below': 0.0, 'collect_until': 0, 'capacity': 0,
    'measures': 0,
}  # fmt: skip


def make(agent, seed=3, **values):
    return plan.make(agent, TASK, seed, SMOKE, **values)


def test_active_has_no_source_and_its_pair_seed():
    spec = make('active')
    assert (spec.data, spec.source, spec.seed, spec.init_seed, spec.w_expl) == ('own', None, 3, 3, 0)


@pytest.mark.parametrize('source', ['active', 'active_expl', 'active_mixed'])
def test_passive_reads_the_final_replay_with_seeds_of_its_own(source):
    spec = make(source.replace('active', 'passive'))
    assert spec.data == 'final'
    assert spec.source == make(source)
    assert spec.seed != spec.source.seed
    assert spec.init_seed != spec.source.init_seed
    assert spec.w_expl == 0


def test_passive_same_differs_from_passive_in_initial_weights_only():
    same, diff = make('passive_same'), make('passive')
    assert same.init_seed == same.source.init_seed != diff.init_seed
    assert (same.seed, same.data, same.source) == (diff.seed, diff.data, diff.source)


@pytest.mark.parametrize('source', ['active', 'active_expl', 'active_mixed'])
def test_tandem_differs_from_its_source_in_initial_weights_only(source):
    spec = make(source.replace('active', 'tandem'))
    assert spec.data == 'batches'
    assert spec.source == make(source)
    assert spec.seed == spec.source.seed
    assert spec.init_seed != spec.source.init_seed
    assert spec.alpha == 1


def test_tandem_alpha_takes_alpha_and_its_source_does_not():
    spec = make('tandem_alpha_1e-3', alpha=0.0)
    assert (spec.alpha, spec.source.alpha, spec.source) == (0, 1, make('active'))
    assert 0 < make('tandem_alpha_1e-3').alpha < 1


def test_explorers_differ_in_the_weight_of_exploration():
    assert [make(name).w_expl for name in ('active', 'active_mixed', 'active_expl')] == [0, 0.5, 1]


def test_how_data_are_collected_is_said_of_the_source_alone():
    spec = make('passive', w_expl=0.25, expl_until=4000)
    assert (spec.w_expl, spec.expl_until) == (0, 0)
    assert (spec.source.w_expl, spec.source.expl_until) == (0.25, 4000)
    assert make('active_mixed', w_expl=0.25).w_expl == 0.25


def test_values_reach_the_source_too():
    spec = make('tandem', budget=8000)
    assert spec.budget == spec.source.budget == 8000


def test_pair_seed_and_agent_can_be_told_from_every_run():
    for name in agents.AGENTS:
        spec = make(name, seed=7)
        assert spec.pair_seed == 7
        assert spec.run_id.startswith(f'{TASK}_{name}_s')


def test_the_identity_is_the_whole_spec():
    """So a default that changes renames its runs; what only some tasks have is no part of the others' identity."""
    fields = {field.name for field in dataclasses.fields(RunSpec)}
    maze, walker = RunSpec(TASK).canonical(), RunSpec('walker_walk-proprio').canonical()
    assert set(maze) == (fields | {'schema'}) - {'render', *LATER}
    assert set(walker) == set(maze) - {'goal_radius'}
    assert set(RunSpec('point_mass_maze-vision').canonical()) == set(maze) | {'render'}
    assert set(RunSpec('breakout-vision').canonical()) == set(walker)
    assert set(maze['model']) == {field.name for field in dataclasses.fields(ModelSpec)} - set(LATER)
    auto = plan.make('passive_auto', TASK, 0, scales.get('paper')).canonical()
    assert (auto['interact_every'], auto['interact_steps'], auto['interact_above']) == (5000, 2000, 1.35)
    half = RunSpec(TASK, model=ModelSpec(precision='bfloat16'))
    assert half.canonical()['model']['precision'] == 'bfloat16' and half.run_id != RunSpec(TASK).run_id
    assert RunSpec(TASK, lr_model=1).canonical() == RunSpec(TASK, lr_model=1.0).canonical()
    assert make('passive').canonical()['source'] == make('passive').source.run_id


def test_defaults_are_v1_at_size_s():
    defaults = dataclasses.asdict(RunSpec(TASK)) | dataclasses.asdict(ModelSpec())
    del defaults['task'], defaults['model']
    assert defaults == DEFAULTS


def test_no_two_agents_are_the_same_run():
    assert len({make(name).run_id for name in agents.AGENTS}) == len(agents.AGENTS)


def test_a_follower_of_a_dataset_has_the_seed_that_was_asked_for():
    spec = make('passive', source=Dataset('mine', TASK, 1000, 1, '0' * 64))
    assert (spec.seed, spec.init_seed, spec.pair_seed) == (3, 3, 3)


def test_unknown_agent_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"agent='pasive': must be one of active, .*; did you mean 'passive'"):
        make('pasive')


@pytest.mark.parametrize('name', scales.SCALES)
def test_toy_maze_lists_every_source_before_its_followers(name):
    specs = plan.specs('toy_maze', scales.get(name))
    assert len({spec.run_id for spec in specs}) == len(specs)
    for i, spec in enumerate(specs):
        assert spec.source is None or spec.source in specs[:i]


def test_laptop_has_five_pairs_and_two_of_each_explorer():
    counts = {}
    for spec in plan.specs('toy_maze', scales.get('laptop')):
        counts[spec.agent] = counts.get(spec.agent, 0) + 1
    assert counts == dict.fromkeys(agents.group('compared'), 5) | dict.fromkeys(agents.group('exploration', 'mixed'), 2)


def test_seeds_replace_those_of_the_scale():
    specs = plan.specs('toy_maze', scales.get('laptop'), seeds=1)
    assert {spec.pair_seed for spec in specs} == {0}
    assert len(specs) == len(agents.group('compared', 'exploration', 'mixed'))


@pytest.mark.parametrize(('name', 'seeds'), [('smoke', 1), ('laptop', 3), ('paper', 3)])
def test_base_agent_is_active_on_two_tasks(name, seeds):
    specs = plan.specs('base_agent', scales.get(name))
    tasks = ('walker_walk-proprio', 'cup_catch-proprio')
    assert [(spec.task, spec.agent, spec.seed) for spec in specs] == [
        (task, 'active', seed) for task in tasks for seed in range(seeds)
    ]
    assert len(plan.specs('base_agent', scales.get(name), seeds=2)) == 4


def test_base_agent_at_laptop_is_the_run_that_was_chosen():
    """Finished runs are found by this id: another value anywhere in the plan or scale loses them."""
    spec = plan.specs('base_agent', scales.get('laptop'))[0]
    assert spec.run_id == 'walker_walk-proprio_active_s0_8a5b90deaa333718'


def test_base_agent_at_paper_scale_is_size_s():
    for spec in plan.specs('base_agent', scales.get('paper')):
        assert spec == RunSpec(spec.task, seed=spec.seed, init_seed=spec.seed)


def test_paper_scale_is_the_paper():
    spec = plan.specs('toy_maze', scales.get('paper'))[0]
    assert (spec.model.deter, spec.model.batch, spec.model.length, spec.model.starts) == (512, 16, 64, 0)
    assert (spec.budget, spec.eval_every, spec.eval_episodes, spec.ratio, spec.chunk) == (1_000_000, 5000, 4, 0.5, 4)


@pytest.mark.parametrize(('name', 'render'), [('smoke', 'fast'), ('laptop', 'fast'), ('paper', 'suite')])
def test_paper_scale_draws_as_the_suite_does(name, render):
    spec = plan.make('tandem', 'walker_walk-vision', 0, scales.get(name))
    assert spec.render == spec.source.render == render and spec.options == {'render': render}
    maze = plan.make('active', 'point_mass_maze-vision', 0, scales.get(name))
    assert maze.options == {'render': render, 'goal_radius': maze.goal_radius}
    for task in (TASK, 'breakout-vision', 'walker_walk-proprio'):
        assert plan.make('active', task, 0, scales.get(name)).render == 'fast'
    assert 'render' not in plan.make('active', TASK, 0, scales.get(name)).options


def test_unknown_scale_is_named_with_the_allowed():
    with pytest.raises(UserError, match=r"scale='latpop': must be one of smoke, laptop, paper; did you mean 'laptop'"):
        scales.get('latpop')


# The ids of all runs that the scales plan, the optional ones too: a hash of them in alphabetical order. First those of
# the agents that there were before LATER_AGENTS, then all.
LATER_AGENTS = ('active_stopped', 'tandem_alpha_1e-2', 'tandem_alpha_1e-4', *scales.BEYOND)
IDS = {
    ('smoke', 'base_agent'): '09228b36e5cd0312', ('smoke', 'toy_maze'): 'e83d91d8f26d38ba',
    ('smoke', 'study'): '64b72d7145fe4818', ('laptop', 'base_agent'): '578ecc16eb97ef0f',
    ('laptop', 'toy_maze'): 'cf8a93c06a1da950', ('laptop', 'study'): '14c901566e5451d1',
    ('paper', 'base_agent'): '0a0aa772402a80f6', ('paper', 'toy_maze'): 'ed88001b7a412f52',
    ('paper', 'study'): 'd130c6bf8ee38899',
}  # fmt: skip

ALL_IDS = {
    ('smoke', 'study'): '29ec08d3335a3bd0', ('laptop', 'study'): '48e82b163960b93c',
    ('paper', 'study'): 'ef55d14e9428844f',
}  # fmt: skip


def test_ids_of_planned_runs_stay():
    """Finished runs are found by their ids: another value in any row, rule or default loses them."""
    assert _ids(lambda spec: spec.agent not in LATER_AGENTS) == IDS
    assert _ids(lambda spec: True) == IDS | ALL_IDS


def _ids(wanted):
    found = {}
    for name, scale in scales.SCALES.items():
        for chapter in scale.chapters:
            ids = sorted(spec.run_id for spec in plan.specs(chapter, scale, optional=True) if wanted(spec))
            found[name, chapter] = hashlib.sha256('\n'.join(ids).encode()).hexdigest()[:16]
    return found


def test_an_agent_that_stops_collecting_does_so_at_half_of_its_budget():
    for scale in scales.SCALES.values():
        stopped = [spec for spec in plan.specs('study', scale, optional=True) if spec.agent == 'active_stopped']
        assert stopped and all(spec.collect_until == spec.budget / 2 for spec in stopped), scale.name


def test_it_is_active_until_then():
    active, stopped = make('active'), make('active_stopped')
    assert dataclasses.replace(stopped, agent='active', collect_until=0) == active
    assert stopped.schedule.rows == active.schedule.rows / 2 and stopped.schedule.updates == active.schedule.updates


def test_the_published_alphas_are_there():
    assert {1e-2, 1e-3, 1e-4} <= {agents.get(name).values['alpha'] for name in agents.group('alphas')}


def test_what_the_paper_does_not_have_is_optional_where_its_runs_are_repeated():
    assert not set(scales.BEYOND) & {spec.agent for spec in plan.specs('study', scales.get('paper'))}
    assert set(scales.BEYOND) <= {spec.agent for spec in plan.specs('study', SMOKE)}


def test_an_agent_that_asks_an_offline_measure_has_the_schedule_of_the_papers_and_no_other_source():
    for scale in scales.SCALES.values():
        specs = plan.specs('study', scale, optional=True)
        theirs = {spec.source_id: spec for spec in specs if spec.agent == 'passive_auto'}
        asking = [spec for spec in specs if spec.agent == 'passive_auto_offline']
        assert asking and all(0 < spec.interact_below < 1 for spec in asking)
        for spec in asking:
            other = dataclasses.replace(
                theirs[spec.source_id],
                agent=spec.agent,
                interact_above=0.0,
                interact_by='density_ess',
                interact_below=spec.interact_below,
                measures=1,
            )
            assert other == spec


def test_planned_runs_are_not_the_optional_ones():
    laptop = scales.get('laptop')
    specs = plan.specs('study', laptop)
    assert {spec.agent for spec in specs if 10 < spec.pair_seed < 40} == set(agents.group('compared'))
    in_the_second_tier = {*scales.LONG, *scales.OF_NEW_PAIRS, *scales.SHORT, *scales.BEYOND}
    assert {spec.agent for spec in specs if spec.pair_seed == 10} == {*agents.group('compared'), *in_the_second_tier}
    further = [spec for spec in specs if spec.task in scales.FURTHER]
    later = [spec for spec in specs if spec.pair_seed in scales.LATER_PAIRS]
    assert {(spec.agent, spec.task, spec.pair_seed) for spec in later} == {
        (agent, task, seed)
        for agent in ('active', 'passive', 'passive_10', 'passive_auto', 'passive_auto_offline')
        for task in scales.MAIN
        for seed in (45, 46, 47, 48)
    }
    assert len(specs) - len(further) == 21 + 6 * 10 + 2 * len(in_the_second_tier) + 40
    remedies = {'passive_auto', 'passive_10', 'active_expl', 'passive_expl'}
    assert {spec.agent for spec in further} == remedies.union(agents.group('compared'))
    assert len(further) == 2 * 2 + 4 * (5 * 3 + 4 + 2)  # explorers; compared agents, + auto, + 10 %
    assert len(plan.specs('study', laptop, optional=True)) == 535


def test_pairs_begin_at_the_first_seed_of_their_entry_and_exploratory_ones_can_be_left_out():
    entries = (
        Planned('study', (TASK,), ('active',), 3, first=10),
        Planned('study', (TASK,), ('passive',), 1, exploratory=True),
    )
    scale = dataclasses.replace(SMOKE, planned=entries)
    assert [spec.pair_seed for spec in plan.specs('study', scale, exploratory=False)] == [10, 11, 12]
    assert [spec.pair_seed for spec in plan.specs('study', scale, seeds=1, exploratory=False)] == [10]
    assert {spec.pair_seed for spec in plan.specs('study', scale)} == {0, 10, 11, 12}


def test_pairs_beyond_those_trained_unasked_are_optional():
    scale = dataclasses.replace(SMOKE, planned=(Planned('study', (TASK,), ('active',), 4, first=10, unasked=3),))
    assert [spec.pair_seed for spec in plan.specs('study', scale)] == [10, 11, 12]
    assert [spec.pair_seed for spec in plan.specs('study', scale, optional=True)] == [10, 11, 12, 13]
    assert [spec.pair_seed for spec in plan.specs('study', scale, seeds=1)] == [10]


RULES = Scale(
    'own', '',
    planned=(Planned('toy_maze', (TASK,), ('all',), 1), Planned('toy_maze', (TASK,), ('alphas',), 2, unasked=0)),
    rules=(
        Rule({'budget': 600_000, 'chunk': 20, 'ratio': 0.25, 'model': {'deter': 16, 'units': 8}}),
        Rule({'ratio': 0.2, 'model': {'deter': 32}}, tasks=(TASK,)),
        Rule({'eval_episodes': 1}, agents=('alphas', 'passive')),
        Rule({'eval_episodes': 2}, agents=('passive',), chapter='study'),
    ),
)  # fmt: skip


def test_the_last_rule_that_matches_wins_and_models_are_merged():
    spec = plan.make('passive', TASK, 0, RULES)
    assert (spec.budget, spec.ratio, spec.eval_episodes) == (600_000, 0.2, 1)
    assert (spec.model.deter, spec.model.units, spec.model.stoch) == (32, 8, 32)
    assert spec.source.eval_episodes == RunSpec(TASK).eval_episodes
    assert plan.make('passive', TASK, 0, RULES, 'study').eval_episodes == 2
    assert plan.make('tandem_alpha_0', TASK, 0, RULES, eval_episodes=3).eval_episodes == 3
    assert plan.make('passive', TASK, 0, RULES, model={'units': 9}).model.units == 9


def test_a_task_that_no_rule_names_takes_the_general_ones():
    spec = plan.make('active', 'reacher_hard-proprio', 0, RULES)
    assert (spec.budget, spec.ratio, spec.model.deter, spec.model.units) == (600_000, 0.25, 16, 8)


def test_the_last_entry_of_the_plan_decides_how_many_pairs_and_whether_they_are_optional():
    names = [spec.agent for spec in plan.specs('toy_maze', RULES)]
    assert sorted(names) == sorted(name for name in agents.AGENTS if name not in agents.group('alphas'))
    every = [spec.agent for spec in plan.specs('toy_maze', RULES, optional=True)]
    assert all(every.count(name) == 2 for name in agents.group('alphas'))


def test_an_unknown_chapter_is_named():
    with pytest.raises(UserError, match="chapter='maze': must be one of base_agent, toy_maze, study"):
        plan.specs('maze', SMOKE)
