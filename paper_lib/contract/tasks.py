"""Tasks, and the suites that they belong to.

To add a suite, write a module that calls `register(Suite(...))`. It is found in any of
three places:

- as a file of `paper_lib/envs/suites`,
- by its name in the environment variable PAPER_LIB_SUITES (names are separated by commas),
- as an entry point of the group `paper_lib.suites` of an installed package.

All these modules are imported when the first task is asked for. Worker processes find them
in the same way.
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
from paper_lib.contract.plane import Plane

BUILT_IN = 'paper_lib.envs.suites'
VARIABLE = 'PAPER_LIB_SUITES'
ENTRY_POINTS = 'paper_lib.suites'


@dataclasses.dataclass(frozen=True)
class Task:
    """One task. `repeat`, `limit`, `image` and `envs` are the rows of Table S1."""

    id: str
    suite: str  # the name of its suite
    name: str  # how the suite itself calls the task
    obs: str  # 'proprio' (vectors), 'vision' (one image) or 'both'
    repeat: int  # environment steps per agent step
    limit: int  # agent steps of the longest episode, without the reset transition
    image: int = 64  # pixels per side
    envs: int = 4  # parallel environments
    plane: Plane | None = None  # where figures draw paths; None: they draw none

    @property
    def has_image(self) -> bool:
        """Whether an image is observed."""
        return self.obs != 'proprio'

    @property
    def side(self) -> int:
        """Pixels per side of the image that is observed; 0 where vectors alone are."""
        return self.image if self.has_image else 0

    @property
    def rendered(self) -> bool:
        """Whether its observations have images that MuJoCo draws."""
        return self.has_image and suite_of(self).rendered

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the RunSpec fields that its simulator takes."""
        rendering = ('render',) if self.rendered else ()
        return (*suite_of(self).options, *rendering)

    @property
    def short(self) -> str:
        """The id without the kind of observation.

        Tasks that share it have the same dynamics.
        """
        return self.id.removesuffix(f'-{self.obs}')

    @property
    def highest(self) -> float | None:
        """The highest score of an episode that its rewards allow; None where no bound is known."""
        highest = suite_of(self).highest
        return None if highest is None else self.limit * self.repeat * highest


@dataclasses.dataclass(frozen=True)
class Suite:
    """What the tasks of one simulator package share.

    `simulator(task, **options)` builds a simulator with the methods that
    `paper_lib.envs.base.Env` lists. A suite whose tasks cannot be listed has `find`. It
    returns the task of an id, or None for an id that is not of this suite.
    """

    name: str
    simulator: Callable
    tasks: tuple[Task, ...] = ()
    find: Callable[[str], Task | None] | None = None
    packages: tuple[str, ...] = ()  # needed packages, as `name==version`
    options: tuple[str, ...] = ()  # RunSpec fields that its simulators take; add no `render`, it is implied
    highest: float | None = None  # highest reward of an environment step
    rendered: bool = False  # MuJoCo draws its images
    short_episodes: bool = False  # episodes of random actions end early, so that means need more of them
    playable: bool = True  # its environments can be stepped; else its tasks are recordings that agents learn from


_suites: dict[str, Suite] = {}
_tasks: dict[str, Task] = {}


def register(suite: Suite) -> Suite:
    """Make a suite and its tasks known, and return the suite.

    The same suite may be registered again.

    Raises UserError for a name or a task id that another suite has.
    """
    registered = _suites.get(suite.name)
    if registered and registered.tasks != suite.tasks:
        raise UserError(f'suite={suite.name!r}: another suite has this name')
    for task in suite.tasks:
        if task.suite != suite.name:
            raise UserError(f'suite={task.suite!r}: must be {suite.name!r} in the task {task.id}')
        if task.id in _tasks and not registered:
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


def _find(task_id: str) -> Task:
    """The task of an id that no suite lists. Raises UserError if no suite finds one."""
    if not isinstance(task_id, str):
        raise UserError(f'task={task_id!r}: must be str, got {type(task_id).__name__}')
    for suite in _suites.values():
        task = suite.find(task_id) if suite.find else None
        if task:
            return task
    listed = [task.id for task in known()]
    nearest = [other for other in listed if task_id in other]
    if not nearest:
        nearest = difflib.get_close_matches(task_id, listed)
    hint = f'nearest: {", ".join(nearest[:3])}; ' if nearest else ''
    raise UserError(f'task={task_id!r}: unknown; {hint}`paper-lib tasks` lists all {len(listed)}')


@functools.cache
def _discover():
    """Import every module that registers suites, once.

    Raises UserError if a user's module does not import.
    """
    folder = importlib.import_module(BUILT_IN)
    for module in pkgutil.iter_modules(folder.__path__, f'{BUILT_IN}.'):
        importlib.import_module(module.name)
    for origin, module in _outside():
        try:
            importlib.import_module(module)
        except UserError as error:
            raise UserError(f'{origin}: {error}') from error
        except Exception as error:  # a user's module may raise anything
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            raise UserError(f'{origin}: the module {module!r} does not import ({reason})') from error


def _outside() -> Iterator[tuple[str, str]]:
    """(where it is named, module) of every module with suites outside this package."""
    for name in os.environ.get(VARIABLE, '').split(','):
        if name.strip():
            yield VARIABLE, name.strip()
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield f'entry point {point.name}', point.module
