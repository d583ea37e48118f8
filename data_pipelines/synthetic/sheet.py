"""Draws the documents' picture of the synthetic faces.

python -m data_pipelines.synthetic.sheet --out docs/faces.png
"""

from pathlib import Path

import cv2
import numpy as np
from absl import app, flags
from jaxtyping import UInt8

from data_pipelines.synthetic import (
  drawing,
  factors,
  frame_factors,
  head,
  motion,
)
from speak_jax import spec
from speak_jax.common import command_line, outputs

_OUT = flags.DEFINE_string("out", "docs/faces.png", "Where the PNG goes.")
_SIZE = flags.DEFINE_integer("size", 124, "Pixels of one face.", 16)
_SEED = flags.DEFINE_integer("seed", 1, "Chooses the people.", 0)

COLUMNS = 8
_MARGIN = 22  # pixels above a row, for its words
_POSES = (
  (-35, 0, 0), (-18, 0, 0), (18, 0, 0), (35, 0, 0), (0, -18, 0), (0, 18, 0),
  (0, 0, 15), (25, 10, -12),
)  # fmt: skip
_MOUTHS = (
  ("m", 0, 0, 0, 1), ("i", 0.22, 1, 0, 0), ("e", 0.45, 0.6, 0, 0),
  ("a", 0.8, 0.1, 0, 0), ("yawn", 1, 0, 0, 0), ("o", 0.5, -0.4, 0.75, 0),
  ("u", 0.2, -0.8, 1, 0), ("rest", 0.02, 0, 0, 0),
)  # fmt: skip


def _one(
  model: head.Model,
  key: tuple[int, ...],
  size: int,
  feeling: int = 0,
  **shown: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """One picture of one person; light and room come from the key.

  Args:
    model: The person.
    key: Seed.
    size: Pixels of a side.
    feeling: Index into spec.EMOTIONS.
    shown: Factors that are not 0, by name.
  """
  rng = np.random.default_rng(key)
  columns = {"scale": 0.9, **shown}
  rows = factors.zeros(1)._replace(
    **{name: np.full(1, float(value)) for name, value in columns.items()}
  )
  channels, extra = frame_factors.channels_of(model.person, feeling, 3, 1)
  spoken = frame_factors.Mouth(
    rows.mouth_open, rows.mouth_wide, rows.mouth_round, rows.mouth_press
  )
  rows = rows._replace(**frame_factors.mouth_columns(spoken, extra))
  return drawing.draw(drawing.lit(rng, model, rows, channels, size), size)[0][0]


def sheet(size: int, seed: int) -> UInt8[np.ndarray, "h w 3"]:
  """The picture: people, emotions, poses, mouths; RGB uint8."""
  people = [head.model(seed, "train", i) for i in range(16)]
  tiles = []
  for i, model in enumerate(people):
    rng = np.random.default_rng((seed, i))
    place = motion.scatter(rng, 1, "medium")
    yaw, pitch, roll = place.pose[0] * 0.8
    tiles.append(
      _one(
        model, (seed, i, 1), size, yaw=yaw, pitch=pitch, roll=roll,
        scale=0.8, mouth_open=0.02,
      )
    )  # fmt: skip
  groups: list[tuple[tuple[str, ...], list]] = [((), tiles)]
  for who in (3, 8):
    groups.append(
      (
        spec.EMOTIONS,
        [
          _one(people[who], (seed, who), size, feeling, mouth_open=0.02)
          for feeling in range(len(spec.EMOTIONS))
        ],
      )
    )
  groups.append(
    (
      tuple(f"{y}, {p}, {r}" for y, p, r in _POSES),
      [
        _one(
          people[14], (seed, 14), size, yaw=y, pitch=p, roll=r, scale=0.72,
          mouth_open=0.02,
        )
        for y, p, r in _POSES
      ],
    )
  )  # fmt: skip
  groups.append(
    (
      tuple(name for name, *_ in _MOUTHS),
      [
        _one(
          people[9], (seed, 9), size, mouth_open=o, mouth_wide=w,
          mouth_round=r, mouth_press=p,
        )
        for _, o, w, r, p in _MOUTHS
      ],
    )
  )  # fmt: skip
  bands = []
  for words, tiles in groups:
    for first in range(0, len(tiles), COLUMNS):
      if words:
        band = np.full((_MARGIN, COLUMNS * size, 3), 255, np.uint8)
        for k, word in enumerate(words):
          cv2.putText(
            band, word, (k * size + 6, _MARGIN - 7), cv2.FONT_HERSHEY_SIMPLEX,
            0.42, (60, 60, 60), 1, cv2.LINE_AA,
          )  # fmt: skip
        bands.append(band)
      bands.append(np.concatenate(tiles[first : first + COLUMNS], 1))
  return np.concatenate(bands)


def main(argv: list[str]) -> int:
  """Writes the sheet."""
  del argv
  path = Path(_OUT.value)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs.check_file(path, [], (".png",))
  except (ValueError, OSError) as error:
    return command_line.fail("sheet", str(error))
  image = sheet(_SIZE.value, _SEED.value)
  cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
  print(f"wrote {path}: {image.shape[1]} x {image.shape[0]} px")
  return 0


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parser("sheet"))
