"""The pages of README.md and docs/."""

import re

import pytest

from paper_lib.pages import documents, layout
from paper_lib.study import paths


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a README and two documents."""
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'README.md').write_text('# The library\n\nSee [rules](docs/rules.md#tests), [2](notebooks/2_validation.ipynb), ![f](figures/s/f.png).\n')
    (tmp_path / 'docs/rules.md').write_text('# Rules\n\n## Tests\n\n[words](words.md), [rows](rows.csv), [a](#tests)\n')
    (tmp_path / 'docs/words.md').write_text('# Words\n\n<!-- runs: x -->\n[home](../README.md), [paper](https://a.b)\n')
    monkeypatch.setattr(paths, 'root', lambda: tmp_path)
    monkeypatch.setenv('PAPER_LIB_FIGURES', str(tmp_path / 'figures'))
    return tmp_path


def test_every_document_has_a_page_whose_links_lead_to_pages(checkout):
    changed = documents.write('s')
    assert [path.name for path in changed] == ['docs_readme.html', 'docs_rules.html', 'docs_words.html']
    readme, rules, words = (path.read_text() for path in changed)
    assert 'href="docs_rules.html#tests"' in readme and 'href="2_validation.html"' in readme
    assert 'src="f.png"' in readme
    assert 'id="tests"' in rules and 'href="docs_words.html"' in rules
    assert 'href="../../docs/rows.csv"' in rules and 'href="#tests"' in rules
    assert 'href="docs_readme.html"' in words and 'href="https://a.b"' in words and 'runs: x' not in words
    assert all('href="index.html"' in text for text in (readme, rules, words))


def test_only_what_has_changed_is_written(checkout):
    documents.write('s')
    assert documents.write('s') == []
    (checkout / 'docs/words.md').write_text('# Other words\n')
    assert [path.name for path in documents.write('s')] == ['docs_words.html']


def test_the_committed_pages_are_those_of_the_documents():
    """`paper-lib docs` writes them again."""
    folder = paths.root() / 'figures/laptop'
    for path in paths.documents():
        page = folder / f'{documents.stem(path.stem)}.html'
        assert page.read_text('utf-8') == documents.render(path, 'laptop'), page.name


def test_links_of_the_committed_pages_lead_to_files():
    folder = paths.root() / 'figures/laptop'
    for page in sorted(folder.glob('*.html')):
        text = page.read_text('utf-8')
        for address in re.findall('(?:href|src)="(?!data:|https?:)([^"#]+)', text):
            assert (folder / address).exists(), f'{page.name}: {address}'
        for anchor in re.findall('href="#([^"]+)"', text):
            assert f'id="{anchor}"' in text, f'{page.name}: #{anchor}'


def test_a_link_to_a_heading_of_another_document_finds_it():
    for path in paths.documents():
        for name, anchor in re.findall(r'\((?:docs/)?(\w+)\.md#([\w-]+)\)', path.read_text('utf-8')):
            target = paths.root() / 'docs' / f'{name}.md'
            headings = re.findall(r'^#+ (.*)$', target.read_text('utf-8'), re.MULTILINE)
            assert anchor in map(layout.anchor, headings), f'{path.name}: {name}.md#{anchor}'
