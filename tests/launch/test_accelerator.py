"""launch/accelerator.sh in the order of its parts, where python only notes."""

import pytest

from tests.launch.scripts import calls, noting, script

PARTS = ("devices", "smoke", "small64", "base256", "videos", "learning")


@pytest.fixture
def out(tmp_path):
  return tmp_path / "out"


def test_parts_come_in_order_and_are_done_once(tmp_path, out):
  run = noting("accelerator.sh", tmp_path)
  first = run("--out", str(out))
  assert first.returncode == 0 and first.stderr == ""
  told = (out / "parts.txt").read_text().splitlines()
  assert [x.split(":")[0] for x in told] == list(PARTS)
  assert all(": done, " in x for x in told)
  made = calls(tmp_path)
  assert made[0][0] == "-c" and "device.platform" in made[0][1]
  assert [x[1] for x in made[1:]] == [
    "speak_jax.train",
    *["speak_jax.bench"] * 3,
    "speak_jax.train",
  ]
  for words, name in zip(made[2:5], PARTS[2:5], strict=True):
    assert words[words.index("--json") + 1] == f"{out}/{name}.json"
  assert run("--out", str(out)).returncode == 0
  assert len(calls(tmp_path)) == len(PARTS)


def test_a_part_that_fails_costs_itself_alone(tmp_path, out):
  run = script(
    "accelerator.sh",
    tmp_path,
    tmp_path,
    "import sys\nif '--quick' in sys.argv: sys.exit('no memory')\n",
  )
  ran = run("--out", str(out))
  assert ran.returncode == 3
  told = (out / "parts.txt").read_text()
  assert f"base256: failed, exit code 1: {out}/base256.log, " in told
  assert "no memory" in (out / "base256.log").read_text()
  assert "learning: done, " in told


def test_without_a_device_nothing_is_tried(tmp_path, out):
  run = script("accelerator.sh", tmp_path, tmp_path, "import sys\nsys.exit(1)")
  assert run("--out", str(out)).returncode == 3
  told = (out / "parts.txt").read_text().splitlines()
  assert len(told) == 1 and told[0].startswith("devices: failed")


def test_what_does_not_end_is_ended_and_learning_may_be(tmp_path, out):
  """By a clock that has run out when `learning` has begun."""
  out.mkdir()
  for name in PARTS[1:-1]:
    (out / f"{name}.done").touch()
  run = script(
    "accelerator.sh",
    tmp_path,
    tmp_path,
    "import sys, time\nif '-m' in sys.argv: time.sleep(600)\n",
  )
  script_file = tmp_path / "launch" / "accelerator.sh"
  text = script_file.read_text()
  assert "60 * minutes" in text
  script_file.write_text(text.replace("60 * minutes", "2 * minutes"))
  ran = run("--out", str(out), "--minutes", "1")
  told = (out / "parts.txt").read_text().splitlines()
  assert told[-1].startswith("learning: time was up, ")
  assert ran.returncode == 0
  (out / "smoke.done").unlink()
  assert run("--out", str(out), "--minutes", "1").returncode == 3
  told = (out / "parts.txt").read_text().splitlines()
  assert told[-2].startswith("smoke: time was up, ")
  assert told[-1] == "learning: no time left"


def test_help_is_the_script_s_own_head_and_no_more(tmp_path):
  ran = noting("accelerator.sh", tmp_path)("--help")
  assert ran.returncode == 0
  lines = ran.stdout.splitlines()
  assert lines[0].startswith("What a machine's GPU or TPU does")
  assert lines[-1].endswith("docs/hardware.md says what to read in it.")


@pytest.mark.parametrize("words", [("--minutes", "soon"), ("--what",)])
def test_other_words_are_refused(tmp_path, words):
  ran = noting("accelerator.sh", tmp_path)(*words)
  assert ran.returncode == 2 and words[-1] in ran.stderr
