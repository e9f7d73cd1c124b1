"""The agents of a recording, imagined in each other's world models."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from paper_lib import envs, machine
from paper_lib.agent import across, dreamer
from paper_lib.agent.actor_critic import Starts
from paper_lib.agent.networks import Networks
from paper_lib.contract.spec import RunSpec
from paper_lib.run import backend, lanes, provenance
from paper_lib.run.watch import KEYS, Record

WINDOWS = 512
SEED = 0

Tree = Any  # a pytree of arrays

_starts = jax.jit(across.starts, static_argnums=0)
_rates = jax.jit(across.rates, static_argnums=0)


def measure(
    specs: Sequence[RunSpec], arrays: Sequence[Mapping[str, np.ndarray]], replay: Any
) -> list[dict[str, float]]:
    """The measures of agents that learned from the same recording, in their order: name -> value, as in `quantities`.

    `arrays` are the weights of each, with the names of the weights file, and `replay` is the recording.
    """
    backend.prepare()
    nets = _networks(specs[0])
    params = [_params(nets, weights) for weights in arrays]
    record = Record(replay, nets.model.gamma).best(replay.rows)
    predicted = _predicted(nets, params, _windows(replay, nets.model.length))
    best_rate = record.best_rate if record else 0.0
    names = [f'return_across_{steps}' for steps in across.STEPS]
    gaps = across.gaps(predicted, best_rate)
    elsewhere = across.elsewhere(predicted, best_rate)[:, -1]
    found = []
    for of_agent, rate in zip(gaps, elsewhere, strict=True):
        found.append(dict(zip(names, map(float, of_agent), strict=True)) | {'return_elsewhere': float(rate)})
    return found


def origin() -> dict[str, str]:
    """What computes the measures, for their provenance."""
    return {
        'code': provenance.CODE,
        'cpu': machine.processor_name(),
        'device': jax.devices()[0].device_kind,
        'jax': jax.__version__,
    }


def _networks(spec: RunSpec) -> Networks:
    """The networks of all agents of a recording: they differ only in what is trained."""
    spaces = envs.make(spec.task, 0, **spec.options).spaces
    return dataclasses.replace(lanes.networks_of(spec, spaces), explore=False, frozen=False)


def _params(nets: Networks, arrays: Mapping[str, np.ndarray]) -> Tree:
    """The weights of the world model and of the actor."""
    whole = jax.eval_shape(functools.partial(dreamer.init, nets), jax.random.key(0))['params']
    like = {'wm': whole['wm'], 'task': {'actor': whole['task']['actor']}}
    return lanes.unflatten(like, arrays)


def _windows(replay: Any, length: int) -> dict[str, np.ndarray]:
    """The same windows (WINDOWS, length, ...) of a recording at every call."""
    rng = np.random.default_rng(lanes.stream_seed(SEED, 'across'))
    windows = replay.gather(replay.sample(rng, replay.rows, WINDOWS, length), length)
    return {key: windows[key] for key in KEYS if key in windows}


def _predicted(nets: Networks, params: Sequence[Tree], windows: dict[str, np.ndarray]) -> np.ndarray:
    """Reward per step of every agent in every model, (K, K, len(STEPS)); all have the same random numbers."""
    start_key, imagine_key = jax.random.split(jax.random.key(lanes.stream_seed(SEED, 'across_models')))
    starts: list[Starts] = [_starts(nets, each, windows, start_key) for each in params]
    rows = []
    for agent, own in zip(params, starts, strict=True):
        row = [
            _rates(nets, agent, model, own.state, start, imagine_key)
            for model, start in zip(params, starts, strict=True)
        ]
        rows.append(row)
    return np.asarray(rows, np.float64)
