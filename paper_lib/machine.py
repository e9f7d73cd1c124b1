"""What this machine has: one answer to each question. Standard library only, so that every room may ask."""

import contextlib
import ctypes
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

TIMEOUT = 120  # seconds for the driver's answer; the first one after a start is slow

# The libraries that each of MuJoCo's back ends draws with.
RENDERERS = {'egl': ('libEGL.so.1', 'libGL.so.1'), 'osmesa': ('libOSMesa.so.8',)}


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def processor() -> str:
    """The processor and its features as the system describes them: compiled code is for these alone."""
    with contextlib.suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
        return '\n'.join(line for line in lines if line.startswith(('model name', 'flags', 'Features')))
    return ''


def processor_name() -> str:
    for line in processor().splitlines():
        if line.startswith('model name'):
            return line.partition(': ')[2]
    return platform.processor()


def memory() -> int | None:
    """Bytes of memory; None where the system does not tell."""
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, OSError, ValueError):  # not a POSIX system, or one that does not tell
        return None


def free_memory() -> int | None:
    """Bytes of memory that are not in use; all of it where the system does not tell."""
    with contextlib.suppress(OSError):
        fields = dict(line.split(':') for line in Path('/proc/meminfo').read_text().splitlines())
        return 1024 * int(fields['MemAvailable'].split()[0])
    return memory()


@functools.cache
def gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs as the driver's tool gives them; 'NVIDIA GPU' each where the tool is missing."""
    if not shutil.which('nvidia-smi'):
        return tuple('NVIDIA GPU' for _ in Path('/dev').glob('nvidia[0-9]*'))
    command = ['nvidia-smi', '--query-gpu=name', '--format=csv,noheader']
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.strip().splitlines()) if done.returncode == 0 else ()


def trains_on_gpu() -> bool:
    """Whether JAX will compute on a GPU: it is told without starting JAX."""
    if os.environ.get('JAX_PLATFORMS', '').startswith('cpu'):
        return False
    plugin = any(importlib.util.find_spec(f'jax_cuda{version}_plugin') for version in (12, 13))
    return plugin and bool(gpus())


def missing_libraries(back_end: str) -> list[str]:
    """The libraries of one of MuJoCo's back ends that are not on this machine."""
    return [library for library in RENDERERS.get(back_end, ()) if not _loads(library)]


def _loads(library):
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
