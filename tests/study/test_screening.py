"""The screening's table follows from the curves of its runs."""

import pandas as pd
import pytest

from paper_lib.study import paths, screening


def test_tasks_are_included_by_the_share_of_their_last_fifth(monkeypatch, tmp_path):
    """Highest: 1,000 in the Control Suite, 5,000 in Meta-World. Random actions: 100."""
    curves = []
    for task, last in (('cup_catch-proprio', 324.0), ('window-open-proprio', 2550.0), ('walker_walk-proprio', 325.0)):
        scores = [0.0] * 8 + [last - 50, last + 50]
        curves.append(pd.DataFrame({'task': task, 'seed': 102, 'env_step': range(10), 'score': scores}))
    other = curves[0].assign(seed=100, score=1000.0)
    (tmp_path / 'docs').mkdir()
    pd.concat([*curves, other]).to_csv(tmp_path / screening.CURVES)
    monkeypatch.setattr(paths, 'root', lambda: tmp_path)
    monkeypatch.setattr(screening.reference, 'random_score', lambda task: 100.0)
    rows = screening.rows()
    assert rows.task.tolist() == ['window-open', 'walker_walk', 'cup_catch']
    assert rows.included.tolist() == ['yes', 'yes', 'no']
    assert rows.share.astype(float).tolist() == pytest.approx([0.5, 0.25, 224 / 900], abs=5e-4)


def test_every_screened_task_ran_to_its_end():
    trials = pd.read_csv(paths.root() / screening.CURVES)
    assert trials[trials.seed == screening.SEED].groupby('task').size().eq(30).all()
