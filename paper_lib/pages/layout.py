"""What every page has: its head, its looks, and the way to the other pages."""

import html
import re
from pathlib import Path
from typing import Any

from paper_lib.contract import tasks
from paper_lib.study import catalogue, paths, scales, starts

STYLE = Path(__file__).with_name('style.css')
FRONT = 'index'
DOCUMENT = 'docs_'  # before the name of a document, in the name of its page


def page(title: str, body: str, navigation: str = '') -> str:
    """A whole page around its body. `navigation` stands above and below it."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style='default').get_style_defs('.highlight')
    dark = HtmlFormatter(style='github-dark').get_style_defs('.highlight')
    code = f'{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none }}'
    style = f'{STYLE.read_text("utf-8")}{code if "highlight" in body else ""}'
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title>\n<style>{style}</style>'
    )
    content = f'{navigation}\n<main>\n{body}\n</main>\n{navigation}'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{content}\n</body>\n</html>\n'


def order(scale: str) -> list[str]:
    """The pages of a scale by the stems of their files, in the order of reading."""
    clicks = [clickable(task) for task in starts.there(scale)]
    notebooks = catalogue.in_scale(scales.get(scale))
    return [FRONT, *notebooks, *clicks, *(document(path.stem) for path in paths.documents())]


def document(name: str) -> str:
    """The page of README.md or of a file of docs/, for its name without suffix."""
    return f'{DOCUMENT}{name.lower()}'


def clickable(task: str) -> str:
    """The page of a task on which a click starts three agents."""
    return f'starts_{tasks.get(task).short}'


def called(stem: str) -> str:
    """What links call a page."""
    if stem == FRONT:
        return 'Contents'
    if stem.startswith('starts_'):
        return f'Click a start: {stem.removeprefix("starts_").replace("_", " ")}'
    if stem.startswith(DOCUMENT):
        return stem.removeprefix(DOCUMENT).replace('_', ' ')
    number, _, topic = stem.partition('_')
    return f'{number} · {topic.replace("_", " ")}'


def navigation(stem: str, scale: str) -> str:
    """Links to the page before, to the contents and to the page after, among the pages of a scale."""
    stems = order(scale)
    if stem not in stems:
        return f'<nav>{_link(FRONT)}</nav>'
    place = stems.index(stem)
    links = [_link(FRONT)] if place else []
    if place > 1:
        links.append(_link(stems[place - 1], 'Previous: '))
    if place + 1 < len(stems):
        links.append(_link(stems[place + 1], 'Next: '))
    for task in starts.there(scale):
        if clickable(task) not in stems[max(0, place - 1) : place + 2]:
            links.append(_link(clickable(task)))
    return f'<nav>{"".join(links)}</nav>'


def _link(stem: str, before: str = '') -> str:
    return f'<a href="{stem}.html">{before}{html.escape(called(stem))}</a>'


def heading(level: int, text: str) -> str:
    """A heading that links to itself. `text` is HTML."""
    return f'<h{level} id="{anchor(text)}"><a href="#{anchor(text)}">{text}</a></h{level}>'


def anchor(text: str) -> str:
    """The name of the place on a page where a heading (HTML) stands."""
    plain = html.unescape(re.sub('<[^>]*>', '', text)).lower()
    return re.sub(r'[^a-z0-9]+', '-', plain).strip('-')


def export(cells: list[Any], metadata: Any, has_code: bool = True) -> str:
    """HTML of some cells, with headings that link to themselves. Without `has_code`, it has no code."""
    from nbconvert import HTMLExporter
    from nbformat.v4 import new_notebook

    for number, cell in enumerate(cells):
        cell.id = f'cell-{number}'  # new cells, and papermill's own, have random ones
    exporter = HTMLExporter(
        template_name='basic',
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        exclude_input=not has_code,
    )
    body, _ = exporter.from_notebook_node(new_notebook(cells=cells, metadata=metadata))
    body = re.sub(r' id="cell-id=[^"]*"', '', body)
    body = re.sub('<td>(?=[^<]{0,20}</td>)', '<td class="short">', body)
    body = re.sub('<td( style="[^"]*")?>(?=[^<]{21,}</td>)', r'<td class="long"\1>', body)
    return re.sub('<h([123])>(.*?)</h[123]>', lambda found: heading(int(found[1]), found[2]), body)
