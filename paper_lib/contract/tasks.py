"""Tasks, and the suites that they belong to. Standard library only.

A suite says once what all its tasks share, and `register` makes its tasks known. Suites are looked for when the first
task is asked for: in every file of `paper_lib/envs/suites`, in the modules that the environment variable
PAPER_LIB_SUITES names (separated by commas), and in those that installed packages offer as entry points of the group
`paper_lib.suites`. Importing such a module registers its suites. Processes that train find them in the same way.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from paper_lib.contract.errors import UserError

BUILT_IN = 'paper_lib.envs.suites'
VARIABLE = 'PAPER_LIB_SUITES'
ENTRY_POINTS = 'paper_lib.suites'


@dataclasses.dataclass(frozen=True)
class Task:
    """One task. `repeat`, `limit`, `image` and `envs` are the rows of Table S1."""

    id: str
    suite: str  # the name of its suite
    name: str  # the suite's own name of it
    obs: str  # 'proprio' (vectors) or 'vision' (one image)
    repeat: int  # simulator control steps per agent step
    limit: int  # longest episode in agent steps, the reset transition not counted
    image: int = 64  # pixels per side
    envs: int = 4  # parallel environments

    @property
    def rendered(self) -> bool:
        """Whether its observations are pictures that MuJoCo draws."""
        return self.obs == 'vision' and suite_of(self).rendered

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the RunSpec fields that its simulator takes."""
        return (*suite_of(self).options, *(('render',) if self.rendered else ()))

    @property
    def short(self) -> str:
        """The id without what is observed: tasks that share it differ in nothing else."""
        return self.id.removesuffix(f'-{self.obs}')

    @property
    def highest(self) -> float | None:
        """The highest score of an episode that its rewards allow; None where no bound is known."""
        highest = suite_of(self).highest
        return None if highest is None else self.limit * self.repeat * highest


@dataclasses.dataclass(frozen=True)
class Suite:
    """What the tasks of one simulator package share.

    `simulator(task, **options)` builds a simulator; `paper_lib.envs.base.Env` says what one offers. `find` is for a
    suite whose tasks cannot be listed: it returns the task of an id, or None for an id that is not of this suite.
    """

    name: str
    simulator: Callable
    tasks: tuple[Task, ...] = ()
    find: Callable[[str], Task | None] | None = None
    packages: tuple[str, ...] = ()  # that must be installed, as `name==version`; imported before a simulator is built
    options: tuple[str, ...] = ()  # names of the RunSpec fields that its simulators take; `render` is implied
    highest: float | None = None  # highest reward of a control step
    rendered: bool = False  # MuJoCo draws its pictures
    visits: bool = False  # its vectors (else places) begin with a position in maze_layout's arena; visits are counted
    short_episodes: bool = False  # a random policy's episodes end after some dozen steps: means take more of them


_suites: dict[str, Suite] = {}
_tasks: dict[str, Task] = {}


def register(suite: Suite) -> Suite:
    """Make a suite and its tasks known, and return it. The same suite may be registered again.

    Raises UserError for a name or a task id that another suite has.
    """
    former = _suites.get(suite.name)
    if former and former.tasks != suite.tasks:
        raise UserError(f'suite={suite.name!r}: another suite has this name')
    for task in suite.tasks:
        if task.suite != suite.name:
            raise UserError(f'suite={task.suite!r}: must be {suite.name!r} in the task {task.id}')
        if task.id in _tasks and not former:
            raise UserError(f'task={task.id!r}: suite {_tasks[task.id].suite} has a task of this id')
    _suites[suite.name] = suite
    _tasks.update({task.id: task for task in suite.tasks})
    return suite


def get(task_id: str) -> Task:
    """The task of this id. Raises UserError with the nearest ids for an unknown one."""
    _discover()
    if task_id not in _tasks:
        _tasks[task_id] = _find(task_id)
    return _tasks[task_id]


def known() -> list[Task]:
    """The tasks that suites list, suite by suite."""
    _discover()
    return [_tasks[task.id] for suite in _suites.values() for task in suite.tasks]


def suites() -> Mapping[str, Suite]:
    """All suites by name."""
    _discover()
    return MappingProxyType(_suites)


def suite_of(task: Task) -> Suite:
    """The suite that a task belongs to."""
    return suites()[task.suite]


def _find(task_id) -> Task:
    """The task that one of the suites finds for an id that none lists."""
    if not isinstance(task_id, str):
        raise UserError(f'task={task_id!r}: must be str, got {type(task_id).__name__}')
    for suite in _suites.values():
        task = suite.find(task_id) if suite.find else None
        if task:
            return task
    listed = [task.id for task in known()]
    near = [other for other in listed if task_id in other] or difflib.get_close_matches(task_id, listed)
    hint = f'nearest: {", ".join(near[:3])}; ' if near else ''
    raise UserError(f'task={task_id!r}: unknown; {hint}`paper-lib tasks` lists all {len(listed)}')


@functools.cache
def _discover():
    """Import every module that registers suites, once. UserError for one of a user's that does not import."""
    folder = importlib.import_module(BUILT_IN)
    for module in pkgutil.iter_modules(folder.__path__, f'{BUILT_IN}.'):
        importlib.import_module(module.name)
    for origin, module in _further():
        try:
            importlib.import_module(module)
        except UserError as error:
            raise UserError(f'{origin}: {error}') from error
        except Exception as error:  # whatever a user's module may raise
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            raise UserError(f'{origin}: the module {module!r} does not import ({reason})') from error


def _further() -> Iterator[tuple[str, str]]:
    """(who names it, module) of every module with suites outside this package."""
    for name in os.environ.get(VARIABLE, '').split(','):
        if name.strip():
            yield VARIABLE, name.strip()
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield f'entry point {point.name}', point.module
