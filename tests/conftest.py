import os
import pathlib
import sys

import pytest

from paper_lib.run import backend

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
backend.prepare()  # a test may start JAX before it trains
for folder in ('.', 'agent', 'cluster', 'data', 'engine', 'run'):  # their helper modules
    sys.path.insert(0, str(pathlib.Path(__file__).parent / folder))


@pytest.fixture(scope='module')
def quick():
    """For tests that run each program once or twice: compiling it is what takes the time.

    `tests/agent/test_golden.py` and the runs are for the programs as they train.
    """
    import jax

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')  # for the processes that the tests start
        jax.config.update('jax_disable_most_optimizations', True)
        yield
    jax.config.update('jax_disable_most_optimizations', False)
    jax.clear_caches()  # what was compiled so is for no other file
