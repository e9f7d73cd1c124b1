"""Pages need nothing from elsewhere, and what is committed can be compared with what is drawn."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from paper_lib import cli, notebooks, pages
from paper_lib.contract.errors import UserError
from paper_lib.study import paths

ROOT = Path(__file__).resolve().parents[1]
VIEW = 'application/vnd.jupyter.widget-view+json'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'figures'


def made(data):
    output = nbformat.v4.new_output('display_data', data=data)
    cells = [nbformat.v4.new_markdown_cell('# A & B'), nbformat.v4.new_code_cell('x = 1', outputs=[output])]
    found = nbformat.v4.new_notebook(cells=cells)
    found.metadata['widgets'] = {'application/vnd.jupyter.widget-state+json': {'state': {'abc': {}}}}
    return found


def test_what_can_be_operated_is_its_picture_on_a_page():
    page = pages.notebook(made({VIEW: {'model_id': 'abc'}, 'text/html': '<i>first</i>', 'text/plain': 'VBox()'}), 'n')
    assert '<i>first</i>' in page
    assert 'abc' not in page
    assert 'VBox' not in page


def test_a_page_is_the_same_whether_missing_runs_were_to_be_trained():
    def page(text):
        found = made({'text/html': ''})
        tags = {'tags': ['injected-parameters']}
        found.cells.insert(1, nbformat.v4.new_code_cell(f'# Parameters\nscale = "x"{text}', metadata=tags))
        return pages.notebook(found, 'n')

    assert page('') == page('\ntrain = "no"') != page('\nseeds = 2')


def test_a_page_loads_nothing_and_follows_the_readers_light():
    page = pages.notebook(made({'text/html': ''}), 'n')
    assert not re.search(r'(src|href)="(https?:)?//|@import|<script', page)
    assert 'color-scheme: light dark' in page
    assert '@media (prefers-color-scheme: dark)' in page


def test_the_index_leads_to_what_is_there(folder):
    place = folder / 'smoke'
    place.mkdir(parents=True)
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [markdown('# Is it?'), markdown('## Who?'), code("section.figure('figure_3')"), markdown('## Why?')]
    page = pages.notebook(nbformat.v4.new_notebook(cells=cells), 'n')
    for name, text in {'2_validation.html': page, 'figure_3.png': '', 'figure_3.md': 'Of <this>.\n\nvalues',
                       'figure_S2.png': '', 'table_S2.csv': '',  # their captions were not written any more
                       'table_claims_validation.csv': 'id,low,verdict\nC1,0.123456789,supported\nC2,,undecided\n',
                       'table_claims_validation.md': '| id |\n\nHow to read it.\n'}.items():  # fmt: skip
        (place / name).write_text(text)
    text = pages.write_index('smoke').read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert {'2_validation.html', 'figure_3.png', 'figure_3.pdf', 'table_claims_validation.csv'} <= set(links)
    assert not [link for link in links if link.startswith(('1_', 'figure_S2', 'table_S1', 'table_S2'))]
    assert '<h2><a href="2_validation.html">Is it?</a></h2>' in text and '<h2>3_deep_dive</h2>' in text
    assert 'figure_3: Who? <a href="figure_3.png">' in text
    assert 'Of &lt;this&gt;.' in text
    assert '>supported</td>' in text and '>0.1235</td>' in text and 'nan' not in text
    assert 'How to read it.' in text


@pytest.mark.parametrize(('name', 'content'), [
    ('2_validation.html', b'<h1>\xff'), ('figure_3.md', b'\xff'), ('table_S2.csv', b''),
    ('table_S2.csv', b'a,b\n1,2\n1,2,3\n'),
])  # fmt: skip
def test_a_damaged_file_is_named(folder, name, content):
    place = folder / 'smoke'
    place.mkdir(parents=True)
    for there in ('figure_3.png', 'figure_3.md', 'table_S2.csv', 'table_S2.md'):
        (place / there).write_bytes(b'x')
    (place / name).write_bytes(content)
    with pytest.raises(UserError, match=f'{name}: damaged; remove it and draw again'):
        pages.write_index('smoke')


def test_text_is_read_as_it_was_written_in_every_locale(folder):
    (folder / 'smoke').mkdir(parents=True)
    (folder / 'smoke' / '1_toy_maze.html').write_text('<h1>1 · Maze</h1>', 'utf-8')
    code = "from paper_lib import pages; print(ascii(pages.write_index('smoke').read_bytes()))"
    settings = {'LC_ALL': 'POSIX', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PYTHONPATH': str(ROOT)}
    out = subprocess.run([sys.executable, '-c', code], env=os.environ | settings, capture_output=True, check=True)
    assert b'1 \\xc2\\xb7 Maze' in out.stdout


@pytest.fixture
def notebook(monkeypatch, tmp_path):
    """The only one that there is: what it writes follows from the data folder."""
    path = tmp_path / 'n.ipynb'
    source = """from paper_lib.study import paths
text = (paths.archive(scale) / 'x').read_bytes()
paths.write(paths.drawings(scale) / 'figure.md', text)
print(text, train)"""
    parameters = nbformat.v4.new_code_cell("scale = 'laptop'\ntrain = 'auto'", metadata={'tags': ['parameters']})
    kernel = {'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'Python 3'}}
    cells = [parameters, nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    monkeypatch.setattr(notebooks, 'find', lambda names: [path])
    monkeypatch.setattr(paths, 'root', lambda: tmp_path)


def test_verify_names_every_file_that_is_not_what_is_drawn(notebook, folder, capsys):
    data = folder / 'data' / 'smoke' / 'x'
    data.parent.mkdir(parents=True)
    data.write_bytes(b'one')
    assert cli.main(['html', '--scale', 'smoke']) == 0
    place = folder / 'smoke'
    assert sorted(path.name for path in place.iterdir()) == ['figure.md', 'index.html', 'n.html']
    assert cli.main(['verify', '--scale', 'smoke']) == 0
    assert capsys.readouterr().out.endswith('smoke: every file has the bytes that are drawn from the data\n')
    data.write_bytes(b'two')
    (place / 'index.html').unlink()
    (place / 'figure_old.md').write_text('')
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert cli.main(['verify', '--scale', 'smoke']) == 1
    assert capsys.readouterr().out.splitlines() == [
        'figure.md: differs', 'figure_old.md: is not drawn any more', 'index.html: is missing', 'n.html: differs'
    ]  # fmt: skip
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_nothing_to_verify_is_said():
    with pytest.raises(UserError, match='smoke: not there, so there is nothing to compare; `paper-lib html --scale'):
        notebooks.differences('smoke')
