"""What the repository keeps of the random policy and of the tasks' looks, and how it is made."""

import csv

import numpy as np
import pytest

from paper_lib.contract import tasks
from paper_lib.contract.errors import RunError, UserError
from paper_lib.study import reference
from paper_lib.study.paper import PAPER_TASKS


def test_every_task_has_a_random_score_below_its_highest():
    with open(reference.SCORES, newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['task'] for row in rows] == list(PAPER_TASKS)
    for row in rows:
        task = tasks.get(row['task'])
        assert int(row['episodes']) >= 20 and float(row['std']) >= 0
        assert 0 <= reference.random_score(task.id) == float(row['mean']) < (task.highest or 40) / 4
    with pytest.raises(UserError, match='nearest'):
        reference.random_score('pick-place')
    with pytest.raises(UserError, match='has no random score'):
        reference.random_score('gym:Pendulum-v1')


def test_every_task_has_a_picture():
    pictures, sizes = reference.pictures(), {task.short: task.image for task in map(tasks.get, PAPER_TASKS)}
    assert list(pictures) == list(sizes) and len(sizes) == 22
    for name, picture in pictures.items():
        assert picture.shape == (sizes[name], sizes[name], 3) and picture.dtype == np.uint8
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


def test_damaged_files_are_named(tmp_path, monkeypatch):
    for name, call in (('SCORES', lambda: reference.random_score('soccer-proprio')), ('PICTURES', reference.pictures)):
        path = tmp_path / name
        monkeypatch.setattr(reference, name, path)
        for content in (None, b'', b'PK', b'task,mean\n'):
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(RunError, match=f'{name}: missing or damaged'):
                call()


def test_scores_are_measured_once_for_what_is_seen_in_two_ways():
    pytest.importorskip('jax')
    from paper_lib.run import reference as measure

    chosen = ['point_mass_maze-proprio', 'point_mass_maze-vision', 'breakout-vision']
    rows = list(measure.random_scores(chosen, 2))
    assert [row['task'] for row in rows] == chosen and [row['episodes'] for row in rows] == [2, 2, 20]
    assert rows[0]['mean'] == rows[1]['mean'] and 0 < rows[2]['mean'] < 2 and rows[2]['std'] > 0
    assert rows == list(measure.random_scores(chosen, 2))
