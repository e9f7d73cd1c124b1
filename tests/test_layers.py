"""Imports only go down: the rooms of the package and their floors, held against its source."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / 'paper_lib').rglob('*.py'))
DEVICE = {'jax', 'flax', 'optax'}
SUITES = {'mujoco', 'dm_control', 'metaworld', 'minatar', 'gymnasium', 'OpenGL'}
FRAMES = {'pandas', 'pyarrow', 'matplotlib', 'scipy', 'seaborn'}
FILES = {'os', 'pathlib', 'io', 'json', 'shutil', 'subprocess', 'tempfile', 'pickle'}


class Room(NamedTuple):
    """What the modules of a room may import beside each other and the standard library."""

    floor: int
    rooms: set[str]  # of this package, all on lower floors
    packages: set[str]  # from elsewhere


ROOMS = {
    'ground': Room(0, set(), set()),  # the modules that stand in no folder and are not named below
    'contract': Room(1, {'ground'}, {'numpy'}),
    'envs': Room(2, {'ground', 'contract'}, {'numpy'} | SUITES),
    'data': Room(2, {'ground', 'contract'}, {'numpy', 'pandas', 'pyarrow', 'h5py', 'PIL'}),
    'agent': Room(2, {'ground', 'contract'}, {'numpy'} | DEVICE),
    'run': Room(3, {'ground', 'contract', 'envs', 'data', 'agent'}, {'numpy'} | DEVICE),
    'engine': Room(4, {'ground', 'contract', 'envs', 'data', 'run'}, {'numpy', 'tqdm'} | DEVICE),
    'study': Room(5, {'ground', 'contract'}, {'numpy'} | FRAMES),
    'explore': Room(
        6,
        {'ground', 'contract', 'envs', 'agent', 'run', 'study'},
        {'numpy', 'ipywidgets', 'safetensors'} | DEVICE | FRAMES,
    ),
    'pages': Room(6, {'ground', 'contract', 'study'}, {'nbconvert', 'nbformat', 'pygments'}),
    'notebooks': Room(
        7, {'ground', 'contract', 'study', 'pages'}, {'papermill', 'jupyter_client', 'nbclient', 'traitlets'}
    ),
    'diagnose': Room(
        7, {'ground', 'contract', 'envs', 'data', 'run', 'engine', 'study', 'explore', 'pages'}, {'numpy'}
    ),
    'cli': Room(
        8,
        {
            'ground',
            'contract',
            'envs',
            'data',
            'run',
            'engine',
            'study',
            'explore',
            'pages',
            'notebooks',
            'diagnose',
        },
        {'tyro', 'pandas'},
    ),
}


def room_of(name):
    """Room of a dotted module name of this package: a folder, a module that is a room, or the ground floor."""
    part = name.split('.')[1] if '.' in name else ''
    return part if part in ROOMS else 'ground'


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(path):
    """Dotted names that a file imports, at its top or within a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: relative import'
            top = node.module == 'paper_lib'  # `from paper_lib import spec` imports paper_lib.spec
            yield from [f'paper_lib.{alias.name}' for alias in node.names] if top else [node.module]


def members(path):
    """Dotted names that a file imports when it runs, modules that are taken from a package among them."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == 'TYPE_CHECKING':
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in (ROOT / 'paper_lib').glob('*/__init__.py')}
    assert folders <= ROOMS.keys()


@pytest.mark.parametrize('name', ROOMS)
def test_rooms_stand_on_lower_floors_only(name):
    for below in ROOMS[name].rooms:
        assert ROOMS[below].floor < ROOMS[name].floor, f'{name} must not import {below}'


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_imports_go_down(path):
    own = room_of(name_of(path))
    for name in imports(path):
        top = name.split('.')[0]
        if top == 'paper_lib':
            assert room_of(name) in ROOMS[own].rooms | {own}, f'{own} must not import {name}; see ROOMS'
        else:
            assert top in ROOMS[own].packages | sys.stdlib_module_names, f'{own} must not import {name}; see ROOMS'


def test_no_module_imports_itself_by_way_of_others():
    names = {name_of(path) for path in MODULES}
    graph = {}
    for path in MODULES:
        own = name_of(path)
        graph[own] = {name for name in members(path) if name in names and not own.startswith(f'{name}.')} - {own}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize('path', [p for p in MODULES if room_of(name_of(p)) == 'agent'], ids=name_of)
def test_agent_has_no_input_or_output(path):
    assert not FILES & {name.split('.')[0] for name in imports(path)}
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not {'open', 'print'} & {call.id for call in calls if isinstance(call, ast.Name)}


def test_analysis_imports_without_jax_and_simulators():
    """All of study and data, in an interpreter where those packages cannot be imported."""
    names = [name_of(path) for path in MODULES if room_of(name_of(path)) in ('ground', 'contract', 'data', 'study')]
    code = f'import sys, importlib\nsys.modules.update(dict.fromkeys({sorted(DEVICE | SUITES)}))\n'
    code += f'for name in {names}: importlib.import_module(name)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_environments_load_a_suite_only_when_asked():
    code = f'import sys, paper_lib.envs; print(*(set({sorted(SUITES)}) & sys.modules.keys()))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
