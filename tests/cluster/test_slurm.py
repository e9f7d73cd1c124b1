"""A study on a real Slurm while everything that it needs dies, one after the other.

After each fault the same command is given again. In the end no result is lost, no run had two writers, and every byte
of runs and figures is that of the workers of this machine without any fault. `make test-cluster` runs this.
"""

import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rig

from paper_lib.data import attempts, lease
from paper_lib.data.store import Store
from paper_lib.engine import workflow
from paper_lib.study import book

ROOT = Path(__file__).resolve().parents[2]
SITE = """
engine = 'slurm'
partition = 'main'
gpus = 1
gpu_type = ''
cores = 1
lanes = 1
pack = 40
longest = 20
at_once = 2
retries = 1
seconds = 2
"""
DRAWN = ('.png', '.pdf', '.csv', '.md', '.tex')


class Study:
    """A notebook of scale smoke that is trained through Slurm, by a command that may be given again and again."""

    def __init__(self, slurm, folder, notebook):
        self.slurm, self.folder, self.notebook = slurm, folder, notebook
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'site.toml').write_text(SITE)
        self.store = Store(folder / 'runs')
        (shown,) = (each for each in book.every({'scale': 'smoke'}, self.store) if each.name == notebook)
        self.specs = shown.needs()
        self.driver = None

    def __enter__(self):
        self.again()
        return self

    def __exit__(self, *_):
        self.kill_driver()

    def again(self):
        """Give the same command: after the last one has ended, by `kill -9` if need be."""
        if self.driver and self.driver.poll() is None:
            self.kill_driver()
        self.slurm.mend()
        self.driver = self.give('submit', self.notebook, '--scale', 'smoke')

    def give(self, *command):
        """Give a command of `paper-lib cluster`."""
        line = [sys.executable, '-m', 'paper_lib.cli', 'cluster', *command]
        line += ['--site', str(self.folder / 'site.toml'), '--runs', str(self.store.root)]
        environment = surroundings(self.folder) | {'SLURM_CONF': self.slurm.environment['SLURM_CONF']}
        with open(self.folder / 'driver.log', 'ab') as log:
            return subprocess.Popen(line, env=environment, cwd=ROOT, stdout=log, stderr=log)

    def kill_driver(self):
        self.driver.kill()
        self.driver.wait()

    def writers(self) -> dict[int, str]:
        """Process -> folder of the run that it writes now."""
        found = {}
        for spec in self.specs:
            notes = attempts.read(self.store.path(spec))
            if notes and notes[-1].event != 'finish' and self.store.status(spec) == 'running':
                found[notes[-1].pid] = spec.run_id
        return found

    def waits_for_a_writer(self):
        """(its process, its job, the node of that) once a run is being written."""

        def find():
            self.slurm.mend()
            for pid in self.writers():
                environment = Path(f'/proc/{pid}/environ')
                try:
                    values = dict(x.split('=', 1) for x in environment.read_text().split('\0') if '=' in x)
                except OSError:
                    continue
                number, node = values.get('SLURM_JOB_ID'), values.get('SLURMD_NODENAME')
                if (number, node) in self.slurm.running():
                    return pid, number, node
            assert self.driver.poll() in (None, 0, 2), self.log()
            if self.driver.poll() is not None:
                self.again()
            return None

        return rig.until(find, 300, 'a run that is written', self.log)

    def unfinished(self):
        return [spec for spec in self.specs if self.store.status(spec) != 'done']

    def finish(self, seconds):
        limit = time.monotonic() + seconds
        while (code := self.driver.poll()) != 0:
            assert time.monotonic() < limit, f'not finished\n{self.log()}'
            if code is not None:
                self.again()
            self.slurm.mend()
            time.sleep(1)

    def log(self):
        paths = [self.folder / 'driver.log', self.folder / 'runs/jobs/snakemake.log', self.slurm.log]
        texts = [path.read_text()[-3000:] for path in paths if path.exists()]
        return '\n'.join([*texts, self.slurm.ask('squeue'), self.slurm.ask('sinfo')])


def surroundings(folder):
    return os.environ | {
        'PAPER_LIB_FIGURES': str(folder / 'figures'),
        'PYTHONPATH': str(ROOT),
        'XLA_FLAGS': '--xla_cpu_use_fusion_emitters=false',  # compiles faster
        'JAX_PLATFORMS': 'cpu',
    }


# The faults. Each acts on a study in which a run is being written.


def driver_killed(study):
    study.waits_for_a_writer()
    study.kill_driver()


def process_killed(study):
    """The process that trains, or the one that waits for it: both end, and the job fails."""
    pid, _, _ = study.waits_for_a_writer()
    rig.kill(pid)


def slurmstepd_killed(study):
    """Slurm takes the job for lost and starts it again, while its processes go on without anyone who knows of them."""
    _, number, _ = study.waits_for_a_writer()
    for pid in study.slurm.pids('slurmstepd'):
        line = Path(f'/proc/{pid}/cmdline').read_bytes().decode()
        if f'[{number}.' in line:
            rig.kill(pid)


def node_lost(study):
    """Its daemon dies and comes back after the controller has given the node up."""
    _, number, node = study.waits_for_a_writer()
    slurm = study.slurm
    rig.kill(slurm.node_pid(node))

    rig.until(lambda: (number, node) not in slurm.running(), 120, f'{node} is given up')
    slurm.start_node(node)


def controller_killed(study):
    """Right after a job was submitted."""
    _, number, _ = study.waits_for_a_writer()
    study.slurm.ask('scancel', number)  # so that there is something to submit
    seen = set(study.slurm.ask('squeue', '-h', '-t', 'all', '-o', '%i').split())
    study.again()

    def submitted():
        if study.driver.poll() is not None:
            study.again()
        return set(study.slurm.ask('squeue', '-h', '-t', 'all', '-o', '%i').split()) - seen

    rig.until(submitted, 120, 'a new job')
    for pid in study.slurm.pids('slurmctld'):
        rig.kill(pid)
    time.sleep(1)
    study.slurm.start_controller()


def preempted(study):
    """By a job of a higher partition, for a moment; ours go back into the queue."""
    study.waits_for_a_writer()
    slurm = study.slurm
    line = ['--partition=urgent', '--nodes=2', '--exclusive', '--wrap=sleep 3', '--output=/dev/null', '--parsable']
    number = slurm.ask('sbatch', *line).strip()

    def completed():
        slurm.mend()
        return slurm.ask('squeue', '-h', '-j', number, '-t', 'all', '-o', '%T').strip() == 'COMPLETED'

    rig.until(completed, 90, 'urgent', study.log)


def time_limit_reached(study):
    _, number, _ = study.waits_for_a_writer()
    slurm = study.slurm
    slurm.ask('scontrol', 'update', f'JobId={number}', 'EndTime=now+1')
    rig.until(lambda: number not in dict(slurm.running()), 90, 'the end of a job at its limit')


def cancelled(study):
    """By the command for it: nothing of the study is left in the queue, and who drives it says why it ended."""
    study.waits_for_a_writer()
    driver = workflow.folder(study.store) / 'driver.json'
    rig.until(lambda: lease.alive(driver), 120, 'a driver that has begun', study.log)
    assert study.give('cancel').wait(120) == 0, study.log()
    assert study.driver.wait(60) == 2, study.log()
    assert 'cancelled by' in study.log()
    rig.until(lambda: not study.slurm.ask('squeue', '-h'), 60, 'an empty queue')


FAULTS = (
    driver_killed, process_killed, slurmstepd_killed, node_lost, controller_killed, preempted, time_limit_reached,
    cancelled,
)  # fmt: skip


def undisturbed(folder, notebook):
    """The same notebook by the workers of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, '-m', 'paper_lib.cli', 'notebooks', notebook, '--scale', 'smoke']
    subprocess.run([*line, '--runs', str(folder / 'runs')], env=surroundings(folder), cwd=ROOT, check=True)


def drawn(folder):
    return {path.name: path.read_bytes() for path in (folder / 'figures/smoke').iterdir() if path.suffix in DRAWN}


def check(study, reference):
    """No result lost, no two writers, every byte that of the undisturbed study."""
    whole = Store(reference / 'runs')
    for spec in study.specs:
        assert study.store.status(spec) == 'done', spec.run_id
        study.store.require(spec).verify()
        sealed = [store.require(spec).sealed.read_bytes() for store in (study.store, whole)]
        assert sealed[0] == sealed[1], f'{spec.run_id}: other bytes'
        assert not attempts.two_writers(attempts.read(study.store.path(spec)))
    figures = drawn(study.folder)
    assert figures and figures == drawn(reference)
    assert not study.slurm.ask('squeue', '-h')


@pytest.fixture
def slurm(tmp_path):
    try:
        with rig.Slurm(tmp_path / 'slurm') as started:
            yield started
    except rig.CannotRun as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope='module')
def references(tmp_path_factory):
    """Notebook -> the folder of its undisturbed study, trained once."""
    made = {}

    def get(notebook):
        if notebook not in made:
            made[notebook] = tmp_path_factory.mktemp(notebook)
            undisturbed(made[notebook], notebook)
        return made[notebook]

    return get


def start_and_die(folder):
    rig.Slurm(folder).__enter__()
    os._exit(0)


@pytest.mark.cluster
def test_a_killed_test_is_in_nobodys_way(tmp_path):
    killed = multiprocessing.get_context('spawn').Process(
        target=start_and_die, args=(tmp_path / 'test_killed' / 'slurm',)
    )
    killed.start()
    killed.join()
    left = rig.Slurm(tmp_path / 'test_killed' / 'slurm')
    assert left.pids('slurmctld')
    with rig.Slurm(tmp_path / 'slurm') as slurm, pytest.raises(rig.CannotRun, match='another test'):
        assert not left.pids('slurmctld')
        assert slurm.state('n1') == 'idle'
        rig.Slurm(tmp_path / 'second').__enter__()
    assert not slurm.pids('slurmctld')


@pytest.mark.cluster
def test_one_fault_of_each_kind(slurm, references, tmp_path):
    with Study(slurm, tmp_path / 'study', '2_validation') as study:
        for fault in FAULTS:
            assert study.unfinished(), f'finished before {fault.__name__}'
            fault(study)
            study.again()
        study.finish(1200)
    check(study, references('2_validation'))


@pytest.mark.cluster
@pytest.mark.slow
def test_a_disk_that_hangs_for_a_minute(slurm, references, tmp_path):
    """While a run is written; the driver, the jobs and their leases are all on it."""
    try:
        with rig.Disk(tmp_path / 'disk') as disk, Study(slurm, disk.folder / 'study', '2_validation') as study:
            study.waits_for_a_writer()
            disk.hang(61)
            study.again()
            study.finish(1200)
            check(study, references('2_validation'))
    except rig.CannotRun as error:
        pytest.fail(str(error), pytrace=False)


@pytest.mark.cluster
@pytest.mark.slow
def test_many_faults_at_random(slurm, references, tmp_path):
    """As many as PAPER_LIB_FAULTS says, 20 by default, drawn with the seed PAPER_LIB_FAULTS_SEED."""
    count = int(os.environ.get('PAPER_LIB_FAULTS', '20'))
    rng = random.Random(int(os.environ.get('PAPER_LIB_FAULTS_SEED', '0')))
    order = [FAULTS[number % len(FAULTS)] for number in range(count)]
    rng.shuffle(order)
    with Study(slurm, tmp_path / 'study', '4_remedies') as study:
        for fault in order:
            time.sleep(rng.uniform(0, 20))
            assert study.unfinished(), f'finished before {fault.__name__}'
            fault(study)
            study.again()
        study.finish(3600)
    check(study, references('4_remedies'))
