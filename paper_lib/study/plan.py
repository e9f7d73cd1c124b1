"""The plan: which runs a scale trains, and the spec of each."""

import functools
from typing import Any

from paper_lib.contract import agents
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import Side, names
from paper_lib.contract.scales import Planned, Scale, merged
from paper_lib.contract.spec import ModelSpec, RunSpec

COLLECTS = names(RunSpec, side=Side.SOURCE)
FOLLOWS = names(RunSpec, side=Side.FOLLOWER)


def make(
    agent: str, task: str, seed: int, scale: Scale, chapter: str = '', source: Dataset | None = None, **values: Any
) -> RunSpec:
    """The run of `agent` with this pair seed and with the values of a chapter of the scale.

    The pair seed is below agents.OWN. Without a chapter, the values are those of the first chapter that plans the run.
    `values` are further fields of RunSpec, which come last; those of the model are a dict under 'model'. They reach the
    source too, except for the fields FOLLOWS. The fields COLLECTS of an offline run are given to its source alone. A
    dataset given as `source` takes the place of the agent's own source; the seeds are then `seed` itself.

    Raises UserError for an unknown agent, a seed out of range, and values that no run can have.
    """
    row = agents.get(agent)
    if not 0 <= seed < agents.OWN:
        raise UserError(f'seed={seed}: must be from 0 to {agents.OWN - 1}')
    chapter = chapter or scale.chapter_of(task, agent)
    if source and row.data != 'final':
        raise UserError(f'agent={agent!r}: must be one that learns from a finished recording, to learn from a dataset')
    if row.source and not source:
        source_values = _without(values, FOLLOWS)
        source = make(row.source, task, seed, scale, chapter, **source_values)
        values = _without(values, COLLECTS)

    # A dataset has no seed that the run's own must differ from.
    shift, init_shift = (0, 0) if isinstance(source, Dataset) else (row.seed, row.init_seed)
    scale_values = scale.values(task, agent, chapter)
    if values.get('w_expl') == 0:
        scale_values.pop('expl_until', None)  # it belongs to the scale's w_expl
    fields = merged(scale_values, values)
    model = _checked(ModelSpec, **fields.pop('model'))
    return _checked(
        RunSpec,
        task=task,
        agent=agent,
        seed=seed + shift,
        init_seed=seed + init_shift,
        data=row.data,
        source=source,
        model=model,
        **fields,
    )


def _checked(kind: type, **values: Any) -> Any:
    """A run or a model of these values, which is checked once however many plans have it."""
    try:
        return _kept(kind, **values)
    except TypeError:  # a value that cannot be kept; the check names it
        return kind(**values)


@functools.lru_cache(maxsize=8192, typed=True)
def _kept(kind: type, **values: Any) -> Any:
    return kind(**values)


def _without(values: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    """The values of all other fields."""
    return {name: value for name, value in values.items() if name not in left_out}


def specs(
    chapter: str, scale: Scale, seeds: int = 0, optional: bool = False, exploratory: bool = True
) -> list[RunSpec]:
    """The planned runs of a chapter, sources first. With `optional`, the optional runs too.

    `seeds` > 0 replaces the number of pairs of every entry, but without `optional` there are no more than `unasked`.
    Without `exploratory`, the runs that no claim is tested on are left out. Raises UserError for an unknown chapter.
    """
    online = []
    offline = []
    for agent in agents.AGENTS:
        for task in scale.tasks(chapter):
            for entry in _planned_as(chapter, scale, agent, task):
                if entry.exploratory and not exploratory:
                    continue
                pairs = seeds or entry.pairs
                if entry.unasked is not None and not optional:
                    pairs = min(pairs, entry.unasked)
                for seed in range(entry.first, entry.first + pairs):
                    spec = make(agent, task, seed, scale, chapter)
                    if spec.source:
                        offline.append(spec)
                    else:
                        online.append(spec)
    sources = [spec.source for spec in offline]
    return list(dict.fromkeys([*online, *sources, *offline]))


def _planned_as(chapter: str, scale: Scale, agent: str, task: str) -> list[Planned]:
    """The entries of a chapter's plan that have this agent on this task: of those with equal `first` the last one."""
    found = {}
    for entry in scale.planned:
        if entry.chapter == chapter and task in entry.tasks and agents.is_in(agent, *entry.agents):
            found[entry.first] = entry
    return list(found.values())


def planned(scale: Scale, seeds: int = 0) -> frozenset[str]:
    """Ids of the runs that a scale plans in any chapter. All other runs are optional."""
    ids = set()
    for chapter in scale.chapters:
        ids.update(spec.run_id for spec in specs(chapter, scale, seeds))
    return frozenset(ids)


def summary(scale: Scale) -> dict[str, Any]:
    """One row of the list of scales: how many runs are planned, how many are optional, what the scale is for."""
    planned_count = 0
    total = 0
    for chapter in scale.chapters:
        planned_count += len(specs(chapter, scale))
        total += len(specs(chapter, scale, optional=True))
    return {
        'scale': scale.name,
        'planned': planned_count,
        'optional': total - planned_count,
        'trains unasked': 'yes' if scale.trains else 'no',
        'about': scale.about,
    }
