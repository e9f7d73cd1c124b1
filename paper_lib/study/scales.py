"""Scales: named values that fix model size, budgets and seeds of the whole study."""

import dataclasses
import difflib

from paper_lib.spec import ModelSpec, UserError

COMPARED = ('active', 'passive', 'tandem')
EXPLORERS = ('active_expl', 'passive_expl', 'tandem_expl', 'active_mixed', 'passive_mixed', 'tandem_mixed')


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one section of the paper trains at one scale."""

    tasks: tuple[str, ...]
    seeds: dict[str, tuple[int, ...]]  # agent -> pair seeds
    values: dict = dataclasses.field(default_factory=dict)  # RunSpec fields (and model) that differ from the scale's


@dataclasses.dataclass(frozen=True)
class Scale:
    """Model and RunSpec fields of every run, and the plan of every section."""

    name: str
    about: str
    model: ModelSpec
    values: dict  # RunSpec fields
    plans: dict[str, Plan]
    trains: bool = True  # whether a notebook trains what is missing unless told otherwise
    note: str = ''  # a deviation that every caption must name


def _maze(compared: int, explorers: int, **values) -> dict[str, Plan]:
    seeds = dict.fromkeys(COMPARED, tuple(range(compared))) | dict.fromkeys(EXPLORERS, tuple(range(explorers)))
    return {'toy_maze': Plan(('point_mass_maze-proprio',), seeds, values)}


def _base(seeds: int, **values) -> dict[str, Plan]:
    return {'base_agent': Plan(('walker_walk-proprio', 'cup_catch-proprio'), {'active': tuple(range(seeds))}, values)}


# As small as these two tasks allow, and learning faster for it; nothing but sizes and rates differs from v1.
BASE = {
    'model': ModelSpec(deter=128, units=128, layers=1, mlp_units=128, mlp_layers=1, stoch=8, classes=8, batch=16,
                       length=16, starts=32, bins=63, probe_units=64),
    'budget': 250_000, 'prefill': 1300, 'chunk': 20, 'lr_model': 4e-4, 'lr_actor': 1e-4, 'lr_critic': 1e-4,
}  # fmt: skip


SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            'smoke',
            'tests and CI: every agent, metric and figure, too small to mean anything',
            ModelSpec(deter=16, stoch=4, classes=4, units=16, layers=1, mlp_units=16, mlp_layers=1, cnn_depth=4,
                      bins=41, batch=4, length=8, horizon=5, ensemble=2, probe_units=16),
            # One episode is 1000 environment steps of each of the 4 environments.
            {'budget': 6000, 'eval_every': 2000, 'prefill': 400, 'chunk': 20},
            _base(seeds=1) | _maze(compared=2, explorers=1),
        ),
        Scale(
            'laptop',
            'the figures in the repository: hours on 2 cores',
            ModelSpec(deter=64, stoch=8, classes=8, units=64, layers=1, mlp_units=64, mlp_layers=1, bins=255,
                      batch=16, length=16, horizon=15, starts=64),
            {'budget': 250_000, 'chunk': 20, 'prefill': 1300},
            _base(seeds=3, **BASE) | _maze(compared=5, explorers=2),
        ),
        Scale(
            'paper',
            'the paper: size S, 1M environment steps, a GPU cluster',
            ModelSpec(),
            {},
            _base(seeds=3) | _maze(compared=3, explorers=3),
            trains=False,
        ),
    )
}  # fmt: skip


def get(name: str) -> Scale:
    """The scale of this name. Raises UserError with the allowed names for an unknown one."""
    if name not in SCALES:
        near = difflib.get_close_matches(str(name), SCALES, n=1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise UserError(f'scale={name!r}: must be one of {", ".join(SCALES)}{hint}')
    return SCALES[name]
