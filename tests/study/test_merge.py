"""Results of several machines in one archive."""

import types

import pytest

from paper_lib.contract.errors import RunError
from paper_lib.study import archive, merge, scales

SMOKE = scales.get('smoke')
HERE = {'code': ['aaa'], 'device': 'cpu', 'cpu': 'one processor'}


@pytest.fixture
def store_of(make_store):
    """A store whose runs have this provenance."""

    def make(specs, provenance):
        store = make_store(specs)
        store.require = lambda spec: types.SimpleNamespace(provenance=lambda: provenance)
        return store

    return make


def pair(specs, seed):
    return [spec for spec in specs if spec.pair_seed == seed]


def runs(folder):
    return set(archive.read(folder, 'toy_maze')['runs'].run_id)


def add(specs, stores, folder, **options):
    parts = [merge.of_store(specs, store, 'toy_maze') for store in stores]
    return merge.add(specs, parts, folder, 'toy_maze', **options)


def test_pairs_of_two_machines_are_one_archive_with_the_bytes_of_one_machine(specs, store_of, tmp_path):
    first, second = pair(specs, 0), pair(specs, 1)
    add(specs, [store_of(first, HERE), store_of(second, HERE)], tmp_path / 'merged')
    archive.add(specs, store_of(first + second, HERE), tmp_path / 'one', 'toy_maze')
    names = [path.name for path in (tmp_path / 'one').iterdir()]
    assert len(names) == 6  # the tables and their manifest
    for name in names:
        assert (tmp_path / 'merged' / name).read_bytes() == (tmp_path / 'one' / name).read_bytes()


def test_an_archive_is_merged_like_the_store_that_it_came_from(specs, store_of, tmp_path):
    archive.add(specs, store_of(pair(specs, 0), HERE), tmp_path / 'theirs', 'toy_maze')
    merge.add(specs, [merge.of_archive(specs, tmp_path / 'theirs', 'toy_maze')], tmp_path / 'ours', 'toy_maze')
    assert runs(tmp_path / 'ours') == {spec.run_id for spec in pair(specs, 0)}
    for path in (tmp_path / 'theirs').iterdir():
        assert path.read_bytes() == (tmp_path / 'ours' / path.name).read_bytes()


@pytest.mark.parametrize('other', [{'code': ['bbb']}, {'cpu': 'another processor'}, {'device': 'a GPU'}])
def test_a_pair_is_of_one_code_and_hardware_unless_asked_for(other, specs, store_of, tmp_path):
    """Nothing is written when a run is refused; pairs of different machines are no matter."""
    active, *followers = pair(specs, 0)
    stores = [store_of([active], HERE), store_of(followers, HERE | other), store_of(pair(specs, 1), HERE | other)]
    parts = [merge.of_store(specs, store, 'toy_maze') for store in stores]
    with pytest.raises(RunError, match='of its pair by'):
        merge.check(specs, parts, tmp_path, 'toy_maze')
    with pytest.raises(RunError, match=f'^{followers[0].run_id}: trained by code .*{active.run_id} of its pair by'):
        add(specs, stores, tmp_path)
    assert not runs(tmp_path)
    new = add(specs, stores, tmp_path, mixed=True)
    assert runs(tmp_path) == {spec.run_id for spec in specs if spec.pair_seed < 2}
    assert merge.origins(new) == {merge.origin(HERE): 1, merge.origin(HERE | other): len(specs) - 1}


def test_a_run_is_refused_for_what_the_archive_has_of_its_pair(specs, store_of, tmp_path):
    active, *followers = pair(specs, 0)
    add(specs, [store_of([active], HERE)], tmp_path)
    with pytest.raises(RunError, match='--mixed'):
        add(specs, [store_of(followers, HERE | {'code': ['bbb']})], tmp_path)
    add(specs, [store_of(followers, HERE)], tmp_path)
    assert runs(tmp_path) == {spec.run_id for spec in pair(specs, 0)}


def test_a_run_that_is_archived_stays_as_it_is(specs, store_of, tmp_path):
    add(specs, [store_of(pair(specs, 0), HERE | {'seconds': 1})], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not add(specs, [store_of(pair(specs, 0), HERE | {'seconds': 2})], tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
