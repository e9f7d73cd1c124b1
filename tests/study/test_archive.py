import fcntl
import os

import numpy as np
import pandas as pd
import pytest

from paper_lib.contract.errors import RunError
from paper_lib.study import archive, extract, frames, paths, plan, scales, sealed

NAMES = ('runs', 'metrics', 'episodes', 'traces', 'visits')


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_archive_returns_what_the_store_had(specs, make_store, full):
    store, spec = make_store(specs), specs[-1]
    metrics = full.metrics[full.metrics.run_id == spec.run_id]
    assert metrics.score.tolist() == store.metrics(spec).score.tolist()
    assert set(metrics.pair_seed) == {spec.pair_seed}
    np.testing.assert_array_equal(full.map(spec.run_id), store.traces(spec)['visits'])


@pytest.mark.parametrize('chapter', extract.CHAPTERS)
def test_every_episode_of_every_evaluation_is_a_row(chapter, make_store, tmp_path):
    specs = plan.specs(chapter, scales.get('smoke'))
    archive.add(specs, make_store(specs), tmp_path, chapter)
    found = archive.load(specs, tmp_path, chapter)
    own = found.episodes[found.episodes.run_id == specs[0].run_id]
    assert [*zip(own.env_step, own.episode)] == [(step, episode) for step in (2000, 4000, 6000) for episode in range(4)]
    assert own.score.tolist() == [28.5, 29.5, 30.5, 31.5] * 3
    assert own.value.isna().all()  # not recorded
    assert set(own) == {*frames.KEYS, 'env_step', 'episode', *extract.values('episodes')}
    assert len(found.episodes) == 4 * len(found.metrics)
    assert not [name for name in found.metrics if '_ep' in name]


def test_runs_without_values_of_episodes_have_no_rows_of_them(specs, make_store, tmp_path):
    store, metrics = make_store(specs), make_store.metrics
    store.metrics = lambda spec: metrics(store, spec).filter(regex=r'^(?!score_ep)')
    archive.add(specs, store, tmp_path)
    found = archive.load(specs, tmp_path)
    assert not found.missing and found.episodes.empty
    assert not (tmp_path / 'toy_maze_episodes.parquet').exists()


def test_traces_hold_valid_steps_only(full):
    lengths = full.traces.groupby(['run_id', 'episode']).size().unstack()
    assert set(lengths[0]) == {8}
    assert set(lengths[1]) == {10}


def test_episode_is_the_first_of_the_first_pair_seed(full):
    steps = full.episode('tandem')
    assert (set(steps.pair_seed), set(steps.episode), len(steps)) == ({0}, {0}, 8)


def test_equal_runs_give_equal_bytes_in_any_order(specs, make_store, tmp_path):
    archive.add(specs, make_store(specs), tmp_path / 'a')
    for spec in reversed(specs):
        archive.add([spec], make_store(specs), tmp_path / 'b')
    assert content(tmp_path / 'a') == content(tmp_path / 'b')
    assert len(content(tmp_path / 'a')) == len(NAMES) + 1  # and the manifest


def test_archive_keeps_runs_that_the_store_does_not_have(specs, make_store, tmp_path):
    archive.add(specs, make_store(specs), tmp_path)
    before = content(tmp_path)
    archive.add(specs, make_store(specs[:1]), tmp_path)
    archive.add(specs, make_store([]), tmp_path)
    assert content(tmp_path) == before
    other = plan.specs('toy_maze', scales.get('smoke'), seeds=3)
    archive.add(other, make_store([other[2]]), tmp_path)
    assert archive.load(specs, tmp_path).missing == []


def test_archive_drops_what_is_planned_with_other_values_and_nothing_else(specs, make_store, tmp_path):
    wide, scale = plan.specs('toy_maze', scales.get('smoke'), seeds=3), scales.get('smoke')
    assert archive.add(wide, make_store(wide), tmp_path) == {}
    retuned = plan.make('active', specs[0].task, 0, scale, ratio=0.25)
    dropped = archive.add([retuned], make_store([]), tmp_path)
    assert dropped == {specs[0].run_id: 'it is planned with other values now'}
    assert [spec.run_id for spec in archive.load(wide, tmp_path).missing] == [specs[0].run_id]
    assert content(tmp_path) != {}
    rest = [plan.make(spec.agent, spec.task, spec.pair_seed, scale, ratio=0.25) for spec in wide]
    assert len(archive.add(rest, make_store(rest[:1]), tmp_path)) == len(wide) - 1
    assert len(archive.load(rest, tmp_path).missing) == len(rest) - 1


def test_followers_of_a_source_that_was_trained_again_with_another_outcome_are_dropped(specs, make_store, tmp_path):
    """They learned from other data than what the archive says their source recorded."""
    archive.add(specs, make_store(specs), tmp_path)
    source = next(spec for spec in specs if spec.source is None and spec.pair_seed == 0)
    followers = [spec for spec in specs if spec.source == source]
    again, metrics = make_store([source, followers[0]]), make_store.metrics
    assert archive.add([source], again, tmp_path) == {}  # the same to the bit
    again.metrics = lambda spec: metrics(again, spec).assign(score=7.0 + (spec != source))
    dropped = archive.add([source, followers[0]], again, tmp_path)
    assert list(dropped) == sorted(spec.run_id for spec in followers[1:]) and len(dropped) > 0
    assert set(dropped.values()) == {'its source was trained again and recorded other data'}
    found = archive.load(specs, tmp_path)
    assert found.missing == followers[1:]
    assert found.metrics.score[found.metrics.run_id == source.run_id].unique() == [7.0]
    assert archive.add(specs, again, tmp_path) == {}  # it is over


def test_an_archive_of_outdated_runs_alone_ends_empty(specs, make_store, tmp_path):
    archive.add(specs[:1], make_store(specs), tmp_path)
    archive.add([plan.make('active', specs[0].task, 0, scales.get('smoke'), ratio=0.25)], make_store([]), tmp_path)
    assert len(archive.load(specs, tmp_path).missing) == len(specs)
    archive.add(specs, make_store(specs), tmp_path)
    assert archive.load(specs, tmp_path).missing == []


def test_load_leaves_out_other_runs(specs, make_store, tmp_path):
    archive.add(specs, make_store(specs), tmp_path)
    found = archive.load(specs[:2], tmp_path)
    assert set(found.metrics.run_id) == {spec.run_id for spec in specs[:2]}


def test_an_empty_archive_has_every_column(specs, full, tmp_path):
    empty = archive.load(specs, tmp_path / 'nothing')
    assert empty.missing == specs
    for name in NAMES:
        assert set(getattr(empty, name)) <= set(getattr(full, name))


def test_a_run_that_one_table_lacks_counts_as_missing(specs, make_store, tmp_path):
    archive.add(specs, make_store(specs), tmp_path)
    traces = archive.load(specs, tmp_path).traces
    archive.write(tmp_path, 'toy_maze', {'traces': traces[traces.run_id != specs[0].run_id]})
    assert archive.load(specs, tmp_path).missing == specs[:1]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('part', [0, 0.5])
def test_a_truncated_file_is_named_in_one_line(specs, make_store, tmp_path, name, part):
    archive.add(specs, make_store(specs), tmp_path)
    path = tmp_path / f'toy_maze_{name}.parquet'
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(RunError) as error:
        archive.load(specs, tmp_path)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', NAMES)
def test_a_flipped_byte_is_found_wherever_it_changes_a_value(specs, make_store, full, tmp_path, name):
    archive.add(specs, make_store(specs), tmp_path)
    path = tmp_path / f'toy_maze_{name}.parquet'
    whole = path.read_bytes()
    for i in range(0, len(whole), 61):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :])
        try:
            found = getattr(archive.load(specs, tmp_path), name)
        except RunError as error:
            assert str(path) in str(error)
        else:
            pd.testing.assert_frame_equal(found, getattr(full, name))


@pytest.mark.parametrize('name', ['metrics', 'episodes', 'traces', 'visits'])
def test_a_lost_file_is_not_taken_for_runs_that_were_never_made(specs, make_store, tmp_path, name):
    store = make_store(specs)
    archive.add(specs, store, tmp_path)
    (tmp_path / f'toy_maze_{name}.parquet').unlink()
    with pytest.raises(RunError, match=f'toy_maze_{name}.parquet: missing; restore it'):
        archive.state(specs, make_store([]), tmp_path, 'toy_maze', frozenset())
    for path in tmp_path.iterdir():
        path.unlink()
    archive.add(specs, store, tmp_path)
    assert not archive.load(specs, tmp_path).missing


def test_a_chapter_without_a_maze_has_metrics_episodes_and_runs_only(make_store, tmp_path):
    specs = plan.specs('base_agent', scales.get('smoke'))
    archive.add(specs, make_store(specs), tmp_path, 'base_agent')
    tables = ['base_agent_episodes.parquet', 'base_agent_metrics.parquet', 'base_agent_runs.parquet']
    assert sorted(content(tmp_path)) == sorted(['base_agent_manifest.json', *tables])
    found = archive.load(specs, tmp_path, 'base_agent')
    assert found.missing == []
    own = found.of(['cup_catch-proprio'], 'task')
    assert set(own.metrics.run_id) == {specs[1].run_id} == {spec.run_id for spec in own.specs}
    found = archive.state(specs, make_store([]), tmp_path, 'base_agent', frozenset())
    assert found.state.tolist() == ['archived'] * 2
    found = archive.state(specs, make_store([]), tmp_path, 'toy_maze', frozenset([specs[0].run_id]))
    assert found.state.tolist() == ['planned', 'optional']


def test_a_failed_write_leaves_the_old_file(specs, make_store, tmp_path, monkeypatch):
    archive.add(specs[:1], make_store(specs), tmp_path)
    before = content(tmp_path)

    def full_disk(handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr('os.fsync', full_disk)
    with pytest.raises(RunError, match='No space left on device'):
        archive.add(specs, make_store(specs), tmp_path)
    assert content(tmp_path) == before


def test_state_tells_done_archived_planned_and_optional_apart(specs, make_store, tmp_path):
    archive.add(specs, make_store(specs[:2]), tmp_path)
    planned = frozenset(spec.run_id for spec in specs[:-1])
    state = archive.state(specs, make_store(specs[:1]), tmp_path, 'toy_maze', planned).state.tolist()
    assert state == ['done', 'archived'] + ['planned'] * (len(specs) - 3) + ['optional']


STUDY = plan.specs('study', scales.get('smoke'), 2)


def some(*names, task='breakout-vision'):
    return [spec for spec in STUDY if spec.agent in names and spec.task == task]


def test_study_keeps_no_training_losses_and_one_episode_of_every_run(make_store, tmp_path):
    specs = some('active', 'passive_10', task='window-open-proprio')
    archive.add(specs, make_store(specs), tmp_path, 'study')
    found = archive.load(specs, tmp_path, 'study')
    assert found.missing == []
    assert set(found.metrics) == {*frames.KEYS, 'env_step', *extract.values('metrics'), *extract.values('across')}
    added = found.metrics.groupby('agent').added.agg(list).to_dict()
    assert np.isnan(added['active']).all() and added['passive_10'] == [100, 200, 300] * 2
    assert set(found.traces.pair_seed) == {0, 1} and set(found.traces.episode) == {0}
    assert set(found.traces) == {*frames.KEYS, 'episode', 'step', *extract.values('traces')}
    assert found.traces.groupby('agent').size().tolist() == [16, 16]
    assert len(found.pictures) == len(found.visits) == 0
    assert not (tmp_path / 'study_pictures.parquet').exists()


def test_study_in_any_order_is_equal_bytes(make_store, tmp_path):
    specs = some('active', 'passive_10', 'tandem') + some('active', task='cup_catch-proprio')
    archive.add(specs, make_store(specs), tmp_path / 'a', 'study')
    for spec in reversed(specs):
        archive.add([spec], make_store(specs), tmp_path / 'b', 'study')
    assert content(tmp_path / 'a') == content(tmp_path / 'b')


def test_study_counts_a_run_without_traces_and_drops_by_task_agent_and_pair_seed(make_store, tmp_path):
    specs = some('active', 'tandem_alpha_0', 'tandem_alpha_1e-3')
    archive.add(specs, make_store(specs), tmp_path, 'study')
    assert archive.load(specs, tmp_path, 'study').missing == []
    retuned = plan.make('tandem_alpha_0', 'breakout-vision', 0, scales.get('smoke'), lr_actor=1.0)
    gone = next(spec for spec in specs if (spec.agent, spec.pair_seed) == ('tandem_alpha_0', 0))
    assert archive.add([retuned], make_store([]), tmp_path, 'study').keys() == {gone.run_id}
    assert archive.load(specs, tmp_path, 'study').missing == [gone]


def test_the_study_has_visits_and_paths_where_a_task_has_a_plane(make_store, tmp_path):
    tasks = ('point_mass_maze-vision', 'walker_walk-proprio', 'window-open-proprio')
    maze, walker, window = specs = [plan.make('active', task, 1, scales.get('smoke')) for task in tasks]
    archive.add(specs, make_store(specs), tmp_path, 'study')
    found = archive.load(specs, tmp_path, 'study')
    assert found.map(maze.run_id).sum() > 0 < found.map(walker.run_id).sum()
    assert found.map(window.run_id).sum() == 0
    paths = found.traces.groupby('task')[['v0', 'v1', 'v14', 'v16']].count() > 0
    assert paths.loc[maze.task].tolist() == [True, True, False, False]
    assert paths.loc[walker.task].tolist() == [False, False, True, True]
    assert not paths.loc[window.task].any()


def test_pictures_come_back_as_they_were(make_store, tmp_path):
    specs = some('active')
    archive.add(specs, make_store(specs), tmp_path, 'study')
    found, traces = archive.load(specs, tmp_path, 'study').pictures, make_store(specs).traces(specs[0])
    assert set(found.pair_seed) == {0}
    assert found.step.tolist() == list(range(8))  # all valid steps, fewer than a window
    assert found.step[found.shown].tolist() == [7]
    for row in found.itertuples():
        for name in ('image', 'decoded'):
            picture = np.frombuffer(getattr(row, name), np.uint8).reshape(row.height, row.width, 3)
            np.testing.assert_array_equal(picture, traces[name][0, row.step])


@pytest.mark.parametrize(('worst', 'first'), [(0, 0), (3, 0), (20, 16), (29, 21)])
def test_pictures_are_those_around_the_highest_loss_that_is_well_reconstructed(worst, first):
    loss, recon = np.ones((1, 40)), np.tile([0.0, 1.0], 20)[None]
    loss[0, worst], recon[0, worst] = 5, 0
    loss[0, 11], recon[0, 11] = 9, 1  # higher, but reconstructed badly
    loss[0, 35], recon[0, 35] = 99, 0  # after the end
    image = np.zeros((1, 40, 2, 2, 3), np.uint8)
    found = extract.pictures({'valid': np.arange(40)[None] < 30, 'wm_loss': loss, 'recon_loss': recon,
                             'image': image, 'decoded': image})  # fmt: skip
    assert found.step.tolist() == list(range(first, first + 9))
    assert found.step[found.shown].tolist() == [worst]


# Damage. Every table has a hash in the manifest of its chapter, and the manifest one of its own.


@pytest.fixture
def base(make_store, tmp_path):
    """Specs, and the folder of their archive."""
    specs = plan.specs('base_agent', scales.get('smoke'), 2)
    archive.add(specs, make_store(specs), tmp_path, 'base_agent')
    return specs, tmp_path


@pytest.mark.parametrize('name', ['runs', 'metrics'])
def test_a_lost_table_is_named_whichever_it_is(name, base):
    specs, folder = base
    (folder / f'base_agent_{name}.parquet').unlink()
    with pytest.raises(RunError, match=f'base_agent_{name}.parquet: missing; restore it'):
        archive.load(specs, folder, 'base_agent')


def test_tables_without_their_manifest_are_not_read(base):
    specs, folder = base
    (folder / 'base_agent_manifest.json').unlink()
    with pytest.raises(RunError, match='base_agent_manifest.json: missing, though base_agent_runs.parquet is there'):
        archive.load(specs, folder, 'base_agent')


@pytest.mark.parametrize(
    'content', ['', '{', '[' * 200_000, '{}', '{"tables": {}}', '{"tables": {}, "seal": "0"}', '7']
)
def test_a_damaged_manifest_is_named(content, base):
    specs, folder = base
    (folder / 'base_agent_manifest.json').write_text(content)
    with pytest.raises(RunError, match='base_agent_manifest.json: not what was written'):
        archive.load(specs, folder, 'base_agent')


def test_a_manifest_cannot_be_changed_to_fit(base):
    """The hash of another table in its place breaks the seal."""
    specs, folder = base
    manifest, table = folder / 'base_agent_manifest.json', folder / 'base_agent_metrics.parquet'
    old = sealed.digest(table.read_bytes())
    table.write_bytes(table.read_bytes() + b'x')
    manifest.write_text(manifest.read_text().replace(old, sealed.digest(table.read_bytes())))
    with pytest.raises(RunError, match='base_agent_manifest.json: not what was written'):
        archive.load(specs, folder, 'base_agent')


@pytest.mark.parametrize('change', [
    lambda rows: rows.assign(score=1.5 * rows.score), lambda rows: rows[::2], lambda rows: rows.assign(score=np.nan),
    lambda rows: rows.drop(columns='score'),
])  # fmt: skip
def test_a_table_with_other_values_than_were_written_is_named(change, base):
    specs, folder = base
    path = folder / 'base_agent_metrics.parquet'
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(RunError, match='base_agent_metrics.parquet: not what was written: its hash is not in the'):
        archive.load(specs, folder, 'base_agent')


@pytest.mark.parametrize(('target', 'words'), [
    ('nowhere.parquet', 'a link to nowhere.parquet, which is not there'),
    ('base_agent_runs.parquet', 'a link that leads back to itself'),
])  # fmt: skip
def test_a_link_that_leads_nowhere_is_named(target, words, base):
    specs, folder = base
    path = folder / 'base_agent_runs.parquet'
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(RunError, match=f'base_agent_runs.parquet: {words}; restore it'):
        archive.load(specs, folder, 'base_agent')


@pytest.mark.parametrize(('change', 'words'), [
    (lambda rows: pd.concat([rows, rows]), 'a row twice: cup_catch-proprio_active_s0'),
    (lambda rows: rows.assign(task=rows.task.where(rows.index > 0)), 'a row without task'),
    (lambda rows: rows.assign(run_id=None), 'a row without run_id'),
])  # fmt: skip
def test_rows_that_no_run_has_are_neither_written_nor_read(change, words, base, monkeypatch):
    specs, folder = base
    before, rows = content(folder), change(archive.load(specs, folder, 'base_agent').metrics)
    with pytest.raises(RunError, match=f'base_agent_metrics.parquet: would hold {words}'):
        archive.write(folder, 'base_agent', {'metrics': rows})
    assert content(folder) == before
    with monkeypatch.context() as patched:
        patched.setattr(archive, '_check', lambda rows, name: None)
        archive.write(folder, 'base_agent', {'metrics': rows})
    with pytest.raises(RunError, match=rf'base_agent_metrics.parquet: cannot be read \({words}'):
        archive.load(specs, folder, 'base_agent')


def test_a_schema_is_checked_before_rows_are_read(base, monkeypatch):
    specs, folder = base
    archive._parse.cache_clear()  # as in a process that has not read these tables
    monkeypatch.setattr(archive, 'MOST_ROWS', 3)
    monkeypatch.setattr(archive.pq.ParquetFile, 'read', lambda self: pytest.fail('rows were read'))
    with pytest.raises(RunError, match='rows, at most 3 are read'):
        archive.load(specs, folder, 'base_agent')


@pytest.mark.parametrize('written', range(5))
def test_an_archive_whose_writer_was_killed_is_readable(written, base, make_store, monkeypatch, tmp_path_factory):
    """After the manifest and none, some or all of the tables were replaced; the next writer ends it."""
    specs, folder = base
    before, write, count = archive.load(specs, folder, 'base_agent').metrics, archive.paths.write, []
    more = plan.specs('base_agent', scales.get('smoke'), 3)

    def stop(path, data):
        if len(count) == written:
            raise KeyboardInterrupt
        count.append(path)
        write(path, data)

    monkeypatch.setattr(archive.paths, 'write', stop)
    with pytest.raises(KeyboardInterrupt):
        archive.add(more, make_store(more), folder, 'base_agent')
    monkeypatch.undo()
    whole, found = tmp_path_factory.mktemp('whole'), archive.load(specs, folder, 'base_agent')
    assert not found.missing
    pd.testing.assert_frame_equal(found.metrics, before)
    archive.add(more, make_store(more), folder, 'base_agent')
    archive.add(more, make_store(more), whole, 'base_agent')
    assert content(folder) == content(whole)
    assert not archive.load(more, folder, 'base_agent').missing


def test_the_committed_archive_is_whole():
    folder = paths.root() / 'figures' / 'data' / 'laptop'
    for chapter in extract.CHAPTERS:
        specs = plan.specs(chapter, scales.get('laptop'))
        assert not archive.load(specs, folder, chapter).missing


def test_one_at_a_time_changes_an_archive_from_whatever_checkout(tmp_path):
    with archive.alone(tmp_path / 'data'):
        handle = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_where_nothing_has_run_no_archive_is_made(specs, make_store, tmp_path):
    assert archive.add(specs, make_store([]), tmp_path / 'none') == {} and not (tmp_path / 'none').exists()
