"""What README.md and docs/ say of the runs follows from the archive."""

import types

import pandas as pd
import pytest

from paper_lib.contract.errors import UserError
from paper_lib.study import archive, book, claims, diagnosis, offline, paths, plan, report, scales, verdicts

MAIN = scales.MAIN
PAIRS = {'C1': 20, 'C2': 40}
FIRST = next(entry.first for entry in scales.get(report.SCALE).planned if entry.chapter == 'study')


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path))


def pairs(count):
    """The runs of so many finished pairs of the protocol's first tier."""
    specs = plan.specs('study', scales.get(report.SCALE), optional=True, exploratory=False)
    wanted = ('active', 'passive', 'tandem')
    return [spec for spec in specs if spec.agent in wanted and spec.pair_seed < FIRST + count]


def archived(specs, make_store):
    archive.add(specs, make_store(specs), paths.archive(report.SCALE), 'study')


def test_the_answer_begins_in_bold(make_store, monkeypatch):
    monkeypatch.setattr(claims, 'random', lambda chapter: lambda task: 0.0)
    archived(pairs(2), make_store)
    lines = report.answer().splitlines()
    words = (
        '**Over walker_walk and cheetah_run, it is undecided whether Passive ends below Active.** In 4 pairs, Passive'
    )
    assert lines[0].startswith(words)
    assert max(map(len, lines)) <= 128


def test_claims_with_a_test_are_in_words_and_the_others_are_counted(make_store):
    archived(pairs(10), make_store)
    table, *others = report.primary_claims().split('\n\n')
    assert '| supported | C1: Offline agents end with a lower score than the Active agent. | ' in table
    assert 'C7' not in table and others == ['For 15 more claims there are too few pairs, or none: '
                                            '[all claims](docs/results.md#the-claims).']  # fmt: skip


def test_claims_with_too_few_pairs_are_told_with_all_their_rows(make_store):
    archived(pairs(2), make_store)
    assert report.primary_claims().startswith('For 21 more claims there are too few pairs, or none: ')
    every = report.every_claim()
    assert '### C1: Offline agents end' in every and 'Passive against Active' in every
    assert '- C7: With 10 %' in every.partition('### Claims without a pair to test')[2]


def test_runs_stand_with_the_commit_that_trained_them(make_store, monkeypatch):
    provenance = {'code': ['c0de'], 'seconds': 1800}
    finished = types.SimpleNamespace(provenance=lambda: provenance)
    monkeypatch.setattr(make_store, 'require', lambda self, spec: finished)
    archived(pairs(2), make_store)
    known = pd.DataFrame({'code': ['c0de'], 'commit': ['1234567'], 'note': ['']})
    monkeypatch.setattr(report.pd, 'read_csv', lambda *_, **__: known)
    text = report.trained_by()
    assert f'| study | {MAIN[0]} | Active, Passive, Tandem: 10, 11 | 1234567 | c0de |  |' in text
    assert 'These 12 runs took 6 hours' in text


def test_a_decided_claim_waits_for_the_rest_of_its_planned_pairs(monkeypatch):
    rows = [{'id': name, 'verdict': claims.SUPPORTED, 'pairs': pairs, 'planned': 40} for name, pairs in PAIRS.items()]
    monkeypatch.setattr(verdicts, 'primary', lambda scale: rows)
    progress = {name: verdicts.Progress(planned=40, finished=pairs, needed=6) for name, pairs in PAIRS.items()}
    monkeypatch.setattr(verdicts, 'progress', lambda scale: progress)
    assert verdicts.waiting(report.SCALE) == {'C1': ''}


def test_a_row_that_correction_alone_leaves_undecided_can_still_be_decided():
    pairs = verdicts.Progress(planned=40, finished=40, needed=6)
    row = {'verdict': claims.UNDECIDED, 'p': 0.2}
    assert verdicts.obstacle(row, pairs) == 'all planned pairs have run'
    words = 'all planned pairs have run, and only the correction for other claims can still change the verdict'
    assert verdicts.obstacle(row | {'p': 0.004}, pairs) == words
    assert verdicts.obstacle(row, pairs._replace(finished=39)) == ''


def test_what_is_still_to_be_trained_is_counted_with_its_sources(make_store):
    """Of notebook 2: 9 exploratory runs; in 36 pairs Passive, Tandem and Active; in 10 later ones Active, Passive and
    Passive-same, which has run in neither pair 10; and all Active agents whose recording is needed once more.
    """
    archived(pairs(2), make_store)
    lines = report.training().splitlines()
    (line,) = [line for line in lines if line.startswith('| `paper-lib notebooks 2_validation -p train all` | ')]
    assert line.endswith(' | 151 runs |  | C1, C2, C3, C9, C12, P3, P9 |')
    few, other = 'too few pairs are planned', 'no finished pair is of the kind that is asked for'
    assert lines[-1].endswith(f' claims: C6 and P1 ({few}); P2, P4 and P7 ({other}).')


def test_only_blocks_are_written(monkeypatch):
    monkeypatch.setattr(report, 'BLOCKS', {'answer': lambda: 'new\nlines\n'})
    text = 'before\n<!-- runs: answer -->\nold\n<!-- end -->\nafter\n'
    new = 'before\n<!-- runs: answer -->\nnew\nlines\n<!-- end -->\nafter\n'
    assert report.filled(text) == report.filled(new) == new
    with pytest.raises(UserError, match="block='anser': must be one of answer; did you mean 'answer'"):
        report.filled(text.replace('answer', 'anser'))


def test_c11_rests_on_walker_walk(monkeypatch):
    monkeypatch.delenv('PAPER_LIB_FIGURES')
    words = 'C11 rests on walker_walk: on cheetah_run alone its interval holds 0.'
    assert words in ' '.join((paths.root() / 'README.md').read_text().split())
    of_tasks = verdicts.on_each_task(scales.MAIN, scales.get(report.SCALE), ('C11',))
    walker, cheetah = (of_tasks[task].loc['C11'] for task in ('walker_walk-proprio', 'cheetah_run-proprio'))
    assert walker.high < 0 and cheetah.low < 0 < cheetah.high


def test_the_figure_of_readme_has_the_tasks_and_pairs_that_its_caption_counts(monkeypatch):
    monkeypatch.delenv('PAPER_LIB_FIGURES')
    words = 'there are ten on the left two tasks, and five on the right two.'
    assert words in ' '.join((paths.root() / 'README.md').read_text().split())
    frames = book.shown('figure_3', scales.get(report.SCALE))
    assert frames.tasks[:2] == list(MAIN)
    for agent in ('active', 'passive', 'tandem'):
        counts = frames.runs[frames.runs.agent == agent].task.value_counts()
        assert [counts[task] for task in frames.tasks] == [10, 10, 5, 5]


def test_what_is_said_of_the_agents_that_were_played_in_diagnoses():
    rows = pd.read_csv(paths.root() / report.DIAGNOSES, dtype=str, keep_default_na=False)
    assert set(rows.verdict) == {diagnosis.CANNOT_TELL}
    played = rows[rows.scores != '']
    assert played['beyond the threshold'].tolist() == ['2 of 3', '0 of 2']
    for row in played.to_dict('records'):
        random, best = float(row['random']), float(row['best recorded'])
        scores = [float(score) for score in row['scores'].split(', ')]
        assert max(scores) < random + offline.LEAST_GAIN * (best - random)
    assert 'Pendulum' in row['recording'] and max(scores) < random


def test_five_claims_are_supported_on_the_main_tasks_alone(monkeypatch):
    monkeypatch.delenv('PAPER_LIB_FIGURES')
    which = 'the secondary rows of C1, C2, C3, P4 and P9 lie where the claims say'
    words = f'On the other two alone (20 pairs), {which}; they decide no claim.'
    assert words in ' '.join((paths.root() / 'README.md').read_text().split())
    rows = verdicts.table('study', scales.get(report.SCALE), ('C1', 'C2', 'C3', 'P4', 'P9'))
    own = rows[(rows.part == claims.ON_MAIN) & (rows.agent == 'passive')]
    assert own.pairs.tolist() == [20] * 5 and set(own.verdict) == {claims.SUPPORTED}
