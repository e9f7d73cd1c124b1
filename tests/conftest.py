import os
import pathlib
import sys

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('NPROC', '1')  # as paper_lib.run does: JAX may start before it is imported
for folder in ('agent', 'run'):  # their helper modules
    sys.path.insert(0, str(pathlib.Path(__file__).parent / folder))
