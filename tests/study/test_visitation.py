import numpy as np
import pandas as pd

from paper_lib.contract import tasks
from paper_lib.contract.plane import CELLS, Plane
from paper_lib.study import visitation

FLOOR = tasks.get('point_mass_maze-proprio').plane


def test_cells_of_the_maze_are_one_centimetre_and_closed_at_the_border():
    x = [-0.3, -0.295, -0.285, 0.0, 0.29, 0.3]
    assert FLOOR.cells(np.stack([x, x], 1)).tolist() == [[cell, cell] for cell in (0, 0, 1, 30, 59, 59)]


def test_a_path_may_lie_in_any_two_components():
    plane = Plane(('height', 'speed'), (0.0, -2.0), (3.0, 4.0), (14, 16))
    steps = pd.DataFrame({'v14': [0.01, 2.99], 'v15': 9.0, 'v16': [-1.99, 5.0]})
    grid = plane.visits(visitation.points(steps, plane))
    assert np.argwhere(grid).tolist() == [[0, 0], [CELLS - 1, CELLS - 1]]
    assert visitation.along(steps, grid, plane).tolist() == [1, 1]


def test_along_counts_every_covered_cell_once():
    grid = np.zeros((CELLS, CELLS), int)
    grid[0, 59], grid[1, 59] = 5, 8
    steps = pd.DataFrame({'v0': [-0.285, -0.295, -0.295, -0.295], 'v1': [0.295] * 4})
    assert visitation.along(steps, grid, FLOOR).tolist() == [8, 5]


def test_table_by_hand(full):
    # The path has ten cells with counts 1 to 10; episode 0 ends after eight of them, the other three do not.
    table = visitation.table(full, ['active', 'passive', 'tandem']).set_index('agent')
    assert table.paper.tolist() == [608.5, 12.5, 9.0]
    assert table.episodes.tolist() == [8, 8, 8]
    assert table.shown.tolist() == [4.5] * 3
    assert table['median of all'].tolist() == [5.5] * 3
    assert table['mean of all'].tolist() == [5.25] * 3


def test_medians_have_one_row_per_episode(full):
    found = visitation.medians(full)
    assert len(found) == 4 * len(full.specs)


def test_median_is_over_cells_not_steps(specs, full):
    grid = np.full((CELLS, CELLS), 4)
    waiting = pd.DataFrame({'v0': [-0.2, -0.1] + [0.1] * 50, 'v1': [0.2] * 52})
    across, up = FLOOR.cells([[0.1, 0.2]])[0]
    grid[across, up] = 1000
    assert np.median(visitation.along(waiting, grid, FLOOR)) == 4
