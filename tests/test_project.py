"""The project's own files agree with each other and hold nothing of the machine that they were written on."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import paper_lib
from paper_lib import cli
from paper_lib.explore import weights
from paper_lib.study import report

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
EXTRAS = PROJECT['optional-dependencies']
LOCK = (ROOT / 'requirements.lock').read_text()
CLUSTER_LOCK = (ROOT / 'workflow/requirements.lock').read_text()
HEAVY = ('jax', 'flax', 'mujoco', 'dm_control', 'metaworld', 'seaborn', 'matplotlib', 'pandas', 'pyarrow', 'scipy')


def pins():
    return dict(re.findall(r'^([\w.-]+)==([^\s;]+)', LOCK, re.MULTILINE))


def files():
    """Every text file of the project."""
    folders = [ROOT / name for name in ('.ci', 'paper_lib', 'notebooks', 'figures', 'tests', 'workflow')]
    paths = [path for path in ROOT.iterdir() if path.is_file()] + [p for f in folders for p in f.rglob('*')]
    skip = {'.png', '.pdf', '.npz', '.npy', '.parquet', '.pyc'}
    return [p for p in paths if p.is_file() and p.suffix not in skip and '.ipynb_checkpoints' not in p.parts]


def test_lock_has_one_version_and_hashes_for_every_package():
    lines = [line for line in LOCK.splitlines() if line and not line.lstrip().startswith('#')]
    heads = [line for line in lines if not line.startswith(' ')]
    assert len(heads) == len(pins()), 'a package is there twice or without a version'
    for head, following in zip(lines, [*lines[1:], ''], strict=True):
        if head in heads:
            assert following.startswith('    --hash=sha256:'), head


def test_locks_name_no_address():
    for text in (LOCK, CLUSTER_LOCK):
        assert '://' not in text
        assert not re.search(r'--(index|extra|find|trusted)', text)


def test_lock_of_the_cluster_satisfies_what_is_asked_for():
    """Every package has hashes; of some there is a version for each Python."""
    asked = (ROOT / 'workflow/requirements.in').read_text()
    pinned = dict(re.findall(r'^([\w.-]+)==([^\s;]+)', CLUSTER_LOCK, re.MULTILINE))
    for line in asked.splitlines():
        if text := line.partition('#')[0].strip():
            requirement = Requirement(text)
            assert pinned[requirement.name] in requirement.specifier, f'{text}: run `make lock`'
    heads = re.findall(r'^[\w.-]+==.*$', CLUSTER_LOCK, re.MULTILINE)
    assert len(heads) == len(re.findall(r'^[\w.-]+==.*\\\n    --hash=sha256:', CLUSTER_LOCK, re.MULTILINE))


@pytest.mark.parametrize('extra', ['base', 'build', *sorted(set(EXTRAS) - {'gpu', 'all'})])
def test_lock_satisfies_pyproject(extra):
    groups = tomllib.loads((ROOT / 'pyproject.toml').read_text())['dependency-groups']
    for text in ({'base': PROJECT['dependencies']} | groups | EXTRAS)[extra]:
        requirement = Requirement(text)
        version = pins().get(canonicalize_name(requirement.name))
        assert version, f'{text} is not in requirements.lock: run `make lock`'
        assert version in requirement.specifier, f'{text}, but {version} in requirements.lock: run `make lock`'


def test_build_backend_is_in_the_lock():
    build = tomllib.loads((ROOT / 'pyproject.toml').read_text())['build-system']['requires']
    assert all(Requirement(text).name in pins() for text in build)


def test_analysis_needs_no_simulator_and_no_jax():
    base = {Requirement(text).name for text in PROJECT['dependencies']}
    assert not base & {Requirement(text).name for text in EXTRAS['train']}


def test_gpu_extra_asks_for_the_jax_of_the_lock():
    jax = next(Requirement(text) for text in EXTRAS['gpu'] if text.startswith('jax'))
    assert jax.extras == {'cuda12'}
    assert pins()['jax'] in jax.specifier


def test_all_extra_is_everything_but_the_gpu():
    (everything,) = map(Requirement, EXTRAS['all'])
    assert everything.extras == set(EXTRAS) - {'gpu', 'all'}


def test_environment_yml_is_in_step():
    """Python as pyproject.toml has it, and every package from the lock."""
    environment = yaml.safe_load((ROOT / 'environment.yml').read_text())
    assert environment['name'] == PROJECT['name']
    python, pip, section = environment['dependencies']
    assert python == f'python{PROJECT["requires-python"]}'
    assert (pip, section) == ('pip', {'pip': ['-r requirements.lock']})


def test_citation_is_in_step():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    assert citation['message']
    assert PROJECT['name'] in citation['title']
    assert citation['type'] == 'software'
    assert citation['license'] == PROJECT['license']
    assert citation['version'] == paper_lib.__version__
    for work in (citation, *citation['references']):
        assert all(author.get('name') or author.get('family-names') for author in work['authors'])


def test_notebooks_are_stored_without_outputs():
    for path in (ROOT / 'notebooks').glob('*.ipynb'):
        for cell in json.loads(path.read_text())['cells']:
            assert not cell.get('outputs'), f'{path.name}: run `nbstripout notebooks/*.ipynb`'
            assert cell.get('execution_count') is None, f'{path.name}: run `nbstripout notebooks/*.ipynb`'


def test_no_file_names_a_path_of_a_machine():
    path = re.compile(r'/(?:home|root|work|Users)/[\w.]|/tmp/[i]pykernel')
    found = [(p.relative_to(ROOT), m.group()) for p in files() if (m := path.search(p.read_text(errors='ignore')))]
    assert not found


PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_readme_is_short_and_leads_to_every_page():
    text = (ROOT / 'README.md').read_text()
    assert len(text.splitlines()) <= 150
    assert 'figures/laptop/index.html' in text.splitlines()[2]
    assert not [page.name for page in PAGES[1:] if f'docs/{page.name}' not in text]


def test_readme_cites_the_paper_by_its_authors():
    (paper,) = yaml.safe_load((ROOT / 'CITATION.cff').read_text())['references']
    names = ' and '.join(f'{author["family-names"]}, {author["given-names"]}' for author in paper['authors'])
    assert f'author  = {{{names}}},' in (ROOT / 'README.md').read_text()


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_pages_name_targets_of_the_makefile_and_commands(page):
    targets = set(re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    text = page.read_text()
    assert set(re.findall(r'`make ([a-z]+)', text)) <= targets
    assert set(re.findall(r'`paper-lib ([a-z]+)', text)) <= set(cli.COMMANDS)


def test_weights_are_there_for_every_task_that_an_interactive_part_plays():
    kept = {path.stem for path in (ROOT / 'figures/weights/laptop').iterdir()}
    pairs = [weights.wanted('laptop', seed) for seed in (0, 1, 10, 40)]
    whole = [spec for pair in pairs for spec in pair if {x.run_id for x in pair if x.task == spec.task} <= kept]
    assert {spec.run_id for spec in whole} == kept
    assert len(whole) == 3 * len({spec.task for pair in pairs for spec in pair})  # of one pair each


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_pages_say_of_the_runs_what_the_data_give(page, monkeypatch):
    """`paper-lib docs` writes them again."""
    monkeypatch.delenv('PAPER_LIB_FIGURES', raising=False)
    text = page.read_text()
    assert report.filled(text) == text


def test_the_commit_of_every_archived_run_is_known(monkeypatch):
    """For a new hash of code: add a row to docs/commits.csv with the commit that the runs were trained at."""
    monkeypatch.delenv('PAPER_LIB_FIGURES', raising=False)
    assert 'not known' not in report.trained_by()


@pytest.mark.parametrize('module', ['', *(f'.{path.stem}' for path in (ROOT / 'paper_lib').glob('[a-z]*.py'))])
def test_import_is_light(module):
    """Importing the package, or anything of its ground floor or face, loads no heavy package."""
    code = f'import sys, paper_lib{module}; print(*sorted(set({HEAVY}) & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_glossary_has_words_that_are_used_each_once():
    """A word of the glossary occurs in the code or on a page; hyphens and line ends count as spaces."""

    def plain(text):
        return re.sub(r'[\W_]+', ' ', text.lower())

    pages = [page for page in PAGES if page.stem != 'glossary']
    paths = [*pages, *(ROOT / 'paper_lib').rglob('*.py')]
    used = ' '.join(plain(path.read_text()) for path in paths)
    words = re.findall(r'^- \*\*(.+?)\*\*: ', (ROOT / 'docs/glossary.md').read_text(), re.MULTILINE)
    assert len(words) > 50 and len(words) == len(set(words))
    assert not [word for word in words if f' {plain(word)}' not in used]


def test_glossary_names_files_that_exist():
    text = (ROOT / 'docs/glossary.md').read_text()
    assert not [name for name in re.findall(r'`(\w+/\w+\.py)`', text) if not (ROOT / 'paper_lib' / name).exists()]
