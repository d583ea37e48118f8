"""Says what a prepared data set holds, in words and in a picture.

python -m data_pipelines.inspect DATA [--sheet sheet.png]
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags
from jaxtyping import UInt8

from data_pipelines import records
from speak_jax import spec

COLUMNS, ROWS = 8, 12
CELL_PX = 128


def describe(data: str | os.PathLike) -> str:
  """Counts, hours, identities, emotions, rejects and notes, as lines.

  Raises:
    ValueError: not a prepared data set.
  """
  data = Path(data)
  index = records.read_index(data)
  lines = [str(data)]
  lines += [
    f"  {key}: {value}" for key, value in records.read_metadata(data).items()
  ]
  for split in records.SPLITS:
    rows = [row for row in index if records.split_of(row) == split]
    if not rows:
      continue
    hours = sum(row.frames / row.fps for row in rows) / 3600
    lengths = [row.frames for row in rows]
    lines.append(
      f"{split}: {len(rows)} clips, "
      f"{len({row.identity for row in rows})} identities, "
      f"{hours:.2f} hours, {sum(lengths)} frames "
      f"({min(lengths)} to {max(lengths)} a clip)"
    )
    lines.append(f"  px: {_counts(str(row.size) for row in rows)}")
    lines.append(f"  emotion: {_counts(_emotion(row) for row in rows)}")
    twins = sum(row.twins for row in rows)
    if twins:
      lines.append(f"  frames with twins: {twins}")
  for name, key in (("rejects", "reason"), ("notes", "note")):
    found = _read_lines(data / f"{name}.jsonl")
    lines.append(f"{name}: {len(found)}")
    for entry in found[:10]:
      lines.append(f"  {entry['clip']}: {entry[key]}")
    if len(found) > 10:
      lines.append(f"  ... all in {data / name}.jsonl")
  return "\n".join(lines)


def sheet(data: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """Contact sheet: a row a clip, of people spread over the data set.

  The left half of a row is the clip through time; the right half shows the
  same frames with landmarks and pose, so that a wrong one is seen.
  """
  pieces = []
  for split in records.SPLITS:
    if not any(records.split_of(r) == split for r in records.read_index(data)):
      continue
    source = records.open_records(data, split)
    first = {}  # one clip a person, then others
    for i, row in enumerate(source.index):
      first.setdefault(row.identity, i)
    rest = [i for i in range(len(source)) if i not in first.values()]
    order = [*first.values(), *rest]
    count = min(ROWS if split == "train" else ROWS // 3, len(order))
    spread = np.linspace(0, len(order) - 1, count).round().astype(int)
    pieces += [_row(source, order[i], split) for i in spread]
  return np.concatenate(pieces)


def _row(
  source: records.Records, i: int, split: str
) -> UInt8[np.ndarray, "h w 3"]:
  row, record = source.index[i], source[i]
  times = np.linspace(0, row.frames - 1, COLUMNS // 2).round().astype(int)
  points = records.scale_landmarks(record.landmarks, row.size, CELL_PX)
  plain, drawn = [], []
  for t in times:
    frame = records.decode_frame(record.frames[t], CELL_PX)
    plain.append(frame)
    drawn.append(_drawn(frame, points[t], record.pose[t]))
  strip = np.concatenate([*plain, *drawn], 1)
  title = np.full((16, strip.shape[1], 3), 255, np.uint8)
  text = f"{split}  {row.identity}  {row.clip}  {_emotion(row)}"
  cv2.putText(
    title,
    text.encode("ascii", "replace").decode(),
    (3, 12),
    cv2.FONT_HERSHEY_SIMPLEX,
    0.4,
    (0, 0, 0),
    1,
    cv2.LINE_AA,
  )
  return np.concatenate([title, strip])


def _drawn(frame, landmarks, pose) -> UInt8[np.ndarray, "h w 3"]:
  picture = frame.copy()
  for i, (x, y) in enumerate(landmarks.round().astype(int).tolist()):
    lip = spec.MOUTH.start <= i < spec.MOUTH.stop
    cv2.circle(picture, (x, y), 1, (255, 255, 0) if lip else (0, 255, 0), -1)
  text = "/".join(f"{angle:.0f}" for angle in pose)
  cv2.putText(
    picture,
    text,
    (3, CELL_PX - 5),
    cv2.FONT_HERSHEY_SIMPLEX,
    0.4,
    (255, 255, 255),
    1,
    cv2.LINE_AA,
  )
  return picture


def _emotion(row: records.ClipInfo) -> str:
  if row.emotion == spec.UNKNOWN:
    return "unknown"
  name = spec.EMOTIONS[row.emotion]
  return f"{name} {row.level}" if row.level else name


def _counts(values) -> str:
  return ", ".join(f"{name} {n}" for name, n in sorted(Counter(values).items()))


def _read_lines(path: Path) -> list[dict]:
  if not path.exists():
    return []
  return [json.loads(line) for line in path.read_text().splitlines()]


_SHEET = flags.DEFINE_string("sheet", None, "Write a contact sheet PNG here.")


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) != 2:
    print("inspect: name one prepared data set", file=sys.stderr)
    return 1
  try:
    print(describe(argv[1]))
    if _SHEET.value:
      path = Path(_SHEET.value)
      picture = cv2.imencode(".png", sheet(argv[1])[..., ::-1])[1]
      partial = path.with_name(path.name + ".tmp")
      partial.write_bytes(picture.tobytes())
      os.replace(partial, path)
      print(f"sheet: {path}")
  except (ValueError, OSError) as error:
    print(f"inspect: {error}", file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  app.run(main)
