"""The interactive part of each notebook. Its first drawing is made from the archive alone, without an agent."""

import functools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paper_lib.contract import agents, maze_layout, tasks
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.explore import views, weights
from paper_lib.explore.controls import Interactive, choice, line, slider
from paper_lib.study import claims, offline, outcomes, reference, sensitivity
from paper_lib.study.book import Book
from paper_lib.study.catalogue import Entry

if TYPE_CHECKING:
    from paper_lib.explore.play import Player

LONGEST = 2500  # last step that a slider offers; no task has longer episodes
HORIZON = 60  # imagined steps


def _entry(chapter: str, *wanted: str) -> Entry:
    """An entry that selects the runs of these agents in a chapter; without names, those of the compared agents."""
    return Entry('', '', chapter, wanted or ('compared',), None)


def _run_of(specs: Sequence[RunSpec], agent: str, task: str, scale: str) -> RunSpec:
    """The run of an agent on a task with the lowest pair seed, among the runs with weights if there are any."""
    candidates = [spec for spec in specs if spec.agent == agent and spec.task == task]
    return min(candidates, key=lambda spec: (not weights.path(spec, scale).exists(), spec.pair_seed))


@functools.lru_cache(maxsize=4)
def _player(spec: RunSpec, scale: str) -> 'Player':
    from paper_lib.explore.play import Player

    return Player(spec, weights.load(spec, scale))


@functools.lru_cache(maxsize=8)
def _episode(spec: RunSpec, scale: str) -> dict[str, np.ndarray]:
    """`Player.episode` of a run."""
    return _player(spec, scale).episode()


@functools.lru_cache(maxsize=8)
def _walk(spec: RunSpec, scale: str, x: float, y: float) -> dict[str, np.ndarray]:
    """`Player.walk` of a run, from (x, y) in metres."""
    return _player(spec, scale).walk(x, y)


def maze(book: Book) -> Interactive:
    """The user puts the point anywhere in the maze, and sees where an agent goes and what it imagines."""
    frames = book.frames(_entry('toy_maze'))
    task = frames.specs[0].task
    scale = book.scale

    def draw(agent: str, x: float, y: float, step: int) -> str:
        if maze_layout.in_a_wall(x, y):
            raise UserError(f'x={x:.2f}, y={y:.2f}: this is inside a wall; choose a place beside it')
        spec = _run_of(frames.specs, agent, task, scale)
        played = _walk(spec, scale, x, y)
        imagined = _player(spec, scale).imagine(played, step, HORIZON)
        imagination = views.Imagination(imagined[..., :2], step)
        score = played['reward'].sum()
        text = (
            f'{agents.get(agent).label}, pair seed {spec.pair_seed}, from ({x:.2f}, {y:.2f}): score {score:.0f}. '
            f'Dashed: imagined from step {step} on, eight times.'
        )
        return views.as_html(views.path(_steps(played), spec.goal_radius, scale, imagination), text)

    archived = frames.episode('active')
    first = line('no archived episode of Active at this scale')
    start = (-0.2, 0.2)
    if len(archived):
        start = tuple(archived[['v0', 'v1']].iloc[0].round(2))
        text = f'Active, pair seed {frames.first}: the archived first episode of the last evaluation.'
        first = views.as_html(views.path(archived, frames.specs[0].goal_radius, scale), text)
    reach = maze_layout.REACH
    controls = {
        'agent': choice(agents.group('compared'), description='agent'),
        'x': slider(start[0], -reach, reach, 0.01, 'x (m)'),
        'y': slider(start[1], -reach, reach, 0.01, 'y (m)'),
        'step': slider(0, 0, 499, 1, 'imagine at'),
    }
    return Interactive(first, draw, controls)


def _steps(played: dict[str, np.ndarray]) -> pd.DataFrame:
    """Positions (m) and world-model losses of an episode, with the columns of the archive."""
    vectors = played['vector']
    return pd.DataFrame({'v0': vectors[:, 0], 'v1': vectors[:, 1], 'wm_loss': played['wm_loss']})


def episode(book: Book) -> Interactive:
    """The user moves through an episode, and sees what the agent observes and what its world model decodes."""
    frames = book.frames(_entry('study'))
    scale = book.scale

    def draw(task: str, agent: str, step: int) -> str:
        spec = _run_of(frames.specs, agent, task, scale)
        played = _episode(spec, scale)
        last = len(played['reward']) - 1
        step = min(step, last)
        observations = played['image'] if 'image' in played else played['vector']
        figure = views.observed(observations[step], played['decoded'][step], played['wm_loss'], step, scale)
        score = played['reward'].sum()
        run = f'{agents.get(agent).label} on {task}, pair seed {spec.pair_seed}'
        return views.as_html(figure, f'{run}: step {step} of {last}, score {score:.0f}.')

    with_weights = [spec for spec in frames.specs if weights.path(spec, scale).exists()]
    offered = list(dict.fromkeys(spec.task for spec in with_weights or frames.specs))
    task, agent = offered[0], 'active'
    pictures = frames.pictures[frames.pictures.task.isin(offered)]
    first = line('no archived pictures at this scale')
    if len(pictures):
        rows = pictures[pictures.run_id == pictures.run_id.iloc[0]].sort_values('step')
        task, agent = rows.task.iloc[0], rows.agent.iloc[0]
        run = f'{agents.get(agent).label} on {task}'
        first = views.as_html(views.strip(rows, scale), f'{run}: archived steps of its last evaluation.')
    controls = {
        'task': choice(offered, value=task, description='task'),
        'agent': choice(agents.group('compared'), value=agent, description='agent'),
        'step': slider(0, 0, LONGEST, 1, 'step'),
    }
    return Interactive(first, draw, controls)


def steps(book: Book) -> Interactive:
    """The user moves through an archived final episode of three agents, which start alike."""
    frames = book.frames(_entry('study'))
    traces = frames.traces
    names = _tested_first(traces, frames.exploratory)

    def draw(task: str, step: int) -> str:
        rows = traces[(traces.task == task) & (traces.episode == 0)]
        seed = rows.pair_seed.min()
        rows = rows[rows.pair_seed == seed]
        text = f'{task}, pair seed {seed}: first episode of the last evaluation, step {step}. All agents start alike.'
        return views.as_html(views.steps(rows, step, book.scale), text)

    if not names:
        return Interactive(line('no archived episodes at this scale'), draw, {})
    controls = {'task': choice(names, description='task'), 'step': slider(0, 0, LONGEST, 1, 'step')}
    return Interactive(draw(names[0], 0), draw, controls)


def threshold(book: Book) -> Interactive:
    """The user moves the threshold of the OOD ratio, and sees when a Passive agent would have collected data."""
    frames = book.frames(_entry('study', 'passive', 'passive_auto'))
    metrics = frames.metrics[frames.metrics.agent == 'passive']

    def draw(task: str, seed: int, threshold: float) -> str:
        rows = metrics[(metrics.task == task) & (metrics.pair_seed == seed)].sort_values('env_step')
        adaptive = {spec.pair_seed: spec for spec in frames.wanted('passive_auto') if spec.task == task}
        if rows.empty or seed not in adaptive:
            raise UserError(f'pair seed {seed}: no archived run of Passive on {task}; choose another')
        due, percent = would_collect(rows, adaptive[seed], threshold)
        text = (
            f'Passive on {task}, pair seed {seed}: at {threshold:g} it would have collected {due.sum()} times, '
            f'{percent:.1f} % of the recording.'
        )
        return views.as_html(views.collections(rows, due, threshold, book.scale), text)

    if metrics.empty:
        return Interactive(line('no archived evaluations of Passive at this scale'), draw, {})
    names = _tested_first(metrics, frames.exploratory)
    seeds = sorted(set(metrics.pair_seed))
    first_seed = min(metrics.pair_seed[metrics.task == names[0]])
    controls = {
        'task': choice(names, description='task'),
        'seed': choice(seeds, value=first_seed, description='pair seed'),
        'threshold': slider(offline.THRESHOLD, 1.0, 3.0, 0.05, 'threshold'),
    }
    return Interactive(draw(names[0], first_seed, offline.THRESHOLD), draw, controls)


def _tested_first(rows: pd.DataFrame, exploratory: Collection[str]) -> list[str]:
    """The tasks of some rows, first those that claims are tested on."""
    return sorted(dict.fromkeys(rows.task), key=lambda task: task in exploratory)


def would_collect(metrics: pd.DataFrame, adaptive: RunSpec, threshold: float) -> tuple[pd.Series, float]:
    """Whether a run would collect data after each evaluation (row), and how much in percent of its source's data.

    `metrics` are of the run, and `adaptive` is an adaptive run of the same pair, whose schedule is used.
    """
    agent_steps = metrics.env_step // tasks.get(adaptive.task).repeat
    due = (metrics.ood_ratio > threshold) & agent_steps.map(adaptive.schedule.interaction_due)
    added = due.sum() * adaptive.interact_steps
    return due, 100 * added / adaptive.source.budget


def final(book: Book) -> Interactive:
    """The user chooses the share of evaluations that counts as final, and sees the claims."""
    frames = book.frames(_entry('study'))

    def draw(percent: int) -> str:
        table = sensitivity.claims_at(frames, percent / 100, claims.random('study'))
        text = f'Scale {book.scale}: the last {percent} % of the evaluations of each run count as final.'
        return outcomes.Claims(table, text)._repr_html_()

    controls: dict[str, Any] = {'percent': slider(20, 1, 100, 1, 'final, %')}
    return Interactive(draw(20), draw, controls)


def measure(book: Book) -> Interactive:
    """The user chooses a measure and a threshold, and sees which agents it flags at the end of their training."""
    metrics = offline.of_measured_runs(book.frames(_entry('study')))
    if metrics.empty:
        return Interactive(line('no archived measures at this scale'), lambda: '', {})
    moments = offline.moments(metrics, reference.random_score)
    last = moments[moments.is_last]

    def draw(measure: str, percent: int) -> str:
        """`percent` of the agents have a value below the threshold."""
        known = last.dropna(subset=[measure, offline.DEGRADED])
        threshold = float(np.percentile(known[measure], percent)) if len(known) else np.nan
        is_flagged = known[measure] > threshold
        is_degraded = known[offline.DEGRADED] == 1
        sign = offline.DIRECTIONS[measure]
        text = (
            f'Active, Passive and Tandem alone, {offline.words(measure)}: a threshold of {sign * threshold:.3g} flags '
            f'{(is_flagged & is_degraded).sum()} of {is_degraded.sum()} degraded agents and '
            f'{(is_flagged & ~is_degraded).sum()} of the {(~is_degraded).sum()} others.'
        )
        values = known.assign(value=sign * known[measure])
        return views.as_html(views.flags(values, measure, sign * threshold, book.scale), text)

    own = [name for name in offline.DIRECTIONS if name != offline.RIVAL]
    best = max(own, key=lambda name: np.nan_to_num(offline.estimate(last, name, offline.DEGRADED)))
    controls = {
        'measure': choice(offline.DIRECTIONS, value=best, description='measure'),
        'percent': slider(50, 0, 100, 1, 'below it, %'),
    }
    return Interactive(draw(best, 50), draw, controls)
