"""What a run costs, known before it is trained."""

import functools
import shutil
from pathlib import Path

import jax
import numpy as np

from paper_lib import envs
from paper_lib.agent import dreamer, measures
from paper_lib.contract import plane, quantities, tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.writer import KEEP
from paper_lib.run import lanes, rollout

METRICS = 4096  # bytes of one row of metrics without its columns of single episodes, at most
COLUMN, NUMBER = 400, 48  # bytes of a column of single episodes, and of each number in it, at most
HEADERS = 40960  # bytes of the small files of a run and of the headers of its arrays, at most


def _bytes(shape, dtype):
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _size(tree):
    return sum(_bytes(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree))


@functools.cache
def _spaces(task, **options):
    return envs.make(task, 0, **options).spaces


@functools.cache
def _state(nets, watched):
    """Bytes of the agent's weights, and of all that a checkpoint holds: networks that watch the agent too."""
    state = jax.eval_shape(lambda: dreamer.init(nets, jax.random.key(0)))
    watchers = jax.eval_shape(lambda: measures.init(nets, jax.random.key(0))) if watched else ()
    return _size(state['params']), _size(state) + _size(watchers)


def disk(spec: RunSpec) -> tuple[int, int, int]:
    """Number of weights, and disk space in bytes: of the finished run and, with its checkpoints, on the way."""
    task, spaces = tasks.get(spec.task), _spaces(spec.task, **spec.options)
    weights, state = _state(lanes.networks_of(spec, spaces), bool(spec.measures))
    columns = len(quantities.recorded(quantities.EPISODE)) * spec.eval_episodes
    metrics = (METRICS + NUMBER * columns) * (spec.budget // spec.eval_every) + COLUMN * columns
    logs = 4 * spec.schedule.updates * (spec.model.batch + 1) + metrics + HEADERS
    row = sum(_bytes(*entry) for entry in rollout.layout(spaces).values()) + 5  # and reward and flags
    replay = spec.own_rows * task.envs * row
    steps, pictures = task.limit + 1, 2 * _bytes(spaces.image, 'uint8') if spaces.image else 0  # seen, decoded: of one
    values = sum(spaces.vector) + spaces.place + 1 + len(quantities.recorded(quantities.STEP))  # 1: whether it is valid
    traces = steps * (4 * spec.eval_episodes * values + pictures)
    traces += 8 * plane.CELLS**2
    return weights // 4, replay + logs + weights + traces, replay + logs + (KEEP + 1) * (state + traces)


def cost(spec: RunSpec) -> dict:
    """What `disk` says and the number of updates, to be shown."""
    weights, finished, training = disk(spec)
    return {'updates': spec.schedule.updates, 'weights': weights, 'disk': megabytes(finished),
            'disk while training': megabytes(training)}  # fmt: skip


def megabytes(size: int) -> str:
    return f'{size / 1e6:.1f} MB'


def check_space(specs: list[RunSpec], folder: Path, at_once: int) -> None:
    """Raise UserError if these runs, `at_once` of them in training, do not fit on the disk of `folder`.

    The folder need not exist yet.
    """
    sizes = [disk(spec)[1:] for spec in specs]
    need = sum(finished for finished, _ in sizes)
    need += sum(sorted(training - finished for finished, training in sizes)[-at_once:])
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if (free := shutil.disk_usage(there).free) < need:
        raise UserError(f'{folder}: training needs {megabytes(need)} of disk space, {megabytes(free)} are free; '
                        'free some or name another folder in PAPER_LIB_RUNS')  # fmt: skip
