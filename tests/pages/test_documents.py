"""The pages of README.md and docs/."""

import re

import pytest

from paper_lib.pages import documents, layout
from paper_lib.study import paths


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a README and two documents."""
    (tmp_path / 'docs').mkdir()
    readme = 'See [rules](docs/rules.md#tests), [2](notebooks/2_validation.ipynb), and ![f](figures/smoke/f.png).'
    rules = '## Tests\n\n[words](words.md), [rows](rows.csv), [a](#tests)'
    words = '<!-- runs: x -->\n[home](../README.md), [paper](HTTPS://a.b)'
    (tmp_path / 'README.md').write_text(f'# The library\n\n{readme}\n')
    (tmp_path / 'docs/rules.md').write_text(f'# Rules\n\n{rules}\n')
    (tmp_path / 'docs/words.md').write_text(f'# Words\n\n{words}\n')
    monkeypatch.setattr(paths, 'root', lambda: tmp_path)
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    return tmp_path


def test_every_document_has_a_page_whose_links_lead_to_pages(checkout):
    changed = documents.write('smoke')
    assert [path.name for path in changed] == ['docs_readme.html', 'docs_rules.html', 'docs_words.html']
    readme, rules, words = (path.read_text() for path in changed)
    assert 'href="docs_rules.html#tests"' in readme and 'href="2_validation.html"' in readme
    assert re.search('<a href="f.png"><img [^>]*src="f.png"', readme)
    assert 'id="tests"' in rules and 'href="docs_words.html"' in rules
    assert 'href="../../docs/rows.csv"' in rules and 'href="#tests"' in rules
    assert 'href="docs_readme.html"' in words and 'href="HTTPS://a.b"' in words and 'runs: x' not in words
    assert all('href="index.html"' in text for text in (readme, rules, words))


def test_only_what_has_changed_is_written(checkout):
    documents.write('smoke')
    assert documents.write('smoke') == []
    (checkout / 'docs/words.md').write_text('# Other words\n')
    assert [path.name for path in documents.write('smoke')] == ['docs_words.html']


def test_the_committed_pages_are_those_of_the_documents():
    """`paper-lib docs` writes them again."""
    folder = paths.root() / 'figures/laptop'
    expected = {f'{layout.document(path.stem)}.html': documents.render(path, 'laptop') for path in paths.documents()}
    assert {page.name: page.read_text('utf-8') for page in folder.glob('docs_*.html')} == expected


def test_links_of_the_committed_pages_lead_to_files_and_places():
    folder = paths.root() / 'figures/laptop'
    for page in sorted(folder.glob('*.html')):
        text = page.read_text('utf-8')
        for address in re.findall('(?:href|src)="(?!data:|https?:)([^"#]+)', text):
            assert (folder / address).exists(), f'{page.name}: {address}'
        for address, place in re.findall('href="([^":#]*)#([^"]+)"', text):
            target = (folder / (address or page.name)).read_text('utf-8')
            assert f'id="{place}"' in target, f'{page.name}: {address}#{place}'


def test_an_anchor_is_the_same_on_the_pages_and_where_markdown_is_shown():
    """There a heading's anchor has its letters, digits and underscores, and a hyphen for every space."""
    for path in [*paths.documents(), *(paths.root() / 'notebooks').glob('*.ipynb')]:
        for name, place in re.findall(r'(\w+)\.md#([\w-]+)', path.read_text('utf-8')):
            folder = paths.root() if name == 'README' else paths.root() / 'docs'
            headings = re.findall(r'^#+ (.*)$', (folder / f'{name}.md').read_text('utf-8'), re.MULTILINE)
            (heading,) = [heading for heading in headings if layout.anchor(heading) == place]
            assert re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') == place
