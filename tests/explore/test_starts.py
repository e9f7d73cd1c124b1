"""Rollouts in small numbers: where they start, and that a page gets them back."""

import numpy as np
import pytest
import smoke

from paper_lib import envs
from paper_lib.contract import maze_layout, tasks
from paper_lib.contract.plane import CELLS
from paper_lib.contract.spec import RunSpec
from paper_lib.envs import placed
from paper_lib.explore import starts, weights
from paper_lib.run import lanes

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


@pytest.mark.usefixtures('quick')
def test_what_is_described_are_the_rollouts(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    nets = lanes.networks_of(MAZE, envs.make(MAZE.task, 0).spaces)
    params = lanes.program(nets, 1).initial_state([MAZE])['params']
    arrays = {name: array[0] for name, array in lanes.flatten(params).items() if not name.startswith(weights.UNUSED)}
    places = [starts.Place(placed.maze(MAZE, x, 0.25), True) for x in (-0.1, 0.1)]
    kind = starts.Kind('toy_maze', 2, lambda spec: places, list)
    monkeypatch.setattr(starts.weights, 'load', lambda spec, scale: arrays)
    rollouts = starts._play(MAZE, kind, 'smoke')
    assert len(rollouts) == 2
    header, found = starts.describe([MAZE], kind, [rollouts], np.full((CELLS, CELLS), 7))
    np.testing.assert_allclose(found['starts'], [[-0.1, 0.25], [0.1, 0.25]], atol=1e-6)
    assert found['seen'].tolist() == [7, 7]
    plane = tasks.get(MAZE.task).plane
    low, high = np.array(plane.low), np.array(plane.high)
    back = low + (high - low) * found['place'].cumsum(-2) / header['quanta']
    vectors = np.stack([rollout['vector'][:, :2] for rollout in rollouts])
    np.testing.assert_allclose(back[0], vectors, atol=(high - low)[0] / header['quanta'])
    sources = len(range(0, vectors.shape[1], starts.EVERY))
    assert found['imagined'].shape == (1, 2, sources, 2, starts.AHEAD // starts.STRIDE + 1, 2)
    np.testing.assert_allclose(found['score'][0], [rollout['reward'].sum() for rollout in rollouts], rtol=1e-6)
    levels = found['loss'][0].ravel()
    losses = np.concatenate([rollout['wm_loss'] for rollout in rollouts])
    assert (np.diff(levels[np.argsort(losses)].astype(int)) >= 0).all()
