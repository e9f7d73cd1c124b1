"""The doors of the study: a figure, a scale and a task are each added in one place.

`docs/extending.md` lists the steps. The doors for an agent and a quantity are in `test_rows.py`, that for a suite in
`tests/envs/test_suites.py`, that for a dataset in `tests/data/test_datasets.py`.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from paper_lib import cli, envs, notebooks
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.scales import Planned, Rule, Scale
from paper_lib.pages import front
from paper_lib.study import archive, book, catalogue, claims, panels, paths, plan, scales, verdicts
from paper_lib.study.catalogue import Entry
from paper_lib.study.frames import KEYS, Frames, keys
from paper_lib.study.style import context

TASK = 'cup_catch-proprio'


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    monkeypatch.setenv('PAPER_LIB_RUNS', str(tmp_path / 'runs'))


# A figure.


def loss_by_score(frames: Frames, names: list[str]) -> Figure:
    """World-model loss over score: a line per agent, a point per evaluation."""
    with context():
        figure = panels.new(frames, 4, 3)
        axes = figure.subplots()
        for name in names:
            rows = frames.metrics[frames.metrics.agent == name]
            panels.line(axes, name, panels.name(frames, name), rows.score, rows.wm_loss)
        return figure


@pytest.fixture
def entry(monkeypatch):
    """The one row that a figure takes."""
    row = Entry('figure_loss_by_score', '2_validation', 'study', ('active', 'passive'), loss_by_score,
                'Loss by score', 'World-model loss over score of {active.label} and {passive.label}.')  # fmt: skip
    monkeypatch.setitem(catalogue.ENTRIES, row.name, row)
    return row


def frames_of_ten_rows() -> Frames:
    """Two runs of five evaluations each."""
    specs = [plan.make(agent, TASK, 0, scales.get('smoke')) for agent in ('active', 'passive')]
    metrics = []
    for level, spec in enumerate(specs):
        for index in range(5):
            values = {'env_step': 1000 * (index + 1), 'score': 10.0 * index, 'wm_loss': 5.0 - index + level}
            metrics.append(keys(spec) | values)
    runs = pd.DataFrame([keys(spec) for spec in specs])
    empty = pd.DataFrame(columns=KEYS)
    return Frames(tuple(specs), runs, pd.DataFrame(metrics), episodes=empty, traces=empty, visits=empty, pictures=empty)


def test_a_figure_is_drawn_from_a_frame_of_ten_rows(entry):
    found = frames_of_ten_rows()
    assert len(found.metrics) == 10
    active, passive = entry.make(entry.of(found)).axes[0].lines
    np.testing.assert_array_equal(active.get_xydata(), [[0, 5], [10, 4], [20, 3], [30, 2], [40, 1]])
    np.testing.assert_array_equal(passive.get_ydata(), [6, 5, 4, 3, 2])
    assert passive.get_label() == 'Passive (1 run)'


def test_a_figure_is_one_row_that_its_notebook_finds(entry, make_store):
    """The notebook shows its runs, draws it, and writes its caption below it."""
    specs = entry.part(plan.specs('study', scales.get('smoke')))
    archive.add(specs, make_store(specs), paths.archive('smoke'), 'study')
    opened = book.open('2_validation', {'scale': 'smoke', 'train': 'no'}, make_store([]))
    assert entry in opened.entries
    drawing = opened.figure(entry.name)
    assert drawing.caption.startswith(
        '**Loss by score.** World-model loss over score of Active and Passive. Scale smoke: '
    )
    written = {path.name for path in paths.drawings('smoke').iterdir()}
    assert written == {f'{entry.name}.{suffix}' for suffix in ('png', 'pdf', 'md')}


def test_a_source_that_was_trained_for_others_is_not_shown():
    """Active of the pairs of tier T4 has no Passive: a figure of Passive leaves it out, one of the alphas has it."""
    laptop = scales.get('laptop')
    specs = plan.specs('study', laptop, optional=True)
    optional = {spec.run_id for spec in specs} - plan.planned(laptop)

    def seeds(name):
        shown = catalogue.ENTRIES[name].part(specs, optional, laptop.exploratory('study'))
        return {spec.pair_seed for spec in shown if spec.agent == 'active' and spec.task == scales.MAIN[0]}

    assert seeds('figure_3') == seeds('figure_S10') == set(range(10, 20))  # though S10 has Passive-same of later pairs
    assert seeds('figure_S7') == {20, 21}
    assert seeds('figure_S1') == {20, 21, 22}
    assert seeds('figure_S5') == {10, *range(30, 39), *range(45, 50)}  # of Tandem-same-WM and Passive-frozen-WM
    assert seeds('figure_stopped') == {10, *range(30, 39)}


def test_what_an_entry_has_of_a_chapter_is_its_part(entry):
    found = frames_of_ten_rows()
    assert entry.of(found).specs == tuple(entry.part(found.specs, found.optional, found.exploratory))


# A scale.

POCKET = Scale(
    'pocket',
    'two agents on one task',
    rules=(
        Rule({'budget': 4000, 'eval_every': 2000, 'model': {'deter': 24}}),
        Rule({'chunk': 20}, agents=('passive',)),
    ),
    planned=(Planned('study', (TASK,), ('active', 'passive'), 2),),
)


@pytest.fixture
def pocket(monkeypatch):
    """The one row that a scale takes."""
    monkeypatch.setitem(scales.SCALES, POCKET.name, POCKET)
    return POCKET


def test_a_scale_is_one_row_that_the_plan_and_the_command_line_use(pocket, capsys):
    specs = plan.specs('study', scales.get('pocket'))
    assert [(spec.agent, spec.pair_seed) for spec in specs] == [
        ('active', 0), ('active', 1), ('passive', 0), ('passive', 1)]  # fmt: skip
    assert {(spec.budget, spec.model.deter) for spec in specs} == {(4000, 24)}
    assert [spec.chunk == 20 for spec in specs] == [False, False, True, True]
    assert cli.main(['scales', '--json']) == 0
    listed = {row['scale']: row['planned'] for row in json.loads(capsys.readouterr().out)}
    assert listed['pocket'] == 4
    assert trained_by(capsys, '--scale', 'pocket', '--task', TASK, '--agent', 'passive', '--seed', '1') == [
        specs[1].run_id, specs[3].run_id]  # fmt: skip


def test_of_a_scale_with_one_chapter_the_notebooks_of_this_chapter_are_drawn(pocket, make_store, monkeypatch):
    names = ['2_validation', '3_deep_dive', '5_ablations', '6_offline_measure']  # the others show further chapters
    assert [path.stem for path in notebooks.find((), pocket.name)] == names
    opened = book.every({'scale': pocket.name}, None)
    assert [each.name for each in opened] == names
    assert len(opened[0].lacking('yes')) == 4
    with pytest.raises(UserError, match="chapter='toy_maze': must be one of study"):
        book.open('1_toy_maze', {'scale': pocket.name}, None)
    assert {row['on'] for row in verdicts.rows(pocket.name)} == {'0 tasks'}
    assert 'No pair of Passive and Active has run yet' in front.render(paths.drawings(pocket.name), pocket.name)
    specs = plan.specs('study', pocket)
    archive.add(specs, make_store(specs), paths.archive(pocket.name), 'study')
    monkeypatch.setattr(claims, 'random', lambda chapter: lambda task: 0.0)  # worse than Active is here
    page = front.render(paths.drawings(pocket.name), pocket.name)
    assert 'In 2 pairs, Passive ends' in page and 'href="2_validation.html"' in page
    assert 'href="0_base_agent.html"' not in page


def trained_by(capsys, *options: str) -> list[str]:
    """Ids of the runs that `paper-lib train` would train."""
    assert cli.main(['train', *options, '--dry-run', '--json']) == 0
    return [row['run_id'] for row in json.loads(capsys.readouterr().out)]


# A task of an existing suite.

SHORT = tasks.Task('breakout_short-vision', 'minatar', 'breakout', 'vision', repeat=1, limit=50, image=32)


@pytest.fixture
def short(monkeypatch):
    """The one row that a task takes, as if it stood in the list of `paper_lib/envs/suites/minatar.py`."""
    suite = tasks.suites()['minatar']
    longer = dataclasses.replace(suite, tasks=(*suite.tasks, SHORT))
    monkeypatch.setitem(tasks._suites, 'minatar', longer)
    monkeypatch.setitem(tasks._tasks, SHORT.id, SHORT)
    return SHORT


def test_a_task_is_one_row_of_its_suite(short, capsys):
    """It is listed, made, and planned, and the paper's 31 tasks stay 31."""
    planned = plan.specs('study', scales.get('paper'))
    assert short.id in {task.id for task in tasks.known()} and short.id not in {spec.task for spec in planned}
    env = envs.make(short.id, 0)
    step = env.step({'action': None, 'reset': True})
    assert step['image'].shape == (32, 32, 3)
    for _ in range(short.limit):
        if step['is_last']:
            break
        step = env.step({'action': np.eye(3)[0], 'reset': False})
    assert step['is_last']
    run_id = plan.make('active', short.id, 0, scales.get('smoke')).run_id
    assert trained_by(capsys, '--scale', 'smoke', '--task', short.id) == [run_id]
