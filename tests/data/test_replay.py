import numpy as np
import pytest
from toy import LIKE, step

from paper_lib.data.replay import Replay
from paper_lib.data.streams import rng
from paper_lib.spec import RunError

ROWS, ENVS = 30, 4


@pytest.fixture
def replay(tmp_path):
    replay = Replay.create(tmp_path / 'replay', LIKE, ROWS, ENVS)
    for row in range(ROWS):
        replay.write(row, step(row))
    return replay


def flipped(path, position=0):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_gather_returns_the_steps_that_were_written(replay):
    starts = np.array([[1, 3 * ENVS, 25 * ENVS + 3], [5 * ENVS + 2, 6 * ENVS + 2, 7 * ENVS + 1]], np.int32)
    batch = replay.gather(starts, 5)
    assert set(batch) == {'vector', 'action', 'reward', 'is_first', 'is_terminal'}
    assert batch['vector'].shape == (2, 3, 5, 3) and batch['reward'].shape == (2, 3, 5)
    assert batch['is_first'].dtype == batch['is_terminal'].dtype == bool
    for index in np.ndindex(2, 3, 5):
        row, env = divmod(int(starts[index[:2]]), ENVS)
        for key, value in batch.items():
            assert np.array_equal(value[index], step(row + index[2])[key][env]), (key, index)


def test_images_keep_shape_and_type(tmp_path):
    like = {'image': ((8, 8, 3), 'uint8'), 'action': ((2,), 'float32')}
    replay = Replay.create(tmp_path / 'replay', like, 5, 2)
    image = rng(0, 'test').integers(256, size=(2, 8, 8, 3)).astype(np.uint8)
    replay.write(4, {**step(0, envs=2), 'image': image})
    assert np.array_equal(replay.gather(np.array([4 * 2 + 1]), 1)['image'][0, 0], image[1])
    assert set(replay.arrays) == {'image', 'action', 'reward', 'flags'}


def test_windows_are_sampled_uniformly_to_the_last(replay):
    rows, length = 10, 4
    assert replay.windows(rows, length) == 7 * ENVS and replay.windows(length - 1, length) == 0
    starts = replay.sample(rng(0, 'replay'), rows, 28_000, length)
    assert starts.dtype == np.int32
    counts = np.bincount(starts, minlength=28)
    assert len(counts) == 28 and counts.min() > 800 and counts.max() < 1200
    with pytest.raises(ValueError):
        replay.sample(rng(0, 'replay'), length - 1, 1, length)


def test_the_newest_step_is_the_end_of_the_last_window(replay):
    last = replay.windows(ROWS, 4) - 1
    window = replay.gather(np.array([last]), 4)['vector'][0]
    assert np.array_equal(window[-1], step(ROWS - 1)['vector'][ENVS - 1])


def test_rows_outside_are_refused(replay):
    for row in (-1, ROWS):
        with pytest.raises(IndexError):
            replay.write(row, step(0))


def test_episodes_are_the_complete_ones_in_order(replay):
    episodes = replay.episodes(20)  # rows 0-6, 7-13 are complete, 14-20 lacks its last row
    assert episodes.tolist() == [[env, first, first + 6] for first in (0, 7) for env in range(4)]
    assert replay.episodes(6).shape == (0, 3)
    assert len(replay.episodes(21)) == 12


def test_episodes_of_unequal_length(tmp_path):
    replay = Replay.create(tmp_path / 'replay', LIKE, 6, 2)
    firsts, lasts = {(0, 0), (3, 0), (0, 1), (2, 1)}, {(2, 0), (5, 0), (1, 1)}
    for row in range(6):
        replay.write(
            row,
            step(1, envs=2)
            | {
                'is_first': [(row, env) in firsts for env in (0, 1)],
                'is_last': [(row, env) in lasts for env in (0, 1)],
            },
        )
    assert replay.episodes(6).tolist() == [[0, 0, 2], [1, 0, 1], [0, 3, 5]]


def test_an_episode_is_one_environment_of_consecutive_rows(replay):
    steps = replay.episode(1, 7, 13)
    assert steps['is_first'].tolist() == [True] + [False] * 6 and steps['is_last'].tolist() == [False] * 6 + [True]
    assert np.array_equal(steps['is_terminal'], steps['is_last'])
    assert not replay.episode(0, 7, 13)['is_terminal'].any()
    for offset in range(7):
        assert np.array_equal(steps['vector'][offset], step(7 + offset)['vector'][1])
    steps['vector'][:] = 0
    assert replay.episode(1, 7, 13)['vector'].any()


def test_create_continues_and_open_reads(replay):
    replay.flush()
    again = Replay.create(replay.path, LIKE, ROWS, ENVS)
    reader = Replay.open(replay.path)
    for other in (again, reader):
        assert all(np.array_equal(other.arrays[key], replay.arrays[key]) for key in replay.arrays)
    with pytest.raises(ValueError):
        reader.write(0, step(0))


def test_another_layout_is_refused(replay):
    with pytest.raises(RunError, match=r'layout.json: is of another layout'):
        Replay.create(replay.path, LIKE, ROWS + 1, ENVS)


def test_damage_that_opening_can_see_is_named(replay):
    with open(replay.path / 'vector.bin', 'ab') as file:
        file.truncate(100)
    with pytest.raises(RunError, match=r'vector.bin: has 100 bytes, not 1440'):
        Replay.open(replay.path)
    (replay.path / 'vector.bin').unlink()
    with pytest.raises(RunError, match=r'vector.bin: missing'):
        Replay.open(replay.path)
    flipped(replay.path / 'layout.json', 20)
    with pytest.raises(RunError, match=r'layout.json'):
        Replay.open(replay.path)


def test_a_killed_creation_is_repeated(replay):
    (replay.path / 'layout.json').unlink()
    (replay.path / 'reward.bin').unlink()
    again = Replay.create(replay.path, LIKE, ROWS, ENVS)
    assert not again.arrays['reward'].any() and again.arrays['vector'].any()
