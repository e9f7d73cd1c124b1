import pytest


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    import toy

    root = tmp_path_factory.mktemp('runs')
    toy.train(root)
    return root
