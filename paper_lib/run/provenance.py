"""What made a run: the code, the machine, and what else decides the last bits of its weights beside its spec."""

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
    """What decides the last bits of these runs beside their specs. A resumed run must find it unchanged."""
    first = specs[0]
    found = {
        'lanes': [spec.run_id for spec in specs],
        'threads': os.environ.get('NPROC', ''),
        'device': jax.devices()[0].device_kind,
        'machine': platform.machine(),
        'jax': jax.__version__,
    }
    if tasks.get(first.task).rendered:
        found['pictures'] = envs.drawn_by(first.task, **first.options)
    return found


def code() -> str:
    """Hash of the code that a run is trained with, comments included: equal code has equal hashes, not the reverse."""
    root = pathlib.Path(paper_lib.__file__).parent
    files = set(root.glob('*.py'))
    for room in ROOMS:
        files |= set((root / room).rglob('*.py'))
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


CODE = code()  # as it was loaded: the files may change while a process runs
