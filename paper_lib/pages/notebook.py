"""A page of an executed notebook: what it shows, without what only a kernel needs."""

import base64
import html
import re
from pathlib import Path
from typing import Any

from paper_lib.pages import documents, layout

UNNAMED = 'alt="No description has been provided for this image"'  # as nbconvert writes it
IMAGE = re.compile(r'src="data:image/png;base64,([^"]*)"')


def render(notebook: Any, name: str, folder: Path, scale: str) -> str:
    """The page of a notebook that was executed at a scale, to be written to `folder`. Equal outputs give equal bytes.

    Left out are progress and warnings (stderr), cells that print nothing and the parameters that papermill adds. What
    came out stands after the first paragraph. The other sections before the first figure are folded, but not the first
    one. A picture whose file lies in the folder is linked, others are in the page. An interactive part is shown as it
    is before a control is moved.
    """
    notebook.metadata.pop('widgets', None)
    parts = []
    has_figure = False
    for cells in _sections(notebook.cells):
        kept = [cell for cell in map(_cleaned, cells) if _is_shown(cell)]
        is_outcome = any('class="outcome"' in str(cell.get('outputs', '')) for cell in kept)
        body = documents.targets(layout.export(kept, notebook.metadata, not is_outcome), 'notebooks', scale)
        body = _linked(body, folder)
        has_figure = has_figure or '<img' in body
        if is_outcome and parts and '</p>' in parts[0]:
            boxed = re.sub('<h2.*?</h2>', '', body, count=1)
            parts[0] = parts[0].replace('</p>', f'</p><aside><b>What came out here</b>{boxed}</aside>', 1)
            continue
        is_open = has_figure or '<h1' in body
        parts.append(body if is_open else _folded(body))
    title = re.search('<h1[^>]*>(.*?)</h1>', parts[0]) if parts else None
    shown_title = html.unescape(re.sub('<.*?>', '', title[1])) if title else name
    return layout.page(shown_title, '\n'.join(parts), layout.navigation(name, scale))


def _sections(cells: list[Any]) -> list[list[Any]]:
    """The cells, in groups that begin with a heading of the second level; a cell with several is cut before each."""
    from nbformat.v4 import new_markdown_cell

    groups: list[list[Any]] = [[]]
    for cell in cells:
        if cell.cell_type != 'markdown':
            groups[-1].append(cell)
            continue
        for text in re.split(r'(?m)^(?=## )', cell.source):
            if text.startswith('## '):
                groups.append([])
            if text.strip():
                groups[-1].append(new_markdown_cell(text))
    return [group for group in groups if group]


def _cleaned(cell: Any) -> Any:
    """The cell without what is not for a page."""
    if cell.cell_type == 'code':
        cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
        for output in cell.outputs:
            output.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)
    return cell


def _is_shown(cell: Any) -> bool:
    if cell.cell_type != 'code':
        return True
    return bool(cell.outputs) or 'parameters' in cell.metadata.get('tags', [])


def _linked(body: str, folder: Path) -> str:
    """The HTML with links to those pictures that are files of the folder."""
    files = {}
    for path in sorted(folder.glob('*.png')):
        files.setdefault(path.read_bytes(), path.name)

    def link(found: re.Match) -> str:
        name = files.get(base64.b64decode(found[1]))
        return f'src="{name}" loading="lazy"' if name else found[0]

    heading = re.search('<h2[^>]*>(.*?)</h2>', body)
    words = html.unescape(re.sub('<.*?>', '', heading[1])) if heading else 'a plot'
    body = body.replace(UNNAMED, f'alt="{html.escape(words)}"')
    return documents.opened_large(IMAGE.sub(link, body))


def _folded(body: str) -> str:
    """A section that opens on a click on its heading, beside which stands its line on runs, if it has one."""
    title = re.search('<h2.*?</h2>', body)
    if not title:
        return body
    counts = re.search('<p class="counts">(.*?)</p>', body)
    line = html.escape(html.unescape(counts[1])) if counts else ''
    rest = body.replace(title[0], '', 1)
    return f'<details class="section"><summary>{title[0]}{line}</summary>{rest}</details>'
