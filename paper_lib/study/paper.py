"""The paper's 31 tasks, by the suites of its Table S1. What scale `paper` trains and what the tables list is this."""

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
