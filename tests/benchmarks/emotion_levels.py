"""Whether a face is read as an emotion the more, the more it is asked for.

  python -m tests.benchmarks.emotion_levels --photographs FOLDER [--model M]

Each picture of a folder says a sentence with its head still, for each emotion
and level; the network of expressions, which drove nothing, reads some frames.
Then a time line goes through the emotions as quickly as it may, each at its
highest level, and the largest step from one frame to the next is told beside
that of speech alone, and of the same emotions without anything between them.
"""

from pathlib import Path

import numpy as np
from absl import app, flags
from scipy.stats import spearmanr

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.tracker import Tracker
from speak_jax.common import packaged
from speak_jax.inference import emotion_label, expression
from speak_jax.inference.inputs import Rules, read_photograph, read_speech
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.talking_photograph import _sized
from speak_jax.photograph import composition
from speak_jax.photograph.head_motion import Motion

ASKED = ("happy", "surprised", "angry", "sad")
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SIDE, EVERY, FRAMES = 256, 10, 50  # px; frames that are read, of how many
STILL = Motion(np.eye(3), np.zeros(2), 1.0)
LINE = [
  (0.0, "neutral", 0.0),
  (0.2, "happy", 1.5),
  (0.4, "neutral", 0.0),
  (0.6, "surprised", 1.5),
  (0.8, "angry", 1.5),
  (1.0, "sad", 1.5),
]


def main(argv: list[str]) -> None:
  """Prints two tables."""
  del argv
  model = MotionModel.from_bundle(packaged.model(flags.FLAGS.model))
  tracker, eyes, judge = Tracker(), EyeReader(), expression.load()
  speech, _ = read_speech(packaged.SENTENCE, None)
  speech = speech[: FRAMES * 640]
  lids = [0.0] * FRAMES

  def points(strengths):
    return np.stack(list(model.stream(speech, lids, strengths)))

  asked = {
    (name, level): points(emotion_label.strengths(f"{name}:{level}"))
    for name in ASKED
    for level in LEVELS
  }
  times = np.arange(FRAMES) / model.settings.fps
  line = emotion_label.timeline(LINE)
  latest = np.searchsorted(line.times, times, "right") - 1
  moods = {
    "speech alone": np.zeros_like(line.values[latest]),
    "a time line": line.at(times),
    "the same at once": line.values[latest],
  }
  spoken = {name: points(levels) for name, levels in moods.items()}
  read, neutral, steps = [], [], []
  for path in sorted(Path(flags.FLAGS.photographs).iterdir()):
    shown = read_photograph(path, 25.0, tracker, Rules())
    frame, mesh = _sized(shown.frame, shown.mesh, SIDE, "crop")
    one = composition.portrait(frame, mesh, eyes(frame, mesh), model.shut)

    def made(offsets, one=one):
      moved = [one.expression(x, 0.0) for x in offsets]
      return np.stack([composition.compose(one, x, STILL) for x in moved])

    shares = np.zeros((len(ASKED), len(LEVELS)))
    for (name, level), offsets in asked.items():
      frames = made(offsets[::EVERY])
      meshes = np.repeat(mesh[None], len(frames), 0)
      found = expression.probabilities(judge, frames, meshes).mean(0)
      at = ASKED.index(name), LEVELS.index(level)
      shares[at] = found[expression.EXPRESSIONS.index(name)]
      if (name, level) == (ASKED[0], 0):
        neutral.append(found[expression.EXPRESSIONS.index("neutral")])
    read.append(shares)
    low, high = mesh[:, :2].min(0).astype(int), mesh[:, :2].max(0).astype(int)
    box = np.s_[:, max(low[1], 0) : high[1], max(low[0], 0) : high[0]]
    steps.append(
      [
        np.abs(np.diff(made(x)[box].astype(int), axis=0)).mean((1, 2, 3)).max()
        for x in spoken.values()
      ]
    )
    print(path.name, np.round(shares, 2).tolist(), flush=True)
  everyone, calm = np.stack(read), np.array(neutral) > 0.5
  _report("all photographs", everyone)
  _report("those that it calls neutral themselves", everyone[calm])
  print(
    "| largest step of | a point, eye distances | a face's pixels, of 255 |"
  )
  for (name, x), step in zip(spoken.items(), np.mean(steps, 0), strict=True):
    moved = np.linalg.norm(np.diff(x, axis=0), axis=-1).max()
    print(f"| {name} | {moved:.3f} | {step:.1f} |")


def _report(which: str, read: np.ndarray) -> None:
  print(f"{which}, {len(read)}: mean probability of what was asked for")
  head = " | ".join(f"{level:g}" for level in LEVELS)
  print(f"| asked for | {head} | rank correlation | steps down |")
  for k, name in enumerate(ASKED):
    mean = " | ".join(f"{x:.2f}" for x in read[:, k].mean(0))
    moved = [row for row in read[:, k] if np.ptp(row) > 0]
    ranks = [spearmanr(LEVELS, row).statistic for row in moved]
    falls = (np.diff(read[:, k]) < -0.02).mean()
    print(f"| {name} | {mean} | {np.median(ranks):.2f} | {falls:.2f} |")


if __name__ == "__main__":
  flags.DEFINE_string("photographs", None, "Folder of pictures.", required=True)
  flags.DEFINE_string("model", "photograph", "Bundle.")
  app.run(main)
