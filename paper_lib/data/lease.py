"""One process per run: a lock where the file system has locks, and a heartbeat for other hosts to judge.

The lease file is not sealed: nothing that a run computes depends on it, and one that cannot be read is nobody's.
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

from paper_lib.contract import files
from paper_lib.contract.errors import RunError

BEAT = 10.0  # seconds between heartbeats (the file's modification time)
STALE = 60.0  # seconds without one after which another host takes over
SETTLE = 2.0  # seconds in which a competitor that took over at the same moment shows itself
CONTENT = {'host': str, 'pid': int, 'token': str}
LAST_PID = 2**31 - 1


class Busy(RunError):
    """Another live process has the run."""


def _host():
    """This machine and this boot of it: only here does getting the lock prove that the holder is dead."""
    boot = Path('/proc/sys/kernel/random/boot_id')
    return f'{socket.gethostname()}-{boot.read_text()[:8] if boot.exists() else ""}'


def _holder(handle):
    """(content, seconds since the last heartbeat) of an open lease file; ({}, age) for one that no lease wrote.

    The age is negative where the clock was set back, or another host's clock is ahead.
    """
    age = time.time() - os.fstat(handle).st_mtime
    with contextlib.suppress(RunError):
        content = files.parse_json(Path('lease'), os.pread(handle, 4096, 0), CONTENT)
        if 0 < content['pid'] <= LAST_PID:
            return content, age
    return {}, age


def _lock(path):
    """(handle, whether the file system locked it). Raises Busy if a process of this host has it."""
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
            locked = False  # a file system without locks: the heartbeat alone decides
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle, locked
        os.close(handle)  # its holder removed it between our open and our lock


def _busy(path, holder):
    who = f'process {holder.get("pid", "?")} on {holder.get("host", "?")}'
    return Busy(f'{path}: {who} is working on this run; wait for it or stop it, then run the same command again')


def alive(path: Path) -> bool:
    """Whether a live process seems to hold the lease. For display: it takes no lock and promises nothing."""
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
    """Context manager over a lease file. After a kill -9 the next process of that host gets it at once."""

    def __init__(self, path: Path):
        self.path, self.token = path, secrets.token_hex(8)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self):
        with files.guard(self.path):
            self._handle, locked = _lock(self.path)
            try:
                self._take(locked)
            except BaseException:
                os.close(self._handle)
                raise
        self._thread.start()
        return self

    def _take(self, locked):
        holder, age = _holder(self._handle)
        dead = locked and holder.get('host', _host()) == _host()
        empty = os.fstat(self._handle).st_size == 0
        if not dead and age < 0:
            # A time in the future would count as alive until it comes. So it is set to now: if the holder is alive it
            # goes on beating, and if it is dead the lease grows old from here.
            os.utime(self._handle)
        if not dead and not empty and age < STALE:
            raise _busy(self.path, holder)
        self._write()
        if not dead:
            time.sleep(SETTLE)
            if not self.held():
                raise _busy(self.path, _holder(self._handle)[0])

    def _write(self):
        text = json.dumps({'host': _host(), 'pid': os.getpid(), 'token': self.token})
        os.pwrite(self._handle, text.encode(), 0)
        os.ftruncate(self._handle, len(text))
        os.fsync(self._handle)

    def _beat(self):
        while not self._stop.wait(BEAT):
            with contextlib.suppress(OSError):  # a beat that the disk refuses is only a late beat
                if self.held():
                    self._write()

    def held(self) -> bool:
        """Whether the lease is still ours: the file is in place and carries our token."""
        return os.fstat(self._handle).st_nlink > 0 and _holder(self._handle)[0].get('token') == self.token

    def check(self):
        """RunError if the run's folder or the lease was deleted.

        It is Busy if another host took the run over, e.g. after this process was suspended for a minute.
        """
        if self.held():
            return
        if not self.path.parent.exists():
            what = 'this folder was deleted while its run was trained here'
            raise RunError(
                f'{self.path.parent}: {what}; run the same command again to train the run from its beginning'
            )
        if not self.path.exists():
            what = 'was deleted while this process worked on the run'
            raise RunError(f'{self.path}: {what}; run the same command again to resume')
        raise _busy(self.path, self._other())

    def _other(self):
        """Who has the lease file that is in place now."""
        with contextlib.suppress(OSError), open(self.path, 'rb') as file:
            return _holder(file.fileno())[0]
        return {}

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self.held():
                os.unlink(self.path)
        os.close(self._handle)
