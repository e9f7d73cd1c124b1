"""A dataset: a recording that was not made by a run of this library."""

import dataclasses
import re

from paper_lib.contract import tasks
from paper_lib.contract.facts import MOST_STEPS, check, need, required


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A source that offline runs learn from.

    Its steps are in the run store (see `data.datasets`).
    """

    name: str = required('a name for readers; it is part of the id', option=False)
    task: str = required('the task that was recorded, on which its followers are evaluated', option=False)
    rows: int = required('number of replay rows', low=1, high=MOST_STEPS, option=False)
    envs: int = required('number of sequences that a row holds side by side', low=1, high=MOST_STEPS, option=False)
    sha256: str = required('hash of all steps', option=False)

    def __post_init__(self):
        check(self)
        tasks.get(self.task)
        is_name = re.fullmatch(r'[A-Za-z0-9_.-]{1,64}', self.name) is not None
        is_hash = re.fullmatch(r'[0-9a-f]{64}', self.sha256) is not None
        need(is_name, 'name', self.name, '1 to 64 letters, digits and the signs _ . -')
        need(is_hash, 'sha256', self.sha256, '64 hexadecimal digits')

    @property
    def dataset_id(self) -> str:
        """The name and a hash of the content, e.g. `mine_1f2e...`."""
        return f'{self.name}_{self.sha256[:16]}'
