"""Who wrote a run: every attempt notes its writes in `attempts.jsonl` of the run's folder.

The lease keeps writers apart; these notes are the evidence. An attempt begins when a process has opened the run under a
lease of its own. No result depends on the file, and it is not in `done.json`.
"""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from paper_lib.contract import files
from paper_lib.contract.errors import RunError

NAME = 'attempts.jsonl'
SHAPE = {'attempt': int, 'event': str, 'host': str, 'pid': int, 'time': float, 'token': str}


class Note(NamedTuple):
    """One write, or the beginning of an attempt."""

    attempt: int  # counted from 1
    event: str  # 'begin', 'metrics', 'checkpoint' or 'finish'
    host: str
    pid: int
    time: float  # seconds since 1970
    token: str  # of the lease under which it was written


class Attempt:
    """The notes of this process on a run that it has begun to write."""

    def __init__(self, folder: Path, token: str):
        self.path = folder / NAME
        self.token = token
        self.number = max((note.attempt for note in read(folder)), default=0) + 1
        self.note('begin')

    def note(self, event: str) -> None:
        """Add a note. A disk that refuses it will refuse the write that it announces, too."""
        note = Note(self.number, event, socket.gethostname(), os.getpid(), round(time.time(), 3), self.token)
        line = json.dumps(note._asdict(), sort_keys=True) + '\n'
        with contextlib.suppress(OSError), open(self.path, 'ab') as file:
            file.write(line.encode())


def read(folder: Path) -> list[Note]:
    """The notes of a run in the order in which they were written. Lines that a full disk cut off are left out."""
    notes = []
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        with contextlib.suppress(RunError):
            notes.append(Note(**files.parse_json(folder / NAME, line, SHAPE)))
    return notes


def two_writers(notes: list[Note]) -> list[Note]:
    """The notes of attempts that wrote after a later attempt had begun. There should be none."""
    late = []
    newest = ''
    begun = set()
    for note in notes:
        if note.token not in begun:
            begun.add(note.token)
            newest = note.token
        elif note.token != newest:
            late.append(note)
    return late
