"""When an offline run adds data of its own: what its schedule asks, and what counts as an answer."""

import dataclasses
import math

import pytest
import smoke

from paper_lib.run import loop

FIXED = dataclasses.replace(smoke.PASSIVE, interact_every=2000, interact_steps=400, measures=1)


def adds(name, value, **limits):
    """Whether a run that asks this measure adds data where it has this value, and where others have none."""
    row = {'ood_ratio': None, 'density_ess': None, name: value}
    return loop.wants_data(dataclasses.replace(FIXED, interact_by=name, **limits), loop.Evaluated(2000, [row], []))


@pytest.mark.parametrize('name', ['ood_ratio', 'density_ess'])
@pytest.mark.parametrize(('value', 'is_above', 'is_below'), [
    (0.3, True, False), (0.2, False, False), (0.1, False, True),
    (None, False, False), (math.nan, False, False), (math.inf, False, False), (-math.inf, False, False),
])  # fmt: skip
def test_data_are_added_beyond_the_limit_of_the_measure_that_the_run_names(name, value, is_above, is_below):
    """A measure without a finite value says nothing."""
    assert adds(name, value, interact_above=0.2) == is_above
    assert adds(name, value, interact_below=0.2) == is_below


def test_without_a_limit_nothing_is_asked():
    assert loop.wants_data(FIXED, None)
