"""The loop's clock in numbers, and what each of its random streams feeds, in runs that learn nothing.

Their rates are so small that float32 takes them for zero, and no action changes what their world shows. So one draw
that is changed reaches few things, and which ones is written down here.
"""

import dataclasses

import numpy as np
import pytest
import tiny

from paper_lib.data import streams
from paper_lib.data.replay import Replay
from paper_lib.data.store import Store
from paper_lib.run import train

NOTHING = 1e-300
STILL = {'prefill': 20, 'chunk': 20, 'eval_episodes': 4, 'lr_model': NOTHING, 'lr_actor': NOTHING, 'lr_critic': NOTHING}

# The clock. Two environments, two environment steps each agent step: 120 agent steps in 6 chunks make 60 rows.
CLOCKED = tiny.run(tiny.task(tiny.Noise, limit=3, count=2, repeat=2), budget=240, eval_every=80, **STILL)
INTERACTING = tiny.follower(CLOCKED, seed=1000, interact_every=40, interact_steps=20)  # of 5 rows each


@pytest.fixture(scope='module')
def clocked(quick, tmp_path_factory):
    """A store with both runs."""
    store = Store(tmp_path_factory.mktemp('clocked'))
    for spec in (CLOCKED, INTERACTING):
        train.train([spec], store)
    return store


def blocks(*rows):
    """Replay rows at each update where every chunk of 20 sees so many."""
    return np.repeat(rows, 20).tolist()


def test_the_clock_of_an_online_run(clocked):
    """No update before the random steps are over; then 20 after every 20 steps, with all rows that there are."""
    metrics = clocked.metrics(CLOCKED)
    assert metrics['agent_step'].tolist() == [40, 80, 120]
    assert metrics['env_step'].tolist() == [80, 160, 240]
    assert metrics['update'].tolist() == [20, 60, 100]
    assert clocked.lengths(CLOCKED).tolist() == blocks(20, 30, 40, 50, 60)
    starts, ends = clocked.batches(CLOCKED) // 2, clocked.batches(CLOCKED) // 2 + CLOCKED.model.length
    for rows in range(20, 61, 10):
        now = clocked.lengths(CLOCKED) == rows
        assert starts[now].min() < 10 and rows - 4 < ends[now].max() <= rows


def test_the_clock_of_a_run_that_interacts(clocked):
    """It collects after 40, 60, 80 and 100 agent steps, behind evaluations; it draws from what it added."""
    metrics = clocked.metrics(INTERACTING)
    assert metrics['agent_step'].tolist() == [40, 80, 120] and metrics['update'].tolist() == [20, 60, 100]
    assert metrics['added'].tolist() == [0, 40, 80]
    assert clocked.lengths(INTERACTING).tolist() == blocks(60, 65, 70, 75, 80)
    batches = clocked.batches(INTERACTING)
    newest = [(batches[clocked.lengths(INTERACTING) == rows] // 2).max() for rows in (60, 70, 80)]
    assert clocked.replay(INTERACTING).rows == 20
    assert newest[0] <= 58 and 60 <= newest[1] <= 68 and 70 <= newest[2] <= 78


SHARE = {'interact_by': 'density_ess', 'measures': 1}


@pytest.mark.parametrize(('asked', 'added'), [
    ({'interact_above': 1e-6}, [0, 40, 80]), ({'interact_above': 1e6}, [0, 0, 0]),
    (SHARE | {'interact_below': 1e6}, [0, 40, 80]), (SHARE | {'interact_below': 1e-6}, [0, 0, 0]),
])  # fmt: skip
def test_a_run_interacts_where_its_evaluation_is_beyond_the_limit(asked, added, clocked):
    spec = dataclasses.replace(INTERACTING, interact_every=80, interact_steps=40, **asked)
    train.train([spec], clocked)
    assert clocked.metrics(spec)['added'].tolist() == added
    batches = clocked.batches(spec)
    assert not np.array_equal(batches[20:40], batches[40:60])  # drawn anew from as many rows


def test_a_run_is_the_beginning_of_a_longer_one(clocked, tmp_path):
    """Nothing that it does depends on what comes later."""
    spec, store = dataclasses.replace(CLOCKED, budget=160), Store(tmp_path)
    train.train([spec], store)
    assert store.metrics(spec).equals(clocked.metrics(CLOCKED)[:2])
    assert np.array_equal(store.batches(spec), clocked.batches(CLOCKED)[:60])
    for name, values in store.replay(spec).arrays.items():
        assert np.array_equal(values, clocked.replay(CLOCKED).arrays[name][:40]), name


def test_an_evaluation_reports_the_training_since_the_last_one(clocked, tmp_path):
    """The mean of all updates of a run that is evaluated once is that of the means, weighted by 20, 40 and 40."""
    once, store = dataclasses.replace(CLOCKED, eval_every=240), Store(tmp_path)
    train.train([once], store)
    losses = clocked.metrics(CLOCKED)['train_model_loss']
    assert losses.nunique() == 3
    mean = np.average(losses, weights=[20, 40, 40])
    np.testing.assert_allclose(store.metrics(once)['train_model_loss'], mean, rtol=1e-6)


def test_every_evaluation_plays_and_compares_something_else(clocked):
    """Though nothing is learned; each has complete episodes of the replay to compare with."""
    metrics = clocked.metrics(CLOCKED)
    scores = metrics[[f'score_ep{episode}' for episode in range(4)]].to_numpy()
    assert len(np.unique(scores)) == scores.size == 12
    assert metrics[['wm_loss', 'wm_loss_replay']].stack().nunique() == 6


def test_updates_have_noise_of_their_own(clocked, tmp_path, monkeypatch):
    """Also where all batches are the same; a run that learns nothing then has a loss that its noise alone moves."""
    store = Store(tmp_path)
    monkeypatch.setattr(Replay, 'sample', lambda self, rng, rows, batch, length: np.zeros(batch, np.int32))
    train.train([CLOCKED], store)
    assert not store.batches(CLOCKED).any()
    assert store.metrics(CLOCKED)['train_model_loss'].nunique() == 3


def test_a_follower_reads_the_rows_that_its_source_had_read(clocked):
    """With the source's weights, batches and noise: so every row was there when the source learned from it."""
    control = dataclasses.replace(CLOCKED, agent='tandem', data='batches', source=CLOCKED, alpha=0.0)
    train.train([control], clocked)
    assert clocked.metrics(control).equals(clocked.metrics(CLOCKED))


def test_followers_of_runs_of_unequal_length_share_no_program():
    """Their replays differ in length, also where they learn for as long."""
    longer = tiny.follower(dataclasses.replace(CLOCKED, budget=480))
    assert dataclasses.replace(longer, budget=240).signature != tiny.follower(CLOCKED).signature


# Seeds.

ONLINE = tiny.run(tiny.task(tiny.Noise, limit=3), budget=60, eval_every=60, **STILL)
OFFLINE = tiny.follower(ONLINE, seed=1000, init_seed=1000, part='mixed')

# What an evaluation plays is judged by the model, what it draws from the replay too.
FOLLOWS = {
    'weights': {'acted', 'trained', 'played', 'judged', 'compared'},
    'shown': {'acted', 'trained', 'compared'},
    'random': {'trained', 'compared'},
    'acted': {'trained', 'compared'},
    'batches': {'trained'},
    'starts': {'played', 'judged'},
    'played': {'judged'},
}
FEEDS = {
    'init': {'weights'},
    'env': {'shown'},
    'prefill': {'random'},
    'policy': {'acted'},
    'replay': {'batches'},
    'half': {'batches', 'compared'},
    'train': {'trained'},
    'eval_env': {'starts'},
    'eval_policy': {'played'},
    'eval_model': {'judged', 'compared'},
    'ood': {'compared'},
}
COLLECTS = {'shown', 'random', 'acted'}


def changed_by(fed, absent):
    """All that changes with these things, in a run that does not make the absent ones."""
    found = fed - absent
    return found.union(*(FOLLOWS.get(name, set()) - absent for name in found))


def outcome(spec, folder, source=None):
    """What a run made, by the names that are used here; the source of an offline run is in that folder."""
    store = Store(folder)
    if source:
        (folder / spec.source.run_id).symlink_to(source / spec.source.run_id)
    train.train([spec], store)
    row, traces, weights = store.metrics(spec).iloc[-1], store.traces(spec), store.weights(spec)
    found = {
        'weights': [value for name, value in weights.items() if not name.startswith('probe/')],  # that has its own rate
        'batches': store.batches(spec),
        'trained': row[[name for name in row.index if name.startswith('train_')]],
        'starts': traces['vector'],
        'played': traces['reward'],
        'judged': row['wm_loss'],
        'compared': row['wm_loss_replay'],
    }
    if spec.data == 'own':
        replay = store.replay(spec)
        action = replay.arrays['action']
        found |= {'shown': replay.arrays['vector'], 'random': action[: spec.prefill], 'acted': action[spec.prefill :]}
    return {name: np.concatenate([np.ravel(value) for value in values]) if name == 'weights' else np.array(values)
            for name, values in found.items()}  # fmt: skip


@pytest.fixture(scope='module')
def before(quick, tmp_path_factory):
    """The folder and what both runs make with the streams as they are."""
    folder = tmp_path_factory.mktemp('before')
    return folder, {ONLINE: outcome(ONLINE, folder), OFFLINE: outcome(OFFLINE, folder)}


def differences(before, spec, folder, **changes):
    """Names of what differs from the run before, with streams or values of the spec as they are now."""
    source, made = before
    now = outcome(dataclasses.replace(spec, **changes), folder, source if spec.source else None)
    return {name for name, value in made[spec].items() if not np.array_equal(value, now[name])}


def test_runs_that_learn_nothing_are_repeated_to_the_bit(before, tmp_path):
    assert not differences(before, ONLINE, tmp_path)


@pytest.mark.parametrize(('spec', 'others'), [
    (dataclasses.replace(ONLINE, seed=1, init_seed=2), {'init': 2}),
    (dataclasses.replace(OFFLINE, seed=1, init_seed=2), {'init': 2, 'eval_env': ONLINE.seed}),
], ids=['online', 'offline'])  # fmt: skip
def test_every_stream_has_its_seed(spec, others, before, tmp_path, monkeypatch):
    """The run's own, but for the initial weights, and for the starts of evaluations, which are the source's."""

    def rng(seed, name, *counters):
        used.add((name, seed))
        return original(seed, name, *counters)

    original, used = streams.rng, set()
    monkeypatch.setattr(streams, 'rng', rng)
    outcome(spec, tmp_path, before[0] if spec.source else None)
    absent = {'env', 'prefill', 'policy'} if spec.source else {'half'}
    assert used == {(name, others.get(name, 1)) for name in FEEDS.keys() - absent}


@pytest.mark.parametrize('stream', FEEDS)
@pytest.mark.parametrize('spec', [ONLINE, OFFLINE], ids=['online', 'offline'])
def test_a_stream_feeds_what_it_names(stream, spec, before, tmp_path, monkeypatch):
    def rng(seed, name, *counters):
        return original(seed, f'{name} of another name' if name == stream else name, *counters)

    original = streams.rng
    monkeypatch.setattr(streams, 'rng', rng)
    fed = set() if stream == 'half' and spec is ONLINE else FEEDS[stream]
    absent = set() if spec is ONLINE else COLLECTS
    assert differences(
        before,
        spec,
        tmp_path,
    ) == changed_by(fed, absent)


def test_the_seed_feeds_all_streams_but_that_of_the_initial_weights(before, tmp_path):
    everything = set(before[1][ONLINE])
    assert differences(before, ONLINE, tmp_path / 'seed', seed=1) == everything - {'weights'}
    assert differences(before, ONLINE, tmp_path / 'init', init_seed=1) == changed_by({'weights'}, set())
