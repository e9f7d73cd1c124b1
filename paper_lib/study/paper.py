"""The paper: its title and authors, how its published version numbers the figures, and its 31 tasks by suite.

The tasks are those of its Table S1. Scale `paper` trains them, and the tables list them.
"""

TITLE = 'Offline vs. Online Learning in Model-based RL: Lessons for Data Collection Strategies'
AUTHORS = ('Jiaqi Chen', 'Ji Shi', 'Cansu Sancaktar', 'Jonas Frey', 'Georg Martius')
VENUE = 'Reinforcement Learning Conference 2025'
ADDRESS = 'https://arxiv.org/abs/2509.05735'

# The numbers of figures here are those of an earlier version. From S5 on the published version counts otherwise.
_MOVED = {'S5': '4', '4': '5', '5': '6', '6': '7', '7': '8', '8': '9'}

_DMC = (
    'cheetah_run',
    'cup_catch',
    'finger_turn_hard',
    'hopper_hop',
    'humanoid_walk',
    'point_mass_maze',
    'quadruped_run',
    'reacher_hard',
    'walker_walk',
)
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

SUITES: dict[str, tuple[str, ...]] = {
    'DMC': tuple(f'{name}-{obs}' for name in _DMC for obs in ('proprio', 'vision')),
    'Meta-World': tuple(f'{name}-proprio' for name in _METAWORLD),
    'MinAtar': tuple(f'{name}-vision' for name in _MINATAR),
}
PAPER_TASKS: tuple[str, ...] = tuple(task for names in SUITES.values() for task in names)


def published_number(number: str) -> str:
    """The number that the published version gives to a figure: '4' or 'S5' -> '5' or '4'."""
    if number in _MOVED:
        return _MOVED[number]
    if number.startswith('S') and int(number[1:]) > 5:
        return f'S{int(number[1:]) - 1}'
    return number
