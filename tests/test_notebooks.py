"""What is committed can be compared with what is drawn."""

import threading
import types

import nbformat
import pytest

from paper_lib import cli, notebooks
from paper_lib.contract.errors import UserError
from paper_lib.pages import front
from paper_lib.study import paths


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'figures'


@pytest.fixture
def notebook(monkeypatch, tmp_path):
    """The only one that there is: what it writes follows from the data folder."""
    path = tmp_path / 'n.ipynb'
    source = """from paper_lib.pages import front
from paper_lib.study import paths
text = (paths.archive(scale) / 'x').read_bytes()
paths.write(paths.drawings(scale) / 'figure.md', text)
print(text, train)"""
    parameters = nbformat.v4.new_code_cell("scale = 'laptop'\ntrain = 'auto'", metadata={'tags': ['parameters']})
    kernel = {'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'Python 3'}}
    cells = [parameters, nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    monkeypatch.setattr(notebooks, 'find', lambda names, scale: [path])
    monkeypatch.setattr(front, 'render', lambda folder, scale: '')
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


def test_an_interrupt_while_threads_start_ends_what_has_begun(monkeypatch):
    begun = []
    has_begun = threading.Event()
    is_killed = threading.Event()
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        assert has_begun.wait(60)
        raise KeyboardInterrupt

    def run(path):
        begun.append(path)
        has_begun.set()
        assert is_killed.wait(60)

    process = types.SimpleNamespace(kill=is_killed.set)
    kernel = types.SimpleNamespace(has_kernel=True, provisioner=types.SimpleNamespace(process=process))
    monkeypatch.setattr(threading.Thread, 'start', interrupted)
    monkeypatch.setattr(notebooks, '_KERNELS', [kernel])
    monkeypatch.setattr(notebooks.logging, 'disable', lambda: None)
    with pytest.raises(KeyboardInterrupt):
        notebooks._side_by_side(run, ['a', 'b'], 2)
    assert is_killed.is_set() and begun == ['a']
