"""What a run costs, known before it is trained."""

import jax
import numpy as np

from paper_lib import envs, tasks
from paper_lib.agent import dreamer
from paper_lib.data.writer import KEEP
from paper_lib.run import lanes, rollout
from paper_lib.spec import RunSpec


def _bytes(shape, dtype):
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _size(tree):
    return sum(_bytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


def cost(spec: RunSpec) -> dict:
    """Number of updates and of weights, and disk space: of the finished run and, with its checkpoints, on the way."""
    spaces = envs.make(spec.task, 0).spaces
    agent = lanes.agent_of(spec, spaces)
    state = jax.eval_shape(lambda: dreamer.init(agent, jax.random.key(0)))
    weights, logs = _size(state['params']), 4 * spec.updates * (spec.model.batch + 1)
    row = sum(_bytes(*entry) for entry in rollout.layout(spaces).values()) + 5  # and reward and flags
    replay = spec.rows * tasks.get(spec.task).envs * row if spec.data == 'own' else 0
    return {'updates': spec.updates, 'weights': weights // 4, 'disk': _megabytes(replay + logs + weights),
            'disk while training': _megabytes(replay + logs + (KEEP + 1) * _size(state))}  # fmt: skip


def _megabytes(size):
    return f'{size / 1e6:.1f} MB'
