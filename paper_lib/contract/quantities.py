"""The quantities that runs record and figures show: one row each. To record and plot another, add a row."""

import dataclasses

from paper_lib.contract.errors import choose

EVALUATION = 'evaluation'  # one value per evaluation
EPISODE = 'episode'  # one value per episode of every evaluation
STEP = 'step'  # one value per step of the final evaluation's episodes
ACROSS = 'across'  # one value per run, which takes its final weights and those of other runs of its recording
OOD_RATIO = 'ood_ratio'  # the measure of the paper, which takes episodes in the environment


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One row.

    `normalised` says how values of several tasks become comparable: 'score' puts random actions at 0 and the Active
    runs at 1, 'loss' divides by the Active runs' mean, '' leaves values as they are. A `total` only grows; it counts
    environment steps and is shown in percent of those in the source's replay.
    """

    name: str  # the column in the tables of runs and of the archive
    words: str  # in a sentence
    label: str = ''  # at an axis; the words where there is none
    title: str = ''  # above a panel; the words where there is none
    per: tuple[str, ...] = (EVALUATION,)
    first: bool = False  # an episode's value is that of its first step, not the mean over its steps
    logarithmic: bool = False
    normalised: str = ''
    signed: bool = False  # a line marks zero
    total: bool = False
    environment: bool = True  # whether measuring it takes episodes in the environment

    @property
    def axis(self) -> str:
        return self.label or self.words

    @property
    def heading(self) -> str:
        return self.title or self.words[:1].upper() + self.words[1:]


ROWS = (
    Quantity('score', 'score', 'episode score', per=(EVALUATION, EPISODE), normalised='score'),
    Quantity(
        'wm_loss', 'world-model loss', title='World-model loss on own episodes', per=(EVALUATION, EPISODE, STEP),
        logarithmic=True, normalised='loss',
    ),
    Quantity(
        'value', 'value estimate', title='Value estimate of the first state', per=(EVALUATION, EPISODE, STEP),
        first=True,
    ),
    Quantity('mc_return', 'discounted return', title='Discounted Monte-Carlo return', per=(EVALUATION, EPISODE)),
    Quantity(
        'value_error', 'value error', 'estimate - return', 'Value error: estimate - return', per=(EVALUATION, EPISODE),
        signed=True,
    ),
    Quantity('length', 'length of an episode', 'agent steps of an episode', per=(EVALUATION, EPISODE)),
    Quantity(OOD_RATIO, 'OOD ratio'),
    Quantity(
        'recon_loss', 'policy-input reconstruction loss', 'policy-input\nreconstruction loss',
        per=(EVALUATION, EPISODE, STEP),
    ),
    Quantity('added', 'added data', 'added data (%)', total=True, environment=False),
    Quantity('reward', 'reward', per=(STEP,)),
    # Measures of degradation (`paper_lib/agent/measures.py`), of runs that compute them.
    Quantity('promise', 'value at recorded first states', environment=False),
    Quantity('record_return', 'best discounted return of the recording', environment=False),
    Quantity('record_rate', 'best reward rate of the recording', environment=False),
    Quantity(
        'promise_ratio', 'promised over best recorded return', 'promised over best\nrecorded return', logarithmic=True,
        environment=False,
    ),
    Quantity(
        'promise_rate_ratio', 'promised over best recorded reward rate', 'promised over best\nrecorded reward rate',
        logarithmic=True, environment=False,
    ),
    Quantity('kl_recorded', 'KL of posterior and prior on recorded windows', environment=False),
    Quantity(
        'round_trip_15', 'round-trip KL ratio after 15 steps', 'round-trip KL ratio\nafter 15 steps', logarithmic=True,
        environment=False,
    ),
    Quantity(
        'round_trip_50', 'round-trip KL ratio after 50 steps', 'round-trip KL ratio\nafter 50 steps', logarithmic=True,
        environment=False,
    ),
    Quantity('density_auc', 'imagined-or-recorded classifier', environment=False),
    Quantity(
        'density_ess', 'effective share of the recording', 'effective share\nof the recording', logarithmic=True,
        environment=False,
    ),
    Quantity('edge_spread', 'spread of critics at the imagined end', logarithmic=True, environment=False),
    Quantity('imagined_disagreement', 'disagreement in imagination', logarithmic=True, environment=False),
    Quantity('imagined_return', 'imagined return from recorded states', environment=False),
    Quantity(
        'return_across_15', 'return in own less in other models, 15 steps', 'return in own less\nin other models',
        per=(ACROSS,), signed=True, environment=False,
    ),
    Quantity(
        'return_across_50', 'return in own less in other models, 50 steps', 'return in own less\nin other models',
        per=(ACROSS,), signed=True, environment=False,
    ),
    Quantity('return_elsewhere', 'return in other models, 50 steps', per=(ACROSS,), environment=False),
    Quantity('reward_predicted', 'predicted reward of a step'),
    Quantity('reward_collected', 'collected reward of a step'),
)  # fmt: skip
QUANTITIES: dict[str, Quantity] = {row.name: row for row in ROWS}


def get(name: str) -> Quantity:
    """The row of this name. Raises UserError with the allowed names for an unknown one."""
    return choose('quantity', name, QUANTITIES)


def recorded(per: str) -> list[str]:
    """Names of the quantities that have a value per 'evaluation', 'episode', 'step' or 'across', in table order."""
    return [name for name, row in QUANTITIES.items() if per in row.per]


def measures() -> list[str]:
    """Names of the measures of degradation: what evaluations record without episodes in the environment."""
    return [name for name in recorded(EVALUATION) if not QUANTITIES[name].environment and not QUANTITIES[name].total]


def column(name: str, episode: int) -> str:
    """The column of a run's metrics that holds a quantity of one episode of each evaluation."""
    return f'{name}_ep{episode}'


def firsts() -> list[str]:
    """Names of the quantities whose value of an episode is that of its first step."""
    return [name for name, row in QUANTITIES.items() if row.first]


def totals() -> list[str]:
    """Names of the quantities that only grow."""
    return [name for name, row in QUANTITIES.items() if row.total]
