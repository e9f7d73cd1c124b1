"""A run that is being written: metrics, batch log, replay, checkpoints, and the way to a finished run.

What a resumed run reads is bound to its checkpoint, which is sealed: it holds the checksums of the metrics, the batch
log and the replay. No result depends on `failed.json`, which has its own checksum, or on the lease, which has none.
"""

import contextlib
import dataclasses
import json
import os
import re
import zlib
from pathlib import Path

import numpy as np

from paper_lib.contract import files, plain, tasks
from paper_lib.contract.errors import RunError, UserError, one_line
from paper_lib.contract.spec import RunSpec
from paper_lib.data.lease import Lease
from paper_lib.data.replay import Replay

KEEP = 2  # generations of checkpoints: runs that train as one group may stop between two saves
FINAL = ('spec.json', 'metrics.parquet', 'weights.npz', 'traces.npz', 'batches.bin', 'lengths.bin')
LISTED = {'run_id': str, 'files': {str: {'size': int, 'sha256': str}}}  # shape of finishing.json and done.json
LAYOUT = {'rows': int, 'envs': int, 'keys': {str: ([int], str)}}  # shape of a replay's layout.json
WRITTEN = {'metrics': (int, int), 'updates': {'rows': int, 'batches': int, 'lengths': int}}
CHECKPOINT = {'origin': (str, int), 'meta': files.ANY, 'written': WRITTEN}  # shape of a checkpoint's meta


def read_spec(path: Path) -> RunSpec:
    """The spec in a run's directory. RunError if it is damaged or of another schema."""
    data = files.read_text(path)
    found = files.parse_json(path, data, {'schema': int})
    files.check_schema(path, found['schema'])
    try:
        spec = plain.from_plain(found)
    except UserError as error:
        raise RunError(f'{path}: damaged ({error}); {files.AGAIN}') from None
    if data != files.json_text(found).encode():
        raise RunError(f'{path}: damaged; {files.AGAIN}')
    return spec


def check_spec(path: Path, spec: RunSpec):
    """RunError unless the file holds exactly this spec."""
    found = read_spec(path)
    if found == spec:
        return
    other = [each.name for each in dataclasses.fields(spec) if getattr(found, each.name) != getattr(spec, each.name)]
    raise RunError(f'{path}: of another spec (differs in {", ".join(other)}); {files.AGAIN}')


def read_list(path: Path, spec: RunSpec, advice: str = files.AGAIN) -> dict[str, dict]:
    """Size and sha256 of each final file of a run, by name, from `done.json` or `finishing.json`.

    RunError if that file is damaged, of another run, or lacks a file that every such run has.
    """
    found = files.read_json(path, LISTED, advice)
    if found['run_id'] != spec.run_id:
        raise RunError(f'{path}: of another run, {found["run_id"]}; {advice}')
    needed = [*FINAL, *(['replay/layout.json'] if spec.own_rows else [])]
    check_listed(path, needed, found['files'], advice)
    return found['files']


def check_listed(path: Path, needed: list[str], listed: dict[str, dict], advice: str = files.AGAIN):
    """RunError unless `listed`, from the file `path`, has all needed names."""
    for name in needed:
        if name not in listed:
            raise RunError(f'{path}: does not list {name}; {advice}')


def replay_files(path: Path) -> list[str]:
    """Names of the files with the steps of the replay in the run directory `path`, as its layout has them."""
    layout = files.read_json(path / 'replay/layout.json', LAYOUT)
    return [f'replay/{key}.bin' for key in layout['keys']]


def check_finishing(path: Path, spec: RunSpec):
    """RunError unless all final files of a run that was stopped while it was tidied are whole."""
    list_path, advice = path / 'finishing.json', files.AGAIN
    if any(path.glob('checkpoint-*.npz')):
        advice = f'delete {list_path} to finish the run again from its newest checkpoint'
    listed = read_list(list_path, spec, advice)
    for name, expected in listed.items():
        files.check(path / name, expected, advice)
    if spec.own_rows:
        check_listed(list_path, replay_files(path), listed, advice)


def complete(path: Path):
    """Turn a run whose final files are all written into a finished one. Safe to repeat after a kill.

    It deletes what the run could be resumed from: call it only where `finishing.json` was just written or checked.
    """
    with files.guard(path):
        for old in (*path.glob('checkpoint-*.npz'), path / 'metrics.jsonl', path / 'failed.json'):
            old.unlink(missing_ok=True)
        files.sync_folder(path)
        os.replace(path / 'finishing.json', path / 'done.json')
        files.sync_folder(path)


def _plain(value):
    """numpy scalars as JSON numbers."""
    return value.item()


def _parquet(rows, file):
    """Columns in order of first appearance; a row without a value has null there."""
    import pyarrow
    import pyarrow.parquet

    names = dict.fromkeys(name for row in rows for name in row)
    pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in names}), file)


class Run:
    """The only writer of a run directory; from `Store.open`. Call `load` or `restart` before anything else.

    `batches` (updates, B) int32 window starts and `lengths` (updates,) int32 replay rows at each update are
    assigned in place; `replay` is None until `make_replay`, `load` of an online run, or for ever (offline).
    """

    def __init__(self, path: Path, spec: RunSpec, lease: Lease):
        self.path, self.spec, self._lease = path, spec, lease
        known = (path / 'spec.json').exists()
        if known:
            check_spec(path / 'spec.json', spec)
        if (path / 'metrics.parquet').exists() and not self.checkpoints():
            raise RunError(f'{path / "done.json"}: missing, though the run was finished; {files.AGAIN}')
        if not known and (self.checkpoints() or (path / 'metrics.jsonl').exists()):
            raise RunError(f'{path / "spec.json"}: missing; {files.AGAIN}')
        if not known:
            files.write_bytes(path / 'spec.json', files.json_text(plain.to_plain(spec)).encode())
        with files.guard(path):
            for old in (*path.rglob('.*.tmp'), path / 'failed.json'):
                old.unlink(missing_ok=True)
        self._begun = bool(self.checkpoints())
        self.batches = self._log('batches.bin', (spec.schedule.updates, spec.model.batch))
        self.lengths = self._log('lengths.bin', (spec.schedule.updates,))
        self._logs = {'batches': np.asarray(self.batches), 'lengths': np.asarray(self.lengths)}
        self.replay = None

    def _log(self, name, shape):
        if not self._begun:  # a shorter file of a run with checkpoints is damaged, and must not be filled with zeros
            files.reserve(self.path / name, int(np.prod(shape)) * 4)
        return files.memory_map(self.path / name, shape, np.int32, writable=True)

    def make_replay(self, like: dict) -> Replay:
        """The run's own replay, created or continued; `like` as in `Replay.create`."""
        if self.replay is None:
            envs = tasks.get(self.spec.task).envs
            self.replay = Replay.create(self.path / 'replay', like, self.spec.own_rows, envs)
        return self.replay

    def _start(self, size, crc):
        """Continue behind the first `size` bytes of metrics."""
        self._size, self._crc = size, crc
        with files.guard(self.path / 'metrics.jsonl'), open(self.path / 'metrics.jsonl', 'ab') as file:
            file.truncate(size)

    def restart(self):
        """Begin from nothing: no checkpoints, empty metrics. What the replay and the batch log hold is rewritten."""
        self._remove(self.checkpoints())
        self._start(0, 0)
        self._updates, self._steps = files.Prefix(self._logs), None  # steps begin with the replay

    def append(self, row: dict):
        """One row of metrics, as a JSON line. Raises Busy if another host has taken the run over."""
        self._lease.check()
        line = (json.dumps(row, default=_plain) + '\n').encode()
        with files.guard(self.path / 'metrics.jsonl'), open(self.path / 'metrics.jsonl', 'r+b') as file:
            file.truncate(self._size)  # what an append that met a full disk left behind
            file.seek(self._size)
            file.write(line)
        self._size, self._crc = self._size + len(line), zlib.crc32(line, self._crc)

    # Checkpoints.

    def _checkpoint(self, clock):
        return self.path / f'checkpoint-{clock}.npz'

    def checkpoints(self) -> list[int]:
        """Clocks of the checkpoints, newest first. They appear whole or not at all; `load` finds later damage."""
        names = (re.fullmatch(r'checkpoint-(\d+)\.npz', path.name) for path in self.path.glob('checkpoint-*.npz'))
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def _remove(self, clocks):
        if clocks:
            with files.guard(self.path):
                for clock in clocks:
                    self._checkpoint(clock).unlink()
                files.sync_folder(self.path)

    def _flush(self):
        with files.guard(self.path):
            self.batches.flush()
            self.lengths.flush()
            if self.replay:
                self.replay.flush()
            with open(self.path / 'metrics.jsonl', 'r+b') as file:
                os.fsync(file.fileno())

    def _written(self, rows, updates):
        """Sizes and checksums of everything that this run has written and a resumed one will read."""
        if self._steps is None and self.replay:
            self._steps = files.Prefix(self.replay.arrays)
        written = {'metrics': [self._size, self._crc], 'updates': self._updates.extend(updates)}
        return written | ({'replay': self._steps.extend(rows)} if self.replay else {})

    def save(self, clock: int, arrays: dict[str, np.ndarray], meta: dict, *, rows: int, updates: int):
        """Write `checkpoint-<clock>.npz` (atomic), keep the newest two.

        `rows` and `updates` say how much of the replay and of the batch log is written. Everything before
        them must not change any more. `meta` is JSON. A crash at any point leaves an older checkpoint valid.
        """
        self._lease.check()
        self._flush()
        meta = {'origin': [self.spec.run_id, clock], 'meta': meta, 'written': self._written(rows, updates)}
        files.write_npz(self._checkpoint(clock), arrays, meta)
        self._remove(self.checkpoints()[KEEP:])

    def load(self, clock: int) -> tuple[dict[str, np.ndarray], dict]:
        """(arrays, meta) of a checkpoint; takes the run back to it: metrics cut, newer checkpoints removed.

        RunError names the checkpoint, metrics, batch log or replay file that is damaged; then nothing is changed.
        """
        older = [other for other in self.checkpoints() if other < clock]
        then = f'resume from checkpoint-{older[0]}.npz' if older else 'train the run from its beginning'
        arrays, meta = files.read_npz(self._checkpoint(clock), CHECKPOINT, f'delete it to {then}')
        if meta['origin'] != [self.spec.run_id, clock]:
            raise RunError(f'{self._checkpoint(clock)}: of another run or time; delete it to {then}')
        written = meta['written']
        self._read_metrics(*written['metrics'])
        if 'replay' in written and self.replay is None:
            self.replay = Replay.open(self.path / 'replay', writable=True)
        updates = self._prefix(self.path, self._logs, written['updates'])
        steps = self._prefix(self.replay.path, self.replay.arrays, written['replay']) if 'replay' in written else None
        self._remove([other for other in self.checkpoints() if other > clock])
        self._start(*written['metrics'])
        self._updates, self._steps = updates, steps
        return arrays, meta['meta']

    def _read_metrics(self, size, crc):
        """The first `size` bytes of metrics. RunError if they are not the bytes once written."""
        with files.reading(self.path / 'metrics.jsonl') as file:
            data = file.read(size)
        if len(data) != size or zlib.crc32(data) != crc:
            raise RunError(f'{self.path / "metrics.jsonl"}: truncated or damaged; {files.AGAIN}')
        return data

    @staticmethod
    def _prefix(folder, arrays, expected):
        """Running checksums as they stood at the checkpoint. RunError if the files hold something else."""
        prefix = files.Prefix(arrays)
        found = prefix.extend(expected['rows'])
        for name in arrays:
            if found[name] != expected.get(name):
                raise RunError(f'{folder / name}.bin: damaged (checksum); {files.AGAIN}')
        return prefix

    # The end.

    def fail(self, error: str):
        """Note why the run stopped (`Store.failure`); the next attempt removes the note. No result depends on it."""
        with contextlib.suppress(RunError):  # the disk may be why: that error is on its way already
            files.write_json(self.path / 'failed.json', {'error': one_line(error)})

    def finish(self, weights: dict[str, np.ndarray], traces: dict[str, np.ndarray], provenance: dict):
        """Write the final files, then `done.json`, last, with their hashes; remove what a finished run does not need.

        Killed before `finishing.json` the run resumes from its checkpoint; after it, `Store.lease` completes it.
        Nothing but `provenance.json` depends on more than the run's content: so `done.json` does not list it, and it
        has its own checksum and the id of its run.
        """
        self._lease.check()
        self._flush()
        lines = self._read_metrics(self._size, self._crc).splitlines()
        rows = [files.parse_json(self.path / 'metrics.jsonl', line) for line in lines]
        with files.replacing(self.path / 'metrics.parquet') as file:
            _parquet(rows, file)
        files.write_npz(self.path / 'weights.npz', weights)
        files.write_npz(self.path / 'traces.npz', traces)
        files.write_json(self.path / 'provenance.json', {'run_id': self.spec.run_id, 'provenance': provenance})
        names = [*FINAL, *(['replay/layout.json', *replay_files(self.path)] if self.replay else [])]
        listed = {name: files.measure(self.path / name) for name in names}
        files.write_json(self.path / 'finishing.json', {'run_id': self.spec.run_id, 'files': listed})
        complete(self.path)
