"""A real Slurm on this machine for tests: a controller and two nodes with two pretended GPUs each.

It needs root on Debian or Ubuntu, whose packages it installs. Nothing of it outlives the test but these packages.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

PACKAGES = ('slurmctld', 'slurmd', 'slurm-client', 'munge')
NODES = ('n1', 'n2')
os.environ['PATH'] += ':/usr/sbin:/sbin'  # where the daemons are, which not every shell looks into
CPUS = 4  # of each node, whatever the machine has
SETTINGS = Path('/etc/slurm')  # where a job looks for them: Snakemake takes SLURM_CONF out of its environment
FILES = ('slurm.conf', 'gres.conf')
LOCK = Path('/run/paper-lib-test-slurm.lock')  # held by the test that has a Slurm here; its death frees it


class CannotRun(Exception):
    """Why there can be no Slurm here, in one line."""


def install() -> None:
    """Install Slurm where it is missing. Raises CannotRun."""
    if os.geteuid() != 0:
        raise CannotRun('the tests on a Slurm need root: they start its daemons')
    if all(shutil.which(program) for program in ('slurmctld', 'slurmd', 'sbatch', 'munged')):
        return
    apt_get('update')
    apt_get('install', *PACKAGES)


def apt_get(*command: str) -> None:
    """Raises CannotRun where there is no apt-get, and where it fails."""
    if os.geteuid() or not shutil.which('apt-get'):
        wanted = ' '.join(command[1:]) or 'Debian packages'
        raise CannotRun(f'these tests need {wanted}; they install that as root on Debian or Ubuntu alone')
    options = ['apt-get', '--quiet', '--yes', '--no-install-recommends', *command]
    quiet = os.environ | {'DEBIAN_FRONTEND': 'noninteractive'}
    done = subprocess.run(options, env=quiet, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise CannotRun(f'apt-get {" ".join(command)}: {done.stderr.strip().splitlines()[-1]}')


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(('127.0.0.1', 0))
        return [each.getsockname()[1] for each in sockets]


def until(condition, seconds: float, what: str, log=str):
    """The first true value of the condition. Fails if there is none in time, with what `log` returns then."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > limit:
            raise AssertionError(f'not within {seconds:.0f} s: {what}\n{log()}')
        time.sleep(0.2)
    return value


class Disk:
    """A disk of its own, mounted at `folder`, that can hang as a shared one does. Use it as a context manager."""

    def __init__(self, folder: Path, megabytes: int = 512):
        self.folder = folder
        self.image = folder.with_suffix('.img')
        self.megabytes = megabytes

    def __enter__(self):
        self.folder.mkdir(parents=True)
        with open(self.image, 'wb') as file:
            file.truncate(self.megabytes * 2**20)
        for command in (['mkfs.ext4', '-q', self.image], ['mount', '-o', 'loop', self.image, self.folder]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            if done.returncode:
                raise CannotRun(f'{command[0]}: {done.stderr.strip()}')
        return self

    def __exit__(self, *_):
        until(self._unmount, 60, f'{self.folder} is unmounted')
        self.image.unlink()

    def _unmount(self):
        return subprocess.run(['umount', self.folder], capture_output=True, timeout=60).returncode == 0

    def hang(self, seconds: float) -> None:
        """Whoever writes waits for so long, and no signal ends it."""
        subprocess.run(['fsfreeze', '--freeze', self.folder], check=True, timeout=60)
        try:
            time.sleep(seconds)
        finally:
            subprocess.run(['fsfreeze', '--unfreeze', self.folder], check=True, timeout=60)


class Slurm:
    """The daemons, and what can happen to them. Use it as a context manager; `environment` is that of its clients."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / 'slurmctld.log'
        self.environment = os.environ | {'SLURM_CONF': str(folder / 'slurm.conf')}

    def __enter__(self):
        install()
        self._lock()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        self._configure()
        self._link()
        if not self.pids('munged'):
            sockets = Path('/run/munge')  # systemd makes it where there is one
            sockets.mkdir(mode=0o755, exist_ok=True)
            shutil.chown(sockets, 'munge', 'munge')
            subprocess.run(['runuser', '-u', 'munge', '--', 'munged'], check=True, timeout=30)
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        until(lambda: self.ask('sinfo', '-h', '-p', 'main', '-t', 'idle', '-o', '%D').strip() == '2', 30, 'idle nodes')

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.SubprocessError):
            self.ask('scancel', '--user=root', '--full')
        end_processes(self.folder.parent)
        until(lambda: not any(map(self.pids, ('slurmctld', 'slurmd', 'slurmstepd'))), 30, 'the daemons are gone')
        for name in FILES:
            if (SETTINGS / name).is_symlink() and (SETTINGS / name).readlink() == self.folder / name:
                (SETTINGS / name).unlink()
        self.lock.close()

    def _lock(self):
        """Be the only test with a Slurm on this machine. Raises CannotRun where there is another."""
        self.lock = LOCK.open('w')
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.lock.close()
            raise CannotRun(f'{LOCK}: another test has its Slurm on this machine') from None

    def _link(self):
        """Let every client find these settings. Raises CannotRun where there are some that no test has made."""
        SETTINGS.mkdir(exist_ok=True)
        for name in FILES:
            place = SETTINGS / name
            if is_of_a_test(place):  # of one that was killed, because this one holds the lock
                end_processes(place.readlink().parent.parent)
                place.unlink()
            if place.exists():
                raise CannotRun(f'{place}: this machine has a Slurm already; the tests start one of their own')
            place.symlink_to(self.folder / name)

    def _configure(self):
        controller, *ports = free_ports(1 + len(NODES))
        for name in ('state', *(f'spool.{node}' for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        for number in range(2):  # a plain file would leave CUDA_VISIBLE_DEVICES empty
            os.mknod(self.folder / f'gpu{number}', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        host = socket.gethostname().partition('.')[0]
        settings = {
            'ClusterName': 'test',
            'SlurmctldHost': f'{host}(127.0.0.1)',
            'SlurmctldPort': controller,
            'AuthInfo': 'cred_expire=5',  # a requeued job waits for two minutes otherwise
            'SlurmUser': 'root',
            'StateSaveLocation': self.folder / 'state',
            'SlurmdSpoolDir': self.folder / 'spool.%n',
            'SlurmctldPidFile': self.folder / 'slurmctld.pid',
            'SlurmdPidFile': self.folder / 'slurmd.%n.pid',
            'SlurmctldLogFile': self.log,
            'SlurmdLogFile': self.folder / 'slurmd.%n.log',
            'ProctrackType': 'proctrack/linuxproc',
            'TaskPlugin': 'task/none',
            'SelectType': 'select/cons_tres',
            'SelectTypeParameters': 'CR_Core_Memory',
            'SlurmdParameters': 'config_overrides',  # nodes have what is said below, not what the machine has
            'PreemptType': 'preempt/partition_prio',
            'PreemptMode': 'REQUEUE',
            'SchedulerParameters': 'sched_interval=2,bf_interval=2,batch_sched_delay=0',
            'SlurmdTimeout': 10,
            'SlurmctldTimeout': 10,
            'KillWait': 2,
            'ReturnToService': 2,
            'DefMemPerCPU': 100,
            'GresTypes': 'gpu',
            'MinJobAge': 300,
        }
        lines = [f'{name}={value}' for name, value in settings.items()]
        for node, port in zip(NODES, ports, strict=True):
            lines.append(
                f'NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} RealMemory=16000 '
                'Gres=gpu:2'
            )
        lines.append('PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP PriorityTier=1')
        lines.append('PartitionName=urgent Nodes=ALL MaxTime=60 State=UP PriorityTier=9 PreemptMode=OFF')
        (self.folder / 'slurm.conf').write_text('\n'.join([*lines, '']))
        (self.folder / 'gres.conf').write_text(f'Name=gpu File={self.folder}/gpu[0-1]\n')

    def ask(self, *command: str) -> str:
        """What a client prints; '' while the controller is away."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout

    def pids(self, name: str) -> list[int]:
        """Processes of this name that belong to this Slurm; of munged, any."""
        found = []
        for folder in Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                line = (folder / 'cmdline').read_bytes().replace(b'\0', b' ').decode().strip()
                environment = (folder / 'environ').read_bytes()
                is_ours = name == 'munged' or str(self.folder).encode() in environment
                if is_ours and line and Path(line.split()[0].rstrip(':')).name == name:
                    found.append(int(folder.name))
        return found

    def start_controller(self):
        subprocess.run(['slurmctld'], env=self.environment, check=True, timeout=30)

    def start_node(self, node: str):
        subprocess.run(['slurmd', '-N', node], env=self.environment, check=True, timeout=30)

    def node_pid(self, node: str) -> int:
        return int((self.folder / f'slurmd.{node}.pid').read_text())

    def state(self, node: str) -> str:
        """As `sinfo` puts it; with a star where the node does not answer."""
        return self.ask('sinfo', '--noheader', '--partition=main', f'--nodes={node}', '--format=%T').strip()

    def mend(self) -> None:
        """What an administrator does with nodes that Slurm takes out of use after a fault.

        A controller that was killed knows the jobs as they were up to 5 s earlier. It may start one on the node where
        it runs already, and drains that node.
        """
        for node in NODES:
            if self.state(node).startswith(('drain', 'down')):
                self.ask('scontrol', 'update', f'NodeName={node}', 'State=RESUME')

    def running(self) -> list[tuple[str, str]]:
        """(number, node) of each job that runs."""
        lines = self.ask('squeue', '--noheader', '--states=RUNNING', '--format=%i %N').splitlines()
        return [tuple(line.split()) for line in lines if len(line.split()) == 2]


def is_of_a_test(settings: Path) -> bool:
    """Whether a test has linked these settings here. The folder of pytest that they are in may be gone."""
    if not settings.is_symlink():
        return False
    test = settings.readlink().parent.parent
    return test.name.startswith('test_') and any(name.startswith('pytest-') for name in test.parts)


def end_processes(folder: Path) -> None:
    """Kill every process but this one whose command or environment names what is in the folder of a test."""
    name = os.fsencode(folder) + b'/'
    for process in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            words = (process / 'cmdline').read_bytes() + (process / 'environ').read_bytes()
            if name in words and int(process.name) != os.getpid():
                kill(int(process.name))


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
