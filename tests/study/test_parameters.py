import pytest

from paper_lib.contract.errors import RunError, UserError
from paper_lib.study import parameters

GOOD = {'scale': 'smoke', 'train': 'no', 'seeds': 2}


def test_good_values_pass_beside_what_a_kernel_has():
    kernel = {
        'In': ['', 'scale = 1'],
        'Out': {},
        '_i1': 'x',
        '__name__': '__main__',
        'exit': object(),
        'pandas': pytest,
    }
    assert parameters.check(kernel | GOOD) == parameters.Parameters(**GOOD)


@pytest.mark.parametrize(
    ('names', 'line'),
    [
        (
            {'sceale': 'smoke'},
            r"^sceale='smoke': no such parameter \(allowed: scale, train, seeds\); did you mean 'scale'\?$",
        ),
        ({'SEEDS': 5}, 'SEEDS=5: no such parameter'),
        ({'scale': 3}, 'scale=3: must be str, got int'),
        ({'scale': 'latpop'}, "scale='latpop': must be one of smoke, laptop, paper"),
        ({'seeds': '5'}, "seeds='5': must be int, got str"),
        ({'seeds': True}, 'seeds=True: must be int, got bool'),
        ({'seeds': -1}, 'seeds=-1: must be from 1 to 1000, or 0'),
        ({'train': False}, 'train=False: must be str, got bool'),
        ({'train': 'maybe'}, "train='maybe': must be one of auto, yes, no, all"),
    ],
)
def test_a_wrong_parameter_is_named_in_one_line(names, line):
    with pytest.raises(UserError, match=line):
        parameters.check(GOOD | names)


SESSION = {'Out': {}, 'frame': 3, 'best': 'smoke', 'results': [], 'step': 0.5, '_': None}
OURS = ['', "scale: str = 'laptop'", '# Parameters\nseeds = 2\nfoo = 3']


def test_other_variables_of_a_session_are_its_own_business():
    names = GOOD | SESSION | {'In': ['', 'frame = 3', 'foo = 3']}
    assert parameters.check(names | {'foo': 3}) == parameters.Parameters(**GOOD)


@pytest.mark.parametrize('name', ['sceale', 'sacle', 'SEEDS', 'seed', 'trian'])
def test_a_near_miss_in_a_session_is_named(name):
    with pytest.raises(UserError, match=f'^{name}=1: no such parameter .*; did you mean'):
        parameters.check(GOOD | SESSION | {'In': ['', f'{name} = 1'], name: 1})


def test_every_name_that_papermill_sets_must_be_a_parameter():
    with pytest.raises(UserError, match=r'^foo=3: no such parameter \(allowed: scale, train, seeds\)$'):
        parameters.check(GOOD | SESSION | {'In': OURS, 'foo': 3})
    assert parameters.check(GOOD | SESSION | {'In': OURS}) == parameters.Parameters(**GOOD)


def test_a_notebook_shows_that_line_in_place_of_a_traceback():
    assert RunError('runs: gone')._render_traceback_() == ['RunError: runs: gone']


@pytest.mark.parametrize(
    ('scale', 'train', 'expected'),
    [
        ('laptop', 'auto', True),
        ('paper', 'auto', False),
        ('paper', 'yes', True),
        ('paper', 'all', True),
        ('smoke', 'no', False),
    ],
)
def test_paper_trains_only_when_told_to(scale, train, expected):
    assert parameters.Parameters(scale, train).trains is expected
