"""Shipped weights: every change of a byte is noticed."""

import json

import numpy as np
import pytest
import safetensors.numpy

from paper_lib.contract.errors import RunError
from paper_lib.explore import weights
from paper_lib.study import paths, plan, scales

SPEC = plan.make('active', 'point_mass_maze-proprio', 0, scales.get('smoke'))
ARRAYS = {
    'wm/a': np.arange(6, dtype=np.float32).reshape(2, 3),
    'task/b': np.ones((), np.float32),
    'task/c': np.ones((0, 2)),
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))
    path = weights.path(SPEC, 'smoke')
    paths.write(path, weights.pack(SPEC, ARRAYS))
    return path


def refused(match):
    with pytest.raises(RunError, match=match) as caught:
        weights.load(SPEC, 'smoke')
    assert '\n' not in str(caught.value)


def test_what_is_packed_is_loaded(path):
    loaded = weights.load(SPEC, 'smoke')
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(loaded[name], array) and loaded[name].dtype == array.dtype
    assert weights.pack(SPEC, ARRAYS) == path.read_bytes()


def test_every_flipped_byte_and_truncations_are_named(path):
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        refused('safetensors: damaged.*; restore it, or export it again')
    for size in range(0, len(whole), 50):
        path.write_bytes(whole[:size])
        refused('safetensors: damaged')


@pytest.mark.parametrize('arrays', [
    {name: array for name, array in ARRAYS.items() if name != 'wm/a'},
    ARRAYS | {'more': np.ones(2)},
    ARRAYS | {'wm/a': np.full((2, 3), np.nan, np.float32)},
])  # fmt: skip
def test_a_missing_an_extra_and_another_tensor_are_named(path, arrays):
    """With the metadata of the file that they are written over."""
    with safetensors.safe_open(path, 'numpy') as content:
        metadata = content.metadata()
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    refused(r'safetensors: damaged \(checksum\)')


def test_weights_that_are_not_finite_are_named(path):
    path.write_bytes(weights.pack(SPEC, ARRAYS | {'wm/a': np.array([1, np.inf])}))
    refused('wm/a is not finite')


@pytest.mark.parametrize('metadata', [None, {}, {'about': '5'}, {'about': json.dumps({'sha256': '', 'spec': {}})}])
def test_file_without_a_seal_is_named(path, metadata):
    path.write_bytes(safetensors.numpy.save(ARRAYS, metadata))
    refused('safetensors: damaged')


def test_a_folder_in_place_of_the_file_is_named(path):
    path.unlink()
    path.mkdir()
    refused('safetensors: Is a directory')


def test_weights_in_the_repository_are_whole(monkeypatch):
    monkeypatch.delenv('PAPER_LIB_FIGURES', raising=False)
    shipped = {path.stem for path in (paths.figures() / 'weights' / 'laptop').iterdir()}
    specs = [spec for seed in (0, 1, 10, 40) for spec in weights.wanted('laptop', seed) if spec.run_id in shipped]
    assert {spec.run_id for spec in specs} == shipped
    for spec in specs:
        assert weights.load(spec, 'laptop')
