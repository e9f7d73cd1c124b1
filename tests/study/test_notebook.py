import ast
import dataclasses
import json
from pathlib import Path

import pytest

from paper_lib import explore
from paper_lib.study import catalogue, claims, parameters

NOTEBOOKS = sorted(Path(__file__).parents[2].glob('notebooks/*.ipynb'))
PATHLIKE = ('/', '.parquet', '.png', 'runs', 'figures')


def cells(path, kind='code'):
    return [cell for cell in json.loads(path.read_text())['cells'] if cell['cell_type'] == kind]


def code(path):
    return [ast.parse(''.join(cell['source'])) for cell in cells(path)]


def nodes(path):
    return [node for tree in code(path) for node in ast.walk(tree)]


def test_there_is_a_notebook_for_every_book():
    assert [path.stem for path in NOTEBOOKS] == list(catalogue.NOTEBOOKS)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_stored_without_outputs_for_python3(self, path):
        assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in cells(path))
        assert json.loads(path.read_text())['metadata']['kernelspec']['name'] == 'python3'

    def test_defines_and_loops_nothing(self, path):
        banned = (
            ast.FunctionDef,
            ast.ClassDef,
            ast.Lambda,
            ast.For,
            ast.While,
            ast.If,
            ast.comprehension,
            ast.Try,
            ast.With,
        )
        assert [ast.unparse(node) for node in nodes(path) if isinstance(node, banned)] == []

    def test_has_no_paths(self, path):
        text = [node.value for node in nodes(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        assert [value for value in text if any(part in value for part in PATHLIKE)] == []

    def test_cells_after_the_imports_are_one_call(self, path):
        for cell in cells(path)[2:]:
            if 'own' not in cell['metadata'].get('tags', []):
                (statement,) = ast.parse(''.join(cell['source'])).body
                assert isinstance(statement.value, ast.Call)

    def test_has_one_cell_of_the_readers_own(self, path):
        """From the frames of a figure that the notebook shows, by a table of pandas, to a plot."""
        (own,) = [cell for cell in cells(path) if 'own' in cell['metadata'].get('tags', [])]
        tree = ast.parse(''.join(own['source']))
        called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = [node.func.attr for node in called]
        assert {'frames', 'pivot_table', 'plot'} <= set(names)
        assert called[names.index('frames')].args[0].value in calls(path, 'figure')

    def test_parameters_cell_is_what_is_checked(self, path):
        tagged = [cell for cell in cells(path) if 'parameters' in cell['metadata'].get('tags', [])]
        assert tagged == cells(path)[:1]
        source = ''.join(tagged[0]['source'])
        assert all('  # ' in line for line in source.splitlines())
        found = {node.target.id: (node.annotation.id, ast.literal_eval(node.value)) for node in ast.parse(source).body}
        assert found == {f.name: (f.type.__name__, f.default) for f in dataclasses.fields(parameters.Parameters)}

    def test_shows_all_that_is_its_own_and_nothing_else(self, path):
        shown = catalogue.shown(path.stem)
        tables = [entry.name.removeprefix('table_') for entry in shown if not entry.is_figure]
        assert calls(path, 'figure') == [entry.name for entry in shown if entry.is_figure]
        assert sorted(calls(path, 'table')) == sorted(tables)
        assert calls(path, 'claims') == [None] * bool(catalogue.NOTEBOOKS[path.stem].claims)
        assert calls(path, 'open') == [path.stem]

    def test_has_one_interactive_part(self, path):
        names = [node.attr for node in nodes(path) if isinstance(node, ast.Attribute) and node.attr in explore.__all__]
        assert len(names) == (path.stem != '0_base_agent')

    def test_asks_and_says_what_to_see(self, path):
        text = [''.join(cell['source']) for cell in cells(path, 'markdown')]
        assert '**The question.**' in text[0]
        known = everything(path)
        shown = [index for index, cell in enumerate(known) if cell['cell_type'] == 'code'][2:]
        assert all(known[i + 1]['cell_type'] == 'markdown' for i in shown if 'ensure(' not in known[i]['source'][0])


def everything(path):
    return json.loads(path.read_text())['cells']


def calls(path, name):
    """First arguments of the calls of a method, in order; None where there is none."""
    found = [node for node in nodes(path) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [call.args[0].value if call.args else None for call in found if call.func.attr == name]


def test_every_figure_and_table_of_the_paper_is_shown_once():
    shown = [name for path in NOTEBOOKS for name in calls(path, 'figure')]
    paper = [*(f'figure_{i}' for i in range(1, 9)), *(f'figure_S{i}' for i in range(1, 18))]
    assert sorted(name for name in shown if name in paper) == sorted(paper)
    assert sorted(name for path in NOTEBOOKS for name in calls(path, 'table') if name in ('S1', 'S2')) == ['S1', 'S2']
    assert len(shown) == len(set(shown))


def test_every_claim_is_tested():
    ids = {claim for notebook in catalogue.NOTEBOOKS.values() for claim in notebook.claims}
    assert ids == set(claims.TEXTS) == {f'C{i}' for i in range(1, 13)} | {f'P{i}' for i in range(1, 10)}
