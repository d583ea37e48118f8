"""The launcher, with programs that end as they are told."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import local

ROOT = Path(__file__).parents[2]

# Ends with the code that stands in WORKDIR/PROCESS-START; its flags are added.
PROGRAM = """
import argparse, pathlib, signal, sys, time
flags = argparse.ArgumentParser()
flags.add_argument("--workdir", type=pathlib.Path)
flags.add_argument("--coordinator")
flags.add_argument("--processes")
flags.add_argument("--process-id", default="0")
given = flags.parse_args()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
starts = len(list(given.workdir.glob(f"ran-{given.process_id}-*"))) + 1
(given.workdir / f"ran-{given.process_id}-{starts}").touch()
print("at", given.coordinator, "of", given.processes, flush=True)
todo = given.workdir / f"{given.process_id}-{starts}"
word = todo.read_text() if todo.exists() else "0"
if word == "step":
  (given.workdir / "stage" / "checkpoints" / str(starts)).mkdir(parents=True)
  sys.exit(43)
if word == "wait":
  time.sleep(100)
sys.exit(int(word))
"""


def command(folder: Path, *options: str) -> list[str]:
  program = [sys.executable, "-c", PROGRAM, "--workdir", str(folder)]
  return [sys.executable, "-m", "launch.local", *options, "--", *program]


def launch(folder: Path, *options: str, **codes: str) -> tuple[int, str]:
  """Runs the launcher; `p0s1="43"`: process 0 of start 1 ends with 43."""
  for name, word in codes.items():
    (folder / name.replace("p", "").replace("s", "-")).write_text(word)
  done = subprocess.run(
    command(folder, *options),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=60,
  )
  return done.returncode, done.stderr


def test_lines_bear_the_process_and_its_flags(tmp_path):
  code, text = launch(tmp_path, "-n", "2")
  assert code == 0
  assert "[0] at 127.0.0.1:" in text
  assert "[1] at 127.0.0.1:" in text
  assert " of 2" in text


def test_one_process_is_told_nothing(tmp_path):
  code, text = launch(tmp_path)
  assert code == 0
  assert "[0] at None of None" in text


def test_restarts_until_done(tmp_path):
  """43, then a crash by signal 9, then the end; the other one is killed."""
  began = time.monotonic()
  code, text = launch(tmp_path, "-n", "2", p0s1="43", p1s1="wait", p1s2="137")
  assert code == 0
  assert text.count("local: start ") == 3
  assert "exit codes [43, 137]; process 0 was the first" in text
  assert time.monotonic() - began > local.GRACE


def test_waits_longer_without_progress(tmp_path):
  codes = {"p0s1": "43", "p0s2": "43", "p0s3": "step"}
  code, text = launch(tmp_path, **codes)
  assert code == 0
  waits = [line for line in text.splitlines() if "again in" in line]
  assert [line.split()[3] for line in waits] == ["2", "4", "1"]
  assert "3 steps are saved" in waits[-1]


@pytest.mark.parametrize("final", ["1", "64", "68"])
def test_final_codes_are_final(tmp_path, final):
  code, text = launch(tmp_path, "-n", "2", p0s1="43", p1s1=final)
  assert code == int(final)
  assert text.count("local: start ") == 1


def test_restarts_have_a_limit(tmp_path):
  code, text = launch(tmp_path, "--max-restarts", "1", p0s1="43", p0s2="43")
  assert code == 43
  assert text.count("local: start ") == 2


def test_signal_is_passed_on_and_nothing_starts_again(tmp_path):
  for rank in "01":
    (tmp_path / f"{rank}-1").write_text("wait")
  launcher = subprocess.Popen(
    command(tmp_path, "-n", "2"), cwd=ROOT, stderr=subprocess.PIPE, text=True
  )
  while len(list(tmp_path.glob("ran-*"))) < 2:
    time.sleep(0.05)
  launcher.send_signal(signal.SIGTERM)
  _, text = launcher.communicate(timeout=30)
  assert launcher.returncode == 42
  assert text.count("local: start ") == 1


def test_chaos_kills_as_often_as_it_may(tmp_path):
  codes = {f"p{rank}s{start}": "wait" for rank in "01" for start in "12"}
  chaos = ("--chaos-kill-every", "0.5", "--chaos-kills", "2", "--seed", "3")
  code, text = launch(tmp_path, "-n", "2", *chaos, **codes)
  assert code == 0
  assert text.count("chaos: kill -9 of process") == 2


def test_command_without_workdir_is_refused():
  done = subprocess.run(
    [sys.executable, "-m", "launch.local", "-n", "2", "--", "true"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert "no --workdir" in done.stderr


@pytest.mark.parametrize(
  ("codes", "code"),
  [
    ([0, 0], 0),
    ([43, 137], 43),
    ([137, 65], 65),
    ([42, 42], 42),
    ([134, 1], 1),
  ],
)
def test_verdict(codes, code):
  assert local.verdict(codes) == code


def test_who_may_start_again():
  again = [code for code in range(256) if local.restarts(code)]
  assert again == [42, 43, 128, 129, *range(131, 256)]
