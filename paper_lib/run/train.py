"""Trains a group of runs, from the beginning or from a checkpoint, to finished run directories.

`loop` has the order of events. This file builds the parts of the loop and connects it with
the consumers of its events. Every random draw is a function of a seed, a stream and a
counter, so that a checkpoint needs to hold arrays and the clock only.
"""

import contextlib
import platform
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import paper_lib
from paper_lib import envs, machine
from paper_lib.contract import files, tasks
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data import sources
from paper_lib.data.datasets import Recording
from paper_lib.data.store import Finished, Store
from paper_lib.data.writer import Run
from paper_lib.run import backend, cost, lanes, loop, provenance, rollout
from paper_lib.run.checkpoints import Checkpoints
from paper_lib.run.evaluate import Evaluation
from paper_lib.run.learner import Lane, Learner
from paper_lib.run.recorder import Recorder


def train(
    specs: list[RunSpec],
    store: Store,
    progress: Callable[[int], None] | None = None,
    checkpoint_seconds: float = 60.0,
) -> None:
    """Train runs of equal `signature` together until each is finished.

    Finished runs stay as they are.

    `progress` is called with the clock after every chunk. Raises RunError for damaged run data, for a source that is
    missing or unfinished, and for a run that another process is working on; UserError if JAX has started with other
    settings than `backend.prepare` makes.
    """
    backend.prepare()
    check_together(specs)
    spaces = envs.make(specs[0].task, 0, **specs[0].options).spaces  # an error comes before a folder is made
    recordings = {}
    for spec in specs:
        if spec.source and store.status(spec) != 'done':
            recordings[spec.source] = sources.recording(store, spec.source)
    for spec in specs:
        if spec.exact and store.status(spec) != 'done':
            check_same_setting(spec, recordings[spec.source])
    missing = [spec for spec in specs if store.status(spec) == 'missing']
    cost.check_space(missing, store.root, len(specs))
    with opened(specs, store) as runs:
        if not runs:
            return
        try:
            train_group(runs, recordings, spaces, progress, checkpoint_seconds)
        except Exception as error:
            for run in runs:
                if not isinstance(error, RunError) or run.spec.run_id in str(error):
                    run.fail(f'{type(error).__name__}: {error}')
            raise


def check_together(specs: list[RunSpec]) -> None:
    """Raise UserError unless these runs can be lanes of one program."""
    if len({spec.signature for spec in specs}) != 1:
        raise UserError('these runs cannot share a program, because their tasks, models or schedules differ')


def check_same_setting(spec: RunSpec, source: Finished) -> None:
    """Raise RunError unless an exact run, trained alone here, would have the bits of its source."""
    was = source.provenance()
    here = provenance.setting([spec]) | {'lanes': [spec.source.run_id], 'cpu': machine.processor_name()}
    changed = [name for name in here if was.get(name) != here[name]]
    if changed:
        values = ', '.join(f'{name}={was.get(name)}' for name in changed)
        advice = f'train it again here, alone, because {spec.agent} must have its weights to the bit'
        raise RunError(f'{source.path}: was trained with {values}; {advice}')


@contextlib.contextmanager
def opened(specs: list[RunSpec], store: Store) -> Iterator[list[Run]]:
    """Hold the leases of all runs, and yield the unfinished ones, ready to be written."""
    with contextlib.ExitStack() as stack:
        leases = [stack.enter_context(store.lease(spec)) for spec in specs]
        runs = []
        for spec, lease in zip(specs, leases):
            if store.status(spec) != 'done':
                runs.append(store.open(spec, lease))
        yield runs


def train_group(
    runs: list[Run],
    recordings: dict[Any, Finished | Recording],
    spaces: envs.Spaces,
    progress: Callable[[int], None] | None,
    checkpoint_seconds: float,
) -> None:
    """Build the parts of the loop, run it to its end with its consumers, and finish the runs."""
    specs = [run.spec for run in runs]
    lane_recordings = [recordings.get(spec.source) for spec in specs]
    group = [make_lane(run, recording, spaces) for run, recording in zip(runs, lane_recordings)]
    parts = make_parts(group, spaces)
    setting = provenance.setting(specs)
    if all(lane_recordings):
        setting['sources'] = [files.sha256(recording.sealed) for recording in lane_recordings]
    recorder = Recorder(group, lane_recordings, parts)
    checkpoints = Checkpoints(group, setting, parts, recorder, checkpoint_seconds)
    clock = checkpoints.restore()
    if clock == 0:
        load_frozen_models(parts.learner, group, lane_recordings)
    for event in loop.events(parts, clock):
        recorder(event)
        checkpoints(event)
        if progress and isinstance(event, loop.Advanced):
            progress(event.clock)
    finish(group, parts, recorder, checkpoints)


def make_lane(run: Run, recording: Finished | Recording | None, spaces: envs.Spaces) -> Lane:
    """A run together with what it learns from."""
    spec = run.spec
    layout = rollout.layout(spaces)
    own = run.make_replay(layout) if spec.own_rows else None
    replay = recording.replay() if recording else None
    if replay:
        check_layout(spec, replay.arrays, layout)
    batches = None
    if spec.data == 'batches':
        batches = recording.log('batches.bin', (spec.schedule.updates, spec.model.batch))
    return Lane(spec, run, sources.learned_from(spec, replay, own), batches)


def check_layout(spec: RunSpec, arrays: dict[str, np.ndarray], layout: dict[str, tuple]) -> None:
    """Raise UserError unless a recording has the observations and actions of the task's environment, and no others."""
    for name in rollout.OBS:
        if name in arrays and name not in layout:
            raise UserError(f'{spec.source_id}: has {name}, which {spec.task} has not')
    for name, (shape, dtype) in layout.items():
        if name not in arrays:
            raise UserError(f'{spec.source_id}: has no {name}, which {spec.task} has')
        wanted = tuple(shape), np.dtype(dtype)
        recorded = arrays[name].shape[2:], arrays[name].dtype
        if recorded != wanted:
            what = f'{name} of shape {recorded[0]} and type {recorded[1]}'
            raise UserError(f'{spec.source_id}: has {what}; {spec.task} has {wanted[0]} and {wanted[1]}')


def make_parts(group: list[Lane], spaces: envs.Spaces) -> loop.Parts:
    """The learner, the evaluation and the collector of a group.

    Updates are compiled first, to save memory.
    """
    specs = [lane.spec for lane in group]
    first = specs[0]
    learner = Learner(group, spaces)
    learner.compile()
    collector = None
    if first.own_rows:
        collector = rollout.Collector(learner.program, specs, [lane.run.replay for lane in group])
    evaluation = Evaluation(learner.program, specs, [lane.source for lane in group])
    source_rows = first.source_rows if first.data == 'final' else 0
    return loop.Parts(first.schedule, learner, evaluation, collector, source_rows, first.interact_above)


def load_frozen_models(learner: Learner, group: list[Lane], recordings: list[Finished | Recording | None]) -> None:
    """Give agents with a frozen world model the final weights of their source's world model."""
    if group[0].spec.world_model != 'frozen':
        return
    stacked = {}
    for recording in recordings:
        for name, array in recording.arrays('weights.npz').items():
            if name.startswith('wm/'):
                stacked.setdefault(name.removeprefix('wm/'), []).append(array)
    arrays = {name: np.stack(values) for name, values in stacked.items()}
    learner.params['wm'] = lanes.unflatten(learner.params['wm'], arrays)


def finish(group: list[Lane], parts: loop.Parts, recorder: Recorder, checkpoints: Checkpoints) -> None:
    """Write the final files of every run that has not diverged. Raises RunError if others have."""
    weights = lanes.flatten(parts.learner.agent)
    about = checkpoints.setting | {
        'seconds': round(checkpoints.seconds, 1),
        'paper_lib': paper_lib.__version__,
        'code': checkpoints.code,
        'python': platform.python_version(),
        'cpu': machine.processor_name(),
    }
    rows = parts.rows(parts.schedule.steps)
    for number, lane in enumerate(group):
        if lane.spec.run_id in parts.lost:
            continue
        lane_weights = {name: array[number] for name, array in weights.items()}
        traces = recorder.evaluated.traces[number] | visits(lane, rows)
        lane.run.finish(lane_weights, traces, about)
    parts.fail()


def visits(lane: Lane, rows: int) -> dict[str, np.ndarray]:
    """'visits', (CELLS, CELLS): how many steps of the recording lie in each cell of the task's plane, if it has one."""
    plane = tasks.get(lane.spec.task).plane
    if plane is None:
        return {}
    key = 'place' if 'place' in lane.source.arrays else 'vector'
    points = lane.source.steps(key, rows)[:, plane.components]
    return {'visits': plane.visits(points)}
