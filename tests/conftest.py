import os
import pathlib
import sys

import pytest

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('NPROC', '1')  # as paper_lib.run does: JAX may start before it is imported
for folder in ('agent', 'run'):  # their helper modules
    sys.path.insert(0, str(pathlib.Path(__file__).parent / folder))


@pytest.fixture(scope='module')
def quick():
    """For tests that run each program once or twice: compiling it is what takes the time.

    `tests/agent/test_golden.py` and the runs are for the programs as they train.
    """
    import jax

    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', False)
    jax.clear_caches()  # what was compiled so is for no other file
