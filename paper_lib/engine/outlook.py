"""What a plan costs: the table of `paper-lib cluster plan`."""

import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from paper_lib.engine.jobs import MARGIN, Job
from paper_lib.engine.site import Site


def hours(planned: Iterable[Job]) -> float:
    """Expected hours that these jobs take, one after the other."""
    return sum(job.minutes / MARGIN for job in planned) / 60


def makespan(planned: list[Job], at_once: int) -> float:
    """Hours until all are done, so many at a time. Where one ends, the first of the list that need not wait begins."""
    names = {job.id for job in planned}
    waits = [{name for name in job.after if name in names} for job in planned]
    followers = defaultdict(list)
    for number, sources in enumerate(waits):
        for name in sources:
            followers[name].append(number)
    ready = [number for number, sources in enumerate(waits) if not sources]  # a heap: in the order of the list
    running: list[tuple[float, str]] = []  # a heap of (end, id)
    now = 0.0
    while ready or running:
        while ready and len(running) < at_once:
            job = planned[heapq.heappop(ready)]
            heapq.heappush(running, (now + hours([job]), job.id))
        now, ended = heapq.heappop(running)
        for number in followers[ended]:
            waits[number].remove(ended)
            if not waits[number]:
                heapq.heappush(ready, number)
    return now


def row(name: str, planned: list[Job], done: int, site: Site) -> dict[str, Any]:
    """One row of the table: what is left of a notebook, of which `done` runs are finished."""
    what = 'GPU' if site.gpus else 'core'
    each = 1 if site.gpus else site.cores  # that a job holds while it runs
    used = hours(planned) * each
    return {
        'notebook': name,
        'runs': sum(len(job.specs) for job in planned) + done,
        'done': done,
        'jobs': len(planned),
        f'{what} hours': round(used, 1),
        f'hours at {site.at_once * each} {what}s': round(makespan(planned, site.at_once), 1),
        'price': round(used * site.price, 2),
        'disk GB': round(sum(job.disk for job in planned) / 1e9, 1),
    }


def terms(site: Site) -> str:
    """What the table takes for granted, in one line."""
    what = 'GPU' if site.gpus else 'core'
    a_job = f'a GPU and {site.cores} cores' if site.gpus else f'{site.cores} cores'
    speed = f'{site.machine.teraflops:g} TFLOP/s of a {what}'
    if not site.teraflops:
        speed += ' (a guess; set teraflops in the site file)'
    rules = f'A job has {a_job}, and trains up to {site.lanes} runs as one program'
    return f'{rules}. Updates get {speed}. An hour of a {what} costs {site.price:g}. What is finished is not counted.'
