"""What the fields of a run must fulfil together. Each function raises UserError, one line, where they do not."""

from typing import TYPE_CHECKING

from paper_lib.contract.dataset import Dataset
from paper_lib.contract.facts import facts, need
from paper_lib.contract.tasks import Task

if TYPE_CHECKING:
    from paper_lib.contract.spec import RunSpec

# What a run learns from whose world model is its source's.
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


def simulator_options(spec: 'RunSpec', task: Task) -> None:
    """An option of the simulator stays at its default where the task's simulator does not take it."""
    for each, fact in facts(spec):
        if fact.simulator and not spec.takes(each.name):
            value = getattr(spec, each.name)
            allowed = f'{each.default!r} for {task.id}: its simulator has no such option'
            need(value == each.default, each.name, value, allowed)


def schedule(spec: 'RunSpec', task: Task) -> None:
    """Everything happens at whole chunks; a chunk is whole in environments, updates and evaluations."""
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
        f'such that chunk x ratio ({spec.ratio}) is 1 or more, and whole',
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
    """An online run stops collecting after its prefill, and its replay holds more than a sequence."""
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
    """Exploration has networks that can disagree, about something that the task has."""
    chunk_steps = spec.chunk * task.repeat
    need(
        spec.model.disag_target == 'stoch' or task.obs == 'proprio',
        'disag_target',
        spec.model.disag_target,
        f"'stoch' for {spec.task}: it has no vector",
    )
    need(
        spec.w_expl == 0 or spec.model.ensemble > 1,
        'ensemble',
        spec.model.ensemble,
        'at least 2 for a run that explores: one network disagrees with none',
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
    for name in ('w_expl', 'collect_until', 'capacity'):
        value = getattr(spec, name)
        need(value == 0, name, value, '0 for offline runs: it says how their source collects')
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


def _source_dataset(spec):
    """A dataset has steps, but neither weights nor a batch sequence."""
    why = 'where the source is a dataset'
    need(spec.data == 'final', 'data', spec.data, f"'final' {why}: it has no batch sequence")
    need(spec.alpha == 1, 'alpha', spec.alpha, f'1 {why}: it has no weights')
    need(spec.world_model == 'own', 'world_model', spec.world_model, f"'own' {why}: it has no weights")
    need(
        spec.source.rows >= spec.model.length,
        'length',
        spec.model.length,
        f'at most the {spec.source.rows} rows of the dataset',
    )


def _source_run(spec):
    need(spec.source.data == 'own', 'source', spec.source.agent, 'an online run')
    for each, fact in facts(spec):
        if fact.simulator:
            _as_source(spec, each.name)
    if spec.data == 'batches':
        for name in ('budget', 'ratio', 'prefill', 'chunk'):
            _as_source(spec, name, ': a Tandem run reads its batches')
        for name in ('batch', 'length'):
            own, theirs = getattr(spec.model, name), getattr(spec.source.model, name)
            need(own == theirs, name, own, f"the source's {theirs}: a Tandem run reads its batches")
    if spec.alpha != 1:
        same = spec.model == spec.source.model
        need(same, 'model', 'other', "the source's: alpha mixes the two runs' weights")
    if spec.exact:
        rates = ('lr_model',) if spec.alpha else ('lr_model', 'lr_actor', 'lr_critic')
        for name in ('seed', *rates):
            _as_source(spec, name, ': it is trained as there, to the bit')


def _as_source(spec, name, reason=''):
    own, theirs = getattr(spec, name), getattr(spec.source, name)
    need(own == theirs, name, own, f"the source's {theirs}{reason}")


def world_model(spec: 'RunSpec') -> None:
    """A copied model is trained again, on the source's batches with its noise; a frozen one is read."""
    if spec.world_model == 'own':
        return
    data = DATA_OF_WORLD_MODEL[spec.world_model]
    need(spec.data == data, 'world_model', spec.world_model, f"'own' unless data is {data!r}")
    need(spec.model == spec.source.model, 'model', 'other', "the source's: the world model is")
    need(spec.alpha == 1, 'alpha', spec.alpha, '1 where the world model is not its own')


def part(spec: 'RunSpec') -> None:
    """Only an agent that learns from a whole finished recording can learn from a part of it."""
    if spec.part == 'all':
        return
    need(spec.data == 'final', 'part', spec.part, "'all' unless data is 'final'")
    need(not spec.interact_every, 'part', spec.part, "'all' for a run that interacts")
    least = 2 * spec.model.length
    need(spec.source_rows >= least, 'part', spec.part, f"'all' for a source of fewer than {least} rows")


def interaction(spec: 'RunSpec', task: Task) -> None:
    """Own data are collected at whole chunks, in whole rows, by agents that learn from a finished recording."""
    if spec.interact_every == 0:
        for name in ('interact_steps', 'interact_above'):
            value = getattr(spec, name)
            need(value == 0, name, value, '0 for a run that never interacts')
        return
    every, steps = spec.interact_every, spec.interact_steps
    unit = spec.eval_every if spec.interact_above else spec.chunk * task.repeat
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
