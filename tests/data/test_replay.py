import numpy as np
import pytest
from toy import LIKE, step

from paper_lib.contract.errors import RunError
from paper_lib.data.replay import Replay
from paper_lib.data.sources import Joined, Latest, Part, half
from paper_lib.data.streams import rng

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
    reader = Replay(replay.path)
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
        Replay(replay.path)
    (replay.path / 'vector.bin').unlink()
    with pytest.raises(RunError, match=r'vector.bin: missing'):
        Replay(replay.path)
    flipped(replay.path / 'layout.json', 20)
    with pytest.raises(RunError, match=r'layout.json'):
        Replay(replay.path)


def test_a_killed_creation_is_repeated(replay):
    (replay.path / 'layout.json').unlink()
    (replay.path / 'reward.bin').unlink()
    again = Replay.create(replay.path, LIKE, ROWS, ENVS)
    assert not again.arrays['reward'].any() and again.arrays['vector'].any()


def test_a_kept_part_gives_all_of_its_windows_and_no_other(replay):
    kept = np.zeros((ROWS, ENVS), bool)
    kept[3:9, 1] = kept[20:24, 3] = True
    starts = Part(replay, kept, 4).sample(rng(0, 'replay'), ROWS, 4000, 4)
    assert starts.dtype == np.int32
    assert set(starts) == {row * ENVS + 1 for row in (3, 4, 5)} | {20 * ENVS + 3}
    assert np.bincount(starts).max() < 1200


def test_a_kept_part_has_the_episodes_that_are_whole_in_it(replay):
    everything = replay.episodes(ROWS)
    kept = np.zeros((ROWS, ENVS), bool)
    kept[7:20, 2] = True  # of the episodes of rows 7 to 13 and 14 to 20 the first
    kept[0:7, 1] = True
    kept[3, 1] = False
    assert Part(replay, kept, 4).episodes(ROWS).tolist() == [[2, 7, 13]]
    assert [2, 14, 20] in everything.tolist() and [1, 0, 6] in everything.tolist()


def test_a_replay_with_a_capacity_gives_its_newest_windows_and_no_other(replay):
    latest = Latest(replay, 8)
    for rows, oldest in ((6, 0), (8, 0), (20, 12), (ROWS, ROWS - 8)):
        starts = latest.sample(rng(0, 'replay'), rows, 4000, 4)
        assert starts.dtype == np.int32
        assert set(starts) == set(range(oldest * ENVS, (rows - 3) * ENVS))
    seen = latest.in_use(20)
    assert seen.sum() == 8 * ENVS and seen[12:].all()
    assert latest.episodes(21).tolist() == [[env, 14, 20] for env in range(ENVS)]  # not those of rows 7 to 13


@pytest.mark.parametrize(('part', 'rows'), [('first', range(15)), ('second', range(15, 31))])
def test_halves_are_of_the_rows(part, rows):
    kept = half(part, 31, ENVS, 4, rng(0, 'half'))
    assert kept.shape == (31, ENVS) and all(set(np.flatnonzero(column)) == set(rows) for column in kept.T)


def test_a_uniform_half_is_half_of_the_pieces_of_all_times_and_environments():
    kept = half('mixed', 4003, ENVS, 4, rng(0, 'half'))
    pieces = kept[:4000].reshape(1000, 4, ENVS)
    assert (pieces.all(1) == pieces.any(1)).all() and pieces[:, 0].sum() == 1000 * ENVS // 2
    assert (kept[4000:] == kept[3999]).all()  # what is left belongs to the last piece
    for part in (kept[:2000], kept[2000:4000], *kept.T):
        assert abs(part.mean() - 0.5) < 0.06  # 3.8 standard deviations for a column
    assert not np.array_equal(kept, half('mixed', 4003, ENVS, 4, rng(1, 'half')))


@pytest.fixture
def joined(replay, tmp_path):
    """30 rows of episodes of 7, and behind them 10 of the same kind of which 8 are written."""
    own = Replay.create(tmp_path / 'own', LIKE, 10, ENVS)
    for row in range(8):
        flags = {
            f'is_{flag}': np.full(ENVS, row % 7 == at) for flag, at in (('first', 0), ('last', 6), ('terminal', 9))
        }
        own.write(row, step(100 + row) | flags)
    return Joined(replay, own)


def test_joined_replays_are_sampled_uniformly_and_no_window_crosses_the_border(joined, replay):
    starts = joined.sample(rng(0, 'replay'), ROWS + 8, 50_000, 4)
    whole = {row * ENVS + env for row in (*range(27), *range(30, 35)) for env in range(ENVS)}
    counts = np.bincount(starts)
    assert starts.dtype == np.int32 and set(starts) == whole
    assert counts[sorted(whole)].min() > 300 and counts.max() < 500
    first = joined.sample(rng(0, 'replay'), ROWS, 100, 4)  # nothing added: the draws are those of the first alone
    assert np.array_equal(first, replay.sample(rng(0, 'replay'), ROWS, 100, 4))


def test_joined_replays_are_read_as_one(joined, replay):
    starts = np.array([[2 * ENVS + 1, 31 * ENVS + 2], [30 * ENVS, 26 * ENVS + 3]], np.int32)
    batch = joined.gather(starts, 4)
    for index in np.ndindex(2, 2, 4):
        row, env = divmod(int(starts[index[:2]]), ENVS)
        row += index[2]
        expected = step(row if row < ROWS else 100 + row - ROWS)['vector'][env]
        assert np.array_equal(batch['vector'][index], expected), index
    rewards = [step(row)['reward'] for row in (28, 29, 100, 101)]
    assert np.array_equal(joined.read('reward', 28, 32), rewards)
    episodes = joined.episodes(ROWS + 8)
    assert episodes.tolist() == [*replay.episodes(ROWS).tolist(), *([env, 30, 36] for env in range(ENVS))]
    own = joined.episode(2, 30, 36)
    assert np.array_equal(own['vector'], np.stack([step(100 + row)['vector'][2] for row in range(7)]))
    assert np.array_equal(joined.episode(1, 7, 13)['vector'], replay.episode(1, 7, 13)['vector'])
