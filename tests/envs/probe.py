"""An environment of Gymnasium that observes a given value in given spaces, and keeps the actions it was given."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Probe(gymnasium.Env):
    """Terminates, or truncates, after `end` steps, with the reward 1 at every step."""

    def __init__(self, observation_space, value, action_space=None, end=99, truncates=False):
        self.observation_space, self.value = observation_space, value
        self.end, self.truncates = end, truncates
        self.action_space = action_space or spaces.Discrete(2)
        self.actions, self.seeds = [], []

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.seeds.append(seed)
        return self.value, {}

    def step(self, action):
        self.time += 1
        self.actions.append(action)
        ends = self.time == self.end
        return self.value, 1, ends and not self.truncates, ends and self.truncates, {}


class Forgetful(Probe):
    """Observes how many steps it made in its life: its reset leaves something behind."""

    def __init__(self):
        super().__init__(spaces.Discrete(1000), 0)

    def step(self, action):
        self.value += 1
        return super().step(action)


class Seer(Probe):
    """Observes a random picture and two random vectors."""

    def __init__(self):
        eye = spaces.Box(0, 255, (8, 8, 1), np.uint8)
        super().__init__(spaces.Dict(eye=eye, arm=spaces.Box(-1, 1, (2,)), tool=spaces.Discrete(3)), None, end=20)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def step(self, action):
        return self.look(), *super().step(action)[1:]

    def look(self):
        eye = self.np_random.integers(256, size=(8, 8, 1), dtype=np.uint8)
        arm = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return {'eye': eye, 'arm': arm, 'tool': self.np_random.integers(3)}


gymnasium.register('Probe/Forgetful-v3', Forgetful)
gymnasium.register('Probe/Seer-v0', Seer, max_episode_steps=40)
