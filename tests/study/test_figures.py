from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from paper_lib.maze_layout import CELLS, GOAL, START
from paper_lib.study import agents, drawing, figures, frames, panels, published, scales, style

FIGURES = {name: row for section in figures.FIGURES.values() for name, row in section.items()}
SECTION = {name: section for section, rows in figures.FIGURES.items() for name in rows}


def text(figure):
    return ' '.join(artist.get_text() for artist in figure.findobj(matplotlib.text.Text))


def draw(name, found, folder, scale='smoke'):
    make, names = FIGURES[name]
    drawing.save(make(found.of(names), scale), folder / name, drawing.provenance(found, scale))
    return [(folder / f'{name}.{kind}').read_bytes() for kind in ('png', 'pdf')]


@pytest.mark.parametrize('name', FIGURES)
def test_drawn_again_from_equal_data_the_bytes_are_equal(name, sections, tmp_path):
    full = sections[SECTION[name]]
    first = draw(name, full, tmp_path / 'a')
    with matplotlib.rc_context({'font.size': 30, 'lines.linewidth': 9}):  # a user's own settings
        assert draw(name, full, tmp_path / 'b') == first


def test_other_data_give_another_picture(full, tmp_path):
    first = draw('figure_2', full, tmp_path / 'a')
    full.metrics.loc[:, 'score'] *= np.arange(len(full.metrics))
    assert draw('figure_2', full, tmp_path / 'b')[0] != first[0]


def test_provenance_is_in_both_files(full, tmp_path):
    png, pdf = draw('figure_5', full, tmp_path)
    words = drawing.provenance(full, 'smoke')
    assert set(words) == {'scale', 'runs', 'code'}
    assert f'scale=smoke runs={words["runs"]}'.encode() in png
    assert f'runs={words["runs"]}'.encode() in pdf
    assert b'CreationDate' not in pdf


def test_provenance_changes_with_the_runs(full):
    assert drawing.provenance(full, 'smoke')['runs'] != drawing.provenance(full.of(['active']), 'smoke')['runs']


@pytest.mark.parametrize('name', FIGURES)
def test_smoke_says_on_its_face_what_it_is(name, sections):
    (make, names), full = FIGURES[name], sections[SECTION[name]]
    assert style.WARNING in text(make(full.of(names), 'smoke'))
    assert style.WARNING not in text(make(full.of(names), 'laptop'))


@pytest.mark.parametrize('name', FIGURES)
def test_with_no_runs_every_figure_names_what_is_missing_and_the_command(name, sections, tmp_path):
    (make, names), specs = FIGURES[name], sections[SECTION[name]].specs
    words = text(make(frames.load(specs, tmp_path, SECTION[name]).of(names), 'smoke'))
    assert 'make figures SCALE=smoke' in words
    for agent in names:
        assert f'{agent}: ' in words


def test_one_missing_run_is_named_and_the_rest_drawn(specs, make_store, tmp_path):
    done = [spec for spec in specs if spec.agent != 'tandem' and spec.run_id != specs[1].run_id]
    frames.archive(specs, make_store(done), tmp_path)
    words = text(figures.figure_2(frames.load(specs, tmp_path), 'smoke'))
    assert 'Active (n=1 of 2)' in words
    assert 'Passive (n=2)' in words
    assert 'tandem: 2 missing' in words


def test_curve_is_the_mean_over_seeds(full):
    axes = Figure().subplots()
    panels.curves(axes, full, 'smoke', ['active'], 'score')
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [30.05] * 3)  # seeds 0 and 1: 30 and 30.1
    assert len(axes.lines) == 3  # the mean and one line per seed


def test_visits_are_drawn_with_x_to_the_right_and_y_up():
    axes, grid = Figure().subplots(), np.zeros((CELLS, CELLS), int)
    grid[50, 5] = 3  # bottom right
    image = panels.visits(axes, grid, LogNorm(1, 10), 'viridis')
    drawn = image.get_array()
    assert image.origin == 'lower'
    assert drawn[5, 50] == 3
    assert drawn.mask.sum() == CELLS**2 - 1


def test_path_colours_belong_to_the_segments_that_end_there():
    axes = Figure().subplots()
    steps = pd.DataFrame({'v0': [0.0, 0.1, 0.2], 'v1': [0.0] * 3, 'wm_loss': [1.0, 2.0, 3.0]})
    lines = panels.coloured_path(axes, steps, 'wm_loss', LogNorm(1, 3), 'plasma')
    assert lines.get_array().tolist() == [2, 3]
    assert lines.get_segments()[1][:, 0].tolist() == [0.1, 0.2]


def test_every_agent_has_a_look_of_its_own():
    from paper_lib.study.agents import PRESETS

    assert set(style.LOOKS) == set(PRESETS)
    assert len({look.marker for look in style.LOOKS.values()}) == len(PRESETS)
    assert len({style.LOOKS[agent].color for agent in figures.AGENTS}) == 3


def test_caption_names_scale_task_budget_seeds_and_what_is_missing(full, specs, tmp_path):
    words = drawing.caption('figure_2', full.of(figures.AGENTS), 'smoke')
    for part in (
        'Scale smoke',
        'point_mass_maze-proprio',
        '6,000 environment steps',
        '2 Active, 2 Passive, 2 Tandem',
        style.WARNING,
    ):
        assert part in words
    assert 'recurrent units 16 (512)' in words
    assert 'full reward' not in words  # the paper's goal
    assert 'Missing' not in words
    assert 'Missing: 12 of 12 runs' in drawing.caption('figure_2', frames.load(specs, tmp_path), 'smoke')


def test_caption_at_laptop_says_how_active_collects():
    specs = agents.plan('toy_maze', scales.get('laptop'))
    for name, (_, names) in figures.FIGURES['toy_maze'].items():
        words = drawing.caption(name, frames.load(specs, Path('nowhere')).of(names), 'laptop')
        assert words.count(published.mixed(specs[0])) == 1
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
