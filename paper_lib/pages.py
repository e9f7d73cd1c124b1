"""Pages of HTML that need no other file. They are light or dark as the reader's system is."""

import functools
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from paper_lib.contract.errors import UserError
from paper_lib.study import paths

Content = TypeVar('Content')

STYLE = """
:root { color-scheme: light dark }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif }
pre { overflow: auto; padding: .6rem; font-size: 14px; background: color-mix(in srgb, currentcolor 6%, transparent) }
table { display: block; overflow: auto; border: 0; border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { padding: .2rem .6rem; text-align: left; border: 0 solid color-mix(in srgb, currentcolor 25%, transparent); border-bottom-width: 1px }
figure { margin: 1rem 0 }
figcaption, details { font-size: 14px }
img { max-width: 100%; background: white }
"""  # noqa: E501


def page(title: str, body: str) -> str:
    """A whole page around the inside of its body."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style='default').get_style_defs('.highlight')
    dark = HtmlFormatter(style='github-dark').get_style_defs('.highlight')
    style = f'{STYLE}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none }}'
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>\n<style>{style}</style>'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def notebook(notebook: Any, title: str) -> str:
    """A page of an executed notebook, without progress and warnings (stderr). Equal outputs give equal bytes.

    An interactive part is shown as it is before a control is moved.
    """
    from nbconvert import HTMLExporter

    notebook.metadata.pop('widgets', None)
    for number, cell in enumerate(notebook.cells):
        _make_reproducible(cell, number)
    exporter = HTMLExporter(
        template_name='basic',
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    return page(title, f'<p><a href="index.html">All figures</a></p>\n{body}')


def _make_reproducible(cell: Any, number: int) -> None:
    """Remove from a cell what differs although the data are the same."""
    cell.id = f'cell-{number}'  # papermill's own cell has a random one
    if 'injected-parameters' in cell.metadata.get('tags', []):
        cell.source = re.sub(r'(?m)^train = .*\n?', '', cell.source)
    if cell.cell_type != 'code':
        return
    cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
    for output in cell.outputs:
        output.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)


def index(folder: Path, scale: str) -> str:
    """A page that leads to the notebooks, figures and tables that are in the folder."""
    from paper_lib.study import catalogue

    title = f'Figures and tables at scale {scale}'
    parts = [f'<h1>{title}</h1>']
    for notebook, claims in catalogue.CLAIMS.items():
        parts += _section(folder, notebook, bool(claims))
    return page(title, '\n'.join(parts))


def _section(folder: Path, notebook: str, has_claims: bool) -> list[str]:
    """The part of the index that is about one notebook: its heading, its figures, its tables, its claims."""
    from paper_lib.study import catalogue

    path = folder / f'{notebook}.html'
    text = _read_text(path) if path.exists() else ''
    headings = re.findall('<h1>(.*?)</h1>', text)
    title = headings[0] if headings else notebook
    parts = [f'<h2><a href="{notebook}.html">{title}</a></h2>' if text else f'<h2>{title}</h2>']

    entries = catalogue.shown(notebook)
    for entry in entries:
        if entry.is_figure:
            parts.append(_figure(folder, entry.name, _heading(text, entry.name)))
    for entry in entries:
        if not entry.is_figure:
            shown_as = entry.name.removeprefix('table_')
            parts.append(_table(folder, entry.name, _heading(text, shown_as)))
    if has_claims:
        topic = notebook.partition('_')[2]
        parts.append(_table(folder, f'table_claims_{topic}', '', is_open=True))
    return [part for part in parts if part]


def _read_text(path: Path) -> str:
    return _read(path, functools.partial(Path.read_text, encoding='utf-8'))


def _read(path: Path, parse: Callable[[Path], Content]) -> Content:
    """The content of a file. Raises UserError where it cannot be parsed."""
    try:
        return parse(path)
    except ValueError:
        raise UserError(f'{path}: damaged; remove it and draw again') from None


def _heading(text: str, name: str) -> str:
    """': ' and the heading of a page under which a cell shows this figure or table; '' if no cell does."""
    before, quoted_name, _ = text.partition(f"'{name}'")
    headings = re.findall('<h2>(.*?)</h2>', before)
    if not quoted_name or not headings:
        return ''
    return f': {headings[-1]}'


def _links(stem: str, *suffixes: str) -> str:
    return ' '.join(f'<a href="{stem}.{suffix}">{suffix.upper()}</a>' for suffix in suffixes)


def _has_files(folder: Path, stem: str, *suffixes: str) -> bool:
    """Whether a figure or table was written to the end."""
    return all((folder / f'{stem}.{suffix}').exists() for suffix in suffixes)


def _figure(folder: Path, stem: str, heading: str) -> str:
    """A figure of the folder with its caption; '' where it was not drawn."""
    if not _has_files(folder, stem, 'png', 'md'):
        return ''
    caption = _read_text(folder / f'{stem}.md').partition('\n')[0]
    image = f'<a href="{stem}.png"><img src="{stem}.png" alt="{stem}" loading="lazy"></a>'
    summary = f'<summary>{stem}{heading} {_links(stem, "png", "pdf")}</summary>'
    return f'<details>{summary}{image}<p>{html.escape(caption)}</p></details>'


def _table(folder: Path, stem: str, heading: str, is_open: bool = False) -> str:
    """A table of the folder with its caption; '' where it was not written."""
    if not _has_files(folder, stem, 'csv', 'md'):
        return ''
    import pandas as pd

    from paper_lib.study.tables import Table

    caption = _read_text(folder / f'{stem}.md').partition('\n\n')[2].strip()
    rows = _read(folder / f'{stem}.csv', functools.partial(pd.read_csv, keep_default_na=False, na_values=['']))
    table = Table(rows, caption)._repr_html_()
    summary = f'<summary>{stem}{heading} {_links(stem, "csv", "md", "tex")}</summary>'
    return f'<details{" open" if is_open else ""}>{summary}{table}</details>'


def write_index(scale: str) -> Path:
    """Write the index of a scale's folder; returns its path."""
    path = paths.drawings(scale) / 'index.html'
    paths.write(path, index(path.parent, scale).encode())
    return path
