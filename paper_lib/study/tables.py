"""One frame as CSV, Markdown and LaTeX."""

import dataclasses
import html
from pathlib import Path

import pandas as pd

from paper_lib.study import paths


def _text(value) -> str:
    if isinstance(value, float):
        return '' if pd.isna(value) else f'{value:.4g}' if abs(value) < 1000 else f'{value:.0f}'
    return str(value)


def _rows(frame):
    return [[_text(value) for value in row] for row in frame.itertuples(index=False)]


def markdown(frame: pd.DataFrame) -> str:
    lines = [list(frame.columns), ['---'] * frame.shape[1], *_rows(frame)]
    return ''.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |\n' for line in lines)


def latex(frame: pd.DataFrame) -> str:
    """A booktabs table."""
    special = str.maketrans({sign: f'\\{sign}' for sign in '%_&#$'})
    lines = [list(frame.columns), *_rows(frame)]
    head, *body = [' & '.join(cell.translate(special) for cell in line) + ' \\\\\n' for line in lines]
    columns = 'l' * frame.shape[1]
    rules = ('\\toprule\n', '\\midrule\n', '\\bottomrule\n')
    table = rules[0] + head + rules[1] + ''.join(body) + rules[2]
    return f'\\begin{{tabular}}{{{columns}}}\n{table}\\end{{tabular}}\n'


def shown(caption: str) -> str:
    """A caption as HTML; its second paragraph, where there is one, opens on a click."""
    text, _, values = html.escape(caption).partition('\n\n')
    return f'<p>{text}</p>' + (
        f'<details><summary>Values that differ from v1</summary>{values}</details>' if values else ''
    )


@dataclasses.dataclass(frozen=True)
class Table:
    """A frame with its caption as a notebook shows it: whole texts, four digits."""

    frame: pd.DataFrame
    caption: str

    def _repr_html_(self) -> str:
        head, *body = [self.frame.columns, *_rows(self.frame)]
        lines = [_line(head, 'th'), *(_line(row, 'td') for row in body)]
        return f'<table>{"".join(lines)}</table>{shown(self.caption)}'


def _line(cells, tag):
    return '<tr>' + ''.join(f'<{tag} style="text-align:left">{html.escape(cell)}</{tag}>' for cell in cells) + '</tr>'


def save(frame: pd.DataFrame, stem: Path, caption: str) -> None:
    """Write stem.csv, stem.md (with the caption below the table) and stem.tex."""
    texts = {'csv': frame.to_csv(index=False), 'md': f'{markdown(frame)}\n{caption}\n', 'tex': latex(frame)}
    for suffix, text in texts.items():
        paths.write(stem.with_name(f'{stem.name}.{suffix}'), text.encode())
