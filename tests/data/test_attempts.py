"""Who wrote a run, and whether two ever did at once."""

import os

import toy

from paper_lib.data import attempts
from paper_lib.data.store import Store


def test_every_attempt_notes_its_writes(tmp_path):
    toy.interrupted(tmp_path)
    toy.train(tmp_path)
    notes = attempts.read(Store(tmp_path).path(toy.SPEC))
    assert [note.event for note in notes if note.event in ('begin', 'finish')] == ['begin', 'begin', 'finish']
    assert [note.attempt for note in notes if note.event == 'begin'] == [1, 2]
    assert {note.event for note in notes} == {'begin', 'metrics', 'checkpoint', 'finish'}
    assert {note.pid for note in notes} == {os.getpid()}
    assert len({note.token for note in notes}) == 2
    assert not attempts.two_writers(notes)


def test_a_write_after_a_later_attempt_has_begun_is_told(tmp_path):
    first, second = attempts.Attempt(tmp_path, 'one'), attempts.Attempt(tmp_path, 'two')
    second.note('metrics')
    assert not attempts.two_writers(attempts.read(tmp_path))
    first.note('checkpoint')
    second.note('finish')
    late = attempts.two_writers(attempts.read(tmp_path))
    assert [(note.attempt, note.event) for note in late] == [(1, 'checkpoint')]


def test_a_line_that_a_full_disk_cut_off_is_left_out(tmp_path):
    attempt = attempts.Attempt(tmp_path, 'one')
    with open(tmp_path / attempts.NAME, 'ab') as file:
        file.write(b'{"attempt": 1, "ev\n')
    attempt.note('metrics')
    assert [note.event for note in attempts.read(tmp_path)] == ['begin', 'metrics']
