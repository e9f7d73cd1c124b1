"""Rollouts of three agents from many starts, in small numbers, for a page on which a click starts them.

Shapes: A agents, K starts, N steps, M steps from which an agent imagines, D times each, P imagined steps that are kept.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paper_lib import envs
from paper_lib.contract import agents, maze_layout, tasks
from paper_lib.contract.errors import RunError
from paper_lib.contract.plane import Plane
from paper_lib.contract.spec import RunSpec
from paper_lib.envs import placed
from paper_lib.explore import weights
from paper_lib.study import archive, paths, plan, scales, starts

AHEAD = 48  # steps that an agent imagines
EVERY = 50  # steps from one imagination to the next
STRIDE = 2  # imagined steps from one that is kept to the next
LEVELS = 255
QUANTA = 1000  # of a place, along each side of the plane


class Place(NamedTuple):
    """An environment whose episodes start there, and whether those of the task do so too."""

    env: envs.Env
    usual: bool


class Kind(NamedTuple):
    """What the page of a task shows."""

    chapter: str  # of the archive
    draws: int  # times that each step is imagined, D
    places: Callable[[RunSpec], list[Place]]
    body: Callable[[], list[dict[str, Any]]]  # its parts, if vectors can be drawn as a body


def write(task: str, scale: str) -> Path:
    """Play the shipped agents of a task from all its starts, and write the file of its page. Returns its path.

    Raises RunError where the weights of one of the agents are missing.
    """
    kind = KINDS[task]
    specs = _shipped(kind.chapter, task, scale)
    rollouts = [_play(spec, kind, scale) for spec in specs]
    visits = _visits(kind.chapter, specs[0], scale)
    path = starts.path(task, scale)
    paths.write(path, starts.pack(*describe(specs, kind, rollouts, visits)))
    return path


def _shipped(chapter: str, task: str, scale: str) -> list[RunSpec]:
    """The runs of the compared agents of the first pair that has weights here."""
    compared = agents.group('compared')
    specs = [spec for spec in plan.specs(chapter, scales.get(scale)) if spec.task == task and spec.agent in compared]
    shipped = [spec for spec in specs if weights.path(spec, scale).exists()]
    for seed in sorted({spec.pair_seed for spec in shipped}):
        pair = {spec.agent: spec for spec in shipped if spec.pair_seed == seed}
        if set(pair) == set(compared):
            return [pair[agent] for agent in compared]
    names = ', '.join(compared)
    raise RunError(f'{task}: no pair with the weights of {names} at scale {scale}; see `paper-lib export`')


def _visits(chapter: str, source: RunSpec, scale: str) -> np.ndarray:
    """How many steps of the recording are in each cell of the plane, (CELLS, CELLS)."""
    return archive.load([source], paths.archive(scale), chapter).map(source.run_id)


def _play(spec: RunSpec, kind: Kind, scale: str) -> list[dict[str, np.ndarray]]:
    """The rollouts of an agent, one per start, each with what it imagines: `imagined` (M, D, P, ...)."""
    from paper_lib.explore.play import Player

    player = Player(spec, weights.load(spec, scale))
    rollouts = player.rollouts([place.env for place in kind.places(spec)])
    for rollout in rollouts:
        sources = list(range(0, len(rollout['reward']), EVERY))
        rollout['imagined'] = player.imagine_from(rollout, sources, AHEAD, kind.draws)[:, :, ::STRIDE]
    return rollouts


def describe(
    specs: Sequence[RunSpec], kind: Kind, rollouts: Sequence[Sequence[dict[str, np.ndarray]]], visits: np.ndarray
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file. `rollouts` has those of every start for every agent.

    Arrays: `starts` (K, 2), `seen` (K,), `visits`, `place` (A, K, N, 2), `loss` (A, K, N), `score` (A, K), `imagined`
    (A, K, M, D, P, 2) and, with a body, `pose` (A, K, N, 8) and `imagined_pose` (A, K, M, P, 8). Places are differences
    from step to step in QUANTA of the plane, losses are levels of their logarithm.
    """
    plane = tasks.get(specs[0].task).plane
    vectors = _stacked(rollouts, 'vector')
    imagined = _stacked(rollouts, 'imagined')
    first = vectors[0, :, 0][:, list(plane.components)]
    losses = np.log(_stacked(rollouts, 'wm_loss'))
    low, high = np.percentile(losses, [1, 99])
    cells = plane.cells(first)
    arrays = {
        'starts': first.astype(np.float32),
        'seen': visits[cells[:, 0], cells[:, 1]].astype(np.uint32),
        'visits': _levels(np.log1p(visits), 0, np.log1p(visits.max())),
        'place': _differences(vectors, plane),
        'imagined': _differences(imagined, plane),
        'loss': _levels(losses, low, high),
        'score': _stacked(rollouts, 'reward').sum(-1).astype(np.float32),
    }
    body = kind.body()
    if body:
        arrays['pose'] = pose(vectors)
        arrays['imagined_pose'] = pose(imagined[:, :, :, 0])
    is_maze = tasks.get(specs[0].task).suite == 'maze'
    header = {
        'task': specs[0].task,
        'agents': [spec.agent for spec in specs],
        'runs': [spec.run_id for spec in specs],
        'pair_seed': specs[0].pair_seed,
        'plane': {'labels': plane.labels, 'low': plane.low, 'high': plane.high},
        'quanta': QUANTA,
        'ahead': AHEAD,
        'every': EVERY,
        'stride': STRIDE,
        'losses': [float(np.exp(low)), float(np.exp(high))],
        'most': int(visits.max()),
        'usual': [number for number, place in enumerate(kind.places(specs[0])) if place.usual],
        'walls': maze_layout.WALLS if is_maze else [],
        'goal': [*maze_layout.GOAL, specs[0].goal_radius] if is_maze else [],
        'body': body,
        'highest': HIGHEST,
    }
    return header, arrays


def _stacked(rollouts: Sequence[Sequence[dict[str, np.ndarray]]], name: str) -> np.ndarray:
    """An array of all rollouts, (A, K, ...)."""
    return np.stack([[rollout[name] for rollout in own] for own in rollouts])


def _levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from `low` to `high` as uint8."""
    fraction = (values - low) / max(high - low, 1e-9)
    return np.round(LEVELS * np.clip(fraction, 0, 1)).astype(np.uint8)


def _differences(vectors: np.ndarray, plane: Plane) -> np.ndarray:
    """Places in the plane (..., N, 2) in quanta, int16: the first one, then the difference from step to step."""
    places = vectors[..., list(plane.components)]
    low, high = np.array(plane.low), np.array(plane.high)
    fraction = np.clip((places - low) / (high - low), -1, 2)
    quanta = np.round(QUANTA * fraction).astype(np.int16)
    return np.diff(quanta, axis=-2, prepend=np.zeros_like(quanta[..., :1, :]))


def _maze_places(spec: RunSpec) -> list[Place]:
    """A grid over the floor of the maze without its walls; those in the start square are the usual ones."""
    side = np.linspace(-0.27, 0.27, 13)
    (left, right), (low, high) = maze_layout.START
    places = []
    for x in side:
        for y in side:
            if not maze_layout.in_a_wall(x, y):
                usual = left <= x <= right and low <= y <= high
                places.append(Place(placed.maze(spec, float(x), float(y)), usual))
    return places


# Starts of the walker.
PITCHES = np.linspace(0, 1.5, 8)  # of a straight body, from standing to lying (rad)
SPEEDS = np.linspace(-2, 3, 6)  # forward (m/s)


def _walker_places(spec: RunSpec) -> list[Place]:
    """A straight body at every pitch and speed, its lowest point on the ground; standing still is the usual one."""
    places = []
    for angle in PITCHES:
        for speed in SPEEDS:
            places.append(Place(placed.walker(spec, float(angle), float(speed)), usual=angle == 0 and speed == 0))
    return places


BODIES = 7  # of the walker: torso, thighs, legs and feet
HIGHEST = 1.5  # metres of a torso that a pose can hold


def pose(vectors: np.ndarray) -> np.ndarray:
    """The observation of the walker (..., 24) -> angles of its bodies and height of its torso, uint8 (..., 8).

    The observation begins with the cosine and the sine of the angle of each body; then comes the height.
    """
    pairs = vectors[..., : 2 * BODIES].reshape(*vectors.shape[:-1], BODIES, 2)
    angles = np.arctan2(pairs[..., 1], pairs[..., 0]) / (2 * np.pi) % 1
    height = np.clip(vectors[..., 2 * BODIES] / HIGHEST, 0, 1)
    turns = np.round(256 * angles).astype(int) % 256
    return np.concatenate([turns, np.round(LEVELS * height[..., None])], -1).astype(np.uint8)


KINDS = {
    'point_mass_maze-proprio': Kind('toy_maze', 3, _maze_places, list),
    'walker_walk-proprio': Kind('study', 1, _walker_places, placed.walker_parts),
}
