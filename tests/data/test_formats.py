"""Every format gives the same steps, and what cannot be read is one line."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import recorded
from recorded import episodes, ours

from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.data import datasets, formats
from paper_lib.data.columns import Arrays
from paper_lib.data.replay import FIRST, LAST
from paper_lib.data.steps import Wanted

TASK = 'point_mass_maze-proprio'
KINDS = [(False, False), (True, False), (False, True)]  # vectors, pictures, discrete actions


def whole(steps):
    return {key: steps.whole(key) for key in steps.layout}


def assert_same(steps, arrays):
    expected = whole(formats.ours(Arrays(arrays)))
    found = whole(steps)
    assert found.keys() == expected.keys() and steps.rows == len(arrays['reward'])
    for key, (shape, dtype) in steps.layout.items():
        assert found[key].dtype == np.dtype(dtype) and found[key].shape == (steps.rows, *shape), key
        np.testing.assert_array_equal(found[key], expected[key], err_msg=key)
    assert datasets.describe('mine', TASK, steps) == datasets.describe('mine', TASK, arrays)


@pytest.mark.parametrize(('pictures', 'discrete'), KINDS)
@pytest.mark.parametrize('compressed', [False, True])
def test_our_arrays_in_a_file_are_those_of_memory(pictures, discrete, compressed, tmp_path, monkeypatch):
    monkeypatch.setattr('paper_lib.data.steps.PIECE', 100)  # bytes: many pieces
    arrays = ours(episodes(pictures, discrete))
    (np.savez_compressed if compressed else np.savez)(tmp_path / 'mine.npz', **arrays, note=np.zeros(3))
    assert_same(formats.read(tmp_path / 'mine.npz'), arrays)


def test_an_array_in_fortran_order_is_read_too(tmp_path):
    arrays = ours(episodes())
    np.savez(tmp_path / 'mine.npz', **arrays | {'vector': np.asfortranarray(arrays['vector'])})
    assert_same(formats.read(tmp_path / 'mine.npz'), arrays)


@pytest.mark.parametrize(('pictures', 'discrete'), KINDS)
@pytest.mark.parametrize('piece', [100, 2**22])
def test_rows_that_are_states(pictures, discrete, piece, tmp_path, monkeypatch):
    """No step of OGBench is terminal."""
    monkeypatch.setattr('paper_lib.data.steps.PIECE', piece)
    recorded.write_ogbench(tmp_path / 'mine.npz', episodes(pictures, discrete), compressed=piece == 100)
    arrays = ours(episodes(pictures, discrete))
    assert_same(formats.read(tmp_path / 'mine.npz'), arrays | {'is_terminal': np.zeros(sum(recorded.LENGTHS), bool)})


@pytest.mark.parametrize(('pictures', 'discrete'), KINDS)
@pytest.mark.parametrize('piece', [100, 2**22])
def test_rows_that_are_transitions(pictures, discrete, piece, tmp_path, monkeypatch):
    monkeypatch.setattr('paper_lib.data.steps.PIECE', piece)
    recorded.write_d4rl(tmp_path / 'mine.npz', episodes(pictures, discrete))
    assert_same(formats.read(tmp_path / 'mine.npz'), ours(episodes(pictures, discrete)))


@pytest.mark.parametrize(('pictures', 'discrete'), KINDS)
def test_a_file_an_episode(pictures, discrete, tmp_path):
    recorded.write_exorl(tmp_path / 'mine', episodes(pictures, discrete))
    assert_same(formats.read(tmp_path / 'mine'), ours(episodes(pictures, discrete)))


def test_missing_rewards_are_zero(tmp_path):
    arrays = ours(episodes())
    flat = {'observations': arrays['vector'], 'actions': arrays['action'], 'terminals': arrays['is_last']}
    np.savez(tmp_path / 'mine.npz', **flat)
    zeros = np.zeros(sum(recorded.LENGTHS))
    assert_same(formats.read(tmp_path / 'mine.npz'), arrays | {'reward': zeros, 'is_terminal': zeros})


@pytest.mark.slow
def test_a_million_steps_are_opened_and_audited_in_little_memory(tmp_path):
    rows = np.arange(10**6)
    rng = np.random.default_rng(0)
    vector, action = rng.random((10**6, 17), np.float32), rng.random((10**6, 6), np.float32)
    flags = {'is_first': rows % 500 == 0, 'is_last': rows % 500 == 499, 'is_terminal': rows < 0}
    np.savez(tmp_path / 'mine.npz', vector=vector, action=action, reward=rng.random(10**6) * (rows % 500 > 0), **flags)
    code = f"""import resource
from paper_lib.data import audit, datasets, formats
steps = formats.read({str(tmp_path / 'mine.npz')!r})
datasets.describe('mine', {TASK!r}, steps)
assert not audit.audit(steps, 64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500_000  # KB


# Minari, whose files the library itself writes.


@pytest.fixture
def spaces():
    pytest.importorskip('minari')
    pytest.importorskip('h5py')
    from gymnasium import spaces

    return spaces


@pytest.mark.parametrize(('pictures', 'discrete'), KINDS)
@pytest.mark.parametrize('data_format', ['hdf5', 'arrow', 'parquet'])
def test_minari(pictures, discrete, data_format, spaces, tmp_path, monkeypatch):
    observation = spaces.Box(0, 255, (32, 32, 3), np.uint8) if pictures else spaces.Box(-9, 9, (4,))
    action = spaces.Discrete(3) if discrete else spaces.Box(-1, 1, (2,))
    folder = tmp_path / 'mine-v0' / 'data'
    folder.mkdir(parents=True)
    recorded.write_minari(folder, episodes(pictures, discrete), (observation, action), data_format)
    monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path))
    arrays = ours(episodes(pictures, discrete))
    for name in (folder, folder.parent, 'mine-v0'):
        assert_same(formats.read(name), arrays)
        assert formats.title(str(name)) == 'mine-v0'


@pytest.mark.parametrize('data_format', ['hdf5', 'arrow', 'parquet'])
def test_the_parts_of_an_observation_are_in_the_order_of_the_gym_suite(data_format, spaces, tmp_path, monkeypatch):
    """Against the suite's own simulator, which flattens what an environment of these spaces shows."""
    import gymnasium

    from paper_lib import envs

    space = spaces.Dict(
        z=spaces.Box(-1, 1, (2,)), a=spaces.Discrete(3, start=2), m=spaces.MultiDiscrete([2, 3]),
        b=spaces.MultiBinary(2), t=spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.Discrete(2)]),
        image=spaces.Box(0, 255, (40, 36, 1), np.uint8),
    )  # fmt: skip
    space.seed(3)
    control = spaces.Box(np.float32([-2, 0]), np.float32([2, 4]))
    shown = [space.sample() for _ in range(6)]

    class Show(gymnasium.Env):
        observation_space, action_space = space, control

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            self.index = 0
            return shown[0], {}

        def step(self, action):
            self.index += 1
            return shown[self.index], 0.0, False, False, {}

    monkeypatch.delitem(gymnasium.registry, 'Show-v0', raising=False)
    monkeypatch.setattr(tasks, '_tasks', dict(tasks._tasks))
    gymnasium.register('Show-v0', Show)
    env = envs.make('gym:Show-v0', 0)
    seen = [env.step({'action': None, 'reset': True})]
    chosen = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    seen += [env.step({'action': action, 'reset': False}) for action in chosen]

    columns = {key: np.stack([each[key] for each in shown]) for key in space if key != 't'}
    columns['t'] = tuple(np.stack([each['t'][part] for each in shown]) for part in range(2))
    theirs = np.float32([0, 2]) + 2 * chosen
    recorded.write_minari(tmp_path, [(columns, theirs, np.zeros(5), False)], (space, control), data_format)
    steps = formats.read(tmp_path, Wanted(side=64))
    for key in ('vector', 'image'):
        np.testing.assert_array_equal(steps.whole(key), np.stack([each[key] for each in seen]))
    np.testing.assert_allclose(steps.whole('action')[:-1], chosen, atol=1e-6)


def test_jpeg_images_are_decoded(spaces, tmp_path):
    smooth = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[:, None, None], (5, 32, 32, 3)).copy()
    given = [(smooth, np.zeros((4, 2), np.float32), np.zeros(4), False)]
    for data_format in ('hdf5', 'arrow'):
        folder = tmp_path / data_format
        recorded.write_minari(folder, given, (spaces.Box(0, 255, (32, 32, 3), np.uint8), spaces.Box(-1, 1, (2,))),
                              data_format, jpeg=True)  # fmt: skip
        decoded = formats.read(folder).whole('image')
        assert abs(decoded.astype(int) - smooth).max() < 8 and decoded.shape == smooth.shape


# What cannot be read. Nothing is written.


def bad_files(folder):
    """(name of a dataset, words of the message) of every mistake."""
    arrays = ours(episodes())
    rows = len(arrays['reward'])

    def saved(name, **changed):
        np.savez(folder / name, **arrays | changed)
        return folder / name

    (folder / 'empty.npz').write_bytes(b'')
    yield folder / 'empty.npz', 'cannot be read as an .npz file of plain arrays'
    cut = saved('whole.npz').read_bytes()
    (folder / 'cut.npz').write_bytes(cut[: len(cut) // 2])
    yield folder / 'cut.npz', 'cannot be read as an .npz file of plain arrays'
    flipped = bytearray(cut)
    flipped[cut.index(arrays['reward'].tobytes()) + 9] ^= 1
    (folder / 'flipped.npz').write_bytes(flipped)
    yield folder / 'flipped.npz', 'Bad CRC-32'
    np.savez(folder / 'header.npz', **arrays, note=np.zeros(20_000))  # so long that its checksum comes later
    damaged = (folder / 'header.npz').read_bytes().replace(b'(20000,), }', b'(20000,,, }', 1)
    (folder / 'header.npz').write_bytes(damaged)
    yield folder / 'header.npz', 'an array has a damaged header'
    yield saved('object.npz', reward=np.full(rows, None)), 'Python objects are never unpickled'
    yield saved('text.npz', reward=np.full(rows, 'one')), 'reward: has shape (21,) and type <U3; needed are axes N'
    yield saved('short.npz', reward=np.zeros(rows - 1)), 'has shape (20,)'
    yield saved('nan.npz', vector=np.full((rows, 4), np.nan)), 'vector: row 0 is not finite'
    yield saved('large.npz', reward=np.full(rows, 1e300)), 'reward: row 0 is not finite, or too large for float32'
    yield saved('half.npz', is_first=arrays['is_first'] * 2.5), 'is_first: row 0 is 2.5; must be 0 or 1'
    yield saved('torn.npz', is_first=np.arange(rows) == 0), 'is_first: row 5 must be true exactly where row 4 is_last'
    np.savez(folder / 'none.npz')
    yield folder / 'none.npz', 'this one has no arrays'
    empty = {name: array[:0] for name, array in arrays.items()}
    yield saved('no_rows.npz', **empty), 'holds no steps'
    flat = {'observations': arrays['vector'], 'actions': arrays['action'], 'terminals': arrays['is_last']}
    np.savez(folder / 'flat.npz', observations=arrays['vector'], actions=arrays['action'])
    yield folder / 'flat.npz', 'flat transitions have observations, actions, terminals'
    np.savez(folder / 'next.npz', **flat, next_observations=arrays['vector'][:, :2])
    yield folder / 'next.npz', 'next_observations: has shape (21, 2)'
    np.savez(folder / 'no_next.npz', **flat, timeouts=np.zeros(rows))
    yield folder / 'no_next.npz', 'terminals: row 4 is a termination, since there are timeouts too, but the observation'
    np.savez(folder / 'index.npz', **flat | {'actions': np.arange(rows) - 2})
    yield folder / 'index.npz', 'action: row 0 is -2; must be a whole number from 0 to 17'
    (folder / 'flat.hdf5').write_bytes(b'of D4RL')
    yield folder / 'flat.hdf5', 'is no dataset; must be an .npz file'
    (folder / 'nothing').mkdir()
    yield folder / 'nothing', 'is no dataset'
    yield folder / 'gone.npz', 'does not exist; must be an .npz file'
    recorded.write_exorl(folder / 'exorl', episodes())
    np.savez(folder / 'exorl/episode_1.npz', observation=np.zeros((3, 5)), action=np.zeros((3, 2)), reward=np.zeros(3))
    yield folder / 'exorl', 'episode_1.npz: observation: has shape (3, 5)'
    (folder / 'minari').mkdir()
    (folder / 'minari/metadata.json').write_text('{"data_format": "csv"}')
    yield folder / 'minari', 'must have data_format hdf5, arrow, parquet'
    (folder / 'spaces').mkdir()
    (folder / 'spaces/metadata.json').write_text(json.dumps({'data_format': 'arrow'}))
    yield folder / 'spaces', 'has no observation_space'
    (folder / 'listed').mkdir()
    listed = json.dumps({'type': 'Dict', 'subspaces': [1]})
    (folder / 'listed/metadata.json').write_text(json.dumps({'observation_space': listed, 'action_space': listed}))
    yield folder / 'listed', 'a space of the kind Dict cannot be used; must be Box'
    (folder / 'stacked').mkdir()
    stacked, action = (
        json.dumps({'type': 'Box', 'shape': shape, 'dtype': kind, 'low': 0, 'high': 1})
        for shape, kind in (((4, 84, 84), 'uint8'), ((2,), 'float32'))
    )
    (folder / 'stacked/metadata.json').write_text(json.dumps({'observation_space': stacked, 'action_space': action}))
    yield folder / 'stacked', 'observations: uint8 of shape (4, 84, 84); must be uint8 of H x W'
    nothing = json.dumps({'type': 'Dict', 'subspaces': {}})
    for name, words in (('observation', 'actions must be Discrete or a Box'), ('action', 'observes nothing')):
        box = json.dumps({'type': 'Box', 'dtype': 'float32', 'shape': [1], 'low': [-1], 'high': [1]})
        spaces = {'observation_space': nothing, 'action_space': nothing if name == 'observation' else box}
        (folder / name).mkdir()
        (folder / name / 'metadata.json').write_text(json.dumps(spaces | {'data_format': 'arrow'}))
        yield folder / name, words
    for count in (0, -2, 10**9):
        spaces = {'observation_space': box, 'action_space': json.dumps({'type': 'Discrete', 'n': count, 'start': 0})}
        (folder / f'of {count}').mkdir()
        (folder / f'of {count}/metadata.json').write_text(json.dumps(spaces | {'data_format': 'arrow'}))
        yield folder / f'of {count}', f'a space of the kind Discrete has {count} values; must be from 1 to 10000'


def test_what_cannot_be_read_is_one_line_that_names_the_file(tmp_path):
    (tmp_path / 'files').mkdir()
    for name, words in bad_files(tmp_path / 'files'):
        with pytest.raises(UserError) as caught:
            datasets.add(tmp_path / 'runs', 'mine', TASK, formats.read(name))
        text = str(caught.value)
        assert words in text and str(name) in text and '\n' not in text, text
    assert not (tmp_path / 'runs').exists()
    with pytest.raises(UserError, match="dataset='': must be an .npz file"):
        formats.read('')


@pytest.mark.parametrize(
    'damage', ['cut', 'empty', 'gone', 'group', 'lengths', 'long', 'wide', 'narrow', 'early', 'inner', 'gap', 'none']
)
def test_a_damaged_minari_dataset_is_one_line(damage, spaces, tmp_path):
    import h5py

    recorded.write_minari(tmp_path / 'mine', episodes(), (spaces.Box(-9, 9, (4,)), spaces.Box(-1, 1, (2,))), 'hdf5')
    path = tmp_path / 'mine/main_data.hdf5'
    if damage == 'group':
        with h5py.File(path, 'a') as file:
            del file['episode_1/actions']
    elif damage == 'gap':
        with h5py.File(path, 'a') as file:
            file.move('episode_1', 'episode_7')
    elif damage == 'none':
        with h5py.File(path, 'a') as file:
            del file['episode_1/rewards']
            file['episode_1/rewards'] = np.zeros(0)
    elif damage in ('lengths', 'long', 'wide', 'narrow', 'early', 'inner'):
        with h5py.File(path, 'a') as file:
            if damage == 'lengths':
                del file['episode_1/rewards']
            elif damage == 'early':
                file['episode_1/terminations'][3] = True
            elif damage == 'inner':
                file['episode_1/truncations'][3] = True
            elif damage == 'long':
                actions = [*file['episode_1/actions'], np.zeros(2)]
                del file['episode_1/actions']
                file['episode_1/actions'] = np.float32(actions)
            else:
                count = len(file['episode_1/observations'])
                del file['episode_1/observations']
                file['episode_1/observations'] = np.zeros((count, 6 if damage == 'wide' else 1), np.float32)
    elif damage == 'gone':
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 3000 if damage == 'cut' else 0])
    with pytest.raises(UserError) as caught:
        datasets.add(tmp_path / 'runs', 'mine', TASK, formats.read(tmp_path / 'mine'))
    words = {
        'gap': 'numbered from 0, without a gap', 'none': 'episode 1 has no transition',
        'long': 'actions of episode 1 has 9 rows; needed are 8',
        'inner': 'truncations of episode 1: true in row 3, before the last one',
    }.get(damage, '')  # fmt: skip
    assert str(tmp_path / 'mine') in str(caught.value) and '\n' not in str(caught.value) and words in str(caught.value)
    assert not (tmp_path / 'runs').exists()


def test_the_axes_of_a_picture_may_not_change_places(spaces, tmp_path):
    import h5py

    picture = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    recorded.write_minari(tmp_path / 'mine', episodes(pictures=True), (picture, spaces.Box(-1, 1, (2,))), 'hdf5')
    with h5py.File(tmp_path / 'mine/main_data.hdf5', 'a') as file:
        values = np.moveaxis(file['episode_1/observations'][()], -1, 1)
        del file['episode_1/observations']
        file['episode_1/observations'] = values
    words = r'observations of episode 1 has values of shape \(3, 32, 32\); its space has \(32, 32, 3\)'
    with pytest.raises(UserError, match=words):
        datasets.describe('mine', TASK, formats.read(tmp_path / 'mine'))


def test_a_missing_package_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    box = {'type': 'Box', 'dtype': 'float32', 'shape': [1], 'low': [-1], 'high': [1]}
    spaces = dict.fromkeys(('observation_space', 'action_space'), json.dumps(box))
    (tmp_path / 'metadata.json').write_text(json.dumps(spaces | {'data_format': 'hdf5'}))
    with pytest.raises(UserError, match=r"needs the package h5py: pip install -e '.\[datasets\]'"):
        formats.read(tmp_path)


def test_numbers_of_one_column_are_no_indices(tmp_path):
    """An action of Pendulum may be stored as (N,)."""
    recorded.write_ogbench(tmp_path / 'two.npz', episodes())
    columns = dict(np.load(tmp_path / 'two.npz'))
    actions = columns['actions'][:, 0]
    np.savez(tmp_path / 'one.npz', **columns | {'actions': actions})
    steps = formats.read(tmp_path / 'one.npz')
    found = whole(steps)['action']
    assert found.shape == (steps.rows, 1)
    is_last = (whole(steps)['flags'] & LAST) > 0
    np.testing.assert_array_equal(found[~is_last, 0], actions[~is_last])


@pytest.mark.parametrize('extension', ['arrow', 'parquet'])
def test_a_damaged_table_of_minari_is_one_line(extension, spaces, tmp_path):
    recorded.write_minari(tmp_path / 'mine', episodes(), (spaces.Box(-9, 9, (4,)), spaces.Box(-1, 1, (2,))), extension)
    for size in (100, 0):
        (file,) = (tmp_path / 'mine/1').glob(f'*.{extension}')
        file.write_bytes(file.read_bytes()[:size])
        with pytest.raises(UserError, match='cannot be read as a Minari dataset') as caught:
            datasets.describe('mine', TASK, formats.read(tmp_path / 'mine'))
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (
            {'discount': lambda x: np.where(np.arange(len(x)) == 3, 0, x.ravel())},
            'discount: row 3 is 0; must be from 0 to 1, and 0 at the end',
        ),
        ({'discount': lambda x: np.where(np.arange(len(x)) == 3, np.nan, x.ravel())}, 'discount: row 3 is nan'),
        ({'reward': lambda x: np.concatenate([x, x], axis=1)}, r'reward: has shape \(9, 2\).*one number a row'),
        ({'action': lambda x: x[:, :0]}, 'action: has shape .* no axis may be empty'),
    ],
)
def test_what_an_episode_of_a_folder_may_not_have(changes, words, tmp_path):
    recorded.write_exorl(tmp_path / 'mine', episodes())
    file = sorted((tmp_path / 'mine').iterdir())[1]
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {name: change(arrays[name]) for name, change in changes.items()})
    with pytest.raises(UserError, match=words):
        datasets.describe('mine', TASK, formats.read(tmp_path / 'mine'))


def test_without_a_discount_is_terminal_says_that_an_episode_terminates(tmp_path):
    recorded.write_exorl(tmp_path / 'mine', episodes())
    for file in sorted((tmp_path / 'mine').iterdir()):
        arrays = dict(np.load(file))
        arrays['is_terminal'] = arrays.pop('discount') == 0
        np.savez(file, **arrays)
    assert_same(formats.read(tmp_path / 'mine'), ours(episodes()))
    arrays['is_terminal'][2] = True
    np.savez(file, **arrays)
    with pytest.raises(UserError, match='is_terminal: row 2 is true, and is not the last one'):
        whole(formats.read(tmp_path / 'mine'))


@pytest.mark.parametrize('piece', [100, 2**22])
def test_an_end_that_only_the_next_observation_shows_is_named(piece, tmp_path, monkeypatch):
    monkeypatch.setattr('paper_lib.data.steps.PIECE', piece)
    recorded.write_d4rl(tmp_path / 'mine.npz', episodes())
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    del arrays['timeouts']  # the first episode ends by its time limit, in row 3
    np.savez(tmp_path / 'mine.npz', **arrays)
    with pytest.raises(
        UserError, match='those of 1 rows, the first of them row 3, .* mark these rows in an array timeouts'
    ):
        formats.read(tmp_path / 'mine.npz')
    ends = np.isin(np.arange(len(arrays['rewards'])), [3, len(arrays['rewards']) - 1])
    np.savez(tmp_path / 'mine.npz', **arrays | {'timeouts': ends})
    assert_same(formats.read(tmp_path / 'mine.npz'), ours(episodes()))


def test_ends_that_timeouts_could_mark_and_do_not(tmp_path):
    recorded.write_d4rl(tmp_path / 'mine.npz', episodes())
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    marks = {name: np.zeros_like(arrays[name]) for name in ('terminals', 'timeouts')}
    np.savez(tmp_path / 'mine.npz', **arrays | marks)
    with pytest.raises(UserError, match='those of 2 rows, the first of them row 3'):
        formats.read(tmp_path / 'mine.npz')


@pytest.mark.parametrize(('value', 'words'), [(10**9, 'the highest is 1000000000'), (-1, 'the highest is -1')])
def test_so_many_actions_no_agent_has(value, words, tmp_path):
    recorded.write_ogbench(tmp_path / 'mine.npz', episodes(discrete=True))
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    actions = np.full_like(arrays['actions'], min(value, 0))
    actions[2] = value
    np.savez(tmp_path / 'mine.npz', **arrays | {'actions': actions})
    with pytest.raises(UserError, match=f'actions: {words}; must be from 0 to'):
        formats.read(tmp_path / 'mine.npz')


@pytest.mark.parametrize('names', [('observations', 'next_observations'), ('observations',), ('next_observations',)])
def test_a_number_that_is_none_is_no_end(names, tmp_path):
    recorded.write_d4rl(tmp_path / 'mine.npz', episodes()[1:2])
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    del arrays['timeouts']
    for name in names:
        arrays[name][3 if name == 'observations' else 2, 0] = np.nan
    np.savez(tmp_path / 'mine.npz', **arrays)
    assert np.isnan(whole(formats.read(tmp_path / 'mine.npz'))['vector']).any() == ('observations' in names)


@pytest.mark.parametrize('dtype', [np.float32, np.int64])
def test_where_the_task_has_several_actions_one_column_has_their_numbers(dtype, tmp_path):
    recorded.write_ogbench(tmp_path / 'mine.npz', episodes(discrete=True))
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    np.savez(tmp_path / 'mine.npz', **arrays | {'actions': arrays['actions'].astype(dtype)})
    found = whole(formats.read(tmp_path / 'mine.npz', Wanted(actions=3)))['action']
    assert found.shape[1] == 3 and set(found.sum(1)) == {0, 1}


def test_numbers_of_actions_may_begin_where_the_environment_begins_them(tmp_path):
    recorded.write_ogbench(tmp_path / 'mine.npz', episodes(discrete=True))
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    expected = whole(formats.read(tmp_path / 'mine.npz', Wanted(actions=3)))['action']
    np.savez(tmp_path / 'mine.npz', **arrays | {'actions': arrays['actions'] - 1})
    np.testing.assert_array_equal(whole(formats.read(tmp_path / 'mine.npz', Wanted(3, start=-1)))['action'], expected)
    with pytest.raises(UserError, match='must be a whole number from 0 to 2'):
        whole(formats.read(tmp_path / 'mine.npz', Wanted(3)))


@pytest.mark.parametrize('write', [recorded.write_ogbench, recorded.write_exorl])
def test_what_stands_in_a_row_without_an_action_does_not_matter(write, tmp_path):
    """With numbers from 1 on, 0 is no action; it is what recorders fill in."""
    write(tmp_path / 'mine.npz', episodes(discrete=True))
    path = tmp_path / 'mine.npz'
    expected = whole(formats.read(path, Wanted(3)))['action']
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        arrays = dict(np.load(file))
        name = 'action' if path.is_dir() else 'actions'
        actions = arrays[name] + 1
        actions[np.array([0]) if path.is_dir() else np.flatnonzero(arrays['terminals'])] = 0
        np.savez(file, **arrays | {name: actions})
    np.testing.assert_array_equal(whole(formats.read(path, Wanted(3, start=1)))['action'], expected)
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        arrays = dict(np.load(file))
        arrays[name][np.array([0]) if path.is_dir() else np.flatnonzero(arrays['terminals'])] = 9
        np.savez(file, **arrays)
    assert whole(formats.read(path))['action'].shape[1] == 4  # 0 to 3, as far as is seen


def test_an_episode_of_a_single_row_has_no_action(tmp_path):
    recorded.write_exorl(tmp_path / 'mine', episodes())
    single = {
        'observation': np.zeros((1, 4), np.float32),
        'action': np.ones((1, 2), np.float32),
        'reward': np.zeros((1, 1)),
    }
    np.savez(tmp_path / 'mine/episode_000009_0.npz', **single)
    found = whole(formats.read(tmp_path / 'mine'))
    assert found['flags'][-1] & FIRST and found['flags'][-1] & LAST and not found['action'][-1].any()


def test_integers_of_several_components_are_refused_unless_they_are_one_hot(tmp_path):
    recorded.write_ogbench(tmp_path / 'mine.npz', episodes())
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    one_hot = np.eye(3, dtype=np.int64)[np.arange(len(arrays['actions'])) % 3]
    np.savez(tmp_path / 'mine.npz', **arrays | {'actions': one_hot})
    assert whole(formats.read(tmp_path / 'mine.npz'))['action'].shape[1] == 3
    one_hot[arrays['terminals'] > 0] = -1  # no action, whatever stands there
    np.savez(tmp_path / 'mine.npz', **arrays | {'actions': one_hot})
    assert whole(formats.read(tmp_path / 'mine.npz'))['action'].min() == 0
    for row in ([1, 0, 2], [-1, 0, 0], [1, 1, 0]):
        one_hot[3] = row
        np.savez(tmp_path / 'mine.npz', **arrays | {'actions': one_hot})
        words = re.escape(f'actions: row 3 is {row}; integers must be one number of an action')
        with pytest.raises(UserError, match=words):
            formats.read(tmp_path / 'mine.npz')


@pytest.mark.parametrize('value', [0.5, np.nan, 3])
def test_where_the_task_has_several_actions_other_numbers_are_refused(value, tmp_path):
    recorded.write_ogbench(tmp_path / 'mine.npz', episodes(discrete=True))
    arrays = dict(np.load(tmp_path / 'mine.npz'))
    actions = arrays['actions'].astype(np.float64)
    actions[2] = value
    np.savez(tmp_path / 'mine.npz', **arrays | {'actions': actions})
    with pytest.raises(UserError, match=f'action: row 2 is {value}.*; must be a whole number from 0 to 2'):
        whole(formats.read(tmp_path / 'mine.npz', Wanted(actions=3)))
