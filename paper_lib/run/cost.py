"""What a run costs, known before it is trained."""

import shutil
from pathlib import Path

import jax
import numpy as np

from paper_lib import envs, tasks
from paper_lib.agent import dreamer
from paper_lib.data.writer import KEEP
from paper_lib.run import lanes, rollout
from paper_lib.spec import RunSpec, UserError


def _bytes(shape, dtype):
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _size(tree):
    return sum(_bytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


def disk(spec: RunSpec) -> tuple[int, int, int]:
    """Number of weights, and disk space in bytes: of the finished run and, with its checkpoints, on the way."""
    spaces = envs.make(spec.task, 0).spaces
    agent = lanes.agent_of(spec, spaces)
    state = jax.eval_shape(lambda: dreamer.init(agent, jax.random.key(0)))
    weights, logs = _size(state['params']), 4 * spec.updates * (spec.model.batch + 1)
    row = sum(_bytes(*entry) for entry in rollout.layout(spaces).values()) + 5  # and reward and flags
    replay = spec.rows * tasks.get(spec.task).envs * row if spec.data == 'own' else 0
    return weights // 4, replay + logs + weights, replay + logs + (KEEP + 1) * _size(state)


def cost(spec: RunSpec) -> dict:
    """What `disk` says and the number of updates, to be shown."""
    weights, finished, training = disk(spec)
    return {'updates': spec.updates, 'weights': weights, 'disk': megabytes(finished),
            'disk while training': megabytes(training)}  # fmt: skip


def megabytes(size: int) -> str:
    return f'{size / 1e6:.1f} MB'


def check_space(specs: list[RunSpec], folder: Path):
    """Raise UserError if runs of equal `signature` do not fit on the disk of `folder`, which need not exist yet."""
    need = len(specs) * disk(specs[0])[2] if specs else 0
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < need:
        raise UserError(f'{folder}: training needs {megabytes(need)} of disk space, {megabytes(free)} are free; '
                        'free some or name another folder in PAPER_LIB_RUNS')  # fmt: skip
