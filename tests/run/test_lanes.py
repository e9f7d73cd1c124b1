"""Runs that train as lanes of one program are those that train alone, up to rounding."""

import dataclasses

import numpy as np
import pytest
import smoke

from paper_lib.agent.networks import Networks
from paper_lib.engine.bench.measure import random_batch
from paper_lib.run import lanes

VECTORS = Networks(smoke.MODEL, (2, 2), None, 2, False)
PICTURES = Networks(smoke.VISION.model, (), (32, 32, 3), 3, True)  # convolutions are products, which lanes batch


@pytest.mark.parametrize(('nets', 'layout', 'tolerance'), [
    (VECTORS, {'vector': ((4,), 'float32'), 'action': ((2,), 'float32')}, (1e-4, 1e-6)),
    (PICTURES, {'image': ((32, 32, 3), 'uint8'), 'action': ((3,), 'float32')}, (1e-3, 1e-5)),
], ids=['vectors', 'pictures'])  # fmt: skip
def test_lanes_of_a_program_agree_with_programs_of_one_lane(quick, nets, layout, tolerance):
    """A chunk of two updates: seeds, weights, batches and learning rates are each lane's own."""
    rates = enumerate((1e-4, 4e-4))
    specs = [dataclasses.replace(smoke.PASSIVE, seed=seed, init_seed=seed, lr_model=rate) for seed, rate in rates]
    batch = random_batch(layout, (2, 2, smoke.MODEL.batch, smoke.MODEL.length))  # (lanes, updates, B, T)

    programs = {count: lanes.Program(nets, count) for count in (1, 2)}  # not the cached ones of other tests

    def chunk(*chosen):
        program, own = programs[len(chosen)], [specs[lane] for lane in chosen]
        batches, keys = {key: value[list(chosen)] for key, value in batch.items()}, lanes.keys(own, 'train')
        state, metrics = program.chunk(program.initial_state(own), batches, lanes.hyper(own), keys, np.int32(7))
        return lanes.flatten({'params': state['params'], 'norm': state['norm'], 'metrics': metrics})

    grouped, solo = chunk(0, 1), [chunk(0), chunk(1)]
    for name, values in grouped.items():
        np.testing.assert_allclose(values, np.concatenate([lane[name] for lane in solo]), *tolerance, err_msg=name)
