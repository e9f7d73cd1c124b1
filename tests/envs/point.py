"""A suite from outside the package: a point on a line, which is paid for being on the left."""

import numpy as np

from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs import Spaces


class Simulator:
    """The point moves by a tenth of the action within [-1, 1]."""

    spaces = Spaces((1,), None, 1)

    def __init__(self, task):
        self.place = 0.0

    def reset(self, seeds):
        self.place = np.random.default_rng(seeds).uniform(-1, 1)

    def act(self, action):
        self.place = float(np.clip(self.place + 0.1 * action[0], -1, 1))
        return (1 - self.place) / 2, False, False

    def observe(self):
        return {'vector': np.array([self.place], np.float32)}


TASK = Task('point_left-proprio', 'point', 'left', 'proprio', repeat=1, limit=40)
register(Suite('point', Simulator, (TASK,), highest=1.0))
