"""Every task trained for a few updates by every kind of agent."""

import dataclasses

import numpy as np
import pytest
import smoke

from paper_lib.contract import tasks
from paper_lib.contract.scales import Rule
from paper_lib.data.store import Store
from paper_lib.run import train
from paper_lib.study import plan, scales
from paper_lib.study.paper import PAPER_TASKS

KINDS = ('active', 'passive', 'passive_same', 'tandem', 'tandem_alpha_1e-3', 'tandem_same_wm', 'passive_frozen_wm',
         'passive_expert', 'passive_half', 'passive_50', 'passive_auto', 'active_expl', 'passive_expl', 'tandem_expl',
         'active_mixed')  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('task', PAPER_TASKS)
def test_every_kind_of_agent_trains_on_every_task(task, tmp_path, monkeypatch):
    """With episodes of 40 steps: whole ones are played at every evaluation, and lie in every replay."""
    monkeypatch.setitem(tasks._tasks, task, dataclasses.replace(tasks.get(task), limit=40))
    repeat = tasks.get(task).repeat
    few = {'budget': 240 * repeat, 'eval_every': 120 * repeat, 'eval_episodes': 1, 'prefill': 40, 'chunk': 20,
           'ratio': 0.05}  # fmt: skip
    added = {'interact_every': 120 * repeat, 'interact_steps': 40 * repeat}
    model = dataclasses.replace(smoke.MODEL, disag_target='stoch', cnn_depth=2)
    rules = (
        Rule(few | {'model': dataclasses.asdict(model)}),
        Rule(added, agents=('passive_50', 'passive_auto')),
        Rule({'interact_above': 1e-9}, agents=('passive_auto',)),
    )
    scale = dataclasses.replace(scales.get('smoke'), rules=rules)
    store = Store(tmp_path)
    for agent in KINDS:
        spec = plan.make(agent, task, 0, scale)
        train.train([spec], store)
        metrics = store.metrics(spec)
        assert metrics['update'].tolist() == [4, 10] and np.isfinite(metrics[['score', 'wm_loss', 'value_error']]).all(
            None
        )
        assert all(np.isfinite(value).all() for value in store.weights(spec).values())
        assert not spec.interact_every or metrics.added.tolist() == [0, 40 * repeat]
