"""Probe environments: one for each thing that an agent must learn, through the whole loop.

A few hundred updates of a tiny model. The bounds lie far from what was measured with six seeds, because a
run's last bits depend on the machine: seeds are fixed, so that on one machine a test always passes or never.
"""

import numpy as np
import tiny

from paper_lib.contract.spec import ModelSpec
from paper_lib.data.store import Store
from paper_lib.envs.base import Spaces
from paper_lib.run import train

DISCOUNT = 0.8
MODEL = ModelSpec(deter=32, stoch=4, classes=4, units=32, layers=1, mlp_units=32, mlp_layers=1, bins=41, batch=8,
                  length=8, horizon=4, discount_horizon=1 / (1 - DISCOUNT), free_nats=0.0, entropy=1e-3,
                  ensemble=2, probe_units=8)  # fmt: skip


class Probe:
    """What the probes share: one program serves all, so their observations and actions have one shape."""

    spaces = Spaces((3,), None, action=2, discrete=True)

    def reset(self, seeds):
        self.cue = np.random.default_rng(seeds).choice((-1, 1))
        self.steps, self.right = 0, True

    def act(self, action):
        self.steps += 1
        self.right = self.right and action == (self.cue > 0)
        return self.result()

    def observe(self):
        return {'vector': np.array([self.cue, self.steps, self.right], np.float32)}


class Constant(Probe):
    """Pays 1 for ever, and looks the same for ever."""

    def result(self):
        return 1.0, False, False

    def observe(self):
        return {'vector': np.zeros(3, np.float32)}


class Delayed(Probe):
    """Pays 1 at its end, four steps away."""

    def result(self):
        over = self.steps == 4
        return float(over), over, over


class OneChoice(Probe):
    """Pays 1 for the action that the cue names."""

    def result(self):
        return float(self.right), True, True


class TwoChoices(Probe):
    """Pays 1 at the end of two steps, for the action that the cue names in both."""

    def result(self):
        over = self.steps == 2
        return float(over and self.right), over, over


def trained(world, folder):
    """Last metrics and traces of a run in this world."""
    spec = tiny.run(tiny.task(world, limit=10, count=4), model=MODEL, budget=1400, eval_every=1400, eval_episodes=64,
                    prefill=200, chunk=20, lr_model=3e-3, lr_actor=3e-3, lr_critic=3e-3)  # fmt: skip
    store = Store(folder)
    train.train([spec], store)
    return store.metrics(spec).iloc[-1], store.traces(spec)


def test_the_value_of_a_constant_reward(tmp_path):
    """1 / (1 - discount) = 5, also at the time limit. Measured 4.9 to 5.1; a critic that learned nothing says 0."""
    _, traces = trained(Constant, tmp_path)
    np.testing.assert_allclose(traces['value'], 1 / (1 - DISCOUNT), atol=1)


def test_the_value_of_a_delayed_reward(tmp_path):
    """It grows by 1 / discount a step until the reward, from 0.51 to 1. Measured within 0.07."""
    _, traces = trained(Delayed, tmp_path)
    np.testing.assert_allclose(traces['value'].mean(0)[:4], DISCOUNT ** np.arange(3, -1, -1), atol=0.2)


def test_a_choice(tmp_path):
    """Measured 0.94 to 0.98; a policy that learned nothing gets 0.5."""
    assert trained(OneChoice, tmp_path)[0]['score'] > 0.75


def test_a_choice_that_pays_after_another(tmp_path):
    """Measured 0.91 to 0.98; a policy that learned nothing gets 0.25."""
    assert trained(TwoChoices, tmp_path)[0]['score'] > 0.7
