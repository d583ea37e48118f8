"""Checks the evaluator itself, before anyone trusts its figures.

  python -m speak_jax.tools.self_test

Rendered clips are measured against damaged copies of themselves, and every
figure is held against a stored expectation. Status 1 if one is missed.
"""

import sys

from absl import app, flags

from speak_jax.common import command_line
from speak_jax.evaluation.readers.face_reader import judge_reader
from speak_jax.models import judge
from speak_jax.tools.self_test import check, expectations

FLAGS = flags.FLAGS


def main(_: list[str]) -> None:
  """Reads the flag and tests, or writes the expectations."""
  if FLAGS.write:  # for whoever changes a metric
    reader = judge_reader(judge.load())
    expectations.store(check.measure(check.rendered_clips(), reader))
    return
  sys.exit(check.report())


if __name__ == "__main__":
  flags.DEFINE_bool("write", False, "store what is measured as expected")
  app.run(main, flags_parser=command_line.parser("self_test"))
