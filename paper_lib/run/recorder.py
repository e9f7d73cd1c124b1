"""Writes one row of metrics per evaluation: what the evaluation found, and means of the updates since the last one."""

from typing import Any

import jax
import numpy as np

from paper_lib.contract.errors import RunError
from paper_lib.data.store import Finished
from paper_lib.run.learner import Lane
from paper_lib.run.loop import Evaluated, Parts, Updated


class Recorder:
    """A consumer of the loop's events."""

    def __init__(self, group: list[Lane], recordings: list[Finished | None], parts: Parts):
        self.group, self.recordings, self.parts = group, recordings, parts
        self.updates: list[dict[str, Any]] = []  # metrics of the chunks since the last evaluation
        self.evaluated: Evaluated | None = None  # the last one

    def __call__(self, event: Any) -> None:
        if isinstance(event, Updated):
            self.updates.append(event.metrics)
        if isinstance(event, Evaluated):
            self._write(event)
            self.updates, self.evaluated = [], event

    def _write(self, event):
        schedule = self.parts.schedule
        counters = {
            'update': schedule.updates_at(event.clock),
            'agent_step': event.clock,
            'env_step': schedule.environment_steps(event.clock),
        }
        if schedule.interact_every:
            counters['added'] = self.parts.added * schedule.envs * schedule.repeat  # environment steps
        training = {}
        if self.updates:
            training = jax.tree.map(lambda *chunks: np.mean([np.asarray(x) for x in chunks], 0), *self.updates)
        for number, lane in enumerate(self.group):
            row = counters | event.metrics[number]
            for name in sorted(training):
                row[f'train_{name}'] = float(training[name][number])
            if lane.spec.exact:
                check_reproduces(lane, self.recordings[number], row)
            lane.run.append(row)


def check_reproduces(lane: Lane, source: Finished, row: dict[str, Any]) -> None:
    """RunError where a run that must have its source's world model to the bit has another loss than that had."""
    if lane.spec.eval_every != lane.spec.source.eval_every or 'train_model_loss' not in row:
        return
    theirs = source.metrics()
    there = theirs[theirs.env_step == row['env_step']].train_model_loss.item()
    here = row['train_model_loss']
    if here != there:
        what = f"the world model's loss is {there!r} there and {here!r} here before step {row['env_step']}"
        raise RunError(
            f'{lane.run.path}: its source was trained by other code: {what}; '
            'it must have its weights to the bit: train that again'
        )
