"""What the queue of a cluster says of our jobs. It is a hint: what is finished is in the run store alone."""

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

from paper_lib.contract.errors import UserError
from paper_lib.engine import site
from paper_lib.engine.site import Site

MARK = '_wildcards_'  # before the id of a job in the comment that Snakemake's executor gives it
HELD = 'launch failed requeued held'  # why a job waits that a node failed to begin: Slurm never starts it again


class Queued(NamedTuple):
    """A job that the queue has, waiting or running."""

    number: str  # of the queue
    state: str  # in the queue's words: PENDING, RUNNING, ...
    step: str  # the id of the job or notebook
    elapsed: str  # since it began
    node: str
    reason: str = ''  # why it waits, in the queue's words


def prefix(folder: Path) -> str:
    """How the names of the jobs of a run store begin in the queue."""
    return f'paper-lib-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}'


def jobs(where: Site, folder: Path) -> list[Queued] | None:
    """Our jobs in the queue. None where it does not answer, or where the engine keeps no queue that can be asked."""
    if where.engine != 'slurm' or not shutil.which('squeue'):
        return None
    try:
        answer = site.ask(['squeue', '--me', '--noheader', '--format=%j|%i|%T|%k|%M|%N|%r'])
    except UserError:
        return None
    return None if answer.returncode else parse(answer.stdout, prefix(folder))


def parse(text: str, name: str) -> list[Queued]:
    """The jobs whose name begins so, of what `squeue` prints."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split('|')
        if len(fields) == 7 and fields[0].startswith(name) and MARK in fields[3]:
            _, number, state, comment, elapsed, node, reason = fields
            found.append(Queued(number, state, comment.partition(MARK)[2], elapsed, node, reason.replace('_', ' ')))
    return found


def cancel(queued: list[Queued]) -> None:
    """Take jobs out of the queue. Raises UserError if it does not answer, or refuses."""
    if queued:
        answer = site.ask(['scancel', *(each.number for each in queued)])
        if answer.returncode:
            *_, reason = answer.stderr.strip().splitlines() or ['no reason given']
            raise UserError(f'scancel: {reason}; give the same command again')


def keeps_accounts() -> bool:
    """Whether Slurm has accounting, which knows of jobs that ended long ago. It has none if it does not answer."""
    if not shutil.which('sacct'):
        return False
    try:
        return site.ask(['sacct', '--noheader', '--allocations', '--starttime=now']).returncode == 0
    except UserError:
        return False
