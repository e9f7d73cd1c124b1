"""What works on this machine, and what to do about what does not. Standard library only.

Whatever could hang, crash or print is tried in a process of its own.
"""

import dataclasses
import importlib.metadata as metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from paper_lib import machine

FREE_GB = 5  # room that the runs of scale laptop are sure to fit in
TIMEOUT = 120  # seconds for one probe; the first import from a cold disk is slow
LOCK = Path(__file__).resolve().parents[2] / 'requirements.lock'
EXTRAS = {'': 'analysis', 'train': 'training', 'notebooks': 'notebooks'}

# Debian's package of each library that a Python package here may find missing.
LIBRARIES = {
    'libEGL.so.1': 'libegl1',
    'libGL.so.1': 'libgl1',
    'libOSMesa.so.8': 'libosmesa6',
    'libgomp.so.1': 'libgomp1',
    'libstdc++.so.6': 'libstdc++6',
}

PROBES = {
    'dm_control': """
from dm_control import suite
env = suite.load('walker', 'walk')
env.reset()
env.step(env.action_spec().minimum)""",
    'metaworld': """
import metaworld
benchmark = metaworld.MT1('window-open-v3', seed=0)
env = benchmark.train_classes['window-open-v3']()
env.set_task(benchmark.train_tasks[0])
env.reset()
env.step([0.0, 0.0, 0.0, 0.0])""",
    'minatar': """
import minatar
env = minatar.Environment('breakout')
env.reset()
env.act(0)""",
    'render': """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size=".1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 64, 64)
renderer.update_scene(data)
assert renderer.render().max() > 0, 'the picture is black'
from OpenGL import GL
print(GL.glGetString(GL.GL_RENDERER).decode())""",
    'jax': """
import jax
x = jax.numpy.ones((64, 64))
assert (x @ x)[0, 0] == 64, 'a matrix product is wrong'
print(jax.__version__, 'on', jax.default_backend(), jax.devices()[0].device_kind)""",
    'kernel': """
from jupyter_client.kernelspec import KernelSpecManager
print(KernelSpecManager().get_kernel_spec('python3').resource_dir)""",
}


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the doctor's report; `todo` says what to do and is empty when `ok`."""

    name: str
    ok: bool
    detail: str
    todo: str = ''


def checks(runs: Path) -> Iterator[Check]:
    """Every check, each yielded when it is done (some take seconds). `runs` is the folder that runs are written to."""
    yield computer()
    yield python()
    yield from map(packages, EXTRAS)
    yield locked(LOCK)
    yield from map(suite, ('dm_control', 'metaworld', 'minatar'))
    yield rendering()
    yield from devices()
    yield kernel()
    yield disk(runs)


def computer() -> Check:
    size = machine.memory()
    memory = f'{size / 2**30:.0f} GiB of memory' if size else 'memory unknown'
    cores = len(machine.cores())
    return Check('machine', True, f'{platform.system()} {platform.machine()}, {cores} cores, {memory}')


def python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    ok = (3, 11) <= version < (3, 13)
    return Check('python', ok, platform.python_version(), '' if ok else 'use Python 3.11 or 3.12')


def packages(extra: str) -> Check:
    """Whether every package of one extra of pyproject.toml is installed ('' is the base)."""
    name = f'packages for {EXTRAS[extra]}'
    try:
        wanted = _requirements(extra)
    except metadata.PackageNotFoundError:
        return Check(name, False, 'paper-lib itself is not installed', 'run `make test`, or `pip install -e .`')
    found = {package: _version(package) for package in wanted}
    missing = [package for package, version in found.items() if not version]
    if missing:
        return Check(name, False, f'missing: {", ".join(missing)}', f"pip install -e '.[{extra or 'all'}]'")
    return Check(name, True, ', '.join(f'{package} {version}' for package, version in found.items()))


def locked(lock: Path) -> Check:
    """Whether the packages that are installed have the versions of the lock."""
    if not lock.exists():
        return Check('lock', True, 'not a source checkout: no requirements.lock to compare with')
    pins = dict(re.findall(r'^([\w.-]+)==([^\s;]+)', lock.read_text(), re.MULTILINE))
    found = {package: _version(package) for package in pins}
    other = [f'{p} {found[p]} (locked: {pins[p]})' for p in pins if found[p] not in (None, pins[p])]
    if other:
        return Check('lock', False, f'not as locked: {", ".join(other)}', f'pip install -r {lock.name}')
    return Check('lock', True, f'{sum(map(bool, found.values()))} packages, all as locked')


def suite(name: str) -> Check:
    """Whether one environment of a suite can be stepped."""
    ok, text = _try(name, MUJOCO_GL=os.environ.get('MUJOCO_GL', 'disabled'))
    return Check(name, ok, 'stepped one environment' if ok else text, '' if ok else _advice(text))


def rendering() -> Check:
    """The first back end that draws a picture: the one that MUJOCO_GL names, else one of `machine.RENDERERS`."""
    choice = os.environ.get('MUJOCO_GL', '')
    names = [*machine.RENDERERS] if choice in ('', 'disabled') else [choice]
    failures = []
    for name in names:
        ok, text = _try('render', MUJOCO_GL=name)
        if ok:
            return Check('rendering', True, f'MUJOCO_GL={name} draws with {text}')
        missing = ', '.join(machine.missing_libraries(name))
        failures.append(f'MUJOCO_GL={name}: {f"no {missing}" if missing else text}')
    todo = 'vision tasks need it, nothing else does; Debian, Ubuntu: apt-get install libegl1 libgl1 libgl1-mesa-dri'
    return Check('rendering', False, '; '.join(failures), todo)


def devices() -> Iterator[Check]:
    """JAX, and whether it uses the GPU where there is one."""
    ok, text = _try('jax', XLA_PYTHON_CLIENT_PREALLOCATE='false')  # a run may be using the GPU
    yield Check('jax', ok, text, '' if ok else _advice(text))
    gpu = ', '.join(machine.gpus())
    if not gpu:
        yield Check('gpu', True, 'none: training runs on the CPU, which scales smoke and laptop are made for')
    elif ok and ' on cpu' in text and 'cpu' not in os.environ.get('JAX_PLATFORMS', ''):
        todo = f"pip install 'jax[cuda12]=={_version('jax')}'"
        yield Check('gpu', False, f'{gpu}, but JAX uses the CPU', todo)
    else:
        yield Check('gpu', True, gpu)


def kernel() -> Check:
    """Whether notebooks find their kernel, python3, and find the one of this environment."""
    ok, text = _try('kernel')
    if ok and not Path(text).is_relative_to(sys.prefix):
        todo = 'set JUPYTER_PREFER_ENV_PATH=1, or remove that folder'
        return Check('notebook kernel', False, f'another python3 comes first: {text}', todo)
    return Check('notebook kernel', ok, f'python3 in {text}' if ok else text, '' if ok else _advice(text))


def disk(runs: Path) -> Check:
    """Room and write permission for runs, in the folder or in the nearest one above it that exists."""
    todo = 'free some, or name another folder in PAPER_LIB_RUNS'
    try:
        folder = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists())
        tempfile.TemporaryFile(dir=folder).close()
        free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Check('disk', False, f'{runs}: {error.strerror}', todo)
    return Check('disk', free >= FREE_GB, f'{free:.1f} GB free for {runs}', '' if free >= FREE_GB else todo)


def _requirements(extra):
    """Names of the packages that an extra of the installed paper-lib asks for."""
    marker = f'extra == "{extra}"' if extra else None
    split = (text.partition(';') for text in metadata.requires('paper-lib') or ())
    lines = [name for name, _, rest in split if (marker in rest if marker else 'extra' not in rest)]
    return [re.match(r'[\w.-]+', line).group() for line in lines]


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _try(probe, **environment):
    """Run a probe in a process of its own -> (it worked, its last line or the error's)."""
    code = PROBES[probe] + '\nimport os, sys\nsys.stdout.flush()\nos._exit(0)  # renderers complain on the way out'
    try:
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=TIMEOUT,
                              env=os.environ | environment, stdin=subprocess.DEVNULL)  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, f'no answer within {TIMEOUT} s'
    if done.returncode < 0:
        return False, f'killed by signal {-done.returncode}'
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else ''


def _advice(error):
    """What to do about a probe's last line."""
    library = re.search(r'(lib[\w+-]+\.so[.\d]*)', error)
    if library:
        package = LIBRARIES.get(library[1])
        return f'Debian, Ubuntu: apt-get install {package}' if package else f'install the system library {library[1]}'
    if 'No module named' in error:
        return "pip install -e '.[all]'"
    return f'install the locked versions: pip install -r {LOCK.name}'
