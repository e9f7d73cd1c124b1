import ast
import dataclasses
import json
from pathlib import Path

import pytest

from paper_lib.study import figures, parameters, section

NOTEBOOKS = sorted(Path(__file__).parents[2].glob('notebooks/*.ipynb'))
PATHLIKE = ('/', '.parquet', '.png', 'runs', 'figures')


def cells(path, kind='code'):
    return [cell for cell in json.loads(path.read_text())['cells'] if cell['cell_type'] == kind]


def code(path):
    return [ast.parse(''.join(cell['source'])) for cell in cells(path)]


def nodes(path):
    return [node for tree in code(path) for node in ast.walk(tree)]


def test_there_is_a_notebook():
    assert [path.stem for path in NOTEBOOKS] == ['0_base_agent', '1_toy_maze']


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
        for tree in code(path)[2:]:
            assert len(tree.body) == 1
            assert isinstance(tree.body[0].value, ast.Call)

    def test_parameters_cell_is_what_is_checked(self, path):
        tagged = [cell for cell in cells(path) if 'parameters' in cell['metadata'].get('tags', [])]
        assert tagged == cells(path)[:1]
        source = ''.join(tagged[0]['source'])
        assert all('  # ' in line for line in source.splitlines())
        found = {node.target.id: (node.annotation.id, ast.literal_eval(node.value)) for node in ast.parse(source).body}
        assert found == {f.name: (f.type.__name__, f.default) for f in dataclasses.fields(parameters.Parameters)}

    def test_draws_what_exists(self, path):
        calls = [node for node in nodes(path) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        name = path.stem.partition('_')[2]
        for kind, known in (('figure', figures.FIGURES[name]), ('table', section.TABLES[name])):
            named = [call.args[0].value for call in calls if call.func.attr == kind]
            assert sorted(named) == sorted(known)
