"""What a plan costs: the table of `paper-lib cluster plan`."""

import heapq
from collections.abc import Iterable
from typing import Any

from paper_lib.engine.jobs import MARGIN, Job
from paper_lib.engine.site import Site


def hours(planned: Iterable[Job]) -> float:
    """Expected hours of a GPU (or a core) that these jobs take together."""
    return sum(job.minutes / MARGIN for job in planned) / 60


def makespan(planned: list[Job], at_once: int) -> float:
    """Hours until all are done, so many at a time, each as soon as its sources are."""
    ends: dict[str, float] = {}
    free = [0.0] * max(1, min(at_once, len(planned)))
    for job in planned:  # sources come before their followers
        begin = max([heapq.heappop(free), *(ends[name] for name in job.after if name in ends)])
        ends[job.id] = begin + hours([job])
        heapq.heappush(free, ends[job.id])
    return max(ends.values(), default=0.0)


def row(name: str, planned: list[Job], done: int, site: Site) -> dict[str, Any]:
    """One row of the table; `done` runs of it are finished."""
    what = 'GPU' if site.gpus else 'core'
    used = hours(planned)
    return {
        'notebook': name,
        'runs': sum(len(job.specs) for job in planned) + done,
        'done': done,
        'jobs': len(planned),
        f'{what} hours': round(used, 1),
        f'hours at {site.at_once} {what}s': round(makespan(planned, site.at_once), 1),
        'price': round(used * site.price, 2),
        'disk GB': round(sum(job.disk for job in planned) / 1e9, 1),
    }
