"""The disk space and the updates of a run, known before it is trained."""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from paper_lib import envs
from paper_lib.agent import dreamer, measures
from paper_lib.agent.networks import Networks
from paper_lib.contract import plane, quantities, tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.writer import KEEP
from paper_lib.run import lanes, rollout

# Upper bounds in bytes:
METRICS = 4096  # a row of metrics without its columns of single episodes
COLUMN = 400  # a column of single episodes, without its numbers
NUMBER = 48  # a number in such a column
HEADERS = 40960  # the small files of a run, and the headers of its arrays


class Size(NamedTuple):
    """How large a run is."""

    weights: int  # number of the agent's weights
    finished: int  # bytes on the disk, finished
    in_training: int  # bytes on the disk in training, with checkpoints


def _bytes(shape: Sequence[int], dtype: str | np.dtype) -> int:
    """Bytes of an array."""
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _tree_bytes(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(_bytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


@functools.cache
def _spaces(task: str, **options: Any) -> envs.Spaces:
    return envs.make(task, 0, **options).spaces


@functools.cache
def _state_bytes(nets: Networks, watched: bool) -> tuple[int, int]:
    """Bytes of the agent's weights, and of the whole state in a checkpoint, with the watching networks if `watched`."""
    state = jax.eval_shape(lambda: dreamer.init(nets, jax.random.key(0)))
    watchers = jax.eval_shape(lambda: measures.init(nets, jax.random.key(0))) if watched else ()
    return _tree_bytes(state['params']), _tree_bytes(state) + _tree_bytes(watchers)


def disk(spec: RunSpec) -> Size:
    """The size of a run. Bytes are upper bounds."""
    task = tasks.get(spec.task)
    spaces = _spaces(spec.task, **spec.options)
    weights, state = _state_bytes(lanes.networks_of(spec, spaces), bool(spec.measures))

    columns = len(quantities.recorded(quantities.EPISODE)) * spec.eval_episodes
    evaluations = spec.budget // spec.eval_every
    metrics = (METRICS + NUMBER * columns) * evaluations + COLUMN * columns
    batch_log = 4 * spec.schedule.updates * (spec.model.batch + 1)
    logs = batch_log + metrics + HEADERS

    step = sum(_bytes(*entry) for entry in rollout.layout(spaces).values()) + 5  # 5: reward and flags
    replay = spec.own_rows * task.envs * step

    values = sum(spaces.vector) + spaces.place + len(quantities.recorded(quantities.STEP)) + 1  # 1: the valid flag
    images = 2 * _bytes(spaces.image, 'uint8') if spaces.image else 0  # observed and decoded, of one episode
    traces = (task.limit + 1) * (4 * spec.eval_episodes * values + images)
    traces += 8 * plane.CELLS**2

    finished = replay + logs + weights + traces
    in_training = replay + logs + (KEEP + 1) * (state + traces)
    return Size(weights // 4, finished, in_training)


def cost(spec: RunSpec) -> dict[str, int | str]:
    """The number of updates and the results of `disk`, by the words that a table shows."""
    size = disk(spec)
    return {
        'updates': spec.schedule.updates,
        'weights': size.weights,
        'disk': megabytes(size.finished),
        'disk while training': megabytes(size.in_training),
    }


def megabytes(size: int) -> str:
    """A number of bytes in words."""
    return f'{size / 1e6:.1f} MB'


def check_space(specs: list[RunSpec], folder: Path, at_once: int) -> None:
    """Raise UserError if these runs, `at_once` of them in training, do not fit on the disk of `folder`.

    The folder need not exist yet.
    """
    need = 0
    only_in_training = []  # bytes that each run needs in training and frees at its end
    for spec in specs:
        size = disk(spec)
        need += size.finished
        only_in_training.append(size.in_training - size.finished)
    need += sum(sorted(only_in_training)[-at_once:])
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < need:
        raise UserError(
            f'{folder}: training needs {megabytes(need)} of disk space, {megabytes(free)} are free; '
            'free some or name another folder in PAPER_LIB_RUNS'
        )
