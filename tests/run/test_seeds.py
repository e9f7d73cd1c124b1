"""Every named random stream feeds what it names, and nothing else changes but what follows from that.

The runs learn nothing: their rates are so small that float32 takes them for zero. No action changes what the world
shows. So one draw that is changed reaches few things, and which ones is written down here.
"""

import dataclasses

import numpy as np
import pytest
import tiny

from paper_lib.data import streams
from paper_lib.data.store import Store
from paper_lib.run import train

NOTHING = 1e-300
ONLINE = tiny.run(
    tiny.task(tiny.Noise, limit=3), budget=60, eval_every=60, eval_episodes=4, prefill=20, chunk=20,
    lr_model=NOTHING, lr_actor=NOTHING, lr_critic=NOTHING
)  # fmt: skip
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
