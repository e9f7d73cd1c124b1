"""Meta-World (V3).

Each episode has a new goal, which the agent observes. Only figures use images.

V3 is the maintained version of the suite. Its tasks and rewards (`v2`, 0 to 10 per step)
are those of V2, ported from mujoco-py to MuJoCo's own bindings and to Gymnasium. Scores may
differ from those published for V2, because the physics is not the same to the bit, and
because a reset settles the hand and draws the goal twice.
"""

import numpy as np

from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs.base import Spaces

NAMES = (
    'assembly',
    'basketball',
    'button-press',
    'lever-pull',
    'peg-insert-side',
    'pick-place',
    'soccer',
    'window-open',
)

CAMERA = 'corner2'
NEAR = (0.75, 0.075, 0.7)  # a position from which that camera sees little but the table's top
SIZE = 39  # the hand, its opening and the object (18), the same one control step earlier (18), the goal (3)


class Simulator:
    """Simulator of one task; see base.Env for its methods.

    It never ends by itself: only the time limit does.
    """

    def __init__(self, task: Task, render: str = 'fast'):
        import metaworld

        from paper_lib.envs.render import renderer

        self._env = metaworld.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f'{task.name}-goal-observable'](seed=0)
        self._env._freeze_rand_vec = False  # else all episodes have the same goal
        self._env.seeded_rand_vec = True  # else it is drawn from numpy's global generator
        model = self._env.model
        model.camera(CAMERA).pos = NEAR
        self._renderer = renderer(task, render, model, model.camera(CAMERA).id) if task.rendered else None
        self.spaces = Spaces((), self._renderer.shape, 4) if self._renderer else Spaces((SIZE,), None, 4)

    def reset(self, seeds: np.random.SeedSequence) -> None:
        self._env.np_random = np.random.default_rng(seeds)
        self._observation, _ = self._env.reset()  # resets twice: only the first one starts from the episode before

    def act(self, action: np.ndarray) -> tuple[float, bool, bool]:
        self._observation, reward, *_ = self._env.step(action)
        return reward, False, False

    def observe(self) -> dict[str, np.ndarray]:
        if self._renderer:
            picture = self._renderer.draw(self._env.model, self._env.data)
            return {'image': np.ascontiguousarray(picture[::-1, ::-1])}  # the camera hangs upside down
        return {'vector': self._observation.astype(np.float32)}


register(
    Suite(
        'metaworld',
        Simulator,
        tuple(Task(f'{name}-proprio', 'metaworld', f'{name}-v3', 'proprio', repeat=2, limit=250) for name in NAMES),
        packages=('mujoco==3.3.0', 'metaworld==3.1.1'),
        highest=10.0,
        rendered=True,
    )
)
