import json
import os
import shutil
import time

import pytest

from paper_lib.contract.errors import RunError
from paper_lib.data import lease
from paper_lib.data.lease import Busy, Lease


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'lease.json'


def write_foreign(path, age):
    """A lease of another host whose last heartbeat is `age` seconds old."""
    path.write_text(json.dumps({'host': 'elsewhere', 'pid': 1, 'token': 'theirs'}))
    os.utime(path, (time.time() - age,) * 2)


def test_second_holder_is_told_who_has_it(path):
    with Lease(path):
        with pytest.raises(Busy, match=f'lease.json: process {os.getpid()} on .* is working on this run'):
            Lease(path).__enter__()
        assert lease.alive(path)
    assert not path.exists() and not lease.alive(path)
    with Lease(path):
        pass


def lease_of(pid):
    return json.dumps({'host': lease._host(), 'pid': pid, 'token': 'theirs'})


@pytest.mark.parametrize('text', ['', '5', '[]', '{"host": "elsewhere"}', '{"pid": 7}', 'no json', '[' * 4000,
                                  lease_of('7'), lease_of(2**70), lease_of(0), lease_of(-1)])  # fmt: skip
def test_file_that_no_lease_wrote_belongs_to_nobody(path, text, monkeypatch):
    monkeypatch.setattr(lease, 'SETTLE', 0.0)
    path.write_text(text)
    assert not lease.alive(path)
    with Lease(path) as held:
        held.check()


def test_live_holder_on_another_host_is_respected(path):
    write_foreign(path, age=lease.STALE - 5)
    assert lease.alive(path)
    with pytest.raises(Busy, match='process 1 on elsewhere'):
        Lease(path).__enter__()
    assert json.loads(path.read_text())['token'] == 'theirs'


def test_silent_holder_on_another_host_is_replaced(path, monkeypatch):
    monkeypatch.setattr(lease, 'SETTLE', 0.0)
    write_foreign(path, age=lease.STALE + 5)
    assert not lease.alive(path)
    with Lease(path) as held:
        held.check()


def test_lease_from_the_future_grows_old_from_when_it_is_seen(path, monkeypatch):
    """As after the clock was set back: the holder is dead, its last heartbeat a day ahead."""
    monkeypatch.setattr(lease, 'SETTLE', 0.0)
    write_foreign(path, age=-86400)
    assert not lease.alive(path)
    with pytest.raises(Busy, match='process 1 on elsewhere'):
        Lease(path).__enter__()
    assert abs(path.stat().st_mtime - time.time()) < lease.STALE / 2
    clock = time.time
    monkeypatch.setattr(time, 'time', lambda: clock() + lease.STALE + 1)
    with Lease(path) as held:
        held.check()


def test_live_holder_whose_clock_is_ahead_is_respected(path, monkeypatch):
    """Its heartbeats come from the future, and go on coming."""
    clock = time.time
    for minute in range(3):
        monkeypatch.setattr(time, 'time', lambda: clock() + 60 * minute)  # noqa: B023 (called in this round)
        write_foreign(path, age=-3600)
        with pytest.raises(Busy, match='process 1 on elsewhere'):
            Lease(path).__enter__()


def test_competitor_that_takes_over_at_the_same_moment_wins_once(path, monkeypatch):
    write_foreign(path, age=lease.STALE + 5)
    monkeypatch.setattr(time, 'sleep', lambda _: write_foreign(path, age=0))
    with pytest.raises(Busy, match='elsewhere'):
        Lease(path).__enter__()


def test_holder_notices_that_it_was_replaced(path):
    with Lease(path) as held:
        held.check()
        write_foreign(path, age=0)
        with pytest.raises(Busy, match='elsewhere'):
            held.check()
    assert json.loads(path.read_text())['token'] == 'theirs'  # and does not remove their lease


def test_holder_notices_that_its_lease_was_removed(path):
    with Lease(path) as held:
        path.unlink()
        with pytest.raises(RunError, match=r'lease.json: was deleted while this process worked on the run; run the'):
            held.check()


def test_holder_notices_that_the_folder_of_the_run_was_deleted(tmp_path):
    (tmp_path / 'run').mkdir()
    with Lease(tmp_path / 'run' / 'lease.json') as held:
        shutil.rmtree(tmp_path / 'run')
        with pytest.raises(RunError, match=r'/run: this folder was deleted while its run was trained here; run the'):
            held.check()


def test_holder_whose_folder_was_deleted_and_made_again_is_told_by_whom(tmp_path):
    path = tmp_path / 'run' / 'lease.json'
    path.parent.mkdir()
    with Lease(path) as held:
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        write_foreign(path, age=0)
        with pytest.raises(Busy, match='process 1 on elsewhere'):
            held.check()


def test_lease_that_is_released_between_our_open_and_our_lock_is_not_taken_for_ours(path, monkeypatch):
    flock, released = lease.fcntl.flock, []

    def release_first(*args):
        if not released:
            released.append(path.unlink())
        flock(*args)

    monkeypatch.setattr(lease.fcntl, 'flock', release_first)
    with Lease(path) as held:
        held.check()
        assert json.loads(path.read_text())['token'] == held.token


def test_heartbeat_keeps_the_lease_young(path, monkeypatch):
    monkeypatch.setattr(lease, 'BEAT', 0.01)
    with Lease(path):
        os.utime(path, (0, 0))
        limit = time.time() + 5
        while path.stat().st_mtime < 1 and time.time() < limit:
            time.sleep(0.01)
        assert lease.alive(path)


def test_dead_process_of_this_host_does_not_look_alive(path):
    pid = os.spawnlp(os.P_NOWAIT, 'true', 'true')
    os.waitpid(pid, 0)
    path.write_text(json.dumps({'host': lease._host(), 'pid': pid, 'token': 'theirs'}))
    assert not lease.alive(path)
    with Lease(path):  # its lock went with it: no waiting for the heartbeat
        assert lease.alive(path)


def test_file_system_without_locks_falls_back_to_the_heartbeat(path, monkeypatch):
    def unsupported(*_):
        raise OSError('no locks available')

    monkeypatch.setattr(lease.fcntl, 'flock', unsupported)
    monkeypatch.setattr(lease, 'SETTLE', 0.0)
    with Lease(path), pytest.raises(Busy):
        Lease(path).__enter__()


def test_after_a_pause_a_holder_reads_the_file_that_is_in_place_now(path, tmp_path, monkeypatch):
    """A network disk may go on showing an open file as it was: here the lease that it opened, under another name."""
    with Lease(path) as held:
        os.link(path, tmp_path / 'as it was')
        write_foreign(tmp_path / 'new', age=0)
        os.replace(tmp_path / 'new', path)
        held.check()
        clock = time.monotonic
        monkeypatch.setattr(time, 'monotonic', lambda: clock() + lease.STALE / 2 + 1)
        with pytest.raises(Busy, match='process 1 on elsewhere'):
            held.check()
    assert json.loads(path.read_text())['token'] == 'theirs'
