import pytest

from paper_lib.contract.errors import UserError
from paper_lib.study import archive, artefacts, catalogue, paths, plan, scales


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))


def test_lists_the_papers_25_figures_and_2_tables_once():
    rows = artefacts.listing()
    assert [row['figure'] for row in rows] == [
        *(f'Fig. {i}' for i in range(1, 9)), *(f'Fig. S{i}' for i in range(1, 18)), 'Table S1', 'Table S2'
    ]  # fmt: skip
    files = [name for row in rows for name in row['file'].split(', ')]
    assert len(files) == len(set(files))
    assert {name.partition('.')[0] for name in files} <= set(catalogue.ENTRIES)
    assert 'figure_2.png, figure_2_walker.png, figure_2_curves.png' in {row['file'] for row in rows}
    assert all(catalogue.ENTRIES[row['file'].split('.')[0]].notebook == row['notebook'] for row in rows)


def test_a_scale_counts_where_its_archive_has_a_run_that_is_shown(make_store):
    """A Tandem run of breakout is in Fig. 3, not in Fig. 8."""
    specs = plan.specs('study', scales.get('smoke'))
    one = [spec for spec in specs if (spec.agent, spec.task) == ('tandem', 'breakout-vision')]
    archive.add(one, make_store(one), paths.archive('smoke'), 'study')
    found = {row['figure']: row['scales (agents)'] for row in artefacts.listing()}
    assert (found['Fig. 3'], found['Fig. 8'], found['Fig. 2']) == ('smoke (partial, 1 of 3)', '', '')


def test_seconds_are_measured_when_asked_for(monkeypatch, make_store):
    two = [catalogue.ENTRIES[name] for name in ('figure_S7', 'table_S1')]
    monkeypatch.setattr(artefacts, 'NUMBERED', two)
    rows = artefacts.listing('smoke', draw=True)
    assert all(row['seconds'] >= 0 for row in rows)
    assert rows[0]['seconds'] > 0


def test_an_unknown_scale_is_named():
    with pytest.raises(UserError, match="scale='latpop'"):
        artefacts.listing('latpop')
