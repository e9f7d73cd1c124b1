"""The pages as a reader uses them, in a headless Chromium. Slow; `make browser` runs them."""

import shutil

import browser
import pytest

from paper_lib.study import paths

pytestmark = pytest.mark.slow

CLICKABLE = {'point_mass_maze-proprio': 'starts_point_mass_maze', 'walker_walk-proprio': 'starts_walker_walk'}
WIDTHS = (1280, 390)


@pytest.fixture(scope='module')
def page():
    with browser.opened() as page:
        yield page


@pytest.fixture(scope='module')
def folder():
    return paths.drawings('laptop')


def test_without_chromium_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(AssertionError, match='none of chromium, .* is installed; on Debian or Ubuntu: apt-get install'):
        browser.program()


def pictures(page, kind):
    """What the canvases of a kind show, one per agent."""
    return page.run(f'[...document.querySelectorAll("figure[data-agent] .{kind}")].map(x => x.toDataURL())')


def status(page):
    return page.run('document.getElementById("status").textContent')


def opened(page, folder, task, **options):
    page.open(folder / f'{CLICKABLE[task]}.html', **options)
    page.wait('document.body.dataset.start !== undefined')


@pytest.mark.parametrize('width', WIDTHS)
@pytest.mark.parametrize('task', CLICKABLE)
def test_one_click_starts_three_agents(page, folder, task, width):
    opened(page, folder, task, width=width)
    assert page.run('[...document.querySelectorAll("figure[data-agent]")].map(x => x.dataset.agent)') == [
        'active', 'passive', 'tandem',
    ]  # fmt: skip
    before, told = pictures(page, 'map'), status(page)
    place = page.place('figure[data-agent="passive"] .map')
    page.click(place['x'] + 0.8 * place['width'], place['y'] + 0.4 * place['height'])
    after = pictures(page, 'map')
    assert status(page) != told
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert len(set(after)) == 3
    assert not page.errors


@pytest.mark.parametrize('task', CLICKABLE)
def test_the_slider_moves_through_the_episode(page, folder, task):
    opened(page, folder, task)
    before = pictures(page, 'map')
    page.run('document.getElementById("step").value = 120')
    page.run('document.getElementById("step").dispatchEvent(new Event("input"))')
    assert 'Step 120 of 500' in status(page)
    assert all(old != new for old, new in zip(before, pictures(page, 'map'), strict=True))


def test_dragging_moves_the_start_and_letting_go_leaves_it(page, folder):
    opened(page, folder, 'point_mass_maze-proprio')
    place = page.place('figure[data-agent="active"] .map')
    points = [(place['x'] + share * place['width'], place['y'] + 0.9 * place['height']) for share in (0.1, 0.5, 0.9)]
    page.drag(points)
    there = status(page)
    assert there.startswith('Start: x (m) = 0.2')
    page.send('Input.dispatchMouseEvent', type='mouseMoved', x=place['x'] + 5, y=place['y'] + 5)
    assert status(page) == there


@pytest.mark.parametrize('task', CLICKABLE)
def test_a_start_that_the_recording_never_saw_is_one_click_away(page, folder, task):
    opened(page, folder, task)
    place = page.place('#rare')
    page.click(place['x'] + 5, place['y'] + 5)
    assert 'the recording was never in this cell' in status(page)
    page.click(*[page.place('#usual')[key] + 5 for key in 'xy'])
    assert 'steps in this cell' in status(page)


@pytest.mark.parametrize('width', WIDTHS)
@pytest.mark.parametrize('dark', [False, True])
def test_every_page_fits_loads_nothing_from_elsewhere_and_leads_somewhere(page, folder, width, dark):
    for path in sorted(folder.glob('*.html')):
        page.requested.clear()
        page.open(path, width=width, dark=dark)
        assert page.run('document.documentElement.scrollWidth') <= width, path.name
        assert not [address for address in page.requested if not address.startswith(('file:', 'data:', 'blob:'))]
        links = page.run('[...document.querySelectorAll("a")].map(x => x.getAttribute("href"))')
        for link in {link.partition('#')[0] for link in links if not link.startswith('https:')}:
            assert (path.parent / link).exists(), f'{path.name}: {link}'
    assert not page.errors


SHOWN = 'Array.from(document.querySelectorAll("img")).filter(image => image.getClientRects().length)'


@pytest.mark.parametrize('width', WIDTHS)
def test_pages_show_their_first_figure_at_once(page, folder, width):
    """On the first screen of the front page, and on the first two of all others that have one."""
    for path in sorted(folder.glob('*.html')):
        page.open(path, width=width, height=844)
        if page.run(f'{SHOWN}.length'):
            screens = 1 if path.stem == 'index' else 2
            assert page.run(f'{SHOWN}[0].getBoundingClientRect().top') < 844 * screens, path.stem


def test_figures_open_large(page, folder):
    for path in sorted(folder.glob('[0-9]_*.html')):
        page.open(path, width=390, height=844)
        links = page.run(f'{SHOWN}.filter(image => image.src.endsWith(".png")).map(image => image.closest("a")?.href)')
        assert links and all(link and link.endswith('.png') for link in links), path.stem
