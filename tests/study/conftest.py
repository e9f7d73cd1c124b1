import types

import numpy as np
import pandas as pd
import pytest

from paper_lib.contract import agents, quantities, tasks
from paper_lib.contract.plane import CELLS
from paper_lib.study import archive, extract, frames, offline, plan, reference, scales

SMOKE = scales.get('smoke')
FLOOR = tasks.get('point_mass_maze-proprio').plane


class FakeStore:
    """What `Store` offers to the study, with numbers that follow from the spec."""

    def __init__(self, done):
        self.done = {spec.run_id for spec in done}

    def status(self, spec):
        return 'done' if spec.run_id in self.done else 'missing'

    def metrics(self, spec):
        level = ('active', 'passive', 'tandem').index(spec.agent.split('_')[0])
        noise = 0.1 * spec.pair_seed
        steps = np.arange(1, 4) * 2000
        score = 30 - 10 * level + noise
        episodes = {quantities.column('score', episode): score + (episode - 1.5) for episode in range(4)}
        added = {'added': steps // 20} if spec.interact_every else {}
        measures = dict.fromkeys(offline.DIRECTIONS, 1.0 + level) if spec.measures else {}
        return pd.DataFrame({
            'update': steps // 4, 'env_step': steps, 'score': score, 'wm_loss': 1 + level + noise,
            'value': 5 + level + noise, 'mc_return': 5.0, 'value_error': level + noise, 'ood_ratio': 1.0 + level,
            'recon_loss': 0.5, 'train_dyn': 1.0, **episodes, **added, **measures,
        })  # fmt: skip

    def traces(self, spec):
        task = tasks.get(spec.task)
        path = np.linspace([-0.2, 0.2, *[0] * 22], [0.15, -0.15, *[0] * 22], 10, dtype=np.float32)
        visits = np.zeros((CELLS, CELLS), int)
        visits[tuple(FLOOR.cells(path[:, :2]).T)] = np.arange(1, 11)
        flat = np.ones((4, 10), np.float32)
        valid = flat.astype(bool)
        valid[0, 8:] = False
        found = {'reward': flat, 'wm_loss': flat + np.arange(10), 'recon_loss': flat, 'value': flat, 'valid': valid}
        if task.obs == 'vision':
            picture = np.arange(10 * 3 * task.image**2).reshape(1, 10, task.image, task.image, 3).astype(np.uint8)
            found |= {'image': picture, 'decoded': 255 - picture}
        if task.suite == 'maze' and task.obs == 'vision':
            found |= {'place': np.tile(path[:, :2], (4, 1, 1))}
        elif task.obs == 'proprio':
            found |= {'vector': np.tile(path, (4, 1, 1))}
        return found | ({'visits': visits} if task.plane else {})

    def require(self, spec):
        return types.SimpleNamespace(provenance=lambda: {'machine': 'test', 'seconds': 1.5})


@pytest.fixture
def specs():
    return plan.specs('toy_maze', SMOKE)


@pytest.fixture
def make_store():
    return FakeStore


@pytest.fixture(scope='session')
def chapters(tmp_path_factory):
    """Frames of every chapter, complete, at scale smoke: read, never changed."""
    found, folder = {}, tmp_path_factory.mktemp('chapters')
    for chapter in extract.CHAPTERS:
        specs = plan.specs(chapter, SMOKE)
        archive.add(specs, FakeStore(specs), folder, chapter)
        found[chapter] = archive.load(specs, folder, chapter, scale='smoke', warning=SMOKE.warning)
    return found


def number(spec) -> float:
    """A normalised score of its own for every agent and pair seed, of Active 1 on average."""
    return 1 - 0.02 * list(agents.AGENTS).index(spec.agent) + (0.1, -0.1)[spec.pair_seed]


def _made(spec):
    """Metrics, steps of an episode and pictures of one run."""
    keys = frames.keys(spec)
    at, level = np.array([2000, 4000, 6000]), number(spec) + 0.5 * (np.arange(3) - 2)
    metrics = pd.DataFrame({
        'env_step': at, 'score': reference.random_score(spec.task) + 100 * level, 'wm_loss': 4 * level + 8,
        'ood_ratio': 3 + level, 'added': at * level / 10 if spec.interact_every else np.nan, 'value': 2 + level,
        'mc_return': 1.0, 'value_error': 1 + level, 'recon_loss': 0.1, 'length': 500.0,
        **dict.fromkeys((name for name in offline.DIRECTIONS if name != offline.RIVAL), 3 - level),
    })  # fmt: skip
    loss = np.where((np.arange(40) >= 10) & (np.arange(40) < 16) & (spec.agent != 'active'), 9, 1 + np.arange(40) / 100)
    steps = pd.DataFrame({'episode': 0, 'step': np.arange(40), 'reward': level[2], 'wm_loss': loss, 'recon_loss': 0.2,
                          'value': 1.0})  # fmt: skip
    plane = tasks.get(spec.task).plane
    for component in plane.components if plane else ():
        steps[f'v{component}'] = np.linspace(0, 0.3, 40)
    visits = pd.DataFrame({'ix': [30], 'iy': [0], 'count': [5]})[: int(plane is not None)]
    side = tasks.get(spec.task).image
    views = [np.full((side, side, 3), 10 * i, np.uint8) for i in range(9)]
    pictures = pd.DataFrame({
        'step': 20 + np.arange(9), 'image': [view.tobytes() for view in views],
        'decoded': [(view + 1).tobytes() for view in views], 'height': side, 'width': side, 'shown': np.arange(9) == 4,
    })  # fmt: skip
    shown = spec.pair_seed == 0
    kept = {'metrics': metrics, 'traces': steps[: 40 * shown],
            'visits': visits, 'pictures': pictures[: 9 * shown * (tasks.get(spec.task).obs == 'vision')]}  # fmt: skip
    return {name: table.assign(**keys) for name, table in kept.items()} | {'runs': pd.DataFrame([keys])}


@pytest.fixture(scope='session')
def study():
    """Frames of chapter 'study' at scale smoke, two pair seeds, with numbers that differ by agent and seed."""
    specs = plan.specs('study', SMOKE, 2)
    parts = [_made(spec) for spec in specs]
    tables = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
    episodes = pd.DataFrame(columns=[*frames.KEYS, 'env_step', 'episode'])
    return frames.Frames(tuple(specs), episodes=episodes, scale='smoke', warning=SMOKE.warning, **tables)


@pytest.fixture
def full(specs, tmp_path):
    """Frames of a complete smoke study."""
    archive.add(specs, FakeStore(specs), tmp_path / 'full')
    return archive.load(specs, tmp_path / 'full', scale='smoke', warning=SMOKE.warning)
