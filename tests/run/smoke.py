"""Tiny runs for the tests of the training loop."""

import dataclasses

from paper_lib.contract.spec import ModelSpec, RunSpec
from paper_lib.data import writer

MODEL = ModelSpec(deter=8, stoch=3, classes=4, units=8, layers=1, mlp_units=8, mlp_layers=1, bins=15, batch=3, length=6,
                  horizon=3, starts=8, ensemble=2, probe_units=8, disag_target='vector', obs_scale=10)  # fmt: skip
ACTIVE = RunSpec(
    'point_mass_maze-proprio', model=MODEL, budget=6000, eval_every=2000, eval_episodes=2, prefill=400, chunk=20
)
EXPLORER = dataclasses.replace(ACTIVE, agent='active_mixed', w_expl=0.5, expl_until=3000)
TANDEM = dataclasses.replace(ACTIVE, agent='tandem', data='batches', source=ACTIVE, init_seed=1000)
CONTROL = dataclasses.replace(TANDEM, alpha=0.0)  # starts from the Active run's weights
EXPLORER_CONTROL = dataclasses.replace(CONTROL, source=EXPLORER)
VISION = RunSpec(
    'point_mass_maze-vision', model=dataclasses.replace(MODEL, disag_target='stoch', cnn_depth=2),
    budget=2000, eval_every=2000, eval_episodes=1, prefill=800, chunk=20, ratio=0.05
)  # fmt: skip
PASSIVE = dataclasses.replace(ACTIVE, agent='passive', data='final', source=ACTIVE, seed=1000, init_seed=1000)


def stop_after(saves, monkeypatch):
    """Interrupt training at this checkpoint of a run."""
    save, done = writer.Run.save, []

    def stop(*args, **kwargs):
        save(*args, **kwargs)
        done.append(args)
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(writer.Run, 'save', stop)
