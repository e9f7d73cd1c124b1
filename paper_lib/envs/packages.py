"""Imports the packages of a suite.

An error names what is missing on this machine in one line.
"""

import importlib
import os
import sys

from paper_lib.contract.errors import UserError


def load(packages: tuple[str, ...]) -> None:
    """Import packages, each given as `name==version`.

    Raises UserError if one is missing or does not load, or if the simulators do not run on
    this Python.
    """
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        raise UserError(f'Python {sys.version_info[0]}.{sys.version_info[1]}: the simulators need Python 3.11 or 3.12')
    names = [package.partition('==')[0] for package in packages]
    if 'mujoco' in names:
        os.environ.setdefault('MUJOCO_GL', 'disabled')  # MuJoCo reads it at import; vectors need no rendering
    try:
        for name in names:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f'module {error.name!r} is missing: run `pip install {" ".join(packages)}`') from error
    except (ImportError, RuntimeError, AttributeError) as error:  # GL bindings raise these if a library is missing
        backend = os.environ.get('MUJOCO_GL')
        reason = ' '.join(str(error).split())
        vectors = '' if backend == 'disabled' else '; MUJOCO_GL=disabled runs the -proprio tasks'
        raise UserError(f'the simulator does not load with MUJOCO_GL={backend} ({reason}); '
                        f'`paper-lib doctor` says what is missing{vectors}') from error  # fmt: skip
