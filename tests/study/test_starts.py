"""The file behind a page on which a click starts three agents."""

import gzip
import json

import numpy as np
import pytest

from paper_lib.contract.errors import RunError
from paper_lib.explore.starts import KINDS
from paper_lib.study import paths, starts

TASK = 'point_mass_maze-proprio'


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    return starts.path(TASK, 'smoke')


def test_the_line_says_where_every_array_lies(file):
    arrays = {'b': np.arange(3, dtype=np.int16), 'a': np.ones((2, 2), np.uint8)}
    paths.write(file, starts.pack({'task': TASK}, arrays))
    assert starts.there('smoke') == [TASK]
    found = starts.load(TASK, 'smoke')
    assert found.header == {'task': TASK, 'arrays': {'a': ['uint8', [2, 2]], 'b': ['int16', [3]]}}
    assert gzip.decompress(found.content).partition(b'\n')[2] == arrays['a'].tobytes() + arrays['b'].tobytes()
    assert starts.pack({'task': TASK}, arrays) == found.content


DAMAGED = {'empty': b'', 'no gzip': b'no gzip', 'no json': gzip.compress(b'no json\n'), 'cut': starts.pack({}, {})[:-9]}


@pytest.mark.parametrize('content', DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_file_is_named(file, content):
    paths.write(file, content)
    with pytest.raises(RunError, match=r'starts_point_mass_maze-proprio.gz: damaged \(.*paper-lib starts'):
        starts.load(TASK, 'smoke')


def test_those_in_the_repository_are_of_shipped_weights(monkeypatch):
    monkeypatch.delenv('PAPER_LIB_FIGURES')
    assert starts.there('laptop') == list(KINDS)
    shipped = {path.stem for path in (paths.figures() / 'weights' / 'laptop').iterdir()}
    for task in KINDS:
        header = starts.load(task, 'laptop').header
        assert set(header['runs']) <= shipped
        assert json.dumps(header['agents']) == '["active", "passive", "tandem"]'
