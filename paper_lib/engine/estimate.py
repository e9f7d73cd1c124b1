"""What a run will need, from its spec alone: no simulator is made and JAX is not loaded.

`run/cost.py` is exact and slow; `bench` measures. These numbers are for plans of thousands of runs. They err on the
safe side: a job that asks for too little is killed.
"""

import dataclasses
import functools

from paper_lib.contract import quantities, tasks
from paper_lib.contract.plane import CELLS
from paper_lib.contract.spec import ModelSpec, RunSpec

GB = 10**9
# A task's vector and action are known to its simulator alone. No task of the study has more numbers.
VECTOR = 67  # of an observation: humanoid
ACTION = 21
# FLOPs of a loss with its gradient, for each of the loss alone. `tests/engine/test_estimate.py` counts both with XLA.
LEARNED = 3.0
IMAGINED = 2.6  # parts of imagination have no gradient
START = 300.0  # seconds until a program makes its first update: packages, simulators, compilation

# Agent steps per second of one core in the simulators, acting included; as docs/performance.md says, rounded down.
STEPS_OF_STATES = 1000.0
STEPS_OF_PICTURES = 40.0  # that MuJoCo draws


@dataclasses.dataclass(frozen=True)
class Machine:
    """How fast the machines are that runs are planned for."""

    gpu: bool  # trains on a GPU: a program on one, else on one core
    teraflops: float  # that updates really get of a GPU, or of a core: `paper-lib bench` measures them
    cores: int = 1  # of each job, for the simulators


# A GPU as the H200 of docs/performance.md with size S and 8 lanes, of which float32 gets less; a core with AVX-512.
GPU = Machine(gpu=True, teraflops=60.0, cores=8)
CORE = Machine(gpu=False, teraflops=0.04)


@functools.cache
def operations(model: ModelSpec, explores: bool, side: int) -> float:
    """Floating-point operations of an update; `side` is that of its pictures in pixels, 0 for vectors.

    Two for every weight that is multiplied, plus convolutions. Norms and activations are left out.
    """
    stoch = model.stoch * model.classes
    features = model.deter + stoch
    hidden = (model.layers - 1) * model.units**2
    head = features * model.units + hidden
    imagined = (stoch + ACTION) * model.units + 3 * (model.deter + model.units) * model.deter
    imagined += model.deter * model.units + model.units * stoch
    if side:
        coder, embedded = _convolutions(model.cnn_depth, side)
    else:
        coder = VECTOR * model.mlp_units + (model.mlp_layers - 1) * model.mlp_units**2
        coder += features * model.mlp_units + (model.mlp_layers - 1) * model.mlp_units**2 + VECTOR * model.mlp_units
        embedded = model.mlp_units
    posterior = (model.deter + embedded) * model.units + model.units * stoch
    two_hot = head + model.units * model.bins
    cont = head + model.units
    learned = imagined + posterior + coder + two_hot + cont
    predicted = imagined + 2 * two_hot + cont + head + 2 * model.units * ACTION  # reward, critic, cont, actor
    steps = model.batch * model.length
    starts = model.starts or steps
    total = LEARNED * steps * learned + IMAGINED * starts * model.horizon * predicted
    if explores:
        ensemble = model.ensemble * (head + ACTION * model.units + model.units * stoch)
        total += LEARNED * steps * ensemble + IMAGINED * starts * model.horizon * (predicted + ensemble)
    return 2 * total


def _convolutions(depth: int, side: int) -> tuple[int, int]:
    """(multiplications of encoder and decoder for one picture, size of what the encoder returns)."""
    multiplications = 0
    before, channels, pixels = 3, depth, side
    while pixels > 4:
        pixels //= 2
        multiplications += 16 * before * channels * pixels**2
        before, channels = channels, 2 * channels
    return 2 * multiplications, 16 * before


def exploring_share(spec: RunSpec) -> float:
    """Share of a run's updates that train an explorer too."""
    if spec.like.expl_until:
        return spec.like.expl_until / spec.like.budget
    return float(spec.like.w_expl > 0)


def seconds(spec: RunSpec, machine: Machine) -> float:
    """Seconds of updates, collection and evaluation of one run, as one of as many lanes as fill the device."""
    task = tasks.get(spec.task)
    share = exploring_share(spec)
    plain = operations(spec.model, False, task.side)
    exploring = operations(spec.model, True, task.side)
    updating = spec.schedule.updates * (share * exploring + (1 - share) * plain) / (machine.teraflops * 1e12)
    evaluated = spec.budget // spec.eval_every * spec.eval_episodes * task.limit
    rate = STEPS_OF_PICTURES if task.rendered else STEPS_OF_STATES
    acting = (spec.own_rows * task.envs + evaluated) / (rate * machine.cores)
    return updating + acting


def memory(spec: RunSpec, lanes: int, machine: Machine) -> int:
    """Bytes of the host: docs/performance.md has 1.5 GB of the small models, 14 GB of the largest."""
    if machine.gpu:  # arrays of updates are on the device; each lane has its simulators and pages of its replay
        return 8 * GB + lanes * 2 * GB
    update = operations(spec.model, spec.like.w_expl > 0, tasks.get(spec.task).side)
    return 2 * GB + int(lanes * update / 1e12 * 12 * GB)


def disk(spec: RunSpec) -> int:
    """Bytes of the finished run: its replay, batch log, metrics, weights and last episodes."""
    task = tasks.get(spec.task)
    side = task.side
    step = 4 * (ACTION + 2) + (3 * side**2 if side else 4 * VECTOR)
    replay = spec.own_rows * task.envs * step
    log = 4 * spec.schedule.updates * (spec.model.batch + 1)
    metrics = spec.budget // spec.eval_every * (4096 + 48 * 30 * spec.eval_episodes)
    numbers = spec.eval_episodes * (VECTOR + 3 + len(quantities.recorded(quantities.STEP)))
    traces = (task.limit + 1) * (4 * numbers + 6 * side**2) + 8 * CELLS**2
    return replay + log + metrics + traces + weights(spec.model, side)


@functools.cache
def weights(model: ModelSpec, side: int) -> int:
    """Bytes of the weights, nearly: those of an exploring agent of this size."""
    stoch = model.stoch * model.classes
    head = (model.deter + stoch) * model.units + (model.layers - 1) * model.units**2 + model.units * model.bins
    recurrent = (stoch + model.deter) * model.units + 3 * (model.deter + model.units) * model.deter
    recurrent += 3 * model.units * max(stoch, model.mlp_units)
    coder = 2 * (model.deter + stoch) * model.mlp_units + 2 * model.mlp_layers * model.mlp_units**2
    if side:
        coder = 2 * 16 * 16 * model.cnn_depth**2 * 64 + (model.deter + stoch) * 16 * 8 * model.cnn_depth
    ensemble = model.ensemble * ((model.deter + stoch) * model.units + model.units * stoch)
    return 4 * (6 * head + recurrent + coder + ensemble)
