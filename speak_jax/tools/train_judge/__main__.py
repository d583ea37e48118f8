"""Trains the judge that reads pose, emotion, lips and identity off frames.

  python -m speak_jax.tools.train_judge \
    --out speak_jax/assets/judge.safetensors --minutes 8

It learns from rendered faces of people whom no data set holds, each frame
with a background and a light of its own, and never from generated frames.
Its score on held-out rendered frames is written beside the weights as JSON.
"""

import json
from pathlib import Path

from absl import app, flags

from speak_jax.common import command_line, outputs
from speak_jax.models import judge as models
from speak_jax.tools.train_judge import make

FLAGS = flags.FLAGS


def main(_: list[str]) -> int:
  """Reads the flags and trains; 0, or 1 and a line if it cannot."""
  out = Path(FLAGS.out)
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
    outputs.check_file(out, [], (".safetensors",))
  except (ValueError, OSError) as error:
    return command_line.fail("judge", str(error))
  report = make.make(out, FLAGS.minutes, FLAGS.seed)
  print(json.dumps(report, indent=2))
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("out", str(models.WEIGHTS), "where the weights go")
  flags.DEFINE_float("minutes", 8.0, "time for rendering and learning", 0.1)
  flags.DEFINE_integer("seed", 0, "of people, draws and initial weights", 0)
  app.run(main, flags_parser=command_line.parser("judge"))
