"""Rollouts written by hand: what stands in which row of a replay, and who acts and is evaluated with what."""

import numpy as np
import pytest
import tiny

from paper_lib.data import streams
from paper_lib.data.sources import Part, half, part
from paper_lib.run import evaluate, rollout

LEAVE = np.float32(1)


def counting(limit, **values):
    return tiny.run(tiny.task(tiny.Counter, limit), **values)


def pair(limit):
    """A run of two environments: 3 rows of random actions, 12 in all."""
    return tiny.run(tiny.task(tiny.Counter, limit, count=2), prefill=6, chunk=2, budget=24, eval_every=24)


def collected(folder, spec, choose, rows):
    """The replay of a run whose policy is a script, and the script."""
    program = tiny.Script(choose)
    collector, replay = tiny.collector(program, spec, folder)
    for row in range(rows):
        collector.collect(None, row)
    return replay, program


def scripted(actions):
    """A policy whose action in row r is actions[r] in every environment; 0 where none is given."""
    return lambda key, row, obs: np.full((len(obs['is_first']), 1), actions.get(row, 0), np.float32)


def test_rows_of_a_rollout(tmp_path):
    """Random actions, a time limit of 4 steps, and two episodes that the policy ends."""
    # No row holds an action that was asked for in a last step: 0.7 in row 4, 0.9 in row 7.
    actions = {3: 0.3, 4: 0.7, 5: 0.5, 6: LEAVE, 7: 0.9, 8: LEAVE, 9: 0.9, 10: 0.1, 11: 0.2}
    replay, _ = collected(tmp_path, counting(limit=4), scripted(actions), 12)
    a0, a1, a2 = (streams.rng(0, 'prefill', row).uniform(-1, 1) for row in range(3))
    expected = [
        # episode, steps, action before, reward for it, flags, action after
        (0, 0, 0.0, 0, 'F', a0),
        (0, 1, a0, 1, '', a1),
        (0, 2, a1, 2, '', a2),
        (0, 3, a2, 3, '', 0.3),
        (0, 4, 0.3, 4, 'L', 0.0),  # the limit ends an episode that goes on beyond it
        (1, 0, 0.0, 0, 'F', 0.5),
        (1, 1, 0.5, 11, '', 1.0),
        (1, 2, 1.0, 12, 'LT', 0.0),
        (2, 0, 0.0, 0, 'F', 1.0),
        (2, 1, 1.0, 21, 'LT', 0.0),
        (3, 0, 0.0, 0, 'F', 0.1),
        (3, 1, 0.1, 31, '', 0.2),
    ]
    for row, (found, wanted) in enumerate(zip(tiny.table(replay, 12), expected, strict=True)):
        assert found == pytest.approx(wanted), f'row {row}'


def test_rewards_of_an_action_that_is_repeated_are_summed(tmp_path):
    spec = tiny.run(tiny.task(tiny.Counter, limit=2, repeat=3), budget=36, eval_every=36)
    replay, _ = collected(tmp_path, spec, scripted({4: LEAVE}), 6)
    rows = [row[:2] + row[3:5] for row in tiny.table(replay, 6)]
    assert rows == [
        (0, 0, 0, 'F'),
        (0, 3, 1 + 2 + 3, ''),
        (0, 6, 4 + 5 + 6, 'L'),
        (1, 0, 0, 'F'),
        (1, 3, 11 + 12 + 13, ''),
        (1, 4, 14, 'LT'),  # the end cuts the repetition short
    ]


def test_environments_begin_and_end_their_episodes_each_on_its_own(tmp_path):
    """The second of two leaves in row 5; the first meets its limit in row 7."""

    def choose(key, row, obs):
        return np.array([[0], [LEAVE if row == 4 else 0]], np.float32)

    replay, _ = collected(tmp_path, pair(limit=7), choose, 9)
    flags = [[row[4] for row in tiny.table(replay, 9, env)] for env in (0, 1)]
    assert flags[0] == ['F', '', '', '', '', '', '', 'L', 'F']
    assert flags[1] == ['F', '', '', '', '', 'LT', 'F', '', '']
    assert [row[:2] for row in tiny.table(replay, 9, 1)][5:] == [(0, 5), (1, 0), (1, 1), (1, 2)]
    assert replay.episodes(9).tolist() == [[0, 0, 7], [1, 0, 5]]


def test_no_action_follows_a_last_step_whoever_acts(tmp_path):
    """Episodes of 2 steps: rows 2, 5 and 8 are last ones, of random actions and of the policy."""
    always = scripted(dict.fromkeys(range(12), 0.5))
    replay, _ = collected(tmp_path, counting(limit=2, prefill=4), always, 12)
    assert [row for row in range(12) if not replay.arrays['action'][row].any()] == [2, 5, 8, 11]


def test_the_policy_begins_with_a_fresh_state_after_the_random_steps(tmp_path):
    """In the middle of an episode; the replay does not say that one begins there."""
    replay, program = collected(tmp_path, pair(limit=5), scripted({}), 8)
    fresh = {row: seen['is_first'].tolist() for row, seen in program.seen.items()}
    assert fresh == {3: [[True] * 2], 4: [[False] * 2], 5: [[False] * 2], 6: [[True] * 2], 7: [[False] * 2]}
    assert [row[4] for row in tiny.table(replay, 8)] == ['F', '', '', '', '', 'L', 'F', '']


def test_a_collector_goes_on_where_another_stood(tmp_path):
    """Restored in the middle of episodes: in worlds of random numbers the rows are those of one that never stopped."""
    spec = tiny.run(tiny.task(tiny.Noise, limit=4, count=2), prefill=6, chunk=2, budget=24, eval_every=24)
    replay, _ = collected(tmp_path / 'whole', spec, tiny.noisy, 12)
    program = tiny.Script(tiny.noisy)
    first, _ = tiny.collector(program, spec, tmp_path / 'parts')
    for row in range(8):
        first.collect(None, row)
    second, parts = tiny.collector(program, spec, tmp_path / 'parts')
    second.restore(first.carry, 8)
    for row in range(8, 12):
        second.collect(None, row)
    for name, values in replay.arrays.items():
        np.testing.assert_array_equal(parts.arrays[name], values, err_msg=name)
    assert program.states == {row: row - 3 for row in range(3, 12)}  # the policy's state was handed on too


def test_an_offline_run_that_interacts_goes_on_with_its_episodes(tmp_path):
    """It makes no random steps, and its state is fresh where an episode begins and nowhere else."""
    source = counting(limit=3, budget=24, eval_every=12)
    spec = tiny.follower(source, interact_every=8, interact_steps=3)
    program = tiny.Script(scripted(dict.fromkeys(range(6), 0.5)))
    collector, replay = tiny.collector(program, spec, tmp_path)
    for row in range(6):
        collector.collect(None, row)
    assert [(*row[:2], *row[4:]) for row in tiny.table(replay, 6)] == [
        (0, 0, 'F', 0.5),
        (0, 1, '', 0.5),
        (0, 2, '', 0.5),
        (0, 3, 'L', 0.0),
        (1, 0, 'F', 0.5),
        (1, 1, '', 0.5),
    ]
    assert [row for row, seen in program.seen.items() if seen['is_first'].all()] == [0, 4]


def test_windows_cross_the_borders_of_episodes(tmp_path):
    """A window is consecutive rows of one environment: it says where an episode begins, not where one ends."""
    replay, _ = collected(tmp_path, pair(limit=7), scripted({4: LEAVE}), 9)  # both leave in row 5
    batch = replay.gather(np.array([4 * 2 + 1]), 4)
    assert batch['vector'][0, :, :2].tolist() == [[0, 4], [0, 5], [1, 0], [1, 1]]
    assert batch['action'][0, :, 0].tolist() == [1, 0, 0, 0] and batch['reward'][0].tolist() == [4, 5, 0, 11]
    assert batch['is_first'][0].tolist() == [False, False, True, False]
    assert batch['is_terminal'][0].tolist() == [False, True, False, False]
    starts = replay.sample(streams.rng(0, 'replay'), 9, 1000, 4)
    assert set(starts.tolist()) == set(range(6 * 2))  # rows 0 to 5 of both environments


@pytest.mark.parametrize(('name', 'starts', 'episodes'), [
    ('first', {0, 1, 2}, [[0, 0, 2], [0, 3, 5]]),
    ('second', {6, 7, 8}, [[0, 6, 8], [0, 9, 11]]),
])  # fmt: skip
def test_a_half_of_a_replay_gives_its_own_windows_and_episodes(name, starts, episodes, tmp_path):
    """Twelve rows of episodes of three, windows of four."""
    replay, _ = collected(tmp_path, counting(limit=2), scripted({}), 12)
    source = Part(replay, half(name, 12, 1, 3, streams.rng(0, 'half')), 4)
    assert set(source.sample(streams.rng(0, 'replay'), 12, 1000, 4).tolist()) == starts
    assert source.episodes(12).tolist() == episodes


def test_a_uniform_half_is_pieces_as_long_as_an_episode(tmp_path):
    """Of two environments half of the pieces of three rows; here each is an episode."""
    replay, _ = collected(tmp_path, pair(limit=2), scripted({}), 12)
    source = part(tiny.follower(pair(limit=2), part='mixed'), replay)
    everything = {tuple(episode) for episode in replay.episodes(12).tolist()}
    kept, length = source.kept, source.length
    episodes = {tuple(episode) for episode in source.episodes(12).tolist()}
    assert len(everything) == 8 and len(episodes) == 4 and episodes < everything
    assert kept.sum() == 12 and all(kept[first : last + 1, env].all() for env, first, last in episodes)
    last = 12 - length
    whole = {2 * row + env for row in range(last + 1) for env in range(2) if kept[row : row + length, env].all()}
    assert set(source.sample(streams.rng(0, 'replay'), 12, 1000, length).tolist()) == whole


# Evaluation.


def played(specs, *indices):
    """Per evaluation and run the (episodes, steps, ...) arrays that a policy of pure noise leaves in random worlds."""
    evaluator = rollout.Evaluator(tiny.Script(tiny.noisy), specs)
    return [evaluator.play(None, index) for index in indices]


def test_runs_of_a_pair_are_evaluated_from_the_same_starts():
    """Also as lanes of one program, each with its own source; two sources start differently."""
    sources = [tiny.run(tiny.task(tiny.Noise, limit=3), seed=seed) for seed in (0, 1)]
    followers = [tiny.follower(source, seed=1000) for source in sources]
    (ours,), (theirs,) = played(sources, 0), played(followers, 0)
    for mine, its in zip(ours, theirs):
        np.testing.assert_array_equal(mine['vector'], its['vector'])
        assert (mine['action'] != its['action'])[:, :-1].all()  # with noise of their own
    assert (ours[0]['vector'] != ours[1]['vector']).all()


def test_every_evaluation_has_starts_and_noise_of_its_own():
    first, second, again = (lanes[0] for lanes in played([tiny.run(tiny.task(tiny.Noise, limit=3))], 1, 2, 1))
    for name in ('vector', 'action'):
        np.testing.assert_array_equal(first[name], again[name])
        steps = np.concatenate([first[name], second[name]])[:, :-1]  # no action follows the last step
        assert len(np.unique(steps)) == steps.size


def test_episodes_of_an_evaluation():
    """The first episode is left after one step and not begun again; the second meets its limit."""

    def choose(key, step, obs):
        return np.array([[LEAVE if step in (0, 3) else 0], [0.5]], np.float32)

    (episodes,) = rollout.Evaluator(tiny.Script(choose), [counting(limit=2)]).play(None, 7)
    assert episodes['vector'].tolist() == [
        [[7, 0, 0], [7, 1, 1], [0, 0, 0]],
        [[7, 0, 0], [7, 1, 0.5], [7, 2, 0.5]],
    ]
    assert episodes['action'][..., 0].tolist() == [[1, 0, 0], [0.5, 0.5, 0]]
    assert episodes['reward'].tolist() == [[0, 71, 0], [0, 71, 72]]
    assert episodes['valid'].tolist() == [[True, True, False], [True, True, True]]
    assert episodes['is_last'].tolist() == [[False, True, False], [False, False, True]]
    assert episodes['is_terminal'].tolist() == [[False, True, False], [False, False, False]]


def test_the_policy_is_new_at_each_evaluation_and_keeps_its_state_within_it():
    program = tiny.Script(scripted({}))
    evaluator = rollout.Evaluator(program, [counting(limit=4)])
    for index in (1, 2):
        evaluator.play(None, index)
        assert program.states == {step: step for step in range(5)}


def test_no_two_judgements_share_their_noise(tmp_path):
    """Neither of the episodes that an evaluation plays nor of those that it draws from the replay."""
    replay, program = collected(tmp_path, counting(limit=2), scripted({}), 12)
    evaluation = evaluate.Evaluation(program, [counting(limit=2)], [replay])
    for index in (1, 2, 3):
        evaluation(None, index, 12)
    assert len(set(program.assessed)) == len(program.assessed) == 6


def test_pictures_of_an_evaluation_are_decoded_from_what_was_judged(tmp_path):
    """Of the first episode, with the same noise; other evaluations keep none."""
    spec = tiny.run(tiny.task(tiny.Picture, limit=2))
    replay, program = collected(tmp_path, spec, tiny.noisy, 12)
    evaluation = evaluate.Evaluation(program, [spec], [replay])
    assert 'image' not in evaluation(None, 1, 12)[1][0]
    (trace,) = evaluation(None, 2, 12, pictures=True)[1]
    assert program.decoded == program.assessed[2:3]
    np.testing.assert_array_equal(trace['decoded'], trace['image'])
    assert trace['image'].shape == (1, 3, 4, 4, 3) and trace['image'].dtype == np.uint8
