"""Trains a group of runs, from the beginning or from a checkpoint, to finished run directories.

`loop` has the order of events. This file builds what the loop needs, and passes its events to
those who record and save. Every random draw is a function of a seed, a stream and a counter;
so a checkpoint holds only arrays and the clock.
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
from paper_lib.data.steps import check_fits
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
    """Train runs of equal `signature` together until each is finished. Runs that are finished already are skipped.

    `progress` is called with the clock after every chunk. Raises RunError for damaged run data, for a source that is
    missing or unfinished, and for a run that another process is working on. Raises UserError if JAX has started with
    other settings than those of `backend.prepare`.
    """
    backend.prepare()
    check_together(specs)
    spaces = envs.make(specs[0].task, 0, **specs[0].options).spaces  # before a folder is made, because it may fail
    waiting = [spec for spec in specs if store.status(spec) != 'done']
    recordings = {spec.source: sources.recording(store, spec.source) for spec in waiting if spec.source}
    for spec in waiting:
        if spec.exact:
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
    if len(specs) > 1 and any(spec.exact for spec in specs):
        raise UserError('a run with weights of its source to the bit must be trained alone, as its source was')


def check_same_setting(spec: RunSpec, source: Finished) -> None:
    """Raise RunError unless this process has the setting in which an exact run's source was trained, alone."""
    of_source = source.provenance()
    here = provenance.setting([spec]) | {'lanes': [spec.source.run_id], 'cpu': machine.processor_name()}
    changed = [name for name in here if of_source.get(name) != here[name]]
    if changed:
        values = ', '.join(f'{name}={of_source.get(name)}' for name in changed)
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
    """Train from the newest checkpoint to the end of the schedule, and finish the runs."""
    specs = [run.spec for run in runs]
    lane_recordings = [recordings.get(spec.source) for spec in specs]
    group = [make_lane(run, recording, spaces) for run, recording in zip(runs, lane_recordings)]
    training = make_training(group, spaces)
    setting = provenance.setting(specs)
    if all(lane_recordings):
        setting['sources'] = [files.sha256(recording.sealed) for recording in lane_recordings]
    recorder = Recorder(group, lane_recordings, training)
    checkpoints = Checkpoints(group, setting, training, recorder, checkpoint_seconds)
    clock = checkpoints.restore()
    if clock == 0:
        load_frozen_models(training.learner, group, lane_recordings)
    for event in loop.events(training, clock):
        for run in runs:
            run.check_held()
        recorder(event)
        checkpoints(event)
        if progress and isinstance(event, loop.Advanced):
            progress(event.clock)
    finish(group, training, recorder, checkpoints)


def make_lane(run: Run, recording: Finished | Recording | None, spaces: envs.Spaces) -> Lane:
    """A run together with the data that it learns from."""
    spec = run.spec
    layout = rollout.layout(spaces)
    own_replay = run.make_replay(layout) if spec.own_rows else None
    recorded_replay = recording.replay() if recording else None
    if recorded_replay:
        like = {key: (array.shape[2:], array.dtype) for key, array in recorded_replay.arrays.items()}
        check_fits(f'{spec.source_id}: ', like, spec.task, layout)
    batches = recording.batches() if spec.data == 'batches' else None
    return Lane(spec, run, sources.learned_from(spec, recorded_replay, own_replay), batches)


def make_training(group: list[Lane], spaces: envs.Spaces) -> loop.Training:
    """The training of a group at its beginning. Updates are compiled first, to save memory."""
    specs = [lane.spec for lane in group]
    first = specs[0]
    learner = Learner(group, spaces)
    learner.compile()
    collector = None
    if first.own_rows:
        collector = rollout.Collector(learner.program, specs, [lane.run.replay for lane in group])
    evaluation = Evaluation(learner.program, specs, [lane.source for lane in group])
    source_rows = first.source_rows if first.data == 'final' else 0
    return loop.Training(
        schedule=first.schedule,
        learner=learner,
        evaluation=evaluation,
        collector=collector,
        source_rows=source_rows,
    )


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


def finish(group: list[Lane], training: loop.Training, recorder: Recorder, checkpoints: Checkpoints) -> None:
    """Write the final files of every run that has not diverged. Raises RunError if a run has diverged."""
    weights = lanes.flatten(training.learner.agent)
    about = checkpoints.setting | {
        'seconds': round(checkpoints.seconds, 1),
        'paper_lib': paper_lib.__version__,
        'code': checkpoints.code,
        'python': platform.python_version(),
        'cpu': machine.processor_name(),
    }
    rows = training.rows(training.schedule.steps)
    for number, lane in enumerate(group):
        if lane.spec.run_id in training.diverged:
            continue
        lane_weights = {name: array[number] for name, array in weights.items()}
        traces = recorder.evaluated.traces[number] | visits(lane, rows)
        lane.run.finish(lane_weights, traces, about)
    training.check_diverged()


def visits(lane: Lane, rows: int) -> dict[str, np.ndarray]:
    """'visits' (CELLS, CELLS): the number of recorded steps in each cell of the task's plane; {} without a plane."""
    plane = tasks.get(lane.spec.task).plane
    if plane is None:
        return {}
    key = 'place' if 'place' in lane.source.arrays else 'vector'
    points = lane.source.steps(key, rows)[:, plane.components]
    return {'visits': plane.visits(points)}
