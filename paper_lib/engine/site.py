"""The settings of a cluster: one small TOML file, every field of which is checked before anything is submitted.

`workflow/slurm.toml` and `workflow/kubernetes.toml` are examples.
"""

import dataclasses
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import check, need
from paper_lib.contract.facts import field as fact
from paper_lib.engine import estimate, jobs
from paper_lib.engine.estimate import Machine

TIMEOUT = 60  # seconds for an answer of the queue
WORD = r'[A-Za-z0-9_.:@/-]*'  # what a name of a partition, an account, an image may be made of
MOST_MINUTES = 60 * 24 * 365
GPU_TYPE = 'letters, digits and the signs _ and . alone, as Snakemake has it; or empty for any type'
OF_ENGINE = {
    'slurm': ('partition', 'account', 'gpu_type'),
    'kubernetes': ('image', 'namespace', 'volume'),
}


# fmt: off
@dataclasses.dataclass(frozen=True)
class Site:
    """A cluster as its users see it."""

    engine: str = fact('slurm', 'what runs the jobs: an executor of Snakemake', choices=tuple(OF_ENGINE))
    command: str = fact('', 'how a job calls paper-lib, e.g. in a container; empty: as this process was started')
    snakemake: str = fact('', 'path of snakemake; empty: that of `make cluster`, else the first on the path')

    # What a job asks for.
    gpus: int = fact(1, 'GPUs of a job that trains', low=0, high=1, more='0: it trains on one core')
    gpu_type: str = fact('', 'the type of these GPUs as the queue names it; empty: any')
    cores: int = fact(8, 'cores of a job that trains', low=1, high=1024)
    lanes: int = fact(8, 'runs that train as one program', low=1, high=jobs.MOST_RUNS)
    pack: int = fact(240, 'expected minutes up to which small runs share a job', low=0, high=MOST_MINUTES)
    longest: int = fact(1440, 'longest minutes of a job; a run that needs more goes on in the next job',
                        low=5, high=MOST_MINUTES)
    at_once: int = fact(16, 'jobs that run at a time', low=1, high=100_000)
    retries: int = fact(2, 'times that a failed job is tried again', low=0, high=100)

    # What it costs.
    teraflops: float = fact(0.0, 'TFLOP/s that updates get of a GPU (or core); 0: as estimate.py says',
                            low=0, high=1e5)
    price: float = fact(0.0, 'price of an hour of a GPU (or core)', low=0, high=1e6)

    # Slurm.
    partition: str = fact('', 'the partition; empty: the default one')
    account: str = fact('', 'the account; empty: the default one')
    seconds: int = fact(40, 'seconds between questions to the queue', low=1, high=3600)

    # Kubernetes.
    image: str = fact('', 'the container image; it holds paper-lib and Snakemake')
    namespace: str = fact('', 'the namespace')
    volume: str = fact('', 'NAME:PATH of the persistent volume claim with the runs, and where jobs see it')
    # fmt: on

    def __post_init__(self):
        check(self)
        need(re.fullmatch(r'[A-Za-z0-9_.]*', self.gpu_type) is not None, 'gpu_type', self.gpu_type, GPU_TYPE)
        for engine, names in OF_ENGINE.items():
            for name in names:
                value = getattr(self, name)
                need(re.fullmatch(WORD, value) is not None, name, value, 'letters, digits and the signs _ . : @ / -')
                if value and self.engine != engine:
                    raise UserError(f'{name}={value!r}: engine {self.engine} has no such setting')
        if self.engine == 'kubernetes':
            for name in OF_ENGINE['kubernetes']:
                need(bool(getattr(self, name)), name, '', 'given for engine kubernetes')
            need(re.fullmatch(r'[^:]+:/[^:]+', self.volume) is not None, 'volume', self.volume, 'NAME:/PATH')

    @property
    def machine(self) -> Machine:
        """How fast its jobs are."""
        default = estimate.GPU if self.gpus else estimate.CORE
        return Machine(bool(self.gpus), self.teraflops or default.teraflops, self.cores)

    @property
    def workers(self) -> str:
        """The command line of paper-lib in a job."""
        return self.command or f'{sys.executable} -m paper_lib.cli'


def read(path: Path) -> Site:
    """The site in a file. Raises UserError, one line, for everything that it should not hold."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f'site={path}: no such file; workflow/ has examples') from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f'site={path}: not TOML: {error}') from None
    known = [field.name for field in dataclasses.fields(Site)]
    for name in values:
        if name not in known:
            raise UserError(f'site={path}: has no setting {name!r}; allowed: {", ".join(known)}')
    try:
        return Site(**values)
    except UserError as error:
        raise UserError(f'site={path}: {error}') from None


def check_queue(site: Site, megabytes: int) -> None:
    """Raise UserError unless the queue would take a job of this site with so much memory. Nothing is submitted."""
    if site.engine == 'slurm':
        if not shutil.which('sbatch'):
            raise UserError("engine='slurm': there is no sbatch on this machine; run this on a login node")
        command = ['sbatch', '--test-only', f'--time={site.longest}', f'--cpus-per-task={site.cores}']
        command.append(f'--mem={megabytes}')
        command += [f'--partition={site.partition}'] if site.partition else []
        command += [f'--account={site.account}'] if site.account else []
        if site.gpus:
            command.append(f'--gpus={site.gpu_type}:{site.gpus}' if site.gpu_type else f'--gpus={site.gpus}')
        answer = ask([*command, '--wrap=true'])
        if answer.returncode:
            *_, reason = answer.stderr.strip().splitlines() or ['no reason given']
            raise UserError(f'slurm refuses a job of this site: {reason}; tried `{" ".join(command)}`')
    elif site.engine == 'kubernetes' and not shutil.which('kubectl'):
        raise UserError("engine='kubernetes': there is no kubectl on this machine")


def ask(command: list[str]) -> subprocess.CompletedProcess:
    """The answer of the queue. Raises UserError if there is none in time."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f'{command[0]}: {error}') from None
