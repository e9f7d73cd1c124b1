import dataclasses
import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import LogNorm, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from paper_lib.contract import agents, tasks
from paper_lib.contract.maze_layout import GOAL, START
from paper_lib.contract.plane import CELLS
from paper_lib.study import archive, captions, catalogue, drawing, panels, plan, published, scales
from paper_lib.study.style import THEIRS

FIGURES = {name: entry for name, entry in catalogue.ENTRIES.items() if entry.is_figure}
WARNING = scales.get('smoke').warning
PLANE = tasks.get('point_mass_maze-proprio').plane
RUN, MAZE, PICK = 'quadruped_run-vision', 'point_mass_maze-vision', 'pick-place-proprio'
CUP, BREAKOUT = 'cup_catch-proprio', 'breakout-vision'
DRAWN_AGAIN = ['figure_base_agent', 'figure_1', 'figure_2', 'figure_2_walker', 'figure_5', 'figure_7', 'figure_S1',
               'figure_S3', 'figure_S4', 'figure_S8', 'figure_S15', 'figure_price']  # fmt: skip  # every way to draw


@pytest.fixture
def chapters(chapters, study):
    """Frames of every chapter, complete; in 'study' every run has numbers of its own."""
    return chapters | {'study': study}


def text(figure):
    words = ' '.join(artist.get_text() for artist in figure.findobj(matplotlib.text.Text))
    return words.replace('-\n', '-')


def draw(name, found, folder):
    entry = FIGURES[name]
    drawing.save(entry.make(entry.of(found)), folder / name, drawing.provenance(found))
    return [(folder / f'{name}.{kind}').read_bytes() for kind in ('png', 'pdf')]


def caption(name, found):
    return captions.caption(FIGURES[name], found)


def test_every_figure_of_the_paper_is_there_and_has_a_caption():
    wanted = {f'figure_{i}' for i in range(1, 9)} | {f'figure_S{i}' for i in range(1, 18)}
    ours = ('base_agent', '2_curves', '2_walker', '5_curves', 'stopped', 'offline', 'offline_curves', 'price')
    assert wanted | {f'figure_{name}' for name in ours} == set(FIGURES)
    for entry in catalogue.ENTRIES.values():
        assert entry.text and entry.title
        assert set(entry.named or ()) <= set(entry.tasks or ())
    titles = [entry.title for entry in catalogue.ENTRIES.values()]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize(('shown', 'chapter', 'expected'), [
    (None, [BREAKOUT, CUP], [BREAKOUT, CUP]),
    ([RUN, PICK], [PICK, CUP, RUN], [RUN, PICK]),  # the paper's, as the paper orders them
    ([RUN, PICK], [CUP, PICK], [PICK]),
    ([RUN], [CUP, BREAKOUT], [CUP]),
    ([RUN, MAZE], [CUP, PICK, BREAKOUT], [CUP, PICK]),
    ([RUN, MAZE, PICK], [CUP, BREAKOUT], [CUP, BREAKOUT]),
])  # fmt: skip
def test_where_none_of_the_papers_tasks_is_there_as_many_others_are_shown(shown, chapter, expected):
    specs = [plan.make('active', task, 0, scales.get('smoke')) for task in chapter]
    assert catalogue.Entry('', '', 'study', (), None, tasks=shown).over(specs) == expected


def test_tasks_on_which_more_agents_are_planned_come_first():
    smoke = scales.get('smoke')
    specs = [plan.make(agent, task, 0, smoke) for task in (CUP, BREAKOUT) for agent in ('active', 'passive')]
    entry = catalogue.Entry('', '', 'study', ('compared',), None, tasks=(MAZE,))
    assert entry.over(specs) == [CUP]
    assert entry.over(specs, {specs[1].run_id}) == [BREAKOUT]


def test_pictures_are_drawn_of_a_task_that_is_seen_as_pictures():
    entry = catalogue.Entry('', '', 'study', (), None, tasks=(MAZE,), fits=lambda task: task.obs == 'vision')
    assert entry.over([plan.make('active', task, 0, scales.get('smoke')) for task in (CUP, BREAKOUT)]) == [BREAKOUT]


def test_a_task_without_the_agents_that_a_figure_is_about_is_left_out():
    runs = (('active', CUP), ('active', BREAKOUT), ('passive', CUP))
    specs = [plan.make(*run, 0, scales.get('smoke')) for run in runs]
    entry = catalogue.Entry('', '', 'study', ('active', 'passive'), None, about=('passive',))
    assert entry.over(specs) == [CUP]
    assert entry.over(specs, {specs[2].run_id}) == [CUP, BREAKOUT]  # an optional agent is planned nowhere


def test_an_entry_takes_its_agents_and_tasks(study):
    found = FIGURES['figure_7'].of(study)
    assert {spec.task for spec in found.specs} == set(found.metrics.task) == {CUP}
    assert set(found.metrics.agent) == set(FIGURES['figure_7'].agents)


@pytest.mark.parametrize('name', DRAWN_AGAIN)
def test_drawn_again_from_equal_data_the_bytes_are_equal(name, chapters, tmp_path):
    full = chapters[FIGURES[name].chapter]
    first = draw(name, full, tmp_path / 'a')
    with matplotlib.rc_context({'font.size': 30, 'lines.linewidth': 9}):  # a user's own settings
        assert draw(name, full, tmp_path / 'b') == first


def test_other_data_give_another_picture(full, tmp_path):
    first = draw('figure_2', full, tmp_path / 'a')
    full.metrics.loc[:, 'score'] *= np.arange(len(full.metrics))
    assert draw('figure_2', full, tmp_path / 'b')[0] != first[0]


def test_provenance_is_in_both_files(full, tmp_path):
    png, pdf = draw('figure_5', full, tmp_path)
    words = drawing.provenance(full)
    assert re.fullmatch('scale=smoke runs=[0-9a-f]{16} code=[0-9.]+', words)
    assert words.encode() in png and words.encode() in pdf
    assert b'CreationDate' not in pdf


def test_provenance_changes_with_the_runs(full):
    assert drawing.provenance(full) != drawing.provenance(full.of(['active']))


@pytest.mark.parametrize('name', FIGURES)
def test_smoke_says_on_its_face_what_it_is(name, chapters):
    entry = FIGURES[name]
    full = entry.of(chapters[entry.chapter])
    assert WARNING in text(entry.make(full))
    assert WARNING in caption(name, full)


def test_without_a_warning_there_is_none(study):
    for name in ('figure_1', 'figure_3', 'figure_S3'):
        entry = FIGURES[name]
        assert WARNING not in text(entry.make(dataclasses.replace(entry.of(study), warning='')))


@pytest.mark.parametrize('name', FIGURES)
def test_with_no_runs_every_figure_names_what_is_missing_and_its_caption_the_command(name, chapters, tmp_path):
    entry = FIGURES[name]
    found = entry.of(archive.load(chapters[entry.chapter].specs, tmp_path, entry.chapter, scale='smoke'))
    words = ' '.join(text(entry.make(found)).split())
    assert WARNING not in words  # these frames have none
    assert 'planned (no result yet)' in words or 'no run yet' in words or 'no normalised score' in words
    for agent in entry.agents:
        assert agents.get(agent).label in words
    assert f'`paper-lib notebooks {FIGURES[name].notebook} --scale smoke` trains them.' in caption(name, found)


@pytest.mark.parametrize('name', [name for name, entry in FIGURES.items() if entry.chapter == 'study'])
def test_optional_agents_are_named_and_the_others_drawn(name, study):
    entry, planned = FIGURES[name], agents.group('core')
    optional = frozenset(spec.run_id for spec in study.specs if spec.agent not in planned)
    found = entry.of(dataclasses.replace(study.of(planned), specs=study.specs, optional=optional, scale='laptop'))
    figure = entry.make(found)
    words, lost = ' '.join(text(figure).split()), [agent for agent in entry.agents if agent not in planned]
    assert 'planned (no result yet)' not in words
    for agent in lost:
        at_a_weight_of_its_own = name in ('figure_7', 'figure_S9') and 0 < agents.exploration_weight(agent) < 1
        assert 'no run yet' in words if at_a_weight_of_its_own else agents.get(agent).label in words
    if any(agent in planned for agent in entry.agents) and name != 'figure_offline':  # it leaves out exploratory tasks
        assert 'no finished run' not in words
    labels = ', '.join(agents.get(agent).label for agent in lost)
    said = f'Optional, not trained: {labels}. `paper-lib notebooks {entry.notebook} -p train all` trains them.'
    assert (said in caption(name, found)) == bool(lost)


@pytest.mark.parametrize('name', FIGURES)
def test_a_figure_without_its_subject_says_so_on_its_face_and_in_its_caption(name, chapters):
    entry = FIGURES[name]
    whole = entry.of(dataclasses.replace(chapters[entry.chapter], warning=''))
    others = [agent for agent in entry.agents if agent not in entry.subject]
    bare = dataclasses.replace(whole.of(others), specs=whole.specs)
    assert entry.state(whole) == catalogue.COMPLETE and not entry.warning(whole)
    assert entry.state(bare) == catalogue.SUBJECT_MISSING
    said = dataclasses.replace(bare, warning=entry.warning(bare))
    assert 'No run yet of' in ' '.join(text(entry.make(said)).split())
    assert 'No run yet of' in caption(name, said)


def test_a_figure_is_partial_where_an_agent_has_no_run_on_a_task(study):
    entry = FIGURES['figure_4']
    found = entry.of(study)
    runs = found.runs[(found.runs.agent != 'passive_half') | (found.runs.task != CUP)]
    assert entry.state(dataclasses.replace(found, runs=runs)) == catalogue.PARTIAL
    assert not entry.warning(dataclasses.replace(found, runs=runs))


def test_a_legend_says_on_how_many_tasks_an_agent_has_runs(study):
    entry = FIGURES['figure_S12']
    metrics, runs = (
        table[(table.agent != 'passive_10') | (table.task != CUP)] for table in (study.metrics, study.runs)
    )
    figure = entry.make(entry.of(dataclasses.replace(study, metrics=metrics, runs=runs)))
    labels = [words.get_text() for words in figure.legends[0].get_texts()]
    assert 'Passive + 10 % (2 runs on 2 of 3 tasks)' in labels and 'Passive (2 runs)' in labels


def test_agents_without_a_run_are_grey_in_the_legend(study):
    entry = FIGURES['figure_4']
    found = entry.of(study.of(['active', 'passive', 'passive_expert']))
    found = dataclasses.replace(found, specs=entry.of(study).specs)
    texts = {words.get_text(): to_hex(words.get_color()) for words in entry.make(found).legends[0].get_texts()}
    grey = {words for words, color in texts.items() if color == THEIRS}
    assert grey == {'Passive-suboptimal (no run yet)', 'Passive-half (no run yet)'}


def test_an_agent_that_a_figure_is_about_is_grey_in_the_legend_even_if_no_run_of_it_is_planned(study):
    entry = FIGURES['figure_S7']
    found = entry.of(study)
    without = found.of([name for name in entry.agents if name != 'tandem_alpha_1e-6'])
    labels = [words.get_text() for words in entry.make(without).legends[0].get_texts()]
    assert 'Tandem alpha 1e-6 (no run yet)' in labels
    assert 'Tandem alpha 1e-6 (2 runs)' in [words.get_text() for words in entry.make(found).legends[0].get_texts()]


def test_a_caption_tells_of_lines_between_weights_only_where_they_are(study):
    found = FIGURES['figure_7'].of(study)
    ends = [agent for agent in FIGURES['figure_7'].agents if agents.exploration_weight(agent) in (0, 1)]
    assert 'a line joins neighbouring weights' in caption('figure_7', found)
    assert 'a line joins' not in caption('figure_7', dataclasses.replace(found.of(ends), specs=found.specs))


def test_a_caption_tells_of_a_mean_over_tasks_only_where_there_are_several(study):
    found = FIGURES['figure_S1'].of(study)
    assert 'Last column: mean over shared tasks' in caption('figure_S1', found)
    of_one = caption('figure_S1', found.of(found.tasks[:1], 'task'))
    assert not [words for words in ('Last column', 'normalised') if words in of_one]


def test_a_task_without_runs_is_named(study):
    task, others = 'breakout-vision', ['cup_catch-proprio', 'window-open-proprio']
    optional = frozenset(spec.run_id for spec in study.specs if spec.task == task)
    found = dataclasses.replace(study.of(others, 'task'), specs=study.specs, optional=optional)
    entry = FIGURES['figure_S11']  # of all tasks
    assert f'all of {task}' in ' '.join(text(entry.make(entry.of(found))).split())
    assert 'all of' not in ' '.join(text(entry.make(entry.of(study))).split())


def test_one_missing_run_is_named_and_the_rest_drawn(specs, make_store, tmp_path):
    done = [spec for spec in specs if spec.agent != 'tandem' and spec.run_id != specs[1].run_id]
    archive.add(specs, make_store(done), tmp_path)
    found = FIGURES['figure_2'].of(archive.load(specs, tmp_path))
    words = text(FIGURES['figure_2'].make(found))
    assert 'Active (1 run)' in words
    assert 'Passive (2 runs)' in words
    assert 'planned (no result yet):\nTandem 2' in words


def test_curve_is_the_mean_over_seeds(full):
    axes = Figure().subplots()
    panels.curves(axes, full, ['active'], 'score')
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [30.05] * 3)  # seeds 0 and 1: 30 and 30.1
    assert len(axes.lines) == 3  # the mean and one line per seed


def test_visits_are_drawn_with_x_to_the_right_and_y_up():
    axes, grid = Figure().subplots(), np.zeros((CELLS, CELLS), int)
    grid[50, 5] = 3  # bottom right
    image = panels.visits(axes, grid, PLANE, LogNorm(1, 10), 'viridis')
    drawn = image.get_array()
    assert image.origin == 'lower'
    assert drawn[5, 50] == 3
    assert drawn.mask.sum() == CELLS**2 - 1


def test_path_colours_belong_to_the_segments_that_end_there():
    axes = Figure().subplots()
    points = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0]])
    lines = panels.coloured_path(axes, points, pd.Series([1.0, 2.0, 3.0]), LogNorm(1, 3), 'plasma')
    assert lines.get_array().tolist() == [2, 3]
    assert lines.get_segments()[1][:, 0].tolist() == [0.1, 0.2]


def test_every_agent_has_a_look_of_its_own():
    assert len({(row.color, row.marker) for row in agents.AGENTS.values()}) == len(agents.AGENTS)
    assert len({row.label for row in agents.AGENTS.values()}) == len(agents.AGENTS)


def seen(color, matrix):
    """A colour in CIE L*a*b*, as someone sees it whose eyes do this to linear RGB (Machado et al., 2009)."""
    value = np.array(to_rgb(color))
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(to_xyz @ np.clip(np.array(matrix) @ linear, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize('matrix', [
    np.eye(3),
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],  # no green cones
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],  # no red ones
])  # fmt: skip
def test_the_agents_of_a_grid_are_told_apart_by_colour_blind_readers(matrix):
    for name, entry in FIGURES.items():
        if entry.chapter == 'study' and 'columns' in getattr(entry.draw, 'keywords', ()):
            colors = [seen(agents.get(agent).color, matrix) for agent in entry.agents]
            nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(colors, 2))
            assert nearest > 20, name


def test_caption_names_scale_task_budget_seeds_and_what_is_missing(full, specs, tmp_path):
    words = caption('figure_2', full.of(agents.group('compared')))
    for part in (
        'Scale smoke',
        'point_mass_maze-proprio',
        '6,000 environment steps',
        '2 of Active, Passive and Tandem',
        WARNING,
    ):
        assert part in words
    assert 'recurrent units 16 (512)' in words
    assert 'full reward' not in words  # the paper's goal
    assert 'no result' not in words
    empty = archive.load(specs, tmp_path, scale='smoke')
    assert 'Planned, no result yet: 12 of 12 runs' in caption('figure_2', empty)


def test_caption_at_laptop_says_how_active_collects():
    specs = plan.specs('toy_maze', scales.get('laptop'))
    for name, entry in FIGURES.items():
        if entry.chapter != 'toy_maze':
            continue
        words = caption(name, entry.of(archive.load(specs, Path('nowhere'), scale='laptop')))
        assert words.count(published.collected_for(specs[0])) == 1
        assert words.count('The full reward is given within 50 mm of the goal, in the paper within 15 mm.') == 1
        assert all(text in words for text in published.deviations(specs[0]))


def test_start_square_and_goal_are_where_the_simulator_has_them():
    axes = Figure().subplots()
    panels.walls(axes, 0.05)
    goal = next(patch for patch in axes.patches if isinstance(patch, Circle))
    assert (goal.center, goal.radius) == (GOAL, 0.05)
    dotted = [patch for patch in axes.patches if patch.get_linestyle() == ':']
    (left, right), (low, high) = START
    assert [patch.get_bbox().extents.tolist() for patch in dotted] == [[left, low, right, high]]


class TestCaptionOfSeveralTasks:
    def test_says_what_the_paper_shows_where_it_is_something_else(self, study):
        assert captions.in_paper(FIGURES['figure_S10'], study) == 'The paper shows all 31 tasks.'
        assert captions.in_paper(FIGURES['figure_S4'], study) == f'The paper shows {MAZE}.'
        assert captions.in_paper(FIGURES['figure_6'], study) == f'The paper shows {RUN}, {PICK} among 4 tasks.'
        assert captions.in_paper(FIGURES['figure_S1'], study) == 'The paper shows 3 tasks.'
        assert captions.in_paper(FIGURES['figure_2'], study) == ''

    def test_says_nothing_where_it_is_what_the_paper_shows(self):
        specs = plan.specs('study', scales.get('paper'), 1)
        for name in ('figure_S4', 'figure_8', 'figure_S10'):
            found = FIGURES[name].of(archive.load(specs, Path('nowhere'), 'study'))
            assert captions.in_paper(FIGURES[name], found) == ''

    def test_counts_runs_per_task(self, study):
        found = study.of(['active', 'passive'])
        assert captions.counts(found) == 'Number of runs per task: 2 of Active and Passive'
        runs = found.runs[~((found.runs.agent == 'passive') & (found.runs.task == CUP))]
        found = dataclasses.replace(found, runs=runs)
        expected = f'2 of Active ({CUP}); 2 of Active and Passive (window-open-proprio, {BREAKOUT})'
        assert captions.counts(found) == f'Number of runs per task: {expected}'

    def test_says_once_what_tasks_share(self):
        specs = plan.specs('study', scales.get('smoke'))
        found = FIGURES['figure_3'].of(archive.load(specs, Path('nowhere'), 'study', scale='smoke'))
        words = caption('figure_3', found)
        assert words.count('Values that differ from DreamerV3 v1') == words.count('recurrent units') == 1
        assert words.endswith(f'{BREAKOUT}: the same, and channels of the first convolution 4 (32).')
        assert f'{CUP}, window-open-proprio, ' in words
        assert f'; {BREAKOUT}, ' in words
