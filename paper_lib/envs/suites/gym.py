"""Any environment of Gymnasium: `gym:Pendulum-v1`, or `gym:my_module:MyEnv-v0` where a module registers it.

Observations are Box, Discrete, MultiDiscrete and MultiBinary spaces, alone or inside Dict
and Tuple spaces. At most one of them is an image, uint8 of H x W, H x W x 1 or H x W x 3.
All others become one vector, in which a Discrete value is one-hot and the entries of a Dict
are in the order of their names. Actions are Discrete, or a Box with finite bounds.

An episode must be a function of the seed that `reset` gets and of the actions. So an
environment may draw random numbers from `self.np_random` only, and a reset must leave
nothing behind. Resumed runs and pairs of runs rely on this;
`paper_lib.envs.check.check_reproducible` tests it.
"""

import dataclasses
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from paper_lib.contract.errors import UserError
from paper_lib.contract.pictures import IMAGES, is_picture, nearest
from paper_lib.contract.tasks import Suite, Task, register
from paper_lib.envs import packages
from paper_lib.envs.base import Spaces

if TYPE_CHECKING:
    import gymnasium

PREFIX = 'gym:'
PACKAGES = ('gymnasium==1.4.0',)
LIMIT = 1000  # steps of an episode if the environment sets no limit


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of an observation: its path inside Dict and Tuple spaces, and its space."""

    path: tuple
    space: 'gymnasium.Space'

    @property
    def pixels(self) -> bool:
        """Whether it is an image."""
        from gymnasium.spaces import Box

        return isinstance(self.space, Box) and is_picture(self.space.shape, self.space.dtype)

    def of(self, observation: Any) -> Any:
        """The value of this entry in an observation of the whole space."""
        for key in self.path:
            observation = observation[key]
        return observation


class Simulator:
    """Simulator of one environment; see base.Env for its methods."""

    def __init__(self, task: Task):
        self._task = task
        self._env = _make(task.name)
        self._image, self._parts = _entries(self._env.observation_space, task.id)
        self._control = self._env.action_space
        discrete, size = _action(self._control, task.id)
        if not discrete:
            low, high = self._control.low.astype(np.float64), self._control.high.astype(np.float64)
            self._middle, self._half = (high + low) / 2, (high - low) / 2
        image = None
        if self._image:
            height, width = self._image.space.shape[:2]
            self._rows, self._columns = nearest(task.image, height)[:, None], nearest(task.image, width)
            image = (task.image, task.image, 3)
        start = int(self._control.start) if discrete else 0
        self.spaces = Spaces(_sizes(self._parts), image, size, discrete, start)

    def reset(self, seeds: np.random.SeedSequence) -> None:
        seed = int(seeds.generate_state(1)[0]) % 2**31  # some environments take no larger seed
        try:
            found = self._env.reset(seed=seed)
        except TypeError as error:
            if not re.search(r"reset\(\) got an unexpected keyword argument '(seed|options)'", str(error)):
                raise
            raise _outdated(self._task) from error
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
            raise _outdated(self._task)
        self._observation = found[0]

    def act(self, action: np.ndarray | int) -> tuple[float, bool, bool]:
        try:
            self._observation, reward, terminated, truncated, _ = self._env.step(self._decode(action))
        except ValueError as error:
            if 'to unpack (expected 5' not in str(error):
                raise
            raise _outdated(self._task) from error
        try:
            return float(reward), bool(terminated or truncated), bool(terminated)
        except (TypeError, ValueError):
            wrong = ' '.join(repr(reward).split())
            raise UserError(f'task={self._task.id!r}: its reward is {wrong}; it must be a number') from None

    def _decode(self, action):
        """The environment's own action for an index, or for a vector (A,) in [-1, 1]."""
        if self.spaces.discrete:
            return self.spaces.start + action
        space = self._control
        value = self._middle + self._half * action.reshape(space.shape)
        return value.astype(space.dtype).clip(space.low, space.high)

    def observe(self) -> dict[str, np.ndarray]:
        """Raises UserError for an observation that does not fit the observation space."""
        try:
            seen = {'image': self._pixels()} if self._image else {}
            if self._parts:
                seen['vector'] = self._vector()
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            reason = f'{type(error).__name__}: {error}'
            raise UserError(f'task={self._task.id!r}: observes what its observation space has not ({reason})') from None
        return seen

    def _pixels(self):
        pixels, space = np.asarray(self._image.of(self._observation)), self._image.space
        if pixels.shape != space.shape or pixels.dtype != space.dtype:
            raise ValueError(f'image of shape {pixels.shape} and type {pixels.dtype}')
        return np.broadcast_to(np.atleast_3d(pixels)[self._rows, self._columns], self.spaces.image).copy()

    def _vector(self):
        parts = [_numbers(entry.space, entry.of(self._observation)) for entry in self._parts]
        with np.errstate(over='ignore'):  # what is too large is refused as infinite
            return np.concatenate(parts).astype(np.float32)


def _numbers(space: 'gymnasium.Space', value: Any) -> np.ndarray:
    """(n,) numbers of a value: those of a Box as they are, be they in its bounds or not; marks of all other spaces.

    Raises ValueError for a value of another space: its marks would be those of another value.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return np.asarray(value, np.float64).ravel()
    given = np.asarray(value).reshape(space.shape)
    marked = given.astype(space.dtype)
    if not ((given == marked).all() and space.contains(marked)):
        raise ValueError(f'{" ".join(str(value).split())} is not in {space}')
    return spaces.flatten(space, marked)


def _outdated(task: Task) -> UserError:
    """The error of an environment that follows the interface of the older package gym."""
    wanted = 'reset(seed=, options=) returns observation, info; step returns observation, reward, terminated, '
    return UserError(f'task={task.id!r}: must have the interface of Gymnasium 1: {wanted}truncated, info')


def find(task_id: str) -> Task | None:
    """The task `gym:ID`; None for another id.

    The environment is made once, to see what it observes.

    Raises UserError, one line, for an environment that cannot be made, and for spaces that
    no agent can use.
    """
    if not task_id.startswith(PREFIX):
        return None
    packages.load(PACKAGES)
    name = task_id.removeprefix(PREFIX)
    env = _make(name)
    image, parts = _entries(env.observation_space, task_id)
    _action(env.action_space, task_id)
    limit = env.spec.max_episode_steps or LIMIT
    env.close()
    if not image:
        return Task(task_id, 'gym', name, 'proprio', repeat=1, limit=limit)
    obs = 'both' if parts else 'vision'
    side = 32 if max(image.space.shape[:2]) <= 32 else 64
    return Task(task_id, 'gym', name, obs, repeat=1, limit=limit, image=side)


def _make(name) -> 'gymnasium.Env':
    """The environment of this id, which names its version: else another installation would train something else."""
    import gymnasium

    task_id = PREFIX + name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what is wrong with an id is said below, in one line
            env = gymnasium.make(name, disable_env_checker=True)
        for needed in ('observation_space', 'action_space'):
            getattr(env, needed)
    except Exception as error:  # whatever the environment's own code raises
        raise UserError(f'task={task_id!r}: {" ".join(str(error).split()) or type(error).__name__}') from error
    if env.spec.id != name.rpartition(':')[2]:
        raise UserError(f'task={task_id!r}: must name its version, e.g. gym:{env.spec.id}')
    return env


def _entries(space, task_id) -> tuple[Entry | None, list[Entry]]:
    """The image of an observation space, if it has one, and the entries that make up the vector, in a fixed order."""
    images, parts = [], []
    for entry in _leaves(space):
        _check_entry(entry, task_id)
        (images if entry.pixels else parts).append(entry)
    if not images and not any(np.prod(entry.space.shape or ()) for entry in parts):
        raise UserError(f'task={task_id!r}: its observation space {space} is empty')
    if len(images) > 1:
        raise UserError(f'task={task_id!r}: observes {len(images)} images; an agent takes one: wrap the environment')
    return images[0] if images else None, parts


def _leaves(space, path=()) -> Iterator[Entry]:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        for key in sorted(space.spaces):
            yield from _leaves(space.spaces[key], (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from _leaves(inner, (*path, index))
    else:
        yield Entry(path, space)


def _check_entry(entry, task_id):
    """Raise UserError for an entry that is neither part of a vector nor an image."""
    from gymnasium import spaces

    if not isinstance(entry.space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        raise UserError(f'task={task_id!r}: observes {entry.space}; must be Box, Discrete, MultiDiscrete or '
                        'MultiBinary, or a Dict or Tuple of these')  # fmt: skip
    if len(entry.space.shape) > 2 and not entry.pixels:
        shape = f'{entry.space.dtype} of shape {entry.space.shape}'
        raise UserError(f'task={task_id!r}: observes {shape}; must be {IMAGES}')


def _sizes(entries) -> tuple[int, ...]:
    from gymnasium.spaces import flatdim

    return tuple(flatdim(entry.space) for entry in entries)


def _action(space, task_id) -> tuple[bool, int]:
    """(whether actions are discrete, A) of an action space.

    Raises UserError for one that no agent can use.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return True, int(space.n)
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise UserError(f'task={task_id!r}: acts by {space}; must be Discrete, or a Box of floating-point numbers')
    if not (np.isfinite(space.low) & np.isfinite(space.high)).all():
        raise UserError(f'task={task_id!r}: acts by {space} without finite bounds; wrap it, and give its Box some')
    if not np.prod(space.shape):
        raise UserError(f'task={task_id!r}: acts by {space}, which is empty')
    return False, int(np.prod(space.shape))


register(Suite('gym', Simulator, find=find, packages=PACKAGES))
