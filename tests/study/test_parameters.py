import pytest

from paper_lib.spec import RunError, UserError
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
            r"^sceale='smoke': no such parameter \(allowed: scale, train, seeds\); did you mean scale\?$",
        ),
        ({'SEEDS': 5}, 'SEEDS=5: no such parameter'),
        ({'scale': 3}, 'scale=3: must be str, got int'),
        ({'scale': 'latpop'}, "scale='latpop': must be one of smoke, laptop, paper"),
        ({'seeds': '5'}, "seeds='5': must be int, got str"),
        ({'seeds': True}, 'seeds=True: must be int, got bool'),
        ({'seeds': -1}, 'seeds=-1: must be at least 1, or 0'),
        ({'train': False}, 'train=False: must be str, got bool'),
        ({'train': 'maybe'}, "train='maybe': must be one of auto, yes, no"),
    ],
)
def test_a_wrong_parameter_is_named_in_one_line(names, line):
    with pytest.raises(UserError, match=line):
        parameters.check(GOOD | names)


def test_a_notebook_shows_that_line_in_place_of_a_traceback():
    assert RunError('runs: gone')._render_traceback_() == ['RunError: runs: gone']


@pytest.mark.parametrize(
    ('scale', 'train', 'expected'),
    [('laptop', 'auto', True), ('paper', 'auto', False), ('paper', 'yes', True), ('smoke', 'no', False)],
)
def test_paper_trains_only_when_told_to(scale, train, expected):
    assert parameters.Parameters(scale, train).trains is expected
