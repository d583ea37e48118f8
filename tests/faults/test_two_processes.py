"""Small campaigns on the real command, two processes that train as one.

The full ones are commands: python -m tests.faults.campaign --help.
"""

import re
import sys

import pytest

from speak_jax.common import exit_codes
from tests.faults import campaign
from tests.faults import lab as labs


@pytest.mark.campaign
def test_kills_of_two_processes(lab):
  found = campaign.kills(lab, 2, wanted=2, seed=1)
  assert found["held"], found
  assert found["kills"] >= 2


def test_stop_death_and_freeze_of_one_of_two(lab):
  found = campaign.faults(lab, "faults")
  assert found["held"], found
  lost = [line for line in found["lines"] if "another process is gone" in line]
  assert lost, found


@pytest.mark.parametrize("who", [0, 1])
def test_a_full_disk_is_agreed_on(who, lab, tmp_path):
  """Whoever sees it: none enters orbax's save, all try again the next time."""
  folder, port = tmp_path / "checkpoints", labs.free_port()
  words = [sys.executable, "-m", "tests.faults.agreement", str(folder)]
  words.append(f"127.0.0.1:{port}")
  children = [
    labs.Process([*words, str(rank), str(who)], lab.environment())
    for rank in (0, 1)
  ]
  with labs.Processes(tmp_path, children) as them:
    assert [one.wait(90) for one in them.all] == [0, 0], them.output()
  for rank, one in enumerate(them.all):
    # The manifest of 3 is process 0's; the other hears of it a save later.
    latest = [1, 1, 1 if rank == 0 else 3, 4, 4, 4]
    said = [f"{step} {last}" for step, last in enumerate(latest, 1)]
    assert [x for x in one.lines if re.match(r"\d \d", x)] == said
    ends = [x for x in one.lines if x.startswith("ends ")]
    assert len(ends) == 1 and "ends 7 0.0 MB free on the disk" in ends[0]
  pattern = r"(.*)/(\d): could not be saved .*; (\d) stays, .* \((\d) of 3\)"
  told = [re.fullmatch(pattern, x) for x in them.output() if "saved (" in x]
  assert [found and found.groups() for found in told] == [
    (f"[0] {folder}", *words) for words in ("211", "312", "541", "642")
  ]
  assert sorted(x.name for x in folder.iterdir()) == ["1", "4"]


def test_who_waits_for_a_film_lives(lab, tmp_path):
  """Half of the weights is on the other process; it outlasts the watchdog."""
  words = [sys.executable, "-m", "tests.faults.films", str(tmp_path / "run")]
  words.append(f"127.0.0.1:{labs.free_port()}")
  children = [
    labs.Process([*words, str(rank)], lab.environment()) for rank in (0, 1)
  ]
  with labs.Processes(tmp_path, children) as them:
    codes = [one.wait(labs.PATIENCE) for one in them.all]
  assert codes == [0, 0], "\n".join(them.output())
  for rank, one in enumerate(them.all):
    assert ("wrote video_0000005.mp4" in one.lines) == (rank == 0)
    assert "done True 2" in one.lines


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
