"""The tables of the bench. Every row is measured when it is asked for, since each takes a while."""

import dataclasses
from collections.abc import Iterable, Iterator

from paper_lib import machine
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import RunSpec
from paper_lib.engine import ensure
from paper_lib.engine.bench import costs
from paper_lib.engine.bench.measure import Case, between_updates, environment_rate, peak, updates
from paper_lib.engine.bench.processes import alone, together
from paper_lib.run import cost

SLOW = 2.0  # seconds per update from which more lanes are not tried
WIDTHS = {'program': 30, 'plan': 30, 'way': 30, 'task': 24}  # of columns whose first entry need not be the longest
ENVIRONMENTS = ('cup_catch', 'walker_walk', 'quadruped_run', 'point_mass_maze')  # that are timed without an agent

Row = dict[str, object]
Plans = dict[str, list[RunSpec]]  # name: runs


def tables(
    plans: Plans, lanes: list[int], precisions: list[str], seconds: float
) -> Iterator[tuple[str, Iterator[Row]]]:
    """(title, rows) of every table; each measurement takes so many seconds, compilation not counted."""
    cases = one_case_of_each_program(plans, seconds)
    first = next(iter(cases))
    cores = len(machine.cores())
    yield 'Updates, on one core or on the GPU', until_failure(update_rows(cases, sorted(set(lanes)), precisions))
    if not machine.trains_on_gpu():
        yield f'{first}: ways to share {cores} cores', until_failure(grouping_rows(cases[first]))
    yield 'Collection and evaluation, on one core', loop_rows(plans, seconds)
    title = 'Environments alone: agent steps/s of vectors and of pictures'
    yield title, until_failure(environment_rows(seconds))
    yield 'The study on this machine; replays are kept until `paper-lib prune`', study_rows(plans, seconds)


def one_case_of_each_program(plans: Plans, seconds: float) -> dict[str, Case]:
    """A case of every program that the plans train, by a name that says which it is."""
    cases, programs = {}, set()
    for plan, specs in plans.items():
        for program, spec in costs.one_of_each_program(specs).items():
            if program in programs:
                continue
            programs.add(program)
            pictures = f', {program.side} x {program.side}' if program.side else ''
            exploring = ', exploring' if program.explores else ''
            cases[f'{plan}{pictures}{exploring}'] = Case(spec, seconds)
    return cases


def until_failure(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows; a failure that no row can show becomes the last one, and the next tables are measured."""
    try:
        yield from rows
    except UserError as error:
        yield {'failed': str(error)}


def update_rows(cases: dict[str, Case], lanes: list[int], precisions: list[str]) -> Iterator[Row]:
    """Update rates. A program that takes over SLOW seconds an update, or does not fit, gets no more lanes."""
    for precision in precisions:
        peak_rate = alone(peak, _with_precision(next(iter(cases.values())), precision))
        for name, case in cases.items():
            for count in lanes:
                row = {'program': name, 'precision': precision, 'lanes': count}
                try:
                    measured = alone(updates, dataclasses.replace(_with_precision(case, precision), lanes=count))
                except UserError as error:
                    yield row | {'compile s': str(error)}
                    break
                rate = 1e3 * count / measured.milliseconds
                device = measured.device_bytes
                row['compile s'] = round(measured.compile_seconds, 1)
                row['ms'] = round(measured.milliseconds, 2)
                row['updates/s'] = round(rate, 2)
                row['GFLOP/update'] = round(measured.flops / 1e9, 3)
                row['of peak'] = f'{rate * measured.flops / peak_rate:.0%}'
                row['host MB'] = measured.host_bytes // 10**6
                row['device MB'] = device and device // 10**6
                yield row
                if measured.milliseconds > 1e3 * SLOW:
                    break


def _with_precision(case, precision):
    model = dataclasses.replace(case.spec.model, precision=precision)
    return dataclasses.replace(case, spec=dataclasses.replace(case.spec, model=model))


def grouping_rows(case: Case) -> Iterator[Row]:
    """The ways to share all cores between runs of one program."""
    cores = machine.cores()
    count = len(cores)
    ways = {  # name: (lanes of each process, cores of each process)
        'one run on one core': (1, [cores[:1]]),
        'one run on all cores': (1, [cores]),
        f'{count} lanes on one core': (count, [cores[:1]]),
        f'{count} lanes on all cores': (count, [cores]),
        f'{count} runs, a core each (default)': (1, [[core] for core in cores]),
    }
    first_rate = None
    for way, (lanes, shares) in ways.items():
        measured = together(updates, [dataclasses.replace(case, lanes=lanes)] * len(shares), shares)
        rate = sum(1e3 * lanes / each.milliseconds for each in measured)
        first_rate = first_rate or rate
        yield {'way': way, 'updates/s': round(rate, 1), 'ratio': round(rate / first_rate, 2)}


def loop_rows(plans: Plans, seconds: float) -> Iterator[Row]:
    """What a run does between its updates, by program and suite, each shown by one of its tasks."""
    for plan, specs in plans.items():
        for spec in costs.one_of_each_loop(specs).values():
            row = {'plan': plan, 'task': spec.task, 'explores': spec.w_expl > 0}
            try:
                measured = alone(between_updates, Case(spec, seconds))
            except UserError as error:
                yield row | {'steps/s collected': str(error)}
                continue
            row['steps/s collected'] = round(1 / measured.collect)
            row['s per evaluation'] = round(measured.evaluate, 2)
            row['episodes'] = spec.eval_episodes
            yield row


def environment_rows(seconds: float) -> Iterator[Row]:
    """How fast environments step, with every setting of `render`."""
    cores = machine.cores()
    places = {'one core': cores[:1], f'{len(cores)} cores': cores}
    for name in ENVIRONMENTS:
        row = {'task': name}
        row['vectors'] = round(alone(environment_rate, Case(RunSpec(f'{name}-proprio'), seconds)))
        for setting in ('fast', 'suite'):
            case = Case(RunSpec(f'{name}-vision', render=setting), seconds)
            for place, own in places.items():
                try:
                    (rate,) = together(environment_rate, [case], [own])
                    row[f'{setting}, {place}'] = round(rate)
                except UserError as error:
                    row[f'{setting}, {place}'] = str(error)
        yield row


def study_rows(plans: Plans, seconds: float) -> Iterator[Row]:
    """What each plan costs on this machine."""
    workers, _ = ensure.layout()
    for name, specs in plans.items():
        finished_bytes = sum(cost.disk(spec).finished for spec in specs)
        row = {'plan': name, 'runs': len(specs)}
        row['updates'] = sum(spec.schedule.updates for spec in specs)
        row['disk GB'] = round(finished_bytes / 1e9, 2)
        try:
            predicted = costs.predicted(specs, seconds)
        except UserError as error:
            yield row | {'hours': str(error)}
            continue
        row['hours'] = round(predicted.hours(workers), 1)
        row['of them collecting and evaluating'] = f'{predicted.share_between(workers):.0%}'
        yield row
