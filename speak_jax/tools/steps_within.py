"""Says how many steps of each stage train within some minutes on this machine.

  python -m speak_jax.tools.steps_within --minutes 30 \
    --config configs/speak.py:small64 --config.data.path=DATA

Prints flags of `speak_jax.train`, one a line: all stages' steps, and the steps
between which weights and rates rise, times one factor, with which they take
that long.
So methods of different speed are trained for the same time on the same machine.
Each stage is trained for a few steps first, in a folder that is removed.
Compilation, samples and saves come on top. Exit code 64: it cannot be said.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from speak_jax.common import command_line, exit_codes
from speak_jax.supervision import goodput
from speak_jax.training.run import train

FLAGS = flags.FLAGS

STEPS = "steps"  # of a stage; its noise_steps, say, are not steps of training
# Other keys of a stage that count its steps, by how their names end.
COUNTING = ("_ramp", "_lead")
WARMUP = "warmup"  # the same of an optimizer


def seconds_a_step(config: ConfigDict, steps: int) -> dict[str, float]:
  """Trains every stage for a few steps; {stage: seconds of one, with its data}.

  Args:
    config: A run's, with data.path.
    steps: Of each stage.

  Raises:
    ValueError: a config that fits nothing; one line.
    DataError: data that cannot be used; one line.
  """
  short = ConfigDict(config.to_dict())
  for name in short.stages:
    short[name].steps = steps
  short.train.sheet_every = short.train.video_every = 0
  with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "run"
    train(short, run)
    return goodput.seconds_a_step(run)


def scaled(
  config: ConfigDict, seconds: Mapping[str, float], minutes: float
) -> dict[str, int | tuple[int, ...]]:
  """{dotted key: value} with which all stages together take so many minutes.

  Args:
    config: The run's.
    seconds: Of one step, by stage.
    minutes: That all steps together may take.
  """
  whole = sum(config[name].steps * took for name, took in seconds.items())
  factor = 60 * minutes / whole
  values = {}
  for name in seconds:
    for key, value in config[name].items():
      if key == STEPS or key.endswith(COUNTING):
        values[f"{name}.{key}"] = _times(value, factor)
      elif isinstance(value, ConfigDict) and WARMUP in value:
        values[f"{name}.{key}.{WARMUP}"] = _times(value[WARMUP], factor)
    values[f"{name}.steps"] = max(values[f"{name}.steps"], 1)
  return values


def _times(value: int | Sequence[int], factor: float) -> int | tuple[int, ...]:
  if isinstance(value, int):
    return round(value * factor)
  return tuple(round(x * factor) for x in value)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  del argv
  config = FLAGS.config
  try:
    if not config.data.path:
      raise ValueError("give --config.data.path: faces are not drawn for this")
    seconds = seconds_a_step(config, FLAGS.tried)
  except ValueError as error:
    return command_line.fail("steps", str(error), exit_codes.BAD_CONFIG)
  for key, value in scaled(config, seconds, FLAGS.minutes).items():
    print(f"--config.{key}={value}".replace(" ", ""))
  return exit_codes.DONE


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "Experiment.")
  flags.DEFINE_float("minutes", 30.0, "Of all steps.", 0.01)
  flags.DEFINE_integer("tried", 30, "Steps that are timed.", 2)
  flags.mark_flag_as_required("config")
  app.run(main, flags_parser=command_line.parser("steps"))
