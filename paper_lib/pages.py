"""Pages of HTML that need nothing from elsewhere and are light or dark as the reader's system is."""

import functools
import html
import re
from pathlib import Path

from paper_lib.contract.errors import UserError
from paper_lib.study import paths

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

    light, dark = (HtmlFormatter(style=name).get_style_defs('.highlight') for name in ('default', 'github-dark'))
    style = f'{STYLE}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none }}'
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>\n<style>{style}</style>'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def notebook(notebook, title: str) -> str:
    """An executed notebook without progress and warnings (stderr); equal outputs give equal bytes.

    Of what can be operated in a live notebook the page has the picture that it begins with.
    """
    from nbconvert import HTMLExporter

    notebook.metadata.pop('widgets', None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f'cell-{number}'  # papermill's own cell has a random one
        if 'injected-parameters' in cell.metadata.get('tags', []):  # drawn from the same data, with or without training
            cell.source = re.sub(r'(?m)^train = .*\n?', '', cell.source)
        if cell.cell_type == 'code':
            cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
            for output in cell.outputs:
                output.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)
    exporter = HTMLExporter(template_name='basic', exclude_input_prompt=True, exclude_output_prompt=True,
                            exclude_anchor_links=True)  # fmt: skip
    return page(title, '<p><a href="index.html">All figures</a></p>\n' + exporter.from_notebook_node(notebook)[0])


def index(folder: Path, scale: str) -> str:
    """A page that leads to the notebooks, figures and tables that are in the folder."""
    from paper_lib.study import catalogue

    parts = [f'<h1>Figures and tables at scale {scale}</h1>']
    for name, tested in catalogue.CLAIMS.items():
        written = folder / f'{name}.html'
        text = _read(written) if written.exists() else ''
        title = ''.join(re.findall('<h1>(.*?)</h1>', text)[:1]) or name
        claims = [f'table_claims_{name.partition("_")[2]}'] if tested else []
        shown = []
        entries = sorted(catalogue.shown(name), key=lambda entry: not entry.is_figure)  # figures first
        for entry in entries:
            if entry.is_figure:
                shown.append(_figure(folder, entry.name, _heading(text, entry.name)))
            else:
                shown.append(_table(folder, entry.name, _heading(text, entry.name.removeprefix('table_'))))
        shown += [_table(folder, stem, '') for stem in claims]
        parts += [f'<h2><a href="{name}.html">{title}</a></h2>' if text else f'<h2>{title}</h2>', *filter(None, shown)]
    return page(f'Figures and tables at scale {scale}', '\n'.join(parts))


def _read(path, parse=lambda path: path.read_text('utf-8')):
    try:
        return parse(path)
    except ValueError:
        raise UserError(f'{path}: damaged; remove it and draw again') from None


def _heading(text, name):
    """': ' and the heading of a page under which a cell shows this figure or table; '' if none does."""
    before, found, _ = text.partition(f"'{name}'")
    return ''.join(f': {heading}' for heading in re.findall('<h2>(.*?)</h2>', before)[-1:]) if found else ''


def _links(stem, *suffixes):
    return ' '.join(f'<a href="{stem}.{suffix}">{suffix.upper()}</a>' for suffix in suffixes)


def _figure(folder, stem, heading):
    if not all((folder / f'{stem}.{suffix}').exists() for suffix in ('png', 'md')):
        return ''  # not drawn, or not to the end
    text = html.escape(_read(folder / f'{stem}.md').partition('\n')[0])
    image = f'<a href="{stem}.png"><img src="{stem}.png" alt="{stem}" loading="lazy"></a>'
    return f'<details><summary>{stem}{heading} {_links(stem, "png", "pdf")}</summary>{image}<p>{text}</p></details>'


def _table(folder, stem, heading):
    if not all((folder / f'{stem}.{suffix}').exists() for suffix in ('csv', 'md')):
        return ''
    import pandas as pd

    from paper_lib.study.tables import Table

    caption = _read(folder / f'{stem}.md').partition('\n\n')[2].strip()
    rows = _read(folder / f'{stem}.csv', functools.partial(pd.read_csv, keep_default_na=False, na_values=['']))
    shown = Table(rows, caption)._repr_html_()
    state = ' open' if 'claims' in stem else ''
    return f'<details{state}><summary>{stem}{heading} {_links(stem, "csv", "md", "tex")}</summary>{shown}</details>'


def write_index(scale: str) -> Path:
    """Write the index of a scale's folder; returns its path."""
    path = paths.drawings(scale) / 'index.html'
    paths.write(path, index(path.parent, scale).encode())
    return path
