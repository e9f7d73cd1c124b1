"""A scale is an ordered list of rules, which give a run its values, and a list of planned runs.

The scales themselves are in `paper_lib/study/scales.py`.
"""

import dataclasses

from paper_lib.contract import agents
from paper_lib.contract.errors import choose


@dataclasses.dataclass(frozen=True)
class Rule:
    """Gives values to the runs that it matches: fields of RunSpec, and under 'model' fields of ModelSpec.

    An empty condition matches every run. `agents` holds names or groups.
    """

    values: dict
    tasks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    chapter: str = ''

    def __post_init__(self):
        agents.group(*self.agents)  # raises UserError for a word that is neither a name nor a group

    def matches(self, task: str, agent: str, chapter: str) -> bool:
        """Whether the rule gives this run values."""
        return (
            (not self.tasks or task in self.tasks)
            and (not self.agents or agents.is_in(agent, *self.agents))
            and self.chapter in ('', chapter)
        )


@dataclasses.dataclass(frozen=True)
class Planned:
    """Runs of one chapter: every agent (names or groups) on every task, with `pairs` pair seeds from `first` on.

    The first `unasked` pairs are planned; None: all. The others are optional, and are trained only if a user asks for
    them. Exploratory runs are drawn, but no claim is tested on them.
    """

    chapter: str  # 'base_agent', 'toy_maze', or 'study' for all other notebooks
    tasks: tuple[str, ...]
    agents: tuple[str, ...]
    pairs: int
    first: int = 0
    unasked: int | None = None
    exploratory: bool = False

    def __post_init__(self):
        agents.group(*self.agents)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Rules and plan of the whole study.

    Every rule that matches a run gives it values, field by field; of two values of a field the later one counts. Of
    several entries of the plan that have an agent on a task from the same pair seed on, the last one counts.
    """

    name: str
    about: str
    rules: tuple[Rule, ...]
    planned: tuple[Planned, ...]
    trains: bool = True  # a notebook trains the planned runs by default
    warning: str = ''  # a text on every figure

    @property
    def chapters(self) -> list[str]:
        return list(dict.fromkeys(entry.chapter for entry in self.planned))

    def tasks(self, chapter: str) -> list[str]:
        """The tasks of a chapter.

        Raises UserError for a chapter that the scale does not have.
        """
        choose('chapter', chapter, dict.fromkeys(self.chapters))
        names = []
        for entry in self.planned:
            if entry.chapter == chapter:
                names.extend(entry.tasks)
        return list(dict.fromkeys(names))

    def agents(self, chapter: str) -> list[str]:
        """The agents that a chapter plans, optional runs included."""
        names = []
        for entry in self.planned:
            if entry.chapter == chapter:
                names.extend(agents.group(*entry.agents))
        return list(dict.fromkeys(names))

    def exploratory(self, chapter: str) -> list[str]:
        """The tasks of a chapter that have exploratory runs."""
        names = []
        for entry in self.planned:
            if entry.chapter == chapter and entry.exploratory:
                names.extend(entry.tasks)
        return list(dict.fromkeys(names))

    def chapter_of(self, task: str, agent: str) -> str:
        """The first chapter that plans this agent on this task, else the first with the task, else ''."""
        with_task = [entry for entry in self.planned if task in entry.tasks]
        with_both = [entry for entry in with_task if agents.is_in(agent, *entry.agents)]
        for entry in (*with_both, *with_task):
            return entry.chapter
        return ''

    def values(self, task: str, agent: str, chapter: str = '') -> dict:
        """Fields of the RunSpec, those of its model as a dict under 'model'.

        Later values replace earlier ones. The agent's row comes first, then every rule that
        matches, in order.
        """
        row = agents.get(agent)
        rules = [rule.values for rule in self.rules if rule.matches(task, agent, chapter)]
        return merged(row.values, row.at.get(self.name, {}), *rules)


def merged(*layers: dict) -> dict:
    """The values of all layers; a later one replaces an earlier one.

    Fields of the model are merged one by one.
    """
    values = {}
    model = {}
    for layer in layers:
        values |= layer
        model |= layer.get('model', {})
    return values | {'model': model}
