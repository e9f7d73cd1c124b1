import dataclasses
import pathlib
import shutil

import pandas as pd
import pytest
from matplotlib import pyplot

from paper_lib.contract import agents
from paper_lib.contract.errors import UserError
from paper_lib.contract.scales import Planned
from paper_lib.study import archive, book, catalogue, claims, drawing, panels, paths, plan, scales, tables, verdicts


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    return tmp_path


def make(store, name='maze', **values):
    return book.open(name, {'scale': 'smoke', 'train': 'yes', 'seeds': 0} | values, store)


@pytest.fixture(autouse=True)
def maze(monkeypatch):
    """A notebook about the maze alone."""
    names = ('figure_2', 'figure_2_curves', 'figure_5', 'figure_5_curves', 'table_visitation')
    maze, others = [catalogue.ENTRIES[name] for name in names], catalogue.shown
    monkeypatch.setitem(catalogue.NOTEBOOKS, 'maze', catalogue.Notebook())
    monkeypatch.setattr(catalogue, 'shown', lambda notebook: maze if notebook == 'maze' else others(notebook))


def test_all_is_trained_when_nothing_is_there(specs, make_store):
    assert make(make_store([])).to_train() == specs


def test_nothing_is_trained_when_told_so(make_store):
    assert make(make_store([]), train='no').to_train() == []


def test_archived_runs_are_not_trained_again(specs, make_store):
    archive.add(specs, make_store(specs), paths.archive('smoke'))
    assert make(make_store([])).to_train() == []


def test_a_lost_follower_needs_its_source_here(specs, make_store):
    lost = specs[-1]
    archive.add(specs, make_store(specs[:-1]), paths.archive('smoke'))
    assert make(make_store([])).to_train() == [lost.source, lost]
    assert make(make_store([lost.source])).to_train() == [lost]


def test_runs_is_a_table_of_agents_by_pair_seed(make_store, specs):
    table = make(make_store(specs[:1])).runs()
    assert table.loc['active'].tolist() == ['done', 'planned']
    assert table.loc['tandem_expl'].tolist() == ['planned', '']


def test_several_tasks_are_the_rows(make_store):
    base = make(make_store([]), '0_base_agent', seeds=2)
    base = make(make_store(base.specs[:1]), '0_base_agent', seeds=2)
    assert base.runs().to_dict('split') == {
        'index': ['walker_walk-proprio', 'cup_catch-proprio'], 'columns': [0, 1],
        'data': [['done', 'planned'], ['planned', 'planned']],
    }  # fmt: skip
    assert base.archive().loc['walker_walk-proprio'].to_dict() == {'done': 1, 'planned': 1}
    assert base.to_train() == list(base.specs[1:])


def test_a_notebook_draws_its_own_figures_only(make_store):
    with pytest.raises(UserError, match="figure='figure_2': must be one of figure_base_agent"):
        make(make_store([]), '0_base_agent').figure('figure_2')


def test_figure_and_table_are_saved_with_caption(folder, specs, make_store):
    maze = make(make_store(specs), '1_toy_maze')
    maze.archive()
    drawing = maze.figure('figure_2')
    saved = folder / 'smoke'
    assert drawing.png == (saved / 'figure_2.png').read_bytes()
    assert (saved / 'figure_2.md').read_text() == f'{drawing.caption}\n'
    assert tables.shown(drawing.caption) in drawing._repr_html_()
    table = maze.claims()
    assert (saved / 'table_claims_toy_maze.md').read_text().endswith(f'|\n\n{table.caption}\n')
    for part in (
        'sign-flip test',
        'Scale smoke: point_mass_maze-proprio',
        '2 of Active, Passive and Tandem.',
        'last 20 %',
    ):
        assert part in table.caption
    head = (saved / 'table_claims_toy_maze.csv').read_text().partition('\n')[0]
    assert head == ','.join([*(name for name in claims.COLUMNS if name not in claims.KEYS), 'planned'])
    assert (saved / 'table_claims_toy_maze.tex').exists()


@pytest.mark.parametrize('name', catalogue.NOTEBOOKS)
def test_every_table_and_caption_can_be_made_of_nothing_and_of_all(make_store, name):
    empty = make(make_store([]), name)
    for found in (empty, make(make_store(empty.specs), name)):
        found.archive()
        for entry in found.entries:
            part = found.frames(entry)
            assert bool(part.missing) == (found is empty)
            assert 'Scale smoke' in found.caption(entry, part)
            if not entry.is_figure:
                assert 'Scale smoke' in found.table(entry.name.removeprefix('table_')).caption
        if catalogue.NOTEBOOKS[name].claims:
            assert set(found.claims().frame.id) == set(catalogue.NOTEBOOKS[name].claims)


def test_dropped_rows_are_told_in_one_line(specs, make_store, capsys):
    old = plan.make('active', specs[0].task, 0, scales.get('smoke'), ratio=0.25)
    archive.add([old], make_store([old]), paths.archive('smoke'))
    make(make_store(specs)).archive()
    assert capsys.readouterr().out == (
        f'dropped from figures/data: {old.run_id}, as it is planned with other values now\n'
    )
    make(make_store(specs)).archive()
    assert capsys.readouterr().out == ''


def test_an_unknown_figure_is_named(make_store):
    with pytest.raises(UserError, match=r"figure='figure_9': must be one of figure_2, "):
        make(make_store([])).figure('figure_9')


def test_figures_lie_in_the_checkout_from_any_working_directory(monkeypatch, tmp_path):
    monkeypatch.delenv('PAPER_LIB_FIGURES')
    monkeypatch.chdir(tmp_path)
    assert (paths.figures().parent / 'pyproject.toml').exists()


@pytest.mark.parametrize('name', catalogue.NOTEBOOKS)
def test_committed_captions_and_tables_are_what_the_code_makes_of_the_committed_data(name, folder, make_store):
    committed = pathlib.Path(book.__file__).parents[2] / 'figures'
    shutil.copytree(committed / 'data', folder / 'data')
    study = book.open(name, {'scale': 'laptop', 'train': 'no'}, make_store([]))
    for entry in study.entries:
        if entry.is_figure:
            caption = study.caption(entry, study.frames(entry))
            assert f'{caption}\n' == (committed / 'laptop' / f'{entry.name}.md').read_text()
        else:
            study.table(entry.name.removeprefix('table_'))
    if catalogue.NOTEBOOKS[name].claims:
        study.claims()
    for file in (folder / 'laptop').glob('table_*'):
        assert file.read_text() == (committed / 'laptop' / file.name).read_text()


def test_a_notebook_that_does_not_exist_is_named(make_store):
    with pytest.raises(UserError, match="notebook='1_maze': must be one of 0_base_agent, 1_toy_maze, "):
        make(make_store([]), '1_maze')


def test_its_runs_are_those_of_what_it_shows(make_store):
    validation = make(make_store([]), '2_validation')
    assert {spec.agent for spec in validation.specs} == {'active', 'passive', 'tandem', 'passive_same'}
    remedies = make(make_store([]), '4_remedies')
    assert list(remedies.runs_of) == ['toy_maze', 'study']
    assert {spec.agent for spec in remedies.runs_of['toy_maze']} == {
        'active', *(f'{agent}_{data}' for agent in ('active', 'passive', 'tandem') for data in ('expl', 'mixed')),
    }  # fmt: skip


def test_optional_runs_are_trained_only_when_asked_for(make_store):
    """At scale laptop no Tandem alpha is planned: they are trained with train='all'."""
    asked = {train: make(make_store([]), '3_deep_dive', scale='laptop', train=train) for train in ('yes', 'all')}
    task = asked['yes'].specs[0].task
    for found in asked.values():
        assert found.runs().loc[(task, 'tandem_alpha_0'), 20] == 'optional'
        assert found.runs().loc[(task, 'active'), 10] == 'planned'
    assert not [spec for spec in asked['yes'].to_train() if spec.agent == 'tandem_alpha_0']
    assert [spec for spec in asked['all'].to_train() if spec.agent == 'tandem_alpha_0']
    done = make(make_store(asked['all'].specs), '3_deep_dive', scale='laptop', train='yes')
    assert done.runs().loc[(task, 'tandem_alpha_0'), 20] == 'done'


def test_rows_are_in_the_order_of_the_plan(make_store):
    rows = make(make_store([]), '2_validation').runs().index
    assert [agent for task, agent in rows if task == rows[0][0]] == ['active', 'passive', 'passive_same', 'tandem']


def test_a_notebook_judges_its_claims_among_all(make_store, monkeypatch):
    """Adjusted p of one notebook's table are those of the table of all claims."""
    scale = scales.get('smoke')
    specs = plan.specs('study', scale, seeds=2, optional=True)
    archive.add(specs, make_store(specs), paths.archive('smoke'), 'study')
    study = make(make_store(specs), '2_validation', seeds=2)
    shown, every = study.claims().frame, verdicts.table('study', scale, tuple(claims.TEXTS), seeds=2)
    own = every[every.id.isin(shown.id)].reset_index(drop=True)
    pd.testing.assert_frame_equal(shown.drop(columns='claim'), own.drop(columns=['claim', *claims.KEYS]))
    assert shown.adjusted_p.notna().sum() == 5 and (shown.row == 'primary').sum() == 7  # P4 and P7 have no runs


def test_a_part_of_a_figure_is_drawn_and_not_saved(folder, make_store):
    study = make(make_store([]), '2_validation')
    specs = [spec for spec in study.specs if spec.task in ('cup_catch-proprio', 'window-open-proprio')]
    study = make(make_store(specs), '2_validation')
    study.archive()
    shown = study.figure('figure_3', tasks=['cup_catch-proprio'], agents=['active', 'passive'])
    assert shown.png.startswith(b'\x89PNG')
    assert 'cup_catch-proprio' in shown.caption and 'window-open' not in shown.caption
    assert '1 of Active and Passive.' in shown.caption and 'Tandem' not in shown.caption
    assert not (folder / 'smoke').exists()
    with pytest.raises(UserError, match="task='cup_cach-proprio': must be one of .*did you mean 'cup_catch-proprio'"):
        study.figure('figure_3', tasks=['cup_cach-proprio'])
    with pytest.raises(UserError, match=r"agents=\('active_expl',\): must be some of active, passive, tandem"):
        study.figure('figure_3', agents=['active_expl'])


def test_a_part_of_a_figure_keeps_the_units_of_the_whole(specs, make_store, monkeypatch):
    """Scores are in units of all runs of a task, also of those that are not shown."""
    seen = {}
    entry = dataclasses.replace(
        catalogue.ENTRIES['figure_2'], draw=lambda frames, names: seen.update({tuple(names): frames}) or pyplot.figure()
    )
    monkeypatch.setattr(catalogue, 'shown', lambda notebook: [entry])
    maze = make(make_store(specs))
    maze.archive()
    maze.figure('figure_2', agents=['tandem'])
    (names, frames), *_ = seen.items()
    assert names == ('active', 'tandem') and set(frames.runs.agent) == {'active', 'passive', 'tandem'}


@pytest.mark.parametrize('notebook, name, agent', [
    ('1_toy_maze', 'figure_1', 'tandem'), ('maze', 'figure_2', 'active'), ('maze', 'figure_5', 'active'),
    ('4_remedies', 'figure_7', 'passive_expl'),
])  # fmt: skip
def test_one_agent_alone_can_be_drawn(specs, make_store, monkeypatch, notebook, name, agent):
    words = []
    monkeypatch.setattr(panels, 'notes', lambda frames, names: words.append(names) or [])
    opened = make(make_store(specs), notebook)
    opened.archive()
    assert opened.figure(name, agents=[agent]).png.startswith(b'\x89PNG')
    assert all(list(names) in ([agent], ['active', agent]) for names in words)


def test_frames_of_a_figure_by_its_name_become_a_plot_in_the_look_of_the_agents(specs, make_store):
    maze = make(make_store(specs), '1_toy_maze')
    maze.archive()
    metrics = maze.frames('figure_2').metrics
    axes = drawing.plot(metrics.pivot_table('score', 'env_step', 'agent'), ylabel='score')
    assert [line.get_label() for line in axes.lines] == ['Active', 'Passive', 'Tandem']
    assert axes.lines[1].get_color() == agents.get('passive').color
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([30.05] * 3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('environment steps', 'score')
    pyplot.close(axes.figure)
    with pytest.raises(UserError, match="name='figure_22': must be one of .*did you mean 'figure_2'"):
        maze.frames('figure_22')


def test_what_a_command_trains_is_counted_with_the_sources(specs, make_store):
    """Two followers that are not archived need their Active agent again, wherever it was trained."""
    archive.add(
        specs, make_store([spec for spec in specs if spec.agent not in ('passive', 'tandem')]), paths.archive('smoke')
    )
    maze = make(make_store([]))
    lacking = maze.lacking('yes')
    followers = [spec for spec in specs if spec.agent in ('passive', 'tandem')]
    assert set(lacking) == {*followers, *(spec.source for spec in followers)}
    assert all(lacking.index(spec.source) < lacking.index(spec) for spec in followers)
    assert maze.cost('yes').startswith(f'{len(lacking)} runs, about ')


def test_a_caption_names_the_claims_that_no_run_of_the_scale_can_decide(make_store):
    remedies = make(make_store([]), '4_remedies', scale='laptop')
    of_weights, of_schedules = [remedies.caption(entry, remedies.frames(entry)) for entry in remedies.entries
                                if entry.name in ('figure_7', 'figure_8')]  # fmt: skip
    too_few = f'can decide C6 ({claims.TEXTS["C6"][:-1]}): too few pairs are planned.'
    assert too_few in of_weights
    assert 'can decide' not in of_schedules
    assert 'The missing runs give pairs to C7, C8 and P6.' in of_schedules  # not C5, which needs explorers
    maze = make(make_store([]), '1_toy_maze', scale='laptop')
    assert not [entry for entry in maze.entries if entry.chapter == 'toy_maze'
                and 'give pairs' in maze.caption(entry, maze.frames(entry))]  # fmt: skip


@pytest.mark.parametrize('name', [name for name in catalogue.NOTEBOOKS if name != 'maze'])
@pytest.mark.parametrize(
    'has_result',
    [lambda spec: False, lambda spec: spec.agent == 'active', lambda spec: not spec.measures, lambda spec: True],
    ids=['nothing', 'active alone', 'without measures', 'everything'],
)
def test_every_notebook_says_what_came_out_whatever_has_run(name, has_result, make_store):
    study = make(make_store([]), name, train='no')
    found = [spec for spec in study.specs if has_result(spec)]
    for chapter, specs in study.runs_of.items():
        archive.add([spec for spec in specs if spec in found], make_store(found), paths.archive('smoke'), chapter)
    text = study.outcome()._repr_html_()
    assert text.startswith('<div class="outcome">')
    assert 'nan' not in text
    if not found:
        assert 'No run has finished yet.' in text or 'Without a pair to test' in text


def test_what_came_out_is_of_as_many_pairs_as_are_asked_for(make_store):
    both = make(make_store([]), '1_toy_maze', train='no')
    for chapter, specs in both.runs_of.items():
        archive.add(specs, make_store(specs), paths.archive('smoke'), chapter)
    assert '; 2 pairs' in both.outcome()._repr_html_()
    assert '; 1 pair,' in make(make_store([]), '1_toy_maze', train='no', seeds=1).outcome()._repr_html_()


def test_pairs_beyond_those_trained_unasked_are_planned_by_no_notebook(monkeypatch):
    smoke = scales.get('smoke')
    begun = Planned('study', ('cup_catch-proprio',), ('active',), 3, first=10, unasked=1)
    scale = dataclasses.replace(smoke, planned=(*smoke.planned, begun))
    assert len(plan.specs('study', scale, optional=True)) == len(plan.specs('study', scale)) + 2
    monkeypatch.setitem(scales.SCALES, 'smoke', scale)
    for opened in book.every({'scale': 'smoke'}, None):
        assert opened.planned == plan.planned(scale)
