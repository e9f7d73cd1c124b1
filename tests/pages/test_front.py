"""The front page: it shows what is there, says in words what came out, and leads to everything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from paper_lib.contract.errors import UserError
from paper_lib.data.store import Store
from paper_lib.pages import front
from paper_lib.study import book, catalogue, claims, conclusion, outcomes, paper

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    folder = tmp_path / 'smoke'
    folder.mkdir()
    return folder


@pytest.fixture(scope='module')
def table():
    """Claim C1 has runs, the others have none."""
    frame = claims.table(pd.DataFrame(columns=METRICS), ids=tuple(claims.TEXTS), primary=True, secondary=False)
    frame.loc[frame.id == 'C1', ['estimate', 'low', 'high', 'p', 'pairs', 'tasks']] = -0.4, -0.6, -0.2, 0.01, 12, 2
    frame.loc[frame.id == 'C1', 'verdict'] = claims.SUPPORTED
    return frame


@pytest.fixture(autouse=True)
def verdicts(table, monkeypatch):
    monkeypatch.setattr(front.verdicts, 'primary_table', lambda scale: table)
    found = conclusion.Conclusion('It came out', 'so & so.', 'On <two> tasks.', ('once',))
    monkeypatch.setattr(front.conclusion, 'conclude', lambda scale, primary: found)
    return table


METRICS = ['run_id', 'task', 'agent', 'pair_seed', 'seed', 'env_step', *claims.RECORDED, 'mc_return']


def drawn(place, **files):
    for name, content in files.items():
        (place / name.replace('__', '.')).write_text(content)


def test_it_leads_to_what_is_there(place):
    section = '<h2 id="who"><a href="#who">Who? (Fig. 4)</a></h2>section.figure(\'figure_4\')'
    drawn(place, figure_4__png='', figure_4__md='Of <this>.\n\nvalues', figure_S2__png='', table_S2__csv='')
    (place / '3_deep_dive.html').write_text(f'<h1 id="a"><a href="#a">3 · Deep</a></h1>{section}')
    text = front.write('smoke').read_text()
    assert '<b>Fig. 4 (published: 5)</b> <a href="3_deep_dive.html#who">Learning from a half of the replay</a>' in text
    assert 'alt="Learning from a half of the replay"' in text and '<b></b>' not in text
    assert f'<span class="missing">{catalogue.SUBJECT_MISSING}</span>' in text
    assert '<a href="3_deep_dive.html">3 · Deep</a>' in text
    links = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert {'figure_4.png', 'figure_4.pdf', paper.ADDRESS, 'docs_readme.html'} <= set(links)
    assert not [link for link in links if link.startswith(('figure_S2', 'table_S2'))]  # not written to the end
    assert not re.search(r'src="(https?:)?//|@import', text)


def test_figures_without_runs_of_their_subject_come_last(place, monkeypatch):
    drawn(place, figure_3__png='', figure_3__md='A.', figure_8__png='', figure_8__md='B.')
    states = {'figure_3': catalogue.SUBJECT_MISSING, 'figure_8': catalogue.COMPLETE}
    monkeypatch.setattr(catalogue.Entry, 'state_of', lambda entry, *runs: states.get(entry.name))
    text = front.write('smoke').read_text()
    assert 0 < text.index('"figure_8.png"') < text.index('"figure_3.png"')


def test_the_first_figure_stands_before_the_table(place):
    drawn(place, figure_1__png='', figure_1__md='All.')
    text = front.write('smoke').read_text()
    assert 0 < text.index('figure_1.png') < text.index('class="claims"')


def test_it_says_what_came_out(place, verdicts):
    text = front.write('smoke').read_text()
    assert paper.TITLE in text
    assert '<p><b>It came out</b> so &amp; so.</p>' in text
    assert '<p>On &lt;two&gt; tasks.</p>' in text and '<ul><li>once</li></ul>' in text
    assert claims.TEXTS['C1'] in text
    assert 'no pair to test yet: 20 rows' in text


def test_it_says_how_to_run_what_it_shows_and_how_many_runs_that_trains(place, verdicts, tmp_path):
    text = front.write('smoke').read_text()
    assert 'draw these figures; this trains' in text and '\nmake figures SCALE=smoke\n' in text
    trained = set()
    for name in catalogue.NOTEBOOKS:
        trained |= set(book.open(name, {'scale': 'smoke'}, Store(tmp_path / 'runs')).to_train())
    assert f'trains {len(trained)} runs first' in text
    assert 'docs/cluster.md says how to train them' in front.render(place, 'paper')


def test_a_claim_is_named_in_words_once_and_its_verdict_comes_first(verdicts):
    row = verdicts[verdicts.id == 'C1']
    text = outcomes.as_html(pd.concat([row, row]))
    assert text.count(claims.TEXTS['C1']) == 1
    assert re.search(r'<tr><td data-heading="verdict"><span class="supported">supported</span></td>', text)
    assert '-0.40 [-0.60, -0.20]' in text


def test_the_front_page_leaves_out_what_a_row_compares(verdicts):
    row = verdicts[verdicts.id == 'C1']
    assert row.statistic.item() in outcomes.as_html(row)
    assert row.statistic.item() not in outcomes.as_html(row, compared=False)


def test_rows_with_too_few_pairs_open_on_a_click(verdicts):
    row = verdicts[verdicts.id == 'C1']
    few = row.assign(verdict=claims.UNDECIDED, pairs=5)
    text = outcomes.as_html(pd.concat([row, few, few.assign(pairs=6)]))
    judged, folded = text.split('<details>')
    assert judged.count('<tr>') == 3 and folded.count('<tr>') == 2
    assert folded.startswith('<summary>undecided for want of pairs: 1 row</summary>')


def test_a_damaged_file_is_named(place):
    for name in ('figure_3.png', 'figure_1.png', 'figure_1.md', '2_validation.html'):
        (place / name).write_bytes(b'\xff')
    with pytest.raises(UserError, match='2_validation.html: damaged; remove it and draw again'):
        front.write('smoke')
    (place / '2_validation.html').unlink()
    with pytest.raises(UserError, match='figure_1.md: damaged; remove it and draw again'):
        front.write('smoke')


def test_text_is_read_as_it_was_written_in_every_locale(place):
    (place / '1_toy_maze.html').write_text('1 · Maze', 'utf-8')
    read = "front._page_text(pathlib.Path(), '1_toy_maze')"
    code = f'import pathlib; from paper_lib.pages import front; print(ascii({read}))'
    settings = {'LC_ALL': 'POSIX', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', code]
    out = subprocess.run(command, env=os.environ | settings, cwd=place, capture_output=True, check=True)
    assert b'1 \\xb7 Maze' in out.stdout


@pytest.mark.parametrize(('number', 'published'), [
    ('1', '1'), ('3', '3'), ('4', '5'), ('8', '9'), ('S4', 'S4'), ('S5', '4'), ('S6', 'S5'), ('S17', 'S16'),
])  # fmt: skip
def test_both_numberings_are_known(number, published):
    assert paper.published_number(number) == published
