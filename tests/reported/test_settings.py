"""Settings that cannot be, of configs and of flags, are refused."""

import ast
import math
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import ConfigDict

from speak_jax.common import command_line, exit_codes
from speak_jax.configs import speak
from speak_jax.tools.ablate import plan as ablate
from speak_jax.training import config_validation

CONFIGS = {preset: speak.get_config(preset) for preset in speak.PRESETS}


KEYS = sorted(
  {p for c in CONFIGS.values() for p, _ in config_validation.leaves(c)}
)


EXAMPLE = {
  p: v for c in CONFIGS.values() for p, v in config_validation.leaves(c)
}


@pytest.mark.parametrize("preset", CONFIGS)
def test_every_preset_may_be(preset):
  config_validation.validate(CONFIGS[preset])


@pytest.mark.parametrize("name", ablate.ROWS)
def test_every_ablation_may_be(name):
  config = ConfigDict(CONFIGS["base256"].to_dict())
  config.update_from_flattened_dict(dict(ablate.ROWS[name].overrides))
  config_validation.validate(config)


def wrong_values(value):
  """Values of the key's kind that no key may have."""
  if isinstance(value, bool):
    return ["yes", 7, None]
  if isinstance(value, int):
    return [-5, 1.5, "many", True, None]
  if isinstance(value, float):
    return [-5.0, math.nan, math.inf, -math.inf, "much", True, None]
  if isinstance(value, str):
    return [3, "two\nlines", "\t ", None]
  return [-5, ("bogus",), (-5,), (math.nan, 1), None]


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_refuses_what_it_cannot_be(path):
  rule = config_validation.rule_of(path)
  assert rule is not None and rule.allows(EXAMPLE[path])
  for value in wrong_values(EXAMPLE[path]):
    config = CONFIGS["paper"].to_dict()
    node = config
    for name in path[:-1]:
      node = node[name]
    node[path[-1]] = value
    with pytest.raises(ValueError) as error:
      config_validation.validate(ConfigDict(config))
    assert str(error.value).startswith(f"config.{'.'.join(path)} = ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
  ("key", "values"),
  [
    ("irfd.optim.b1", [1.0, 1.5]),
    ("irfd.optim.lr", [0.0]),
    ("irfd.optim.ema", [1.0]),
    ("irfd.steps", [0]),
    ("irfd.gan_ramp", [(5, 1), (1,), (1, 2, 3)]),
    ("irfd.pairs", ["bogus", "self:0", "self:nan", "", "self:1,twins:x"]),
    ("irfd.losses", ["rubost"]),
    ("model.dtype", ["half"]),
    ("model.norm", ["layer"]),
    ("mesh.data", [0, -2]),
    ("data.workers", [-2]),
    ("data.fps", [0.0, 1e6]),
    ("data.mix", [{"a": -1.0}, {"a": math.nan}]),
    ("speak.lr_factors", [{"speak/audio": -1.0}]),
    ("stages", [(), ("speek",)]),
    ("seed", [-1, 2**32]),
    ("irfd.drop_maps", [1.01]),
    ("syncnet.temperature", [0.0]),
  ],
)
def test_ranges_end_where_they_should(key, values):
  for value in values:
    config = ConfigDict(CONFIGS["base256"].to_dict(), type_safe=False)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=rf"^config\.{key}"):
      config_validation.validate(config)


FLAGS = {
  "--out=": "--out is empty; is a variable",
  "--out=  ": "--out is empty; is a variable",
  "--names=": "--names is empty",
  "--names=a,,b": "--names is empty",
  "--rate=nan": "--rate=nan is not a finite number",
  "--rate=inf": "--rate=inf is not a finite number",
  "--kind=other": "value should be one of <a|b>",
  "--count=-1": "--count=-1: -1 is not a non-negative",
  "": "a word is empty",
}


@pytest.fixture
def flag_values(monkeypatch):
  """Flags as a command of ours has them."""
  values = flags.FlagValues()
  monkeypatch.setattr(flags, "FLAGS", values)
  at = {"flag_values": values, "module_name": "speak_jax.some"}
  flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
  for flag in (
    flags.Flag(flags.ArgumentParser(), None, "out", "", ""),
    flags.Flag(flags.FloatParser(0), None, "rate", 1.0, ""),
    flags.Flag(flags.IntegerParser(0), None, "count", 1, ""),
    flags.EnumFlag("kind", "a", "", ["a", "b"]),
    flags.Flag(
      flags.ListParser(), flags.CsvListSerializer(","), "names", ["x"], ""
    ),
  ):
    flags.DEFINE_flag(flag, **at)
  return values


@pytest.mark.parametrize("word", FLAGS)
def test_a_flag_without_a_word_or_number_is_refused(flag_values, capsys, word):
  with pytest.raises(SystemExit) as end:
    command_line.parser("some")(["some", word])
  (line,) = capsys.readouterr().err.splitlines()
  assert end.value.code == exit_codes.BAD_CONFIG
  assert line.startswith("some: ") and FLAGS[word] in line


def test_defaults_may_be_empty(flag_values):
  assert command_line.parser("some")(["some", "--rate=2", "word"]) == [
    "some",
    "word",
  ]


def test_every_number_of_a_command_has_a_least_value():
  """In the call that defines it: a name below, or the fourth word."""
  root = Path(__file__).parents[2]
  missing = []
  for path in [
    *root.glob("speak_jax/**/*.py"),
    *root.glob("data_pip*/**/*.py"),
  ]:
    for node in ast.walk(ast.parse(path.read_text())):
      if not isinstance(node, ast.Call):
        continue
      if ast.unparse(node.func).endswith(("DEFINE_integer", "DEFINE_float")):
        bounds = [x for x in node.keywords if x.arg == "lower_bound"]
        if not (bounds or len(node.args) > 3):
          missing.append(f"{path.name}: {ast.unparse(node.args[0])}")
  # These say themselves what they may be.
  assert sorted(missing) == ["generate.py: 'fps'", "generate.py: 'size'"]


@pytest.mark.parametrize(
  ("command", "said"),
  [
    (
      ["speak_jax.train", "--config=configs/speak.py:demo", "--workdir="],
      "train: --workdir is empty",
    ),
    (
      [
        "speak_jax.train",
        "--config=configs/speak.py:demo,syncnet.steps=-5",
        "--workdir=RUN",
      ],
      "train: config.syncnet.steps = -5 is not a whole number from 1 on",
    ),
    (
      ["data_pipelines.prepare", "--source=synthetic", "--seconds=nan"],
      "prepare: --seconds=nan is not a finite number",
    ),
    (
      ["speak_jax.evaluate", "--model=RUN", "--data=", "--out=OUT"],
      "evaluate: --data is empty",
    ),
  ],
)
def test_commands_say_so_before_any_work(tmp_path, command, said):
  words = [x.replace("=RUN", f"={tmp_path / 'run'}") for x in command[1:]]
  run = subprocess.run(
    [sys.executable, "-m", command[0], *words], capture_output=True, text=True
  )
  assert run.returncode == exit_codes.BAD_CONFIG
  assert run.stderr.startswith(said) and len(run.stderr.splitlines()) == 1
  assert not list(tmp_path.iterdir())
