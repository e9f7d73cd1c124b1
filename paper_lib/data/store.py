"""The run store: one directory per spec, `<root>/<run id>/`. Finished runs are read, never changed.

with store.lease(spec) as lease:  # Busy if another process has the run
    if store.status(spec) != 'done':
        run = store.open(spec, lease)
        clocks = run.checkpoints()
        run.load(clocks[0]) if clocks else run.restart()
        ...
        run.finish(weights, traces, provenance)
store.metrics(spec)

Of a finished run `done.json`, which is sealed, holds the hashes of all files but two, which are sealed themselves and
hold the id of the run: `provenance.json` and, where the replay was dropped, `replay/dropped.json`.
"""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

import numpy as np

import paper_lib
from paper_lib.contract import files
from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import RunSpec
from paper_lib.data import writer
from paper_lib.data.lease import Lease, alive
from paper_lib.data.replay import Replay


def default_root() -> Path:
    """PAPER_LIB_RUNS, else `runs/` of the source checkout, else `runs/` here."""
    if named := os.environ.get('PAPER_LIB_RUNS'):
        return Path(os.path.expanduser(named))  # `~nosuch` stays, as in --runs
    checkout = Path(paper_lib.__file__).parents[1]
    return checkout / 'runs' if (checkout / 'pyproject.toml').exists() else Path('runs')


class Store:
    """RunError for a root that is not a folder; it need not exist yet."""

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root) if root else default_root()
        with files.guard(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.root))

    def path(self, spec: RunSpec) -> Path:
        return self.root / spec.run_id

    def status(self, spec: RunSpec) -> str:
        """'missing', 'running', 'partial', 'failed' or 'done'. Cheap: looks at names, not into files.

        RunError if the folder may not be read.
        """
        path = self.path(spec)
        with files.guard(path):
            if (path / 'done.json').exists():
                return 'done'
            if alive(path / 'lease.json'):
                return 'running'
            if (path / 'failed.json').exists():
                return 'failed'
            return 'partial' if (path / 'spec.json').exists() else 'missing'

    def check_writable(self):
        """RunError if runs cannot be written here, or in the nearest folder above that exists. Makes nothing."""
        with files.guard(self.root):
            there = next(path for path in (self.root.absolute(), *self.root.absolute().parents) if path.exists())
            tempfile.TemporaryFile(dir=there).close()

    def failure(self, spec: RunSpec) -> str | None:
        """Why the run failed, if it did."""
        path = self.path(spec) / 'failed.json'
        return files.read_json(path, {'error': str})['error'] if path.exists() else None

    @contextlib.contextmanager
    def lease(self, spec: RunSpec):
        """Hold the right to write a run; makes its directory. Raises Busy if another live process has it.

        Look at `status` inside: the run may have been finished meanwhile, or be finished by this call if the
        last process was killed when only its tidying was left. RunError if the files that it had written by then are
        damaged.
        """
        path = self.path(spec)
        with files.guard(path):
            path.mkdir(parents=True, exist_ok=True)
            files.sync_folder(path.parent)
        with Lease(path / 'lease.json') as held:
            if (path / 'finishing.json').exists():
                writer.check_finishing(path, spec)
                writer.complete(path)
            yield held

    def open(self, spec: RunSpec, held: Lease) -> writer.Run:
        """Create or reopen an unfinished run. RunError if it is finished or the directory is damaged."""
        path = self.path(spec)
        if (path / 'done.json').exists():
            raise RunError(f'{path}: is finished and is never overwritten; delete the directory to train the run again')
        return writer.Run(path, spec, held)

    def source(self, spec: RunSpec) -> 'Finished':
        """As `require`, for a run whose replay will be read: RunError too if that was dropped."""
        finished = self.require(spec)
        finished.check_kept()
        return finished

    def needed(self) -> set[str]:
        """Ids of the sources of all unfinished runs here, whoever began them. RunError for a damaged spec."""
        unfinished = [path for path in self.root.glob('*/spec.json') if not (path.parent / 'done.json').exists()]
        return {writer.read_spec(path).source_id for path in unfinished} - {None}

    def require(self, spec: RunSpec) -> 'Finished':
        """A finished run, to read. RunError if it is missing, unfinished, of another spec or schema, or damaged."""
        path = self.path(spec)
        if (status := self.status(spec)) != 'done':
            what = {'missing': 'does not exist; train it first', 'running': 'is still running; wait for it to finish'}
            raise RunError(f'{path}: this run {what.get(status, "is unfinished; resume it first")}')
        return Finished(path, spec)

    def metrics(self, spec: RunSpec):
        """The metrics as a pandas.DataFrame, one row per evaluation."""
        return self.require(spec).metrics()

    def weights(self, spec: RunSpec) -> dict[str, np.ndarray]:
        return self.require(spec).arrays('weights.npz')

    def traces(self, spec: RunSpec) -> dict[str, np.ndarray]:
        return self.require(spec).arrays('traces.npz')

    def replay(self, spec: RunSpec) -> Replay:
        """The run's own replay, read-only. RunError for an offline run."""
        return self.require(spec).replay()

    def drop_replay(self, spec: RunSpec):
        """Delete the steps of a finished run's replay, nothing else of the run.

        Marked first: a replay without the mark that lacks a file is damaged.
        """
        finished = self.require(spec)
        with self.lease(spec):
            files.write_json(finished.dropped, {'run_id': spec.run_id})
            for path in finished.steps:
                path.unlink(missing_ok=True)

    def batches(self, spec: RunSpec) -> np.ndarray:
        """(updates, B) int32 window starts, read-only."""
        return self.require(spec).log('batches.bin', (spec.schedule.updates, spec.model.batch))

    def lengths(self, spec: RunSpec) -> np.ndarray:
        """(updates,) int32 replay rows at each update, read-only."""
        return self.require(spec).log('lengths.bin', (spec.schedule.updates,))


class Finished:
    """A finished run. A file's hash is checked before it is first read; RunError names the file."""

    def __init__(self, path: Path, spec: RunSpec):
        self.path, self.spec = path, spec
        self.files, self._checked = writer.read_list(path / 'done.json', spec), set()
        writer.check_spec(path / 'spec.json', spec)

    def file(self, name: str) -> Path:
        """Path of one of the run's files, checked against `done.json`."""
        path = self.path / name
        if name.startswith('replay/') and not self.spec.own_rows:
            raise RunError(f'{path}: not part of this run; an offline run has no replay, read the one of its source')
        if name not in self._checked:
            writer.check_listed(self.path / 'done.json', [name], self.files)
            files.check(path, self.files[name])
            self._checked.add(name)
        return path

    @property
    def sealed(self) -> Path:
        """The file whose hash stands for all others."""
        return self.path / 'done.json'

    @property
    def steps(self) -> list[Path]:
        """The listed files of the replay that hold its steps."""
        return [self.path / name for name in self.files if name.startswith('replay/') and name.endswith('.bin')]

    @property
    def dropped(self) -> Path:
        """The mark of a replay whose steps were deleted on purpose."""
        return self.path / 'replay' / 'dropped.json'

    def size(self) -> int:
        """Bytes of the replay's steps that are there."""
        return sum(path.stat().st_size for path in self.steps if path.exists())

    def is_dropped(self) -> bool:
        """Whether the replay's steps were deleted on purpose. RunError for another run's mark."""
        if not self.dropped.exists():
            return False
        self._own(self.dropped)
        return True

    def check_kept(self):
        """RunError if the replay was dropped."""
        if self.is_dropped():
            raise RunError(f'{self.path}: its replay was dropped (paper-lib prune); to learn from it, delete this run '
                           'and its followers and train them again')  # fmt: skip

    def verify(self):
        """Check every file of the run, but those of a replay that was dropped."""
        if self.spec.own_rows:
            self.file('replay/layout.json')
            writer.check_listed(self.path / 'done.json', writer.replay_files(self.path), self.files)
        dropped = self.steps if self.is_dropped() else ()
        for name in self.files:
            if self.path / name not in dropped:
                self.file(name)
        self.provenance()

    def provenance(self) -> dict:
        """What the run was trained with. RunError if it is damaged or another run's."""
        return self._own(self.path / 'provenance.json', {'provenance': files.ANY})['provenance']

    def _own(self, path, shape=files.ANY):
        """A sealed file that `done.json` does not list. RunError if it is damaged or another run's."""
        found = files.read_json(path, {'run_id': str} | shape)
        if found['run_id'] != self.spec.run_id:
            raise RunError(f'{path}: of another run, {found["run_id"]}; {files.AGAIN}')
        return found

    def metrics(self):
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.file('metrics.parquet')).to_pandas()

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return files.read_npz(self.file(name))[0]

    def log(self, name: str, shape: tuple) -> np.ndarray:
        return files.memory_map(self.file(name), shape, np.int32)

    def replay(self) -> Replay:
        self.check_kept()
        self.file('replay/layout.json')
        for name in writer.replay_files(self.path):
            self.file(name)
        return Replay.open(self.path / 'replay')
