"""The rooms of the study, read from its imports: they only go down, and they run in no circle."""

import ast
import graphlib
from pathlib import Path

import pytest

from paper_lib import study
from paper_lib.study import ROOMS

FOLDER = Path(study.__file__).parent
PREFIX = 'paper_lib.study'
MODULES = sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != '__init__')
FLOOR = {module: floor for floor, modules in enumerate(ROOMS.values()) for module in modules}
ROOM = {module: room for room, modules in ROOMS.items() for module in modules}
DRAWS = ('panels', 'grids', 'overview', 'episodes', 'figures')  # what a figure is drawn with


def imported(module: str) -> set[str]:
    """The modules of the study that a module imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse((FOLDER / f'{module}.py').read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == PREFIX:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module.startswith(f'{PREFIX}.'):
            found.add(node.module.split('.')[2])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split('.')[2] for alias in node.names if alias.name.startswith(f'{PREFIX}.')}
    return found


def test_every_module_is_in_one_room():
    """A new module is named in ROOMS of paper_lib/study/__init__.py."""
    assert sorted(module for modules in ROOMS.values() for module in modules) == MODULES


@pytest.mark.parametrize('module', MODULES)
def test_imports_go_down(module):
    for other in imported(module):
        words = f'{module} (room {ROOM[module]}) imports {other} (room {ROOM[other]}), which is above it'
        assert FLOOR[other] <= FLOOR[module], words


def test_imports_run_in_no_circle():
    graph = {module: imported(module) for module in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which lists the circle
    assert sorted(order) == MODULES


@pytest.mark.parametrize('module', DRAWS)
def test_a_figure_takes_frames_and_nothing_else(module):
    """What draws reads no archive, knows no folder, and plans no run."""
    assert not imported(module) & {'archive', 'extract', 'paths', 'plan', 'scales', 'parameters'}
