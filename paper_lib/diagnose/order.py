"""Diagnoses a recording: its audit, what it covers, a few offline agents trained on it, and what follows from them."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paper_lib.contract import tasks
from paper_lib.contract.errors import Diverged, UserError
from paper_lib.contract.scales import Scale
from paper_lib.contract.spec import RunSpec
from paper_lib.data import datasets, sources
from paper_lib.data.audit import ERROR, audit, table
from paper_lib.data.replay import TERMINAL
from paper_lib.data.steps import Steps, cut, is_one_hot
from paper_lib.data.store import Store
from paper_lib.engine import ensure
from paper_lib.envs.suites import recording
from paper_lib.pages import layout
from paper_lib.run import reference
from paper_lib.study import coverage, diagnosis, diagnosis_report, paths, plan, scales
from paper_lib.study.diagnosis import CANNOT_TELL, Check, Verdict
from paper_lib.study.diagnosis_report import Diagnosis

AGENT = 'passive'
EPISODES = 20  # of random actions


@dataclasses.dataclass(frozen=True)
class Order:
    """What is diagnosed and how."""

    name: str  # for readers
    data: str  # the place of the recording
    steps: Steps  # of vectors
    env: str = ''  # the task in which the agents are played; '': they are not
    discrete: bool | None = None  # whether actions are one-hot; None: seen from the data
    agents: int = 3
    scale: str = diagnosis.SCALE
    budget: int | None = None  # environment steps of each training; None: as the known runs
    workers: int = 0

    @property
    def own_tasks(self) -> set[str]:
        """The tasks that the recording is said to be of. A verdict is not to be fitted to runs on these."""
        return {name for name in (self.env and tasks.get(self.env).id, self.steps.task) if name}

    @property
    def title(self) -> str:
        """What the page is called, and its file."""
        return f'{self.name}_played' if self.env else self.name

    @property
    def asked(self) -> dict[str, Any]:
        """What makes a diagnosis another one."""
        return {name: getattr(self, name) for name in ('data', 'env', 'agents', 'scale', 'budget')}


def diagnose(order: Order, store: Store, say: Callable[[str], None]) -> Diagnosis:
    """The diagnosis. Agents that are trained already are not trained again.

    Raises UserError, before anything is written, for a recording that no agent can learn from, and for wrong values.
    """
    steps = order.steps
    if 'image' in steps.like:
        raise UserError(f'{steps.where}has images; a diagnosis compares with known runs, which see vectors alone')
    values = training(scales.get(order.scale))
    flags = steps.whole('flags')
    firsts = cut(flags).firsts
    cover = coverage.cover(steps.whole('vector'), steps.whole('reward'), firsts)
    discrete = is_one_hot(steps, flags) if order.discrete is None else order.discrete
    limit = tasks.get(order.env).limit if order.env else None
    findings = audit(steps, values['model']['length'], limit, order.discrete)
    say(f'{steps.where}{cover.transitions:,} transitions in {cover.episodes:,} episodes; '
        f'findings of the audit: {len(findings)}')  # fmt: skip
    known = diagnosis.known()
    own = order.own_tasks.intersection(known.task) if len(known) else set()
    known = known[~known.task.isin(own)] if own else known
    rule = diagnosis.learn(known)
    own_doubts = doubts(order, values['budget'], cover, discrete)
    doubted = (*diagnosis.standing_doubts(rule), *own_doubts)
    if doubted:
        say(f'the verdict will be {CANNOT_TELL!r}, whatever is measured: {" ".join(doubted)}')
    parts = {'title': order.title, 'asked': order.asked, 'own': sorted(own), 'findings': table(findings)}
    parts |= {'cover': cover, 'rule': rule, 'known': known}
    if any(finding.severity == ERROR for finding in findings):
        reason = 'The audit found errors, from which a world model would learn something false. No agent was trained.'
        return Diagnosis(**parts, verdict=Verdict(CANNOT_TELL, 0, 0, (reason, *doubted)), agents=[], check=None)

    specs = planned(order, values, cover, discrete)
    ensure.unfinished(specs, store, order.workers)  # raises for what would stop the training
    datasets.add(store.root, order.name, specs[0].task, steps)
    finished = train(specs, store, order.workers)
    measures = {}
    for spec, of_all in zip(finished, across(finished, store), strict=True):
        measures[spec] = diagnosis.final(store.metrics(spec), diagnosis.MEASURES) | of_all
    lost = dict.fromkeys(diagnosis.MEASURES, math.nan)
    agents = [{'seed': spec.seed, 'run_id': spec.run_id} | measures.get(spec, lost) for spec in specs]
    if diverged := len(specs) - len(finished):
        own_doubts += (f'{diverged} of {len(specs)} agents diverged.',)
    verdict = diagnosis.decide(rule, agents, own_doubts)
    checked = played(order, finished, store, verdict, cover.best, flags)
    return Diagnosis(**parts, verdict=verdict, agents=agents, check=checked)


def cut_at(flags: np.ndarray, limit: int) -> int | None:
    """The length of the longest episodes if one of these was cut before the limit, all in agent steps, else None.

    `flags` are those of a recording, (N,).
    """
    episodes = cut(flags)
    lengths = episodes.lengths - 1
    longest = int(lengths.max())
    was_cut = (flags[episodes.lasts[lengths == longest]] & TERMINAL == 0).any()
    return longest if was_cut and longest < limit else None


def train(specs: list[RunSpec], store: Store, workers: int) -> list[RunSpec]:
    """Train these agents. Returns those whose weights are finite to the end.

    Raises RunError if none is, and if an agent could not be trained for another reason.
    """
    try:
        ensure.ensure(specs, store, workers)
    except ensure.Failed as failed:
        finished = [spec for spec in specs if spec not in failed.errors]
        if not finished or not all(isinstance(error, Diverged) for error in failed.errors.values()):
            raise
        return finished
    return specs


def training(scale: Scale) -> dict:
    """The values of the study's runs that record the measures; budgets and intervals are in agent steps.

    Raises UserError for a scale without such runs.
    """
    for task in scale.tasks(diagnosis.CHAPTER):
        values = scale.values(task, AGENT, diagnosis.CHAPTER)
        if values.get('measures'):
            repeat = tasks.get(task).repeat
            return values | {name: values[name] // repeat for name in ('budget', 'eval_every')}
    raise UserError(f'scale={scale.name!r}: its runs record no measures; must be laptop or smoke')


def planned(order: Order, values: dict, cover: coverage.Coverage, discrete: bool) -> list[RunSpec]:
    """The runs, which differ in their seeds. Without an environment their task is the recording itself."""
    like = order.steps.like
    sizes = like['vector'][0][0], like['action'][0][0]
    task = order.env or recording.name(*sizes, discrete, limit=max(1, cover.lengths[2]))
    repeat = tasks.get(task).repeat
    values = values | {name: values[name] * repeat for name in ('budget', 'eval_every')}
    if order.budget is not None:
        values['budget'] = order.budget
    dataset = datasets.describe(order.name, task, order.steps)
    scale = scales.get(order.scale)
    return [plan.make(AGENT, task, seed, scale, diagnosis.CHAPTER, dataset, **values) for seed in range(order.agents)]


def across(specs: list[RunSpec], store: Store) -> list[dict[str, float]]:
    """The measures of each agent that take the world models of the others."""
    from paper_lib.explore import models

    replay = sources.recording(store, specs[0].source).replay()
    return models.measure(specs, [store.weights(spec) for spec in specs], replay)


def doubts(order: Order, budget: int, cover: coverage.Coverage, discrete: bool) -> tuple[str, ...]:
    """Why these agents cannot be compared with the known runs, whose budget is `budget` agent steps."""
    found = []
    repeat = tasks.get(order.env).repeat if order.env else 1
    if order.scale != diagnosis.SCALE or order.budget not in (None, budget * repeat):
        found.append('The agents have other values than the known runs (see --scale and --budget).')
    if discrete:
        found.append('Actions are discrete, and those of the known runs are continuous.')
    if cover.returns[0] == cover.returns[2]:
        found.append('All episodes have the same return, so none shows what a good one earns.')
    return tuple(found)


def played(
    order: Order, specs: list[RunSpec], store: Store, verdict: Verdict, recorded: float, flags: np.ndarray
) -> Check | None:
    """The check of the verdict by the evaluations of the runs; None without an environment.

    `recorded` is the mean return of the best episodes of the recording, whose flags are (N,).
    """
    if not order.env:
        return None
    scores = [diagnosis.final(store.metrics(spec), ('score',))['score'] for spec in specs]
    (random,) = reference.random_scores([order.env], EPISODES)
    longest = cut_at(flags, tasks.get(order.env).limit)
    return diagnosis.check(verdict, scores, random['mean'], recorded, longest)


def check_free(order: Order, folder: Path) -> None:
    """Raise UserError if the folder has a diagnosis of this name that was asked of something else."""
    path = folder / f'{order.title}.json'
    page = path.with_suffix('.html')
    try:
        asked = json.loads(path.read_text('utf-8'))['asked']
    except FileNotFoundError:
        if not page.exists():
            return
        path, asked = page, None
    except (OSError, ValueError, LookupError, TypeError):
        asked = None
    if asked != order.asked:
        raise UserError(f'output={folder}: has {path.name}, a diagnosis of other data or with other options; '
                        'move it, or name another folder')  # fmt: skip


def write(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write the page and, beside it, the JSON. Returns the path of the page."""
    page = folder / f'{diagnosis.title}.html'
    text = json.dumps(diagnosis_report.plain(diagnosis), indent=1, allow_nan=False)
    paths.write(folder / f'{diagnosis.title}.json', f'{text}\n'.encode())
    paths.write(page, layout.page(f'Diagnosis of {diagnosis.title}', diagnosis_report.body(diagnosis)).encode())
    return page
