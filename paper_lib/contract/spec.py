"""What a run is: frozen values, their validation, and the identity that follows from them.

What is known of a field (its meaning, bounds and role) stands beside it; see `facts.Fact`.
"""

import dataclasses
import functools
import hashlib
import json
import re
from typing import Any

from paper_lib.contract import checks, maze_layout, tasks
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.facts import (
    MOST_LAYERS,
    MOST_STEPS,
    MOST_WIDTH,
    Role,
    Side,
    check,
    facts,
    field,
    identity,
    names,
    need,
    required,
)
from paper_lib.contract.quantities import OOD_RATIO, measures
from paper_lib.contract.schedule import Schedule

SCHEMA = 2  # part of every run id: raise it when the same spec would train something else
MOST_SEED = 2**31 - 1


# Facts that several fields share. Bounds:
WIDTH = {'low': 1, 'high': MOST_WIDTH}
DEPTH = {'low': 1, 'high': MOST_LAYERS}
WEIGHT = {'low': 0, 'high': 1e6}
FACTOR = {'above': 0, 'high': 1e6}
FRACTION = {'low': 0, 'high': 1}
RATE = {'above': 0, 'high': 1e3}
SEED = {'low': 0, 'high': MOST_SEED}
STEPS = {'low': 1, 'high': MOST_STEPS}
STEPS_OR_0 = {'low': 0, 'high': MOST_STEPS}
# roles and sides (see `facts`):
TRACED = {'role': Role.TRACED}
HOST = {'role': Role.HOST}
WATCHES = {'role': Role.WATCHES}
SOURCE = {'side': Side.SOURCE}
FOLLOWER = {'side': Side.FOLLOWER}
INTERACTS = {'role': Role.ALONE, 'side': Side.FOLLOWER}
# and where a field is not shown. Fields without an option follow from the agent's row and the pair seed.
NO_CAPTION = {'caption': False}
NO_OPTION = {'option': False, 'caption': False}


# fmt: off
@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Static values of the agent: they fix shapes and the compiled program.

    Defaults are DreamerV3 v1 (arXiv:2301.04104v1) at size S.
    """

    # The world model's state: deter is recurrent, stoch is a set of categorical variables.
    deter: int = field(512, 'recurrent units', WIDTH, more='the size of deter, the state of the GRU')
    stoch: int = field(32, 'latents', WIDTH, more='the categorical variables that make up stoch')
    classes: int = field(32, 'classes per latent', low=2, high=MOST_WIDTH)

    # The sizes of the networks.
    units: int = field(512, 'units per layer', WIDTH, more='in the RSSM and in every head')
    layers: int = field(2, 'layers per head', DEPTH)
    mlp_units: int = field(1024, 'units per layer of the vector encoder and decoder', WIDTH,
                           more='1024 at every size of v1')
    mlp_layers: int = field(5, 'layers of the vector encoder and decoder', DEPTH,
                            more='5 at every size of v1')
    cnn_depth: int = field(32, 'channels of the first convolution', low=1, high=4096, needs='see')
    bins: int = field(255, 'two-hot bins', low=2, high=MOST_WIDTH,
                      more='they span [-20, 20] in symlog space')

    # One update: a batch of replayed sequences, and imagination that starts from their steps.
    batch: int = field(16, 'sequences per batch', WIDTH)
    length: int = field(64, 'steps per sequence', low=2, high=MOST_WIDTH)
    horizon: int = field(15, 'imagined steps', low=1, high=4096)
    starts: int = field(0, 'starts of imagination per update', low=0, high=10**9, switch=True,
                        more='drawn from the batch x length steps; 0: all of them')

    # The actor and the critic.
    gradient: str = field('v1', 'gradient of the actor', choices=('v1', 'reinforce'), switch=True,
                          more="'v1': REINFORCE for discrete actions, else through the model")
    discount_horizon: float = field(333.0, 'discount horizon in agent steps', above=1, high=1e9,
                                    more='gamma = 1 - 1 / discount_horizon')
    lam: float = field(0.95, 'lambda of the lambda-return', FRACTION)
    entropy: float = field(3e-4, "weight of the actor's entropy", WEIGHT)

    # The world model's losses.
    free_nats: float = field(1.0, 'free nats', WEIGHT,
                             more='a KL loss that is below this has no gradient')
    obs_scale: float = field(1.0, 'factor on observed vectors', FACTOR, switch=True,
                             more='applied before symlog')
    vector_scale: float = field(1.0, 'weight of the reconstruction loss of vectors', FACTOR, switch=True)

    # Exploration (Plan2Explore): an ensemble predicts the next step, and its disagreement is a reward.
    ensemble: int = field(8, 'networks of the ensemble', low=1, high=1024, needs='explore',
                          more='their disagreement is the exploration reward')
    disag_target: str = field('stoch', 'target of the ensemble', choices=('stoch', 'vector'),
                              switch=True, needs='explore',
                              more="of the next step: 'stoch' (as v1), or the observed 'vector'")
    disag_scale: float = field(1.0, 'factor on the disagreement reward', FACTOR, switch=True,
                               needs='explore')

    # The probe that only watches the agent, and the arithmetic.
    probe_units: int = field(256, 'units of the autoencoder of policy inputs', WATCHES, WIDTH, NO_CAPTION,
                             more='its bottleneck has a quarter of them (A.3)')
    precision: str = field('float32', 'precision of the operands of matrix products',
                           choices=('float32', 'bfloat16'), before='float32',
                           more='v1 uses float16 with a scaled loss')

    @property
    def gamma(self) -> float:
        """The discount of a step."""
        return 1 - 1 / self.discount_horizon

    def __post_init__(self):
        check(self)
        most = self.batch * self.length
        need(self.starts <= most, 'starts', self.starts, f'from 0 (all) to batch x length = {most}')


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """One training run. Equal specs are the same run; any difference is another run.

    The agents of the study differ in the seeds and in the fields from `data` on only.
    """

    # What is trained.
    task: str = required('the task', NO_OPTION)
    agent: str = field('active', "the name of the agent's row; other fields say what it does",
                       HOST, NO_OPTION)
    seed: int = field(0, 'the seed of every random stream but the initial weights', HOST, SEED, NO_OPTION)
    init_seed: int = field(0, 'the seed of the initial weights', HOST, SEED, NO_OPTION)
    model: ModelSpec = field(ModelSpec(), 'the networks', NO_OPTION)

    # How long, and how often it is updated.
    budget: int = field(1_000_000, 'environment steps', STEPS, NO_CAPTION,
                        more='an environment step is one control step of the simulator')
    ratio: float = field(0.5, 'updates per agent step', above=0, high=1e4, more='an update is one gradient step')
    prefill: int = field(1300, 'random agent steps at the start', STEPS, more='before the first update')
    chunk: int = field(4, 'agent steps between bursts of updates', low=1, high=10**6, switch=True,
                       more='v1 updates every 4')

    # What it learns from.
    data: str = field('own', "what the run learns from: its 'own' replay, its source's 'final' replay, "
                             "or its source's 'batches'",
                      NO_OPTION, choices=('own', 'final', 'batches'))
    source: 'RunSpec | Dataset | None' = field(None, 'the recording that an offline run learns from',
                                               HOST, NO_OPTION)
    alpha: float = field(1.0, 'share of its own initial weights in an offline run (Eq. S3)',
                         HOST, FOLLOWER, FRACTION, NO_CAPTION,
                         more="initial weights = (1 - alpha) * the source's + alpha * its own")

    # How an online run collects.
    w_expl: float = field(0.0, 'weight of the disagreement reward in the acting policy (Eq. 5)',
                          TRACED, SOURCE, FRACTION, NO_CAPTION)
    expl_until: int = field(0, 'environment steps after which only the task policy acts',
                            SOURCE, STEPS_OR_0, NO_CAPTION, more='0: never')
    collect_until: int = field(0, 'environment steps after which the run collects no more',
                               SOURCE, STEPS_OR_0, NO_CAPTION, before=0,
                               more='it learns on from what it has; 0: never')
    capacity: int = field(0, 'newest environment steps that batches are drawn from', SOURCE, STEPS_OR_0, before=0,
                          more='older ones stay on the disk; 0: all')

    # What an offline run takes from its source.
    world_model: str = field('own', "the world model: its 'own', or one with the source's weights",
                             HOST, FOLLOWER, NO_CAPTION, choices=('own', 'copied', 'frozen'), before='own',
                             more="'copied' at every update, or 'frozen' as the source ended")
    part: str = field('all', "the part of the source's final replay that is learned from",
                      HOST, FOLLOWER, NO_CAPTION, choices=('all', 'first', 'second', 'mixed'), before='all',
                      more="'all', the 'first' or 'second' half, or 'mixed', a uniform half")

    # When an offline run adds data of its own (Alg. 2).
    interact_every: int = field(0, 'environment steps between collections of an offline run (Alg. 2)',
                                INTERACTS, STEPS_OR_0, NO_CAPTION, before=0, more='0: never')
    interact_steps: int = field(0, 'environment steps of each collection of an offline run',
                                INTERACTS, STEPS_OR_0, NO_CAPTION, before=0)
    interact_by: str = field(OOD_RATIO, 'measure of an evaluation that decides whether an offline run collects',
                             HOST, FOLLOWER, NO_CAPTION, choices=(OOD_RATIO, *measures()), before=OOD_RATIO,
                             more=f"{OOD_RATIO!r} (Alg. 2), or a measure that takes no episodes, as 'density_ess'")
    interact_above: float = field(0.0, 'value of this measure above which an offline run collects',
                                  INTERACTS, NO_CAPTION, low=0, high=1e9, before=0.0, more='0: no such limit')
    interact_below: float = field(0.0, 'value of this measure below which an offline run collects',
                                  INTERACTS, NO_CAPTION, low=0, high=1e9, before=0.0,
                                  more='0: no such limit; without any limit it always collects')

    # When it is evaluated.
    eval_every: int = field(5000, 'environment steps between evaluations', WATCHES, STEPS, NO_CAPTION)
    eval_episodes: int = field(4, 'episodes of each evaluation', WATCHES, NO_CAPTION, low=1, high=10_000)

    measures: int = field(0, 'measures of degradation at every evaluation', WATCHES, NO_CAPTION, low=0, high=1,
                          before=0, more='1: computed, 0: not')

    # Learning rates.
    lr_model: float = field(1e-4, 'learning rate of the world model', TRACED, RATE)
    lr_actor: float = field(3e-5, 'learning rate of the actor', TRACED, RATE)
    lr_critic: float = field(3e-5, 'learning rate of the critic', TRACED, RATE)
    lr_expl: float = field(1e-4, 'learning rate of the ensemble', TRACED, RATE, needs='explore')

    # Options of the simulator.
    goal_radius: float = field(maze_layout.GOAL_RADIUS, "radius of the maze's goal in metres", NO_CAPTION,
                               above=0, high=maze_layout.WIDEST_GOAL, switch=True, simulator=True,
                               more='the reward is full within it')
    render: str = field('fast', "how MuJoCo draws: 'fast', or as the task's 'suite' does", NO_CAPTION,
                        choices=('fast', 'suite'), switch=True, simulator=True)
    # fmt: on

    def __post_init__(self):
        check(self)
        checks.all_together(self, tasks.get(self.task))

    def __hash__(self) -> int:
        """Equal runs have equal ids. The hash of all fields, those of the model and of the source, takes longer."""
        return hash(self.run_id)

    # What follows from the fields.

    @functools.cached_property
    def schedule(self) -> Schedule:
        """When everything happens."""
        task = tasks.get(self.task)
        # A run that repeats its source's batches needs the rows that the source had at each update.
        collector = self.source if self.data == 'batches' else self
        return Schedule(
            online=self.data == 'own',
            repeat=task.repeat,
            envs=task.envs,
            steps=self.budget // task.repeat,
            prefill=self.prefill,
            chunk=self.chunk,
            chunk_updates=round(self.chunk * self.ratio),
            evaluate_every=self.eval_every // task.repeat,
            explore_until=self.like.expl_until // task.repeat,
            collect_until=collector.collect_until // task.repeat,
            interact_every=self.interact_every // task.repeat,
            interact_rows=self.interact_steps // (task.repeat * task.envs),
        )

    @property
    def capacity_rows(self) -> int:
        """How many rows the replay of an online run holds; 0: all."""
        task = tasks.get(self.task)
        return self.capacity // (task.repeat * task.envs)

    @property
    def source_rows(self) -> int:
        """Rows of the recording that an offline run learns from, without added ones; 0 for an online run."""
        if self.source is None:
            return 0
        if isinstance(self.source, Dataset):
            return self.source.rows
        return self.source.schedule.rows

    @property
    def rows_seen(self) -> int:
        """How many rows of its recording an offline run may draw from; 0 for an online run."""
        if isinstance(self.source, RunSpec) and self.source.capacity_rows:
            return min(self.source_rows, self.source.capacity_rows)
        return self.source_rows

    @property
    def own_rows(self) -> int:
        """Rows of the replay that the run writes itself.

        An adaptive offline run may need fewer than these.
        """
        if self.data == 'own':
            return self.schedule.rows
        return self.schedule.interactions * self.schedule.interact_rows

    @property
    def is_adaptive(self) -> bool:
        """True if a measure decides at every scheduled time whether the offline run collects."""
        return bool(self.interact_above or self.interact_below)

    @property
    def pair_seed(self) -> int:
        """The seed of the pair's online run.

        Evaluations of all runs of a pair start alike by it.
        """
        return self.source.seed if isinstance(self.source, RunSpec) else self.seed

    @property
    def like(self) -> 'RunSpec':
        """The run whose program is run: the source where weights are the source's, else the run itself."""
        return self.source if self.world_model == 'copied' or self.alpha != 1 else self

    @property
    def exact(self) -> bool:
        """True if the run is meaningful only when it reproduces its source exactly."""
        return self.world_model == 'copied' or (self.alpha == 0 and self.data == 'batches')

    @property
    def options(self) -> dict[str, Any]:
        """The options of the task's simulator, by name."""
        return {name: getattr(self, name) for name in tasks.get(self.task).options}

    def takes(self, name: str) -> bool:
        """Whether a field has a meaning for the task.

        Only an option of another simulator has none.
        """
        return name not in SIMULATOR_OPTIONS or name in tasks.get(self.task).options

    @property
    def signature(self) -> tuple:
        """Runs of equal signature can train as lanes of one program.

        They have equal shapes, schedules and environments.
        """
        static = [getattr(self, name) for role in (Role.STATIC, Role.WATCHES) for name in names(self, role)]
        alone = any(getattr(self, name) for name in names(self, Role.ALONE))
        frozen = self.world_model == 'frozen'
        source = (self.source_rows, getattr(self.source, 'envs', 0))
        explores = self.like.w_expl > 0
        return (*static, explores, self.like.expl_until, frozen, source, self.run_id if alone else '')

    # Identity.

    @property
    def source_id(self) -> str | None:
        """The id of the run or dataset that is learned from; None for an online run."""
        if self.source is None:
            return None
        return self.source.dataset_id if isinstance(self.source, Dataset) else self.source.run_id

    def canonical(self) -> dict[str, Any]:
        """What identifies the run, ready for JSON: its fields by value, its source by its id.

        A field that is new, or that only some simulators take, must not rename the runs
        that do without it. So a simulator's option is left out for tasks of other
        simulators, and a younger field is left out where it has the value that all runs had
        before the field existed.
        """
        values = identity(self) | {'model': identity(self.model), 'source': self.source_id}
        taken = {name: value for name, value in values.items() if self.takes(name)}
        return {'schema': SCHEMA, **taken}

    @functools.cached_property
    def run_id(self) -> str:
        """Readable prefix and a hash of the canonical spec, e.g. `cup_catch-proprio_active_s0_1f2e...`."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(',', ':'))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return re.sub(r'[^A-Za-z0-9_.-]', '-', f'{self.task}_{self.agent}_s{self.seed}_{digest}')


SIMULATOR_OPTIONS = frozenset(each.name for each, fact in facts(RunSpec) if fact.simulator)
