"""A recording that no run of ours made is a source like any other."""

import dataclasses

import numpy as np
import pytest

from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.data import datasets, sources
from paper_lib.data.steps import FLAGS
from paper_lib.data.store import Store

TASK = 'point_mass_maze-proprio'


def episodes(count=3, steps=40, seed=0):
    """Steps of so many episodes, one after the other; the second one ends by termination."""
    rng, size = np.random.default_rng(seed), count * steps
    row = np.arange(size)
    return {
        'vector': rng.normal(size=(size, 4)).astype(np.float32),
        'action': rng.uniform(-1, 1, (size, 2)).astype(np.float32),
        'reward': rng.random(size).astype(np.float32),
        'is_first': row % steps == 0,
        'is_last': row % steps == steps - 1,
        'is_terminal': row == 2 * steps - 1,
    }


def follower(source):
    model = ModelSpec(batch=2, length=8)
    return RunSpec(TASK, 'passive', model=model, budget=400, eval_every=80, prefill=40, data='final', source=source)


def test_a_dataset_gives_back_its_steps_and_its_episodes(tmp_path):
    steps = episodes()
    dataset = datasets.add(tmp_path, 'mine', TASK, steps)
    spec = follower(dataset)
    recording = sources.recording(Store(tmp_path), spec.source)
    source = sources.learned_from(spec, recording.replay(), None)
    assert (source.rows, source.envs) == (120, 1) == (dataset.rows, dataset.envs)
    assert source.episodes(120).tolist() == [[0, 0, 39], [0, 40, 79], [0, 80, 119]]
    episode = source.episode(0, 40, 79)
    np.testing.assert_array_equal(episode['vector'], steps['vector'][40:80])
    np.testing.assert_array_equal(episode['action'][:-1], steps['action'][40:79])
    assert not episode['action'][-1].any() and episode['is_terminal'].tolist() == [False] * 39 + [True]
    starts = source.sample(np.random.default_rng(0), 120, 2000, 8)
    assert set(starts) == set(range(113))
    np.testing.assert_array_equal(source.gather(starts[:1], 8)['reward'][0], steps['reward'][starts[0] :][:8])


def test_a_dataset_may_have_images_beside_vectors(tmp_path):
    image = np.random.default_rng(0).integers(256, size=(120, 4, 4, 3), dtype=np.uint8)
    dataset = datasets.add(tmp_path, 'mine', TASK, episodes() | {'image': image})
    replay = datasets.find(tmp_path, dataset).replay()
    np.testing.assert_array_equal(replay.arrays['image'][:, 0], image)
    np.testing.assert_array_equal(replay.arrays['vector'][:, 0], episodes()['vector'])


def test_the_identity_of_a_dataset_is_its_content(tmp_path):
    dataset = datasets.add(tmp_path, 'mine', TASK, episodes())
    assert datasets.add(tmp_path, 'mine', TASK, episodes()) == dataset
    other = datasets.add(tmp_path, 'mine', TASK, episodes(seed=1))
    assert other.sha256 != dataset.sha256
    assert follower(other).run_id != follower(dataset).run_id
    assert follower(dataset).run_id == follower(dataclasses.replace(dataset)).run_id
    bytes_as_flags = {name: episodes()[name] * np.uint8(255) for name in FLAGS}
    assert datasets.add(tmp_path, 'mine', TASK, episodes() | bytes_as_flags) == dataset


def test_a_damaged_or_missing_dataset_is_named(tmp_path):
    dataset = datasets.add(tmp_path, 'mine', TASK, episodes())
    path = datasets.folder(tmp_path) / dataset.dataset_id
    file = path / 'replay/reward.bin'
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    with pytest.raises(RunError, match='damaged'):
        datasets.find(tmp_path, dataset).replay()
    with pytest.raises(RunError, match='does not exist'):
        datasets.find(tmp_path / 'elsewhere', dataset)


def changed(name, row, value):
    steps = episodes()
    steps[name][row] = value
    return steps


def pictures(image):
    return {name: array for name, array in episodes().items() if name != 'vector'} | {'image': image}


@pytest.mark.parametrize(('steps', 'words'), [
    ({}, 'has image, vector or both'),
    (episodes() | {'reward': np.zeros(119)}, r'shape \(1'),
    (episodes() | {'reward': np.zeros(120, object)}, 'type object'),
    (episodes() | {'reward': np.zeros((120, 1))}, r'reward: has shape \(120, 1\)'),
    (episodes() | {'reward': np.float32(0)}, r'reward: has shape \(\)'),
    (episodes() | {'action': np.zeros(120, int)}, 'needed are axes N, A and numbers'),
    (episodes() | {'action': np.full((120, 2), 'left')}, 'needed are axes N, A and numbers'),
    (pictures(np.zeros((120, 4, 4, 3))), 'type float64; needed are axes N, H, W, C and uint8'),
    (changed('vector', 7, np.nan), 'vector: row 7 is not finite'),
    (changed('is_first', 0, False), 'begins with is_first'),
    (changed('is_last', 119, False), 'ends with is_last'),
    (changed('is_first', 41, True), 'row 41 must be true exactly where row 40 is_last'),
    (changed('is_terminal', 3, True), 'row 3 is not the last of its episode'),
])  # fmt: skip
def test_arrays_that_are_no_episodes_are_refused(tmp_path, steps, words):
    with pytest.raises(UserError, match=words):
        datasets.add(tmp_path, 'mine', TASK, steps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('values', 'words'), [
    ({'data': 'batches'}, "data='batches': must be 'final' because the source is a dataset"),
    ({'alpha': 0.5}, 'a dataset, which has no weights'),
    ({'world_model': 'frozen'}, 'a dataset, which has no weights'),
    ({'task': 'cup_catch-proprio'}, 'a recording of the same task'),
])  # fmt: skip
def test_what_only_a_run_has_is_not_asked_of_a_dataset(tmp_path, values, words):
    dataset = datasets.add(tmp_path, 'mine', TASK, episodes())
    with pytest.raises(UserError, match=words):
        dataclasses.replace(follower(dataset), **values)


def test_a_dataset_that_another_process_has_added_meanwhile_stays(tmp_path, monkeypatch):
    write, inode = datasets.files.write_json, []

    def slow(path, content):
        monkeypatch.setattr(datasets.files, 'write_json', write)
        other = datasets.add(tmp_path, 'mine', TASK, episodes())
        inode.append((datasets.folder(tmp_path) / other.dataset_id).stat().st_ino)
        write(path, content)

    monkeypatch.setattr(datasets.files, 'write_json', slow)
    dataset = datasets.add(tmp_path, 'mine', TASK, episodes())
    (path,) = datasets.folder(tmp_path).iterdir()
    assert path.name == dataset.dataset_id and path.stat().st_ino == inode[0]


def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.files, 'write_json', stop)
    with pytest.raises(KeyboardInterrupt):
        datasets.add(tmp_path, 'mine', TASK, episodes())
    assert not list(datasets.folder(tmp_path).iterdir())
