"""A run's replay as a Minari dataset: what the library reads, what we read, and the same bytes again."""

import dataclasses
import json

import numpy as np
import pytest
import toy

from paper_lib import cli
from paper_lib.contract.errors import RunError, UserError
from paper_lib.data import datasets, export, formats
from paper_lib.data.audit import audit
from paper_lib.data.replay import FIRST, Replay
from paper_lib.data.steps import cut, of_replay
from paper_lib.data.store import Store

ROWS = (49, 50, 53)  # of episodes of 7 rows: the last ones end with the run, or are open with 1 or 4 rows


LIKE = {'image': ((32, 32, 3), 'uint8'), 'place': ((2,), 'float32')}
of_toy = toy.step


def plain(row, envs=4):
    """A row as of an environment: a first step has no reward, a last step no action."""
    step = of_toy(row, envs)
    return step | {'reward': step['reward'] * ~step['is_first'], 'action': step['action'] * ~step['is_last'][:, None]}


def pictured(row, envs=4):
    """A row with pictures, a place and discrete actions too."""
    step, rng = plain(row, envs), np.random.default_rng(row)
    image = rng.integers(256, size=(envs, 32, 32, 3), dtype=np.uint8)
    action = np.eye(2, dtype=np.float32)[rng.integers(2, size=envs)] * ~step['is_last'][:, None]
    return step | {'image': image, 'place': rng.normal(size=(envs, 2)).astype(np.float32), 'action': action}


@pytest.fixture(params=[(rows, pictures) for rows in ROWS for pictures in (False, True)], ids=str)
def run(request, tmp_path, monkeypatch):
    """A finished run with so many rows in its replay, and in its store."""
    rows, pictures = request.param
    monkeypatch.setattr(toy, 'step', pictured if pictures else plain)
    monkeypatch.setattr(toy, 'LIKE', toy.LIKE | LIKE if pictures else toy.LIKE)
    spec = dataclasses.replace(toy.SPEC, budget=8 * rows, eval_every=8 * rows, chunk=4, prefill=40)
    toy.train(tmp_path / 'runs', spec)
    return Store(tmp_path / 'runs').require(spec)


def test_export_and_restore_give_the_same_bytes(run, tmp_path, capsys):
    """Also those of the episodes that were running when the run ended."""
    runs = ['--runs', str(run.path.parent)]
    before = toy.contents(run.path.parent, run.spec)
    assert cli.main(['export-dataset', run.spec.run_id, str(tmp_path / 'out'), *runs]) == 0
    Store(run.path.parent).drop_replay(run.spec)
    assert not any(path.exists() for path in run.steps)
    assert cli.main(['restore', str(tmp_path / 'out'), *runs]) == 0
    assert toy.contents(run.path.parent, run.spec) == before
    assert capsys.readouterr().out == f'done: {tmp_path / "out"}\ndone: {run.path}\n'


def test_it_is_a_dataset_that_an_offline_agent_can_learn_from(run, tmp_path):
    """Its steps are the replay's, environment after environment; only what was running is ended."""
    export.write(run, tmp_path / 'out')
    steps = of_replay(run.replay(), run.collected())
    episodes = cut(steps.whole('flags'), 4)
    kept = np.repeat(episodes.lengths > 1, episodes.lengths)  # Minari has no episode without a transition
    whole = np.repeat(episodes.lengths == 7, episodes.lengths)[kept]
    read = formats.read(tmp_path / 'out')
    dataset = datasets.add(tmp_path / 'runs', 'out', toy.TASK, read)
    replay = datasets.find(tmp_path / 'runs', dataset).replay()
    assert replay.arrays.keys() == steps.layout.keys() and read.rows == kept.sum()
    for key, array in replay.arrays.items():
        same = (array[:, 0] == steps.whole(key)[kept]).reshape(read.rows, -1).all(1)
        assert same[whole].all() and (same.all() or key in ('flags', 'action')), key


def test_the_library_reads_it(run, tmp_path):
    minari = pytest.importorskip('minari')
    export.write(run, tmp_path / 'out')
    dataset = minari.MinariDataset(tmp_path / 'out/data')
    assert dataset.spec.dataset_id.startswith('paper_lib/point_mass_maze-proprio_active_s0_')
    replay = run.replay()
    whole = [episode for episode in dataset.iterate_episodes() if len(episode) == 6]
    for episode, (env, first, last) in zip(whole, sorted(map(tuple, replay.episodes(run.collected())))):
        expected = replay.episode(env, first, last)
        observed = episode.observations if 'image' in expected else {'vector': episode.observations}
        for key, values in observed.items():
            np.testing.assert_array_equal(values, expected[key])
        actions = np.eye(2)[episode.actions] if 'image' in expected else episode.actions
        np.testing.assert_array_equal(actions, expected['action'][:-1])
        np.testing.assert_array_equal(episode.rewards, expected['reward'][1:])
        ends = np.arange(6) == 5
        assert episode.terminations.tolist() == (ends & (env == 1)).tolist()
        assert episode.truncations.tolist() == (ends & (env != 1)).tolist()
        if 'place' in expected:
            np.testing.assert_array_equal(episode.infos['place'], expected['place'])
    assert dataset.total_steps == sum(len(episode) for episode in dataset.iterate_episodes())


def test_its_metadata_has_the_provenance(trained, tmp_path):
    run = Store(trained).require(toy.SPEC)
    export.write(run, tmp_path / 'out')
    ours = json.loads((tmp_path / 'out/data/metadata.json').read_text())['paper_lib']
    assert ours['provenance'] == run.provenance() and ours['spec']['run']['task'] == toy.TASK


def test_what_cannot_be_exported_or_restored(trained, tmp_path):
    store, out = Store(trained), tmp_path / 'out'
    export.write(store.require(toy.SPEC), out)
    with pytest.raises(UserError, match='exists already, and nothing is overwritten'):
        export.write(store.require(toy.SPEC), out)
    with pytest.raises(RunError, match='has its replay'):
        export.restore(out, store)
    with pytest.raises(RunError, match='does not exist; train it first'):
        export.restore(out, Store(tmp_path / 'elsewhere'))
    assert cli.main(['restore', str(tmp_path / 'nothing')]) == 2
    assert cli.main(['export-dataset', 'no_run', str(tmp_path / 'new')]) == 2 and not (tmp_path / 'new').exists()


@pytest.mark.parametrize('part', ['first', 'second'])
def test_a_half_holds_the_episodes_that_begin_in_it_and_is_not_restored(part, trained, tmp_path, capsys):
    run = Store(trained).require(toy.SPEC)
    args = ['export-dataset', str(run.path), str(tmp_path / 'out[x]'), '--part', part]
    assert cli.main(args) == 0
    whole = of_replay(run.replay(), run.collected())
    length = run.collected()
    episodes = cut(whole.whole('flags'), whole.sequences)
    in_half = (episodes.firsts % length < length // 2) == (part == 'first')
    starts = whole.whole('vector')[episodes.firsts[in_half & (episodes.lengths > 1)]]
    steps = formats.read(tmp_path / 'out[x]')
    np.testing.assert_array_equal(steps.whole('vector')[np.flatnonzero(steps.whole('flags') & FIRST)], starts)
    assert 0 < len(starts) < (episodes.lengths > 1).sum()
    metadata = json.loads((tmp_path / 'out[x]/data/metadata.json').read_text())
    assert metadata['dataset_id'].endswith(f'_{part}-v0') and f', {part} half.' in metadata['description']
    assert cli.main(['restore', str(tmp_path / 'out[x]'), '--runs', str(trained)]) == 2
    assert 'is a half of a replay; only a whole one can be restored' in capsys.readouterr().err


def test_actions_of_an_exported_run_are_those_that_its_environment_cuts(trained, tmp_path, monkeypatch):
    """So its audit does not call them wrong, as it does for anyone else's."""
    monkeypatch.setattr(toy, 'step', lambda row, envs=4: plain(row, envs) | {'action': np.full((envs, 2), 1.5)})
    toy.train(tmp_path / 'runs')
    export.write(Store(tmp_path / 'runs').require(toy.SPEC), tmp_path / 'out')
    steps = formats.read(tmp_path / 'out')
    assert steps.task == toy.TASK
    kinds = {finding.kind for finding in audit(steps, 8)}
    assert 'action_outside' not in kinds
    kinds = {finding.kind for finding in audit(dataclasses.replace(steps, task=''), 8)}
    assert 'action_outside' in kinds


def test_what_is_interrupted_leaves_nothing(trained, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export.files, 'write_bytes', stop)
    with pytest.raises(KeyboardInterrupt):
        export.write(Store(trained).require(toy.SPEC), tmp_path / 'out')
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_other_bytes_restores_nothing(tmp_path):
    toy.train(tmp_path / 'runs')
    store = Store(tmp_path / 'runs')
    run = store.require(toy.SPEC)
    export.write(run, tmp_path / 'out')
    store.drop_replay(toy.SPEC)
    (run.path / '.replay.tmp').mkdir()  # by a process that was killed
    first, second = (tmp_path / f'out/data/{index}/part-0.arrow' for index in (0, 1))
    first.write_bytes(second.read_bytes())
    with pytest.raises(RunError, match='is not this replay'):
        export.restore(tmp_path / 'out', store)
    path = tmp_path / 'out/data/metadata.json'
    for wrong in ([[9, 0, 7, False]], [[0, 10**9, 7, False]], [[0, 0, 7, False]] * 99, 'none'):
        metadata = json.loads(path.read_text())
        metadata['paper_lib']['episodes'] = wrong
        path.write_text(json.dumps(metadata))
        with pytest.raises(UserError) as caught:
            export.restore(tmp_path / 'out', store)
        assert str(tmp_path / 'out') in str(caught.value) and '\n' not in str(caught.value)
    assert run.is_dropped() and not list(run.path.glob('.replay*'))
    with pytest.raises(RunError, match='missing'):
        Replay(run.path / 'replay')
