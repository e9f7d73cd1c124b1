"""The agents, one row each. To add one, add a row: plans, figures, captions and notebooks find it by its groups."""

import dataclasses

from paper_lib.contract.errors import UserError, choose

OWN = 1000  # is added to the pair seed where an offline run has a seed of its own
EVERY = 'all'  # the group of all agents

# Told apart by colour-blind readers in every figure. The colour says which agent it is; in a figure without the plain
# agents of its family it says which part or schedule. The marker says whose data the agent learns from.
BLUE, ORANGE, GREEN = '#0173b2', '#de8f05', '#029e73'
BLACK, BROWN, WINE, PINK, SKY, PINE = '#111111', '#6b2d00', '#d6336c', '#f0a6cf', '#7cc4ee', '#00543c'
COPPER, OLIVE, ASH, VIOLET, NAVY = '#c2651a', '#b9c400', '#8a8a8a', '#8c0df2', '#00006b'


@dataclasses.dataclass(frozen=True)
class Agent:
    """One row. Seeds are added to the pair seed, which is the seed of the online run that two compared runs share.

    `values` are fields of `RunSpec` that make the agent what it is. `at` holds further fields by the name of a smaller
    scale, where the values would not fit. Rules of a scale come after both.
    """

    name: str
    about: str
    label: str
    color: str
    marker: str
    groups: tuple[str, ...] = ()
    source: str = ''  # the online agent whose data it learns from
    data: str = 'own'  # as in RunSpec: 'own', 'final' or 'batches'
    seed: int = 0  # of sampling and evaluation noise
    init_seed: int = 0  # of the initial weights
    values: dict = dataclasses.field(default_factory=dict)
    at: dict[str, dict] = dataclasses.field(default_factory=dict)


# How an offline agent relates to its source. Tandem has the source's seed: its noise is the same, so that the initial
# weights are all that differs.
PASSIVE = {'data': 'final', 'seed': OWN, 'init_seed': OWN}
SAME_START = {'data': 'final', 'seed': OWN}
TANDEM = {'data': 'batches', 'init_seed': OWN}


def _interacting(every: int, above: float = 0.0) -> dict:
    """Fields of an agent that adds 2,000 environment steps of its own on a schedule."""
    return {'interact_every': every, 'interact_steps': 2000, 'interact_above': above}


# At the end of training this effective share of the recording tells degraded agents best in all runs of Active, Passive
# and Tandem at scale laptop (balanced accuracy; `best_threshold` in `study/offline.py`). A scale may have others.
LEAST_SHARE = 0.1


def _small(every: int, steps: int) -> dict:
    """The same schedule in proportion to a smaller budget."""
    return {'interact_every': every, 'interact_steps': steps}


ROWS = (
    Agent(
        'active', 'learns from what it collects itself', 'Active', BLUE, 'o',
        groups=('compared', 'core', 'collectors', 'weights'),
    ),
    Agent(
        'active_stopped', 'Active that stops collecting half-way and learns on from what it has', 'Active-stopped',
        NAVY, 'X', groups=('stopped',), values={'collect_until': 500_000},
        at={'smoke': {'collect_until': 3000}, 'laptop': {'collect_until': 50_000}},
    ),
    Agent(
        'passive', "Active's final replay, own seeds (the paper's Passive-diff)", 'Passive', ORANGE, 's',
        groups=('compared', 'core', 'weights'), source='active', **PASSIVE,
    ),
    Agent(
        'passive_same', "Active's final replay, Active's initial weights", 'Passive-same', BROWN, 'D',
        groups=('initial_weights',), source='active', **SAME_START,
    ),
    Agent(
        'tandem', "Active's batches in the same order, own initial weights", 'Tandem', GREEN, '^',
        groups=('compared', 'core', 'weights'), source='active', **TANDEM,
    ),
    Agent(
        'tandem_alpha_0', 'Tandem with initial weights of 1 Active + 0 own', 'Tandem alpha 0', BLACK, 'v',
        groups=('alphas',), source='active', **TANDEM, values={'alpha': 0.0},
    ),
    Agent(
        'tandem_alpha_1e-6', 'Tandem with initial weights of 0.999999 Active + 1e-06 own', 'Tandem alpha 1e-6', BROWN,
        '<', groups=('alphas',), source='active', **TANDEM, values={'alpha': 1e-6},
    ),
    Agent(
        'tandem_alpha_1e-4', 'Tandem with initial weights of 0.9999 Active + 0.0001 own', 'Tandem alpha 1e-4', VIOLET,
        'h', groups=('alphas',), source='active', **TANDEM, values={'alpha': 1e-4},
    ),
    Agent(
        'tandem_alpha_1e-3', 'Tandem with initial weights of 0.999 Active + 0.001 own', 'Tandem alpha 1e-3', OLIVE,
        '>', groups=('alphas',), source='active', **TANDEM, values={'alpha': 1e-3},
    ),
    Agent(
        'tandem_alpha_1e-2', 'Tandem with initial weights of 0.99 Active + 0.01 own', 'Tandem alpha 1e-2', COPPER,
        'p', groups=('alphas',), source='active', **TANDEM, values={'alpha': 1e-2},
    ),
    Agent(
        'tandem_alpha_1e-1', 'Tandem with initial weights of 0.9 Active + 0.1 own', 'Tandem alpha 1e-1', PINK,
        'd', groups=('alphas',), source='active', **TANDEM, values={'alpha': 1e-1},
    ),
    Agent(
        'tandem_same_wm', "Tandem whose world model has Active's weights at every update (the paper's Tandem_sameWM)",
        'Tandem-same-WM', VIOLET, 'v',
        groups=('world_models',), source='active', **TANDEM, values={'world_model': 'copied'},
    ),
    Agent(
        'passive_frozen_wm', "Passive with Active's final world model, frozen (the paper's Passive_sameWM)",
        'Passive-frozen-WM', BROWN, 'p',
        groups=('world_models',), source='active', **PASSIVE, values={'world_model': 'frozen'},
    ),
    Agent(
        'passive_expert', "second half of Active's final replay", 'Passive-expert', WINE, '>',
        groups=('parts',), source='active', **PASSIVE, values={'part': 'second'},
    ),
    Agent(
        'passive_suboptimal', "first half of Active's final replay", 'Passive-suboptimal', PINK, '<',
        groups=('parts',), source='active', **PASSIVE, values={'part': 'first'},
    ),
    Agent(
        'passive_half', "a uniform half of Active's final replay (the paper's Passive-mixed)", 'Passive-half',
        BLACK, 'D', groups=('parts',), source='active', **PASSIVE, values={'part': 'mixed'},
    ),
    Agent(
        'passive_50', 'Passive that adds 50 % of data of its own, at regular intervals', 'Passive + 50 %', BROWN, '^',
        groups=('interacting',), source='active', **PASSIVE, values=_interacting(4000),
        at={'smoke': _small(400, 200)},
    ),
    Agent(
        'passive_10', 'Passive that adds 10 % of data of its own, at regular intervals', 'Passive + 10 %', WINE, 'v',
        groups=('interacting', 'core'), source='active', **PASSIVE, values=_interacting(20_000),
        at={'smoke': _small(2000, 200)},
    ),
    Agent(
        'passive_1', 'Passive that adds 1 % of data of its own, at regular intervals', 'Passive + 1 %', PINK, 'D',
        groups=('interacting',), source='active', **PASSIVE, values=_interacting(200_000),
        at={'smoke': _small(4000, 40), 'laptop': _small(20_000, 200)},
    ),
    Agent(
        'passive_auto', 'Passive that adds data of its own wherever its OOD ratio is above 1.35',
        'Passive + auto 1.35', BLACK, 'h',
        groups=('interacting', 'thresholds', 'core'), source='active', **PASSIVE, values=_interacting(5000, 1.35),
        at={'smoke': _small(2000, 200)},
    ),
    Agent(
        'passive_auto_200', 'Passive that adds data of its own wherever its OOD ratio is above 2',
        'Passive + auto 2.0', PINK, 'o',
        groups=('thresholds',), source='active', **PASSIVE, values=_interacting(5000, 2.0),
        at={'smoke': _small(2000, 200)},
    ),
    Agent(
        'passive_auto_165',
        'Passive that adds data of its own wherever its OOD ratio is above 1.65',
        'Passive + auto 1.65', COPPER, 's',
        groups=('thresholds',), source='active', **PASSIVE, values=_interacting(5000, 1.65),
        at={'smoke': _small(2000, 200)},
    ),
    Agent(
        'passive_auto_120',
        'Passive that adds data of its own wherever its OOD ratio is above 1.2',
        'Passive + auto 1.2', ASH, '^',
        groups=('thresholds',), source='active', **PASSIVE, values=_interacting(5000, 1.2),
        at={'smoke': _small(2000, 200)},
    ),
    Agent(
        'passive_auto_offline',
        'Passive that adds data of its own wherever the effective share of its recording is small (beyond the paper)',
        'Passive + auto offline', VIOLET, 'P',
        source='active', **PASSIVE,
        values=_interacting(5000) | {'interact_by': 'density_ess', 'interact_below': LEAST_SHARE, 'measures': 1},
        at={'smoke': _small(2000, 200)},
    ),
    Agent(
        'active_expl', 'collects for exploration alone (Plan2Explore)', 'Active-expl', SKY, 'P',
        groups=('exploration', 'core', 'collectors', 'weights'), values={'w_expl': 1.0},
    ),
    Agent(
        'passive_expl_same', 'Passive on the explorer, its initial weights', 'Passive-expl-same', BROWN, 'd',
        source='active_expl', **SAME_START,
    ),
    Agent(
        'passive_expl', 'Passive on the explorer', 'Passive-expl', COPPER, 'X',
        groups=('exploration', 'core', 'weights'), source='active_expl', **PASSIVE,
    ),
    Agent(
        'tandem_expl', 'Tandem on the explorer', 'Tandem-expl', PINE, '<',
        groups=('exploration', 'weights'), source='active_expl', **TANDEM,
    ),
    Agent(
        'active_mixed_10', 'collects for 0.9 task + 0.1 exploration reward', 'Active-mixed 0.1', SKY, 'h',
        groups=('weights',), values={'w_expl': 0.1},
    ),
    Agent(
        'active_mixed', 'collects for 0.5 task + 0.5 exploration reward', 'Active-mixed 0.5', SKY, '*',
        groups=('mixed', 'collectors', 'weights'), values={'w_expl': 0.5},
    ),
    Agent(
        'active_mixed_90', 'collects for 0.1 task + 0.9 exploration reward', 'Active-mixed 0.9', SKY, 'D',
        groups=('weights',), values={'w_expl': 0.9},
    ),
    Agent(
        'passive_mixed_10', 'Passive on active_mixed_10', 'Passive-mixed 0.1', ORANGE, 'd',
        groups=('weights',), source='active_mixed_10', **PASSIVE,
    ),
    Agent(
        'passive_mixed', 'Passive on active_mixed', 'Passive-mixed 0.5', ORANGE, 'h',
        groups=('mixed', 'weights'), source='active_mixed', **PASSIVE,
    ),
    Agent(
        'passive_mixed_90', 'Passive on active_mixed_90', 'Passive-mixed 0.9', ORANGE, 'p',
        groups=('weights',), source='active_mixed_90', **PASSIVE,
    ),
    Agent(
        'tandem_mixed_10', 'Tandem on active_mixed_10', 'Tandem-mixed 0.1', GREEN, 'v',
        groups=('weights',), source='active_mixed_10', **TANDEM,
    ),
    Agent(
        'tandem_mixed', 'Tandem on active_mixed', 'Tandem-mixed 0.5', GREEN, '>',
        groups=('mixed', 'weights'), source='active_mixed', **TANDEM,
    ),
    Agent(
        'tandem_mixed_90', 'Tandem on active_mixed_90', 'Tandem-mixed 0.9', GREEN, 'D',
        groups=('weights',), source='active_mixed_90', **TANDEM,
    ),
)  # fmt: skip
AGENTS: dict[str, Agent] = {row.name: row for row in ROWS}


def get(name: str) -> Agent:
    """The row of this name. Raises UserError with the allowed names for an unknown one."""
    return choose('agent', name, AGENTS)


def words() -> dict[str, None]:
    """What `group` takes: the names of all agents, then those of their groups."""
    return dict.fromkeys([*AGENTS, EVERY, *(name for row in AGENTS.values() for name in row.groups)])


def group(*wanted: str) -> list[str]:
    """Names of the agents that are in one of these groups or have one of these names, in the order of the table.

    Raises UserError for a word that is neither.
    """
    known = words()
    for word in wanted:
        if word not in known:
            raise UserError(f'group={word!r}: no agent has this name or is in a group of it')
    return [name for name in AGENTS if is_in(name, *wanted)]


def is_in(name: str, *wanted: str) -> bool:
    """Whether `group(*wanted)` has the agent of this name. The words of `wanted` are not checked."""
    return EVERY in wanted or name in wanted or not set(wanted).isdisjoint(get(name).groups)


def exploration_weight(name: str) -> float:
    """Weight of the exploration reward (w_expl) in what the data of this agent are collected for."""
    row = get(name)
    return get(row.source or name).values.get('w_expl', 0.0)


def family(name: str) -> dict[str, float]:
    """The agents that relate to their data as this one does: name -> exploration weight of the data, rising."""
    alike = [other for other in group('weights') if get(other).data == get(name).data]
    return {other: exploration_weight(other) for other in sorted(alike, key=exploration_weight)}
