import types

import numpy as np
import pandas as pd
import pytest

from paper_lib import tasks
from paper_lib.maze_layout import CELLS
from paper_lib.study import agents, frames, scales, visitation


class FakeStore:
    """What `Store` offers to the study, with numbers that follow from the spec."""

    def __init__(self, done):
        self.done = {spec.run_id for spec in done}

    def status(self, spec):
        return 'done' if spec.run_id in self.done else 'missing'

    def metrics(self, spec):
        level = ('active', 'passive', 'tandem').index(spec.agent.split('_')[0])
        noise = 0.1 * agents.pair_seed(spec)
        steps = np.arange(1, 4) * 2000
        added = {'added': steps // 20} if spec.interact_every else {}
        return pd.DataFrame({
            'update': steps // 4, 'env_step': steps, 'score': 30 - 10 * level + noise, 'wm_loss': 1 + level + noise,
            'value': 5 + level + noise, 'mc_return': 5.0, 'value_error': level + noise, 'ood_ratio': 1.0 + level,
            'recon_loss': 0.5, 'train_dyn': 1.0, **added,
        })  # fmt: skip

    def traces(self, spec):
        task = tasks.get(spec.task)
        path = np.linspace([-0.2, 0.2, 0, 0], [0.15, -0.15, 0, 0], 10, dtype=np.float32)
        visits = np.zeros((CELLS, CELLS), int)
        visits[visitation.cell(path[:, 0]), visitation.cell(path[:, 1])] = np.arange(1, 11)
        flat = np.ones((4, 10), np.float32)
        valid = flat.astype(bool)
        valid[0, 8:] = False
        found = {'reward': flat, 'wm_loss': flat + np.arange(10), 'recon_loss': flat, 'value': flat, 'valid': valid}
        if task.obs == 'vision':
            picture = np.arange(10 * 3 * task.image**2).reshape(1, 10, task.image, task.image, 3).astype(np.uint8)
            found |= {'image': picture, 'decoded': 255 - picture}
        else:
            found |= {'vector': np.tile(path, (4, 1, 1))}
        return found | ({'visits': visits} if task.suite == 'maze' else {})

    def require(self, spec):
        return types.SimpleNamespace(provenance=lambda: {'machine': 'test', 'seconds': 1.5})


@pytest.fixture
def specs():
    return agents.plan('toy_maze', scales.get('smoke'))


@pytest.fixture
def make_store():
    return FakeStore


@pytest.fixture(scope='session')
def sections(tmp_path_factory):
    """Frames of every section, complete, at scale smoke: read, never changed."""
    found, folder = {}, tmp_path_factory.mktemp('sections')
    for section in frames.TABLES:
        specs = agents.plan(section, scales.get('smoke'))
        frames.archive(specs, FakeStore(specs), folder, section)
        found[section] = frames.load(specs, folder, section)
    return found


@pytest.fixture
def full(specs, tmp_path):
    """Frames of a complete smoke study."""
    frames.archive(specs, FakeStore(specs), tmp_path / 'full')
    return frames.load(specs, tmp_path / 'full')
