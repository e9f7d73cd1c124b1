"""Which tasks Active learns at scale `laptop`: one run on each, outside of the study (docs/protocol.md)."""

import pandas as pd

from paper_lib.contract import tasks
from paper_lib.study import paths, reference, stats, supplement
from paper_lib.study.tables import Table

CURVES = 'docs/trials.csv'  # a row per evaluation of every trial
SEED = 102  # pair seed of the screening among the trials
LEAST = 0.25  # share of the way from random actions to the highest score; a task below it is left out


def table() -> Table:
    """The tasks that were screened, the best learned one first, with a caption."""
    caption = f"""**Which tasks Active learns at scale laptop.** One run of Active on each task, with the values of the
    study and pair seed {SEED}, which no compared run has. Active: mean score over the last fifth of its evaluations.
    share: how far this is on the way from random actions to the highest score; a task is included from {LEAST} on.
    data added in the paper: percent of data that the adaptive schedule of the paper added there (Table S2). The rule,
    the order and the highest scores were fixed before the first of these runs (docs/protocol.md)."""
    return Table(rows(), ' '.join(caption.split()))


def rows() -> pd.DataFrame:
    """One row per task; the columns are told in `table`."""
    trials = pd.read_csv(paths.root() / CURVES)
    found = []
    for name, curve in trials[trials.seed == SEED].groupby('task', sort=False):
        random, highest = reference.random_score(name), tasks.get(name).highest
        scores = curve.sort_values('env_step').score
        final = scores.tail(stats.final_count(len(scores))).mean()
        share = (final - random) / (highest - random)
        found.append({
            'task': tasks.get(name).short,
            'random actions': f'{random:.1f}',
            'Active': f'{final:,.1f}',
            'highest': f'{highest:,.0f}',
            'share': f'{share:.3f}',
            'included': 'yes' if share >= LEAST else 'no',
            'data added in the paper': f'{supplement.PAPER[name]:.1f} %',
        })  # fmt: skip
    return pd.DataFrame(found).sort_values('share', ascending=False, ignore_index=True)
