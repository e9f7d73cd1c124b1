"""How many pairs a claim needs: simulated before the first run of the study, from what trials showed.

`python -c "from paper_lib.study import power, tables; print(tables.markdown(power.table()))"` prints the table of
docs/protocol.md.
"""

import bisect
import dataclasses
import itertools

import numpy as np
import pandas as pd

from paper_lib.study import claims
from paper_lib.study.comparisons import MARGIN

WANTED = 0.8  # share of studies in which a true claim shall be supported
STUDIES = 400  # simulated for each number of pairs
FLIPS = 4095  # of the signs of the pairs, drawn by chance where there are more than 2 ** 12 ways
MOST = 100  # pairs up to which is searched


@dataclasses.dataclass(frozen=True)
class Assumed:
    """What is assumed of a claim: differences of normalised score (or what its row compares) between two agents.

    A pair shows the effect with probability `share`; then its difference is normal around `effect`, else around 0, both
    with standard deviation `spread`. The claim wants the mean between `above` and `below`.
    """

    ids: str
    effect: float
    share: float
    spread: float
    above: float = -np.inf
    below: float = np.inf
    why: str = ''

    def differences(self, rng: np.random.Generator, studies: int, pairs: int) -> np.ndarray:
        """Simulated paired differences (pairs, studies)."""
        shows = rng.random((pairs, studies)) < self.share
        return self.effect * shows + self.spread * rng.standard_normal((pairs, studies))


# One pair of each task was seen in trials at train ratio 512. Over the last fifth of training, with Active at 1 and
# random actions at 0, Passive - Active was -0.57 on walker_walk and -0.75 on cheetah_run, Tandem - Active -0.42 and
# -0.30; on cup_catch there was no difference. From one pair nothing is known of the spread between pairs: 0.3 is the
# standard deviation of a difference of two final scores that each vary by 0.2 between seeds.
ASSUMED = (
    Assumed('C1, C11, P5', -0.6, 1.0, 0.3, below=0.0, why='every pair loses 0.6, as in the trials'),
    Assumed('C1, C11, P5', -0.6, 0.5, 0.3, below=0.0, why='half of the pairs lose 0.6, the others nothing'),
    Assumed('C1, C11, P5', -0.3, 1.0, 0.3, below=0.0, why='every pair loses 0.3, as Tandem on cheetah_run'),
    Assumed('C2', 0.5, 1.0, 0.4, above=0.0, why='losses 1.65 times as high'),
    Assumed('C3, P4', 1.0, 1.0, 0.6, above=0.0, why="an error of Active's whole return"),
    Assumed('C4, C6, P9', 0.3, 1.0, 0.3, above=0.0, why='an advantage of 0.3'),
    Assumed('C12', -0.4, 1.0, 0.5, below=0.0, why='a rank correlation of -0.4 (three agents: -1 to 1)'),
    Assumed('C5, P1', 0.1, 1.0, 0.3, above=-MARGIN, why='0.1 better, at least as good is asked'),
    Assumed('C7, C8, C9', 0.0, 1.0, 0.3, -MARGIN, MARGIN, 'no difference, spread as above'),
    Assumed('C7, C8, C9', 0.0, 1.0, 0.15, -MARGIN, MARGIN, 'no difference, half of that spread'),
    Assumed('P6', -0.2, 0.5, 0.3, below=0.0, why='half of the pairs lose 0.2'),
    Assumed('P8', 0.0, 1.0, 0.2, below=MARGIN, why='no difference, no gain above 0.1 is asked'),
)  # fmt: skip


def tests() -> int:
    """Number of primary rows with a p-value: what Holm's correction goes over."""
    return sum(claim.rows[0].exact is None for claim in claims.every_claim())


def signs(pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Ways to flip the signs of so many pairs, (ways, pairs): all of them, or FLIPS random ones; none flipped first."""
    if 2**pairs <= FLIPS + 1:
        return np.array(list(itertools.product((1, -1), repeat=pairs)), float)
    return np.concatenate([np.ones((1, pairs)), rng.choice((1.0, -1.0), size=(FLIPS, pairs))])


def power(assumed: Assumed, pairs: int, level: float, studies: int = STUDIES) -> float:
    """Share of simulated studies in which the claim is supported at this two-sided level (`stats.p_of_range`)."""
    rng = np.random.default_rng(0)
    found = assumed.differences(rng, studies, pairs)
    flips = signs(pairs, rng)
    p = np.zeros(studies)
    for limit, side in ((assumed.above, 1), (assumed.below, -1)):
        if np.isfinite(limit):
            sums = flips @ (side * (found - limit))
            p = np.maximum(p, (sums >= sums[0] - 1e-9).mean(0))
    return float(np.mean(2 * p < level))


def needed(assumed: Assumed, level: float) -> int | None:
    """Fewest pairs with a power of WANTED; None if MOST are too few."""
    fewest = int(np.ceil(1 + np.log2(1 / level)))  # so many of one sign have a p below the level
    counts = range(fewest, MOST + 1)
    at = bisect.bisect_left(counts, WANTED, key=lambda pairs: power(assumed, pairs, level))
    return counts[at] if at < len(counts) else None


def table() -> pd.DataFrame:
    """Pairs that each claim needs, over all its tasks together, alone and at the hardest step of Holm's correction."""
    rows = []
    for assumed in ASSUMED:
        pairs = [needed(assumed, level) for level in (claims.LEVEL, claims.LEVEL / tests())]
        alone, hardest = (f'more than {MOST}' if count is None else str(count) for count in pairs)
        rows.append({
            'claims': assumed.ids, 'assumed': assumed.why, 'mean': assumed.effect * assumed.share,
            'spread': assumed.spread, 'asked': claims.within(assumed.above, assumed.below),
            'pairs alone': alone, f'pairs among {tests()}': hardest,
        })  # fmt: skip
    return pd.DataFrame(rows)
