"""What a run is: frozen values, their validation, and the identity that follows from them.

Standard library only; everything else in the package stands on this file.
"""

import dataclasses
import hashlib
import json
import math
import re

from paper_lib.contract import maze_layout, tasks
from paper_lib.contract.errors import UserError

SCHEMA = 2  # part of every run id: raise it when the same spec would train something else
# Fields that came after this schema's first runs, and the value that all runs had before: where a run has that value it
# keeps the id that it had. The value stays as it is here, whatever the field's default becomes.
LATER = {
    'precision': 'float32',
    'world_model': 'own',
    'part': 'all',
    'interact_every': 0,
    'interact_steps': 0,
    'interact_above': 0.0,
}


def _need(condition, name, value, allowed):
    if not condition:
        raise UserError(f'{name}={value!r}: must be {allowed}')


def _check_types(spec):
    """Raise UserError unless every field holds its annotated type (an int is a valid float)."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        kinds = {int: (int,), float: (int, float), str: (str,)}.get(field.type)
        if kinds and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise UserError(f'{field.name}={value!r}: must be {field.type.__name__}, got {type(value).__name__}')
        if kinds == (int, float):
            _need(math.isfinite(value), field.name, value, 'finite')


def _values(spec) -> dict:
    """All fields but those of LATER at their value there; an int in a float's place is a float: 1 == 1.0."""
    values = ((field, getattr(spec, field.name)) for field in dataclasses.fields(spec))
    return {
        field.name: float(value) if field.type is float else value
        for field, value in values
        if field.name not in LATER or value != LATER[field.name]
    }


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Static values of the agent: they fix shapes and the compiled program.

    Defaults are DreamerV3 v1 (arXiv:2301.04104v1) at size S. Fields marked [switch] do not exist
    in v1 or deviate from it when changed.
    """

    deter: int = 512  # GRU state
    stoch: int = 32  # categorical latents ...
    classes: int = 32  # ... of this many classes
    units: int = 512  # width of RSSM layers and heads
    layers: int = 2  # hidden layers of every head
    mlp_units: int = 1024  # vector encoder and decoder: v1 keeps 5 x 1024 at every size
    mlp_layers: int = 5  # hidden layers of these
    cnn_depth: int = 32  # channels of the first convolution
    bins: int = 255  # two-hot bins over symlog space [-20, 20]
    batch: int = 16  # B
    length: int = 64  # T
    horizon: int = 15  # H
    starts: int = 0  # [switch] imagination starts per update, drawn from B x T; 0 = all
    gradient: str = 'v1'  # [switch] 'v1': dynamics if continuous, reinforce if discrete; or 'reinforce'
    discount_horizon: float = 333.0  # gamma = 1 - 1 / this
    lam: float = 0.95  # lambda of the lambda-return
    entropy: float = 3e-4  # weight of the actor's entropy
    free_nats: float = 1.0  # below which the KL losses do not push
    obs_scale: float = 1.0  # [switch] vectors are multiplied by this before symlog
    vector_scale: float = 1.0  # [switch] weight of the vector reconstruction loss
    ensemble: int = 8  # Plan2Explore networks (built only when the run explores)
    disag_target: str = 'stoch'  # [switch] what the ensemble predicts of the next step: 'stoch' (v1) or 'vector'
    disag_scale: float = 1.0  # [switch] multiplies the disagreement reward
    probe_units: int = 256  # bottleneck is a quarter of it: autoencoder of the policy input (A.3)
    precision: str = 'float32'  # operands of matrix products; or 'bfloat16' (v1: float16 with a scaled loss)

    def __post_init__(self):
        _check_types(self)
        for name in (
            'deter',
            'stoch',
            'units',
            'layers',
            'mlp_units',
            'mlp_layers',
            'cnn_depth',
            'batch',
            'horizon',
            'ensemble',
            'probe_units',
        ):
            _need(getattr(self, name) >= 1, name, getattr(self, name), 'at least 1')
        for name in ('classes', 'bins', 'length'):
            _need(getattr(self, name) >= 2, name, getattr(self, name), 'at least 2')
        _need(
            0 <= self.starts <= self.batch * self.length,
            'starts',
            self.starts,
            f'from 0 (all) to batch x length = {self.batch * self.length}',
        )
        _need(self.gradient in ('v1', 'reinforce'), 'gradient', self.gradient, "'v1' or 'reinforce'")
        _need(self.disag_target in ('stoch', 'vector'), 'disag_target', self.disag_target, "'stoch' or 'vector'")
        _need(self.precision in ('float32', 'bfloat16'), 'precision', self.precision, "'float32' or 'bfloat16'")
        _need(self.discount_horizon > 1, 'discount_horizon', self.discount_horizon, 'above 1')
        _need(0 <= self.lam <= 1, 'lam', self.lam, 'from 0 to 1')
        for name in ('obs_scale', 'vector_scale', 'disag_scale'):
            _need(getattr(self, name) > 0, name, getattr(self, name), 'above 0')
        for name in ('entropy', 'free_nats'):
            _need(getattr(self, name) >= 0, name, getattr(self, name), 'at least 0')


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """One training run. Equal specs are the same run; any difference is another run.

    The agents of the paper differ in the fields from `data` to `interact_above` and in the two seeds only.
    """

    task: str
    agent: str = 'active'  # the preset's name, for people; the fields below say what it does
    seed: int = 0  # feeds the streams policy, train, env, replay and eval
    init_seed: int = 0  # feeds the initial weights
    model: ModelSpec = ModelSpec()
    budget: int = 1_000_000  # environment steps (simulator control steps)
    ratio: float = 0.5  # gradient updates per agent step
    prefill: int = 1300  # agent steps of random actions before the first update
    chunk: int = 4  # agent steps between bursts of updates [switch: v1 interleaves every 4]
    data: str = 'own'  # 'own' replay; 'final' replay of the source; 'batches' of the source, in order
    source: 'RunSpec | None' = None
    alpha: float = 1.0  # initial weights (1 - alpha) * source's initial weights + alpha * own (Eq. S3)
    w_expl: float = 0.0  # weight of the disagreement reward in the acting policy (Eq. 5)
    expl_until: int = 0  # environment steps after which the task policy acts; 0: never
    world_model: str = 'own'  # 'own', or the source's weights: 'copied' at every update, 'frozen' at its end
    part: str = 'all'  # of the source's final replay: 'all', its 'first' or 'second' half, 'mixed': a uniform half
    interact_every: int = 0  # environment steps between own collections of an offline run (Alg. 2); 0: never
    interact_steps: int = 0  # environment steps of each of them
    interact_above: float = 0.0  # OOD ratio of an evaluation above which it collects; 0: always
    eval_every: int = 5000  # environment steps
    eval_episodes: int = 4  # of each evaluation
    lr_model: float = 1e-4  # learning rate of the world model
    lr_actor: float = 3e-5  # of the actors
    lr_critic: float = 3e-5  # of the critics
    lr_expl: float = 1e-4  # of the ensemble
    goal_radius: float = maze_layout.GOAL_RADIUS  # [switch] of the maze alone, metres: full reward within it
    render: str = 'fast'  # [switch] of MuJoCo's pictures alone: 'fast', or 'suite': as dm_control draws them

    def __post_init__(self):
        _check_types(self)
        tasks.get(self.task)
        for name in ('budget', 'prefill', 'chunk', 'eval_every', 'eval_episodes'):
            _need(getattr(self, name) >= 1, name, getattr(self, name), 'at least 1')
        for name in ('ratio', 'lr_model', 'lr_actor', 'lr_critic', 'lr_expl'):
            _need(getattr(self, name) > 0, name, getattr(self, name), 'above 0')
        for name in ('seed', 'init_seed'):
            _need(0 <= getattr(self, name) < 2**31, name, getattr(self, name), 'from 0 to 2**31 - 1')
        for name in ('alpha', 'w_expl'):
            _need(0 <= getattr(self, name) <= 1, name, getattr(self, name), 'from 0 to 1')
        for name, allowed in {'data': ('own', 'final', 'batches'), 'world_model': ('own', 'copied', 'frozen'),
                              'part': ('all', 'first', 'second', 'mixed')}.items():  # fmt: skip
            _need(getattr(self, name) in allowed, name, getattr(self, name), ', '.join(map(repr, allowed)))
        self._check_goal(tasks.get(self.task))
        self._check_render(tasks.get(self.task))
        self._check_schedule(tasks.get(self.task))
        self._check_source()
        self._check_world_model()
        self._check_part()
        self._check_interaction(tasks.get(self.task))

    def _check_goal(self, task):
        widest, paper = maze_layout.WIDEST_GOAL, maze_layout.GOAL_RADIUS
        _need('goal_radius' in task.options or self.goal_radius == paper, 'goal_radius', self.goal_radius,
              f'{paper} for {self.task}: only the maze has a goal')  # fmt: skip
        _need(0 < self.goal_radius <= widest, 'goal_radius', self.goal_radius, f'above 0, at most {widest} metres')

    def _check_render(self, task):
        _need(self.render in ('fast', 'suite'), 'render', self.render, "'fast' or 'suite'")
        _need(task.rendered or self.render == 'fast', 'render', self.render,
              f"'fast' for {self.task}: MuJoCo draws no pictures of it")  # fmt: skip

    def _check_schedule(self, task):
        """Everything happens at whole chunks; a chunk is whole in environments, updates and evaluations."""
        chunk = self.chunk * task.repeat
        _need(self.chunk % task.envs == 0, 'chunk', self.chunk, f'a multiple of the {task.envs} parallel environments')
        whole = round(self.chunk * self.ratio, 9) % 1 == 0
        _need(
            whole and self.chunk_updates >= 1,
            'chunk',
            self.chunk,
            f'such that chunk x ratio ({self.ratio}) is 1 or more, and whole',
        )
        _need(self.prefill % self.chunk == 0, 'prefill', self.prefill, f'a multiple of chunk={self.chunk}')
        _need(self.eval_every % chunk == 0, 'eval_every', self.eval_every,
              f'a multiple of chunk x action repeat = {chunk}')  # fmt: skip
        _need(self.budget % self.eval_every == 0, 'budget', self.budget, f'a multiple of eval_every={self.eval_every}')
        _need(self.prefill * task.repeat < self.budget, 'prefill', self.prefill,
              f'below budget / action repeat = {self.budget // task.repeat}')  # fmt: skip
        _need(self.prefill // task.envs > self.model.length, 'prefill', self.prefill,
              f'above {task.envs} environments x length={self.model.length}')  # fmt: skip
        _need(self.model.disag_target == 'stoch' or task.obs == 'proprio', 'disag_target', self.model.disag_target,
              f"'stoch' for {self.task}: it has no vector")  # fmt: skip
        _need(self.expl_until % chunk == 0 and 0 <= self.expl_until <= self.budget, 'expl_until', self.expl_until,
              f'from 0 to budget={self.budget}, a multiple of {chunk}')  # fmt: skip
        _need(self.w_expl == 0 or self.model.ensemble > 1, 'ensemble', self.model.ensemble,
              'at least 2 for a run that explores: one network disagrees with none')  # fmt: skip
        _need(self.expl_until == 0 or self.w_expl > 0, 'expl_until', self.expl_until, '0 for a run without exploration')

    def _check_source(self):
        """An offline run fits the finished online run that it learns from."""
        _need((self.data == 'own') == (self.source is None), 'source', self.source and self.source.agent,
              "given exactly when data is 'final' or 'batches'")  # fmt: skip
        if self.source is None:
            _need(self.alpha == 1, 'alpha', self.alpha, '1 for a run without a source')
            return
        _need(self.w_expl == 0, 'w_expl', self.w_expl, '0 for offline runs: they learn the task reward')
        _need(self.source.data == 'own', 'source', self.source.agent, 'an online run')
        _need(self.source.task == self.task, 'source', self.source.task, f'a run of the same task, {self.task}')
        for name in ('goal_radius', 'render'):
            own, theirs = getattr(self, name), getattr(self.source, name)
            _need(own == theirs, name, own, f"the source's {theirs}")
        if self.data == 'batches':
            same = [(f, getattr(self, f), getattr(self.source, f)) for f in ('budget', 'ratio', 'prefill', 'chunk')]
            same += [(f, getattr(self.model, f), getattr(self.source.model, f)) for f in ('batch', 'length')]
            for name, own, theirs in same:
                _need(own == theirs, name, own, f"the source's {theirs}: a Tandem run reads its batches")
        if self.alpha != 1:
            _need(self.model == self.source.model, 'model', 'other', "the source's: alpha mixes the two runs' weights")
        if self.exact:
            self._check_learns_alike(*(() if self.alpha else ('lr_actor', 'lr_critic')))

    def _check_world_model(self):
        """A copied one is trained again, on the source's batches with its noise; a frozen one is read."""
        if self.world_model == 'own':
            return
        data = {'copied': 'batches', 'frozen': 'final'}[self.world_model]
        _need(self.data == data, 'world_model', self.world_model, f"'own' unless data is {data!r}")
        _need(self.model == self.source.model, 'model', 'other', "the source's: the world model is")
        _need(self.alpha == 1, 'alpha', self.alpha, '1 where the world model is not its own')

    def _check_learns_alike(self, *rates):
        """Updates are the source's to the bit with its noise and its learning rates only."""
        for name in ('seed', 'lr_model', *rates):
            own, theirs = getattr(self, name), getattr(self.source, name)
            _need(own == theirs, name, own, f"the source's {theirs}: it is trained as there, to the bit")

    def _check_part(self):
        _need(self.part == 'all' or self.data == 'final', 'part', self.part, "'all' unless data is 'final'")
        _need(self.part == 'all' or not self.interact_every, 'part', self.part, "'all' for a run that interacts")
        least = 2 * self.model.length
        _need(self.part == 'all' or self.source.rows >= least, 'part', self.part,
              f"'all' for a source of fewer than {least} rows")  # fmt: skip

    def _check_interaction(self, task):
        every, steps, chunk = self.interact_every, self.interact_steps, self.chunk * task.repeat
        if every == 0:
            for name in ('interact_steps', 'interact_above'):
                _need(getattr(self, name) == 0, name, getattr(self, name), '0 for a run that never interacts')
            return
        _need(self.data == 'final', 'interact_every', every, "0 unless data is 'final'")
        unit = self.eval_every if self.interact_above else chunk
        _need(every > 0 and every % unit == 0, 'interact_every', every, f'0, or a multiple of {unit}')
        _need(every < self.budget, 'interact_every', every, f'below budget={self.budget}')
        row = task.repeat * task.envs
        _need(
            steps > 0 and steps % row == 0,
            'interact_steps',
            steps,
            f'a multiple of action repeat x environments = {row}',
        )
        _need(self.interact_above >= 0, 'interact_above', self.interact_above, 'at least 0')

    # Everything is counted on one clock, in agent steps; an environment step is one simulator
    # control step, so an agent step is `repeat` of them. Reset transitions count, as in v1.

    @property
    def agent_steps(self) -> int:
        return self.budget // tasks.get(self.task).repeat

    @property
    def eval_steps(self) -> int:
        """Agent steps between evaluations."""
        return self.eval_every // tasks.get(self.task).repeat

    @property
    def chunk_updates(self) -> int:
        return round(self.chunk * self.ratio)

    @property
    def updates(self) -> int:
        """Gradient updates of the whole run; offline runs make as many as their source."""
        return (self.agent_steps - self.prefill) // self.chunk * self.chunk_updates

    @property
    def rows(self) -> int:
        """Length of the final replay in vector steps (one row = one agent step of every environment)."""
        return self.agent_steps // tasks.get(self.task).envs

    @property
    def piece(self) -> int:
        """Rows of the pieces of which part='mixed' is every second one, at random: as long as the longest episode."""
        return min(tasks.get(self.task).limit + 1, self.source.rows // 2)

    def interacts(self, clock: int) -> bool:
        """Whether an offline run may collect when it stands at `clock` agent steps, evaluations permitting."""
        due = self.interact_every and clock * tasks.get(self.task).repeat % self.interact_every == 0
        return bool(due) and self.prefill < clock < self.agent_steps

    @property
    def interact_rows(self) -> int:
        """Replay rows of each collection of an offline run."""
        task = tasks.get(self.task)
        return self.interact_steps // (task.repeat * task.envs)

    @property
    def own_rows(self) -> int:
        """Length of the replay that the run writes itself: at most so many rows where it depends on evaluations."""
        if self.data == 'own' or not self.interact_every:
            return self.rows if self.data == 'own' else 0
        every = self.interact_every // tasks.get(self.task).repeat
        return self.interact_rows * sum(map(self.interacts, range(every, self.agent_steps, every)))

    @property
    def like(self) -> 'RunSpec':
        """The run whose program this one runs: the source where weights are to be equal to its, to the bit."""
        return self.source if self.world_model == 'copied' or self.alpha != 1 else self

    @property
    def exact(self) -> bool:
        """Whether it only is what it says where its program gives the source's bits."""
        return self.world_model == 'copied' or (self.alpha == 0 and self.data == 'batches')

    @property
    def signature(self) -> tuple:
        """Runs of equal signature can train as lanes of one program: shapes, schedule and environments are the same."""
        schedule = (self.budget, self.ratio, self.prefill, self.chunk, self.eval_every, self.eval_episodes)
        kind = (self.data, self.like.w_expl > 0, self.like.expl_until, self.world_model == 'frozen',
                self.source.rows if self.source else 0, self.run_id if self.interact_every else '')  # fmt: skip
        return (self.task, self.model, *schedule, *kind, *self.options.values())

    @property
    def options(self) -> dict:
        """What the task's simulator takes."""
        return {name: getattr(self, name) for name in tasks.get(self.task).options}

    def canonical(self) -> dict:
        """Every field as a JSON-ready value, the source by its id; without goal and rendering where there is none.

        A field that only some runs can use is left out of all others: it may be added without renaming them.
        """
        values = _values(self) | {'model': _values(self.model), 'source': self.source and self.source.run_id}
        return {'schema': SCHEMA, **{name: value for name, value in values.items() if self._uses(name)}}

    def _uses(self, name):
        return name not in ('goal_radius', 'render') or name in tasks.get(self.task).options

    @property
    def run_id(self) -> str:
        """Readable prefix and a hash of the canonical spec, e.g. `cup_catch-proprio_active_s0_1f2e...`."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(',', ':'))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return re.sub(r'[^A-Za-z0-9_.-]', '-', f'{self.task}_{self.agent}_s{self.seed}_{digest}')
