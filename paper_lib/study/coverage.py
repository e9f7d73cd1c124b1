"""What a recording of vectors covers: its returns, how near its episodes are to each other, and kinds of steps.

Shapes: N steps, D components of the vector, n episodes.
"""

import dataclasses

import numpy as np

BINS = 20  # of the histogram of returns
PROBES = 2000  # steps, at equal distances in the recording, whose neighbours are looked for
MOST = 200_000  # steps among which they are looked for
CHUNK = 100  # probes that are compared at once
FAR = 5  # a step whose nearest neighbour is farther than so many mean steps is alone
PARTS = 5  # parts of the range of returns, and of an episode, that distances are shown for
EXPERT = 0.8  # expert-like steps are of episodes whose return is above this share of the range of returns
POOR = 0.5  # exploration-like steps are of episodes below this share
SHOWN = 10  # lonely steps that are listed


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Numbers that describe a recording.

    A distance is that of a step from the nearest step of another episode, each component over its standard
    deviation, in units of the mean distance between a step and the next. Shares are of PROBES steps.
    """

    transitions: int
    episodes: int
    lengths: tuple[int, int, int]  # agent steps of an episode: least, median, most
    returns: tuple[float, float, float]  # least, median, most
    best: float  # mean return of the best fifth of the episodes, at least one
    edges: tuple[float, ...]  # (BINS + 1,) of the histogram of returns
    counts: tuple[int, ...]  # (BINS,) episodes
    # The next three are None with a single episode, or if nothing moves.
    distance: float | None  # median
    far: float | None  # a distance that a tenth of the steps exceeds
    alone: float | None  # share of steps with a distance above FAR
    by_return: tuple[float | None, ...]  # (PARTS,) median distance by the return of the step's episode, rising
    by_time: tuple[float | None, ...]  # (PARTS,) median distance by the time in the episode
    loneliest: tuple[int, ...]  # rows, the most distant first
    expert_like: float | None  # share of steps of episodes with high returns; None if all returns are equal
    # Share of steps of episodes with low returns that have more than the median distance; None if either is unknown.
    exploration_like: float | None


def cover(vector: np.ndarray, reward: np.ndarray, firsts: np.ndarray) -> Coverage:
    """The coverage of vectors (N, D) and rewards (N,), whose episodes begin at the rows `firsts` (n,).

    What is not finite counts as zero: the audit reports it.
    """
    vector = np.nan_to_num(np.asarray(vector, np.float32), nan=0, posinf=0, neginf=0)
    reward = np.nan_to_num(np.asarray(reward, np.float64), nan=0, posinf=0, neginf=0)
    rows = len(vector)
    lengths = np.diff(firsts, append=rows)
    episode = np.repeat(np.arange(len(firsts)), lengths)
    returns = np.add.reduceat(reward, firsts)
    counts, edges = np.histogram(returns, BINS, range=span_of(returns))

    probes = spread(rows, PROBES)
    distance = distances(scaled(vector), episode, probes)
    time = (probes - firsts[episode[probes]]) / lengths[episode[probes]]
    span = returns.max() - returns.min()
    rank = (returns[episode[probes]] - returns.min()) / span if span else np.full(len(probes), np.nan)
    is_expert = rank >= EXPERT
    is_explorer = (rank < POOR) & (distance > np.median(distance))
    has_distances = bool(np.isfinite(distance).all())
    order = np.argsort(-distance, kind='stable')[:SHOWN]
    return Coverage(
        transitions=int((lengths - 1).sum()),
        episodes=len(firsts),
        lengths=tuple(int(value) - 1 for value in (lengths.min(), np.median(lengths), lengths.max())),
        returns=tuple(float(value) for value in (returns.min(), np.median(returns), returns.max())),
        best=float(np.sort(returns)[-max(1, len(returns) // 5) :].mean()),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        distance=float(np.median(distance)) if has_distances else None,
        far=float(np.quantile(distance, 0.9)) if has_distances else None,
        alone=float((distance > FAR).mean()) if has_distances else None,
        by_return=by_part(distance, rank),
        by_time=by_part(distance, time),
        loneliest=tuple(probes[order].tolist()) if has_distances else (),
        expert_like=float(is_expert.mean()) if span else None,
        exploration_like=float(is_explorer.mean()) if span and has_distances else None,
    )


def span_of(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value; farther apart where they are so close that no bins fit between them."""
    low, high = float(values.min()), float(values.max())
    least = 1e-12 * max(abs(low), abs(high))
    if high - low > least:
        return low, high
    return low - max(0.5, least), high + max(0.5, least)


def spread(rows: int, count: int) -> np.ndarray:
    """At most `count` row numbers at equal distances."""
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64))


def scaled(vector: np.ndarray) -> np.ndarray:
    """Each component over its standard deviation; those that never change are 0."""
    deviation = vector.std(0, dtype=np.float64)
    factor = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return ((vector - vector.mean(0, dtype=np.float64)) * factor).astype(np.float32)


def distances(points: np.ndarray, episode: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """(P,) distances of the probes from the nearest step of another episode, over the mean length of a step.

    `points` are (N, D) and `episode` (N,). With a single episode, or if nothing moves, they are NaN.
    """
    same = episode[1:] == episode[:-1]
    length = np.linalg.norm(np.diff(points, axis=0)[same], axis=1).mean() if same.any() else 0.0
    if episode[0] == episode[-1] or length == 0:
        return np.full(len(probes), np.nan)
    kept = spread(len(points), MOST)
    others, squares = points[kept], (points[kept] ** 2).sum(1)
    found = []
    for first in range(0, len(probes), CHUNK):
        at = probes[first : first + CHUNK]
        square = (points[at] ** 2).sum(1)[:, None] + squares - 2 * points[at] @ others.T
        square[episode[at][:, None] == episode[kept]] = np.inf
        found.append(np.sqrt(np.maximum(square.min(1), 0)))
    return np.concatenate(found) / length


def by_part(distance: np.ndarray, place: np.ndarray) -> tuple[float | None, ...]:
    """(PARTS,) medians of the distances whose place, from 0 to 1, is in each part; None where there are none."""
    part = np.full(len(place), -1)
    known = np.isfinite(place) & np.isfinite(distance)
    part[known] = np.minimum((place[known] * PARTS).astype(int), PARTS - 1)
    medians = []
    for number in range(PARTS):
        here = distance[part == number]
        medians.append(float(np.median(here)) if len(here) else None)
    return tuple(medians)
