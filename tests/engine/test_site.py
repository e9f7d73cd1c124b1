"""The settings of a cluster: every mistake is one line before anything is submitted."""

import os
import stat
from pathlib import Path

import pytest

from paper_lib.contract.errors import UserError
from paper_lib.engine import estimate, queue, site
from paper_lib.engine.site import Site

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('name', ['slurm', 'kubernetes'])
def test_examples_are_sites(name):
    read = site.read(ROOT / 'workflow' / f'{name}.toml')
    assert read.engine == name
    assert read.machine.gpu and read.price


@pytest.mark.parametrize('text, words', [
    ('engine = "slum"', "engine='slum': must be 'slurm' or 'kubernetes'"),
    ('partitions = "gpu"', "has no setting 'partitions'; allowed: engine, command"),
    ('engine = "slurm"\ngpus = 3', 'gpus=3: must be from 0 to 1'),
    ('engine = "slurm"\ngpus = true', 'gpus=True: must be int, got bool'),
    ('price = -1.0', 'price=-1.0: must be from 0 to'),
    ('at_once = "many"', "at_once='many': must be int, got str"),
    ('engine = "slurm"\npartition = "gpu; rm"', "partition='gpu; rm': must be letters, digits"),
    ('gpu_type = "rtx-3090"', "gpu_type='rtx-3090': must be letters, digits and the signs _ and . alone"),
    ('engine = "kubernetes"\ngpu_type = "h100"', "gpu_type='h100': engine kubernetes has no such setting"),
    ('engine = "kubernetes"\npartition = "gpu"', "partition='gpu': engine kubernetes has no such setting"),
    ('engine = "kubernetes"', "image='': must be given for engine kubernetes"),
    ('engine = "kubernetes"\nimage = "i"\nnamespace = "n"\nvolume = "v"', "volume='v': must be NAME:/PATH"),
    ('engine = ', 'not TOML'),
])  # fmt: skip
def test_a_mistake_is_named(tmp_path, text, words):
    path = tmp_path / 'site.toml'
    path.write_text(text)
    with pytest.raises(UserError) as error:
        site.read(path)
    assert str(error.value).startswith(f'site={path}: ') and words in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r'no\.toml: no such file; workflow/ has examples'):
        site.read(tmp_path / 'no.toml')


def test_speed_is_that_of_the_file_or_of_the_machine():
    assert Site(teraflops=7.0).machine.teraflops == 7
    assert Site().machine.teraflops == estimate.GPU.teraflops
    assert Site(gpus=0, cores=1).machine.teraflops == estimate.CORE.teraflops


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Make an `sbatch` that notes what it was asked and answers so."""

    def make(answer, code):
        program = tmp_path / 'sbatch'
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "{answer}" >&2\nexit {code}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
        return tmp_path / 'asked'

    return make


def test_the_queue_is_asked_whether_it_would_take_a_job(sbatch):
    asked = sbatch('', 0)
    site.check_queue(Site('slurm', partition='big', account='lab', gpu_type='h100', cores=4, longest=90), 9000)
    wanted = (
        '--test-only --time=90 --cpus-per-task=4 --mem=9000 --partition=big --account=lab --gpus=h100:1 --wrap=true'
    )
    assert asked.read_text().strip() == wanted


def test_what_the_queue_refuses_is_one_line(sbatch):
    sbatch('sbatch: error: invalid partition specified: big', 1)
    with pytest.raises(UserError, match='slurm refuses a job of this site: .*invalid partition specified: big; tried'):
        site.check_queue(Site('slurm', partition='big'), 9000)


@pytest.mark.parametrize('engine', ['slurm', 'kubernetes'])
def test_a_machine_without_the_queue_is_told(engine, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    more = {'image': 'i', 'namespace': 'n', 'volume': 'v:/v'} if engine == 'kubernetes' else {}
    with pytest.raises(UserError, match='on this machine'):
        site.check_queue(Site(engine, **more), 9000)


def test_an_accounting_that_does_not_answer_counts_as_none(monkeypatch):
    def ask(command):
        raise UserError('sacct: no answer within 60 s')

    monkeypatch.setattr(queue.shutil, 'which', lambda name: f'/usr/bin/{name}')
    monkeypatch.setattr(site, 'ask', ask)
    assert not queue.keeps_accounts()
