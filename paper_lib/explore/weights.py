"""Weights of trained agents that come with the repository: safetensors files, the run's spec in their metadata."""

import json
from pathlib import Path

import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import RunSpec
from paper_lib.study import agents, paths, scales

SECTIONS, AGENTS = ('toy_maze', 'study'), ('active', 'passive', 'tandem')
UNUSED = ('expl/', 'disag/', 'task/slow/')  # trained, but neither acts nor judges afterwards


def path(spec: RunSpec, scale: str) -> Path:
    return paths.figures() / 'weights' / scale / f'{spec.run_id}.safetensors'


def wanted(scale: str, seed: int = 0) -> list[RunSpec]:
    """The three agents of this pair seed, of every task: those of one pair of each task come with the repository."""
    specs = [spec for section in SECTIONS for spec in agents.plan(section, scales.get(scale)) if spec.agent in AGENTS]
    return list(dict.fromkeys(spec for spec in specs if agents.pair_seed(spec) == seed))


def _content(spec):
    return json.dumps(spec.canonical(), sort_keys=True)


def export(spec: RunSpec, store, scale: str) -> Path:
    """Write what a finished run needs to act and to be judged; equal weights give equal bytes. Returns the path."""
    import safetensors.numpy

    arrays = store.require(spec).arrays('weights.npz')
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items() if not name.startswith(UNUSED)}
    paths.write(path(spec, scale), safetensors.numpy.save(kept, {'spec': _content(spec)}))
    return path(spec, scale)


def load(spec: RunSpec, scale: str) -> dict[str, np.ndarray]:
    """The weights of a run by name. Raises RunError where there are none, or they are damaged or of another run."""
    import safetensors

    file = path(spec, scale)
    if not file.exists():
        raise RunError(f'{file.name}: no weights at scale {scale}; `paper-lib export --scale {scale}` '
                       'copies them from finished runs')  # fmt: skip
    try:
        with safetensors.safe_open(file, 'numpy') as content:
            if (content.metadata() or {}).get('spec') != _content(spec):
                raise RunError(f'{file}: of another run than its name says; restore it, or export it again')
            return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f'{file}: cannot be read ({error}); restore it, or export it again') from None
