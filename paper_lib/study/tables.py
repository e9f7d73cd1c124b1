"""One frame as CSV, Markdown and LaTeX.

pandas writes the LaTeX. Its Markdown would need one more package (tabulate) for three lines of code.
"""

import collections
import dataclasses
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from paper_lib.contract import agents
from paper_lib.study import paths


def _text(value: object) -> str:
    """A cell: numbers with four digits, nothing for a missing one."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ''
    if not isinstance(value, float):
        return str(value)
    return f'{value:.4g}' if abs(value) < 1000 else f'{value:.0f}'


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every cell in words."""
    columns = {name: [_text(value) for value in column.tolist()] for name, column in frame.items()}
    return pd.DataFrame(columns)


def markdown(frame: pd.DataFrame) -> str:
    """A table of GitHub's Markdown."""
    return from_lines([list(frame.columns), *texts(frame).to_numpy().tolist()])


def from_lines(lines: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown from its cells, the first line of which is the head."""
    head, *body = lines
    return ''.join(_markdown_line(cells) for cells in (head, ['---'] * len(head), *body))


def _markdown_line(cells: Iterable[str]) -> str:
    escaped = [cell.replace('|', '\\|') for cell in cells]
    return f'| {" | ".join(escaped)} |\n'


def latex(frame: pd.DataFrame) -> str:
    """A booktabs table."""
    return texts(frame).to_latex(index=False, escape=True, column_format='l' * frame.shape[1])


def shown(caption: str) -> str:
    """A caption as HTML, with its title bold and its commands as code.

    Its second paragraph, if there is one, opens on a click.
    """
    marked = re.sub(r'\*\*(.+?)\*\*', r'<b>\1</b>', html.escape(caption))
    marked = re.sub('`(.+?)`', r'<code>\1</code>', marked)
    first, _, second = marked.partition('\n\n')
    text = f'<p>{first}</p>'
    if second:
        text += f'<details><summary>How the runs are made, and what differs from v1</summary>{second}</details>'
    return text


@dataclasses.dataclass(frozen=True)
class Table:
    """A frame with its caption as a notebook shows it: whole texts, four digits."""

    frame: pd.DataFrame
    caption: str

    def _repr_html_(self) -> str:
        head = _html_line(self.frame.columns, 'th')
        body = [_html_line(row, 'td') for row in texts(self.frame).to_numpy()]
        return f'<table>{head}{"".join(body)}</table>{shown(self.caption)}'


def _html_line(cells: Iterable[str], tag: str) -> str:
    marked = [f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells]
    return f'<tr>{"".join(marked)}</tr>'


class Counted(pd.DataFrame):
    """A frame of words, or of numbers of them. A notebook shows a line that counts the words.

    The whole frame opens on a click. There rows call agents as figures do and, where it differs, as code does.
    """

    @property
    def _constructor(self) -> type:
        return Counted

    def counts(self) -> str:
        """How often every word occurs, as '30 archived, 12 planned'."""
        if all(pd.api.types.is_numeric_dtype(kind) for kind in self.dtypes):
            totals = dict(self.sum())
        else:
            totals = collections.Counter(word for word in self.to_numpy().ravel() if word)
        return ', '.join(f'{total} {word}' for word, total in totals.items())

    def _repr_html_(self) -> str:
        called = {}
        for name, row in agents.AGENTS.items():
            called[name] = row.label if row.label.lower() == name else f'{row.label} ({name})'
        whole = self.rename(index=called).to_html(notebook=True)
        return f'<p class="counts">{self.counts()}</p><details><summary>all of them</summary>{whole}</details>'


def spoken(caption: str) -> str:
    """The first paragraph of a caption without marks, for those who cannot see what is above it."""
    return caption.partition('\n')[0].replace('**', '').replace('`', '')


def save(frame: pd.DataFrame, stem: Path, caption: str) -> None:
    """Write stem.csv, stem.md (with the caption below the table) and stem.tex."""
    contents = {
        'csv': frame.to_csv(index=False),
        'md': f'{markdown(frame)}\n{caption}\n',
        'tex': latex(frame),
    }
    for suffix, content in contents.items():
        paths.write(stem.with_name(f'{stem.name}.{suffix}'), content.encode())
