import pathlib
import shutil

import pytest

from paper_lib.spec import UserError
from paper_lib.study import agents, drawing, figures, frames, paths, scales, section


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    return tmp_path


def make(store, **values):
    return section.toy_maze({'scale': 'smoke', 'train': 'yes', 'seeds': 0} | values, store)


def test_all_is_trained_when_nothing_is_there(specs, make_store):
    assert make(make_store([])).to_train() == specs


def test_nothing_is_trained_when_told_so(make_store):
    assert make(make_store([]), train='no').to_train() == []


def test_archived_runs_are_not_trained_again(specs, make_store):
    frames.archive(specs, make_store(specs), paths.archive('smoke'))
    assert make(make_store([])).to_train() == []


def test_a_lost_follower_needs_its_source_here(specs, make_store):
    lost = specs[-1]
    frames.archive(specs, make_store(specs[:-1]), paths.archive('smoke'))
    assert make(make_store([])).to_train() == [lost.source, lost]
    assert make(make_store([lost.source])).to_train() == [lost]


def test_runs_is_a_table_of_agents_by_pair_seed(make_store, specs):
    table = make(make_store(specs[:1])).runs()
    assert table.loc['active'].tolist() == ['done', 'missing']
    assert table.loc['tandem_expl'].tolist() == ['missing', '']


def test_several_tasks_are_the_rows(make_store):
    base = section.base_agent({'scale': 'smoke', 'train': 'yes', 'seeds': 2}, make_store([]))
    base = section.base_agent({'scale': 'smoke', 'train': 'yes', 'seeds': 2}, make_store(base.specs[:1]))
    assert base.runs().to_dict('split') == {
        'index': ['walker_walk-proprio', 'cup_catch-proprio'], 'columns': [0, 1],
        'data': [['done', 'missing'], ['missing', 'missing']],
    }  # fmt: skip
    assert base.archive().loc['walker_walk-proprio'].to_dict() == {'done': 1, 'missing': 1}
    assert base.to_train() == list(base.specs[1:])


def test_a_section_draws_its_own_figures_only(make_store):
    with pytest.raises(UserError, match="figure='figure_2': must be one of figure_base_agent"):
        section.base_agent({'scale': 'smoke'}, make_store([])).figure('figure_2')


def test_figure_and_table_are_saved_with_caption(folder, specs, make_store):
    maze = make(make_store(specs))
    maze.archive()
    drawing = maze.figure('figure_2')
    saved = folder / 'smoke'
    assert drawing.png == (saved / 'figure_2.png').read_bytes()
    assert (saved / 'figure_2.md').read_text() == f'{drawing.caption}\n'
    assert all(part in drawing._repr_html_() for part in drawing.caption.split('\n\n'))
    table = maze.table('claims')
    assert (saved / 'table_claims.md').read_text().endswith(f'|\n\n{table.caption}\n')
    for part in ('n pairs', 'Scale smoke: point_mass_maze-proprio', '2 Active, 2 Passive, 2 Tandem.', 'below 5'):
        assert part in table.caption
    assert (saved / 'table_claims.csv').read_text().startswith('id,claim,statistic,estimate,low,high,n,verdict\n')
    assert (saved / 'table_claims.tex').exists()


@pytest.mark.parametrize('name', ['toy_maze', 'base_agent'])
def test_every_table_has_a_caption(make_store, name):
    found = getattr(section, name)({'scale': 'smoke'}, make_store([]))
    for table in section.TABLES[name]:
        assert 'Scale smoke' in found.table(table).caption


def test_dropped_rows_are_told_in_one_line(specs, make_store, capsys):
    old = agents.make('active', specs[0].task, 0, scales.get('smoke'), ratio=0.25)
    frames.archive([old], make_store([old]), paths.archive('smoke'))
    make(make_store(specs)).archive()
    assert capsys.readouterr().out == (
        f'dropped from figures/data, because they are planned with other values now: {old.run_id}\n'
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


@pytest.mark.parametrize('name', figures.FIGURES)
def test_committed_captions_and_tables_are_what_the_code_makes_of_the_committed_data(name, folder, make_store):
    committed = pathlib.Path(section.__file__).parents[2] / 'figures'
    shutil.copytree(committed / 'data', folder / 'data')
    study = getattr(section, name)({'scale': 'laptop', 'train': 'no'}, make_store([]))
    for table in section.TABLES[name]:
        study.table(table)
        for file in (folder / 'laptop').glob(f'table_{table}.*'):
            assert file.read_text() == (committed / 'laptop' / file.name).read_text()
    for figure, (_, names) in figures.FIGURES[name].items():
        caption = drawing.caption(figure, study.frames().of(names), 'laptop')
        assert f'{caption}\n' == (committed / 'laptop' / f'{figure}.md').read_text()
