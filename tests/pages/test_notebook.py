"""The page of a notebook: what it leaves out, what it folds, and what it links to."""

import base64
import re

import nbformat
import pytest

from paper_lib.pages.notebook import render
from paper_lib.study.outcomes import Outcome
from paper_lib.study.tables import Counted

VIEW = 'application/vnd.jupyter.widget-view+json'
PNG = base64.b64encode(b'picture').decode()
markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell


def shown(data, source='x = 1'):
    return code(source, outputs=[nbformat.v4.new_output('display_data', data=data)])


def page(folder, *cells):
    found = nbformat.v4.new_notebook(cells=list(cells))
    found.metadata['widgets'] = {'application/vnd.jupyter.widget-state+json': {'state': {'abc': {}}}}
    return render(found, '2_validation', folder, 'smoke')


def test_what_can_be_operated_is_its_picture(tmp_path):
    text = page(tmp_path, shown({VIEW: {'model_id': 'abc'}, 'text/html': '<i>first</i>', 'text/plain': 'VBox()'}))
    assert '<i>first</i>' in text
    assert 'abc' not in text
    assert 'VBox' not in text


def test_what_papermill_adds_and_what_prints_nothing_is_left_out(tmp_path):
    added = code('# Parameters\ntrain = "no"', metadata={'tags': ['injected-parameters']})
    chosen = code("train = 'auto'", metadata={'tags': ['parameters']})
    error = nbformat.v4.new_output('stream', name='stderr', text='progress')
    cells = [chosen, added, code('import silent'), code('y = 2', outputs=[error]), shown({'text/html': 'z'}, 'x = 3')]
    text = re.sub('<[^>]*>', '', page(tmp_path, *cells).partition('<main>')[2])
    assert "train = 'auto'" in text and 'x = 3' in text
    assert not [word for word in ('Parameters', 'silent', 'progress', 'y = 2') if word in text]


def test_it_is_called_as_its_heading_says_and_plots_of_ones_own_as_their_section_is(tmp_path):
    plot = f'<img alt="No description has been provided for this image" src="data:image/png;base64,{PNG}"/>'
    text = page(tmp_path, markdown('# 2 · A & "B"'), markdown('## Who "does"?'), shown({'text/html': plot}))
    assert '<title>2 · A &amp; &quot;B&quot;</title>' in text
    assert 'alt="Who &quot;does&quot;?"' in text


def test_it_loads_nothing_from_elsewhere_and_follows_the_readers_light(tmp_path):
    text = page(tmp_path, shown({'text/html': ''}))
    assert not re.search(r'(src|href)="(https?:)?//|@import|<script', text)
    assert 'color-scheme: light dark' in text
    assert '@media (prefers-color-scheme: dark)' in text
    assert '<meta name="viewport"' in text


def test_sections_before_the_first_figure_are_folded_with_their_count(tmp_path):
    runs = Counted({0: ['archived', 'planned'], 1: ['archived', '']})
    text = page(
        tmp_path, markdown('# Title\n\nWhy'), markdown('Words.\n\n## The runs\n\nMore.'),
        shown({'text/html': runs._repr_html_()}), markdown('## Who?'), shown({'text/html': f'<img src="data:{PNG}"/>'}),
        markdown('## Why?'),
    )  # fmt: skip
    assert re.search(r'<details class="section"><summary><h2 id="the-runs">.*?</h2>2 archived, 1 planned', text)
    assert text.count('<details class="section">') == 1
    assert '<h2 id="who"><a href="#who">Who?</a></h2>' in text


def test_what_came_out_stands_after_the_question(tmp_path):
    outcome = shown({'text/html': Outcome(['a & b', ''])._repr_html_()})
    title = markdown('# Title\n\nWhy?\n\nThe agents.')
    text = page(tmp_path, title, markdown('## The runs'), markdown('## What came out here'), outcome)
    places = [
        text.index(part) for part in ('Why?', '<div class="outcome"><p>a &amp; b</p></div>', 'The agents.', '<details')
    ]
    assert places == sorted(places)
    assert 'x = 1' not in text


def test_a_figure_is_linked_where_its_file_lies_beside_the_page_and_else_in_the_page(tmp_path):
    (tmp_path / 'figure_3.png').write_bytes(b'picture')
    other = base64.b64encode(b'other').decode()
    cells = [
        shown({'text/html': f'<img alt="a" style="max-width:100%" src="data:image/png;base64,{data}"/>'})
        for data in (PNG, other)
    ]
    text = page(tmp_path, *cells)
    assert re.search('<a href="figure_3.png"><img [^>]*src="figure_3.png"', text)
    assert PNG not in text and f'base64,{other}' in text


def test_links_are_those_of_the_page_and_not_of_the_notebook(tmp_path):
    assert 'href="docs_protocol.html#tests"' in page(tmp_path, markdown('[p](../docs/protocol.md#tests)'))
    assert 'href="../../docs/trials.csv"' in page(tmp_path, markdown('[t](../docs/trials.csv)'))


def test_pages_lead_to_their_neighbours(tmp_path):
    text = page(tmp_path, markdown('x'))
    links = re.findall('<nav>(.*?)</nav>', text)
    assert len(links) == 2 and links[0] == links[1]
    assert re.findall('href="(.*?)"', links[0]) == ['index.html', '1_toy_maze.html', '3_deep_dive.html']


@pytest.mark.parametrize(('columns', 'line'), [
    ({'a': ['done', ''], 'b': ['done', 'planned']}, '3'),
    ({'done': [3, 4], 'planned': [0, 2]}, '7'),
])  # fmt: skip
def test_no_row_of_a_counted_table_is_cut(columns, line):
    rows = Counted({name: values * 100 for name, values in columns.items()})
    text = rows._repr_html_()
    assert text.count('<tr') == 201
    assert '...' not in text
    assert rows.loc[:1].counts().startswith('2 done, 1' if line == '3' else '7 done, 2')
