"""Commands for recordings: what is wrong with one, and how one leaves this library."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from paper_lib.cli.options import Folder, Json, show
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError

if TYPE_CHECKING:
    from paper_lib.data.audit import Finding
    from paper_lib.data.steps import Steps, Wanted

LONGEST = 65_536  # steps of a sequence


@dataclasses.dataclass(frozen=True)
class Audit:
    """List what is wrong or unusual in a recording, with the rows where it is.

    An error is something from which a world model would learn something false; with one, the exit code is 1. Rows are
    counted from 0. In the replay of a run, step t of environment e is row t * environments + e, as in its batches.
    """

    data: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar='DATA')]]
    """a file, a folder or a Minari id (see docs/your_data.md), or the id or folder of a run"""
    task: Annotated[str, tyro.conf.arg(help_behavior_hint='')] = ''
    """task of the recording; then shapes, actions and the time limit are compared too"""
    length: int = 64  # steps of the sequences that an agent learns from
    runs: Folder = None
    json: Json = False

    def __call__(self) -> int:
        from paper_lib.data.audit import ERROR, table

        if not 1 <= self.length <= LONGEST:
            raise UserError(f'length={self.length}: must be from 1 to {LONGEST}')
        findings = self.findings()
        if self.json:
            show([dataclasses.asdict(finding) for finding in findings], True)
        elif findings:
            show(table(findings), False)
        else:
            print(f'{self.data}: nothing to report')
        return int(any(finding.severity == ERROR for finding in findings))

    def findings(self) -> list['Finding']:
        """The findings of the recording. Raises UserError if it cannot be read or does not fit the task."""
        from paper_lib.data import formats
        from paper_lib.data.audit import audit
        from paper_lib.data.steps import of_replay
        from paper_lib.data.store import Store, finished, folder_of

        root = Store(self.runs).root
        if folder_of(self.data, root):
            run = finished(self.data, root)
            if self.task and tasks.get(self.task).id != run.spec.task:
                raise UserError(f'task={self.task!r}: {self.data} is a run of {run.spec.task}; leave --task out')
            steps = of_replay(run.replay(), run.collected())
            return audit(steps, self.length, tasks.get(run.spec.task).limit, of_run=True)
        if not self.task:
            return audit(formats.read(self.data), self.length)
        steps, wanted = fitting(self.data, self.task)
        return audit(steps, self.length, tasks.get(self.task).limit, bool(wanted.actions))


@dataclasses.dataclass(frozen=True)
class ExportDataset:
    """Write the replay of a run as a dataset of Minari, without loss and with the run's provenance.

    `paper-lib restore` makes the same replay from it again, to the bit.
    """

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar='RUN')]]  # id or folder of a finished run
    path: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar='PATH')]]  # a folder that does not exist yet
    part: Literal['all', 'first', 'second'] = 'all'
    """the first or the second half of the replay: the episodes that begin in it (these cannot be restored)"""
    runs: Folder = None

    def __call__(self) -> None:
        from paper_lib.data import export
        from paper_lib.data.store import Store, finished

        path = Path(os.path.expanduser(self.path))
        export.write(finished(self.run, Store(self.runs).root), path, self.part)
        print(f'done: {path}')


@dataclasses.dataclass(frozen=True)
class Restore:
    """Put a replay that `paper-lib prune` dropped back into its run, from a dataset of `paper-lib export-dataset`."""

    path: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar='PATH')]]  # the dataset
    runs: Folder = None

    def __call__(self) -> None:
        from paper_lib.data import export
        from paper_lib.data.store import Store

        run = export.restore(Path(os.path.expanduser(self.path)), Store(self.runs))
        print(f'done: {run.path}')


def refuse_run(name: str, root: Path) -> None:
    """Raise UserError for the name of a run where a dataset is needed."""
    from paper_lib.data.store import folder_of

    if folder_of(name, root):
        raise UserError(f'{name}: is a run; `paper-lib export-dataset RUN FOLDER` makes a dataset of its replay')


def fitting(name: str, task_id: str) -> tuple['Steps', 'Wanted']:
    """The steps of a dataset, and what the task wanted of it.

    Raises UserError if the task observes or does something else.
    """
    from paper_lib import envs
    from paper_lib.data import formats
    from paper_lib.data.steps import Wanted, check_fits
    from paper_lib.run import rollout

    task = tasks.get(task_id)
    spaces = envs.make(task_id, 0).spaces
    samples_images = task.suite == 'gym'  # such a task shows the environment's own images at another size
    actions = spaces.action if spaces.discrete else 0
    wanted = Wanted(actions, spaces.start, task.image if samples_images else 0)
    steps = formats.read(name, wanted)
    check_fits(steps.where, steps.like, task_id, rollout.layout(spaces))
    return steps, wanted
