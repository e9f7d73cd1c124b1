"""The pages of README.md and of docs/, so that whoever reads the figures finds them in the same form."""

import posixpath
import re
from pathlib import Path

from paper_lib.pages import layout
from paper_lib.study import catalogue, paths, scales

LINK = re.compile(r'(href|src)="(?![A-Za-z][\w+.-]*:|//|#|")([^"]*)"')  # to a file of the repository


def link(name: str, words: str) -> str:
    """A link to the page of a file, for the name of the file without its suffix. `words` are HTML."""
    return f'<a href="{layout.document(name)}.html">{words}</a>'


def title(path: Path) -> str:
    """The first heading of a file, without marks."""
    return path.read_text('utf-8').partition('\n')[0].lstrip('# ').replace('`', '')


def write(scale: str) -> list[Path]:
    """Write the page of every file into the folder of a scale; returns those that have changed."""
    folder = paths.drawings(scale)
    changed = []
    for path in paths.documents():
        page = folder / f'{layout.document(path.stem)}.html'
        content = render(path, scale).encode()
        if not page.exists() or page.read_bytes() != content:
            paths.write(page, content)
            changed.append(page)
    return changed


def render(path: Path, scale: str) -> str:
    """The page of a file in the folder of a scale."""
    from nbformat import NotebookNode
    from nbformat.v4 import new_markdown_cell

    text = re.sub(r'<!-- .*? -->\n', '', path.read_text('utf-8'))
    body = layout.export([new_markdown_cell(text)], NotebookNode())
    body = opened_large(targets(body, path.parent.relative_to(paths.root()).as_posix(), scale))
    return layout.page(title(path), body, layout.navigation(layout.document(path.stem), scale))


def targets(body: str, folder: str, scale: str) -> str:
    """HTML whose links are relative to a folder of the repository -> with links relative to the folder of a scale.

    That folder is figures/SCALE even if the page is written elsewhere, so that the page has the same bytes everywhere.
    Where a document or a notebook has a page, the link leads to the page.
    """
    here = f'figures/{scale}'
    pages = {
        path.relative_to(paths.root()).as_posix(): f'{layout.document(path.stem)}.html' for path in paths.documents()
    }
    pages |= {f'notebooks/{name}.ipynb': f'{name}.html' for name in catalogue.in_scale(scales.get(scale))}

    def target(found: re.Match) -> str:
        address, hash_mark, place = found[2].partition('#')
        file = posixpath.normpath(posixpath.join(folder, address))
        return f'{found[1]}="{pages.get(file) or posixpath.relpath(file, here)}{hash_mark}{place}"'

    return LINK.sub(target, body)


def opened_large(body: str) -> str:
    """HTML whose pictures lead to their files, if they are not in the page itself."""
    return re.sub(r'<img [^>]*src="([^":]*)"[^>]*>', r'<a href="\1">\g<0></a>', body)
