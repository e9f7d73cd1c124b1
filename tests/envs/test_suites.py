"""The door for suites: how they are found and registered, and that one from outside the package trains."""

import dataclasses
import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from paper_lib import cli, envs
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.data.store import Store
from paper_lib.study import plan, scales
from paper_lib.study.paper import PAPER_TASKS

HERE = Path(__file__).parent
POINT = 'point_left-proprio'
FEW = {'budget': 320, 'eval_every': 160, 'eval_episodes': 1, 'prefill': 80, 'chunk': 20, 'ratio': 0.05}


@pytest.fixture
def registry(monkeypatch):
    """Suites that a test registers are forgotten after it, and those of other tests within it.

    Modules that it names are looked for anew.
    """
    built_in = {}
    for name, suite in tasks.suites().items():
        if suite.simulator.__module__.startswith(tasks.BUILT_IN):
            built_in[name] = suite
    listed = {task.id: task for suite in built_in.values() for task in suite.tasks}
    monkeypatch.setattr(tasks, '_suites', built_in)
    monkeypatch.setattr(tasks, '_tasks', listed)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.delitem(sys.modules, 'point', raising=False)
    tasks._discover.cache_clear()
    yield
    tasks._discover.cache_clear()


@pytest.fixture
def named(registry, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_SUITES', 'point')


def python(code, **environment):
    """The output of a new process."""
    path = os.pathsep.join([str(HERE), *sys.path])
    done = subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': path} | environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# Finding them.


def test_every_file_of_the_folder_is_a_suite(registry):
    files = {path.stem for path in Path(envs.__file__).parent.glob('suites/[!_]*.py')}
    assert set(tasks.suites()) == files == {'dmc', 'gym', 'maze', 'metaworld', 'minatar', 'recording'}
    assert sorted(task.id for task in tasks.known()) == sorted(PAPER_TASKS) and len(PAPER_TASKS) == 31


def test_tasks_are_known_without_simulators():
    """And importing the package looks for none."""
    code = """
import sys
import paper_lib
assert not [name for name in sys.modules if name.startswith('paper_lib.')]
sys.modules.update(dict.fromkeys(['mujoco', 'dm_control', 'metaworld', 'minatar', 'gymnasium', 'jax', 'pandas']))
from paper_lib.contract import tasks
from paper_lib.contract.spec import RunSpec
print(len(tasks.known()), *(RunSpec(task.id).run_id for task in tasks.known()))
"""
    assert python(code).split() == ['31', *(RunSpec(task.id).run_id for task in tasks.known())]


def test_a_module_named_in_the_environment_registers_its_suite(named):
    assert [task.id for task in tasks.known()][-1] == POINT
    assert tasks.get(POINT).highest == 40


def test_an_entry_point_registers_its_suite(registry, monkeypatch):
    point = importlib.metadata.EntryPoint('mine', 'point', 'paper_lib.suites')
    monkeypatch.setattr(importlib.metadata, 'entry_points', lambda group: [point] if group == point.group else [])
    assert tasks.get(POINT).suite == 'point'


@pytest.mark.parametrize('module, text', [('none_such', 'ModuleNotFoundError'), ('broken', 'ZeroDivisionError')])
def test_a_module_that_does_not_import_is_one_line(registry, monkeypatch, tmp_path, capsys, module, text):
    (tmp_path / 'broken.py').write_text('1 / 0')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PAPER_LIB_SUITES', f'point, {module}')
    for _ in range(2):  # not only the first time
        assert cli.main(['tasks']) == 2
        line = capsys.readouterr().err
        assert line.startswith(f'error: PAPER_LIB_SUITES: the module {module!r} does not import ({text}')
        assert line.count('\n') == 1


# Registering them.


def test_names_and_ids_are_taken_once(registry):
    point = importlib.import_module('point')
    suite = tasks.suites()['point']
    tasks.register(dataclasses.replace(suite))  # a module that is imported under two names
    with pytest.raises(UserError, match="suite='point': another suite has this name"):
        tasks.register(dataclasses.replace(suite, tasks=()))
    other = dataclasses.replace(point.TASK, suite='other')
    with pytest.raises(UserError, match=f'task={POINT!r}: suite point has a task of this id'):
        tasks.register(dataclasses.replace(suite, name='other', tasks=(other,)))
    with pytest.raises(UserError, match="suite='point': must be 'third' in the task point_left-proprio"):
        tasks.register(dataclasses.replace(suite, name='third'))
    assert set(tasks.suites()) - {'dmc', 'gym', 'maze', 'metaworld', 'minatar', 'recording'} == {'point'}


def test_facts_of_a_task_are_its_suites(registry):
    importlib.import_module('point')
    tasks.register(dataclasses.replace(tasks.suites()['point'], options=('goal_radius',), highest=2.0, rendered=True))
    task = tasks.get(POINT)
    assert (task.highest, task.options, task.rendered) == (80, ('goal_radius',), False)
    seen = dataclasses.replace(task, obs='vision')
    assert (seen.options, seen.rendered) == (('goal_radius', 'render'), True)
    assert RunSpec(POINT, goal_radius=0.03).run_id != RunSpec(POINT).run_id
    assert RunSpec(POINT, goal_radius=0.03).options == {'goal_radius': 0.03}
    options = {'goal_radius', 'render'}
    for task in (POINT, *PAPER_TASKS):  # what a task has no use for is no part of what its runs are
        assert options & RunSpec(task).canonical().keys() == set(tasks.get(task).options)
    paper = {task: tasks.get(task).options for task in PAPER_TASKS}
    assert paper['point_mass_maze-vision'] == ('goal_radius', 'render') and paper['cup_catch-vision'] == ('render',)
    assert paper['point_mass_maze-proprio'] == ('goal_radius',) and paper['breakout-vision'] == ()


# Training on one.


def spec_of(task, agent='active', scale='smoke', **values):
    return plan.make(agent, task, 0, scales.get(scale), **values)


def test_a_suite_from_outside_trains(registry, quick, tmp_path):
    from paper_lib.run import train

    importlib.import_module('point')
    store, spec = Store(tmp_path), spec_of(POINT, **FEW)
    train.train([spec], store)
    assert store.status(spec) == 'done'
    metrics = store.metrics(spec)
    assert metrics.env_step.tolist() == [160, 320]
    assert np.isfinite(metrics.wm_loss).all() and metrics.score.between(0, tasks.get(POINT).highest).all()
    vectors = store.replay(spec).arrays['vector']
    assert vectors.shape[1:] == (4, 1) and (np.abs(vectors) <= 1).all()


def test_a_process_that_trains_finds_it(named, quick, tmp_path):
    from paper_lib.engine import ensure

    store, spec = Store(tmp_path), spec_of(POINT, **FEW)
    ensure.ensure([spec], store, workers=1)
    assert store.status(spec) == 'done'


def test_the_study_does_not_grow():
    code = """
from paper_lib.contract import tasks
from paper_lib.study import plan, reference, scales, supplement
print(len(tasks.known()))
for name, scale in scales.SCALES.items():
    for chapter in scale.chapters:
        print(name, chapter, *(spec.run_id for spec in plan.specs(chapter, scale, optional=True)))
print(*reference.pictures(), supplement.environments().to_csv())
"""
    alone, more = python(code), python(code, PAPER_LIB_SUITES='point')
    assert alone.startswith('31\n') and more == alone.replace('31', '32', 1)
    trained = {spec.task for spec in plan.specs('study', scales.get('paper'))}
    assert trained == set(PAPER_TASKS)
