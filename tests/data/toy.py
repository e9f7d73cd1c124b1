"""A stand-in for training that uses the whole store: bytes that depend on replay, batches, metrics and checkpoints."""

import dataclasses

import numpy as np

from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.data.store import Store
from paper_lib.data.streams import rng

TASK = 'point_mass_maze-proprio'
MODEL = ModelSpec(batch=2, length=4)
SPEC = RunSpec(TASK, model=MODEL, budget=400, eval_every=80, prefill=40)  # 50 rows of 4 environments, 80 updates
OTHER = dataclasses.replace(SPEC, seed=5)
OFFLINE = dataclasses.replace(SPEC, agent='passive', seed=1, data='final', source=SPEC)
LIKE = {'vector': ((3,), 'float32'), 'action': ((2,), 'float32')}
FILES = {'spec.json', 'metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'lengths.bin', 'done.json',
         'provenance.json', 'replay/layout.json',
         *(f'replay/{key}.bin' for key in ('vector', 'action', 'reward', 'flags'))}  # fmt: skip


def step(row: int, envs: int = 4) -> dict[str, np.ndarray]:
    """Row `row` of four environments with episodes of 7 rows, the last one terminal in environment 1."""
    draw = rng(0, 'env', row)
    flag = np.ones(envs, bool)
    return {'vector': draw.normal(size=(envs, 3)).astype(np.float32),
            'action': draw.normal(size=(envs, 2)).astype(np.float32),
            'reward': draw.random(envs).astype(np.float32),
            'is_first': flag * (row % 7 == 0), 'is_last': flag * (row % 7 == 6),
            'is_terminal': (np.arange(envs) == 1) * flag * (row % 7 == 6)}  # fmt: skip


def begin(run):
    """(state, row) of the newest checkpoint or of the beginning."""
    if clocks := run.checkpoints():
        arrays, meta = run.load(clocks[0])
        return arrays['state'], meta['row']
    run.restart()
    return np.zeros((1000, 3)), 0


def advance(run, state, row):
    """One row, its two updates (after the prefill of 10 rows), an evaluation every tenth row."""
    run.replay.write(row, step(row))
    for update in range(2 * (row - 10), 2 * (row - 9)) if row >= 10 else ():
        starts = run.replay.sample(rng(0, 'replay', update), row + 1, 2, 4)
        run.batches[update], run.lengths[update] = starts, row + 1
        state = state * 0.9 + run.replay.gather(starts, 4)['vector'].mean((0, 1))
    if row % 10 == 9:
        run.append({'agent_step': 4 * row + 4, 'score': float(state.sum())})
    return state


def save(run, state, row):
    run.save(row + 1, {'state': state}, {'row': row + 1}, rows=row + 1, updates=max(0, 2 * (row - 9)))


def train(root, spec=SPEC, note='', every=20):
    """Train or resume to the end; a second call finds it done."""
    store = Store(root)
    with store.lease(spec) as held:
        if store.status(spec) == 'done':
            return
        run = store.open(spec, held)
        run.make_replay(LIKE)
        state, start = begin(run)
        for row in range(start, spec.schedule.rows):
            state = advance(run, state, row)
            if (row + 1) % every == 0 or row + 1 == spec.schedule.rows:
                save(run, state, row)
        run.finish({'state': state}, {'reward': np.ones((4, 5), np.float32)}, {'note': note})


def contents(root, spec=SPEC) -> dict[str, bytes]:
    """All files of a run but the provenance and who wrote it, by name."""
    path = Store(root).path(spec)
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob('*') if file.is_file()}
    return {
        name: data for name, data in found.items() if name not in ('provenance.json', 'lease.json', 'attempts.jsonl')
    }


def interrupted(root, rows=33, every=10) -> Store:
    """A run stopped before row `rows`, its last checkpoints at 20 and 30, with more written than they know of."""
    store = Store(root)
    with store.lease(SPEC) as held:
        run = store.open(SPEC, held)
        run.make_replay(LIKE)
        state, _ = begin(run)
        for row in range(rows):
            state = advance(run, state, row)
            if (row + 1) % every == 0:
                save(run, state, row)
    return store


def flip(path, position: int):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
