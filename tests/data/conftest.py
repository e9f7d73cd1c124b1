import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    import toy

    root = tmp_path_factory.mktemp('runs')
    toy.train(root)
    return root
