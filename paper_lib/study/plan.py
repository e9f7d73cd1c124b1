"""The plan: which runs a scale trains, and the spec of each."""

from typing import Any

from paper_lib.contract import agents
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import Side, names
from paper_lib.contract.scales import Scale, merged
from paper_lib.contract.spec import ModelSpec, RunSpec

COLLECTS = names(RunSpec, side=Side.SOURCE)
FOLLOWS = names(RunSpec, side=Side.FOLLOWER)


def make(
    agent: str, task: str, seed: int, scale: Scale, chapter: str = '', source: Dataset | None = None, **values: Any
) -> RunSpec:
    """The run of `agent` with this pair seed (below agents.OWN), with the values of a chapter of the scale.

    Without a chapter these are of the first that plans it. `values` come last, for the source too; those of the model
    are a dict under 'model'. FOLLOWS are of the offline run alone, COLLECTS of its source alone. A dataset given as
    `source` takes the place of the agent's own source.

    Raises UserError for an unknown agent, a seed out of range, and values that no run can have.
    """
    row = agents.get(agent)
    if not 0 <= seed < agents.OWN:
        raise UserError(f'seed={seed}: must be from 0 to {agents.OWN - 1}')
    chapter = chapter or scale.chapter_of(task, agent)
    if source and row.data != 'final':
        raise UserError(f'agent={agent!r}: must be one that learns from a finished recording, to learn from a dataset')
    if row.source and not source:
        of_source = {key: value for key, value in values.items() if key not in FOLLOWS}
        source = make(row.source, task, seed, scale, chapter, **of_source)
        values = {key: value for key, value in values.items() if key not in COLLECTS}
    planned = scale.values(task, agent, chapter)
    if values.get('w_expl') == 0:
        planned.pop('expl_until', None)  # it belongs to the scale's w_expl
    fields = merged(planned, values)
    model = ModelSpec(**fields.pop('model'))
    return RunSpec(task=task, agent=agent, seed=seed + row.seed, init_seed=seed + row.init_seed, data=row.data,
                   source=source, model=model, **fields)  # fmt: skip


def specs(chapter: str, scale: Scale, seeds: int = 0, optional: bool = False) -> list[RunSpec]:
    """Runs of a chapter, sources first, the optional ones too if told so.

    `seeds` > 0 replaces the scale's pair seeds by 0 to `seeds` - 1. Raises UserError for an unknown chapter.
    """
    entries = [entry for entry in scale.planned if entry.chapter == chapter]
    members = [(entry, agents.group(*entry.agents)) for entry in entries]
    online, offline = [], []
    for agent in agents.AGENTS:
        for task in scale.tasks(chapter):
            found = [entry for entry, group in members if agent in group and task in entry.tasks]
            if not found or (found[-1].optional and not optional):
                continue
            for seed in range(seeds or found[-1].pairs):
                spec = make(agent, task, seed, scale, chapter)
                (offline if spec.source else online).append(spec)
    sources = [spec.source for spec in offline]
    return list(dict.fromkeys([*online, *sources, *offline]))


def planned(scale: Scale, seeds: int = 0) -> frozenset[str]:
    """Ids of the runs that a scale plans in any chapter; all others are optional."""
    return frozenset(spec.run_id for chapter in scale.chapters for spec in specs(chapter, scale, seeds))
