"""Update rate of this agent beside the published DreamerV3 v1 package, at equal sizes, batch and semantics.

    python tests/benchmarks/versus_v1.py --v1 PATH/TO/python [--cores 0,1] [--rounds 2] [--large-pages] [L S64 S]

`PATH/TO/python` has the packages of `tests/benchmarks/v1.txt`. Both sides train on one random batch of proprio
observations, in turns, each in a process of its own on the same cores; both in float32, with gradients of the actor
through the dynamics, 255 bins, every state as a start of imagination, and horizon 15. The v1 package runs as it comes;
ours in the large memory pages that `paper_lib.run` gives its workers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SIZES = {
    # deter and units, layers, units and layers of encoder and decoder, latents, classes, T
    'L': (128, 2, 128, 2, 16, 16, 16),
    'S64': (64, 1, 64, 1, 8, 8, 16),
    'S': (512, 2, 1024, 5, 32, 32, 64),
}
BATCH, VECTOR, ACTION = 16, 24, 6
MINIMUM = 3  # timed calls at least


def batch(length, count=None):
    """One random batch, (count, B, T, ...) or (B, T, ...)."""
    import numpy as np

    rng, lead = np.random.default_rng(0), (*([count] if count else []), BATCH, length)
    flags = {name: np.zeros(lead, bool) for name in ('is_first', 'is_last', 'is_terminal')}
    return flags | {
        'vector': rng.normal(size=(*lead, VECTOR)).astype(np.float32),
        'action': rng.uniform(-1, 1, (*lead, ACTION)).astype(np.float32),
        'reward': rng.normal(size=lead).astype(np.float32),
    }


def ours(size):
    """A function that makes `count` updates, and the count."""
    import jax
    import numpy as np

    from paper_lib.agent.networks import Networks
    from paper_lib.contract.facts import Role, names
    from paper_lib.contract.spec import ModelSpec, RunSpec
    from paper_lib.run import lanes

    units, layers, mlp_units, mlp_layers, stoch, classes, length = SIZES[size]
    model = ModelSpec(deter=units, units=units, layers=layers, mlp_units=mlp_units, mlp_layers=mlp_layers,
                      stoch=stoch, classes=classes, batch=BATCH, length=length)  # fmt: skip
    program = lanes.program(Networks(model, (VECTOR,), None, ACTION, False), 1)
    count = 1 if size == 'S' else 10
    keys = jax.numpy.stack([jax.random.key(0)])
    hyper = {name: np.full(1, 1e-4, np.float32) for name in names(RunSpec, Role.TRACED)}
    data = {key: value[None] for key, value in batch(length, count).items() if key != 'is_last'}
    state = program.init(keys, 0)

    def updates():
        nonlocal state
        state, _ = program.chunk(state, data, hyper, keys, np.int32(0))
        jax.block_until_ready(state)

    return updates, count


def v1(size):
    """The same with the published package."""
    import warnings

    warnings.filterwarnings('ignore')
    import dreamerv3  # noqa: F401  (puts embodied on the path)
    import embodied
    import jax
    import numpy as np
    from dreamerv3 import agent as agents

    units, layers, mlp_units, mlp_layers, stoch, classes, length = SIZES[size]
    config = embodied.Config(agents.Agent.configs['defaults']).update(agents.Agent.configs['dmc_proprio'])
    config = config.update({
        'jax.platform': 'cpu', 'jax.precision': 'float32', 'jax.prealloc': False,
        'batch_size': BATCH, 'batch_length': length, 'run.steps': 1,
        'rssm.deter': units, 'rssm.stoch': stoch, 'rssm.classes': classes,
        r'.*\.units': units, r'.*\.layers': layers, r'.*\.mlp_units': mlp_units, r'.*\.mlp_layers': mlp_layers,
    })  # fmt: skip
    flag = embodied.Space(bool)
    obs_space = {'vector': embodied.Space(np.float32, (VECTOR,)), 'reward': embodied.Space(np.float32),
                 'is_first': flag, 'is_last': flag, 'is_terminal': flag}  # fmt: skip
    act_space = {'action': embodied.Space(np.float32, (ACTION,), -1, 1), 'reset': flag}
    agent = agents.Agent(obs_space, act_space, embodied.Counter(), config)
    jax.config.update('jax_transfer_guard', 'allow')  # the batch comes from the host
    data, state = batch(length), None

    def updates():
        nonlocal state
        _, state, _ = agent.train(data, state)
        jax.block_until_ready(agent.varibs)

    return updates, 1


def measure(side, size, seconds):
    """Milliseconds per update (median), and seconds until the first one was done."""
    began = time.perf_counter()
    updates, count = {'ours': ours, 'v1': v1}[side](size)
    updates()
    start, times = time.perf_counter() - began, []
    until = time.perf_counter() + seconds
    while len(times) < MINIMUM or time.perf_counter() < until:
        began = time.perf_counter()
        updates()
        times.append((time.perf_counter() - began) / count)
    return {'ms': 1e3 * statistics.median(times), 'start': start, 'calls': len(times)}


def child(python, side, size, args):
    """Measure one side in a process of its own, pinned to the cores."""
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'NPROC': str(len(args.cores.split(','))),
                   'TF_CPP_MIN_LOG_LEVEL': '3'}  # fmt: skip
    if side == 'ours' or args.large_pages:
        environment['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'  # as paper_lib.run.backend sets it for several threads
    command = [python, __file__, '--side', side, '--cores', args.cores, '--seconds', str(args.seconds), size]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{side}: {done.stderr.strip()[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('sizes', nargs='*', default=['L', 'S64'], help=f'of {", ".join(SIZES)}')
    parser.add_argument('--v1', help='python that has the v1 package')
    parser.add_argument('--cores', default='0,1')
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--large-pages', action='store_true', help='for the v1 package too: it gains from them as well')
    parser.add_argument('--side', choices=('ours', 'v1'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := [size for size in args.sizes if size not in SIZES]:
        parser.error(f'size={unknown[0]!r}: must be one of {", ".join(SIZES)}')
    if args.side:
        os.sched_setaffinity(0, {int(core) for core in args.cores.split(',')})
        return print(json.dumps(measure(args.side, args.sizes[0], args.seconds)))
    if not args.v1:
        parser.error('--v1 PATH: which python has the packages of tests/benchmarks/v1.txt')
    for size in args.sizes:
        for _ in range(args.rounds):
            theirs, own = child(args.v1, 'v1', size, args), child(sys.executable, 'ours', size, args)
            ratio, starts = theirs['ms'] / own['ms'], (theirs['start'], own['start'])
            print(f'{size:4} v1 {theirs["ms"]:8.1f} ms   ours {own["ms"]:8.1f} ms   ratio {ratio:5.2f}   '
                  'first update after {:.0f} s and {:.0f} s'.format(*starts), flush=True)  # fmt: skip


if __name__ == '__main__':
    main()
