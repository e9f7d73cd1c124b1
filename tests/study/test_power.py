import dataclasses
from pathlib import Path

import numpy as np
import pytest

from paper_lib.study import claims, power, stats, tables

PROTOCOL = Path(power.__file__).parents[2] / 'docs/protocol.md'
LOSS = power.ASSUMED[0]  # every pair loses 0.6, spread 0.3


def test_pairs_that_a_claim_needs():
    assert power.needed(LOSS, 0.05) == 6  # fewer than six have no p below 0.05
    assert power.needed(LOSS, 0.05 / 18) == 11
    assert power.needed(dataclasses.replace(LOSS, share=0.0), 0.05) is None


def test_where_there_is_no_effect_the_power_is_half_of_the_level():
    """A two-sided test supports one side of it."""
    nothing = dataclasses.replace(LOSS, share=0.0)
    assert power.power(nothing, 10, 0.05, studies=4000) == pytest.approx(0.025, abs=0.008)


@pytest.mark.parametrize('limits', [(-0.1, 0.1), (-np.inf, 0.0)])
def test_simulated_studies_are_tested_as_real_ones_are(limits):
    """In each of them the claim is supported if and only if its interval lies in the range."""
    assumed = power.Assumed('', -0.05, 1.0, 0.1, *limits)
    pairs = assumed.differences(np.random.default_rng(0), 50, 10)
    found = [stats.mean_of_tasks({'a': own}) for own in pairs.T]
    supported = [claims.verdict(each.low, each.high, *limits) == 'supported' for each in found]
    assert power.power(assumed, 10, 0.05, studies=50) == pytest.approx(np.mean(supported), abs=0.021)


def test_a_share_of_the_pairs_shows_the_effect():
    found = power.Assumed('', -1.0, 0.25, 0.0).differences(np.random.default_rng(0), 1000, 10)
    assert set(found.ravel()) == {-1.0, 0.0} and found.mean() == pytest.approx(-0.25, abs=0.02)


def test_the_protocol_has_the_tables_of_the_code():
    text = PROTOCOL.read_text()
    assert tables.markdown(power.table()) in text
    assert tables.markdown(claims.primary_rows()) in text
    assert f'primary rows of all claims, {power.tests()} of them' in text
