"""`speak bench` as it is called."""

import os
import re
import signal
import subprocess
import sys

import pytest

from speak_jax.bench import report
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import QUICK
from speak_jax.bench.subjects import SUBJECTS
from speak_jax.common.exit_codes import BAD_CONFIG
from tests.bench.test_report import MACHINE, MOMENT


def run(forked, *words):
  return forked.run("speak_jax.bench", *map(str, words))


@pytest.mark.parametrize(
  ("words", "code", "line"),
  [
    (["--subjects", "nothing"], BAD_CONFIG, "must be some of"),
    (["--subjects", "start,start"], BAD_CONFIG, "each once"),
    (["--runs", "0"], BAD_CONFIG, "--runs"),
    (["--takes", "1,x"], 1, "--takes=1,x are no numbers, as in 10,600"),
    (["--takes", "0"], 1, "--takes=0 are not from 1 to 14400 s"),
    (["--preset", "huge"], 1, "huge"),
    (["--against", "gone.json"], 1, "gone.json: No such file or directory"),
    (["--json", "b.txt"], 1, "b.txt: the output is json; name it so"),
    (["word"], BAD_CONFIG, "word: unexpected argument"),
  ],
)
def test_what_cannot_be_is_refused_in_a_line(forked, words, code, line):
  made = run(forked, *words)
  assert made.returncode == code, made.stderr
  assert line in made.stderr.splitlines()[-1]


def test_an_earlier_table_is_shown_again(forked, tmp_path):
  figures = {
    "photograph": [Figure("files to file, 256 px", "frames/s", (90.0, 110.0))],
    "marking": [Figure("false alarms", "of 2 clips", (0.0, 0.0))],
  }
  kept = report.Report(MACHINE, MOMENT, MOMENT, QUICK, figures)
  path = tmp_path / "b.json"
  path.write_text(report.to_json(kept))
  made = run(forked, "--show", path)
  assert made.returncode == 0, made.stderr
  assert report.table(kept) in made.stdout
  assert "DO NOT AGREE" in made.stdout
  short = run(forked, "--show", path, "--summary").stdout
  assert "files to file" in short and "false alarms" not in short


def test_a_call_from_start_to_end(face_models, tmp_path):
  path = tmp_path / "b.json"
  command = [sys.executable, "-m", "speak_jax", "bench", "--quick"]
  command += ["--subjects", "streaming", "--runs", "2", "--json", path]
  made = subprocess.run(command, capture_output=True, text=True)
  assert made.returncode == 0, made.stderr
  assert "run 2 of 2  streaming: look-ahead: 1.32 s" in made.stderr
  assert report.table(report.read(path)) in made.stdout
  assert re.search(r"second (agree|DO NOT AGREE) within 5 %", made.stdout)


def test_ctrl_c_is_a_line_and_leaves_nothing_behind(face_models, tmp_path):
  command = [sys.executable, "-m", "speak_jax", "bench", "--quick"]
  with subprocess.Popen(
    [*command, "--subjects", "photograph"],
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, "TMPDIR": str(tmp_path)},
    start_new_session=True,
  ) as process:
    assert process.stderr is not None
    first = process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read()
  assert first.startswith("run 1 of 4  photograph: files to file, 256 px")
  assert (process.returncode, rest) == (130, "bench: stopped by SIGINT\n")
  assert list(tmp_path.iterdir()) == []


def test_every_subject_is_explained(root):
  page = (root / "docs" / "benchmarks.md").read_text()
  named = re.findall(r"^\| `([a-z]+)` \| ", page, re.MULTILINE)
  assert named == list(SUBJECTS)
