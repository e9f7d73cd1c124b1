"""What every command prints, which run it means, and how notebooks are run."""

import dataclasses
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import tqdm.auto

import paper_lib
from paper_lib import cli, machine, notebooks
from paper_lib.cli import options
from paper_lib.contract import agents, files, plain, tasks
from paper_lib.contract.errors import RunError, UserError
from paper_lib.contract.spec import ModelSpec
from paper_lib.data import writer
from paper_lib.data.store import Store
from paper_lib.engine import doctor, ensure
from paper_lib.engine.progress import Progress
from paper_lib.run import cost
from paper_lib.study import plan, scales
from paper_lib.study.paper import PAPER_TASKS

ROOT = Path(__file__).resolve().parents[1]
TASK = 'point_mass_maze-proprio'
NOTEBOOKS = [path.stem for path in sorted((ROOT / 'notebooks').glob('*.ipynb'))]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Nothing of the repository is written, and kernels find the package whether it is installed or not."""
    monkeypatch.setenv('PAPER_LIB_RUNS', str(tmp_path / 'runs'))
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.chdir(tmp_path)


def study(scale):
    """Planned runs of all chapters."""
    found = scales.get(scale)
    return [spec for chapter in found.chapters for spec in plan.specs(chapter, found)]


def rows(capsys, *args):
    assert cli.main([*args, '--json']) == 0
    return json.loads(capsys.readouterr().out)


# Lists.


def test_lists(capsys):
    assert [row['id'] for row in rows(capsys, 'tasks')] == [task.id for task in tasks.known()]
    assert [row['agent'] for row in rows(capsys, 'agents')] == list(agents.AGENTS)
    assert {row['scale']: row['planned'] for row in rows(capsys, 'scales')} == {
        name: len(study(name)) for name in scales.SCALES
    }
    sizes = {row.pop('size'): ModelSpec(**row) for row in rows(capsys, 'sizes')}
    assert sizes == scales.sizes()
    assert {spec.model for spec in study('laptop')} <= set(sizes.values())
    assert sizes['laptop_study'] == plan.make('passive', 'cheetah_run-proprio', 10, scales.get('laptop')).model


def test_pairs_without_runs_lack_what_takes_several_runs(capsys):
    assert rows(capsys, 'across', '--scale', 'smoke') == [
        {'task': 'cup_catch-proprio', 'pair_seed': 0, 'state': 'lacking'}
    ]
    assert cli.main(['across', '--scale', 'paper']) == 2
    assert 'must be laptop or smoke' in capsys.readouterr().err


@pytest.mark.parametrize('command', ['tasks', 'agents', 'scales', 'sizes', 'runs', 'figures'])
def test_tables_are_aligned(capsys, command):
    assert cli.main([command]) == 0
    head, *lines = capsys.readouterr().out.rpartition('\n\n')[2].splitlines()
    assert len(lines) > 2
    for start in [match.start() for match in re.finditer(r'(?<=  )\S', head)]:
        assert all(line[start - 2 : start] in ('', ' ', '  ') for line in lines)


def test_help_explains_every_value(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(['train', '--help'])
    assert ended.value.code == 0
    text = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert '--budget INT environment steps; an environment step is one control step of the simulator' in text
    assert '--model.classes INT classes per latent (default: as the scale)' in text


SLOW_TO_LOAD = ('jax', 'mujoco', 'papermill', 'matplotlib', 'scipy', 'seaborn')  # the commands below answer at once


@pytest.mark.parametrize(('command', 'further'), [
    ('tasks', ('pyarrow', 'pandas')), ('agents', ('pyarrow', 'pandas')), ('--help', ('pyarrow', 'pandas')),
    ('runs', ()), ('claims', ()), ('figures', ()),
])  # fmt: skip
def test_commands_load_only_what_they_need(command, further, monkeypatch):
    monkeypatch.delenv('PAPER_LIB_FIGURES')  # of the repository, which has runs
    code = (f'import sys; from paper_lib import cli; assert cli.main(["{command}"]) == 0\n'
            f'heavy = {{*{SLOW_TO_LOAD + further}}} & sys.modules.keys()\n'
            'sys.exit(str(heavy) if heavy else 0)')  # fmt: skip
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_groups_all_commands_by_their_readers(capsys):
    assert cli.main(['--help']) == 0
    text = capsys.readouterr().out
    places = [text.index(title) for title in ('To read the results:', 'To train and draw:', 'To keep the repository:')]
    assert places == sorted(places)
    assert places[0] < text.index('\n  claims ') < places[1] < text.index('\n  train ') < places[2]
    assert all(f'\n  {name} ' in text for name in cli.COMMANDS)
    assert cli.main([]) == 0 and capsys.readouterr().out == text
    assert cli.main(['--version']) == 0 and capsys.readouterr().out == f'paper-lib {paper_lib.__version__}\n'


@pytest.mark.parametrize(('args', 'near'), [
    (['clams'], "command='clams': must be one of .*; did you mean 'claims'"),
    (['runs', '--agent', 'pasive'], "agent='pasive': must be one of .*; did you mean 'passive'"),
    (['runs', '--task', 'walker_wlk-proprio'], "task='walker_wlk-proprio': .*; did you mean 'walker_walk-proprio'"),
    (['runs', '--task', 'walker'], "task='walker': must be one of .*; did you mean 'walker_walk-proprio'"),
    (['runs', '--state', 'archve'], "state='archve': must be one of .*; did you mean 'archived'"),
    (['notebooks', '2_valdation'], "notebook='2_valdation': must be one of .*; did you mean '2_validation'"),
    (['claims', '--scal', 'smoke'], 'Unrecognized options: --scal, smoke; Perhaps you meant: --scale STR'),
])  # fmt: skip
def test_a_mistyped_name_names_the_nearest(capsys, args, near):
    assert cli.main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(near, line)


def test_a_table_fits_into_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True)
    monkeypatch.setattr(shutil, 'get_terminal_size', lambda: os.terminal_size((60, 24)))
    words = 'offline agents end with a lower score than the Active agent'
    options.show([{'claim': words, 'verdict': 'undecided', 'pairs': 6}], as_json=False)
    head, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and max(map(len, [head, *lines])) <= 60
    assert lines[0].split('  ')[-2:] == ['undecided', '6']
    assert ' '.join(line[: head.index('verdict')].strip() for line in lines) == words


def test_tables_of_markdown(capsys):
    assert cli.main(['figures', '--markdown']) == 0
    head, rule, first, *_ = capsys.readouterr().out.splitlines()
    assert head == '| figure | published | shows | file | notebook | scales (agents) |' and set(rule) == set('| -')
    assert first == '| Fig. 1 | 1 | The whole study at a glance | figure_1.png | 1_toy_maze |  |'


def test_claims_are_in_words_and_numbers_in_json(monkeypatch, capsys):
    monkeypatch.delenv('PAPER_LIB_FIGURES')  # of the repository, which has runs
    found = rows(capsys, 'claims', '--all')
    assert {row['row'] for row in found} == {'primary', 'secondary'}
    assert {row['id'] for row in found if row['verdict'] == 'no pairs'} and {row['on'] for row in found} >= {'maze'}
    for row in found:
        numbers = [row[name] for name in ('estimate', 'low', 'high', 'p', 'adjusted_p')]
        assert all(value is None or isinstance(value, float) for value in numbers) and isinstance(row['pairs'], int)
        assert (row['estimate'] is None) == (row['pairs'] == 0)
    assert cli.main(['claims']) == 0
    table, _, waiting = capsys.readouterr().out.partition('\nNo pairs to test yet:\n')
    assert 'C1: Offline agents end with a lower score than the Active agent.' in table and 'secondary' not in table
    primary = [row for row in found if row['row'] == 'primary']
    lacking = [f'{row["id"]}: {row["claim"]}' for row in primary if row['verdict'] == 'no pairs']
    assert 'no pairs' not in table and [line.strip() for line in waiting.splitlines()] == lacking


def test_runs_starts_with_totals_and_takes_filters(capsys):
    assert cli.main(['runs', '--scale', 'smoke', '--agent', 'passive', '--task', TASK]) == 0
    total, blank, _, *lines = capsys.readouterr().out.splitlines()
    assert (total, blank) == ('2 runs: 2 planned', '') and len(lines) == 2
    assert all(line.split()[:3] == ['toy_maze', TASK, 'passive'] for line in lines)
    compared = rows(capsys, 'runs', '--scale', 'smoke', '--agent', 'compared')
    assert {row['agent'] for row in compared} == {'active', 'passive', 'tandem'}
    assert cli.main(['runs', '--scale', 'smoke', '--state', 'done']) == 0
    assert capsys.readouterr().out == 'no such run\n'


# The run that a command means.


def specs(*args):
    return cli._parse(['train', '--task', TASK, *args]).specs()


def test_train_means_the_runs_of_the_study():
    for scale, chapter in [('laptop', 'toy_maze'), ('laptop', 'study'), ('smoke', 'study'), ('paper', 'base_agent')]:
        wanted, found = plan.specs(chapter, scales.get(scale), optional=True), set()
        for run in wanted:
            values = {'scale': scale, 'chapter': chapter, 'seed': run.pair_seed}
            found.update(cli.Train(run.task, run.agent, **values).specs())
        assert found == set(wanted)
        names = ['--scale', scale, '--task', run.task, '--agent', run.agent, '--chapter', chapter]
        assert run in specs(*names, '--seed', str(run.pair_seed))


def test_a_finished_run_needs_its_source_no_more(monkeypatch):
    trained = []
    monkeypatch.setattr(Store, 'status', lambda self, spec: 'done' if spec.source else 'missing')
    monkeypatch.setattr(Store, 'require', lambda self, spec: SimpleNamespace(verify=lambda: None))
    monkeypatch.setattr(ensure, 'ensure', lambda specs, *_: trained.extend(specs))
    assert cli.main(['train', '--task', TASK, '--scale', 'smoke', '--agent', 'passive']) == 0
    assert [spec.agent for spec in trained] == ['passive']


def test_train_takes_the_values_of_the_first_chapter_that_has_the_task(capsys):
    task = ['train', '--task', 'cup_catch-proprio', '--dry-run']
    assert cli._parse(task).specs()[0] in plan.specs('base_agent', scales.get('laptop'))
    pair = [*task, '--chapter', 'study', '--seed', '40']
    assert cli._parse(pair).specs()[0] in plan.specs('study', scales.get('laptop'))
    assert cli.main(task) == 0
    words = 'cup_catch-proprio is trained in chapters base_agent, study; these are the values of base_agent'
    assert words in capsys.readouterr().err
    assert cli.main([*task, '--chapter', 'study']) == 0
    assert not capsys.readouterr().err
    assert cli.main([*task, '--chapter', 'toy_maze']) == 2
    assert capsys.readouterr().err == "error: chapter='toy_maze': has no cup_catch-proprio at scale laptop\n"
    assert cli.main([*task, '--chapter', 'x']) == 2
    assert f'must be one of {", ".join(scales.get("laptop").chapters)}' in capsys.readouterr().err


def test_values_reach_the_run_and_its_source():
    few = ['--budget', '10000', '--eval-every', '5000', '--expl-until', '5000']
    source, run = specs('--agent', 'passive', *few, '--model.deter', '7')
    assert (source.expl_until, run.expl_until) == (5000, 0)
    for spec in (source, run):
        assert (spec.budget, spec.eval_every, spec.model.deter) == (10_000, 5000, 7)
    model = plan.make('active', TASK, 0, scales.get('laptop')).model
    assert dataclasses.replace(run.model, deter=model.deter) == model


def test_alpha_is_the_run_alone():
    source, run = specs('--agent', 'tandem', '--alpha', '0.25')
    assert (source.alpha, run.alpha) == (1, 0.25)


def test_without_exploration_there_is_no_time_of_it():
    assert [spec.expl_until for spec in specs()] == [75_000]
    assert [spec.expl_until for spec in specs('--w-expl', '0')] == [0]
    assert [spec.expl_until for spec in specs('--w-expl', '0.5')] == [75_000]


def test_size_is_a_whole_model():
    (run,) = specs('--size', 'S', '--model.batch', '8')
    assert run.model == dataclasses.replace(ModelSpec(), batch=8)


def test_dry_run_tells_cost_and_makes_nothing(capsys, tmp_path):
    source, run = specs('--scale', 'smoke', '--agent', 'tandem')
    found = rows(capsys, 'train', '--task', TASK, '--scale', 'smoke', '--agent', 'tandem', '--dry-run')
    assert [row['run_id'] for row in found] == [source.run_id, run.run_id]
    assert {row['state'] for row in found} == {'missing'}
    assert [row['updates'] for row in found] == [260, 260]
    assert found[0]['weights'] > 5000
    sizes = [float(row['disk'].removesuffix(' MB')) for row in found]
    assert sizes[0] > sizes[1] > 0  # the source has a replay
    assert not (tmp_path / 'runs').exists()


def test_disk_must_hold_all_runs_and_the_checkpoints_of_those_in_training(tmp_path, monkeypatch):
    source, run = specs('--scale', 'smoke', '--agent', 'tandem')
    size = {spec: cost.disk(spec)[1:] for spec in (source, run)}
    for at_once, need in ((1, size[source][1] + size[run][0]), (2, size[source][1] + size[run][1])):
        monkeypatch.setattr(cost.shutil, 'disk_usage', lambda _: SimpleNamespace(free=need))  # noqa: B023
        cost.check_space([source, run], tmp_path, at_once)
        monkeypatch.setattr(cost.shutil, 'disk_usage', lambda _: SimpleNamespace(free=need - 1))  # noqa: B023
        with pytest.raises(UserError, match='disk space'):
            cost.check_space([source, run], tmp_path, at_once)


def test_json_of_training_is_refused(capsys, tmp_path):
    assert cli.main(['train', '--task', TASK, '--scale', 'smoke', '--json']) == 2
    assert capsys.readouterr().err == 'error: json=True: training prints no table; only with --dry-run\n'
    assert not (tmp_path / 'runs').exists()


def test_runs_tells_states_and_reasons(capsys, tmp_path):
    store, spec = Store(tmp_path / 'runs'), study('smoke')[0]
    with store.lease(spec) as held:
        store.open(spec, held).fail('RunError: the disk is full')
    found = rows(capsys, 'runs', '--scale', 'smoke')
    assert [row['run_id'] for row in found] == [s.run_id for s in study('smoke')]
    assert (found[0]['state'], found[0]['reason']) == ('failed', 'RunError: the disk is full')
    assert {row['state'] for row in found[1:]} == {'planned'}
    (store.path(spec) / 'failed.json').write_text('{')
    assert 'failed.json: damaged' in rows(capsys, 'runs', '--scale', 'smoke')[0]['reason']


# Ends.


def test_prune_lists_and_drops_the_replays_that_no_unfinished_run_reads(capsys, tmp_path):
    plan = [spec for spec in study('smoke') if spec.task == TASK]
    online = {spec.agent: spec for spec in plan if not spec.source}
    followers = {agent: [spec for spec in plan if spec.source == online[agent]] for agent in online}
    other = dataclasses.replace(followers['active_mixed'][0], lr_model=1e-3)  # of no plan, and not finished
    folder = tmp_path / 'runs'
    for spec in (*online.values(), *followers['active_expl'], *followers['active_mixed']):
        finish(folder / spec.run_id, spec)
    (folder / other.run_id).mkdir()
    (folder / other.run_id / 'spec.json').write_text(files.json_text(plain.to_plain(other)))
    name = online['active_expl'].run_id  # followers of `active` are missing, one of `active_mixed` is unfinished
    assert rows(capsys, 'prune', '--scale', 'smoke') == [{'run_id': name, 'MB': 0.1, 'dropped': False}]
    assert len(list(folder.glob('*/replay/reward.bin'))) == 3
    assert rows(capsys, 'prune', '--scale', 'smoke', '--yes') == [{'run_id': name, 'MB': 0.1, 'dropped': True}]
    kept = {path.parents[1].name for path in folder.glob('*/replay/reward.bin')}
    assert kept == {online[agent].run_id for agent in ('active', 'active_mixed')}
    assert rows(capsys, 'prune', '--scale', 'smoke') == []
    assert cli.main(['prune', '--scale', 'smoke']) == 0
    assert cli.main(['prune', '--scale', 'smoke', '--runs', 'nowhere']) == 0
    assert capsys.readouterr().out.splitlines() == [
        f'{folder}: no replay to drop',
        'nowhere: no such folder, nothing to drop',
    ]


def test_claims_without_runs_are_not_tested(capsys, tmp_path):
    assert cli.main(['claims', '--scale', 'smoke']) == 2
    place = tmp_path / 'figures' / 'data' / 'smoke'
    assert capsys.readouterr().err == f'error: scale=smoke: no runs in {place}, so there is nothing to test\n'


def test_a_random_score_is_not_measured_for_a_folder_that_is_not_there(capsys):
    assert cli.main(['reference', '--episodes', '1', '--output', 'nowhere']) == 2
    assert capsys.readouterr().err == 'error: output=nowhere: must be a folder that can be written\n'


def finish(path, spec):
    """A finished run's directory, as far as its names go; an online run with 100 KB of replay."""
    names = [] if spec.source else ['replay/reward.bin']
    (path / 'replay').mkdir(parents=True)
    for name in names:
        (path / name).write_bytes(bytes(100_000))
    (path / 'spec.json').write_text(files.json_text(plain.to_plain(spec)))
    names += [*writer.FINAL, 'replay/layout.json']
    sizes = {name: {'size': 100_000, 'sha256': ''} for name in names}
    files.write_json(path / 'done.json', {'run_id': spec.run_id, 'files': sizes})


@pytest.mark.parametrize(('args', 'line'), [
    (['--seconds', '0'], 'seconds=0.0: must be above 0 and finite'),
    (['--lanes', '2', '0'], 'lanes=0: must be from 1 to 1000'),
    (['--lanes', '1001'], 'lanes=1001: must be from 1 to 1000'),
    (['--precisions', 'float16'], "precision='float16': must be 'float32' or 'bfloat16'"),
    (['--seconds', 'inf'], 'seconds=inf: must be above 0 and finite'),
    (['--scales'], 'scales: none given; name at least one'),
    (['--scales', 'latpop'], "scale='latpop': must be one of smoke, laptop, paper; did you mean 'laptop'?"),
])  # fmt: skip
def test_bench_names_a_wrong_value_before_it_measures(capsys, args, line):
    assert cli.main(['bench', *args]) == 2
    assert capsys.readouterr().err == f'error: {line}\n'


def test_tables_of_the_bench_are_aligned_although_rows_come_one_by_one(monkeypatch, capsys):
    def tables(plans, *_):
        for columns in (['program', 'n'], ['plan', 'task', 'n']):
            names = [f'{plan}{more}' for plan in plans for more in ('', ', exploring', ', vision')]
            rows = [{'program': name, 'plan': name, 'task': task, 'n': '#'} for name in names for task in PAPER_TASKS]
            yield 'a table', [{column: row[column] for column in columns} for row in rows]
        yield 'ways', [{'way': way, 'n': '#'} for way in ('one run on one core', '64 runs, a core each (default)')]

    monkeypatch.setattr('paper_lib.engine.bench.tables.tables', tables)
    assert cli.main(['bench', '--scales', *scales.SCALES]) == 0
    for table in capsys.readouterr().out.split('\n\n'):
        assert len({line.index('#') for line in table.splitlines() if '#' in line}) == 1


@pytest.mark.parametrize(('ok', 'code'), [(True, 0), (False, 1)])
def test_doctor_ends_with_what_it_found(monkeypatch, capsys, ok, code):
    monkeypatch.setattr(doctor, 'checks', lambda runs: [doctor.Check('disk', ok, str(runs), '' if ok else 'free some')])
    assert cli.main(['doctor', '--runs', 'there']) == code
    assert capsys.readouterr().out == ('ok      disk: there\n' if ok else 'PROBLEM disk: there\n        -> free some\n')


def test_interrupt_is_one_line(monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Tasks, '__call__', interrupt)
    assert cli.main(['tasks']) == 130
    assert capsys.readouterr().err == 'interrupted; a training resumes with the same command\n'


@pytest.fixture
def folder():
    """For temporary files, with a path short enough for the kernel's sockets."""
    with tempfile.TemporaryDirectory(prefix='p', dir='/tmp') as folder:
        yield Path(folder)


@pytest.fixture
def at_once(monkeypatch):
    """Runs notebooks that only wait for each other; the highest number of them at a time is the last of the list."""
    running, most = set(), [0]

    def run(path, *_):
        running.add(path)
        time.sleep(0.2)
        most.append(max(most[-1], len(running)))
        running.remove(path)
        return 'there.html'

    monkeypatch.setattr(notebooks, 'run', run)
    monkeypatch.setattr(machine, 'cores', lambda: [0, 1])
    return most


def test_notebooks_that_train_nothing_run_side_by_side(at_once):
    names = ['0_base_agent', '1_toy_maze', '1_toy_maze', '2_validation']
    assert cli.main(['notebooks', *names, '--scale', 'smoke', '-p', 'train', 'no']) == 0
    assert at_once[-1] == 2 and len(at_once) == 4  # a name given twice is one notebook


def test_notebooks_that_train_run_one_after_the_other(at_once):
    assert cli.main(['notebooks', '0_base_agent', '1_toy_maze', '2_validation', '--scale', 'smoke']) == 0
    assert at_once[-1] == 1 and len(at_once) == 4


def test_no_notebook_begins_after_one_that_failed(monkeypatch):
    begun = []

    def run(path, *_):
        begun.append(path.stem)
        time.sleep(0.2 * len(begun))
        if len(begun) == 2:
            raise RunError(f'{path.stem}: broken')

    monkeypatch.setattr(notebooks, 'run', run)
    monkeypatch.setattr(machine, 'cores', lambda: [0, 1])
    with pytest.raises(RunError, match='broken'):
        notebooks.redraw('smoke')
    assert len(begun) < len(NOTEBOOKS)


@pytest.mark.parametrize('names', [['1_toy_maze'], ['1_toy_maze', '2_validation']], ids=len)
def test_termination_leaves_nothing_behind(tmp_path, folder, names):
    args = [sys.executable, '-m', 'paper_lib.cli', 'notebooks', *names, '--scale', 'smoke', '-p', 'train', 'no']
    command = subprocess.Popen(args, env=os.environ | {'TMPDIR': str(folder)}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / 'figures').exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert list(folder.glob('paper-lib-*'))
    command.terminate()
    _, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (143, 'terminated; a training resumes with the same command\n')
    assert not list(folder.glob('paper-lib-*'))


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_first_kernel_ends_all_notebooks(folder, number, code):
    names = ['1_toy_maze', '2_validation', '3_deep_dive']
    args = [sys.executable, '-m', 'paper_lib.cli', 'notebooks', *names, '--scale', 'smoke', '-p', 'train', 'no']
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    command = subprocess.Popen(args, env=os.environ | {'TMPDIR': str(folder)}, text=True, **pipes)
    signal.signal(signal.SIGINT, handler)
    assert command.stdout.readline().endswith(': running\n')
    command.send_signal(number)
    out, err = command.communicate(timeout=60)
    assert command.returncode == code and ': done' not in out
    assert err.endswith('a training resumes with the same command\n') and err.count('\n') == 1
    assert not list(folder.glob('paper-lib-*'))


STOPPED = """
import os, signal, sys
from paper_lib import cli
def stopped():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        open('/nowhere/at/all')
cli._parse = lambda args: stopped
sys.exit(cli.main())
"""


def test_what_a_termination_leaves_undone_is_no_error():
    done = subprocess.run([sys.executable, '-c', STOPPED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, 'terminated; a training resumes with the same command\n')


@pytest.mark.parametrize('args', [['tasks'], ['train', '--help']])
def test_output_that_nobody_reads_ends_quietly(args):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, '-m', 'paper_lib.cli', *args]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, '')


FULL = 'error: output: No space left on device; remove the cause and run again\n'


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a device that is full')
@pytest.mark.parametrize(('args', 'code', 'line'), [
    ('tasks >/dev/full', 2, FULL),
    ('train --help >/dev/full', 2, FULL),
    ('tasks >&-', 0, ''),
    ('train --help >&-', 0, ''),
    ('nosuch 2>&-', 2, ''),
    ('nosuch 2>/dev/full', 2, ''),
    ('tasks >/dev/full 2>&1', 2, ''),
])  # fmt: skip
def test_output_that_is_closed_or_full_leaves_the_exit_code_and_the_other_output_alone(args, code, line):
    command = f'"{sys.executable}" -m paper_lib.cli {args}'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, '', line)


def test_output_without_stderr_is_json():
    command = f'"{sys.executable}" -m paper_lib.cli train --task cup_catch-proprio --scale smoke --dry-run --json 2>&-'
    assert json.loads(subprocess.run(command, shell=True, capture_output=True, check=True).stdout)


def test_a_folder_below_the_home_is_meant(monkeypatch, tmp_path, capsys):
    """A shell leaves the ~ of --runs=~/there alone."""
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'there').write_text('')
    assert cli.main(['runs', '--runs=~/there']) == 2
    assert f'{tmp_path / "there"}' in capsys.readouterr().err


def test_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'papermill', None)
    assert cli.main(['notebooks', '--scale', 'smoke']) == 2
    assert capsys.readouterr().err == "error: this command needs the package papermill: pip install -e '.[all]'\n"


def test_missing_system_library_is_named(monkeypatch, capsys):
    def parse(args):
        raise ImportError('libgomp.so.1: cannot open shared object file', name='jaxlib._jax')

    monkeypatch.setattr(cli, '_parse', parse)
    assert cli.main(['runs']) == 2
    assert capsys.readouterr().err == (
        'error: jaxlib._jax does not load (libgomp.so.1: cannot open shared object file); see `paper-lib doctor`\n'
    )


# Notebooks.


@pytest.mark.parametrize(('args', 'line'), [
    (['2_toy_maze'], f"notebook='2_toy_maze': must be one of {', '.join(NOTEBOOKS)}; did you mean '1_toy_maze'?"),
    (['-p', 'sedes', '2'], "sedes='2': no such parameter (allowed: scale, train, seeds); did you mean 'seeds'?"),
    (['-p', 'seeds', 'two'], "seeds='two': must be int"),
    (['-p', 'seeds', '-1'], 'seeds=-1: must be from 1 to 1000, or 0 for the seeds of the scale'),
    (['-p', 'train', 'maybe'], "train='maybe': must be one of auto, yes, no, all"),
    (['--scale', 'latpop'], "scale='latpop': must be one of smoke, laptop, paper; did you mean 'laptop'?"),
])  # fmt: skip
def test_wrong_parameter_is_named_before_anything_runs(monkeypatch, capsys, args, line):
    monkeypatch.setattr(notebooks, 'run', None)
    assert cli.main(['notebooks', *args]) == 2
    assert capsys.readouterr().err == f'error: {line}\n'


@pytest.fixture
def foreign_kernel(monkeypatch, tmp_path):
    """A kernel python3 that comes first in Jupyter's own search, and does not work."""
    folder = tmp_path / 'jupyter' / 'kernels' / 'python3'
    folder.mkdir(parents=True)
    (folder / 'kernel.json').write_text(json.dumps({'argv': ['false'], 'display_name': 'x', 'language': 'python'}))
    monkeypatch.setenv('JUPYTER_PATH', str(folder.parents[1]))


def test_notebook_runs_from_anywhere_into_whole_files(foreign_kernel, capsys, tmp_path):
    """Nothing is trained here: what is missing is drawn as such."""
    assert cli.main(['notebooks', '1_toy_maze', '--scale', 'smoke', '-p', 'train', 'no', '--output', 'out']) == 0
    captured = capsys.readouterr()
    assert captured.out == '1_toy_maze: running\n1_toy_maze: done, out/1_toy_maze.html\n'
    assert captured.err == ''
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['1_toy_maze.html', '1_toy_maze.ipynb']
    html = (tmp_path / 'out' / '1_toy_maze.html').read_text()
    assert html.count('data:image/png;base64') == 5  # Figures 1, 2, of a body, its curves, and a plot of one's own
    assert str(tmp_path) not in html
    assert (tmp_path / 'figures' / 'smoke' / 'figure_2.png').exists()


def made(tmp_path, source):
    path = tmp_path / 'n.ipynb'
    cell = nbformat.v4.new_code_cell("scale: str = 'laptop'", metadata={'tags': ['parameters']})
    kernel = {'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'Python 3'}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(source)], metadata=kernel), path)
    return path


def test_dead_kernel_is_named_and_its_progress_was_seen(capfd, tmp_path):
    source = """import os, sys, time
print('1% of it', file=sys.stderr, flush=True)
print(sys.executable, os.environ['PAPER_LIB_RUNS'], repr(os.environ['PAPER_LIB_TERMINAL']), flush=True)
time.sleep(1)
os._exit(1)"""
    with pytest.raises(RunError, match=r'^n: the kernel died .*out/n.partial.ipynb\)$'):
        notebooks.run(made(tmp_path, source), {'scale': 'smoke'}, Path('there'), tmp_path / 'out')
    assert capfd.readouterr().err == '1% of it\n'
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['n.partial.ipynb']
    outputs = nbformat.read(tmp_path / 'out' / 'n.partial.ipynb', 4).cells[-1].outputs
    text = ''.join(output.text for output in outputs if output.name == 'stdout')
    assert text == f"{sys.executable} {tmp_path / 'there'} ''\n"


def test_html_has_neither_progress_nor_warnings(tmp_path, monkeypatch):
    """Nor is it hindered by a temporary folder whose path is too long for a socket."""
    (long := tmp_path / ('x' * 100)).mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(long))
    source = "import sys\nprint('seen')\nprint('1%' + '0 of it', file=sys.stderr)"
    html = notebooks.run(made(tmp_path, source), {'scale': 'smoke'}, None, tmp_path / 'out').read_text()
    assert 'seen\n' in html
    assert '1%0 of it' not in html


def test_the_next_notebook_runs_when_one_fails(monkeypatch, capsys):
    def run(path, *_):
        if path.stem != '1_toy_maze':
            raise RunError(f'{path.stem}: broken')
        return 'there.html'

    monkeypatch.setattr(notebooks, 'run', run)
    assert cli.main(['notebooks', '0_base_agent', '1_toy_maze', '2_validation', '--scale', 'smoke']) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1:4] == [
        '0_base_agent: failed',
        '1_toy_maze: running',
        '1_toy_maze: done, there.html',
    ]
    assert captured.err == 'error: 0_base_agent: broken\nerror: 2_validation: broken\n'
    monkeypatch.setenv('PAPER_LIB_FIGURES', __file__)
    assert cli.main(['notebooks', '0_base_agent', '--scale', 'smoke']) == 2
    broken, front = capsys.readouterr().err.splitlines()
    assert broken == 'error: 0_base_agent: broken' and front.startswith(f'error: {__file__}/')


def test_error_of_a_cell_is_one_line(tmp_path):
    with pytest.raises(RunError, match=r'^n: cell 3 ended with ZeroDivisionError: division by zero \(executed'):
        notebooks.run(made(tmp_path, '1 / 0'), {'scale': 'smoke'}, None, tmp_path / 'out')


def test_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'out').write_text('')
    with pytest.raises(RunError, match=rf'^{tmp_path}/out: File exists; remove the cause'):
        notebooks.run(made(tmp_path, '1'), {'scale': 'smoke'}, None, tmp_path / 'out')


def papermill(tmp_path, *parameters):
    command = [sys.executable, '-m', 'papermill', ROOT / 'notebooks' / '1_toy_maze.ipynb', 'out.ipynb', *parameters]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)


def test_papermill_itself_from_anywhere(tmp_path):
    done = papermill(tmp_path, '-p', 'scale', 'smoke', '-p', 'train', 'no')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'figures' / 'smoke' / 'figure_2.png').exists()


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('sceale', 'smoke', "sceale='smoke': no such parameter (allowed: scale, train, seeds); did you mean 'scale'?"),
        ('foo', '3', 'foo=3: no such parameter (allowed: scale, train, seeds)'),
    ],
)
def test_papermill_itself_with_a_wrong_parameter(tmp_path, name, value, words):
    done = papermill(tmp_path, '-p', 'scale', 'smoke', '-p', 'train', 'no', '-p', name, value)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f'UserError: {words}'
    assert not (tmp_path / 'figures').exists()


# Progress.


def test_bar_goes_to_the_terminal_that_is_named(monkeypatch):
    """A kernel has no terminal of its own."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    monkeypatch.setenv('PAPER_LIB_TERMINAL', os.ttyname(theirs))
    with Progress(100) as progress:
        progress.update(['run'], 50)
    text = b''
    while b'50.0/100' not in text and select.select([ours], [], [], 5)[0]:
        text += os.read(ours, 10_000)
    assert b'50.0/100' in text
    assert b'steps/s' in text
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize('command', ['paper-lib notebooks', 'papermill'])
def test_lines_where_nobody_looks(command, monkeypatch, capsys):
    for name in ('PAPER_LIB_TERMINAL', 'JPY_SESSION_NAME', 'VSCODE_PID'):
        monkeypatch.delenv(name, raising=False)
    if command == 'paper-lib notebooks':
        monkeypatch.setenv('PAPER_LIB_TERMINAL', '')
    monkeypatch.setitem(sys.modules, 'ipykernel', object())  # a notebook's kernel
    monkeypatch.setattr('paper_lib.engine.progress.EVERY', 0)
    with Progress(100) as progress:
        progress.update(['run'], 50)
        progress.note('once')
        progress.note('once')
        progress.update(['run'], 100)
    first, note, _, last = capsys.readouterr().err.splitlines()
    assert first.startswith('50% of 100 agent steps')
    assert note == 'once'
    assert last.startswith('100% of 100 agent steps')


def test_a_widget_in_a_notebook_that_is_open(monkeypatch):
    monkeypatch.delenv('PAPER_LIB_TERMINAL', raising=False)
    monkeypatch.setenv('JPY_SESSION_NAME', 'x.ipynb')
    monkeypatch.setitem(sys.modules, 'ipykernel', object())
    with Progress(100) as progress:
        progress.update(['run'], 50)
        assert isinstance(progress._bar, tqdm.auto.tqdm)


def test_an_offline_agent_learns_from_a_file(capsys, tmp_path):
    """A dry run adds nothing; the run itself adds the dataset and has it as its source."""
    path, steps = tmp_path / 'mine.npz', 200
    row = np.arange(steps)
    flags = {'is_first': row % 50 == 0, 'is_last': row % 50 == 49, 'is_terminal': row < 0}
    vector, action = np.zeros((steps, 4), np.float32), np.zeros((steps, 2), np.float32)
    np.savez(path, vector=vector, action=action, reward=np.zeros(steps, np.float32), **flags)
    command = ['train', '--task', TASK, '--agent', 'passive', '--scale', 'smoke', '--dataset', str(path)]
    command += ['--runs', str(tmp_path / 'runs')]
    assert cli.main([*command, '--dry-run']) == 0 and not (tmp_path / 'runs').exists()
    assert 'passive_s0' in capsys.readouterr().out
    (spec,) = cli.Train(TASK, 'passive', scale='smoke', dataset=path).specs()
    assert spec.source.name == 'mine' and (spec.source.rows, spec.source.envs) == (steps, 1)
    assert cli.main([*command, '--agent', 'tandem']) == 2
    assert 'must be one that learns from a finished recording' in capsys.readouterr().err
    path.write_bytes(b'no archive')
    assert cli.main(command) == 2 and 'cannot be read as an .npz file' in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()
