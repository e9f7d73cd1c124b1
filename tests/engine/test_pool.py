"""Worker processes: what they tell, how they end, and which cores they have."""

import os
import signal
import sys

import pytest

from paper_lib import machine
from paper_lib.contract.errors import UserError
from paper_lib.engine import pool


def counted(until):
    for number in range(until):
        pool.report(number)
    return until


def refused(path):
    raise UserError(f'{path}: not here')


def killed(number):
    os.kill(os.getpid(), number)


def ended(code):
    os._exit(code)


def unsendable():
    return lambda: None


def waited():
    pool.meet()
    return os.getpid()


@pytest.fixture(scope='module')
def worker():
    with pool.Worker(machine.cores()[:1]) as worker:
        yield worker


def test_a_call_reports_on_its_way_and_returns(worker):
    worker.call(counted, 2)
    assert [worker.receive() for _ in range(3)] == [pool.Reported(0), pool.Reported(1), pool.Returned(2)]


def test_an_error_is_handed_over_with_where_it_happened(worker):
    worker.call(refused, 'there')
    error = worker.receive().error
    assert type(error) is UserError and str(error) == 'there: not here' and 'in refused' in error.__notes__[0]


def test_a_result_that_cannot_travel_is_an_error_and_not_a_death(worker):
    worker.call(unsendable)
    assert 'cannot travel between processes' in str(worker.receive().error)
    worker.call(counted, 0)
    assert worker.receive() == pool.Returned(0)


def test_calls_that_meet_go_on_when_they_are_told_to(worker):
    worker.call(waited)
    assert worker.receive() == pool.Reported(None) and pool.ready([worker], 0.0) == []
    worker.resume()
    assert worker.receive().value not in (None, os.getpid())


def test_a_worker_that_dies_says_how_and_starts_anew_when_stopped(worker):
    for function, argument, code in ((killed, signal.SIGKILL, -signal.SIGKILL), (ended, 3, 3)):
        worker.call(function, argument)
        assert worker.receive() == pool.Died(code)
        worker.call(counted, 1)  # nobody hears it
        assert worker.receive() == pool.Died(code)
        worker.stop()
    worker.call(counted, 0)
    assert worker.receive() == pool.Returned(0)


@pytest.mark.skipif(sys.platform != 'linux', reason='no process is bound to cores elsewhere')
def test_a_worker_stays_on_its_cores(worker):
    worker.call(machine.cores)
    assert worker.receive() == pool.Returned(worker.cores)


@pytest.mark.parametrize(('cores', 'workers', 'shares'), [
    ([4, 5, 6], 1, [[4, 5, 6]]), ([4, 5, 6], 2, [[4, 6], [5]]), ([4, 5], 3, [[4], [5], [4]]),
])  # fmt: skip
def test_cores_are_shared_out(monkeypatch, cores, workers, shares):
    monkeypatch.setattr(machine, 'cores', lambda: cores)
    assert pool.shares(workers) == shares
