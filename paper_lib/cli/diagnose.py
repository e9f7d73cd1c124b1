"""The command that says what a recording is worth to agents that only learn from it."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from paper_lib.cli.data import fitting, refuse_run
from paper_lib.cli.options import Folder, Output, Scale, end
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError

if TYPE_CHECKING:
    from paper_lib.diagnose.order import Order

MOST_AGENTS = 20


@dataclasses.dataclass(frozen=True)
class Diagnose:
    """Say, without acting, whether agents that learn only from a recording will degrade, and how sure that is.

    It audits the recording, shows what it covers, trains a few offline agents on it, compares what is measured on them
    with known runs, and says what to collect next. It writes a page, and a JSON file that says the same. After an
    interruption the same command resumes. If the audit finds an error, no agent is trained, and the exit code is 1.
    """

    data: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar='DATA')]]
    """a file, a folder or a Minari id; see docs/diagnose.md"""
    env: Annotated[str, tyro.conf.arg(metavar='TASK', help_behavior_hint='')] = ''
    """task of the recording; the agents are played in it, which checks the verdict"""
    agents: int = 3  # number of offline agents that are trained
    scale: Scale = 'laptop'
    budget: Annotated[int | None, tyro.conf.arg(metavar='INT', help_behavior_hint='(default: as known runs)')] = None
    """environment steps of each training; there is no verdict if it is not that of the known runs, in figures/data"""
    runs: Folder = None
    workers: int = 0  # number of processes; 0: one per core, or one if there is a GPU
    output: Output = None
    """folder of the page and of the JSON, instead of build/diagnose"""

    def __call__(self) -> int:
        from paper_lib.data.store import Store
        from paper_lib.diagnose.order import check_free, diagnose, write
        from paper_lib.study import paths

        order = self.order()
        folder = self.output or paths.root() / 'build' / 'diagnose'
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError:
            raise UserError(f'output={folder}: must be a folder that can be written') from None
        check_free(order, folder)
        found = diagnose(order, Store(self.runs), lambda line: end(0, line))
        page = write(found, folder)
        print(f'{found.verdict.verdict}: {" ".join(found.verdict.reasons)}')
        if found.check:
            print(found.check.outcome)
        print(f'done: {page}')
        return 0 if found.agents else 1

    def order(self) -> 'Order':
        """What is diagnosed. Raises UserError for a recording that cannot be read or does not fit the task."""
        from paper_lib.data import formats
        from paper_lib.data.store import Store
        from paper_lib.diagnose.order import Order

        if not 1 <= self.agents <= MOST_AGENTS:
            raise UserError(f'agents={self.agents}: must be from 1 to {MOST_AGENTS}')
        refuse_run(self.data, Store(self.runs).root)
        values = {'agents': self.agents, 'scale': self.scale, 'budget': self.budget, 'workers': self.workers}
        name = formats.title(self.data)
        place = Path(os.path.expanduser(self.data))
        data = str(place.resolve()) if place.exists() else self.data
        if not self.env:
            return Order(name, data, formats.read(self.data), **values)
        if not tasks.suite_of(tasks.get(self.env)).playable:
            raise UserError(f'env={self.env!r}: cannot be played, so it cannot check a verdict; leave --env out')
        steps, wanted = fitting(self.data, self.env)
        return Order(name, data, steps, self.env, bool(wanted.actions), **values)
