"""Rules that fields of a run obey together.

Each function raises UserError, one line, if one is broken.

Bounds of a single field stand beside the field, in `spec`.
"""

from typing import TYPE_CHECKING, Any

from paper_lib.contract import quantities
from paper_lib.contract.dataset import Dataset
from paper_lib.contract.facts import Side, facts, names, need
from paper_lib.contract.tasks import Task, suite_of

if TYPE_CHECKING:
    from paper_lib.contract.spec import RunSpec

# What a run must learn from if its world model is its source's: see `data` and `world_model` in `spec`.
DATA_OF_WORLD_MODEL = {'copied': 'batches', 'frozen': 'final'}


def all_together(spec: 'RunSpec', task: Task) -> None:
    """Every check of this file."""
    simulator_options(spec, task)
    schedule(spec, task)
    replay(spec, task)
    exploration(spec, task)
    source(spec)
    world_model(spec)
    part(spec)
    interaction(spec, task)
    recording(spec, task)


def simulator_options(spec: 'RunSpec', task: Task) -> None:
    """A simulator's option has its default value if the task's simulator does not take it."""
    for each, fact in facts(spec):
        if fact.simulator and not spec.takes(each.name):
            value = getattr(spec, each.name)
            allowed = f'{each.default!r} for {task.id}, whose simulator has no such option'
            need(value == each.default, each.name, value, allowed)


def schedule(spec: 'RunSpec', task: Task) -> None:
    """Updates and evaluations happen at the ends of chunks, and a chunk has a whole number of updates."""
    chunk_steps = spec.chunk * task.repeat
    updates = round(spec.chunk * spec.ratio, 9)
    need(
        spec.chunk % task.envs == 0,
        'chunk',
        spec.chunk,
        f'a multiple of the {task.envs} parallel environments',
    )
    need(
        updates % 1 == 0 and updates >= 1,
        'chunk',
        spec.chunk,
        f'such that chunk x ratio ({spec.ratio}) is a whole number of updates, at least 1',
    )
    need(
        spec.eval_every % chunk_steps == 0,
        'eval_every',
        spec.eval_every,
        f'a multiple of chunk x action repeat = {chunk_steps}',
    )
    need(
        spec.budget % spec.eval_every == 0,
        'budget',
        spec.budget,
        f'a multiple of eval_every={spec.eval_every}',
    )
    need(
        spec.prefill % spec.chunk == 0,
        'prefill',
        spec.prefill,
        f'a multiple of chunk={spec.chunk}',
    )
    need(
        spec.prefill * task.repeat < spec.budget,
        'prefill',
        spec.prefill,
        f'below budget / action repeat = {spec.budget // task.repeat}',
    )
    need(
        spec.prefill // task.envs > spec.model.length,
        'prefill',
        spec.prefill,
        f'above {task.envs} environments x length={spec.model.length}',
    )


def replay(spec: 'RunSpec', task: Task) -> None:
    """An online run may stop collecting only after its prefill; its replay holds more than one sequence."""
    chunk_steps = spec.chunk * task.repeat
    row_steps = task.envs * task.repeat
    prefill_steps = spec.prefill * task.repeat
    if spec.collect_until:
        need(
            prefill_steps < spec.collect_until < spec.budget and spec.collect_until % chunk_steps == 0,
            'collect_until',
            spec.collect_until,
            f'0, or a multiple of {chunk_steps} between prefill ({prefill_steps}) and budget ({spec.budget})',
        )
    if spec.capacity:
        least = row_steps * spec.model.length
        need(
            spec.capacity > least and spec.capacity % row_steps == 0,
            'capacity',
            spec.capacity,
            f'0, or a multiple of {row_steps} (one row) above {least} (one sequence in every environment)',
        )


def exploration(spec: 'RunSpec', task: Task) -> None:
    """An ensemble has at least two networks, and predicts something that the task has."""
    chunk_steps = spec.chunk * task.repeat
    need(
        spec.model.disag_target == 'stoch' or task.obs != 'vision',
        'disag_target',
        spec.model.disag_target,
        f"'stoch' for {spec.task}, which has no vectors",
    )
    need(
        spec.w_expl == 0 or spec.model.ensemble > 1,
        'ensemble',
        spec.model.ensemble,
        'at least 2 for a run that explores: one network alone cannot disagree',
    )
    need(
        spec.expl_until % chunk_steps == 0 and spec.expl_until <= spec.budget,
        'expl_until',
        spec.expl_until,
        f'from 0 to budget={spec.budget}, a multiple of {chunk_steps}',
    )
    need(
        spec.expl_until == 0 or spec.w_expl > 0,
        'expl_until',
        spec.expl_until,
        '0 for a run without exploration',
    )


def source(spec: 'RunSpec') -> None:
    """An offline run fits the recording that it learns from."""
    need(
        (spec.data == 'own') == (spec.source is None),
        'source',
        spec.source_id,
        "given exactly when data is 'final' or 'batches'",
    )
    if spec.source is None:
        need(spec.alpha == 1, 'alpha', spec.alpha, '1 for a run without a source')
        return
    for name in names(spec, side=Side.SOURCE):
        value = getattr(spec, name)
        need(value == 0, name, value, '0 for an offline run: only its source collects by this value')
    need(
        spec.source.task == spec.task,
        'source',
        spec.source.task,
        f'a recording of the same task, {spec.task}',
    )
    if isinstance(spec.source, Dataset):
        _source_dataset(spec)
    else:
        _source_run(spec)
    need(
        spec.rows_seen >= spec.model.length,
        'length',
        spec.model.length,
        f'at most {spec.rows_seen}, the rows that its source gives',
    )


def _source_dataset(spec: 'RunSpec') -> None:
    """A dataset has steps, but neither weights nor a batch sequence."""
    needs_batches = 'because the source is a dataset, which has no batch sequence'
    needs_weights = 'because the source is a dataset, which has no weights'
    need(spec.data == 'final', 'data', spec.data, f"'final' {needs_batches}")
    need(spec.alpha == 1, 'alpha', spec.alpha, f'1 {needs_weights}')
    need(spec.world_model == 'own', 'world_model', spec.world_model, f"'own' {needs_weights}")


def _source_run(spec: 'RunSpec') -> None:
    """A run that others learn from is online, and has the values that its followers need to share."""
    need(spec.source.data == 'own', 'source', spec.source.agent, 'an online run')
    for each, fact in facts(spec):
        if fact.simulator:
            _same(spec, spec.source, each.name)
    if spec.data == 'batches':
        for name in ('budget', 'ratio', 'prefill', 'chunk'):
            _same(spec, spec.source, name, ': a Tandem run repeats its batches')
        for name in ('batch', 'length'):
            _same(spec.model, spec.source.model, name, ': a Tandem run repeats its batches')
    if spec.alpha != 1:
        _same_model(spec, "alpha mixes the two runs' weights")
    if spec.exact:
        rates = ('lr_model', 'lr_actor', 'lr_critic')
        if spec.alpha:  # only the world model is reproduced
            rates = ('lr_model',)
        for name in ('seed', *rates):
            _same(spec, spec.source, name, ': the run reproduces its source exactly')


def _same(follower: Any, source: Any, name: str, reason: str = '') -> None:
    """Raise UserError unless a field has the same value in two specs."""
    value = getattr(follower, name)
    wanted = getattr(source, name)
    need(value == wanted, name, value, f"the source's {wanted}{reason}")


def _same_model(spec: 'RunSpec', reason: str) -> None:
    """Raise UserError unless a run has the networks of its source."""
    need(spec.model == spec.source.model, 'model', 'other', f"the source's: {reason}")


def world_model(spec: 'RunSpec') -> None:
    """A copied model needs its source's batches, on which it is trained again; a frozen one only its end."""
    if spec.world_model == 'own':
        return
    data = DATA_OF_WORLD_MODEL[spec.world_model]
    need(spec.data == data, 'world_model', spec.world_model, f"'own' unless data is {data!r}")
    _same_model(spec, "the world model is the source's")
    need(spec.alpha == 1, 'alpha', spec.alpha, "1 if the world model is the source's")


def part(spec: 'RunSpec') -> None:
    """A part is taken from a finished recording that the run itself adds nothing to."""
    if spec.part == 'all':
        return
    need(spec.data == 'final', 'part', spec.part, "'all' unless data is 'final'")
    need(not spec.interact_every, 'part', spec.part, "'all' for a run that interacts")
    least = 2 * spec.model.length
    need(spec.rows_seen >= least, 'part', spec.part, f"'all' for a source that gives fewer than {least} rows")


def interaction(spec: 'RunSpec', task: Task) -> None:
    """A run that learns from a finished recording may add data: at the ends of chunks, in whole rows.

    If a measure decides, it adds them at evaluations only.
    """
    deciding_measure(spec)
    if spec.interact_every == 0:
        for name in ('interact_steps', 'interact_above', 'interact_below'):
            value = getattr(spec, name)
            need(value == 0, name, value, '0 for a run that never interacts')
        return
    every, steps = spec.interact_every, spec.interact_steps
    unit = spec.eval_every if spec.is_adaptive else spec.chunk * task.repeat
    row_steps = task.repeat * task.envs
    need(spec.data == 'final', 'interact_every', every, "0 unless data is 'final'")
    need(every % unit == 0, 'interact_every', every, f'0, or a multiple of {unit}')
    need(every < spec.budget, 'interact_every', every, f'below budget={spec.budget}')
    need(
        steps > 0 and steps % row_steps == 0,
        'interact_steps',
        steps,
        f'a multiple of action repeat x environments = {row_steps}',
    )
    need(
        spec.schedule.interactions > 0,
        'interact_every',
        every,
        f'0, or so short that a collection falls between prefill and budget={spec.budget}',
    )


def deciding_measure(spec: 'RunSpec') -> None:
    """A measure decides by one limit, and is among those that evaluations of the run compute."""
    above, below, by = spec.interact_above, spec.interact_below, spec.interact_by
    need(not (above and below), 'interact_below', below, f'0 for a run with interact_above={above}')
    if by == quantities.OOD_RATIO:
        return
    need(spec.is_adaptive, 'interact_by', by, f'{quantities.OOD_RATIO!r} without interact_above or interact_below')
    need(spec.measures == 1, 'measures', spec.measures, f'1 for a run with interact_by={by!r}')


def recording(spec: 'RunSpec', task: Task) -> None:
    """What is only known from a recording is learned from as a whole, and nothing is collected."""
    if suite_of(task).playable:
        return
    without = f'for {task.id}, which has no environment to step'
    need(spec.data == 'final', 'data', spec.data, f"'final' {without}")
    need(spec.part == 'all', 'part', spec.part, f"'all' {without}")
    need(not spec.interact_every, 'interact_every', spec.interact_every, f'0 {without}')
