"""The joint: steps agents through environments, trains and evaluates runs, makes sure that runs exist."""

import contextlib
import hashlib
import os
from pathlib import Path

LARGE_PAGES = 'glibc.malloc.hugetlb=1'
ONE_ARENA = f'{LARGE_PAGES}:glibc.malloc.arena_max=1'
# By a user, not by a process of ours that started this one.
_GIVEN = os.environ.get('GLIBC_TUNABLES', ONE_ARENA) not in (LARGE_PAGES, ONE_ARENA)


def variables(threads: str) -> dict[str, str]:
    """Environment variables of a process whose XLA computes in `threads`, to be set before it starts.

    Large pages: a program's temporary memory is new at every call, and with small pages its first touch costs as much
    as an update of a small model. One arena where one thread computes: what those that compile free serves it; several
    that compute would wait for each other. A user's own GLIBC_TUNABLES stay.
    """
    tunables = ONE_ARENA if threads == '1' else LARGE_PAGES
    return {'NPROC': threads} | ({} if _GIVEN else {'GLIBC_TUNABLES': tunables})


# XLA splits work over its CPU threads and rounds accordingly: a run's bytes would depend on the cores at hand.
# One thread per process; small runs gain nothing from a second one. Read when JAX starts; malloc's part is for workers.
os.environ.update(variables(os.environ.get('NPROC', '1')))
# On a GPU: products by cuBLAS, which chooses how by itself. XLA's own took 7 times as long with their variants untimed;
# timing them takes minutes a program, and what wins may decide a run's last bits. Read when JAX starts.
for _flag in ('--xla_gpu_enable_triton_gemm=false', '--xla_gpu_autotune_level=0'):
    if _flag.partition('=')[0] not in os.environ.get('XLA_FLAGS', ''):
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_flag}'.strip()


def processor():
    """The processor and its features as the system describes them: compiled code is for these alone."""
    with contextlib.suppress(OSError):
        lines = Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
        return '\n'.join(line for line in lines if line.startswith(('model name', 'flags', 'Features')))
    return ''


def _keep_compiled():
    """Programs that took long to compile are kept for the next process, under the user's cache folder."""
    with contextlib.suppress(OSError, RuntimeError):  # a home that cannot be written to, or none
        cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        key = f'{processor()} {os.environ["NPROC"]}'  # code is compiled for a number of threads too
        folder = cache / 'paper-lib' / hashlib.sha256(key.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        os.environ['JAX_COMPILATION_CACHE_DIR'] = str(folder)


if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    _keep_compiled()
