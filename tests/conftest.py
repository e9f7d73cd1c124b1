import os
import pathlib
import sys

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
for folder in ('agent', 'run'):  # their helper modules
    sys.path.insert(0, str(pathlib.Path(__file__).parent / folder))
