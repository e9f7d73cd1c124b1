"""Environments whose episodes all begin in one chosen state, and the geometry of a body that is drawn from vectors."""

from typing import Any

import numpy as np

from paper_lib.contract import tasks
from paper_lib.contract.spec import RunSpec
from paper_lib.envs.base import Env


def maze(spec: RunSpec, x: float, y: float) -> Env:
    """The maze of a run, in which the point begins at rest in (x, y), in metres."""
    from paper_lib.envs.suites.maze import Simulator

    class Placed(Simulator):
        def reset(self, seeds: np.random.SeedSequence) -> None:
            super().reset(seeds)
            self._qpos[:] = x, y

    task = tasks.get(spec.task)
    return Env(Placed(task, **spec.options), task, 0)


def walker(spec: RunSpec, angle: float, speed: float) -> Env:
    """The walker of a run, which begins straight, its lowest point on the ground.

    It leans forward by `angle` (rad) and moves forward with `speed` (m/s).
    """
    from paper_lib.envs.suites.dmc import Simulator

    class Placed(Simulator):
        def reset(self, seeds: np.random.SeedSequence) -> None:
            super().reset(seeds)
            physics = self._env.physics
            with physics.reset_context():
                physics.named.data.qpos['rooty'] = angle
            lowest = _lowest(physics)
            with physics.reset_context():
                physics.named.data.qpos['rooty'] = angle
                physics.named.data.qpos['rootz'] = -lowest
                physics.named.data.qvel['rootx'] = speed
            self._step = self._step._replace(observation=self._env.task.get_observation(physics))

    task = tasks.get(spec.task)
    return Env(Placed(task, **spec.options), task, 0)


def _lowest(physics: Any) -> float:
    """Height of the lowest point of a body whose parts are capsules, in metres."""
    lowest = np.inf
    for number in range(1, physics.model.ngeom):  # the first one is the floor
        radius, half = physics.model.geom_size[number, :2]
        upward = physics.data.geom_xmat[number].reshape(3, 3)[2, 2]
        lowest = min(lowest, physics.data.geom_xpos[number, 2] - abs(upward) * half - radius)
    return lowest


def walker_parts() -> list[dict[str, Any]]:
    """The parts of the walker in the plane of its motion, as the simulator has them; the torso is the first.

    Each has the number of its parent (-1: none), its joint in the parent's frame and in its own, the two ends of its
    capsule in its own frame, and the radius, in metres.
    """
    from dm_control import suite

    model = suite.load('walker', 'walk', task_kwargs={'random': 0}).physics.model
    parts = []
    for body in range(1, model.nbody):
        joint = model.jnt_pos[model.body_jntadr[body]] if body > 1 else np.zeros(3)
        geom = int(model.body_geomadr[body])
        radius, half = model.geom_size[geom, :2]
        lies = abs(model.geom_quat[geom, 2]) > 0.5  # feet are turned by a quarter
        along = np.array([half, 0.0]) if lies else np.array([0.0, half])
        center = model.geom_pos[geom, [0, 2]]
        parts.append(
            {
                'parent': int(model.body_parentid[body]) - 1,
                'anchor': (model.body_pos[body] + joint)[[0, 2]].tolist(),
                'joint': joint[[0, 2]].tolist(),
                'ends': [(center - along).tolist(), (center + along).tolist()],
                'radius': float(radius),
            }
        )
    return parts
