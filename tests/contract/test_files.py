import json
import os
import signal

import numpy as np
import pytest

from paper_lib.contract import files
from paper_lib.contract.errors import RunError

ARRAYS = {'b/x': np.arange(6, dtype=np.int32).reshape(2, 3), 'a': np.float32(3), 'file': np.zeros((0, 2))}


def test_npz_round_trip_and_equal_bytes(tmp_path):
    files.write_npz(tmp_path / 'a.npz', ARRAYS, {'clock': 3})
    files.write_npz(tmp_path / 'b.npz', dict(reversed(ARRAYS.items())), {'clock': 3})
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
    arrays, meta = files.read_npz(tmp_path / 'a.npz')
    assert meta == {'clock': 3} and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and np.array_equal(arrays[name], array)
    with np.load(tmp_path / 'a.npz') as archive:  # an ordinary npz for everyone else
        assert archive['b/x'].shape == (2, 3)


@pytest.mark.parametrize('name', ['x.npz', 'x.json'])
def test_every_single_flipped_byte_and_every_truncation_is_seen(tmp_path, name):
    path = tmp_path / name
    write, read = (files.write_npz, files.read_npz) if name == 'x.npz' else (files.write_json, files.read_json)
    write(path, {'weights': np.arange(5)} if name == 'x.npz' else {'weights': [1, 2], 'name': 'x'})
    whole = path.read_bytes()
    read(path)
    for position in range(len(whole)):
        for damaged in (whole[:position], whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(RunError, match=name):
                read(path)
    path.write_bytes(whole + b' ')
    with pytest.raises(RunError, match=name):
        read(path)


SHAPE = {'name': str, 'files': {str: {'size': int}}, 'pair': (str, int), 'list': [int]}
FITS = {'name': 'x', 'files': {'a': {'size': 1}}, 'pair': ['a', 1], 'list': [], 'more': None}


def test_json_of_the_right_shape_is_given_back():
    assert files.parse_json('x', json.dumps(FITS).encode(), SHAPE) == FITS
    assert files.parse_json('x', ('[' * files.DEEPEST + ']' * files.DEEPEST).encode(), [list])
    assert files.parse_json('x', b'true', bool) is True


@pytest.mark.parametrize(('change', 'name'), [
    ({'name': 5}, 'name'), ({'name': None}, 'name'), ({'files': []}, 'files'), ({'files': {'a': 1}}, 'a'),
    ({'files': {'a': {}}}, 'size'), ({'files': {'a': {'size': True}}}, 'size'), ({'pair': ['a']}, 'pair'),
    ({'pair': ['a', 'b']}, 'pair'), ({'pair': {}}, 'pair'), ({'list': [1, 1.5]}, 'list'),
])  # fmt: skip
def test_json_of_another_shape_is_named(change, name):
    with pytest.raises(RunError, match=rf'x: damaged \({name} is missing or of another type\); restore it'):
        files.parse_json('x', json.dumps(FITS | change).encode(), SHAPE)


@pytest.mark.parametrize('text', [
    b'', b'{', b'5', b'null', b'"x"', b'[]', b'\xff', b'[' * 100_000, b'{"a":' * 100_000,
    b'{"a":' + b'[' * 30 + b']' * 30 + b'}', b'{"a":' * 30 + b'1' + b'}' * 30, b'{"a": "' + b'x' * 2**20 + b'"}',
    b'{"a": ' + b'9' * 5000 + b'}',
])  # fmt: skip
def test_what_is_no_json_object_or_too_deep_or_long_is_named(tmp_path, text):
    (tmp_path / 'x.json').write_bytes(text)
    for read in (files.read_json, lambda path: files.parse_json(path, files.read_start(path))):
        with pytest.raises(RunError, match=r'x.json: damaged'):
            read(tmp_path / 'x.json')


def test_meta_of_a_damaged_npz_is_none_of_it_or_what_was_written(tmp_path):
    """Every bit of the member that holds the meta, and of the zip's directory behind it."""
    path, meta = tmp_path / 'x.npz', {'lanes': ['a']}
    files.write_npz(path, {}, meta)
    whole = path.read_bytes()
    for position in range(len(whole) - 64):  # behind it comes the seal
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            assert files.read_meta(path, {'lanes': [str]}) in ({}, meta)
    path.write_bytes(whole)
    assert files.read_meta(path, {'lanes': [int]}) == {}


def test_two_processes_that_write_one_file_do_not_share_its_temporary_copy(tmp_path, monkeypatch):
    with files.replacing(tmp_path / 'a') as ours:
        monkeypatch.setattr(os, 'getpid', lambda: 1)
        files.write_bytes(tmp_path / 'a', b'theirs')
        ours.write(b'ours')
        monkeypatch.undo()
    assert (tmp_path / 'a').read_bytes() == b'ours'


def test_json_of_another_schema_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'SCHEMA', 99)
    files.write_json(tmp_path / 'done.json', {})
    monkeypatch.undo()
    with pytest.raises(RunError, match=r'has schema 99, this code reads schema'):
        files.read_json(tmp_path / 'done.json')


def test_pickled_arrays_are_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError):
        files.write_npz(tmp_path / 'a.npz', {'a': np.array([None])})
    assert not list(tmp_path.iterdir())


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a'
    files.write_bytes(path, b'old')
    with pytest.raises(KeyError), files.replacing(path) as file:
        file.write(b'new')
        raise KeyError
    assert path.read_bytes() == b'old' and os.listdir(tmp_path) == ['a']


def test_reserved_space_keeps_what_is_there(tmp_path):
    path = tmp_path / 'a'
    files.reserve(path, 10)
    path.write_bytes(b'abc' + bytes(7))
    files.reserve(path, 10)
    assert path.read_bytes() == b'abc' + bytes(7)
    with pytest.raises(RunError, match=r'a: has 10 bytes, not 5'):
        files.reserve(path, 5)


def test_reserving_without_posix_fallocate(tmp_path, monkeypatch):
    monkeypatch.delattr(os, 'posix_fallocate', raising=False)
    files.reserve(tmp_path / 'a', 3 * 2**20 + 5)
    assert (tmp_path / 'a').stat().st_size == 3 * 2**20 + 5


def test_reserving_more_than_the_disk_is_an_error_not_a_signal(tmp_path):
    with pytest.raises(RunError, match=r'a: .*then run the same command again'):
        files.reserve(tmp_path / 'a', 2**60)


def test_prefix_is_the_same_in_one_piece_or_many():
    array = np.arange(30, dtype=np.float32).reshape(10, 3)
    pieces = files.Prefix({'x': array})
    for rows in (0, 3, 3, 7):
        pieces.extend(rows)
    assert pieces.extend(9) == files.Prefix({'x': array}).extend(9) != files.Prefix({'x': array}).extend(8)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path):
    path = tmp_path / 'mine[1]'
    child = os.fork()
    if not child:
        with files.scratch(path) as folder:
            (folder / 'part').write_text('half')
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    with files.scratch(tmp_path / 'mine1') as other:
        assert left.exists()  # of another folder
        with files.scratch(path) as own:
            assert set(tmp_path.iterdir()) == {own, other}
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                with files.scratch(path) as beside:
                    os.write(writer, bytes([own.exists() and beside != own]))
                os._exit(0)
            os.waitpid(child, 0)
            assert os.read(reader, 1) == b'\1' and own.exists()
            (own / 'part').write_text('whole')
            own.rename(path)
    assert [each.name for each in tmp_path.iterdir()] == ['mine[1]'] and (path / 'part').read_text() == 'whole'
