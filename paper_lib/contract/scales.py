"""What a scale is: an ordered list of rules that give a run its values, and a list of what is planned.

The scales themselves are in `paper_lib/study/scales.py`.
"""

import dataclasses

from paper_lib.contract import agents
from paper_lib.contract.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rule:
    """Values of the runs that it matches: fields of RunSpec, and under 'model' those of ModelSpec.

    What is left empty matches everything. `agents` holds names or groups.
    """

    values: dict
    tasks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    chapter: str = ''

    def matches(self, task: str, agent: str, chapter: str) -> bool:
        """Whether the rule gives this run values."""
        return (
            (not self.tasks or task in self.tasks)
            and (not self.agents or agent in agents.group(*self.agents))
            and self.chapter in ('', chapter)
        )


@dataclasses.dataclass(frozen=True)
class Planned:
    """Runs of one chapter: every agent (names or groups) on every task, with pair seeds 0 to `pairs` - 1.

    Optional runs are trained only when asked for.
    """

    chapter: str  # 'base_agent', 'toy_maze', or 'study' for all other notebooks
    tasks: tuple[str, ...]
    agents: tuple[str, ...]
    pairs: int
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Scale:
    """Rules and plan of the whole study. In both lists the last entry that matches wins."""

    name: str
    about: str
    rules: tuple[Rule, ...]
    planned: tuple[Planned, ...]
    trains: bool = True  # whether a notebook trains what is planned unless told otherwise
    warning: str = ''  # stands on every figure

    @property
    def chapters(self) -> list[str]:
        return list(dict.fromkeys(entry.chapter for entry in self.planned))

    def tasks(self, chapter: str) -> list[str]:
        """The tasks that a chapter plans. Raises UserError for a chapter that the scale has not got."""
        if chapter not in self.chapters:
            raise UserError(f'chapter={chapter!r}: must be one of {", ".join(self.chapters)}')
        found = [entry.tasks for entry in self.planned if entry.chapter == chapter]
        return list(dict.fromkeys(task for names in found for task in names))

    def chapter_of(self, task: str, agent: str) -> str:
        """The first chapter that plans this agent on this task, else the first with the task, else ''."""
        having = [entry for entry in self.planned if task in entry.tasks]
        both = [entry for entry in having if agent in agents.group(*entry.agents)]
        return next((entry.chapter for entry in [*both, *having]), '')

    def values(self, task: str, agent: str, chapter: str = '') -> dict:
        """Fields of the RunSpec, those of its model as a dict under 'model'.

        The agent's own row comes first, then every rule that matches, in order. A task that no rule names takes the
        values of the general rules.
        """
        row = agents.get(agent)
        rules = [rule.values for rule in self.rules if rule.matches(task, agent, chapter)]
        return merged(row.values, row.at.get(self.name, {}), *rules)


def merged(*layers: dict) -> dict:
    """Values of which a later one replaces an earlier one; fields of the model are merged one by one."""
    found, model = {}, {}
    for layer in layers:
        found |= layer
        model |= layer.get('model', {})
    return found | {'model': model}
