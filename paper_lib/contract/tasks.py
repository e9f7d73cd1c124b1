"""The task table: 31 ids of the paper and their settings (Table S1). Standard library only."""

import dataclasses
import difflib

from paper_lib.contract.errors import UserError


@dataclasses.dataclass(frozen=True)
class Task:
    """One task. `repeat`, `truncate`, `image` and `envs` are the rows of Table S1."""

    id: str
    suite: str  # 'dmc', 'maze', 'metaworld', 'minatar'
    name: str  # the suite's own name of it
    obs: str  # 'proprio' (vectors) or 'vision' (one image)
    repeat: int  # simulator control steps per agent step
    limit: int  # longest episode in agent steps, the reset transition not counted
    image: int = 64  # pixels per side
    envs: int = 4  # parallel environments

    @property
    def rendered(self) -> bool:
        """Whether its observations are pictures that MuJoCo draws."""
        return self.obs == 'vision' and self.suite != 'minatar'

    @property
    def short(self) -> str:
        """The id without what is observed: tasks that share it differ in nothing else."""
        return self.id.rsplit('-', 1)[0]

    @property
    def highest(self) -> float | None:
        """The highest score of an episode that its rewards allow; None where there is no bound (MinAtar)."""
        return self.limit * self.repeat * _REWARDS[self.suite] if self.suite in _REWARDS else None


_REWARDS = {'dmc': 1.0, 'maze': 1.0, 'metaworld': 10.0}  # highest of a control step
_DMC = {
    'cheetah_run': 'cheetah-run', 'cup_catch': 'ball_in_cup-catch', 'finger_turn_hard': 'finger-turn_hard',
    'hopper_hop': 'hopper-hop', 'humanoid_walk': 'humanoid-walk', 'point_mass_maze': 'reach_bottom_right',
    'quadruped_run': 'quadruped-run', 'reacher_hard': 'reacher-hard', 'walker_walk': 'walker-walk',
}  # fmt: skip
_METAWORLD = (
    'assembly',
    'basketball',
    'button-press',
    'lever-pull',
    'peg-insert-side',
    'pick-place',
    'soccer',
    'window-open',
)
_MINATAR = ('asterix', 'breakout', 'freeway', 'seaquest', 'space_invaders')


def _table():
    for short, name in _DMC.items():
        suite = 'maze' if short == 'point_mass_maze' else 'dmc'
        for obs in ('proprio', 'vision'):
            yield Task(f'{short}-{obs}', suite, name, obs, repeat=2, limit=500)
    for short in _METAWORLD:
        yield Task(f'{short}-proprio', 'metaworld', f'{short}-v3', 'proprio', repeat=2, limit=250)
    for short in _MINATAR:
        yield Task(f'{short}-vision', 'minatar', short, 'vision', repeat=1, limit=2500, image=32)


TASKS: dict[str, Task] = {task.id: task for task in _table()}


def get(task_id: str) -> Task:
    """The task of this id. Raises UserError with the nearest ids for an unknown one."""
    if task_id not in TASKS:
        near = [known for known in TASKS if str(task_id) in known] or difflib.get_close_matches(str(task_id), TASKS)
        hint = f'nearest: {", ".join(near[:3])}; ' if near else ''
        raise UserError(f'task={task_id!r}: unknown; {hint}`paper-lib tasks` lists all {len(TASKS)}')
    return TASKS[task_id]
