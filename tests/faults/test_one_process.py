"""Small campaigns on the real command, one process: nothing saved is lost.

The full ones are commands: python -m tests.faults.campaign --help.
"""

import pytest

from tests.faults import campaign


@pytest.mark.parametrize(
  "wanted", [1, pytest.param(4, marks=pytest.mark.campaign)]
)
def test_kills_of_one_process(lab, wanted):
  found = campaign.kills(lab, 1, wanted, seed=wanted)
  assert found["held"], found
  assert found["kills"] >= wanted


@pytest.mark.parametrize("what", ["vain", "damage", "diverge"])
def test_faults_of_one_process(what, lab):
  found = campaign.SHORT[what](lab)
  assert found["held"], found
