"""Planted bugs are found with their rows, and nothing is invented in clean recordings of several environments."""

import numpy as np
import pytest
import recorded
import toy

from paper_lib import cli, envs
from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.data import formats
from paper_lib.data.audit import ENOUGH, ERROR, KINDS, NOTE, audit, table
from paper_lib.data.columns import Arrays
from paper_lib.data.store import Store

# Vectors and pictures, continuous and discrete actions, episodes that end by termination and by a time limit.
CARTPOLE, WALKER, FREEWAY = 'gym:CartPole-v1', 'walker_walk-proprio', 'freeway-vision'
CLEAN = (CARTPOLE, WALKER, FREEWAY, 'breakout-vision', 'gym:Pendulum-v1', 'gym:Acrobot-v1',
         'gym:MountainCarContinuous-v0', 'gym:Blackjack-v1', 'point_mass_maze-proprio',
         'cup_catch-proprio')  # fmt: skip
# Tasks whose resets can be told from other steps, some of them only just.
SEEN = (CARTPOLE, WALKER, FREEWAY, 'cheetah_run-proprio', 'quadruped_run-proprio')
EPISODES, STEPS = 24, 60  # at most
_recorded = {}


def record(task):
    """Steps of random actions. Episodes are cut after `STEPS` steps, so that tests are quick."""
    if task not in _recorded:
        env, rng = envs.make(task, 0), np.random.default_rng(0)
        rows = []
        for _ in range(EPISODES):
            step = env.step({'action': None, 'reset': True})
            for count in range(STEPS):
                if env.spaces.discrete:
                    action = np.eye(env.spaces.action, dtype=np.float32)[rng.integers(env.spaces.action)]
                else:
                    action = rng.uniform(-1, 1, env.spaces.action).astype(np.float32)
                over = step['is_last'] or count == STEPS - 1
                rows.append(step | {'action': action * (not over), 'is_last': over})
                if over:
                    break
                step = env.step({'action': action, 'reset': False})
        _recorded[task] = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return {key: array.copy() for key, array in _recorded[task].items()}


def findings(arrays, length=2, **facts):
    return {finding.kind: finding for finding in audit(formats.ours(Arrays(arrays)), length, **facts)}


@pytest.mark.parametrize('task', CLEAN)
def test_nothing_is_invented_in_clean_recordings(task):
    """The rewards of some tasks never change under random actions, and short episodes do repeat."""
    arrays = record(task)
    true = {
        CARTPOLE: {'constant_rewards'},
        'gym:Acrobot-v1': {'constant_rewards'},
        'gym:Blackjack-v1': {'repeated_episode', 'constant_dimension', 'reset_not_seen'},
        'breakout-vision': {'repeated_episode', 'reset_not_seen'},
    }
    silent = true.get(task, set()) if arrays['reward'].any() else {'zero_rewards'}
    assert findings(arrays).keys() == silent
    assert findings(arrays, limit=tasks.get(task).limit, discrete=envs.make(task, 0).spaces.discrete).keys() == silent


def borders(arrays):
    return np.flatnonzero(arrays['is_first'])[1:]


@pytest.mark.parametrize('task', SEEN)
@pytest.mark.parametrize('shift', [-1, 1])
def test_flags_that_are_shifted_by_one(task, shift):
    """All flags, and only the ends, from which a reader of flat transitions makes all flags."""
    arrays = record(task)
    clean = findings(arrays).keys()
    rolled = arrays | {name: np.roll(arrays[name], shift) for name in ('is_first', 'is_last', 'is_terminal')}
    assert 'missing_first' in findings(rolled)
    ends = rolled['is_last'].copy()
    ends[-1] = True
    firsts = np.append(True, ends[:-1])
    consistent = arrays | {'is_last': ends, 'is_first': firsts, 'is_terminal': np.zeros_like(ends)}
    consistent['reward'] = arrays['reward'] * ~firsts
    assert findings(consistent).keys() - clean <= {
        'shifted_flags',
        'short_episode',
        'action_not_one_hot',
        'no_transition',
    }
    for found in (findings(rolled), findings(consistent)):
        assert f'1 row {"after" if shift == -1 else "before"} is_first' in found['shifted_flags'].value
        assert set(found['shifted_flags'].rows) <= set(borders(arrays) + shift)
        assert found['shifted_flags'].count > 0.8 * len(borders(arrays))


@pytest.mark.parametrize('task', SEEN)
def test_a_last_observation_that_is_already_the_next_first_one(task):
    arrays = record(task)
    key = 'image' if 'image' in arrays else 'vector'
    arrays[key][borders(arrays) - 1] = arrays[key][borders(arrays)]
    found = findings(arrays)['shifted_flags']
    assert '1 row before is_first' in found.value and set(found.rows) <= set(borders(arrays))


def test_what_concerns_all_rows_says_so():
    arrays = record(WALKER)
    arrays['vector'][:, 2] = 1
    (row,) = [row for row in table([*findings(arrays).values()]) if row['kind'] == 'constant_dimension']
    assert (row['count'], row['rows']) == (len(arrays['reward']), 'all')


def test_where_resets_do_not_show_it_says_so():
    """The second one ends its episodes by a rare event, which looms a row before the reset."""
    for task in ('asterix-vision', 'gym:FrozenLake8x8-v1'):
        found = findings(record(task))
        assert found['reset_not_seen'].severity == NOTE and 'shifted_flags' not in found


def test_where_episodes_are_too_short_to_look_for_resets_it_says_so():
    steps = 5
    row = np.tile(np.arange(steps), 60)
    arrays = {'vector': np.random.default_rng(0).normal(size=(len(row), 3)), 'action': np.zeros((len(row), 1))}
    arrays |= {
        'reward': row,
        'is_first': row == 0,
        'is_last': row == steps - 1,
        'is_terminal': np.zeros(len(row), bool),
    }
    found = findings(arrays)['reset_not_seen']
    assert found.severity == NOTE and 'too short' in found.value


@pytest.mark.parametrize('later', [3, 5])
def test_a_jump_that_is_no_reset_is_no_shift(later):
    arrays = record(WALKER)
    rows = borders(arrays)[:, None] + later + np.arange(60 - later)
    arrays['vector'][rows[rows < len(arrays['reward'])]] += 100
    found = findings(arrays)
    assert 'shifted_flags' not in found and 'reset_not_seen' in found


@pytest.mark.parametrize('share', [0.15, 0.6])
@pytest.mark.parametrize('task', [CARTPOLE, WALKER, 'gym:Pendulum-v1', 'point_mass_maze-proprio'])
def test_a_minority_of_shifted_borders_is_named(task, share):
    """Where each reset stands out by itself, and resets are no more than that elsewhere."""
    arrays = record(task)
    wrong = borders(arrays)[: int(share * EPISODES)]
    arrays['vector'][wrong - 1] = arrays['vector'][wrong]
    found = findings(arrays)['shifted_flags']
    assert set(found.rows) <= set(wrong) and found.count >= 3 and f'at {found.count} of' in found.value
    assert found.count > 0.6 * len(wrong)


def test_a_minority_is_not_told_where_resets_look_like_other_steps():
    arrays = record('cheetah_run-proprio')
    wrong = borders(arrays)[: 6 * EPISODES // 10]
    arrays['vector'][wrong - 1] = arrays['vector'][wrong]
    found = findings(arrays)
    assert 'reset_not_seen' in found and 'shifted_flags' not in found


@pytest.mark.parametrize('shift', [-1, 1])
def test_resets_may_show_in_the_image_alone(shift):
    arrays = record(FREEWAY)
    arrays['vector'] = np.random.default_rng(0).normal(size=(len(arrays['reward']), 3)).astype(np.float32)
    assert not {'shifted_flags', 'reset_not_seen'} & findings(arrays).keys()
    rolled = arrays | {name: np.roll(arrays[name], shift) for name in ('is_first', 'is_last', 'is_terminal')}
    assert 'shifted_flags' in findings(rolled)


def test_only_borders_that_are_shifted_are_named():
    arrays = record(WALKER)
    wrong = borders(arrays)[: 3 * EPISODES // 4]
    arrays['vector'][wrong - 1] = arrays['vector'][wrong]
    found = findings(arrays)['shifted_flags']
    assert set(found.rows) <= set(wrong) and found.count > 0.9 * len(wrong)


def test_is_first_in_the_wrong_place():
    arrays = record(WALKER)
    arrays['is_first'][[30, 61]] = True
    arrays['is_first'][[120, 180]] = False
    arrays['is_terminal'][33] = True
    found = findings(arrays)
    assert found['misplaced_first'].rows == (30, 61) and found['missing_first'].rows == (120, 180)
    assert found['misplaced_terminal'].rows == (33,)
    arrays['is_last'][-1] = False
    assert findings(arrays)['open_end'].rows == (len(arrays['reward']) - 1,)


@pytest.mark.parametrize(('value', 'kind'), [(0, 'zero_rewards'), (2, 'constant_rewards'), (-1, 'constant_rewards')])
def test_rewards_that_never_change(value, kind):
    arrays = record(FREEWAY)
    arrays['reward'][:] = value * ~arrays['is_first']
    found = findings(arrays)
    assert found[kind].value == f'every reward is {value}' and found[kind].count == (~arrays['is_first']).sum()


def test_rewards_a_row_too_early_or_not_finite():
    arrays = record(WALKER)
    early = arrays | {'reward': np.roll(arrays['reward'], -1)}
    assert set(findings(early)['reward_at_reset'].rows) <= set(np.flatnonzero(arrays['is_first']))
    arrays['reward'][[0, 5, 70]] = [np.nan, np.nan, np.inf]
    found = findings(arrays)
    assert found['reward_not_finite'].rows == (0, 5, 70) and 'reward_at_reset' not in found


def test_observations_that_are_constant_or_not_finite():
    arrays = record(WALKER)
    arrays['vector'][:, 3] = 7
    arrays['vector'][[8, 9], 5] = [np.nan, -np.inf]
    found = findings(arrays)
    assert found['constant_dimension'].value == 'component 3 is always 7'
    broken = found['vector_not_finite']
    assert broken.rows == (8, 9) and broken.value == 'component 5 is nan at the first of them'
    black = record(FREEWAY)
    black['image'][:] = 0
    assert 'constant_image' in findings(black)


def test_actions_outside_their_bounds_or_never_used():
    arrays = record(WALKER)
    arrays['action'][:, 2] = 0.25 * ~arrays['is_last']
    arrays['action'][[1, 2], 0] = [1.5, np.nan]
    found = findings(arrays)
    assert found['unused_action'].value == 'component 2 of the action is always 0.25'
    assert found['action_outside'].rows == (1,) and found['action_not_finite'].rows == (2,)
    assert found['action_outside'].value.startswith('component 0 is 1.5 at the first of them; actions reach from ')
    assert found['action_not_finite'].value == 'component 0 is nan at the first of them'
    assert 'action_outside' not in findings(arrays, of_run=True)
    arrays = record(FREEWAY)
    never = arrays['action'][:, 1] == 1
    arrays['action'][never] = [1, 0, 0]
    assert findings(arrays)['unused_action'].value == 'of 3 discrete actions these are never chosen: 1'
    arrays['action'][[3, 4]] = [[0.5, 0.5, 0], [1, 1, 0]]
    unclear = findings(arrays, discrete=True)['action_not_one_hot']
    assert unclear.rows == (3, 4) and unclear.value == 'the first of them is 0.5, 0.5, 0'


def test_actions_of_short_episodes_are_not_called_discrete():
    arrays = {key: array.reshape(EPISODES, STEPS, *array.shape[1:])[:, :2] for key, array in record(WALKER).items()}
    arrays = {key: array.reshape(-1, *array.shape[2:]) for key, array in arrays.items()}
    arrays['is_last'] = ~arrays['is_first']
    arrays['is_first'][-1] = arrays['is_last'][-2] = True  # the last two episodes have one step each
    assert not {'action_not_one_hot', 'unused_action'} & findings(arrays).keys()


def test_truncation_that_is_stored_as_termination():
    arrays = record(WALKER)
    arrays['is_terminal'] = arrays['is_last']
    for limit in (None, STEPS - 1, STEPS + 10):  # an environment may have ended episodes before the task does
        found = findings(arrays, limit=limit)['truncation_as_termination']
        assert found.rows == tuple(np.flatnonzero(arrays['is_last'])[:20]) and found.count == EPISODES
        assert 'beyond_limit' not in findings(arrays, limit=limit)
    assert findings(arrays, limit=STEPS - 2)['beyond_limit'].count == EPISODES
    few = {key: array[: 2 * STEPS] for key, array in arrays.items()}  # only a known limit tells
    assert 'truncation_as_termination' in findings(few, limit=STEPS - 1)
    assert 'truncation_as_termination' not in findings(few)


@pytest.mark.parametrize('piece', [1000, 2**22])
def test_episodes_that_repeat(piece, monkeypatch):
    monkeypatch.setattr('paper_lib.data.steps.PIECE', piece)
    arrays = record(WALKER)
    first, second, last = slice(0, 60), slice(180, 240), slice(-60, None)
    for array in arrays.values():
        array[second] = array[first]
        array[last] = array[first]
    arrays['action'][last][0] += 0.1  # the same states under other actions are no copy
    found = findings(arrays)['repeated_episode']
    assert found.rows == (180,) and 'the first of them that of row 0' in found.value


@pytest.mark.parametrize('names', [('terminals',), ('terminals', 'timeouts')])
@pytest.mark.parametrize('following', [False, True])
def test_a_flat_file_without_a_marked_end(names, following, tmp_path, capsys):
    """It is one episode, unless next observations show that it is not. One that marks its last row means it."""
    arrays, path = record(WALKER), tmp_path / 'mine.npz'
    flat = {'observations': arrays['vector'], 'actions': arrays['action'], 'rewards': arrays['reward']}
    if following:
        flat['next_observations'] = np.roll(arrays['vector'], -1, axis=0)
    rows = len(arrays['reward'])
    np.savez(path, **flat, **dict.fromkeys(names, np.zeros(rows)))
    found = {each.kind: each for each in audit(formats.read(path), 2)}
    assert found['few_episodes'].count == 1  # the premise: nothing else is said of the missing ends
    value = f'{path}: no row is marked in {" or ".join(names)}, so that all {rows + following:,} steps are one episode'
    assert found['no_end_marked'].value == value and found['no_end_marked'].rows == (0,)
    assert cli.main(['audit', str(path)]) == 0 and 'no_end_marked' in capsys.readouterr().out
    for name in names:
        marked = dict.fromkeys(names, np.zeros(rows)) | {name: np.arange(rows) == rows - 1}
        np.savez(path, **flat, **marked)
        if (name, following, len(names)) == ('terminals', False, 2):
            with pytest.raises(UserError, match='is a termination, .* the observation .* is missing'):
                formats.read(path)
            continue
        assert 'no_end_marked' not in {each.kind for each in audit(formats.read(path), 2)}


def test_marks_of_ends_that_are_inverted(tmp_path):
    arrays, path = record(WALKER), tmp_path / 'mine.npz'
    flat = {'observations': arrays['vector'], 'actions': arrays['action'], 'rewards': arrays['reward']}
    np.savez(path, **flat, terminals=~arrays['is_last'])
    steps = formats.read(path)
    found = {each.kind: each for each in audit(steps, 2)}['no_transition']
    rows = len(arrays['reward'])
    assert found.count == rows - 2 * (EPISODES - 1) and found.rows[:3] == (0, 1, 2)  # two steps where no end is marked
    assert 'no_transition' not in findings(arrays)
    assert 'no_transition' not in {each.kind for each in audit(steps, 2, of_run=True)}


def test_episodes_that_are_short_or_few():
    arrays = record(CARTPOLE)
    found = findings(arrays, length=20)['short_episode']
    firsts = np.flatnonzero(arrays['is_first'])
    lengths = np.diff(np.append(firsts, len(arrays['reward'])))
    assert found.rows == tuple(firsts[lengths < 20]) and found.severity == NOTE
    few = {key: array[: firsts[ENOUGH - 1]] for key, array in arrays.items()}
    assert findings(few)['few_episodes'].value == f'there are {ENOUGH - 1} episodes'


def test_a_place_is_the_file_of_an_episode_and_the_step_in_it(tmp_path):
    recorded.write_exorl(tmp_path / 'mine', recorded.episodes())
    second = tmp_path / 'mine' / 'episode_000001_8.npz'
    arrays = dict(np.load(second))
    arrays['observation'][3, 0] = np.nan
    np.savez(second, **arrays)
    found = {each.kind: each for each in audit(formats.read(tmp_path / 'mine'), 2)}['vector_not_finite']
    assert found.rows == (recorded.LENGTHS[0] + 3,) and found.places == ('episode_000001_8.npz, step 3',)


def test_a_run_is_audited_as_a_recording_of_its_own_task_alone(trained, capsys):
    run = Store(trained).path(toy.SPEC)
    for name in (str(run), run.name):
        assert cli.main(['audit', name, '--task', toy.TASK, '--runs', str(trained)]) < 2
        assert 'error' not in capsys.readouterr().err
        for task, words in (('nonsense', 'unknown'), (WALKER, f'is a run of {toy.TASK}')):
            assert cli.main(['audit', name, '--task', task, '--runs', str(trained)]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"error: task='{task}'") and words in line


def test_the_command_prints_the_findings_and_exits_with_1_for_errors(capsys, tmp_path):
    arrays, path = record(WALKER), tmp_path / 'mine.npz'
    np.savez(path, **arrays)
    assert cli.main(['audit', str(path), '--task', WALKER, '--length', '50']) == 0
    assert capsys.readouterr().out == f'{path}: nothing to report\n'
    arrays['is_first'][30] = True
    np.savez(path, **arrays)
    assert cli.main(['audit', str(path)]) == 1
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ['kind', 'severity', 'count', 'rows', 'places', 'value', 'advice']
    assert row.split()[:4] == ['misplaced_first', 'error', '1', '30'] and KINDS['misplaced_first'][1] in row
    assert 'episode 1, step 0' in row
    assert cli.main(['audit', str(path), '--json']) == 1
    assert '"rows": [\n   30\n  ]' in capsys.readouterr().out
    assert cli.main(['audit', str(path), '--task', 'cup_catch-proprio']) == 2
    assert 'cup_catch-proprio has' in capsys.readouterr().err
    assert KINDS['misplaced_first'][0] == ERROR


def of_walker():
    """Its episodes as `recorded` has them."""
    arrays = record(WALKER)
    found = []
    for first, last in zip(np.flatnonzero(arrays['is_first']), np.flatnonzero(arrays['is_last'])):
        rows = slice(first, last + 1)
        parts = arrays['vector'][rows], arrays['action'][rows][:-1], arrays['reward'][rows][1:]
        found.append([*(part.copy() for part in parts), False])
    return found


def write(kind, path, episodes):
    """Write episodes in a format, and return what our reader makes of it."""
    if kind == 'minari':
        from gymnasium import spaces

        observed, done = episodes[0][0].shape[1:], episodes[0][1].shape[1:]
        boxes = spaces.Box(-np.inf, np.inf, observed), spaces.Box(-1, 1, done)
        recorded.write_minari(path, episodes, boxes, 'hdf5')
    else:
        getattr(recorded, f'write_{kind}')(path, episodes)
    return formats.read(path)


def changed(part, change):
    """A function that changes the observations (0), actions (1), rewards (2) or the end (3) of every episode."""

    def plant(episodes):
        for index, episode in enumerate(episodes):
            episode[part] = change(episode[part], index)
        return episodes

    return plant


def put(column, value, only=None):
    """Sets a column of every episode, or of the episode `only` one value of it."""

    def change(values, index):
        if only is None:
            values[:, column] = value
        elif index == only:
            values[3, column] = value
        return values

    return change


def late(episodes):
    """Every episode has the first observation of the next one as its last, and not that as its first."""
    following = [*episodes[1:], None]
    for episode, after in zip(episodes, following):
        seen, done, earned, _ = episode
        if after is not None:
            episode[:3] = [np.append(seen, after[0][:1], 0), np.append(done, done[:1], 0), np.append(earned, 0)]
    for episode in episodes[1:]:
        episode[:3] = [part[1:] for part in episode[:3]]
    return episodes


PLANTED = {
    'vector_not_finite': changed(0, put(2, np.nan, only=4)),
    'constant_dimension': changed(0, put(3, 7)),
    'unused_action': changed(1, put(1, 0.25)),
    'action_outside': changed(1, put(0, 1.5, only=4)),
    'action_not_finite': changed(1, put(0, np.nan, only=4)),
    'zero_rewards': changed(2, lambda reward, _: 0 * reward),
    'constant_rewards': changed(2, lambda reward, _: 0 * reward + 1),
    'reward_not_finite': changed(2, lambda reward, _: np.where(np.arange(len(reward)) == 2, np.nan, reward)),
    'truncation_as_termination': changed(3, lambda *_: True),
    'shifted_flags': late,
    'repeated_episode': lambda episodes: [*episodes, episodes[2]],
    'few_episodes': lambda episodes: episodes[:5],
    'short_episode': lambda episodes: [*episodes, [episodes[0][0][:5], episodes[0][1][:4], episodes[0][2][:4], False]],
}


@pytest.mark.parametrize('kind', ['minari', 'ogbench', 'exorl'])
def test_through_every_reader_what_is_planted_is_found_and_nothing_in_a_clean_recording(kind, tmp_path):
    def found(name, episodes):
        return {finding.kind for finding in audit(write(kind, tmp_path / name, episodes), 8)}

    suffix = '.npz' if kind == 'ogbench' else ''
    assert found(f'clean{suffix}', of_walker()) == set()
    for name, plant in PLANTED.items():
        if (kind, name) == ('ogbench', 'truncation_as_termination'):  # it cannot say how an episode ended
            continue
        assert found(f'{name}{suffix}', plant(of_walker())) == {name}, name
