"""The provenance of a run: the code, the machine, and everything else that decides the last bits of its weights."""

import hashlib
import os
import pathlib
import platform
from typing import Any

import jax

import paper_lib
from paper_lib import envs
from paper_lib.contract import tasks
from paper_lib.contract.spec import RunSpec

ROOMS = ('agent', 'contract', 'data', 'envs', 'run')  # the folders whose code a run is trained with


def setting(specs: list[RunSpec]) -> dict[str, Any]:
    """The setting of runs that train together: what decides their last bits besides their specs.

    A run must be resumed in the setting in which it was begun.
    """
    first = specs[0]
    values = {
        'lanes': [spec.run_id for spec in specs],
        'threads': os.environ.get('NPROC', ''),
        'device': jax.devices()[0].device_kind,
        'machine': platform.machine(),
        'jax': jax.__version__,
    }
    if tasks.get(first.task).rendered:
        values['pictures'] = envs.drawn_by(first.task, **first.options)
    return values


def code() -> str:
    """Hash of the files in ROOMS, with which runs are trained. It depends on their comments too."""
    package = pathlib.Path(paper_lib.__file__).parent
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((package / room).rglob('*.py')):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


CODE = code()  # computed when the files are loaded, because they may change while the process runs
