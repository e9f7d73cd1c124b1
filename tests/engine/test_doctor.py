"""The doctor names what is wrong and what to do, on machines made to be wrong."""

import errno
import subprocess
import tempfile

import pytest

from paper_lib import machine
from paper_lib.engine import doctor


def test_this_machine_gets_a_report(tmp_path):
    """Every check reports; a check that fails says what to do, one that passes has nothing to add."""
    report = list(doctor.checks(tmp_path / 'runs'))
    names = {check.name for check in report}
    assert {'python', 'lock', 'dm_control', 'rendering', 'jax', 'gpu', 'notebook kernel', 'disk'} <= names
    for check in report:
        assert check.detail
        assert check.ok != bool(check.todo), check
        assert '\n' not in check.detail + check.todo


@pytest.mark.parametrize(('version', 'ok'), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)])
def test_python_is_in_range(version, ok):
    assert doctor.python(version).ok == ok


def test_missing_package_is_named(monkeypatch):
    wanted = ['numpy<2.4', 'mujoco>=3.3; extra == "train"', 'jax[cuda12] ; extra == "gpu"', 'flax ; extra == "train"']
    monkeypatch.setattr(doctor.metadata, 'requires', lambda name: wanted)
    monkeypatch.setattr(doctor, '_version', lambda package: None if package == 'mujoco' else '1')
    assert doctor.packages('') == doctor.Check('packages for analysis', True, 'numpy 1')
    check = doctor.packages('train')
    assert (check.ok, check.detail, check.todo) == (False, 'missing: mujoco', "pip install -e '.[train]'")


def test_other_version_than_locked_is_named(tmp_path, monkeypatch):
    lock = tmp_path / 'requirements.lock'
    lock.write_text("a==1.0 \\\n    --hash=sha256:00\nb==2.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(doctor, '_version', {'a': '1.0'}.get)
    assert doctor.locked(lock).ok
    monkeypatch.setattr(doctor, '_version', {'a': '1.1'}.get)
    assert doctor.locked(lock).detail == 'not as locked: a 1.1 (locked: 1.0)'
    assert doctor.locked(tmp_path / 'none').ok


@pytest.mark.parametrize(('code', 'todo'), [
    ("raise ImportError('libGL.so.1: cannot open shared object file')", 'Debian, Ubuntu: apt-get install libgl1'),
    ("raise ImportError('libodd.so.3: cannot open shared object file')", 'install the system library libodd.so.3'),
    ('import no_such_package', "pip install -e '.[all]'"),
    ("raise TypeError('an incompatible version')", 'install the locked versions: pip install -r requirements.lock'),
])  # fmt: skip
def test_broken_suite_gets_advice(monkeypatch, code, todo):
    monkeypatch.setitem(doctor.PROBES, 'minatar', code)
    check = doctor.suite('minatar')
    assert (check.ok, check.todo) == (False, todo)


def test_probe_that_crashes_or_hangs_is_a_failed_check(monkeypatch):
    monkeypatch.setitem(doctor.PROBES, 'minatar', 'import os; os.kill(os.getpid(), 11)')
    assert doctor.suite('minatar').detail == 'killed by signal 11'
    monkeypatch.setitem(doctor.PROBES, 'minatar', 'import time; time.sleep(60)')
    monkeypatch.setattr(doctor, 'TIMEOUT', 0.2)
    assert doctor.suite('minatar').detail == 'no answer within 0.2 s'


def test_unknown_back_end_is_named(monkeypatch):
    monkeypatch.setenv('MUJOCO_GL', 'crayon')
    check = doctor.rendering()
    assert not check.ok
    assert check.detail.startswith('MUJOCO_GL=crayon: ')
    assert 'crayon' in check.detail.removeprefix('MUJOCO_GL=crayon: ')


def test_without_rendering_for_vectors_every_back_end_is_tried_for_pictures(monkeypatch):
    monkeypatch.setenv('MUJOCO_GL', 'disabled')
    tried = []
    monkeypatch.setattr(doctor, '_try', lambda probe, **values: tried.append(values['MUJOCO_GL']) or (False, 'no'))
    assert not doctor.rendering().ok
    assert tried == ['egl', 'osmesa']


def test_missing_library_of_a_back_end_is_named(monkeypatch):
    monkeypatch.setenv('MUJOCO_GL', 'osmesa')
    monkeypatch.setitem(doctor.PROBES, 'render', 'raise OSError')
    monkeypatch.setattr(machine, '_loads', lambda library: False)
    assert doctor.rendering().detail == 'MUJOCO_GL=osmesa: no libOSMesa.so.8'


@pytest.mark.parametrize(('gpu', 'jax', 'ok'), [
    ((), "print('0.1 on cpu cpu')", True),
    (('NVIDIA H200',), "print('0.1 on gpu NVIDIA H200')", True),
    (('NVIDIA H200',), "print('0.1 on cpu cpu')", False),
])  # fmt: skip
def test_idle_gpu_is_noticed(monkeypatch, gpu, jax, ok):
    monkeypatch.delenv('JAX_PLATFORMS', raising=False)
    monkeypatch.setattr(machine, 'gpus', lambda: gpu)
    monkeypatch.setitem(doctor.PROBES, 'jax', jax)
    _, check = doctor.devices()
    assert check.ok == ok
    assert ok or 'jax[cuda12]==' in check.todo


def test_gpu_names_come_from_the_driver(monkeypatch):
    monkeypatch.setattr(machine.shutil, 'which', lambda name: name)
    answer = subprocess.CompletedProcess([], 0, 'NVIDIA H200\nNVIDIA H200\n')
    monkeypatch.setattr(machine.subprocess, 'run', lambda *_, **__: answer)
    assert machine.gpus.__wrapped__() == ('NVIDIA H200', 'NVIDIA H200')


def test_kernel_of_another_environment_is_named(monkeypatch):
    monkeypatch.setitem(doctor.PROBES, 'kernel', "print('/elsewhere/kernels/python3')")
    check = doctor.kernel()
    assert not check.ok
    assert '/elsewhere/kernels/python3' in check.detail


def test_disk_without_room_or_permission(tmp_path, monkeypatch):
    runs = tmp_path / 'not' / 'yet' / 'there'
    assert doctor.disk(runs).ok
    assert not runs.exists()
    (tmp_path / 'file').write_text('')
    assert doctor.disk(tmp_path / 'file').detail == f'{tmp_path / "file"}: Not a directory'
    monkeypatch.setattr(doctor, 'FREE_GB', 10**9)
    assert 'PAPER_LIB_RUNS' in doctor.disk(runs).todo

    def refuse(**_):
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
    assert doctor.disk(runs).detail == f'{runs}: Read-only file system'
