"""The agents of the paper as a table. An agent is a row: whose data it learns from, which seeds, which values."""

import dataclasses

from paper_lib.contract import tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.study.names import choose
from paper_lib.study.scales import Scale

OWN = 1000  # added to the pair seed where an offline run has a seed of its own
COLLECTS = ('w_expl', 'expl_until')  # of online runs only
FOLLOWS = ('alpha', 'world_model', 'part', 'interact_every', 'interact_steps', 'interact_above')  # of offline ones only


@dataclasses.dataclass(frozen=True)
class Preset:
    """One row. Seeds are relative to the pair seed, which is the online run's seed and the offline run's source's."""

    about: str
    source: str | None = None  # preset of the online run whose data it learns from
    data: str = 'own'
    seed: int = 0  # added to the pair seed: sampling and evaluation noise
    init_seed: int = 0  # added to the pair seed: initial weights
    values: dict = dataclasses.field(default_factory=dict)  # further fields of the RunSpec


def _passive(about, source='active', init_seed=OWN, **values):
    return Preset(about, source, 'final', seed=OWN, init_seed=init_seed, values=values)


def _tandem(about, source='active', **values):
    # The source's seed: the noise streams are the same, so that the initial weights are all that differs.
    return Preset(about, source, 'batches', init_seed=OWN, values=values)


def _interacting(share, every, above=0.0):
    when = f'where its OOD ratio is above {above:g}, seen every' if above else 'every'
    return _passive(f'Passive that adds 2K steps of its own {when} {every // 1000}K steps{share}',
                    interact_every=every, interact_steps=2000, interact_above=above)  # fmt: skip


def _followers(name, what):
    """Passive and Tandem on another online agent's data."""
    return {f'passive_{name}': _passive(f'Passive on {what}', f'active_{name}'),
            f'tandem_{name}': _tandem(f'Tandem on {what}', f'active_{name}')}  # fmt: skip


ALPHAS = {'0': 0.0, '1e-6': 1e-6, '1e-3': 1e-3, '1e-1': 1e-1}  # alpha = 1 is Tandem
THRESHOLDS = {'': 1.35, '_200': 2.0, '_165': 1.65, '_120': 1.2}  # of the OOD ratio; the first is the paper's choice
MIXES = {'mixed_10': 0.1, 'mixed': 0.5, 'mixed_90': 0.9}  # weights of the disagreement reward


PRESETS: dict[str, Preset] = {
    'active': Preset('learns from what it collects itself'),
    'passive': _passive("Active's final replay, own seeds (Passive-diff)"),
    'passive_same': _passive("Active's final replay, Active's initial weights", init_seed=0),
    'tandem': _tandem("Active's batches in the same order, own initial weights"),
    **{f'tandem_alpha_{name}': _tandem(f'Tandem with initial weights of {1 - a:g} Active + {a:g} own', alpha=a)
       for name, a in ALPHAS.items()},
    'tandem_same_wm': _tandem("Tandem whose world model has Active's weights at every update", world_model='copied'),
    'passive_frozen_wm': _passive("Passive with Active's final world model, frozen", world_model='frozen'),
    'passive_expert': _passive("second half of Active's final replay", part='second'),
    'passive_suboptimal': _passive("first half of Active's final replay", part='first'),
    'passive_half': _passive("a uniform half of Active's final replay (Passive-mixed of Fig. 4)", part='mixed'),
    'passive_50': _interacting(' (50 %)', 4000),
    'passive_10': _interacting(' (10 %)', 20_000),
    'passive_1': _interacting(' (1 %)', 200_000),
    **{f'passive_auto{name}': _interacting('', 5000, above) for name, above in THRESHOLDS.items()},
    'active_expl': Preset('collects for exploration alone (Plan2Explore)', values={'w_expl': 1.0}),
    'passive_expl_same': _passive("Passive on the explorer, its initial weights", 'active_expl', init_seed=0),
    **_followers('expl', 'the explorer'),
    **{f'active_{name}': Preset(f'collects for {1 - w:g} task + {w:g} exploration reward', values={'w_expl': w})
       for name, w in MIXES.items()},
    **{agent: row for name in MIXES for agent, row in _followers(name, f'active_{name}').items()},
}  # fmt: skip


def get(name: str) -> Preset:
    """The row of this name. Raises UserError with the allowed names for an unknown one."""
    return choose('agent', name, PRESETS)


def make(agent: str, task: str, seed: int, scale: Scale, **values) -> RunSpec:
    """The run of `agent` with pair seed `seed` (below OWN); `values` override those of the scale, for its source too.

    FOLLOWS are of the offline run alone, and what says how data are collected (COLLECTS) of its source alone.
    """
    preset, source = get(agent), None
    if not 0 <= seed < OWN:
        raise UserError(f'seed={seed}: must be from 0 to {OWN - 1}')
    if preset.source:
        source = make(preset.source, task, seed, scale, **{key: values[key] for key in values if key not in FOLLOWS})
        values = {key: values[key] for key in values if key not in COLLECTS}
    own = preset.values | scale.agents.get(agent, {}) | scale.own.get((task, agent), {})
    if not values.get('w_expl', 1.0):
        own.pop('expl_until', None)  # the scale's goes with the scale's w_expl
    pictures = scale.pictures if tasks.get(task).rendered else {}
    fields = {'model': scale.model, **scale.values, **pictures, **own, **values}
    return RunSpec(task=task, agent=agent, seed=seed + preset.seed, init_seed=seed + preset.init_seed,
                   data=preset.data, source=source, **fields)  # fmt: skip


def pair_seed(spec: RunSpec) -> int:
    """What the runs to be compared share: the seed of the online run, the source's seed of an offline run."""
    return spec.source.seed if spec.source else spec.seed


def plan(section: str, scale: Scale, seeds: int = 0, further: bool = False) -> list[RunSpec]:
    """Runs of a section, sources first; `seeds` > 0 replaces the scale's pair seeds by 0 to `seeds` - 1.

    `further`: those too that are trained only when asked for.
    """
    specs = [make(agent, task, seed, scale, **wanted.values)
             for wanted in scale.plans[section]
             for agent, own in (wanted.seeds | (wanted.further if further else {})).items()
             for task in wanted.tasks for seed in (range(seeds) if seeds else own)]  # fmt: skip
    specs.sort(key=lambda spec: spec.source is not None)
    sources = [spec.source for spec in specs if spec.source]
    return list(dict.fromkeys([*(s for s in specs if not s.source), *sources, *specs]))
