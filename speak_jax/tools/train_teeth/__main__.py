"""Trains the teeth that photographs show when they talk.

  python -m speak_jax.tools.train_teeth --portraits FOLDER \
    [--out speak_jax/assets/teeth.safetensors] [--steps 1200] [--start painted]

FOLDER holds pictures, one person each; those count who show their teeth to the
camera. Small ones do: what many say together is finer than any of them. It
takes some four minutes of two CPU cores.
"""

import json
from pathlib import Path

from absl import app, flags

from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Tracker
from speak_jax.common import command_line, outputs
from speak_jax.photograph import teeth
from speak_jax.tools.train_teeth import make

FLAGS = flags.FLAGS


def main(_: list[str]) -> int:
  """Reads the flags and trains; 0, or 1 and a line if it cannot."""
  portraits, out = Path(FLAGS.portraits), Path(FLAGS.out)
  try:
    if not portraits.is_dir():
      raise ValueError(f"--portraits: {portraits}: no such folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    outputs.check_file(out, [], (".safetensors",))
    report = make.make(
      portraits, out, FLAGS.steps, FLAGS.start, FLAGS.seed, Tracker()
    )
  except (ValueError, OSError, MissingModelError) as error:
    return command_line.fail("teeth", str(error))
  print(json.dumps(report, indent=2))
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("portraits", None, "folder of pictures of people")
  flags.DEFINE_string("out", str(teeth.WEIGHTS), "where the teeth go")
  flags.DEFINE_integer("steps", 1_200, "of learning", 1)
  flags.DEFINE_enum(
    "start", "painted", list(make.STARTS), "what it begins with"
  )
  flags.DEFINE_integer("seed", 0, "of the order of mouths", 0)
  flags.mark_flag_as_required("portraits")
  app.run(main, flags_parser=command_line.parser("teeth"))
