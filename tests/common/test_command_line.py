"""What is wrong with a command's config is one line, and exit code 64."""

import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from speak_jax.common import command_line, exit_codes

ROOT = Path(__file__).parents[2]
CONFIG = "--config=configs/speak.py:demo"
COMMANDS = {
  "train": ["--workdir=run"],
  "tools.ablate": ["--data=data", "--out=out"],
}
WRONG = {
  "key": ([CONFIG, "--config.datta=1"], """no 'datta' Did you mean "data\""""),
  "value": ([CONFIG, "--config.seed=one"], "invalid literal"),
  "preset": (["--config=configs/speak.py:small"], "'small' is not one of"),
  "file": (["--config=no.py"], "No such file or directory: 'no.py'"),
  # With a key set too, ml_collections says so within the parsing.
  "file, key": (["--config=no.py", "--config.seed=1"], "directory: 'no.py'"),
  "none": ([], "Flag --config must have a value other than None"),
}

# Modules whose command `speak` knows by another name.
SPOKEN = {
  "av_offsets": "offsets",
  "train_judge": "judge",
  "train_teeth": "teeth",
  "verify_checkpoints": "checkpoints",
}


def spoken(module: str) -> str:
  """The name of a module's command in its lines."""
  name = module.rpartition(".")[2]
  return SPOKEN.get(name, name)


@pytest.mark.parametrize(
  ("command", "wrong"),
  [*(("train", wrong) for wrong in WRONG), ("tools.ablate", "key")],
)
def test_a_wrong_config_is_a_line(command, wrong, forked):
  given, line = WRONG[wrong]
  done = forked.run(f"speak_jax.{command}", *COMMANDS[command], *given)
  assert done.returncode == exit_codes.BAD_CONFIG, done.stderr
  assert line in done.stderr
  assert done.stderr.startswith(f"{spoken(command)}: ")
  assert len(done.stderr.splitlines()) == 1
  assert not done.stdout


URL = "gs://bucket/here"
FOLDERS = {
  "speak_jax.train": [
    [CONFIG, f"--workdir={URL}"],
    [CONFIG, "--workdir=run", f"--config.data.path=a=/a,b={URL}"],
    [CONFIG, "--workdir=run", f"--config.finetune_from={URL}"],
    [f"{CONFIG},init_from={URL}", "--workdir=run"],
  ],
  "speak_jax.tools.ablate": [[CONFIG, "--data=data", f"--out={URL}"]],
  "speak_jax.tools.verify_checkpoints": [["verify", URL]],
  "speak_jax.evaluate": [[f"--model={URL}"], [f"--models=a=a,b={URL}"]],
  "speak_jax.export": [[f"--workdir={URL}", "--out=b"]],
  "speak_jax.generate": [
    [*(f"--{x}=a" for x in ("identity", "audio", "pose", "emotion")), "-o", URL]
  ],
  "speak_jax.tools.goodput": [[URL]],
  "speak_jax.tools.train_judge": [[f"--out={URL}"]],
  "speak_jax.tools.train_teeth": [["--portraits=a", f"--out={URL}"]],
  "speak_jax.tools.av_offsets": [[URL]],
  "speak_jax.tools.study": [[f"--results=a={URL}"]],
  "data_pipelines.inspect": [[URL]],
  "data_pipelines.prepare": [["--source=folder", f"--output={URL}"]],
  "data_pipelines.ingest.beam": [
    ["--source=folder", "--input=a", f"--output={URL}", "--", "--x=http://y"]
  ],
  "data_pipelines.synthetic.film": [[f"--out={URL}"]],
}


@pytest.mark.parametrize(
  ("command", "given"),
  [(name, given) for name, all in FOLDERS.items() for given in all],
)
def test_a_url_is_no_folder(command, given, forked):
  """Nothing is begun, and no folder `gs:` is made."""
  done = forked.run(command, *given)
  assert done.returncode == exit_codes.BAD_CONFIG, done.stderr
  (line,) = done.stderr.splitlines()
  assert line.startswith(f"{spoken(command)}: ")
  assert f"{URL}: URLs are no folders; mount the bucket or volume" in line
  assert not (ROOT / "gs:").exists()


def test_every_command_reads_its_words_alike():
  """Whatever takes absl's flags: one parser, and no verbosity of its own."""
  for path in [
    *ROOT.glob("speak_jax/**/*.py"),
    *ROOT.glob("data_pip*/**/*.py"),
  ]:
    text = path.read_text()
    assert text.count("app.run(") == text.count("=command_line.parser("), path
    if "app.run(" in text and path.stem != "command_line":
      assert "set_verbosity" not in text, path


def test_a_command_fails_in_one_line(capsys):
  assert command_line.fail("x", "a\x1b[1m:\n  no  room") == 1
  assert command_line.fail("x", "b", exit_codes.BAD_DATA) == 65
  said = capsys.readouterr()
  assert said.err == "x: a\\x1b[1m: no room\nx: b\n" and not said.out


VERBOSE = """
import logging as std
from absl import app, logging
from speak_jax.common import command_line
def main(argv):
  logging.info("an info")
  logging.warning("a warning")
  std.getLogger("jax").warning("of JAX")
  text = "%s of OCDBT checkpoints"
  record = std.LogRecord(
    "absl", 30, "/orbax/x.py", 1, text, ("Skipping merge",), None)
  if std.getLogger("absl").isEnabledFor(record.levelno):
    std.getLogger("absl").handle(record)
app.run(main, flags_parser=command_line.parser("x"))
"""


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ([], ["a warning", "of JAX"]),
    (["--verbosity=-2"], []),
    (["--verbosity=0"], ["an info", "a warning", "of JAX", "Skipping merge"]),
  ],
)
def test_what_is_normal_is_not_logged_but_for_who_asks(flag, words):
  done = subprocess.run(
    [sys.executable, "-c", VERBOSE, *flag],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  lines = done.stderr.splitlines()
  assert len(lines) == len(words), done.stderr
  assert all(x in y for x, y in zip(words, lines, strict=True))


def test_a_flag_may_be_negated_with_a_dash():
  mine = flags.FlagValues()
  flags.DEFINE_bool("blink", True, "", mine)
  flags.DEFINE_string("no-one", None, "", mine)
  words = [
    "me",
    "--no-blink",
    "--no-one",
    "you",
    "--no-nod",
    "--",
    "--no-blink",
  ]
  known = ["me", "--noblink", *words[2:]]
  assert command_line.negated(words, mine) == known
