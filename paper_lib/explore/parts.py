"""The interactive part of each notebook: what it begins with comes from the archive alone, and needs no agent."""

import functools

import pandas as pd

from paper_lib.contract import agents, maze_layout, tasks
from paper_lib.contract.errors import UserError
from paper_lib.explore import pictures, weights
from paper_lib.explore.controls import Interactive, choice, line, slider
from paper_lib.study import claims, sensitivity
from paper_lib.study.catalogue import Entry
from paper_lib.study.tables import Table

LONGEST = 2500  # steps that a slider offers: no task has more
HORIZON = 60  # steps imagined


def _compared(chapter, *wanted) -> Entry:
    """The runs of a chapter that an interactive part shows: these agents, without any the compared ones."""
    return Entry('', '', chapter, wanted or ('compared',), None)


def _first(specs, agent, task, scale) -> object:
    """The run of the lowest pair seed, of those with weights if there are any."""
    own = [spec for spec in specs if (spec.agent, spec.task) == (agent, task)]
    return min(own, key=lambda spec: (not weights.path(spec, scale).exists(), spec.pair_seed))


@functools.lru_cache(maxsize=4)
def _player(spec, scale):
    from paper_lib.explore.play import Player

    return Player(spec, weights.load(spec, scale))


@functools.lru_cache(maxsize=8)
def _episode(spec, scale, *start):
    """An episode of the agent: its last evaluation's first one again, or one of the maze from `start`."""
    player = _player(spec, scale)
    return player.walk(*start) if start else player.episode()


def maze(book) -> Interactive:
    """Put the point anywhere in the maze and watch an agent go, and what it imagines."""
    found = book.frames(_compared('toy_maze'))
    scale, task = book.scale, found.specs[0].task

    def draw(agent, x, y, step):
        if any(abs(x - wall[0]) < wall[2] + maze_layout.MASS_RADIUS and abs(y - wall[1]) < wall[3]
               + maze_layout.MASS_RADIUS for wall in maze_layout.WALLS):  # fmt: skip
            raise UserError(f'x={x:.2f}, y={y:.2f}: this is inside a wall; choose a place beside it')
        spec = _first(found.specs, agent, task, scale)
        played = _episode(spec, scale, x, y)
        imagined = _player(spec, scale).imagine(played, step, HORIZON)[..., :2]
        text = (f'{agents.get(agent).label}, pair seed {spec.pair_seed}, from ({x:.2f}, {y:.2f}): score '
                f'{played["reward"].sum():.0f}. Dashed: imagined from step {step} on, eight times.')  # fmt: skip
        return pictures.path(_steps(played), spec.goal_radius, scale, text, imagined, step)

    kept = found.episode('active')
    text = f'Active, pair seed {found.first}: the archived first episode of the last evaluation.'
    first = (pictures.path(kept, found.specs[0].goal_radius, scale, text) if len(kept)
             else line('no archived episode of Active at this scale'))  # fmt: skip
    reach = maze_layout.REACH
    return Interactive(first, draw, {
        'agent': choice(agents.group('compared'), description='agent'), 'x': slider(-0.2, -reach, reach, 0.01, 'x (m)'),
        'y': slider(0.2, -reach, reach, 0.01, 'y (m)'), 'step': slider(0, 0, 499, 1, 'imagine at'),
    })  # fmt: skip


def _steps(played) -> pd.DataFrame:
    return pd.DataFrame({'v0': played['vector'][:, 0], 'v1': played['vector'][:, 1], 'wm_loss': played['wm_loss']})


def episode(book) -> Interactive:
    """Move through an episode of an agent: what it observes, and what its world model decodes."""
    found, scale = book.frames(_compared('study')), book.scale

    def draw(task, agent, step):
        spec = _first(found.specs, agent, task, scale)
        played = _episode(spec, scale)
        at = min(step, len(played['reward']) - 1)
        true = played['image' if 'image' in played else 'vector'][at]
        text = (f'{agents.get(agent).label} on {task}, pair seed {spec.pair_seed}: step {at} of '
                f'{len(played["reward"]) - 1}, score {played["reward"].sum():.0f}.')  # fmt: skip
        return pictures.observed(true, played['decoded'][at], played['wm_loss'], at, scale, text)

    rows = found.pictures
    rows = rows[rows.run_id == rows.run_id.iloc[0]].sort_values('step') if len(rows) else rows
    first = line('no archived pictures at this scale')
    if len(rows):
        text = f'{agents.get(rows.agent.iloc[0]).label} on {rows.task.iloc[0]}: archived steps of its last evaluation.'
        first = pictures.strip(rows, scale, text)
    shipped = [spec for spec in found.specs if weights.path(spec, scale).exists()]
    return Interactive(first, draw, {
        'task': choice(dict.fromkeys(spec.task for spec in shipped or found.specs), description='task'),
        'agent': choice(agents.group('compared'), description='agent'), 'step': slider(0, 0, LONGEST, 1, 'step'),
    })  # fmt: skip


def steps(book) -> Interactive:
    """The same final episode of three agents, step by step, from the archive."""
    traces, scale = book.frames(_compared('study')).traces, book.scale
    names = list(dict.fromkeys(traces.task))

    def draw(task, step):
        rows = traces[(traces.task == task) & (traces.episode == 0)]
        text = f'{task}: first episode of the last evaluation, step {step}. All agents start alike.'
        return pictures.steps(rows, step, scale, text)

    controls = {'task': choice(names, description='task'), 'step': slider(0, 0, LONGEST, 1, 'step')}
    first = draw(names[0], 0) if names else line('no archived episodes at this scale')
    return Interactive(first, draw, controls if names else {})


def threshold(book) -> Interactive:
    """When a Passive agent that never collected would have been told to, from archived evaluations."""
    found, scale = book.frames(_compared('study', 'passive', 'passive_auto')), book.scale
    metrics = found.metrics[found.metrics.agent == 'passive']
    names, seeds = list(dict.fromkeys(metrics.task)), sorted(set(metrics.pair_seed))
    seed = min(metrics.pair_seed[metrics.task == names[0]]) if names else None

    def draw(task, seed, threshold):
        rows = metrics[(metrics.task == task) & (metrics.pair_seed == seed)].sort_values('env_step')
        autos = {spec.pair_seed: spec for spec in found.wanted('passive_auto') if spec.task == task}
        if rows.empty or seed not in autos:
            raise UserError(f'pair seed {seed}: no archived run of Passive on {task}; choose another')
        due, percent = would_collect(rows, autos[seed], threshold)
        text = (f'Passive on {task}, pair seed {seed}: at {threshold:g} it would have collected {due.sum()} times, '
                f'{percent:.1f} % of the recording.')  # fmt: skip
        return pictures.collections(rows, due, threshold, scale, text)

    if not names:
        return Interactive(line('no archived evaluations of Passive at this scale'), draw, {})
    controls = {'task': choice(names, description='task'), 'seed': choice(seeds, value=seed, description='pair seed'),
                'threshold': slider(1.35, 1.0, 3.0, 0.05, 'threshold')}  # fmt: skip
    return Interactive(draw(names[0], seed, 1.35), draw, controls)


def would_collect(metrics, auto, threshold):
    """At which evaluations (rows) `auto` would collect with this threshold, and percent of its source's data."""
    steps = metrics.env_step // tasks.get(auto.task).repeat
    due = (metrics.ood_ratio > threshold) & steps.map(auto.schedule.interaction_due)
    return due, 100 * due.sum() * auto.interact_steps / auto.source.budget


def final(book) -> Interactive:
    """The claims with another share of evaluations as final."""
    found = book.frames(_compared('study'))

    def draw(percent):
        text = f'Scale {book.scale}: the last {percent} % of the evaluations of each run count as final.'
        return Table(sensitivity.claims_at(found, percent / 100, claims.random('study')), text)._repr_html_()

    return Interactive(draw(20), draw, {'percent': slider(20, 1, 100, 1, 'final, %')})
