"""Options that commands share, and the printing of tables."""

import dataclasses
import itertools
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro

from paper_lib.contract.errors import UserError
from paper_lib.contract.facts import Fact, facts
from paper_lib.contract.spec import ModelSpec, RunSpec

NARROWEST = 20  # letters of a column that is narrowed


def end(code: int, line: str) -> int:
    """Print a line to stderr and return the exit code."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # stderr may be full too
        discard(sys.stderr)
    return code


def discard(stream: TextIO) -> None:
    """Throw away the rest of an output, which would otherwise be written at the exit and change the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def convert(name: str, text: str, kind: type) -> Any:
    """The value of a parameter that is given as text.

    Raises UserError if the text is not of this type.
    """
    try:
        return kind(text)
    except ValueError:
        raise UserError(f'{name}={text!r}: must be {kind.__name__}') from None


def show(rows: list[dict], as_json: bool, as_markdown: bool = False) -> None:
    """Print rows of equal keys: as JSON, as a table of Markdown, or as an aligned table.

    In a terminal that is too narrow for the aligned table, the texts of its widest columns take several lines.
    """
    if as_json:
        return print(json.dumps(rows, indent=1))
    if not rows:
        return None
    lines = [list(rows[0])]
    for row in rows:
        lines.append(['' if value is None else str(value) for value in row.values()])
    if as_markdown:
        from paper_lib.study import tables

        return print(tables.from_lines(lines), end='')
    widths = [max(map(len, column)) for column in zip(*lines)]
    if sys.stdout.isatty():
        widths = _fitted(widths, shutil.get_terminal_size().columns)
    for line in lines:
        wrapped = [textwrap.wrap(text, width) or [''] for text, width in zip(line, widths)]
        for parts in itertools.zip_longest(*wrapped, fillvalue=''):
            cells = [text.ljust(width) for text, width in zip(parts, widths)]
            print('  '.join(cells).rstrip())


def _fitted(widths: list[int], columns: int) -> list[int]:
    """Widths of which the widest are narrowed until a line has this many columns. None is below NARROWEST."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > columns and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


# Fields of a spec as options. An option that is not given is None and leaves the value of the scale.


def _option(field: dataclasses.Field, fact: Fact) -> tuple[str, Any, None]:
    """Name, type and default of the option of a field."""
    name, kind = field.name, field.type
    given = tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=lambda texts: convert(name, texts[0], kind),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: [str(value)],
    )
    about = tyro.conf.arg(help=fact.help, help_behavior_hint='(default: as the scale)')
    return name, Annotated[object, given, about], None


def _values(cls: type) -> type:
    """A dataclass of the fields of a spec that have an option."""
    options = [_option(field, fact) for field, fact in facts(cls) if fact.option]
    return dataclasses.make_dataclass(f'{cls.__name__}Values', options, frozen=True)


def given(values: Any) -> dict[str, Any]:
    """The values of the options that are given, by name."""
    return {name: value for name, value in dataclasses.asdict(values).items() if value is not None}


RunValues = _values(RunSpec)
ModelValues = _values(ModelSpec)

Json = Annotated[bool, tyro.conf.arg(help='print JSON instead of a table')]
Markdown = Annotated[bool, tyro.conf.arg(help='print a table of Markdown instead of an aligned one')]
Scale = Annotated[str, tyro.conf.arg(help='see `paper-lib scales`')]


def _path(text: str) -> Path:
    if not text:
        raise UserError("path='': must be the name of a file or folder")
    return Path(os.path.expanduser(text))  # shells do not expand `--runs=~/x`


NAMED = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar='DIR',
    instance_from_str=lambda texts: _path(texts[0]),
    is_instance=lambda value: value is None or isinstance(value, Path),
    str_from_instance=lambda value: [str(value)],
)
Folder = Annotated[Path | None, NAMED, tyro.conf.arg(
    help='folder of the runs', help_behavior_hint='(default: PAPER_LIB_RUNS, else runs/)')]  # fmt: skip
Input = Annotated[Path | None, NAMED, tyro.conf.arg(metavar='FILE', help_behavior_hint='')]
Output = Annotated[Path | None, NAMED, tyro.conf.arg(help_behavior_hint='')]
