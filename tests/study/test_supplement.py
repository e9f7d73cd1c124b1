import numpy as np
import pandas as pd
import pytest

from paper_lib.study import frames, plan, scales, supplement
from paper_lib.study.paper import PAPER_TASKS


def test_environments_follow_from_the_task_table():
    table = supplement.environments().set_index('suite')
    assert table.tasks.to_dict() == {'DMC': 18, 'Meta-World': 8, 'MinAtar': 5}
    assert table.image.to_dict() == {'DMC': '64 x 64', 'Meta-World': '-', 'MinAtar': '32 x 32'}
    assert table['action repeat'].tolist() == ['2', '2', '1']
    assert table['longest episode (agent steps)'].tolist() == ['500', '250', '2500']
    assert table['parallel environments'].tolist() == ['4'] * 3


def test_the_papers_percentages_are_of_all_tasks():
    assert sorted(supplement.PAPER) == sorted(PAPER_TASKS)
    assert np.mean(list(supplement.PAPER.values())) == pytest.approx(5.67, abs=0.005)


def test_self_generated_by_hand():
    """Of two of three tasks; 0 + 4 + 8 % of one, 20 % of the other, as added at the end of 1000 steps."""
    names = ('cup_catch-proprio', 'breakout-vision', 'window-open-proprio')
    specs = [plan.make('passive_auto', task, 0, scales.get('laptop')) for task in names]
    ends = [(names[0], 0, 0.0), (names[0], 1, 40.0), (names[0], 2, 80.0), (names[1], 0, 200.0)]
    rows = [{'task': task, 'agent': agent, 'run_id': f'{task}{seed}{agent}', 'env_step': step, 'added': part * end}
            for task, seed, end in ends for agent in ('passive_auto', 'passive_10')
            for step, part in ((1000, 1.0), (500, 0.25))]  # fmt: skip
    metrics = pd.DataFrame(rows)
    metrics.loc[metrics.agent == 'passive_10', 'added'] = 100.0
    table = supplement.self_generated(frames.Frames(tuple(specs), metrics, metrics, *[metrics[:0]] * 4))
    assert table.task.tolist() == [*names, 'average of 2']
    np.testing.assert_allclose(table['ours (%)'], [4, 20, np.nan, 12])
    assert table['lowest'].tolist()[:2] == [0, 20] and table['highest'].tolist()[:2] == [8, 20]
    assert table.n.tolist() == [3, 1, 0, 4]
    np.testing.assert_allclose(table['paper (%)'], [0.67, 1.86, 1.47, 1.265])  # the last: the mean of the first two


def test_ranks_are_compared_from_three_tasks_on():
    """Ours rise with the paper's numbers but for one exchange of neighbours among three: 1 - 6 x 2 / (3 x 8) = 0.5."""
    ends = {'cup_catch-proprio': 20.0, 'window-open-proprio': 10.0, 'breakout-vision': 40.0}
    specs = [plan.make('passive_auto', task, 0, scales.get('laptop')) for task in ends]
    rows = [{'task': task, 'agent': 'passive_auto', 'run_id': task, 'env_step': 1000, 'added': end}
            for task, end in ends.items()]  # fmt: skip
    metrics = pd.DataFrame(rows)
    of_three = frames.Frames(tuple(specs), metrics, metrics, *[metrics[:0]] * 4)
    assert supplement.agreement(of_three) == (
        "Spearman's rank correlation of ours and the paper's over these 3 tasks is 0.50."
    )
    assert supplement.agreement(of_three.of(list(ends)[:2], 'task')) == ''


def test_nothing_run_yet():
    specs = [plan.make('passive_auto', 'cup_catch-proprio', 0, scales.get('laptop'))]
    empty = pd.DataFrame({'task': [], 'agent': [], 'run_id': [], 'env_step': [], 'added': []})
    table = supplement.self_generated(frames.Frames(tuple(specs), *[empty] * 6))
    assert table.n.tolist() == [0, 0]
