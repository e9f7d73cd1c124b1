"""Leases: at most one process works on a run.

A lease is a file that its holder locks, if the file system has locks, and touches at every
heartbeat. A process of the same host looks at the lock; one of another host looks at the
age of the last heartbeat.

The file has no checksum. No result of a run depends on it, and a file that cannot be read
has no holder.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Self

from paper_lib.contract import files
from paper_lib.contract.errors import RunError

BEAT = 10.0  # seconds between heartbeats, which set the file's modification time
STALE = 60.0  # seconds without a heartbeat after which another host may take over
SETTLE = 2.0  # seconds after which a takeover is final: of two at the same time the later one wins
CONTENT = {'host': str, 'pid': int, 'token': str}
LAST_PID = 2**31 - 1


class Busy(RunError):
    """Another live process is working on the run."""


def _host() -> str:
    """The name of this machine and of its present boot.

    A lock is only seen by processes of equal host.
    """
    boot = Path('/proc/sys/kernel/random/boot_id')
    boot_id = boot.read_text()[:8] if boot.exists() else ''
    return f'{socket.gethostname()}-{boot_id}'


def _holder(handle: int) -> tuple[dict, float]:
    """(content, seconds since the last heartbeat) of an open lease file.

    The content is {} if no lease wrote it. The age is negative if the clock was set back,
    or if another host's clock is ahead.
    """
    age = time.time() - os.fstat(handle).st_mtime
    with contextlib.suppress(RunError):
        content = files.parse_json(Path('lease'), os.pread(handle, 4096, 0), CONTENT)
        if 0 < content['pid'] <= LAST_PID:
            return content, age
    return {}, age


def _lock(path: Path) -> tuple[int, bool]:
    """(handle, whether the file system locked it).

    Raises Busy if a process of this host holds the lock.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            holder, _ = _holder(handle)
            os.close(handle)
            raise _busy(path, holder) from None
        except OSError:
            locked = False  # the file system has no locks: the heartbeat alone decides
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle, locked
        os.close(handle)  # its holder removed the file after it was opened here


def _busy(path: Path, holder: dict) -> Busy:
    who = f'process {holder.get("pid", "?")} on {holder.get("host", "?")}'
    return Busy(f'{path}: {who} is working on this run; wait for it or stop it, then run the same command again')


def alive(path: Path) -> bool:
    """Whether a live process seems to hold the lease.

    It is for display: without a lock it may be wrong.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    holder, age = _holder(handle)
    os.close(handle)
    if holder.get('host') == _host():
        try:
            os.kill(holder['pid'], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return bool(holder) and abs(age) < STALE


class Lease:
    """A context manager that holds a lease.

    After a kill -9 the next process of that host gets it at once.
    """

    def __init__(self, path: Path):
        self.path = path
        self.token = secrets.token_hex(8)
        self._beaten = time.monotonic()  # when this lease was last known to be held
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        with files.guard(self.path):
            self._handle, locked = _lock(self.path)
            try:
                self._take(locked)
            except BaseException:
                os.close(self._handle)
                raise
        self._thread.start()
        return self

    def _take(self, locked: bool) -> None:
        """Become the holder. Raises Busy if another one may be alive."""
        holder, age = _holder(self._handle)
        is_dead = locked and holder.get('host', _host()) == _host()  # else its lock would be in the way
        is_empty = os.fstat(self._handle).st_size == 0
        if not is_dead and age < 0:
            # A time in the future would count as alive until it has come. The time of now does not: a live
            # holder goes on beating, and the lease of a dead one grows old from here.
            os.utime(self._handle)
        if not is_dead and not is_empty and age < STALE:
            raise _busy(self.path, holder)
        self._write()
        if not is_dead:
            time.sleep(SETTLE)
            if not self.held():
                raise _busy(self.path, _holder(self._handle)[0])

    def _write(self) -> None:
        text = json.dumps({'host': _host(), 'pid': os.getpid(), 'token': self.token})
        os.pwrite(self._handle, text.encode(), 0)
        os.ftruncate(self._handle, len(text))
        os.fsync(self._handle)
        self._beaten = time.monotonic()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            with contextlib.suppress(OSError):  # if the disk refuses this heartbeat, the next one follows
                if self.held():
                    self._write()

    def held(self) -> bool:
        """Whether this process still holds the lease: the file is in place and has this lease's token.

        After a pause in which another host may have taken over (a suspended process, a disk that did not answer), the
        file is opened anew: a network disk may show an open file as it was.
        """
        if time.monotonic() - self._beaten > STALE / 2:
            return self._new_holder().get('token') == self.token
        return os.fstat(self._handle).st_nlink > 0 and _holder(self._handle)[0].get('token') == self.token

    def check(self) -> None:
        """Raise RunError if the run's folder or the lease was deleted.

        Raise Busy if another host took the run over, e.g. after this process was suspended
        for a minute.
        """
        if self.held():
            return
        if not self.path.parent.exists():
            what = 'this folder was deleted while its run was trained here'
            advice = 'run the same command again to train the run from its beginning'
            raise RunError(f'{self.path.parent}: {what}; {advice}')
        if not self.path.exists():
            what = 'was deleted while this process worked on the run'
            raise RunError(f'{self.path}: {what}; run the same command again to resume')
        raise _busy(self.path, self._new_holder())

    def _new_holder(self) -> dict:
        """The content of the lease file that is in place now."""
        with contextlib.suppress(OSError), open(self.path, 'rb') as file:
            return _holder(file.fileno())[0]
        return {}

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self.held():
                os.unlink(self.path)
        os.close(self._handle)
