"""Point-mass maze, `reach_bottom_right` of ExORL (arXiv:2201.13425), seen as a vector or from above.

It is written from a description of the task and uses the MuJoCo bindings directly, which
makes it several times as fast as dm_control. It differs from the original in two ways. The
start follows from the episode's seed; the original draws it from numpy's global generator.
The radius of the goal can be set. The sky is left out, because the camera does not see it.
"""

import math

import numpy as np

from paper_lib.contract import maze_layout as layout
from paper_lib.contract.plane import Plane
from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs.base import Spaces

_WALL = '<geom name="wall{}" type="box" pos="{} {} {h}" size="{} {} {h}" rgba=".5 .5 .5 .3"/>'
_BOUND = '<geom name="{}" type="plane" pos="{} {} {h}" zaxis="{} {} 0" size="{} {} {h}" rgba=".3 .5 .7 1"/>'
_MODEL = """
<mujoco model="point mass maze">
  <option timestep="0.02"/>
  <visual>
    <headlight ambient=".4 .4 .4" diffuse=".8 .8 .8" specular=".1 .1 .1"/>
    <quality shadowsize="2048"/>
  </visual>
  <asset>
    <texture name="grid" type="2d" builtin="checker" rgb1=".1 .2 .3" rgb2=".2 .3 .4" width="300" height="300"
             mark="edge" markrgb=".2 .3 .4"/>
    <material name="grid" texture="grid" texuniform="true" reflectance=".2"/>
  </asset>
  <worldbody>
    <light pos="0 0 1"/>
    <camera name="fixed" pos="0 0 .75"/>
    <geom name="floor" type="plane" size="{arena} {arena} .1" material="grid"/>
    {bounds}
    {walls}
    <site name="goal" pos="{goal[0]} {goal[1]} {radius}" size="{goal_radius}" rgba=".6 .3 .3 1"/>
    <body name="mass" pos="0 0 {radius}">
      <joint name="x" type="slide" axis="1 0 0" limited="true" range="-{reach} {reach}" damping="1"/>
      <joint name="y" type="slide" axis="0 1 0" limited="true" range="-{reach} {reach}" damping="1"/>
      <geom name="mass" type="sphere" size="{radius}" mass=".3" rgba=".7 .5 .3 1"/>
    </body>
  </worldbody>
  <tendon>
    <fixed name="x"><joint joint="x" coef="1"/></fixed>
    <fixed name="y"><joint joint="y" coef="1"/></fixed>
  </tendon>
  <actuator>
    <motor name="x" tendon="x" gear=".1" ctrllimited="true" ctrlrange="-1 1"/>
    <motor name="y" tendon="y" gear=".1" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>"""


def model_xml(goal_radius: float) -> str:
    """The MJCF of the maze, generated from maze_layout; `goal_radius` in metres."""
    a, h = layout.ARENA, layout.WALL_HALF_HEIGHT
    walls = [_WALL.format(i, x, y, half_x, half_y, h=h) for i, (x, y, half_x, half_y) in enumerate(layout.WALLS)]
    bounds = [_BOUND.format(*row, h=h) for row in (
        ('left', -a, 0, 1, 0, h, a), ('right', a, 0, -1, 0, h, a),
        ('bottom', 0, -a, 0, 1, a, h), ('top', 0, a, 0, -1, a, h),
    )]  # fmt: skip
    return _MODEL.format(
        bounds='\n    '.join(bounds), walls='\n    '.join(walls), arena=a, reach=layout.REACH,
        radius=layout.MASS_RADIUS, goal=layout.GOAL, goal_radius=goal_radius,
    )  # fmt: skip


def reward(x: float, y: float, ux: float, uy: float, goal_radius: float) -> float:
    """Reward in [0, 1] of being at (x, y) [m] after a control step with the action (ux, uy) in [-1, 1]^2.

    near x small_control: `near` is 1 up to `goal_radius` [m] and falls as a Gaussian to 0.1
    at twice that; `small_control` is (mean(1 - u^2) + 4) / 5.
    """
    d = math.hypot(x - layout.GOAL[0], y - layout.GOAL[1])  # mass and goal have the same height
    beyond = max(0.0, d / goal_radius - 1)
    near = 0.1 ** (beyond * beyond)
    small_control = (1 - (ux * ux + uy * uy) / 2 + 4) / 5
    return near * small_control


class Simulator:
    """Simulator of the maze; see base.Env for its methods.

    The vector is position x, y [m] and velocity x, y [m/s].

    The episode never ends by itself: its 1000 control steps (20 s) are the task's time
    limit.
    """

    def __init__(self, task: Task, goal_radius: float = layout.GOAL_RADIUS, render: str = 'fast'):
        import mujoco

        from paper_lib.envs.render import renderer

        self._mujoco = mujoco
        self._goal_radius = goal_radius
        self._model = mujoco.MjModel.from_xml_string(model_xml(goal_radius))
        self._renderer = renderer(task, render, self._model, camera=0) if task.rendered else None
        self.spaces = Spaces((), self._renderer.shape, 2, place=2) if self._renderer else Spaces((2, 2), None, 2)
        self._data = mujoco.MjData(self._model)
        self._qpos, self._qvel, self._ctrl = self._data.qpos, self._data.qvel, self._data.ctrl  # views

    def reset(self, seeds: np.random.SeedSequence) -> None:
        self._mujoco.mj_resetData(self._model, self._data)  # clears the solver's warm start too
        low, high = np.transpose(layout.START)
        self._qpos[:] = np.random.default_rng(seeds).uniform(low, high)
        self._mujoco.mj_forward(self._model, self._data)

    def act(self, action: np.ndarray) -> tuple[float, bool, bool]:
        self._ctrl[:] = action
        self._mujoco.mj_step(self._model, self._data)  # positions in data other than qpos lag one step behind
        return reward(*self._qpos.tolist(), *action.tolist(), self._goal_radius), False, False

    def observe(self) -> dict[str, np.ndarray]:
        if self._renderer:
            self._mujoco.mj_kinematics(self._model, self._data)
            return {'image': self._renderer.draw(self._model, self._data), 'place': self._qpos.astype(np.float32)}
        return {'vector': np.concatenate([self._qpos, self._qvel]).astype(np.float32)}


FLOOR = Plane(('x (m)', 'y (m)'), (-layout.ARENA, -layout.ARENA), (layout.ARENA, layout.ARENA))


def _task(obs):
    return Task(f'point_mass_maze-{obs}', 'maze', 'reach_bottom_right', obs, repeat=2, limit=500, plane=FLOOR)


register(
    Suite(
        'maze',
        Simulator,
        (_task('proprio'), _task('vision')),
        packages=('mujoco==3.3.0',),
        options=('goal_radius',),
        highest=1.0,
        rendered=True,
    )
)
