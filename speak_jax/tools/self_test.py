"""Checks the evaluator itself, before anyone trusts its figures.

  python -m speak_jax.tools.self_test

Rendered clips are measured against damaged copies of themselves, and every
figure is held against a stored expectation. Status 1 if one is missed.
"""

import json
import sys

import numpy as np
from absl import app, flags

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.synthetic import render
from speak_jax import spec
from speak_jax.common import command_line
from speak_jax.evaluation import self_test
from speak_jax.evaluation.readers.reading import judge_reader
from speak_jax.models import judge

SIZE, FRAMES = 128, 40
# Identities and emotions: expressions that the judge tells from others.
CLIPS = ((1, 5), (2, 7))
COMMAND = "python -m speak_jax.tools.self_test --write"
FLAGS = flags.FLAGS


def rendered() -> list[self_test.Clip]:
  """The clips of the expectations, the same on every machine."""
  return [_rendered(*clip) for clip in CLIPS]


def run() -> self_test.Outcome:
  """The whole self-test, well under a minute on one core."""
  return self_test.self_test(rendered(), judge_reader(judge.load()))


def lines(outcome: self_test.Outcome) -> list[str]:
  """One line a figure, and the verdict."""
  table = [
    f"{'ok  ' if row.passed else 'MISS'} {row.pair:18} {row.metric:21}"
    f" {row.value:10.4f}, expected {row.expected:.4f} +- {row.tolerance:g}"
    for row in outcome.rows
  ]
  missed = sum(not row.passed for row in outcome.rows)
  verdict = f"{missed} of {len(outcome.rows)} figures are not as expected"
  return [*table, "the evaluator works here" if outcome.passed else verdict]


def write() -> None:
  """Measures and stores the expectations, for whoever changes a metric."""
  measured = self_test.measure(rendered(), judge_reader(judge.load()))
  stored = {
    "what": "figures of evaluation/self_test.py: [value, tolerance]",
    "command": COMMAND,
    "figures": self_test.expectations(measured),
  }
  text = json.dumps(stored, indent=1) + "\n"
  self_test.EXPECTED.write_text(text, encoding="utf-8")


def _rendered(person: int, emotion: int) -> self_test.Clip:
  record = render.render_clip(
    render.Recipe(
      seed=4,
      split="test",
      identity=person,
      emotion=emotion,
      level=3,
      seconds=FRAMES / spec.FPS,
      size=SIZE,
      framing="tight",
    )
  )
  return self_test.Clip(
    frames=np.stack([decode_frame(jpeg) for jpeg in record.frames]),
    landmarks=record.landmarks,
    pose=record.pose,
    opening=record.factors[:, render.FACTORS.index("mouth_open")],
    audio=record.audio,
    emotion=emotion,
  )


def main(_: list[str]) -> None:
  """Reads the flag and tests, or writes the expectations."""
  if FLAGS.write:
    write()
    return
  outcome = run()
  print("\n".join(lines(outcome)))
  sys.exit(not outcome.passed)


if __name__ == "__main__":
  flags.DEFINE_bool("write", False, "store what is measured as expected")
  app.run(main, flags_parser=command_line.parser("self_test"))
