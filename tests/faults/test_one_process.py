"""Small campaigns on the real command, one process: nothing saved is lost.

The full ones are commands: python -m tests.faults.campaign --help.
"""

import pytest

from speak_jax import exit_codes
from tests.faults import campaign


def test_kills_of_one_process(lab):
  found = campaign.kills(lab, 1, wanted=3)
  assert found["held"], found
  assert found["kills"] >= 3


@pytest.mark.parametrize("what", ["vain", "damage", "diverge"])
def test_faults_of_one_process(what, lab):
  found = campaign.SHORT[what](lab)
  assert found["held"], found


@pytest.mark.parametrize(
  ("flag", "line"),
  [
    ("--config.datta=1", """the config has no 'datta' Did you mean "data\""""),
    ("--config=tests/faults/tinny.py", "No such file or directory: 'tests/fa"),
  ],
)
def test_a_wrong_config_is_a_line(flag, line, lab):
  code, output = lab.run([*lab.command(lab.folder / "wrong"), flag])
  assert code == exit_codes.BAD_CONFIG
  assert line in output
  assert len(output.splitlines()) == 1
