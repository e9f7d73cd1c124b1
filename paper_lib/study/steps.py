"""What happens at the steps of an episode: where an agent earns little, and where its world model is surprised."""

import typing

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

# A loss is unusual above this percentile of those of Active's episode. It was fixed before any episode was seen.
PERCENTILE = 99
AROUND = 25  # steps over which a reward is averaged
LITTLE = 0.5  # of Active's mean reward; an agent that earns less at a step earns little there
PAIR = ['task', 'pair_seed']
NONE = pd.DataFrame(columns=[*PAIR, 'agent', 'episode', 'step', 'reward', 'wm_loss', 'recon_loss'])


def unusual(losses: ArrayLike, usual: ArrayLike) -> np.ndarray:
    """Which losses (n,) are above the PERCENTILE of the `usual` ones (m,)."""
    return np.asarray(losses) > np.percentile(usual, PERCENTILE)


class Episode(typing.NamedTuple):
    """The steps of one episode of an agent, and which of them are unusual beside Active's episode of the same pair."""

    little: np.ndarray  # (n,) the agent earns little
    loss: np.ndarray  # (n,) its world-model loss is unusual
    recon: np.ndarray  # (n,) its policy-input reconstruction loss is unusual


def beside(rows: pd.DataFrame, active: pd.DataFrame) -> Episode:
    """The steps of an agent's episode, in their order, beside those of Active's episode.

    Both have the columns reward, wm_loss and recon_loss. A reward is averaged over the AROUND steps around it; at the
    ends of the episode over those that there are.
    """
    around = rows.reward.rolling(AROUND, center=True, min_periods=1).mean()
    return Episode(
        little=(around < LITTLE * active.reward.mean()).to_numpy(),
        loss=unusual(rows.wm_loss, active.wm_loss),
        recon=unusual(rows.recon_loss, active.recon_loss),
    )


def known_failures(episode: Episode) -> float:
    """Of the steps at which the agent earns little, the share whose world-model loss is not unusual; NaN of none."""
    return float((~episode.loss[episode.little]).mean()) if episode.little.any() else np.nan


def unseen_errors(episode: Episode) -> float:
    """Of the steps with an unusual world-model loss, the share without an unusual reconstruction loss; NaN of none."""
    return float((~episode.recon[episode.loss]).mean()) if episode.loss.any() else np.nan


def of_pairs(traces: pd.DataFrame, agent: str, share: typing.Callable[[Episode], float]) -> pd.Series:
    """A share of the steps of an agent's first final episode, by PAIR. Pairs that have no such steps are left out.

    `traces` has one row per step of the final episodes of runs.
    """
    first = traces[(traces.episode == 0) & traces.agent.isin([agent, 'active'])].sort_values('step')
    episodes = dict(iter(first.groupby([*PAIR, 'agent'])))
    shares = {}
    for (*pair, name), mine in episodes.items():
        of_active = episodes.get((*pair, 'active'))
        if name == agent and of_active is not None:
            shares[tuple(pair)] = share(beside(mine, of_active))
    return by_pair(shares).dropna()


def by_pair(values: dict[tuple[str, int], float]) -> pd.Series:
    """Values {(task, pair seed): value} as a Series indexed by PAIR."""
    return pd.Series(values.values(), pd.MultiIndex.from_tuples(values, names=PAIR), dtype=float)
