"""The DeepMind Control suite with vectors or images."""

from collections.abc import Iterator

import numpy as np

from paper_lib.contract.plane import Plane
from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs.base import Spaces

NAMES = {
    'cheetah_run': 'cheetah-run',
    'cup_catch': 'ball_in_cup-catch',
    'finger_turn_hard': 'finger-turn_hard',
    'hopper_hop': 'hopper-hop',
    'humanoid_walk': 'humanoid-walk',
    'quadruped_run': 'quadruped-run',
    'reacher_hard': 'reacher-hard',
    'walker_walk': 'walker-walk',
}
# Beyond the ends of a plane there is hardly a step of any run.
PLANES = {
    'cup_catch-proprio': Plane(('ball, to the side (m)', 'ball, upwards (m)'), (-0.4, 0.0), (0.4, 0.7), (2, 3)),
    'walker_walk-proprio': Plane(('height of the torso (m)', 'forward speed (m/s)'), (0.0, -3.0), (1.5, 4.0), (14, 16)),
    'cheetah_run-proprio': Plane(('pitch (rad)', 'forward speed (m/s)'), (-1.5, -3.0), (4.0, 8.0), (1, 8)),
}
CAMERAS = {'quadruped-run': 2}  # other tasks use camera 0


class Simulator:
    """Simulator of one task of the suite; see base.Env for its methods."""

    def __init__(self, task: Task, render: str = 'fast'):
        from dm_control import suite

        from paper_lib.envs.render import renderer

        self._env = suite.load(*task.name.split('-', 1), task_kwargs={'random': 0})
        spec = self._env.action_spec()
        self._middle, self._half = (spec.maximum + spec.minimum) / 2, (spec.maximum - spec.minimum) / 2
        self._keys = tuple(self._env.observation_spec())
        sizes = tuple(int(np.prod(part.shape)) for part in self._env.observation_spec().values())
        model, camera = self._env.physics.model.ptr, CAMERAS.get(task.name, 0)
        self._renderer = renderer(task, render, model, camera) if task.rendered else None
        if self._renderer:
            self.spaces = Spaces((), self._renderer.shape, spec.shape[0])
        else:
            self.spaces = Spaces(sizes, None, spec.shape[0])

    def reset(self, seeds: np.random.SeedSequence) -> None:
        fresh = np.random.RandomState(np.random.MT19937(seeds))
        self._env.task.random.set_state(fresh.get_state())  # the task keeps drawing from its own object
        self._step = self._env.reset()

    def act(self, action: np.ndarray) -> tuple[float, bool, bool]:
        self._step = self._env.step(self._middle + self._half * action)
        return self._step.reward, self._step.last(), self._step.discount == 0

    def observe(self) -> dict[str, np.ndarray]:
        if self._renderer:
            return {'image': self._renderer.draw(self._env.physics.model.ptr, self._env.physics.data.ptr)}
        parts = [np.ravel(self._step.observation[key]) for key in self._keys]
        return {'vector': np.concatenate(parts).astype(np.float32)}


def tasks() -> Iterator[Task]:
    """Every task with vectors and with images."""
    for short, name in NAMES.items():
        for obs in ('proprio', 'vision'):
            task_id = f'{short}-{obs}'
            yield Task(task_id, 'dmc', name, obs, repeat=2, limit=500, plane=PLANES.get(task_id))


register(
    Suite(
        'dmc',
        Simulator,
        tuple(tasks()),
        packages=('mujoco==3.3.0', 'dm_control==1.0.28'),
        highest=1.0,
        rendered=True,
    )
)
