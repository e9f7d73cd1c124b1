"""Imports only go down, and never sideways: the layers of the package, read from its source.

A wing imports itself and the ground floor; `run` joins three wings; `cli` is above everything.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / 'paper_lib').rglob('*.py'))
DEVICE = {'jax', 'flax', 'optax'}
SUITES = {'mujoco', 'dm_control', 'metaworld', 'minatar', 'gymnasium', 'OpenGL'}
FRAMES = {'pandas', 'pyarrow', 'matplotlib', 'scipy', 'seaborn'}
FILES = {'os', 'pathlib', 'io', 'json', 'shutil', 'subprocess', 'tempfile', 'pickle'}

# layer: (layers of this package that it may import, packages from elsewhere that it may import)
LAYERS = {
    'ground': ({'ground', 'contract'}, set()),
    'contract': ({'contract'}, {'numpy'}),
    'envs': ({'ground', 'contract', 'envs'}, {'numpy'} | SUITES),
    'data': ({'ground', 'contract', 'data'}, {'numpy', 'pandas', 'pyarrow'}),
    'agent': ({'ground', 'contract', 'agent'}, {'numpy'} | DEVICE),
    'study': ({'ground', 'contract', 'study'}, {'numpy'} | FRAMES),
    'run': ({'ground', 'contract', 'envs', 'data', 'agent', 'run'}, {'numpy', 'tqdm'} | DEVICE),
    'explore': (
        {'ground', 'contract', 'envs', 'agent', 'study', 'run', 'explore'},
        {'numpy', 'ipywidgets', 'safetensors'} | DEVICE | FRAMES,
    ),
    'pages': ({'ground', 'contract', 'study', 'pages'}, {'nbconvert', 'pandas', 'pygments'}),
    'notebooks': (
        {'ground', 'contract', 'study', 'pages', 'notebooks'},
        {'papermill', 'jupyter_client', 'nbclient', 'traitlets'},
    ),
    'cli': (
        {'ground', 'contract', 'envs', 'data', 'agent', 'study', 'run', 'explore', 'pages', 'notebooks', 'cli'},
        {'tyro', 'pandas'},
    ),
}


def layer(name):
    """Layer of a dotted module name of this package: a folder, the face, or the ground floor."""
    part = name.split('.')[1] if '.' in name else ''
    return part if part in LAYERS else 'ground'


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


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_imports_go_down(path):
    own = layer(name_of(path))
    layers, packages = LAYERS[own]
    for name in imports(path):
        top = name.split('.')[0]
        if top == 'paper_lib':
            assert layer(name) in layers, f'{own} imports {name}'
        else:
            assert top in packages | sys.stdlib_module_names, f'{own} imports {name}'


@pytest.mark.parametrize('path', [p for p in MODULES if layer(name_of(p)) == 'agent'], ids=name_of)
def test_agent_has_no_input_or_output(path):
    assert not FILES & {name.split('.')[0] for name in imports(path)}
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not {'open', 'print'} & {call.id for call in calls if isinstance(call, ast.Name)}


def test_analysis_imports_without_jax_and_simulators():
    """All of study and data, in an interpreter where those packages cannot be imported."""
    names = [name_of(path) for path in MODULES if layer(name_of(path)) in ('ground', 'contract', 'data', 'study')]
    code = f'import sys, importlib\nsys.modules.update(dict.fromkeys({sorted(DEVICE | SUITES)}))\n'
    code += f'for name in {names}: importlib.import_module(name)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_environments_load_a_suite_only_when_asked():
    code = f'import sys, paper_lib.envs; print(*(set({sorted(SUITES)}) & sys.modules.keys()))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
