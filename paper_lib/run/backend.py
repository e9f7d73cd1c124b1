"""How a process that computes with JAX is set up: threads, flags, and the folder of compiled programs."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from paper_lib import machine
from paper_lib.contract.errors import UserError

# Large pages: a program's temporary memory is new at every call, and with small pages its first touch costs as much
# as an update of a small model. One arena where one thread computes: what those that compile free then serves it.
# Several threads that compute would wait for each other.
LARGE_PAGES = 'glibc.malloc.hugetlb=1'
ONE_ARENA = f'{LARGE_PAGES}:glibc.malloc.arena_max=1'
# On a GPU, cuBLAS makes the products and chooses how by itself. XLA's own took 7 times as long with their variants
# untimed. Timing them takes minutes a program, and the winner may decide a run's last bits.
GPU_FLAGS = ('--xla_gpu_enable_triton_gemm=false', '--xla_gpu_autotune_level=0')


def variables(threads: int) -> dict[str, str]:
    """Environment variables of a process that computes in `threads`, to be set before it starts.

    A user's own GLIBC_TUNABLES stay. The C library reads them before any of our code runs.
    """
    tunables = ONE_ARENA if threads == 1 else LARGE_PAGES
    given = os.environ.get('GLIBC_TUNABLES', ONE_ARENA) not in (LARGE_PAGES, ONE_ARENA)
    return {'NPROC': str(threads)} | ({} if given else {'GLIBC_TUNABLES': tunables})


def prepare() -> None:
    """Set this process up to compute with JAX, as often as you like; JAX may be imported but not have computed.

    XLA splits work over its CPU threads and rounds accordingly, so a run's bytes would depend on the cores at hand:
    a process computes in one thread unless NPROC says otherwise. Raises UserError if JAX has started with other
    settings, since a run would then end with other bits.
    """
    wanted = {'NPROC': os.environ.get('NPROC', '1'), 'XLA_FLAGS': _flags()}
    changed = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    if changed and _has_started():
        missing = ' '.join(f'{name}={value!r}' for name, value in changed.items())
        what = 'runs would end with other bits; call paper_lib.run.backend.prepare() before JAX computes anything'
        raise UserError(f'JAX has started without {missing}: {what}')
    os.environ.update(changed)
    if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
        _keep_compiled_programs()


def check_device() -> None:
    """Raise UserError if JAX finds nothing to compute on."""
    prepare()
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        chosen, reason = os.environ.get('JAX_PLATFORMS', ''), str(error).partition('\n')[0] or 'no such device'
        raise UserError(f"JAX_PLATFORMS={chosen!r}: {reason}; 'cpu' works everywhere") from None


def _flags():
    """The user's XLA_FLAGS, and those of ours that they do not set."""
    given = os.environ.get('XLA_FLAGS', '')
    ours = [flag for flag in GPU_FLAGS if flag.partition('=')[0] not in given]
    return ' '.join([given, *ours]).strip()


def _has_started():
    """Whether JAX has read its settings, which it does when it computes for the first time."""
    bridge = sys.modules.get('jax._src.xla_bridge')
    return bridge is not None and bridge.backends_are_initialized()


def _keep_compiled_programs():
    """Keep programs that took long to compile for the next process, under the user's cache folder."""
    with contextlib.suppress(OSError, RuntimeError):  # the home folder cannot be written, or there is none
        cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        key = f'{machine.processor()} {os.environ["NPROC"]}'  # code is compiled for a number of threads too
        folder = cache / 'paper-lib' / hashlib.sha256(key.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        os.environ['JAX_COMPILATION_CACHE_DIR'] = str(folder)
        if jax := sys.modules.get('jax'):  # it has read its environment
            jax.config.update('jax_compilation_cache_dir', str(folder))
