"""Scenarios that need a process of their own: `python child.py NAME ROOT`. Exit code 0 and one line if all is well.

Each scenario imports everything first, then forks, so that a sweep over many crash points stays fast.
"""

import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - before the forks

sys.path.insert(0, str(Path(__file__).parent))
import toy

from paper_lib.contract.errors import RunError
from paper_lib.data.lease import Busy
from paper_lib.data.store import Store

CALLS = ('replace', 'fsync', 'unlink', 'posix_fallocate')  # every way in which the store changes a directory


def forked(function, *args) -> int:
    """Run in a fork; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            function(*args)
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(count):
    """Arrange for kill -9 just before the `count`-th such call of this process."""
    left = [count]

    def deadly(call):
        def wrapper(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return wrapper

    for name in CALLS:
        setattr(os, name, deadly(getattr(os, name)))


def train_and_die(root, count):
    die_at(count)
    toy.train(root)


def crash(root):
    """Killed before each call in turn, the second attempt killed too, the third left alone: always the same bytes."""
    toy.train(root / 'reference', note='uninterrupted')
    expected, count = toy.contents(root / 'reference'), 0
    assert set(expected) == toy.FILES - {'provenance.json'}, set(expected)
    while (status := forked(train_and_die, root / str(count), count)) == -signal.SIGKILL:
        forked(train_and_die, root / str(count), count)
        assert forked(toy.train, root / str(count)) == 0, count
        assert toy.contents(root / str(count)) == expected, f'kill before call {count} changed the result'
        shutil.rmtree(root / str(count))
        count += 1
    assert status == 0
    print(f'{count} crash points')


def refused(root, limit):
    """Whether training meets the limit, in the one way that it may: one line that names a file and what to do."""
    try:
        with limit:
            toy.train(root)
        return False
    except RunError as error:
        assert '\n' not in str(error) and str(root) in str(error), error
        assert 'free some space' in str(error) and 'same command again' in str(error), error
        return True


class Limit:
    """No file of this process grows beyond `size` bytes."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


class Filler:
    """All but `free` bytes of the disk under `root` are taken by someone else."""

    def __init__(self, root, free):
        self.path, self.free = root / 'filler', free

    def __enter__(self):
        disk = os.statvfs(self.path.parent)
        with open(self.path, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_bsize - self.free))

    def __exit__(self, *_):
        self.path.unlink()


def sweep(root, limits):
    """Meet each limit, remove it, run the same command again: always the same bytes."""
    toy.train(root / 'reference')
    expected, met = toy.contents(root / 'reference'), 0
    for number, limit in enumerate(limits):
        run = root / str(number)
        met += refused(run, limit)
        toy.train(run)
        assert toy.contents(run) == expected, f'limit {number} changed the result'
        shutil.rmtree(run)
    assert 0 < met < len(limits), f'{met} of {len(limits)} limits were met'
    print(f'{met} full disks')


def file_limit(root):
    sizes = (0, 50, 150, 200, 300, 400, 600, 1000, 1500, 2000, 2500, 10_000, 24_000, 30_000)
    sweep(root, [Limit(size) for size in sizes])


def full_disk(root):
    """On a file system of its own, mounted by the test."""
    sweep(root, [Filler(root, pages * 4096) for pages in range(4, 60, 2)])


def read_only(root):
    """Training where nothing may be written, as a user whom permissions bind; then with the permission back."""
    toy.train(root / 'before')  # imports everything while this user may read the interpreter's files
    if os.getuid() == 0:
        root.chmod(0o777)
        os.setuid(65534)
    folder = root / 'runs'
    folder.mkdir(mode=0o555)
    try:
        toy.train(folder)
        raise AssertionError('wrote into a read-only directory')
    except RunError as error:
        assert 'make it writable' in str(error) and str(folder) in str(error), error
    folder.chmod(0o755)
    toy.train(folder)
    path = Store(folder).path(toy.SPEC)
    before = toy.contents(folder)
    for item in (path, path / 'replay'):
        item.chmod(0o555)
    Store(folder).require(toy.SPEC).verify()  # a finished run is readable from read-only media
    assert toy.contents(folder) == before
    for item in (path, path / 'replay'):
        item.chmod(0o755)
    print('refused, then trained')


def hold(root):
    """Take the lease, say so, and keep it until killed."""
    with Store(root).lease(toy.SPEC):
        print('held', flush=True)
        time.sleep(600)


def compete(root):
    """Train as soon as the run is free."""
    waited = 0
    while True:
        try:
            toy.train(root, every=5)
            break
        except Busy:
            waited += 1
            time.sleep(0.005)
    print('waited' if waited else 'never waited')


if __name__ == '__main__':
    globals()[sys.argv[1]](Path(sys.argv[2]))
