"""Measures what TH-PAD's spaces hold, and how what its prior draws moves.

  python -m speak_jax.tools.spaces RUN --data DATA [--split test] [--clips 40]

Of held-out people: what a line reads off each code, as R2 on people that it has
not learned from, with the same on shuffled labels beside it. f_nl ought to tell
where the head is and not how far the mouth is open, f_l the other way round.
And of what the prior draws over what frames have: how much moves from frame to
frame (`speed`), and how much of that is trembling (`jitter`); how far two keys
are apart. A run with `thpad_prior.weights.velocity=0` says what that loss does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags
from jaxtyping import Float, Int

from data_pipelines.dataset import opening
from data_pipelines.dataset.reader import Records
from data_pipelines.sampling.sound import sound_window
from speak_jax import spec
from speak_jax.common import command_line, exit_codes
from speak_jax.common.batching import in_batches
from speak_jax.evaluation.report import tables
from speak_jax.methods import thpad
from speak_jax.metrics import codes as code_metrics
from speak_jax.metrics import sums
from speak_jax.models.thpad import SAMPLES

FOLDS = 5
CODES = {"nl": "f_nl", "l": "f_l", "a": "f_a"}
TARGETS = {"mouth": "mouth opening", "pose": "head pose"}


class Windows(NamedTuple):
  """Codes and truths of c windows of t frames, of one clip each."""

  codes: dict[str, Float[np.ndarray, "c t _"]]  # of CODES
  drawn: Float[np.ndarray, "2 c t n"]  # f_nl of two keys
  truths: dict[str, Float[np.ndarray, "c t _"]]  # of TARGETS
  person: Int[np.ndarray, "c"]


def encode(networks: thpad.Networks, records: Records, clips: int) -> Windows:
  """Encodes the first window of some clips, and draws it by two keys.

  Args:
    networks: Of a run.
    records: Held-out clips; what is shorter than a window is left out.
    clips: At most.

  Raises:
    ValueError: none is long enough.
  """
  t, found = networks.frames, []
  lengths = records.index.column("frames")
  chosen = [i for i in range(len(lengths)) if lengths[i] >= t][:clips]
  if not chosen:
    raise ValueError(f"{records.name}: no clip has {t} frames")
  people = sorted({records.index[i].identity for i in chosen})
  none = np.zeros((1, t, networks.width), np.float32)
  for i in chosen:
    frames = records.frames(i, range(t), networks.size)
    [motion] = in_batches(lambda x: [networks.see(x)], frames, size=thpad.CHUNK)
    sound = networks.hear(
      sound_window(
        records.clip(i).audio,
        -networks.context,
        t + 2 * networks.context,
        spec.SAMPLE_RATE_HZ / SAMPLES,
      )[None]
    )
    drawn = [
      networks.draw(
        sound,
        none,
        np.zeros((1, t), bool),
        jax.random.normal(jax.random.key(key), none.shape),
      )[0]
      for key in range(2)
    ]
    landmarks = records.landmarks(i, slice(0, t), networks.size)
    found.append(
      (
        motion,
        np.asarray(networks.speak(sound[0])),
        np.asarray(sound[0]),
        np.stack(drawn),
        spec.mouth_opening(landmarks)[:, None],
        records.clip(i).pose[:t],
        np.array(people.index(records.index[i].identity)),
      )
    )
  nl, lips, heard, drawn, mouth, pose, person = map(
    np.stack, zip(*found, strict=True)
  )
  return Windows(
    {"nl": nl, "l": lips, "a": heard},
    drawn.swapaxes(0, 1),
    {"mouth": mouth, "pose": pose},
    person,
  )


def measure(windows: Windows, seed: int = 0) -> dict[str, float]:
  """What is told of what, and how the prior's codes move.

  Returns:
    probe/TARGET_from_CODE, R2 on other people, with /control of shuffled
    clips; prior/speed and prior/jitter, of drawn codes over those of frames,
    1 = alike; prior/apart, how far two keys are apart over two clips' frames.
  """
  clips, frames = windows.person.shape[0], windows.drawn.shape[2]
  fold = np.repeat(code_metrics.folds(windows.person, FOLDS), frames)
  mixed = np.random.default_rng(seed).permutation(clips)
  values = {}
  for target, truth in windows.truths.items():
    truths = np.stack(
      [x.reshape(clips * frames, -1) for x in (truth, truth[mixed])]
    )
    for name, code in windows.codes.items():
      said = code_metrics.probe(code.reshape(clips * frames, -1), truths, fold)
      own, control = (
        sums.r2(sums.r2_row(*pair)[None])
        for pair in zip(said, truths, strict=True)
      )
      key = f"probe/{target}_from_{name}"
      values |= {key: own, f"{key}/control": control}
  true, drawn = windows.codes["nl"], windows.drawn
  scale = true.reshape(-1, true.shape[-1]).std(0) + 1e-8
  true, drawn = true / scale, drawn / scale

  def size(x: Any, order: int) -> float:
    return float((np.diff(x, order, axis=-2) ** 2).mean() ** 0.5)

  return values | {
    "prior/speed": size(drawn, 1) / size(true, 1),
    "prior/jitter": size(drawn, 2) / size(true, 2),
    "prior/apart": float(((drawn[0] - drawn[1]) ** 2).mean() / 2) ** 0.5,
  }


def markdown(values: dict[str, float]) -> str:
  """The figures of `measure` as two tables."""
  rows = [
    [
      symbol,
      *(
        "{:.2f} ({:.2f})".format(
          *(values[f"probe/{x}_from_{name}{y}"] for y in ("", "/control"))
        )
        for x in TARGETS
      ),
    ]
    for name, symbol in CODES.items()
  ]
  probes = tables.pipe_table(["code", *TARGETS.values()], rows)
  moves = {k: v for k, v in values.items() if k.startswith("prior/")}
  prior = tables.pipe_table(
    [x.removeprefix("prior/") for x in moves],
    [[f"{x:.2f}" for x in moves.values()]],
  )
  return f"{probes}\n\n{prior}"


FLAGS = flags.FLAGS


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) != 2:
    line = "name one run of TH-PAD"
    return command_line.fail("spaces", line, exit_codes.BAD_CONFIG)
  try:
    networks = thpad.restore(Path(argv[1]), 0).weights
    if networks is None:
      raise ValueError(f"{argv[1]}: its stages are not all trained yet")
    records = opening.open_records(FLAGS.data, FLAGS.split)
    windows = encode(networks, records, FLAGS.clips)
  except (OSError, ValueError) as error:
    return command_line.fail("spaces", str(error), exit_codes.BAD_DATA)
  print(markdown(measure(windows)))
  return exit_codes.DONE


if __name__ == "__main__":
  flags.DEFINE_string("data", None, "prepared data set", required=True)
  flags.DEFINE_enum("split", "test", ["train", "test"], "whose people")
  flags.DEFINE_integer("clips", 40, "clips at most", 1)
  app.run(main, flags_parser=command_line.parser("spaces"))
