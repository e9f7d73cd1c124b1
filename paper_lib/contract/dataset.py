"""A recording that no run of ours made."""

import dataclasses
import re

from paper_lib.contract import tasks
from paper_lib.contract.facts import MOST_STEPS, check, need, required


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A source that offline runs learn from. Its steps lie in the run store (see `data.datasets`)."""

    name: str = required('for people', option=False)
    task: str = required('what it is a recording of, and where its followers are evaluated', option=False)
    rows: int = required('replay rows', low=1, high=MOST_STEPS, option=False)
    envs: int = required('sequences of steps side by side in a row', low=1, high=MOST_STEPS, option=False)
    sha256: str = required('hash of all steps', option=False)

    def __post_init__(self):
        check(self)
        tasks.get(self.task)
        named = re.fullmatch(r'[A-Za-z0-9_.-]{1,64}', self.name) is not None
        hashed = re.fullmatch(r'[0-9a-f]{64}', self.sha256) is not None
        need(named, 'name', self.name, 'at most 64 letters, digits and the signs _ . -')
        need(hashed, 'sha256', self.sha256, '64 hexadecimal digits')

    @property
    def dataset_id(self) -> str:
        """Readable prefix and the hash of the content."""
        return f'{self.name}_{self.sha256[:16]}'
