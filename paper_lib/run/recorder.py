"""Writes one row of metrics per evaluation: its results, and mean metrics of the updates since the previous one."""

from typing import Any

import jax
import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.data.store import Finished
from paper_lib.run.learner import Lane
from paper_lib.run.loop import Evaluated, Training, Updated


class Recorder:
    """Collects metrics from the loop's events, and writes them."""

    def __init__(self, group: list[Lane], recordings: list[Finished | None], training: Training):
        self.group = group
        self.recordings = recordings
        self.training = training
        self.updates: list[dict[str, Any]] = []  # metrics of the chunks since the last evaluation
        self.evaluated: Evaluated | None = None  # the last evaluation

    def __call__(self, event: Any) -> None:
        """Keep the metrics of updates, and write a row after an evaluation."""
        if isinstance(event, Updated):
            self.updates.append(event.metrics)
        if isinstance(event, Evaluated):
            self._write(event)
            self.updates = []
            self.evaluated = event

    def _write(self, event: Evaluated) -> None:
        schedule = self.training.schedule
        counters = {
            'update': schedule.updates_at(event.clock),
            'agent_step': event.clock,
            'env_step': event.clock * schedule.repeat,
        }
        if schedule.interact_every:
            counters['added'] = self.training.added * schedule.envs * schedule.repeat  # environment steps
        means = {}
        if self.updates:
            means = jax.tree.map(_mean, *self.updates)
        for number, lane in enumerate(self.group):
            row = counters | event.metrics[number]
            for name in sorted(means):
                row[f'train_{name}'] = float(means[name][number])
            if lane.spec.exact:
                check_reproduces(lane, self.recordings[number], row)
            lane.run.append(row)


def _mean(*chunks: Any) -> np.ndarray:
    return np.mean([np.asarray(chunk) for chunk in chunks], 0)


def check_reproduces(lane: Lane, source: Finished, row: dict[str, Any]) -> None:
    """Raise RunError if the world-model loss of an exact run differs from its source's at the same step."""
    if lane.spec.eval_every != lane.spec.source.eval_every or 'train_model_loss' not in row:
        return
    step = row['env_step']
    of_source = source.metrics()
    source_loss = of_source[of_source.env_step == step].train_model_loss.item()
    loss = row['train_model_loss']
    if loss != source_loss:
        what = f'its world-model loss before step {step} is {loss!r}, and {source_loss!r} in its source'
        advice = 'train the source again, because the run must reproduce it exactly'
        raise RunError(f'{lane.run.path}: its source was trained by other code: {what}; {advice}')
