"""What `paper-lib reference` wrote: the scores of the random policy, and a picture of every task.

The score of the maze is that of the published task, whatever the radius of the goal in a run.
"""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from paper_lib.contract import tasks
from paper_lib.contract.errors import RunError, UserError
from paper_lib.study.paper import PAPER_TASKS

SCORES = Path(__file__).with_name('random_scores.csv')
PICTURES = Path(__file__).with_name('pictures.npz')


def random_score(task_id: str) -> float:
    """Mean score of an episode of the uniform random policy. UserError for a task that is not one of the paper's."""
    task = tasks.get(task_id)
    if task.id not in PAPER_TASKS:
        raise UserError(f'task={task.id!r}: has no random score; `paper-lib reference` measures the tasks of the paper')
    try:
        scores = pd.read_csv(SCORES).set_index('task')
        return float(scores['mean'][task.id])
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(SCORES) from error


def pictures() -> dict[str, np.ndarray]:
    """A picture of each task, uint8 (H, W, 3), by `Task.short` in the order of the paper's tasks."""
    names = dict.fromkeys(tasks.get(task).short for task in PAPER_TASKS)
    try:
        with np.load(PICTURES, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(PICTURES) from error


def _damaged(path: Path) -> RunError:
    return RunError(f'{path}: missing or damaged; `paper-lib reference` writes it again')
