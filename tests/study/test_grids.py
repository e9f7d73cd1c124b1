import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from paper_lib.contract import agents, quantities, tasks
from paper_lib.study import captions, catalogue, grids, overview, plan, reference, scales, stats
from paper_lib.study.paper import PAPER_TASKS

GRIDS = [name for name, entry in catalogue.ENTRIES.items() if getattr(entry.draw, 'args', ()) == ('grids.curves',)]
GRIDS += ['figure_S1', 'figure_S7']
TASKS = ['cup_catch-proprio', 'window-open-proprio', 'breakout-vision']


def text(figure):
    return ' '.join(' '.join(artist.get_text() for artist in figure.findobj(Text)).split())


def line(axes, agent):
    """The line of an agent with its label, None if there is none."""
    return next((x for x in axes.lines if str(x.get_label()).startswith(f'{agents.get(agent).label} (')), None)


def without(study, agent, task):
    """The study without the rows of an agent on a task."""
    lost = (study.metrics.agent == agent) & (study.metrics.task == task)
    return dataclasses.replace(study, metrics=study.metrics[~lost])


def level(agent):
    """The agent's mean normalised final score in the made-up study."""
    return 1 - 0.02 * list(agents.AGENTS).index(agent)


@pytest.mark.parametrize('name', GRIDS)
def test_every_panel_shows_the_means_of_its_agents_task_and_quantity(name, study):
    entry = catalogue.ENTRIES[name]
    options, found = entry.draw.keywords, entry.of(study)
    columns, faded = options['columns'], options.get('faded', ())
    panels = np.reshape(entry.make(found).axes, (len(columns), -1))
    metrics = grids.percent(found).metrics
    for row, column in zip(panels, columns, strict=True):
        assert row[0].get_ylabel() == quantities.get(column).axis
        for axes, task in zip(row, found.tasks, strict=False):
            for agent in entry.agents:
                own = metrics[(metrics.agent == agent) & (metrics.task == task)].groupby('env_step')[column].mean()
                if own.isna().all():
                    assert line(axes, agent) is None
                    continue
                drawn = line(axes, agent)
                np.testing.assert_allclose(drawn.get_xydata(), np.stack([own.index, own], 1))
                assert (drawn.get_color(), drawn.get_linestyle()) == (
                    agents.get(agent).color,
                    '--' if agent in faded else '-',
                )
    count = len(found.tasks)
    assert [axes.get_title('left') for axes in panels[0, :count]] == TASKS[:count]
    assert panels.shape[1] == count + options.get('mean', False)


def test_single_seeds_are_drawn_but_of_a_baseline(study):
    axes = catalogue.ENTRIES['figure_6'].make(catalogue.ENTRIES['figure_6'].of(study)).axes[0]
    assert len([x for x in axes.lines if x.get_color() == agents.get('active').color]) == 1
    assert len([x for x in axes.lines if x.get_color() == agents.get('passive_expl').color]) == 3


@pytest.mark.parametrize(('name', 'title', 'expected'), [
    ('figure_S10', 'normalised mean,\n3 tasks', lambda x: x),
    ('figure_S11', 'normalised mean,\n3 tasks', lambda x: (4 * x + 8) / 12),
    ('figure_S14', 'mean,\n3 tasks', lambda x: 3 + x),
])  # fmt: skip
def test_last_panel_is_the_mean_over_tasks(name, title, expected, study):
    entry = catalogue.ENTRIES[name]
    axes = entry.make(entry.of(study)).axes[3]
    assert axes.get_title('left') == title
    for agent in entry.agents:
        values = [expected(level(agent) + 0.5 * shift) for shift in (-2, -1, 0)]
        np.testing.assert_allclose(line(axes, agent).get_ydata(), values, atol=1e-12)


def test_a_mean_over_tasks_is_over_those_that_all_have(study):
    """An agent that one task lacks takes it from the mean of all: others would be compared over other tasks."""
    found = without(study, 'passive', TASKS[0])
    entry = catalogue.ENTRIES['figure_S11']
    axes = entry.make(entry.of(found)).axes[3]
    assert axes.get_title('left') == 'normalised mean,\n2 tasks'
    whole = entry.make(entry.of(study.of(TASKS[1:], 'task'))).axes[2]
    for agent in entry.agents:
        np.testing.assert_array_equal(line(axes, agent).get_ydata(), line(whole, agent).get_ydata())


def test_an_agent_that_the_figure_is_not_about_takes_no_task_from_the_mean(study):
    found = without(study, 'passive_same', TASKS[0])
    entry = catalogue.ENTRIES['figure_S10']
    axes = entry.make(entry.of(found)).axes[3]
    assert axes.get_title('left') == 'normalised mean,\n3 tasks'
    label = agents.get('passive_same').label
    assert not [drawn for drawn in axes.lines if drawn.get_label().startswith(label)]
    whole = entry.make(entry.of(study)).axes[3]
    for agent in agents.group('compared'):
        np.testing.assert_array_equal(line(axes, agent).get_ydata(), line(whole, agent).get_ydata())
    part = entry.make(entry.of(found), ['active', 'passive_same']).axes[3]
    assert part.get_title('left') == 'normalised mean,\n2 tasks'


def test_scores_over_added_data_are_of_the_tasks_of_all_agents_that_add(study):
    found = without(study, 'passive_50', TASKS[0])
    entry = catalogue.ENTRIES['figure_S15']
    axes = entry.make(entry.of(found)).axes[0]
    assert axes.get_ylabel() == 'normalised mean score, 2 tasks'
    whole = entry.make(entry.of(study.of(TASKS[1:], 'task'))).axes[0]
    for agent in entry.agents:
        np.testing.assert_array_equal(line(axes, agent).get_xydata(), line(whole, agent).get_xydata())


def test_a_band_is_drawn_where_it_is_more_than_the_range_of_its_seeds(study):
    more = [study.metrics[study.metrics.pair_seed == 0].assign(pair_seed=seed) for seed in (2, 3)]
    entry = catalogue.ENTRIES['figure_3']
    for count, bands in ((0, 0), (1, 0), (2, 3)):
        metrics = pd.concat([study.metrics, *more[:count]])
        axes = entry.make(entry.of(dataclasses.replace(study, metrics=metrics))).axes[0]
        assert len(axes.collections) == bands


def test_what_was_not_trained_leaves_a_gap_in_a_sweep(study):
    entry = catalogue.ENTRIES['figure_7']
    found = entry.of(study).of(['active', 'active_expl'])
    axes = entry.make(found).axes[0]
    drawn = next(x for x in axes.lines if x.get_label() == agents.get('active').label)
    assert np.isnan(drawn.get_ydata()).tolist() == [False, True, True, True, False]


def test_added_data_are_in_percent_of_the_source(study):
    found = grids.percent(study.of(['passive', 'passive_10']))
    own = found.metrics[(found.metrics.agent == 'passive_10') & (found.metrics.pair_seed == 0)]
    np.testing.assert_allclose(own[own.env_step == 6000].added, 10 * (level('passive_10') + 0.1))
    assert found.metrics[found.metrics.agent == 'passive'].added.isna().all()


def test_tasks_that_active_does_not_learn_are_left_out_and_named(study):
    metrics = study.metrics.copy()
    lost = (metrics.agent == 'active') & (metrics.task == TASKS[0])
    metrics.loc[lost, 'score'] = reference.random_score(TASKS[0]) - 1
    found = dataclasses.replace(study, metrics=metrics)
    for name in ('figure_S10', 'figure_1', 'figure_S15'):
        words = text(catalogue.ENTRIES[name].make(catalogue.ENTRIES[name].of(found)))
        assert f'no better than random or not there: {TASKS[0]}' in words
    assert set(grids.relative(found).task) == set(TASKS[1:])


@pytest.mark.parametrize('name', ['figure_7', 'figure_S9'])
def test_sweep_is_over_the_weight_of_exploration(name, study):
    entry = catalogue.ENTRIES[name]
    found = entry.of(study)
    shown = dict.fromkeys(spec.task for spec in found.specs)
    figure = entry.make(found)
    assert [axes.get_title('left') for axes in figure.axes] == list(shown)
    finals = stats.final(found.metrics, 'score')
    for axes, task in zip(figure.axes, shown, strict=True):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ['0', '0.1', '0.5', '0.9', '1']
        for i, agent in enumerate(agents.group('compared')):
            names = [agent, f'{agent}_mixed_10', f'{agent}_mixed', f'{agent}_mixed_90', f'{agent}_expl']
            own = finals[finals.task == task].pivot(index='pair_seed', columns='agent', values='score')
            gain = own.active.mean() - reference.random_score(task)
            means = (1 + own.sub(own.active, axis=0) / gain).mean()[names]
            drawn = next(x for x in axes.lines if x.get_label() == agents.get(agent).label)
            np.testing.assert_allclose(drawn.get_xydata(), np.stack([np.arange(5) + 0.1 * (i - 1), means], 1))
        dashed = next(x for x in axes.lines if x.get_linestyle() == '--')
        np.testing.assert_allclose(dashed.get_ydata(), 1)


def test_families_learn_from_data_collected_with_these_weights():
    for agent in agents.group('compared'):
        for name, weight in agents.family(agent).items():
            spec = plan.make(name, TASKS[0], 0, scales.get('smoke'))
            assert (spec.source or spec).w_expl == weight


def test_score_is_drawn_over_added_data_with_a_marker_per_evaluation(study):
    entry = catalogue.ENTRIES['figure_S15']
    axes = entry.make(entry.of(study)).axes[0]
    for agent in agents.group('interacting'):
        scores = np.array([level(agent) - 1, level(agent) - 0.5, level(agent)])
        added = 100 * np.array([2000, 4000, 6000]) * scores / 10 / 6000
        np.testing.assert_allclose(line(axes, agent).get_xydata(), np.stack([added, scores], 1))
        assert line(axes, agent).get_markevery() is None
    np.testing.assert_allclose(line(axes, 'passive').get_ydata(), level('passive'))


def test_evaluations_with_the_same_added_data_are_one_mark_at_their_mean(study):
    entry = catalogue.ENTRIES['figure_S15']
    metrics = study.metrics.assign(added=study.metrics.added.where(study.metrics.added.isna(), 300.0))
    axes = entry.make(entry.of(dataclasses.replace(study, metrics=metrics))).axes[0]
    drawn = line(axes, 'passive_10').get_xydata()
    np.testing.assert_allclose(drawn, [[100 * 300 / 6000, level('passive_10') - 0.5]])


def test_bars_are_normalised_means(study):
    figure = catalogue.ENTRIES['figure_1'].make(study)
    panels = [axes for axes in figure.findobj(lambda x: hasattr(x, 'patches') and hasattr(x, 'get_title'))
              if axes.get_title('left')[:3] in ('(c)', '(d)', '(e)')]  # fmt: skip
    for axes, names in zip(panels, map(agents.group, overview.BARS.values()), strict=True):
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [level(name) for name in names])
        assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == [agents.get(name).color for name in names]


def test_montage_has_every_task_and_frames_those_of_the_scale(study):
    figure = catalogue.ENTRIES['figure_1'].make(study)
    shown = {axes.get_title(): axes for axes in figure.axes if axes.images}
    assert set(shown) == {task.short for task in map(tasks.get, PAPER_TASKS)}
    framed = {name for name, axes in shown.items() if axes.spines['top'].get_visible()}
    assert framed == {'cup_catch', 'window-open', 'breakout'}


def test_halves_of_the_replay_are_those_of_the_rows(study):
    entry = catalogue.ENTRIES['figure_S8']
    axes = entry.make(entry.of(study)).axes[0]
    spans = {tick.get_text(): patches[0].get_bbox() for tick, patches in zip(axes.get_yticklabels(), axes.containers)}
    parts = {
        agents.get(name).label: agents.get(name).values.get('part', 'all') for name in entry.agents if name != 'active'
    }
    edges = {'all': (0, 1), 'mixed': (0, 1), 'first': (0, 0.5), 'second': (0.5, 1)}
    assert {name: (box.x0, box.x1) for name, box in spans.items()} == {name: edges[x] for name, x in parts.items()}


@pytest.mark.parametrize(('panels', 'shape'), [
    (1, (1, 1)), (4, (1, 4)), (6, (2, 3)), (7, (2, 4)), (9, (2, 5)), (32, (6, 6)),
])  # fmt: skip
def test_at_most_four_of_few_panels_are_in_a_row_and_rows_are_full(panels, shape):
    assert grids._shape(panels) == shape


def test_panels_of_several_quantities_stay_together():
    figure = Figure()
    cells, wide = grids._cells(figure, [f'task {i}' for i in range(7)], rows_each=2)
    assert (len(cells), wide) == (7, 4)
    assert len(figure.axes) == 14
    for score, loss in cells:
        assert loss.get_subplotspec().rowspan.start == score.get_subplotspec().rowspan.start + 1
        assert loss.get_subplotspec().colspan.start == score.get_subplotspec().colspan.start


def test_final_scores_stand_in_the_order_of_tasks_pairs_and_agents(study):
    table = overview.finals(study, ['passive', 'active', 'nobody_ran_this'])
    assert list(table) == ['task', 'pair seed', 'Passive', 'Active']
    assert list(zip(table.task, table['pair seed'])) == [(task, seed) for task in study.tasks for seed in (0, 1)]
    metrics = study.metrics.query('task == @study.tasks[0] and pair_seed == 1 and agent == "active"')
    assert table.Active[1] == metrics.score.iloc[-1]  # of three evaluations the last fifth is one


def test_mean_curves_are_over_tasks_of_one_budget(study):
    """The longest of equally many: a third task that ends earlier does not cut the curve of the two others."""
    metrics = study.metrics[(study.metrics.task != TASKS[0]) | (study.metrics.env_step < 6000)]
    found = grids.mean_curve(dataclasses.replace(study, metrics=metrics), 'wm_loss')
    assert set(found.tasks) == {2} and found.env_step.max() == 6000


def test_mean_curves_leave_out_exploratory_tasks_if_the_others_have_the_same_agents(study):
    metrics = study.metrics[(study.metrics.task != TASKS[0]) | (study.metrics.env_step < 6000)]
    explored = dataclasses.replace(study, metrics=metrics, exploratory=tuple(TASKS[1:]))
    found = grids.mean_curve(explored, 'wm_loss')
    assert set(found.tasks) == {1} and found.env_step.max() == 4000
    lacking = (metrics.task == TASKS[0]) & (metrics.agent == 'passive')
    found = grids.mean_curve(dataclasses.replace(explored, metrics=metrics[~lacking]), 'wm_loss')
    assert set(found.tasks) == {2} and found.env_step.max() == 6000


def test_a_bar_of_few_pairs_is_beside_the_active_agents_of_these_pairs(study):
    """Active gains 50 and 150. An agent of the second pair alone that gains 150 is as good as Active, not better.

    Passive loses 25 in the first pair and 75 in the second one: 0.25 and 0.75 of what Active gains on average.
    """
    task = TASKS[0]
    gains = {('active', 0): 50, ('active', 1): 150, ('passive', 0): 25, ('passive', 1): 75, ('passive_10', 1): 150}
    metrics = study.metrics[study.metrics.task == task]
    keys = list(zip(metrics.agent, metrics.pair_seed))
    metrics = metrics[[key in gains for key in keys]]
    scores = [reference.random_score(task) + gains[key] for key in keys if key in gains]
    found = grids.relative(dataclasses.replace(study, metrics=metrics.assign(score=scores)))
    axes = Figure().subplots()
    overview.bars(axes, found, ['passive_10'], [task])
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([1])
    assert [label.get_text().partition('(')[2] for label in axes.get_xticklabels()] == ['1 pair)']
    dotted = next(line for line in axes.lines if line.get_label() == 'Passive of the same pairs')
    assert dotted.get_ydata()[0] == pytest.approx(0.25)
    axes = Figure().subplots()
    overview.bars(axes, found, ['active', 'passive'], [task])
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([1, 0.5])


def test_a_bar_of_too_few_pairs_is_outlined_and_each_has_passive_of_its_own_pairs():
    """Passive scores 0.2 in the first pair and 0.4 in the others; Passive + 10 % has run in the first pair alone."""
    pairs = pd.DataFrame({'task': 'a', 'pair_seed': range(6)})
    passive = pairs.assign(agent='passive', score=np.where(pairs.pair_seed == 0, 0.2, 0.4))
    many = pairs.assign(agent='passive_50', score=0.9)
    few = pairs.iloc[:1].assign(agent='passive_10', score=0.5)
    axes = Figure().subplots()
    overview.bars(axes, pd.concat([pairs.assign(agent='active', score=1.0), passive, many, few]),
                  ['passive_50', 'passive_10'], ['a'])  # fmt: skip
    dotted = [line.get_ydata()[0] for line in axes.lines if line.get_label() == 'Passive of the same pairs']
    assert dotted == pytest.approx([2.2 / 6, 0.2])
    white = to_rgba('white')
    assert [bar.get_facecolor() == white for bar in axes.patches] == [False, True]


def test_later_pairs_are_in_no_bar_of_active_passive_and_tandem_alone():
    """Passive of the later pair stands beside that of the agent that adds data, in whose panel it is."""
    task = scales.MAIN[0]
    pairs = pd.DataFrame({'task': task, 'pair_seed': [0, scales.LATER_PAIRS.start]})
    runs = pd.concat([
        pairs.assign(agent='active', score=1.0), pairs.assign(agent='passive', score=[0.5, 0.1]),
        pairs.iloc[1:].assign(agent='passive_10', score=0.8),
    ])  # fmt: skip
    alone, elsewhere, adding = Figure().subplots(1, 3)
    overview.bars(alone, runs, ['active', 'passive'], [task])
    assert [bar.get_height() for bar in alone.patches] == pytest.approx([1, 0.5])
    overview.bars(elsewhere, runs.assign(task='a'), ['active', 'passive'], ['a'])
    assert [bar.get_height() for bar in elsewhere.patches] == pytest.approx([1, 0.3])
    overview.bars(adding, runs, ['passive_10'], [task])
    dotted = [line.get_ydata()[0] for line in adding.lines if line.get_label() == 'Passive of the same pairs']
    assert dotted == pytest.approx([0.1])


def test_later_pairs_set_no_unit_of_scores_relative_to_active(study):
    def scores(found):
        rows = grids.relative(found)
        return rows[rows.pair_seed == 0].reset_index(drop=True)

    def late(table):
        later = table[table.pair_seed == 1].assign(pair_seed=scales.LATER_PAIRS.start)
        return pd.concat([table[table.pair_seed == 0], later])

    def alone(table):
        return table[table.pair_seed == 0]

    names = dict(zip(study.metrics.task.unique(), scales.TESTED))
    metrics = study.metrics.assign(task=study.metrics.task.map(names))
    found, of_both, without = (
        scores(dataclasses.replace(study, metrics=each)) for each in (metrics, late(metrics), alone(metrics))
    )
    is_main = found.task.isin(scales.MAIN)
    pd.testing.assert_frame_equal(of_both[is_main], without[is_main])
    assert not np.allclose(found.score[is_main], of_both.score[is_main])
    pd.testing.assert_frame_equal(of_both[~is_main], found[~is_main])  # they are set aside on the main tasks alone


def test_a_figure_is_of_the_pairs_in_which_an_agent_that_it_is_about_has_run(study):
    kept = (study.runs.agent != 'passive_10') | (study.runs.pair_seed == 1)
    other = study.runs.agent.isin(agents.group('interacting')) & (study.runs.agent != 'passive_10')
    runs = study.runs[kept & ~other]
    found = dataclasses.replace(study, runs=runs, metrics=study.metrics[study.metrics.run_id.isin(runs.run_id)])
    entry = catalogue.ENTRIES['figure_8']
    words = captions.caption(entry, entry.of(found))
    only = 'Only the pairs in which Passive + 10 % has run are drawn'
    normalised = catalogue.ENTRIES['figure_S12']
    assert f'{only}.' in words
    assert f'{only}, and set the units.' in captions.caption(normalised, normalised.of(found))
    assert '1 of Active, Passive and Passive + 10 %' in words
    assert line(entry.make(entry.of(found)).axes[0], 'active').get_label() == 'Active (1 run)'
    nothing = entry.make(entry.of(found), ['active', 'passive'])
    assert line(nothing.axes[0], 'active').get_label() == 'Active (2 runs)'


def test_the_threshold_of_an_adaptive_schedule_is_a_line_where_the_ood_ratio_is(study):
    entry = catalogue.ENTRIES['figure_S14']
    axes = entry.make(entry.of(study)).axes[0]
    assert [x.get_ydata()[0] for x in axes.lines if x.get_linestyle() == ':'] == [1.35]
    losses = catalogue.ENTRIES['figure_S13']
    assert not [x for x in losses.make(losses.of(study)).axes[0].lines if x.get_linestyle() == ':']


def test_a_bar_has_the_interval_of_the_claim():
    """Four pairs of one task and two of another, which weigh as much."""
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({'task': ['a'] * 4 + ['b'] * 2, 'pair_seed': range(6), 'score': rng.normal(0.5, 0.2, 6)})
    runs = pd.concat([pairs.assign(agent='passive'), pairs.assign(agent='active', score=1.0)])
    axes = Figure().subplots()
    overview.bars(axes, runs, ['active', 'passive'], ['a', 'b'])
    expected = stats.mean_of_tasks({task: own.score.to_numpy() - 1 for task, own in pairs.groupby('task')})
    (line,) = axes.collections[-1].get_segments()
    assert line[:, 1] == pytest.approx([1 + expected.low, 1 + expected.high])
    assert axes.patches[-1].get_height() == pytest.approx(1 + expected.value)


def test_the_glance_leaves_out_exploratory_tasks_if_there_are_others(study):
    entry = catalogue.ENTRIES['figure_1']
    assert entry.of(dataclasses.replace(study, exploratory=tuple(TASKS[1:]))).tasks == TASKS[:1]
    assert entry.of(dataclasses.replace(study, exploratory=tuple(TASKS))).tasks == TASKS
    assert {spec.task for spec in entry.part(study.specs, exploratory=TASKS[1:])} == {TASKS[0]}


def test_scores_over_added_data_are_of_the_pairs_of_the_agents_that_add(study):
    adding = study.runs.agent.isin(agents.group('interacting'))
    runs = study.runs[~adding | (study.runs.pair_seed == 1)]
    kept = dataclasses.replace(study, runs=runs, metrics=study.metrics[study.metrics.run_id.isin(runs.run_id)])
    entry = catalogue.ENTRIES['figure_S15']
    axes = entry.make(entry.of(kept)).axes[0]
    assert line(axes, 'active').get_label() == 'Active (1 run)'


def test_units_of_scores_over_added_data_are_those_of_the_pairs_that_are_drawn(study):
    """Active of the pair that is drawn scores three times as much as the other one."""
    is_better = (study.metrics.agent == 'active') & (study.metrics.pair_seed == 1)
    metrics = study.metrics.assign(score=study.metrics.score.where(~is_better, 3 * study.metrics.score))
    kept = metrics[~metrics.agent.isin(agents.group('interacting')) | (metrics.pair_seed == 1)]
    runs = study.runs[study.runs.run_id.isin(kept.run_id)]
    entry = catalogue.ENTRIES['figure_S15']
    axes = entry.make(entry.of(dataclasses.replace(study, runs=runs, metrics=kept))).axes[0]
    of_pair = stats.final(kept[kept.pair_seed == 1], 'score')
    finals = stats.normalised(of_pair, reference.random_score)
    np.testing.assert_allclose(line(axes, 'active').get_ydata(), 1)
    np.testing.assert_allclose(line(axes, 'passive').get_ydata(), finals[finals.agent == 'passive'].score.mean())


def test_a_sweep_without_neighbours_has_marks_alone(study):
    far = [f'{agent}_mixed_{weight}' for agent in agents.group('compared') for weight in (10, 90)]
    entry = catalogue.ENTRIES['figure_S9']
    for left_out, style in (((), '-'), (far, 'None')):
        kept = dataclasses.replace(study, metrics=study.metrics[~study.metrics.agent.isin(left_out)])
        lines = entry.make(entry.of(kept)).axes[0].lines
        assert [x.get_linestyle() for x in lines if x.get_label() == agents.get('passive').label] == [style]
