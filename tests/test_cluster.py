"""The commands for machines beyond this one, as a person gives them."""

import json
from pathlib import Path

import pandas as pd
import pytest
import smoke

from paper_lib import cli
from paper_lib.contract import files
from paper_lib.data.attempts import Attempt
from paper_lib.data.lease import Lease
from paper_lib.data.store import Store
from paper_lib.engine import jobs, queue, workflow
from paper_lib.study import book, merge, plan, scales

ROOT = Path(__file__).resolve().parents[1]
SLURM = str(ROOT / 'workflow' / 'slurm.toml')


@pytest.fixture(autouse=True)
def nothing_archived(tmp_path, monkeypatch):
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))


@pytest.fixture
def call(capsys, tmp_path):
    """Give a command -> (exit code, what it prints, what it says on stderr)."""

    def run(*args):
        code = cli.main([*args, '--runs', str(tmp_path / 'runs')])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_plan_has_a_row_per_notebook_and_one_of_all_together(call):
    code, out, _ = call('cluster', 'plan', '--scale', 'smoke', '--site', SLURM, '--json')
    rows = json.loads(out)
    assert code == 0
    assert [row['notebook'] for row in rows] == [*(each for each in book.catalogue.NOTEBOOKS), 'together']
    together = rows[-1]
    assert together['runs'] == 124 and together['done'] == 0
    assert together['runs'] < sum(row['runs'] for row in rows[:-1])  # notebooks share runs
    assert together['jobs'] < together['runs'] / 2  # small ones are packed
    assert together['price'] == pytest.approx(2.5 * together['GPU hours'], rel=0.05)


def test_the_page_shows_what_the_plan_of_the_paper_prints(call):
    page = (ROOT / 'docs/cluster.md').read_text()
    _, out, terms = call('cluster', 'plan', '--scale', 'paper', '--site', SLURM)
    shown = [line.strip() for line in page.splitlines()]
    assert [line for line in out.splitlines() if line.rstrip() not in shown] == []
    assert terms.strip() in ' '.join(page.split())
    paper = scales.get('paper')
    planned = [len(plan.specs(chapter, paper)) for chapter in paper.chapters]
    different = int(out.splitlines()[-1].split()[1])
    assert f'has {different:,} different runs (its chapters plan {sum(planned):,}, and share some)' in page
    assert f'| {different:,} runs, {out.splitlines()[-1].split()[3]} jobs |' in page


def test_a_plan_counts_what_is_finished(call, monkeypatch):
    done = book.every({'scale': 'smoke'}, Store('none'))[0].needs()
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done' if spec in done else 'missing')
    _, out, _ = call('cluster', 'plan', '0_base_agent', '--scale', 'smoke', '--json')
    (base, together) = json.loads(out)
    assert base['done'] == base['runs'] == len(done) and base['jobs'] == together['jobs'] == 0


def test_what_is_finished_of_a_job_is_counted_as_done_and_costs_nothing(call, monkeypatch):
    """In the row of all notebooks as in each: a job of which one run is left has the price of that run."""
    command = ('cluster', 'plan', '1_toy_maze', '--scale', 'smoke', '--site', SLURM, '--json')
    before = json.loads(call(*command)[1])
    needed = book.every({'scale': 'smoke'}, Store('none'))[1].needs()
    done = {spec for spec in needed if not spec.source and spec.pair_seed == 0}
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done' if spec in done else 'missing')
    _, out, err = call(*command)
    after = json.loads(out)
    assert [row['done'] for row in after] == [len(done)] * 2 and done
    assert all(new['price'] < old['price'] and new['runs'] == old['runs'] for new, old in zip(after, before))
    assert 'An hour of a GPU costs 2.5' in err


def test_a_plan_can_be_written_for_a_snakemake_of_ones_own(call, tmp_path):
    code, _, err = call('cluster', 'plan', '2_validation', '--scale', 'smoke', '--site', SLURM, '--write')
    place = tmp_path / 'runs/jobs'
    (path,) = place.glob('plan_*.json')
    plan = json.loads(path.read_text())
    assert code == 0 and f'{len(plan["jobs"])} jobs written: {path}' in err
    assert (place / 'Snakefile').read_bytes() == (ROOT / 'workflow/Snakefile').read_bytes()
    for each in plan['jobs'][:-1]:
        assert [spec.run_id for spec in jobs.read(place / each['id'] / 'job.json').specs] == each['specs']
    assert plan['jobs'][-1]['id'] == 'notebook_2_validation'


def test_runs_that_were_interrupted_are_planned_with_those_that_they_were_begun_with(call, tmp_path):
    """With other notebooks, or other lanes in the site file, a plan would group them in another way."""
    needed = book.every({'scale': 'smoke'}, Store('none'))[1].needs()
    programs = [program for job in jobs.plan(needed, lanes=2) for program in job.programs]
    lanes = next([second.run_id, first.run_id] for first, second in (each for each in programs if len(each) == 2))
    for run_id in lanes:
        checkpoint = tmp_path / 'runs' / run_id / 'checkpoint-20.npz'
        checkpoint.parent.mkdir(parents=True)
        files.write_npz(checkpoint, {}, {'meta': {'setting': {'lanes': lanes}}})
    site = tmp_path / 'site.toml'
    site.write_text("engine = 'slurm'\nlanes = 1\n")
    call('cluster', 'plan', '1_toy_maze', '--scale', 'smoke', '--site', str(site), '--write')
    planned = [jobs.read(path) for path in (tmp_path / 'runs/jobs').glob('job_*/job.json')]
    programs = [[spec.run_id for spec in program] for job in planned for program in job.programs]
    assert lanes in programs
    assert all(len(program) == 1 for program in programs if program != lanes)


def test_no_plan_is_written_under_a_command_that_drives_the_jobs(call, tmp_path):
    place = tmp_path / 'runs/jobs'
    place.mkdir(parents=True)
    with Lease(place / 'driver.json'):
        code, _, err = call('cluster', 'plan', '0_base_agent', '--scale', 'smoke', '--write')
    assert code == 2 and 'drives these jobs already' in err
    assert not any(place.iterdir())


@pytest.mark.parametrize('args, words', [
    (['cluster', 'submit', '--scale', 'smoke'], 'site: none given; name the file with --site'),
    (['cluster', 'submit', '--site', 'no.toml'], 'site=no.toml: no such file'),
    (['cluster', 'plan', '7_none', '--site', SLURM], "notebook='7_none'"),
    (['cluster', 'plan', '--scale', 'huge'], "scale='huge'"),
    (['cluster', 'logs', 'walker'], "run='walker': no job with a log in"),
    (['work', 'no.json'], 'no.json: missing; write it again with `paper-lib cluster submit`'),
])  # fmt: skip
def test_a_mistake_is_one_line(call, args, words):
    code, out, err = call(*args)
    assert (code, out) == (2, '')
    assert err.startswith('error: ') and words in err and err.count('\n') == 1


def test_folders_that_are_not_there_are_not_collected(capsys, tmp_path):
    assert cli.main(['cluster', 'collect', str(tmp_path / 'none')]) == 2
    assert 'is not a folder' in capsys.readouterr().err


@pytest.mark.parametrize('folders, words', [([], 'none given'), (['.'], 'holds no finished run of scale smoke; name')])
def test_where_nothing_can_be_collected_the_folder_is_named(folders, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(['cluster', 'collect', *folders, '--scale', 'smoke']) == 2
    assert words in capsys.readouterr().err


def test_a_refusal_in_the_last_chapter_leaves_the_first_as_it_was(capsys, tmp_path, monkeypatch):
    *_, last = scales.get('smoke').chapters
    added = []

    def runs(specs, store, chapter):
        rows = [{'run_id': spec.run_id, 'task': spec.task, 'pair_seed': spec.pair_seed} for spec in specs]
        machines = ['a', 'b'] if chapter == last else ['a', 'a']
        provenance = [json.dumps({'code': ['c'], 'device': machines[number % 2]}) for number in range(len(rows))]
        return {'runs': pd.DataFrame(rows).assign(provenance=provenance)}

    monkeypatch.setattr(merge, 'of_store', runs)
    monkeypatch.setattr(merge, 'add', lambda *arguments: added.append(arguments) or {})
    command = ['cluster', 'collect', str(tmp_path), '--scale', 'smoke']
    assert cli.main(command) == 2 and 'of its pair by' in capsys.readouterr().err
    assert not added
    assert cli.main([*command, '--mixed']) == 0 and len(added) == len(scales.get('smoke').chapters)


def test_jobs_that_cannot_be_asked_for_are_not_said_to_be_cancelled(call, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    code, out, err = call('cluster', 'cancel', '--site', SLURM)
    assert (code, out) == (2, '') and 'squeue: no answer on this machine' in err and err.count('\n') == 1


def test_a_refused_cancellation_is_an_error(call, tmp_path, monkeypatch):
    name = queue.prefix(tmp_path / 'runs/jobs')
    job = f'{name}|7|PENDING|rule_work_wildcards_job_0a|0:00||None'
    answers = {'squeue': f'echo "{job}"', 'scancel': 'echo no >&2; exit 1'}
    for program, answer in answers.items():
        (tmp_path / program).write_text(f'#!/bin/sh\n{answer}\n')
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    code, out, err = call('cluster', 'cancel', '--site', SLURM)
    assert (code, out) == (2, '') and 'scancel: no; give' in err


def test_status_is_that_of_the_runs_first(call, tmp_path, monkeypatch):
    """A source that failed, its followers that wait, and a run that two processes wrote."""
    monkeypatch.setenv('PATH', str(tmp_path))  # no squeue
    (validation,) = (each for each in book.every({'scale': 'smoke'}, Store('none')) if each.name == '2_validation')
    first, second, *_ = [spec for spec in validation.needs() if not spec.source]
    store = Store(tmp_path / 'runs')
    store.path(first).mkdir(parents=True)
    one, _ = (Attempt(store.path(first), token) for token in ('one', 'two'))
    one.note('metrics')
    call('cluster', 'plan', '2_validation', '--scale', 'smoke', '--site', SLURM, '--write')
    (path,) = (tmp_path / 'runs/jobs').glob('plan_*.json')
    planned = json.loads(path.read_text())['jobs']
    (of_second,) = (each['id'] for each in planned if second.run_id in each['specs'])
    workflow.log(of_second, store).write_text('begin\nerror: no space\n')
    _, out, err = call('cluster', 'status', '2_validation', '--scale', 'smoke', '--site', SLURM, '--json')
    assert err == 'no queue answers on this machine; this is what the runs say alone\n'
    rows = {row['run_id']: row for row in json.loads(out)}
    assert len(rows) == len(validation.needs())
    assert 'TWO WRITERS: attempt 1' in rows[first.run_id]['detail']
    assert (rows[second.run_id]['state'], rows[second.run_id]['detail']) == ('failed', 'error: no space')
    for spec in validation.needs():
        if spec.source:
            row = rows[spec.run_id]
            assert (row['state'], row['detail']) == ('waiting', f'for its source {spec.source.run_id}')
    _, out, _ = call('cluster', 'logs', second.run_id[:30])
    assert out.endswith('begin\nerror: no space\n')


def test_a_job_is_worked_on_by_its_file(call, tmp_path, monkeypatch):
    (job,) = jobs.plan([smoke.ACTIVE])
    jobs.write(tmp_path / 'job.json', job)
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done')
    assert call('work', str(tmp_path / 'job.json')) == (0, f'done: 1 runs of {job.id}\n', '')
