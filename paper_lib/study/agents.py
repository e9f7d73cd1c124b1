"""The agents of the paper as a table. An agent is a row: whose data it learns from, which seeds, which values."""

import dataclasses

from paper_lib import tasks
from paper_lib.spec import RunSpec, UserError
from paper_lib.study.names import choose
from paper_lib.study.scales import Scale

OWN = 1000  # added to the pair seed where an offline run has a seed of its own
COLLECTS = ('w_expl', 'expl_until')  # of online runs only


@dataclasses.dataclass(frozen=True)
class Preset:
    """One row. Seeds are relative to the pair seed, which is the online run's seed and the offline run's source's."""

    about: str
    source: str | None = None  # preset of the online run whose data it learns from
    data: str = 'own'
    seed: int = 0  # added to the pair seed: sampling and evaluation noise
    init_seed: int = 0  # added to the pair seed: initial weights
    values: dict = dataclasses.field(default_factory=dict)  # further fields of the RunSpec


def _passive(about, source, init_seed=OWN):
    return Preset(about, source, 'final', seed=OWN, init_seed=init_seed)


def _tandem(about, source, **values):
    # The source's seed: the noise streams are the same, so that the initial weights are all that differs.
    return Preset(about, source, 'batches', init_seed=OWN, values=values)


PRESETS: dict[str, Preset] = {
    'active': Preset('learns from what it collects itself'),
    'passive': _passive("Active's final replay, own seeds (Passive-diff)", 'active'),
    'passive_same': _passive("Active's final replay, Active's initial weights", 'active', init_seed=0),
    'tandem': _tandem("Active's batches in the same order, own initial weights", 'active'),
    'tandem_alpha': _tandem('Tandem that starts (1 - alpha) of the way at Active', 'active', alpha=1e-3),
    'active_expl': Preset('collects for exploration alone (Plan2Explore)', values={'w_expl': 1.0}),
    'active_mixed': Preset('collects for the task and exploration, half each', values={'w_expl': 0.5}),
    'passive_expl': _passive('Passive on the explorer', 'active_expl'),
    'tandem_expl': _tandem('Tandem on the explorer', 'active_expl'),
    'passive_mixed': _passive('Passive on the mixed-reward agent', 'active_mixed'),
    'tandem_mixed': _tandem('Tandem on the mixed-reward agent', 'active_mixed'),
}


def get(name: str) -> Preset:
    """The row of this name. Raises UserError with the allowed names for an unknown one."""
    return choose('agent', name, PRESETS)


def make(agent: str, task: str, seed: int, scale: Scale, **values) -> RunSpec:
    """The run of `agent` with pair seed `seed` (below OWN); `values` override those of the scale, for its source too.

    Only `alpha` is of the offline run alone, and what says how data are collected (COLLECTS) of its source alone.
    """
    preset, source = get(agent), None
    if not 0 <= seed < OWN:
        raise UserError(f'seed={seed}: must be from 0 to {OWN - 1}')
    if preset.source:
        source = make(preset.source, task, seed, scale, **{key: values[key] for key in values if key != 'alpha'})
        values = {key: values[key] for key in values if key not in COLLECTS}
    own = preset.values | scale.own.get((task, agent), {})
    if not values.get('w_expl', 1.0):
        own.pop('expl_until', None)  # the scale's goes with the scale's w_expl
    pictures = scale.pictures if tasks.get(task).rendered else {}
    fields = {'model': scale.model, **scale.values, **pictures, **own, **values}
    return RunSpec(task=task, agent=agent, seed=seed + preset.seed, init_seed=seed + preset.init_seed,
                   data=preset.data, source=source, **fields)  # fmt: skip


def pair_seed(spec: RunSpec) -> int:
    """What the runs to be compared share: the seed of the online run, the source's seed of an offline run."""
    return spec.source.seed if spec.source else spec.seed


def plan(section: str, scale: Scale, seeds: int = 0) -> list[RunSpec]:
    """Runs of a section, sources first; `seeds` > 0 replaces the scale's pair seeds by 0 to `seeds` - 1."""
    wanted = scale.plans[section]
    order = sorted(wanted.seeds, key=lambda agent: get(agent).source is not None)
    specs = [make(agent, task, seed, scale, **wanted.values)
             for agent in order for task in wanted.tasks
             for seed in (range(seeds) if seeds else wanted.seeds[agent])]  # fmt: skip
    sources = [spec.source for spec in specs if spec.source]
    return list(dict.fromkeys([*(s for s in specs if not s.source), *sources, *specs]))
