"""Writes a run: metrics, batch log, replay, checkpoints, and at the end the files of a finished run.

A checkpoint holds a checksum of itself, and checksums of everything else that a resumed run
reads: metrics, batch log and replay. `failed.json` has its own checksum, and the lease and the
list of attempts have none; no result depends on these three.
"""

import contextlib
import dataclasses
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from paper_lib.contract import files, plain, tasks
from paper_lib.contract.errors import RunError, UserError, one_line
from paper_lib.contract.spec import RunSpec
from paper_lib.data.attempts import Attempt
from paper_lib.data.lease import Lease
from paper_lib.data.replay import Replay

KEEP = 2  # number of checkpoints: after a kill while a group saves, only some lanes have the newest one
FINAL = ('spec.json', 'metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'lengths.bin')
# The shapes of JSON files, as `files` checks them:
LISTED = {'run_id': str, 'files': {str: {'size': int, 'sha256': str}}}  # finishing.json and done.json
LAYOUT = {'rows': int, 'envs': int, 'keys': {str: ([int], str)}}  # layout.json of a replay
WRITTEN = {'metrics': (int, int), 'updates': {'rows': int, 'batches': int, 'lengths': int}}
CHECKPOINT = {'origin': (str, int), 'meta': files.ANY, 'written': WRITTEN}  # the JSON in a checkpoint


def read_spec(path: Path) -> RunSpec:
    """The spec in a run's directory.

    Raises RunError if it is damaged or of another schema.
    """
    data = files.read_start(path)
    values = files.parse_json(path, data, {'schema': int})
    files.check_schema(path, values['schema'])
    check_task(path, values)
    try:
        spec = plain.from_plain(values)
    except UserError as error:
        raise RunError(f'{path}: damaged ({error}); {files.AGAIN}') from None
    if data != files.json_text(values).encode():
        raise RunError(f'{path}: damaged; {files.AGAIN}')
    return spec


def check_task(path: Path, values: dict[str, Any]) -> None:
    """Raise RunError if a run's task is not known in this process. Its directory may still be undamaged."""
    run = values.get('run')
    task = run.get('task') if isinstance(run, dict) else None
    if isinstance(task, str):
        try:
            tasks.get(task)
        except UserError as error:
            what = f'if the suite is not one of ours, name its module in {tasks.VARIABLE}'
            raise RunError(f'{path}: {error}; {what}') from None


def check_spec(path: Path, spec: RunSpec) -> None:
    """Raise RunError unless the file holds exactly this spec."""
    written = read_spec(path)
    if written == spec:
        return
    names = [field.name for field in dataclasses.fields(spec)]
    different = [name for name in names if getattr(written, name) != getattr(spec, name)]
    raise RunError(f'{path}: of another spec (differs in {", ".join(different)}); {files.AGAIN}')


def read_list(path: Path, spec: RunSpec, advice: str = files.AGAIN) -> dict[str, dict]:
    """Size and sha256 of each final file of a run by name, read from `done.json` or `finishing.json`.

    Raises RunError if that list is damaged, is another run's, or lacks a file that every
    finished run has.
    """
    content = files.read_json(path, LISTED, advice)
    if content['run_id'] != spec.run_id:
        raise RunError(f'{path}: of another run, {content["run_id"]}; {advice}')
    needed = list(FINAL)
    if spec.own_rows:
        needed.append('replay/layout.json')
    check_listed(path, needed, content['files'], advice)
    return content['files']


def check_listed(path: Path, needed: list[str], listed: dict[str, dict], advice: str = files.AGAIN) -> None:
    """Raise RunError unless the list of files `listed`, read from `path`, has all needed names."""
    for name in needed:
        if name not in listed:
            raise RunError(f'{path}: does not list {name}; {advice}')


def replay_files(path: Path) -> list[str]:
    """Names of the files that hold the steps of the replay in the run directory `path`."""
    layout = files.read_json(path / 'replay/layout.json', LAYOUT)
    return [f'replay/{key}.bin' for key in layout['keys']]


def check_finishing(path: Path, spec: RunSpec) -> None:
    """Raise RunError unless all final files that `finishing.json` lists are there and undamaged."""
    list_path, advice = path / 'finishing.json', files.AGAIN
    if any(path.glob('checkpoint-*.npz')):
        advice = f'delete {list_path} to finish the run again from its newest checkpoint'
    listed = read_list(list_path, spec, advice)
    for name, expected in listed.items():
        files.check(path / name, expected, advice)
    if spec.own_rows:
        check_listed(list_path, replay_files(path), listed, advice)


def complete(path: Path) -> None:
    """Finish a run whose final files are all written. It may be called again after a kill.

    It deletes the checkpoints; so call it only after `finishing.json` was written or checked.
    """
    with files.guard(path):
        for old in (*path.glob('checkpoint-*.npz'), path / 'metrics.jsonl', path / 'failed.json'):
            old.unlink(missing_ok=True)
        files.sync_folder(path)
        os.replace(path / 'finishing.json', path / 'done.json')
        files.sync_folder(path)


def _number(value: np.generic) -> float | int | bool:
    """A numpy scalar as a number that JSON can write."""
    return value.item()


def _write_parquet(rows: list[dict[str, Any]], file: BinaryIO) -> None:
    """Write rows as a table. Columns are in the order of their first appearance; a missing value is null."""
    import pyarrow
    import pyarrow.parquet

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


class Run:
    """The only writer of a run directory. `Store.open` makes it; call `load` or `restart` before anything else.

    `batches` (updates, B) int32 holds the window starts of each update, and `lengths`
    (updates,) int32 the number of replay rows at each update; assign to their elements.
    `replay` is the replay that the run collects, or None before `make_replay` or `load`.
    """

    def __init__(self, path: Path, spec: RunSpec, lease: Lease):
        self.path = path
        self.spec = spec
        self._lease = lease
        self._begun = bool(self.checkpoints())
        spec_path = path / 'spec.json'
        has_spec = spec_path.exists()
        if has_spec:
            check_spec(spec_path, spec)
        if (path / 'metrics.parquet').exists() and not self._begun:
            raise RunError(f'{path / "done.json"}: missing, though the run was finished; {files.AGAIN}')
        if not has_spec and (self._begun or (path / 'metrics.jsonl').exists()):
            raise RunError(f'{spec_path}: missing; {files.AGAIN}')
        if not has_spec:
            files.write_bytes(spec_path, files.json_text(plain.to_plain(spec)).encode())
        with files.guard(path):
            for old in (*path.rglob('.*.tmp'), path / 'failed.json'):
                old.unlink(missing_ok=True)
        self.batches = self._log('batches.bin', (spec.schedule.updates, spec.model.batch))
        self.lengths = self._log('lengths.bin', (spec.schedule.updates,))
        self._logs = {'batches': np.asarray(self.batches), 'lengths': np.asarray(self.lengths)}
        self.replay = None
        self._attempt = Attempt(path, lease.token)

    def _log(self, name: str, shape: tuple[int, ...]) -> np.memmap:
        if not self._begun:  # a run with checkpoints has the whole file, else it is damaged
            files.reserve(self.path / name, int(np.prod(shape)) * 4)
        return files.memory_map(self.path / name, shape, np.int32, writable=True)

    def make_replay(self, like: dict[str, tuple[tuple[int, ...], str]]) -> Replay:
        """Create the replay that the run collects, or continue it; `like` as in `Replay.create`."""
        if self.replay is None:
            envs = tasks.get(self.spec.task).envs
            self.replay = Replay.create(self.path / 'replay', like, self.spec.own_rows, envs)
        return self.replay

    @property
    def _metrics_path(self) -> Path:
        return self.path / 'metrics.jsonl'

    def _start(self, size: int, crc: int) -> None:
        """Cut the metrics to their first `size` bytes, which have the checksum `crc`, and continue there."""
        self._size = size
        self._crc = crc
        with files.guard(self._metrics_path), open(self._metrics_path, 'ab') as file:
            file.truncate(size)

    def restart(self) -> None:
        """Begin anew: remove checkpoints and metrics. The replay and the batch log will be overwritten."""
        self._remove(self.checkpoints())
        self._start(0, 0)
        self._updates = files.Prefix(self._logs)
        self._steps = None  # checksums of the replay, which may not exist yet

    def check_held(self) -> None:
        """Raise Busy if another host has taken the run over.

        Training asks this between all writes, so that a process that was thought dead stops before it writes more.
        """
        self._lease.check()

    def append(self, row: dict[str, Any]) -> None:
        """Write one row of metrics as a JSON line. Raises as `check_held`."""
        self.check_held()
        self._attempt.note('metrics')
        line = (json.dumps(row, default=_number) + '\n').encode()
        with files.guard(self._metrics_path), open(self._metrics_path, 'r+b') as file:
            file.truncate(self._size)  # removes a torn line that a full disk left behind
            file.seek(self._size)
            file.write(line)
        self._size += len(line)
        self._crc = zlib.crc32(line, self._crc)

    # Checkpoints.

    def _checkpoint(self, clock: int) -> Path:
        return self.path / f'checkpoint-{clock}.npz'

    def checkpoints(self) -> list[int]:
        """Clocks of the checkpoints, newest first."""
        clocks = []
        for path in self.path.glob('checkpoint-*.npz'):
            if name := re.fullmatch(r'checkpoint-(\d+)\.npz', path.name):
                clocks.append(int(name[1]))
        return sorted(clocks, reverse=True)

    def _remove(self, clocks: list[int]) -> None:
        if clocks:
            with files.guard(self.path):
                for clock in clocks:
                    self._checkpoint(clock).unlink()
                files.sync_folder(self.path)

    def _flush(self) -> None:
        """Make sure that everything written so far is on the disk."""
        with files.guard(self.path):
            self.batches.flush()
            self.lengths.flush()
            if self.replay:
                self.replay.flush()
            with open(self._metrics_path, 'r+b') as file:
                os.fsync(file.fileno())

    def _written(self, rows: int, updates: int) -> dict[str, Any]:
        """Sizes and checksums of everything that a resumed run reads besides the checkpoint."""
        written = {'metrics': [self._size, self._crc], 'updates': self._updates.extend(updates)}
        if self.replay:
            if self._steps is None:
                self._steps = files.Prefix(self.replay.arrays)
            written['replay'] = self._steps.extend(rows)
        return written

    def save(self, clock: int, arrays: dict[str, np.ndarray], meta: dict, *, rows: int, updates: int) -> None:
        """Write `checkpoint-<clock>.npz` atomically, and remove all checkpoints but the newest two.

        `rows` and `updates` say how much of the replay and of the batch log is written; from
        now on, that much must not change. `meta` is a JSON object. After a crash at any point
        an older checkpoint is still valid.
        """
        self.check_held()
        self._attempt.note('checkpoint')
        self._flush()
        meta = {'origin': [self.spec.run_id, clock], 'meta': meta, 'written': self._written(rows, updates)}
        files.write_npz(self._checkpoint(clock), arrays, meta)
        self._remove(self.checkpoints()[KEEP:])

    def load(self, clock: int) -> tuple[dict[str, np.ndarray], dict]:
        """Go back to a checkpoint: cut the metrics and remove newer checkpoints. Returns its arrays and meta.

        Raises RunError, and changes nothing, if the checkpoint, the metrics, the batch log or
        the replay is damaged.
        """
        older = [other for other in self.checkpoints() if other < clock]
        then = f'resume from checkpoint-{older[0]}.npz' if older else 'train the run from its beginning'
        arrays, meta = files.read_npz(self._checkpoint(clock), CHECKPOINT, f'delete it to {then}')
        if meta['origin'] != [self.spec.run_id, clock]:
            raise RunError(f'{self._checkpoint(clock)}: of another run or time; delete it to {then}')
        written = meta['written']
        self._read_metrics(*written['metrics'])
        if 'replay' in written and self.replay is None:
            self.replay = Replay(self.path / 'replay', writable=True)
        updates = self._prefix(self.path, self._logs, written['updates'])
        steps = None
        if 'replay' in written:
            steps = self._prefix(self.replay.path, self.replay.arrays, written['replay'])
        self._remove([other for other in self.checkpoints() if other > clock])
        self._start(*written['metrics'])
        self._updates = updates
        self._steps = steps
        return arrays, meta['meta']

    def _read_metrics(self, size: int, crc: int) -> bytes:
        """The first `size` bytes of the metrics. Raises RunError if they have changed."""
        with files.reading(self._metrics_path) as file:
            data = file.read(size)
        if len(data) != size or zlib.crc32(data) != crc:
            raise RunError(f'{self._metrics_path}: truncated or damaged; {files.AGAIN}')
        return data

    @staticmethod
    def _prefix(folder: Path, arrays: dict[str, np.ndarray], expected: dict[str, int]) -> files.Prefix:
        """The checksums of a checkpoint's part of the files. Raises RunError if that part has changed."""
        prefix = files.Prefix(arrays)
        checksums = prefix.extend(expected['rows'])
        for name in arrays:
            if checksums[name] != expected.get(name):
                raise RunError(f'{folder / name}.bin: damaged (checksum); {files.AGAIN}')
        return prefix

    # The end.

    def fail(self, error: str) -> None:
        """Write why the run stopped into `failed.json`, for `Store.failure`. The next attempt removes that file.

        Nothing is written if another process has the run by now.
        """
        with contextlib.suppress(RunError):  # a full disk may refuse this file too; the first error counts
            self.check_held()
            files.write_json(self.path / 'failed.json', {'error': one_line(error)})

    def finish(self, weights: dict[str, np.ndarray], traces: dict[str, np.ndarray], provenance: dict[str, Any]) -> None:
        """Write the final files, remove the checkpoints, and last write `done.json` with the hashes of the files.

        A run that is killed before `finishing.json` is written resumes from its checkpoint; one
        that is killed later is completed by `Store.lease`. `done.json` lists only files that
        depend on the spec alone. `provenance.json` depends on more; it is not listed, and has
        its own checksum and the run's id.
        """
        self.check_held()
        self._attempt.note('finish')
        self._flush()
        lines = self._read_metrics(self._size, self._crc).splitlines()
        rows = [files.parse_json(self._metrics_path, line) for line in lines]
        with files.replacing(self.path / 'metrics.parquet') as file:
            _write_parquet(rows, file)
        files.write_npz(self.path / 'weights.npz', weights)
        files.write_npz(self.path / 'traces.npz', traces)
        files.write_json(self.path / 'provenance.json', {'run_id': self.spec.run_id, 'provenance': provenance})
        names = list(FINAL)
        if self.replay:
            names += ['replay/layout.json', *replay_files(self.path)]
        listed = {name: files.measure(self.path / name) for name in names}
        files.write_json(self.path / 'finishing.json', {'run_id': self.spec.run_id, 'files': listed})
        complete(self.path)
