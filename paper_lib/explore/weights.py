"""Weights of trained agents that come with the repository: sealed safetensors files that name their run.

The metadata of a file has only one entry, `about`, because safetensors writes several entries in any order. `about` is
JSON with the run's `spec` and with `sha256`, the hash of the whole file with zeros in the place of the hash.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from paper_lib.contract import agents, files
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.study import paths, plan, scales

CHAPTERS = ('toy_maze', 'study')
HEADER = {'__metadata__': {'about': str}}  # shape of what precedes the tensors
ABOUT = {'sha256': str, 'spec': files.ANY}
NO_SEAL = '0' * 64
UNUSED = ('expl/', 'disag/', 'task/slow/')  # branches that are trained, but not needed to act or to measure afterwards


def path(spec: RunSpec, scale: str) -> Path:
    """The file with the weights of a run."""
    return paths.figures() / 'weights' / scale / f'{spec.run_id}.safetensors'


def wanted(scale: str, seed: int = 0) -> list[RunSpec]:
    """The runs of the compared agents with this pair seed, on every task.

    For each task, the weights of one pair come with the repository.
    """
    compared = agents.group('compared')
    chosen = {}
    known = scales.get(scale)
    for chapter in [name for name in CHAPTERS if name in known.chapters]:
        for spec in plan.specs(chapter, known):
            if spec.agent in compared and spec.pair_seed == seed:
                chosen[spec] = None
    return list(chosen)


def export(spec: RunSpec, store: Any, scale: str) -> Path:
    """Write those weights of a finished run that are needed to act and to measure. Returns the path.

    Equal weights give equal bytes.
    """
    arrays = store.require(spec).arrays('weights.npz')
    kept = {name: array for name, array in arrays.items() if not name.startswith(UNUSED)}
    file = path(spec, scale)
    paths.write(file, pack(spec, kept))
    return file


def export_all(store: Any, scale: str, seed: int = 0) -> list[dict[str, str]]:
    """Export the wanted runs that are finished. One row per wanted run: its id, its state, and the size of its file.

    Raises UserError where the scale plans no such run.
    """
    rows = []
    for spec in wanted(scale, seed):
        state = store.status(spec)
        if state == 'done':
            export(spec, store, scale)
        file = path(spec, scale)
        size = f'{file.stat().st_size / 1e6:.2f} MB' if file.exists() else 'none'
        rows.append({'run_id': spec.run_id, 'run': state, 'weights': size})
    if not rows:
        raise UserError(f'seed={seed}: scale {scale} has no pair of runs with this seed')
    return rows


def pack(spec: RunSpec, arrays: dict[str, np.ndarray]) -> bytes:
    """A sealed safetensors file of these arrays."""
    import safetensors.numpy

    about = json.dumps({'sha256': NO_SEAL, 'spec': spec.canonical()}, sort_keys=True)
    tensors = {name: np.asarray(array, order='C') for name, array in arrays.items()}
    unsealed = safetensors.numpy.save(tensors, {'about': about})
    seal = hashlib.sha256(unsealed).hexdigest()
    return unsealed.replace(NO_SEAL.encode(), seal.encode(), 1)  # the header comes first and has no other zeros


def load(spec: RunSpec, scale: str) -> dict[str, np.ndarray]:
    """The weights of a run by name.

    Raises RunError if there are no weights, or if they are another run's, changed in any byte, or not finite.
    """
    import safetensors.numpy

    file = path(spec, scale)
    advice = 'restore it, or export it again'
    if not file.exists():
        command = f'paper-lib export --scale {scale}'
        raise RunError(f'{file.name}: no weights at scale {scale}; `{command}` copies them from finished runs')
    with files.reading(file, advice) as opened:
        content = opened.read()
    about = _about(file, content, advice)
    unsealed = content.replace(about['sha256'].encode(), NO_SEAL.encode(), 1)
    if hashlib.sha256(unsealed).hexdigest() != about['sha256']:
        raise RunError(f'{file}: damaged (checksum); {advice}')
    if about['spec'] != spec.canonical():
        raise RunError(f'{file}: of another run than its name says; {advice}')
    arrays = safetensors.numpy.load(content)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise RunError(f'{file}: {name} is not finite; {advice}')
    return arrays


def _about(file: Path, content: bytes, advice: str) -> dict[str, Any]:
    """The entry `about` of a file's metadata, unchecked."""
    size = int.from_bytes(content[:8], 'little')  # of the header, as the format of safetensors says
    header = files.parse_json(file, content[8 : 8 + size], HEADER, advice)
    return files.parse_json(file, header['__metadata__']['about'].encode(), ABOUT, advice)
