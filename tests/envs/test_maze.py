"""The point-mass maze: geometry, reward, walls, determinism."""

import numpy as np
import pytest

from paper_lib import envs
from paper_lib.contract import maze_layout as layout

mujoco = pytest.importorskip('mujoco')
TASK = 'point_mass_maze-proprio'


@pytest.fixture
def env():
    return envs.make(TASK, 0)


@pytest.fixture
def model():
    from paper_lib.envs.suites import maze

    return mujoco.MjModel.from_xml_string(maze.model_xml(layout.GOAL_RADIUS))


def reset(env):
    return env.step({'action': None, 'reset': True})


def step(env, *action):
    return env.step({'action': np.array(action, np.float32), 'reset': False})


def place(env, x, y):
    """Put the mass at rest at (x, y)."""
    reset(env)
    env._simulator._qpos[:] = x, y
    env._simulator._qvel[:] = 0


def play(env, actions):
    steps = [reset(env)] + [step(env, *action) for action in actions]
    return np.array([[*s['vector'], s['reward']] for s in steps])


def random_actions(n, seed=0, hold=10):
    return np.random.default_rng(seed).uniform(-1, 1, (n // hold, 2)).repeat(hold, 0)


# Geometry


def test_compiled_geometry_is_the_layout(model):
    walls = [model.geom(f'wall{i}') for i in range(len(layout.WALLS))]
    for geom, (x, y, half_x, half_y) in zip(walls, layout.WALLS, strict=True):
        np.testing.assert_allclose(geom.pos, [x, y, 0.02])
        np.testing.assert_allclose(geom.size, [half_x, half_y, 0.02])
        np.testing.assert_allclose(geom.quat, [1, 0, 0, 0])
    np.testing.assert_allclose(model.geom('floor').size[:2], layout.ARENA)
    np.testing.assert_allclose(model.geom('mass').size[0], layout.MASS_RADIUS)
    np.testing.assert_allclose(model.jnt_range, [[-layout.REACH, layout.REACH]] * 2)
    np.testing.assert_allclose(model.site('goal').pos, [*layout.GOAL, 0.01])
    np.testing.assert_allclose(model.site('goal').size[0], layout.GOAL_RADIUS)
    assert model.ngeom == 6 + len(layout.WALLS)


def test_layout_holds_the_published_numbers():
    assert layout.ARENA == 0.3 and layout.REACH == 0.29 and layout.MASS_RADIUS == 0.01
    assert set(layout.WALLS) == {(0, 0, 0.18, 0.02), (0, 0, 0.02, 0.18)}
    assert layout.GOAL == (0.15, -0.15) and layout.GOAL_RADIUS == 0.015
    assert layout.START == ((-0.29, -0.15), (0.15, 0.29))


def test_boundary_planes_face_inwards(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    normals = {'left': (1, 0, 0), 'right': (-1, 0, 0), 'bottom': (0, 1, 0), 'top': (0, -1, 0)}
    for name, normal in normals.items():
        geom = data.geom(name)
        np.testing.assert_allclose(geom.xmat.reshape(3, 3)[:, 2], normal, atol=1e-12)
        np.testing.assert_allclose(geom.xpos, [*(-layout.ARENA * np.array(normal[:2])), 0.02], atol=1e-12)


def test_dynamics_constants(model):
    assert model.opt.timestep == 0.02
    assert model.body('mass').mass == pytest.approx(0.3)
    np.testing.assert_allclose(model.dof_damping, 1)
    np.testing.assert_allclose(model.actuator_gear[:, 0], 0.1)
    np.testing.assert_allclose(model.actuator_ctrlrange, [[-1, 1]] * 2)


# Episodes


def test_spaces_and_start_box(env):
    assert env.spaces == envs.Spaces((2, 2), None, 2, False)
    starts = np.array([reset(env)['vector'] for _ in range(300)])
    (x_low, x_high), (y_low, y_high) = layout.START
    assert (starts[:, 2:] == 0).all()
    for values, low, high in ((starts[:, 0], x_low, x_high), (starts[:, 1], y_low, y_high)):
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
    assert abs(np.corrcoef(starts[:, 0], starts[:, 1])[0, 1]) < 0.2
    assert len(np.unique(starts[:, 0])) == 300


def test_same_seed_same_bits_other_seed_differs():
    actions = random_actions(200)
    first, again, other = (play(envs.make(TASK, seed), actions) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != other[0]).any()


def test_seeking_an_episode_equals_playing_up_to_it():
    played, sought = envs.make(TASK, 5), envs.make(TASK, 5)
    for k in range(3):
        play(played, random_actions(300 - 100 * k, seed=k, hold=50))
    sought.episode = 3
    actions = random_actions(400, seed=9, hold=50)
    np.testing.assert_array_equal(play(played, actions), play(sought, actions))


def test_episode_ends_at_row_500_without_being_terminal(env):
    reset(env)
    for _ in range(499):
        assert not step(env, 0, 0)['is_last']
    last = step(env, 0, 0)
    assert last['is_last'] and not last['is_terminal'] and not last['is_first']
    with pytest.raises(RuntimeError):
        step(env, 0, 0)


# Reward


@pytest.mark.parametrize('d, near', [(0, 1), (0.0149, 1), (0.02, 0.7743), (0.025, 0.3594), (0.03, 0.1),
                                     (0.04, 0.00167), (0.05, 3.6e-6)])  # fmt: skip
def test_reward_at_rest_is_summed_over_the_repeat(env, d, near):
    for angle in (0, 2, 4):
        place(env, layout.GOAL[0] + d * np.cos(angle), layout.GOAL[1] + d * np.sin(angle))
        assert step(env, 0, 0)['reward'] == pytest.approx(2 * near, rel=0.01)


@pytest.mark.parametrize(
    'action, want', [((0, 0), 1), ((0.5, -0.5), 0.95), ((1, -1), 0.8), ((1, 0), 0.9), ((7, 7), 0.8)]
)
def test_small_control(env, action, want):
    place(env, *layout.GOAL)
    assert step(env, *action)['reward'] == pytest.approx(2 * want)


@pytest.mark.parametrize('radius', [layout.GOAL_RADIUS, 0.05])
def test_reward_is_the_suites_tolerance(radius):
    pytest.importorskip('dm_control')
    from dm_control.utils import rewards

    from paper_lib.envs.suites import maze

    rng = np.random.default_rng(0)
    for _ in range(200):
        (x, y), u = rng.normal(layout.GOAL, 1.3 * radius), rng.uniform(-1, 1, 2)
        distance = np.linalg.norm([x - layout.GOAL[0], y - layout.GOAL[1]])
        near = rewards.tolerance(distance, bounds=(0, radius), margin=radius)
        small = rewards.tolerance(u, margin=1, value_at_margin=0, sigmoid='quadratic').mean()
        assert maze.reward(x, y, *u, radius) == pytest.approx(near * (small + 4) / 5, rel=1e-9)


def test_reward_and_vector_are_of_the_state_after_the_step(env):
    from paper_lib.envs.suites import maze

    place(env, 0.125, -0.15)
    env._simulator._qvel[:] = 0.1, 0  # 0.002 m per control step at full force
    record = step(env, 1, 0)
    assert record['vector'][0] == pytest.approx(0.129, abs=1e-6)
    want = sum(maze.reward(x, -0.15, 1, 0, layout.GOAL_RADIUS) for x in (0.127, 0.129))
    assert record['reward'] == pytest.approx(want, rel=1e-4)


def test_a_wider_goal_rewards_from_further_away_and_changes_nothing_else(env):
    wider = envs.make(TASK, 0, goal_radius=0.05)
    for each, want in ((env, 0), (wider, 2)):
        place(each, layout.GOAL[0] - 0.04, layout.GOAL[1])
        assert step(each, 0, 0)['reward'] == pytest.approx(want, abs=0.01)
    actions = random_actions(100, hold=25)
    env.episode = wider.episode = 3
    assert (play(env, actions)[:, :4] == play(wider, actions)[:, :4]).all()


# Physics


def test_terminal_speed_and_time_constant(env):
    place(env, -0.25, 0.2)
    speeds = [float(step(env, 1, 0)['vector'][2]) for _ in range(50)]
    assert speeds[7] == pytest.approx(0.1 * (1 - np.exp(-0.32 / 0.3)), rel=0.03)  # 0.32 s; the floor does not brake
    assert speeds[-1] == pytest.approx(0.1, rel=0.01)


def test_walls_and_boundaries_stop_the_mass(env):
    rng = np.random.default_rng(0)
    softness = 0.002  # MuJoCo's default contacts give way by 1.2 mm at full speed
    touched = np.zeros(len(layout.WALLS) + 1, bool)
    for _ in range(12):
        place(env, *rng.uniform(0.08, 0.28, 2) * rng.choice([-1, 1], 2))
        for heading in rng.uniform(-np.pi, np.pi, 3).repeat(120):
            x, y = step(env, 2 * np.cos(heading), 2 * np.sin(heading))['vector'][:2].astype(float)
            for i, (cx, cy, half_x, half_y) in enumerate(layout.WALLS):
                gap = np.hypot(max(abs(x - cx) - half_x, 0), max(abs(y - cy) - half_y, 0)) - layout.MASS_RADIUS
                assert gap > -softness, (x, y)
                touched[i] |= gap < 0
            assert max(abs(x), abs(y)) < layout.REACH + softness
            touched[-1] |= max(abs(x), abs(y)) > layout.REACH
    assert touched.all()


def test_trajectory_equals_dm_controls_stepping(env):
    pytest.importorskip('dm_control')
    from dm_control import mujoco as theirs

    from paper_lib.envs.suites import maze

    actions = random_actions(400, hold=50)
    ours = play(env, actions)
    env.episode = 0
    reset(env)
    physics = theirs.Physics.from_xml_string(maze.model_xml(layout.GOAL_RADIUS))
    with physics.reset_context():
        physics.data.qpos[:] = env._simulator._qpos
    for row, action in enumerate(actions):
        physics.set_control(action.astype(np.float32))
        physics.step(2)
        np.testing.assert_allclose(ours[row + 1, :4], physics.get_state(), atol=1e-7)


def waypoint_controller(vector, route):
    """Action towards the first waypoint of the route; drops it when it is reached."""
    position, velocity = vector[:2].astype(float), vector[2:].astype(float)
    while len(route) > 1 and np.linalg.norm(position - route[0]) < 0.03:
        route.pop(0)
    return 20 * (np.array(route[0]) - position) - 6 * velocity


def test_scripted_waypoints_solve_the_maze(env):
    """An independent implementation had returns of 510 to 565 and first contact at agent step 218 to 245 this way."""
    returns, contacts = [], []
    for _ in range(8):
        record, route, rewards = reset(env), [(-0.22, -0.22), (0.14, -0.22), layout.GOAL], []
        while not record['is_last']:
            record = step(env, *waypoint_controller(record['vector'], route))
            rewards.append(record['reward'])
        returns.append(sum(rewards))
        contacts.append(1 + int(np.argmax(np.array(rewards) > 0.1)))
    assert min(returns) > 500 and max(returns) < 575
    assert min(contacts) >= 208 and max(contacts) <= 250


def test_random_actions_score_nothing(env):
    """The claims normalise scores by this: the mean of 40 episodes of the uniform random policy is 0."""
    rng = np.random.default_rng(0)
    total = 0.0
    for _ in range(40):
        record = reset(env)
        while not record['is_last']:
            record = step(env, *rng.uniform(-1, 1, 2))
            total += record['reward']
    assert total / 40 < 1e-6
