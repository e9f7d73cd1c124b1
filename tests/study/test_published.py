import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from paper_lib.contract import agents
from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import ModelSpec
from paper_lib.study import captions, catalogue, frames, panels, plan, published, scales

WALKER, CUP = 'walker_walk-proprio', 'cup_catch-proprio'
LAPTOP = plan.specs('base_agent', scales.get('laptop'))
STEPS = np.arange(1, 61) * 5000


def study(level, done=LAPTOP):
    """Frames in which every run of `done` ends at `level`; far off before the last five evaluations and after 250K."""
    score = np.where((STEPS > 225_000) & (STEPS <= 250_000), level, -1e6)
    rows = [pd.DataFrame({'run_id': spec.run_id, 'task': spec.task, 'agent': spec.agent, 'pair_seed': spec.seed,
                          'env_step': STEPS, 'score': score}) for spec in done]  # fmt: skip
    metrics = pd.concat(rows, ignore_index=True)
    runs = metrics[['run_id', 'task', 'agent', 'pair_seed']].drop_duplicates()
    return frames.Frames(tuple(LAPTOP), runs, metrics, *[metrics[:0]] * 4, scale='laptop')


def test_published_scores_are_five_seeds_every_10k_steps():
    for task in (WALKER, CUP):
        found = published.scores(task)
        assert found.columns.tolist() == [0, 1, 2, 3, 4]
        assert found.index.tolist() == list(range(10_000, 500_000, 10_000))
        assert found.notna().all(axis=None)


def test_ranges_are_those_of_the_publication():
    assert [round(end) for end in published.span(WALKER)] == [827, 946]
    assert [round(end) for end in published.span(CUP)] == [918, 999]


def test_published_scores_are_part_of_the_package():
    assert published.FILE.parent == Path(published.__file__).parent
    project = tomllib.loads((Path(__file__).parents[2] / 'pyproject.toml').read_text())
    assert published.FILE.name in project['tool']['setuptools']['package-data']['paper_lib.study']


@pytest.mark.parametrize('content', [None, '', 'a,b\n1,2\n', 'task,seed,env_steps,score\nwalker_walk-proprio,0,5,x\n'])
def test_a_damaged_file_is_named_in_one_line(content, tmp_path, monkeypatch):
    monkeypatch.setattr(published, 'FILE', tmp_path / 'published.csv')
    if content is not None:
        published.FILE.write_text(content)
    with pytest.raises(RunError) as error:
        published.scores(WALKER)
    assert str(published.FILE) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('score', 'task', 'expected'),
    [
        (890, WALKER, 'inside'),
        (826, WALKER, 'below'),
        (700, WALKER, 'below'),
        (699, WALKER, 'alarm'),
        (950, WALKER, 'above'),
        (918, CUP, 'inside'),
        (999, CUP, 'inside'),
        (850, CUP, 'below'),
        (849, CUP, 'alarm'),
        (float('nan'), CUP, 'alarm'),
        (float('inf'), CUP, 'alarm'),
    ],
)
def test_verdict(score, task, expected):
    assert published.verdict(score, task) == expected


def test_table_takes_the_last_five_evaluations_up_to_250k():
    table = published.table(study(920.0 + np.resize([-2, -1, 0, 1, 2], len(STEPS)), LAPTOP[:4]))
    assert list(table) == ['result', 'task', 'seed', 'mean of last 5 evaluations', 'published at 250K', 'alarm below']
    assert table.task.tolist() == [WALKER] * 3 + [CUP] * 3
    assert table['mean of last 5 evaluations'].tolist()[:4] == [920.0] * 4
    assert table['published at 250K'].unique().tolist() == ['827 to 946', '918 to 999']
    assert table.result.tolist() == ['inside'] * 4 + ['missing'] * 2


def test_a_run_that_ends_early_is_too_short_to_compare(chapters):
    assert set(published.table(chapters['base_agent']).result) == {'too short'}


def test_one_nan_evaluation_is_an_alarm():
    scores = np.where(STEPS == 240_000, np.nan, 920.0)
    assert set(published.table(study(scores)).result) == {'alarm'}


def test_deviations_are_complete_and_follow_from_the_spec():
    found = published.deviations(LAPTOP[0])
    assert len(found) == 11
    assert 'steps per sequence 32 (64)' in found
    assert 'starts of imagination per update 64 (1,024)' in found
    assert 'learning rate of the world model 2.0e-04 (1.0e-04)' in found
    other = dataclasses.replace(LAPTOP[0], ratio=0.1, model=dataclasses.replace(LAPTOP[0].model, gradient='reinforce'))
    assert set(published.deviations(other)) - set(found) == {
        'updates per agent step 0.1 (0.5)',
        'gradient of the actor reinforce (v1)',
    }
    assert published.deviations(plan.specs('base_agent', scales.get('paper'))[0]) == []


def test_values_of_exploration_count_where_a_run_explores():
    spec = dataclasses.replace(LAPTOP[0], model=dataclasses.replace(LAPTOP[0].model, ensemble=3))
    assert not [text for text in published.deviations(spec) if 'ensemble' in text]
    assert 'networks of the ensemble 3 (8)' in published.deviations(dataclasses.replace(spec, w_expl=0.25))


def test_an_agent_that_collects_unlike_its_row_is_named():
    plain = plan.make('active_mixed', WALKER, 0, scales.get('paper'))
    assert published.collected_for(plain) == published.collected_for(LAPTOP[0]) == ''
    spec = dataclasses.replace(LAPTOP[0], w_expl=0.25, expl_until=150_000)
    assert (
        'Active collects its data acting on 0.75 task + 0.25 disagreement reward until 150,000'
        in published.collected_for(spec)
    )
    assert published.collected_for(dataclasses.replace(spec, expl_until=0)).endswith('disagreement reward.')


def test_caption_states_sizes_scores_and_thresholds():
    words = captions.caption(catalogue.ENTRIES['figure_base_agent'], study(920.0, LAPTOP[:4]))
    for part in (f'{WALKER}, {CUP}', 'steps per sequence 32 (64)', 'per seed: 920, 920, 920 (aim: 827 to 946',
                 'per seed: 920 (aim: 918 to 999', 'alarm: below 850',
                 'Planned, no result yet: 2 of 6 runs. `paper-lib notebooks 0_base_agent` trains them.'):  # fmt: skip
        assert part in words


def test_figure_has_one_panel_per_task_up_to_250k():
    figure = catalogue.ENTRIES['figure_base_agent'].make(study(920.0, LAPTOP[:4]))
    assert [axes.get_title('left') for axes in figure.axes] == [f'(a) {WALKER}', f'(b) {CUP}']
    assert all(250_000 < axes.get_xlim()[1] < 260_000 for axes in figure.axes)
    assert figure.axes[0].get_xlabel() == 'environment steps'
    assert figure.axes[1].get_xlabel() == 'environment steps\nplanned (no result yet): Active 2'


def test_panel_marks_their_range_and_the_alarm():
    axes = Figure().subplots()
    panels.published(axes, published.scores(CUP), 250_000, 850)
    *seeds, mean, span, alarm = axes.lines
    assert len(seeds) == 5
    np.testing.assert_allclose(mean.get_ydata()[-1], 956.2)
    assert span.get_ydata().tolist() == [918, 999]
    assert span.get_xdata().tolist() == [250_000] * 2
    assert set(alarm.get_ydata()) == {850}


@pytest.mark.parametrize('agent', agents.AGENTS)
def test_what_makes_an_agent_is_no_deviation(agent):
    assert published.deviations(plan.make(agent, 'breakout-vision', 0, scales.get('paper'))) == []


def test_the_size_of_convolutions_counts_where_there_are_pictures():
    runs = [plan.make('active', task, 0, scales.get('paper')) for task in ('breakout-vision', WALKER)]
    seen, felt = (dataclasses.replace(run, model=ModelSpec(cnn_depth=8)) for run in runs)
    assert set(published.deviations(seen)) - set(published.deviations(felt)) == {
        'channels of the first convolution 8 (32)'
    }


def test_another_schedule_than_the_papers_is_named():
    spec = plan.make('passive', WALKER, 0, scales.get('paper'))
    others = [plan.make(agent, WALKER, 0, scales.get('paper')) for agent in ('passive_1', 'passive_auto')]
    assert published.schedules([spec, spec.source, *others]) == []
    own = dataclasses.replace(spec, interact_every=20_000, interact_steps=200, interact_above=1.2)
    assert published.schedules([own, own]) == [
        'Passive adds 200 steps every 20,000 where the OOD ratio is above 1.2; in the paper nothing.'
    ]


def test_tasks_are_named_where_only_some_have_the_schedule_of_the_paper():
    specs = [plan.make('passive_10', task, 0, scales.get('laptop')) for task in (WALKER, 'breakout-vision')]
    assert published.schedules(specs) == [
        f'Passive + 10 % adds 200 steps every 2,000 on {WALKER}, and 2,000 steps every 20,000 on breakout-vision; '
        'in the paper 2,000 steps every 20,000.'
    ]


def test_a_schedule_that_the_paper_does_not_have_is_named_by_its_measure_and_on_each_task():
    specs = [plan.make('passive_auto_offline', task, 0, scales.get('laptop')) for task in scales.MAIN]
    (sentence,) = published.schedules(specs)
    first, second = scales.MAIN
    where = '2,000 steps every 4,000 where the effective share of the recording is below'
    assert sentence == (
        f'Passive + auto offline adds {where} {scales.LAPTOP_SHARES[first]:g} on {first}, and '
        f'{where} {scales.LAPTOP_SHARES[second]:g} on {second}.'
    )
    at_paper = [plan.make('passive_auto_offline', task, 0, scales.get('paper')) for task in scales.MAIN]
    (only,) = published.schedules(at_paper)
    assert only.endswith('every 5,000 where the effective share of the recording is below 0.1.')
