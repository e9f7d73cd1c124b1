"""Commands that look at the machine, or measure on it."""

import dataclasses
import json
import math
import os
from typing import Annotated

import tyro

from paper_lib.cli.options import Folder, Output
from paper_lib.contract.errors import UserError
from paper_lib.contract.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Check what works on this machine, and say what to do about the rest."""

    runs: Folder = None

    def __call__(self) -> int:
        from paper_lib.data.store import Store
        from paper_lib.engine import doctor

        found = 0
        for check in doctor.checks(Store(self.runs).root):
            print(f'{"ok" if check.ok else "PROBLEM":8}{check.name}: {check.detail}', flush=True)
            if check.todo:
                print(f'{"":8}-> {check.todo}', flush=True)
            found += not check.ok
        return int(found > 0)


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure how fast this machine trains, and what each scale would cost on it. It takes long without a GPU."""

    scales: tuple[str, ...] = ('laptop', 'paper')  # scales whose programs and plans are measured
    lanes: tuple[int, ...] = (1, 2, 4, 8, 16)  # numbers of runs in one program; slow programs get fewer
    precisions: tuple[str, ...] = ('float32', 'bfloat16')  # of matrix products
    seconds: float = 5.0  # seconds of each measurement, without compilation
    json: Annotated[bool, tyro.conf.arg(help='print JSON instead of tables, everything at the end')] = False

    def __call__(self):
        from paper_lib.engine import ensure
        from paper_lib.engine.bench import tables
        from paper_lib.study import plan, scales

        if not 0 < self.seconds < math.inf:
            raise UserError(f'seconds={self.seconds}: must be above 0 and finite')
        for count in self.lanes:
            if not 1 <= count <= ensure.MOST:
                raise UserError(f'lanes={count}: must be from 1 to {ensure.MOST}')
        for name in ('scales', 'lanes', 'precisions'):
            if not getattr(self, name):
                raise UserError(f'{name}: none given; name at least one')
        for precision in self.precisions:
            ModelSpec(precision=precision)
        chosen = [scales.get(name) for name in self.scales]
        plans = {
            f'{scale.name} {chapter}': plan.specs(chapter, scale) for scale in chosen for chapter in scale.chapters
        }
        measured = tables.tables(plans, self.lanes, self.precisions, self.seconds)
        if self.json:
            return print(json.dumps({title: list(rows) for title, rows in measured}, indent=1))
        for title, rows in measured:
            print(f'\n{title}', flush=True)
            widths = None
            for row in rows:  # shown as they come: each takes a while
                lines = [[str(value) for value in row.values()]]
                if not widths:
                    widths = [max(tables.WIDTHS.get(name, 8), len(name), len(value) + 2)
                              for name, value in zip(row, lines[0])]  # fmt: skip
                    lines.insert(0, list(row))
                for line in lines:
                    print('  '.join(text.ljust(width) for text, width in zip(line, widths)).rstrip(), flush=True)


@dataclasses.dataclass(frozen=True)
class Reference:
    """Measure the random policy on every task and draw a picture of each, for paper_lib/study. Takes half an hour."""

    episodes: int = 250  # episodes of each task; MinAtar's are short, so it gets ten times as many
    output: Output = None
    """folder in place of paper_lib/study"""

    def __call__(self):
        from paper_lib.contract import files
        from paper_lib.run import reference
        from paper_lib.study.paper import PAPER_TASKS
        from paper_lib.study.reference import PICTURES, SCORES

        if self.episodes < 1:
            raise UserError(f'episodes={self.episodes}: must be at least 1')
        folder, lines = self.output or SCORES.parent, ['task,mean,std,episodes']
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise UserError(f'output={folder}: must be a folder that can be written')
        files.write_npz(folder / PICTURES.name, reference.pictures(PAPER_TASKS))
        for row in reference.random_scores(PAPER_TASKS, self.episodes):
            lines.append(f'{row["task"]},{row["mean"]:.3f},{row["std"]:.3f},{row["episodes"]}')
            print(lines[-1], flush=True)  # as they come: each takes a while
        files.write_bytes(folder / SCORES.name, '\n'.join([*lines, '']).encode())
