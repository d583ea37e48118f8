"""Small campaigns on the real command, two processes that train as one.

The full ones are commands: python -m tests.faults.campaign --help.
"""

import pytest

from speak_jax import exit_codes
from tests.faults import campaign
from tests.faults import lab as labs


def test_kills_of_two_processes(lab):
  found = campaign.kills(lab, 2, wanted=2, seed=1)
  assert found["held"], found
  assert found["kills"] >= 2


def test_stop_death_and_freeze_of_one_of_two(lab):
  found = campaign.faults(lab, "faults")
  assert found["held"], found
  lost = [line for line in found["lines"] if "another process is gone" in line]
  assert lost, found


def test_missing_process_is_named_in_a_line(lab):
  """One of two is started; nobody aborts with a stack."""
  port = labs.free_port()
  code, output = lab.run(
    lab.command(
      lab.folder / "alone",
      "--config.cluster.initialization_timeout=3",
      *("--coordinator", f"127.0.0.1:{port}"),
      *("--processes", "2", "--process-id", "1"),
    )
  )
  assert code == exit_codes.PEER_LOST
  assert output.splitlines() == [
    f"train: process 1 of 2, coordinator 127.0.0.1:{port}: not all processes"
    " came within 3 s; was every host started, with the same command, and can"
    " it reach that port (names, firewall, HTTP_PROXY)?"
  ]


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    (["--processes", "2"], "--coordinator, --process-id: needed"),
    (["--distributed"], "this is no SLURM step, JobSet or TPU pod"),
  ],
)
def test_half_told_is_refused(lab, flags, line):
  code, output = lab.run(lab.command(lab.folder / "alone", *flags))
  assert code == exit_codes.BAD_CONFIG
  assert line in output
  assert "Traceback" not in output
