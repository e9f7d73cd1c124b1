"""Rollouts in small numbers: where they start, and that a page gets them back."""

import numpy as np
import pytest
import smoke

from paper_lib.contract import maze_layout, tasks
from paper_lib.contract.errors import RunError
from paper_lib.contract.plane import CELLS
from paper_lib.contract.spec import RunSpec
from paper_lib.envs import placed
from paper_lib.explore import starts, weights
from paper_lib.study import paths

MAZE = smoke.ACTIVE
WALKER = RunSpec('walker_walk-proprio')


def first(env):
    return env.step({'action': np.zeros(env.spaces.action), 'reset': True})['vector']


def test_starts_of_the_maze_are_beside_its_walls_and_where_they_say():
    places = starts._maze_places(MAZE)
    points = np.array([first(place.env) for place in places])
    assert not any(maze_layout.in_a_wall(x, y) for x, y, *_ in points)
    assert (points[:, 2:] == 0).all()
    usual = points[[place.usual for place in places]]
    (left, right), (low, high) = maze_layout.START
    assert len(usual) and ((usual[:, 0] >= left) & (usual[:, 0] <= right)).all()
    assert ((usual[:, 1] >= low) & (usual[:, 1] <= high)).all()


def test_the_walker_starts_straight_on_the_ground_with_its_lean_and_its_speed():
    upright, lying = first(placed.walker(WALKER, 0.0, 0.0)), first(placed.walker(WALKER, 1.5, 2.0))
    turns, height = starts.pose(upright)[:-1], upright[14]
    assert (turns == 0).all() and height == pytest.approx(1.3, abs=0.05)
    assert starts.pose(lying)[:-1].tolist() == [round(256 * 1.5 / (2 * np.pi))] * starts.BODIES
    assert lying[14] < 0.4 and lying[16] == pytest.approx(2.0, abs=0.05)


def test_the_parts_of_the_walker_stand_on_the_ground_when_it_stands():
    """Drawn as the page draws them: from the torso down, each at the joint with its parent."""
    origins, lowest = [], []
    for part in placed.walker_parts():
        origin = np.array([0.0, first(placed.walker(WALKER, 0.0, 0.0))[14]])
        if part['parent'] >= 0:
            origin = origins[part['parent']] + part['anchor'] - np.array(part['joint'])
        origins.append(origin)
        lowest.append(min(end[1] for end in part['ends']) + origin[1] - part['radius'])
    assert min(lowest) == pytest.approx(0, abs=0.02)
    assert len(origins) == starts.BODIES


def made_up(x):
    """A rollout that starts at x and goes to the right, and what is imagined from each of its sources."""
    vectors = np.zeros((501, 4), np.float32)
    vectors[:, 0] = np.linspace(x, x + 0.1, 501)
    vectors[:, 1] = 0.25
    imagined = np.tile(vectors[: starts.AHEAD + 1 : starts.STRIDE], (len(range(0, 501, starts.EVERY)), 2, 1, 1))
    losses = np.geomspace(0.5, 5, 501)
    return {'vector': vectors, 'imagined': imagined, 'wm_loss': losses, 'reward': np.full(501, 0.5)}


def test_what_is_described_are_the_rollouts():
    kind = starts.Kind('toy_maze', 2, lambda spec: [starts.Place(None, usual) for usual in (False, True)], list)
    rollouts = [made_up(-0.1), made_up(0.1)]
    visits = np.zeros((CELLS, CELLS), int)
    visits[tuple(tasks.get(MAZE.task).plane.cells([[0.1, 0.25]])[0])] = 7
    header, found = starts.describe([MAZE], kind, [rollouts], visits)
    np.testing.assert_allclose(found['starts'], [[-0.1, 0.25], [0.1, 0.25]], atol=1e-6)
    assert (found['seen'].tolist(), header['usual'], header['most']) == ([0, 7], [1], 7)
    plane = tasks.get(MAZE.task).plane
    low, high = np.array(plane.low), np.array(plane.high)
    for name, true in (('place', 'vector'), ('imagined', 'imagined')):
        back = low + (high - low) * found[name].cumsum(-2) / header['quanta']
        points = np.stack([rollout[true][..., :2] for rollout in rollouts])
        np.testing.assert_allclose(back[0], points, atol=(high - low)[0] / header['quanta'])
    np.testing.assert_allclose(found['score'], [[250.5, 250.5]])
    levels = found['loss'][0, 0].astype(int)
    assert levels[0] == 0 and levels[-1] == 255 and (np.diff(levels) >= 0).all()


def test_only_a_whole_pair_with_weights_is_played(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    wanted = [spec for spec in weights.wanted('smoke', 1) if spec.task == MAZE.task]
    for spec in wanted[:2]:
        paths.write(weights.path(spec, 'smoke'), b'')
    with pytest.raises(RunError, match='point_mass_maze-proprio: no pair with the weights of active, passive, tandem'):
        starts.write(MAZE.task, 'smoke')
    paths.write(weights.path(wanted[2], 'smoke'), b'')
    assert starts._shipped('toy_maze', MAZE.task, 'smoke') == wanted
