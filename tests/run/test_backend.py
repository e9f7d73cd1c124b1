"""A process that computes is set up once, by one function, and not by an import."""

import json
import os
import subprocess
import sys

import pytest

OURS = ('NPROC', 'XLA_FLAGS', 'GLIBC_TUNABLES', 'JAX_COMPILATION_CACHE_DIR', 'JAX_PLATFORMS')


def printed(code, tmp_path, **given):
    """What a new process prints, as JSON; of our variables it has those that are given."""
    settings = {name: value for name, value in os.environ.items() if name not in OURS}
    settings |= {'PYTHONPATH': os.pathsep.join(sys.path), 'XDG_CACHE_HOME': str(tmp_path), 'JAX_PLATFORMS': 'cpu'}
    command = [sys.executable, '-c', f'import json, os\n{code}']
    done = subprocess.run(command, env=settings | given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_import_sets_nothing(tmp_path):
    code = """
before = dict(os.environ)
import paper_lib.run.train, paper_lib.engine.ensure, paper_lib.engine.bench.tables
new = {name for name in before.keys() | os.environ if before.get(name) != os.environ.get(name)}
print(json.dumps(sorted(new & {'NPROC', 'XLA_FLAGS', 'GLIBC_TUNABLES', 'JAX_COMPILATION_CACHE_DIR'})))"""
    assert printed(code, tmp_path) == []


@pytest.mark.skipif(sys.platform != 'linux', reason='names of threads are read from /proc')
def test_what_is_set_after_jax_was_imported_holds_when_it_computes(tmp_path):
    """Its threads are ours, and the program that it compiles is kept in our folder."""
    code = """
import jax
from paper_lib.run import backend
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
backend.prepare()
backend.prepare()  # as often as you like
jax.jit(lambda x: x @ x).lower(jax.numpy.ones((512, 512))).compile()
folder = jax.config.jax_compilation_cache_dir
names = [open(f'/proc/self/task/{task}/comm').read().strip() for task in os.listdir('/proc/self/task')]
threads = names.count('tf_XLAEigen')  # those that a product is split over
print(json.dumps([threads, os.environ['XLA_FLAGS'].split(), folder, len(os.listdir(folder)) > 0]))"""
    threads, flags, folder, kept = printed(code, tmp_path)
    assert threads == 1 and flags == ['--xla_gpu_enable_triton_gemm=false', '--xla_gpu_autotune_level=0']
    assert folder.startswith(str(tmp_path)) and kept


@pytest.mark.parametrize(('given', 'words'), [
    ({}, ["NPROC='1'", 'XLA_FLAGS=', 'call paper_lib.run.backend.prepare() before JAX computes']),
    ({'NPROC': '1', 'XLA_FLAGS': '--xla_gpu_enable_triton_gemm=false --xla_gpu_autotune_level=0'}, []),
])  # fmt: skip
def test_a_process_in_which_jax_has_started_otherwise_is_refused(tmp_path, given, words):
    code = """
import jax
jax.numpy.ones(3).block_until_ready()
from paper_lib.contract.errors import UserError
from paper_lib.run import backend
try:
    backend.prepare()
    print(json.dumps(''))
except UserError as error:
    print(json.dumps(str(error)))"""
    line = printed(code, tmp_path, **given)
    assert bool(line) == bool(words)
    for word in words:
        assert word in line
