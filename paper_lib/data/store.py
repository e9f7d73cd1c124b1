"""The run store: one directory per spec, `<root>/<run id>/`.

Finished runs are read, never changed.

    with store.lease(spec) as lease:  # raises Busy if another process has the run
        if store.status(spec) != 'done':
            run = store.open(spec, lease)
            clocks = run.checkpoints()
            run.load(clocks[0]) if clocks else run.restart()
            ...
            run.finish(weights, traces, provenance)
    store.metrics(spec)

A finished run has `done.json`, which holds the hashes of the other files and a checksum of
itself. Two files are not in it: `provenance.json` and, if the replay was dropped,
`replay/dropped.json`. They hold a checksum of themselves and the run's id.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import paper_lib
from paper_lib.contract import files
from paper_lib.contract.errors import RunError
from paper_lib.contract.spec import RunSpec
from paper_lib.data import writer
from paper_lib.data.lease import Lease, alive
from paper_lib.data.replay import Replay

if TYPE_CHECKING:
    import pandas as pd


def default_root() -> Path:
    """The folder PAPER_LIB_RUNS, else `runs/` of the source checkout, else `runs/` of the current folder."""
    if named := os.environ.get('PAPER_LIB_RUNS'):
        return Path(os.path.expanduser(named))  # an unknown `~name` stays as it is, as in --runs
    checkout = Path(paper_lib.__file__).parents[1]
    return checkout / 'runs' if (checkout / 'pyproject.toml').exists() else Path('runs')


def folder_of(name: str | Path, root: Path) -> Path | None:
    """The folder of the run that is named by its folder, or by its id below a root; None for any other name."""
    named = (Path(os.path.expanduser(name)), root / name)
    return next((path for path in named if (path / 'spec.json').exists()), None)


def finished(name: str | Path, root: Path) -> 'Finished':
    """The finished run in a folder of this name, or of this id below a root.

    Raises RunError as `Store.require` does.
    """
    path = folder_of(name, root)
    if path is None:
        raise RunError(f'{name}: is neither the folder of a run nor the id of one in {root}')
    spec = writer.read_spec(path / 'spec.json')
    return Store(path.resolve().parent).require(spec)


class Store:
    """All runs below a folder, which need not exist yet.

    Raises RunError for a root that is not a folder.
    """

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root) if root else default_root()
        with files.guard(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.root))

    def path(self, spec: RunSpec) -> Path:
        """The directory of a run."""
        return self.root / spec.run_id

    def status(self, spec: RunSpec) -> str:
        """'missing', 'running', 'partial', 'failed' or 'done'.

        It is fast, because it reads names of files only.

        Raises RunError if the folder may not be read.
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

    def check_writable(self) -> None:
        """Raise RunError if nothing can be written to the root, or to the nearest folder above it that exists."""
        root = self.root.absolute()
        with files.guard(self.root):
            existing = next(path for path in (root, *root.parents) if path.exists())
            tempfile.TemporaryFile(dir=existing).close()

    def failure(self, spec: RunSpec) -> str | None:
        """Why the run failed, or None if it did not."""
        path = self.path(spec) / 'failed.json'
        return files.read_json(path, {'error': str})['error'] if path.exists() else None

    @contextlib.contextmanager
    def lease(self, spec: RunSpec) -> Iterator[Lease]:
        """Hold the right to write a run, and make its directory.

        Raises Busy if another live process has it.

        Look at `status` inside of the block, because another process may have finished the
        run meanwhile. If the last process was killed when all final files were written,
        this call finishes the run. It raises RunError if those files are damaged.
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
        """Create or reopen an unfinished run.

        Raises RunError if it is finished or its directory is damaged.
        """
        path = self.path(spec)
        if (path / 'done.json').exists():
            raise RunError(f'{path}: is finished and is never overwritten; delete the directory to train the run again')
        return writer.Run(path, spec, held)

    def source(self, spec: RunSpec) -> 'Finished':
        """As `require`, for a run whose replay will be read.

        Raises RunError too if that was dropped.
        """
        finished = self.require(spec)
        finished.check_kept()
        return finished

    def droppable(self, specs: Iterable[RunSpec]) -> dict[RunSpec, int]:
        """Finished runs among `specs` with a replay that no unfinished run will read, and the size of each in bytes.

        An unfinished run is one of `specs` without a result, or one that was begun in this store. Raises RunError for
        a damaged spec.
        """
        done = []
        read_later = set()
        for spec in specs:
            if self.status(spec) == 'done':
                done.append(spec)
            else:
                read_later.add(spec.source_id)
        for path in self.root.glob('*/spec.json'):
            if not (path.parent / 'done.json').exists():
                read_later.add(writer.read_spec(path).source_id)
        sizes = {}
        for spec in done:
            if spec.run_id not in read_later:
                sizes[spec] = self.require(spec).size()
        return {spec: size for spec, size in sizes.items() if size}

    def require(self, spec: RunSpec) -> 'Finished':
        """A finished run, to read.

        Raises RunError if it is missing, unfinished or damaged, or if it has another spec
        or schema.
        """
        path = self.path(spec)
        status = self.status(spec)
        if status != 'done':
            reasons = {
                'missing': 'does not exist; train it first',
                'running': 'is still running; wait for it to finish',
            }
            reason = reasons.get(status, 'is unfinished; resume it first')
            raise RunError(f'{path}: this run {reason}')
        return Finished(path, spec)

    def metrics(self, spec: RunSpec) -> 'pd.DataFrame':
        """The metrics, one row per evaluation."""
        return self.require(spec).metrics()

    def weights(self, spec: RunSpec) -> dict[str, np.ndarray]:
        """The final weights by their path, e.g. 'wm/rssm/...'."""
        return self.require(spec).arrays('weights.npz')

    def traces(self, spec: RunSpec) -> dict[str, np.ndarray]:
        """The steps of the last evaluation's episodes, (episodes, N, ...) each."""
        return self.require(spec).arrays('traces.npz')

    def replay(self, spec: RunSpec) -> Replay:
        """The run's own replay, read-only. Raises RunError for an offline run."""
        return self.require(spec).replay()

    def drop_replay(self, spec: RunSpec) -> None:
        """Delete the steps of a finished run's replay, and nothing else of the run.

        The replay is marked as dropped first: without the mark it would count as damaged.
        """
        finished = self.require(spec)
        with self.lease(spec):
            files.write_json(finished.dropped, {'run_id': spec.run_id})
            for path in finished.steps:
                path.unlink(missing_ok=True)

    def batches(self, spec: RunSpec) -> np.ndarray:
        """(updates, B) int32 window starts, read-only."""
        return self.require(spec).batches()

    def lengths(self, spec: RunSpec) -> np.ndarray:
        """(updates,) int32 number of replay rows at each update, read-only."""
        return self.require(spec).lengths()


class Finished:
    """A finished run.

    The hash of a file is checked before its first use; RunError names a damaged file.
    """

    def __init__(self, path: Path, spec: RunSpec):
        self.path = path
        self.spec = spec
        self.files = writer.read_list(path / 'done.json', spec)
        self._checked = set()
        writer.check_spec(path / 'spec.json', spec)

    def file(self, name: str) -> Path:
        """Path of one of the run's files, checked against `done.json`."""
        path = self.path / name
        if name.startswith('replay/') and not self.spec.own_rows:
            raise RunError(f'{path}: is not part of an offline run; read the replay of its source')
        if name not in self._checked:
            writer.check_listed(self.path / 'done.json', [name], self.files)
            files.check(path, self.files[name])
            self._checked.add(name)
        return path

    @property
    def sealed(self) -> Path:
        """A file whose hash stands for all others."""
        return self.path / 'done.json'

    @property
    def steps(self) -> list[Path]:
        """The files that hold the steps of the replay."""
        names = [name for name in self.files if name.startswith('replay/') and name.endswith('.bin')]
        return [self.path / name for name in names]

    @property
    def dropped(self) -> Path:
        """The mark of a replay whose steps were deleted on purpose."""
        return self.path / 'replay' / 'dropped.json'

    def size(self) -> int:
        """Bytes of the replay's steps on the disk."""
        return sum(path.stat().st_size for path in self.steps if path.exists())

    def is_dropped(self) -> bool:
        """Whether the replay's steps were deleted on purpose.

        Raises RunError for another run's mark.
        """
        if not self.dropped.exists():
            return False
        self._read_sealed(self.dropped)
        return True

    def check_kept(self) -> None:
        """Raise RunError if the replay was dropped."""
        if self.is_dropped():
            advice = 'to learn from it, delete this run and its followers and train them again'
            raise RunError(f'{self.path}: its replay was dropped (paper-lib prune); {advice}')

    def verify(self) -> None:
        """Check every file of the run, except for a replay that was dropped."""
        if self.spec.own_rows:
            self.file('replay/layout.json')
            writer.check_listed(self.path / 'done.json', writer.replay_files(self.path), self.files)
        dropped = self.steps if self.is_dropped() else ()
        for name in self.files:
            if self.path / name not in dropped:
                self.file(name)
        self.provenance()

    def provenance(self) -> dict[str, Any]:
        """What the run was trained with.

        Raises RunError if the file is damaged or another run's.
        """
        return self._read_sealed(self.path / 'provenance.json', {'provenance': files.ANY})['provenance']

    def _read_sealed(self, path: Path, shape: dict = files.ANY) -> dict[str, Any]:
        """A file that `done.json` does not list.

        Raises RunError if it is damaged or another run's.
        """
        content = files.read_json(path, {'run_id': str} | shape)
        if content['run_id'] != self.spec.run_id:
            raise RunError(f'{path}: of another run, {content["run_id"]}; {files.AGAIN}')
        return content

    def metrics(self) -> 'pd.DataFrame':
        """As `Store.metrics`."""
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.file('metrics.parquet')).to_pandas()

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of an .npz file of the run."""
        return files.read_npz(self.file(name))[0]

    def batches(self) -> np.ndarray:
        """As `Store.batches`."""
        return self._log('batches.bin', (self.spec.schedule.updates, self.spec.model.batch))

    def lengths(self) -> np.ndarray:
        """As `Store.lengths`."""
        return self._log('lengths.bin', (self.spec.schedule.updates,))

    def _log(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """An int32 array of this shape, read-only."""
        return files.memory_map(self.file(name), shape, np.int32)

    def replay(self) -> Replay:
        """As `Store.replay`."""
        self.check_kept()
        self.file('replay/layout.json')
        for name in writer.replay_files(self.path):
            self.file(name)
        return Replay(self.path / 'replay')

    def collected(self) -> int:
        """How many rows of its replay the run wrote. A run that adds data when it must may write fewer than it has."""
        if self.spec.data == 'own':
            return self.spec.own_rows
        return int(self.lengths().max()) - self.spec.source_rows
