"""How a process that computes with JAX is set up: threads, flags, and the folder of compiled programs."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from paper_lib import machine
from paper_lib.contract.errors import UserError

# Large pages: a program allocates its temporary memory anew at every call. With small pages, the first access to it
# takes as long as an update of a small model. One arena, if one thread computes: this thread can then use the memory
# that the compiling threads have freed. Several computing threads would wait for each other at a single arena.
LARGE_PAGES = 'glibc.malloc.hugetlb=1'
ONE_ARENA = f'{LARGE_PAGES}:glibc.malloc.arena_max=1'
# On a GPU, cuBLAS computes the matrix products and chooses the algorithm. XLA's own kernels took 7 times as long
# without autotuning. Autotuning takes minutes per program, and the kernel that it chooses may decide a run's last bits.
GPU_FLAGS = ('--xla_gpu_enable_triton_gemm=false', '--xla_gpu_autotune_level=0')


def variables(threads: int) -> dict[str, str]:
    """Environment variables of a process that computes in `threads` threads, to be set before the process starts.

    The C library reads GLIBC_TUNABLES before any Python code runs. A value that the user has set is kept.
    """
    values = {'NPROC': str(threads)}
    users_own = os.environ.get('GLIBC_TUNABLES', ONE_ARENA) not in (LARGE_PAGES, ONE_ARENA)
    if not users_own:
        values['GLIBC_TUNABLES'] = ONE_ARENA if threads == 1 else LARGE_PAGES
    return values


def prepare() -> None:
    """Set this process up to compute with JAX. JAX may be imported, but must not have computed before the first call.

    XLA splits work over its CPU threads, and the split decides how sums are rounded. A run's bytes would depend on
    the number of cores; therefore a process computes in one thread unless NPROC says otherwise. Raises UserError if
    JAX has started with other settings, because a run would then end with other bits.
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
        chosen = os.environ.get('JAX_PLATFORMS', '')
        reason = str(error).partition('\n')[0] or 'no such device'
        raise UserError(f"JAX_PLATFORMS={chosen!r}: {reason}; 'cpu' works everywhere") from None


def _flags() -> str:
    """The user's XLA_FLAGS, and each of GPU_FLAGS that the user has not set."""
    users_own = os.environ.get('XLA_FLAGS', '')
    added = [flag for flag in GPU_FLAGS if flag.partition('=')[0] not in users_own]
    return ' '.join([users_own, *added]).strip()


def _has_started() -> bool:
    """Whether JAX has read its settings. It reads them when it computes for the first time."""
    bridge = sys.modules.get('jax._src.xla_bridge')
    return bridge is not None and bridge.backends_are_initialized()


def _keep_compiled_programs() -> None:
    """Let JAX save compiled programs in the user's cache folder, so that the next process loads them."""
    with contextlib.suppress(OSError, RuntimeError):  # there is no home folder, or it cannot be written
        cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        key = f'{machine.processor()} {os.environ["NPROC"]}'  # compiled code depends on the number of threads too
        folder = cache / 'paper-lib' / hashlib.sha256(key.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        os.environ['JAX_COMPILATION_CACHE_DIR'] = str(folder)
        if jax := sys.modules.get('jax'):  # an imported JAX does not read this variable again
            jax.config.update('jax_compilation_cache_dir', str(folder))
