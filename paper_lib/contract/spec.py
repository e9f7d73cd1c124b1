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
from paper_lib.contract.schedule import Schedule

SCHEMA = 2  # part of every run id: raise it when the same spec would train something else
MOST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Static values of the agent: they fix shapes and the compiled program.

    Defaults are DreamerV3 v1 (arXiv:2301.04104v1) at size S.
    """

    deter: int = field(512, 'recurrent units', more='the state of the GRU', low=1, high=MOST_WIDTH)
    stoch: int = field(32, 'latents', more='each is one categorical', low=1, high=MOST_WIDTH)
    classes: int = field(32, 'classes per latent', low=2, high=MOST_WIDTH)
    units: int = field(512, 'units per layer', more='of the RSSM and of every head', low=1, high=MOST_WIDTH)
    layers: int = field(2, 'layers per head', low=1, high=MOST_LAYERS)
    mlp_units: int = field(
        1024, 'units of encoder and decoder', more='of vectors; v1 keeps 1024 at every size', low=1, high=MOST_WIDTH
    )
    mlp_layers: int = field(
        5, 'layers of encoder and decoder', more='of vectors; v1 keeps 5 at every size', low=1, high=MOST_LAYERS
    )
    cnn_depth: int = field(32, 'channels of the first convolution', low=1, high=4096, needs='see')
    bins: int = field(255, 'two-hot bins', more='they span [-20, 20] in symlog space', low=2, high=MOST_WIDTH)
    batch: int = field(16, 'sequences per batch', low=1, high=MOST_WIDTH)
    length: int = field(64, 'steps per sequence', low=2, high=MOST_WIDTH)
    horizon: int = field(15, 'imagined steps', low=1, high=4096)
    starts: int = field(
        0,
        'starts of imagination per update',
        more='drawn from batch x length; 0: all of them',
        low=0,
        high=10**9,
        switch=True,
    )
    gradient: str = field(
        'v1',
        'gradient',
        more="of the actor; 'v1': through the model, or REINFORCE if actions are discrete",
        choices=('v1', 'reinforce'),
        switch=True,
    )
    discount_horizon: float = field(
        333.0, 'discount horizon in agent steps', more='gamma = 1 - 1 / this', above=1, high=1e9
    )
    lam: float = field(0.95, 'lam', more='lambda of the lambda-return', low=0, high=1)
    entropy: float = field(3e-4, 'entropy', more="weight of the actor's entropy", low=0, high=1e6)
    free_nats: float = field(1.0, 'free_nats', more='below this the KL losses do not push', low=0, high=1e6)
    obs_scale: float = field(1.0, 'factor of observed vectors', more='before symlog', above=0, high=1e6, switch=True)
    vector_scale: float = field(1.0, 'weight of their reconstruction', above=0, high=1e6, switch=True)
    ensemble: int = field(8, 'networks that disagree', more='those of Plan2Explore', low=1, high=1024, needs='explore')
    disag_target: str = field(
        'stoch',
        'what they predict',
        more="of the next step: its latents ('stoch', as v1) or its vector",
        choices=('stoch', 'vector'),
        switch=True,
        needs='explore',
    )
    disag_scale: float = field(
        1.0, 'factor of the disagreement reward', above=0, high=1e6, switch=True, needs='explore'
    )
    probe_units: int = field(
        256,
        'units of the autoencoder of the policy input',
        more='its bottleneck has a quarter of them (A.3)',
        role=Role.WATCHES,
        low=1,
        high=MOST_WIDTH,
        caption=False,
    )
    precision: str = field(
        'float32',
        'operands of matrix products',
        more='v1 takes float16 with a scaled loss',
        choices=('float32', 'bfloat16'),
        before='float32',
    )

    def __post_init__(self):
        check(self)
        most = self.batch * self.length
        need(self.starts <= most, 'starts', self.starts, f'from 0 (all) to batch x length = {most}')


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """One training run. Equal specs are the same run; any difference is another run.

    The agents of the study differ in the seeds and in the fields from `data` on only.
    """

    task: str = required('the task', option=False, caption=False)
    agent: str = field(
        'active', "the name of the agent's row, for people; other fields say what it does",
        role=Role.HOST, option=False, caption=False,
    )  # fmt: skip
    seed: int = field(
        0, 'feeds every random stream but that of the initial weights',
        role=Role.HOST, low=0, high=MOST_SEED, option=False, caption=False,
    )  # fmt: skip
    init_seed: int = field(
        0, 'feeds the initial weights', role=Role.HOST, low=0, high=MOST_SEED, option=False, caption=False
    )
    model: ModelSpec = field(ModelSpec(), 'the networks', option=False, caption=False)
    budget: int = field(
        1_000_000, 'environment steps', more='an environment step is one control step of the simulator',
        low=1, high=MOST_STEPS, caption=False,
    )  # fmt: skip
    ratio: float = field(0.5, 'updates per agent step', more='gradient updates', above=0, high=1e4)
    prefill: int = field(
        1300, 'random agent steps at the start', more='before the first update', low=1, high=MOST_STEPS
    )
    chunk: int = field(
        4, 'agent steps between bursts of updates', more='v1 interleaves every 4', low=1, high=10**6, switch=True
    )
    data: str = field(
        'own', "what it learns from: its 'own' replay, its source's 'final' replay, or its source's 'batches'",
        choices=('own', 'final', 'batches'), option=False, caption=False,
    )  # fmt: skip
    source: 'RunSpec | Dataset | None' = field(
        None, 'the recording that an offline run learns from', role=Role.HOST, option=False, caption=False
    )
    alpha: float = field(
        1.0, "initial weights are (1 - alpha) * the source's + alpha * own (Eq. S3)",
        role=Role.HOST, side=Side.FOLLOWER, low=0, high=1, caption=False,
    )  # fmt: skip
    w_expl: float = field(
        0.0, 'weight of the disagreement reward in the acting policy (Eq. 5)',
        role=Role.TRACED, side=Side.SOURCE, low=0, high=1, caption=False,
    )  # fmt: skip
    expl_until: int = field(
        0, 'environment steps after which the task policy acts', more='0: never',
        side=Side.SOURCE, low=0, high=MOST_STEPS, caption=False,
    )  # fmt: skip
    collect_until: int = field(
        0, 'environment steps after which it learns on from what it has, without collecting', more='0: never',
        side=Side.SOURCE, low=0, high=MOST_STEPS, before=0, caption=False,
    )  # fmt: skip
    capacity: int = field(
        0, 'environment steps that the replay holds', more='older ones are not drawn any more; 0: all',
        side=Side.SOURCE, low=0, high=MOST_STEPS, before=0,
    )  # fmt: skip
    world_model: str = field(
        'own', "'own', or the source's weights", more="'copied' at every update, or 'frozen' as they are at its end",
        role=Role.HOST, side=Side.FOLLOWER, choices=('own', 'copied', 'frozen'), before='own', caption=False,
    )  # fmt: skip
    part: str = field(
        'all', "of the source's final replay 'all', the 'first' or 'second' half, or a uniform half",
        more="which is 'mixed'",
        role=Role.HOST, side=Side.FOLLOWER, choices=('all', 'first', 'second', 'mixed'), before='all', caption=False,
    )  # fmt: skip
    interact_every: int = field(
        0, 'environment steps between own collections of an offline run (Alg. 2)', more='0: never',
        role=Role.ALONE, side=Side.FOLLOWER, low=0, high=MOST_STEPS, before=0, caption=False,
    )  # fmt: skip
    interact_steps: int = field(
        0, 'environment steps of each collection',
        role=Role.ALONE, side=Side.FOLLOWER, low=0, high=MOST_STEPS, before=0, caption=False,
    )  # fmt: skip
    interact_above: float = field(
        0.0, 'OOD ratio of an evaluation above which it collects', more='0: always',
        role=Role.ALONE, side=Side.FOLLOWER, low=0, high=1e9, before=0.0, caption=False,
    )  # fmt: skip
    eval_every: int = field(
        5000, 'environment steps between evaluations', role=Role.WATCHES, low=1, high=MOST_STEPS, caption=False
    )
    eval_episodes: int = field(4, 'episodes of each evaluation', role=Role.WATCHES, low=1, high=10_000, caption=False)
    measures: int = field(
        0, 'measures of degradation at every evaluation', more='they need no environment; 1: computed, 0: not',
        role=Role.WATCHES, low=0, high=1, before=0, caption=False,
    )  # fmt: skip
    lr_model: float = field(1e-4, 'learning rate of the world model', role=Role.TRACED, above=0, high=1e3)
    lr_actor: float = field(3e-5, 'learning rate of the actor', role=Role.TRACED, above=0, high=1e3)
    lr_critic: float = field(3e-5, 'learning rate of the critic', role=Role.TRACED, above=0, high=1e3)
    lr_expl: float = field(1e-4, 'their learning rate', more='of the networks that disagree',
                           role=Role.TRACED, above=0, high=1e3, needs='explore')  # fmt: skip
    goal_radius: float = field(
        maze_layout.GOAL_RADIUS, 'metres around the goal of the maze within which the reward is full',
        above=0, high=maze_layout.WIDEST_GOAL, switch=True, simulator=True, caption=False,
    )  # fmt: skip
    render: str = field(
        'fast', "how MuJoCo draws: 'fast', or as its 'suite' does", choices=('fast', 'suite'),
        switch=True, simulator=True, caption=False,
    )  # fmt: skip

    def __post_init__(self):
        check(self)
        checks.all_together(self, tasks.get(self.task))

    # What follows from the fields.

    @functools.cached_property
    def schedule(self) -> Schedule:
        """When everything happens."""
        task = tasks.get(self.task)
        collector = self.source if self.data == 'batches' else self  # whose clock says how many rows there are
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
        """Replay rows that the replay of an online run holds; 0: all."""
        task = tasks.get(self.task)
        return self.capacity // (task.repeat * task.envs)

    @property
    def source_rows(self) -> int:
        """Rows of the recording that an offline run learns from, own data not counted; 0 for an online run."""
        if self.source is None:
            return 0
        return self.source.rows if isinstance(self.source, Dataset) else self.source.schedule.rows

    @property
    def own_rows(self) -> int:
        """Length of the replay that the run writes itself: the most that it may need where evaluations decide."""
        if self.data == 'own':
            return self.schedule.rows
        return self.schedule.interactions * self.schedule.interact_rows

    @property
    def evaluation_seed(self) -> int:
        """The seed of the evaluation's environments: runs of a pair start alike."""
        return self.source.seed if isinstance(self.source, RunSpec) else self.seed

    @property
    def like(self) -> 'RunSpec':
        """The run whose program this one runs: its source where weights must equal the source's, to the bit."""
        return self.source if self.world_model == 'copied' or self.alpha != 1 else self

    @property
    def exact(self) -> bool:
        """True if the run is meaningful only when it reproduces its source exactly."""
        return self.world_model == 'copied' or (self.alpha == 0 and self.data == 'batches')

    @property
    def options(self) -> dict[str, Any]:
        """What the task's simulator takes."""
        return {name: getattr(self, name) for name in tasks.get(self.task).options}

    def takes(self, name: str) -> bool:
        """Whether a field means anything for the task: all do but the options that only some simulators take."""
        simulator_options = {each.name for each, fact in facts(self) if fact.simulator}
        return name not in simulator_options or name in tasks.get(self.task).options

    @property
    def signature(self) -> tuple:
        """Runs of equal signature can train as lanes of one program: shapes, schedule and environments are equal."""
        static = [getattr(self, name) for role in (Role.STATIC, Role.WATCHES) for name in names(self, role)]
        alone = any(getattr(self, name) for name in names(self, Role.ALONE))
        frozen = self.world_model == 'frozen'
        source = (self.source_rows, getattr(self.source, 'envs', 0))
        explores = self.like.w_expl > 0
        return (*static, explores, self.like.expl_until, frozen, source, self.run_id if alone else '')

    # Identity.

    @property
    def source_id(self) -> str | None:
        """The identity of what it learns from: a run's id or a dataset's."""
        return self.source.dataset_id if isinstance(self.source, Dataset) else self.source and self.source.run_id

    def canonical(self) -> dict[str, Any]:
        """What identifies the run, ready for JSON: its fields by value, its source by its id.

        A field that only some simulators take is left out of all other runs, and a younger field where
        it has the value of all older runs: neither renames a run.
        """
        values = identity(self) | {'model': identity(self.model), 'source': self.source_id}
        return {'schema': SCHEMA, **{name: value for name, value in values.items() if self.takes(name)}}

    @functools.cached_property
    def run_id(self) -> str:
        """Readable prefix and a hash of the canonical spec, e.g. `cup_catch-proprio_active_s0_1f2e...`."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(',', ':'))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return re.sub(r'[^A-Za-z0-9_.-]', '-', f'{self.task}_{self.agent}_s{self.seed}_{digest}')
