"""Says what a prepared data set holds, in words, pictures and sound.

python -m data_pipelines.inspect DATA [--sheet sheet.png] [--play 3 --out 3.mp4]

Counts come from the index. Histograms read `--sample` clips of each split, so
that a large set takes no longer than a small one.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags
from jaxtyping import Float, UInt8

from data_pipelines.dataset import offsets, opening, reader
from data_pipelines.dataset.index import (
  SPLITS,
  ClipInfo,
  read_index,
  read_metadata,
  rows_of,
  split_of,
  splits_of,
)
from data_pipelines.dataset.pictures import decode_frame, scale_landmarks
from data_pipelines.ingest.summary import without_numbers
from data_pipelines.media import lettering, mp4
from data_pipelines.media.error import MediaError
from speak_jax import spec
from speak_jax.common import command_line, files, outputs

COLUMNS, ROWS = 8, 12
CELL_PX = 128
PLAY_PX = 512
SAMPLED = 200  # clips of a split
LISTED = 10  # lines of a list
FACE_PX = (0, 64, 96, 128, 192, 256, 384, 512, 1024)
OFFSET_MS = (-600, -400, -200, -100, -60, -20, 20, 60, 100, 200, 400, 600)
YAW_DEG = (-90, -60, -45, -30, -15, 0, 15, 30, 45, 60, 90)


class Prepared:
  """A prepared data set; its index, which may be long, is read once."""

  def __init__(self, folder: str | os.PathLike):
    """Reads the index.

    Raises:
      ValueError: not a prepared data set.
    """
    self.folder = Path(folder)
    self.index = read_index(folder)

  def open(self, split: str) -> reader.Records:
    """All clips of a split.

    Raises:
      ValueError: no such split, or its shards cannot be opened.
    """
    return opening.open_records(
      self.folder, split, whole=True, index=self.index
    )


def describe(prepared: Prepared) -> str:
  """What the index and the lists beside it say, as lines; opens no shard.

  Raises:
    ValueError: a list is damaged.
  """
  data, index = prepared.folder, prepared.index
  meta = read_metadata(data)
  info = json.loads((data / "dataset_info.json").read_text())
  disk = {split["name"]: int(split["numBytes"]) for split in info["splits"]}
  licence = meta.pop("licence", None)
  lines = [str(data), *(f"  {key}: {value}" for key, value in meta.items())]
  if licence:
    lines.append(f"licence: {licence['line']} {licence['terms_url']}".rstrip())
  for split in SPLITS:
    rows = list(index.take(rows_of(index, split)))
    if rows:
      lines += _split(split, rows, disk[split])
  rejects = _read_lines(data / "rejects.jsonl")
  lines.append(f"rejects: {len(rejects)}")
  # Figures in a reason are of one file; what is alike counts together.
  reasons = [without_numbers(x["reason"]) for x in rejects]
  kinds, examples = Counter(reasons), {}
  for reason, reject in zip(reasons, rejects, strict=True):
    examples.setdefault(reason, reject["clip"])
  for reason, count in kinds.most_common(LISTED):
    lines.append(f"  {count:6}  {reason}, such as {examples[reason]}")
  if measured := offsets.read(data):
    lines.append("audio-video offset:")
    lines += [f"  {text}" for text in offsets.summary(list(measured.values()))]
  notes = _read_lines(data / "notes.jsonl")
  lines.append(f"notes: {len(notes)}")
  lines += [f"  {note['clip']}: {note['note']}" for note in notes[:LISTED]]
  if len(notes) > LISTED:
    lines.append(f"  ... all in {data / 'notes.jsonl'}")
  return "\n".join(lines)


def _split(split: str, rows: Sequence[ClipInfo], disk: int) -> list[str]:
  """A split's counts and its table of emotions."""
  hours = sum(row.frames / row.fps for row in rows) / 3600
  lengths = [row.frames for row in rows]
  lines = [
    f"{split}: {len(rows)} clips, "
    f"{len({row.identity for row in rows})} identities, "
    f"{hours:.2f} hours, {sum(lengths)} frames "
    f"({min(lengths)} to {max(lengths)} a clip)",
    f"  disk: {disk / 1e9:.2f} GB, {disk / 1e9 / hours:.2f} GB an hour",
    f"  px: {_counts(str(row.size) for row in rows)}",
    f"  mouths: {_counts(map(_mouths, rows))}",
    f"  meshes: of {sum(row.meshes for row in rows)} clips",
    f"  frames/s: {_counts(f'{row.fps:g}' for row in rows)}",
    f"  views: {_counts(row.view or 'unknown' for row in rows)}",
  ]
  several = Counter((r.identity, r.take) for r in rows if r.take)
  if shared := sum(count > 1 for count in several.values()):
    lines.append(f"  takes of several views: {shared}")
  if twins := sum(row.twins for row in rows):
    lines.append(f"  frames with twins: {twins}")
  table = Counter((row.emotion, row.level) for row in rows)
  levels = sorted({level for _, level in table})
  heads = [f"level {level}" if level else "no level" for level in levels]
  lines.append(f"  {'clips':10}" + "".join(f"{head:>10}" for head in heads))
  for emotion in sorted({emotion for emotion, _ in table}):
    name = "unknown" if emotion == spec.UNKNOWN else spec.EMOTIONS[emotion]
    cells = "".join(f"{table[emotion, level]:10}" for level in levels)
    lines.append(f"  {name:10}{cells}")
  return lines


def histograms(data: Prepared, clips: int = SAMPLED) -> str:
  """Face size and yaw of some clips, and all known offsets, as lines.

  Args:
    data: A prepared data set.
    clips: At most so many of each split are read.

  Raises:
    ValueError: a damaged clip.
  """
  lines = []
  for split in splits_of(data.index):
    source = data.open(split)
    chosen = _spread(len(source), clips)
    faces, yaws = [], []
    for i in chosen:
      record = source[i]
      faces.append(_face_px(record))
      yaws.append(record.pose[:, 0])
    frames = sum(map(len, yaws))
    lines.append(
      f"{split}: {frames} frames of {len(chosen)} of {len(source)} clips"
    )
    lines += _histogram("face, source px", np.concatenate(faces), FACE_PX)
    lines += _histogram("yaw, degrees", np.concatenate(yaws), YAW_DEG)
  measured = [
    x.ms for x in offsets.read(data.folder).values() if x.ms is not None
  ]
  if measured:
    lines += _histogram(
      "picture behind sound, ms", np.array(measured), OFFSET_MS
    )
  return "\n".join(lines)


def _face_px(record: spec.Record) -> Float[np.ndarray, "n"]:
  """Longer side of the landmarks' box in the source's pixels.

  Of a rendered clip, whose source has no pixels, in the crop's.
  """
  scale = float(np.sqrt(abs(np.linalg.det(record.crop[:, :2]))))
  return np.ptp(record.landmarks, axis=1).max(1) / max(scale, 1e-6)


def _histogram(
  name: str, values: Float[np.ndarray, "n"], edges: Sequence[int]
) -> list[str]:
  """A bar for each bin; what is beyond the edges counts in the outer bins."""
  inside = np.clip(values, edges[0], edges[-1] - 1e-3)
  counts, _ = np.histogram(inside, edges)
  low, middle, high = np.percentile(values, (5, 50, 95))
  lines = [f"  {name}: 5 % {low:.0f}, median {middle:.0f}, 95 % {high:.0f}"]
  for start, stop, count in zip(edges, edges[1:], counts, strict=False):
    share = count / len(values)
    label = f"{start} to {stop}"
    lines.append(
      f"  {label:>12} {share:6.1%} {'#' * round(40 * share)}".rstrip()
    )
  return lines


def play(data: Prepared, number: int, path: str | os.PathLike) -> str:
  """Writes a clip with its landmarks, pose and sound as mp4.

  Args:
    data: A prepared data set.
    number: Of the clip in `clips.jsonl`, from 0.
    path: Of the video.

  Returns:
    One line about the clip.

  Raises:
    ValueError: no such clip, or it is damaged.
  """
  if not 0 <= number < len(data.index):
    raise ValueError(
      f"{data.folder}: no clip {number}; it has 0 to {len(data.index) - 1}"
    )
  row = data.index[number]
  split = split_of(row)
  source = data.open(split)
  i = source.index.index(row)
  record, side = source[i], PLAY_PX
  points = scale_landmarks(record.landmarks, row.size, side)
  mp4.write_video(
    path,
    (
      _drawn(source.picture(i, "frames", t, side), points[t], record.pose[t])
      for t in range(row.frames)
    ),
    float(row.fps),
    record.audio,
  )
  view = f", {row.view}" if row.view else ""
  return (
    f"{split} {number}: {row.clip}, {row.identity}, {_emotion(row)}{view}, "
    f"{row.frames} frames at {row.fps:g}/s, from {record.source}"
  )


def _spread(count: int, most: int) -> list[int]:
  """At most so many of `count` places, evenly."""
  return (
    np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
  )


def sheet(data: Prepared) -> UInt8[np.ndarray, "h w 3"]:
  """Contact sheet: a row a clip, of people spread over the data set.

  The left half of a row is the clip through time; the right half shows the
  same frames with landmarks and pose, so that a wrong one is seen.
  """
  pieces = []
  for split in splits_of(data.index):
    source = data.open(split)
    first = {}  # one clip a person, then others
    for i, row in enumerate(source.index):
      first.setdefault(row.identity, i)
    rest = [i for i in range(len(source)) if i not in first.values()]
    order = [*first.values(), *rest]
    rows = ROWS if split == "train" else ROWS // 3
    pieces += [_row(source, order[i], split) for i in _spread(len(order), rows)]
  return np.concatenate(pieces)


def _row(
  source: reader.Records, i: int, split: str
) -> UInt8[np.ndarray, "h w 3"]:
  row, record = source.index[i], source[i]
  times = np.linspace(0, row.frames - 1, COLUMNS // 2).round().astype(int)
  points = scale_landmarks(record.landmarks, row.size, CELL_PX)
  plain, drawn = [], []
  for t in times:
    frame = decode_frame(record.frames[t], CELL_PX, row.size)
    plain.append(frame)
    drawn.append(_drawn(frame, points[t], record.pose[t]))
  strip = np.concatenate([*plain, *drawn], 1)
  title = np.full((16, strip.shape[1], 3), 255, np.uint8)
  text = f"{split}  {row.identity}  {row.clip}  {_emotion(row)}"
  lettering.write(title, text, (3, 12))
  return np.concatenate([title, strip])


def _drawn(
  frame: UInt8[np.ndarray, "h h 3"],
  landmarks: Float[np.ndarray, "68 2"],
  pose: Float[np.ndarray, "3"],
) -> UInt8[np.ndarray, "h w 3"]:
  picture, side = frame.copy(), frame.shape[0]
  for i, (x, y) in enumerate(landmarks.round().astype(int).tolist()):
    lip = spec.MOUTH.start <= i < spec.MOUTH.stop
    cv2.circle(
      picture,
      (x, y),
      side // CELL_PX,
      (255, 255, 0) if lip else (0, 255, 0),
      -1,
    )
  text = "/".join(f"{angle:.0f}" for angle in pose)
  cv2.putText(
    picture,
    text,
    (3, side - 5),
    cv2.FONT_HERSHEY_SIMPLEX,
    0.4 * side / CELL_PX,
    (255, 255, 255),
    side // CELL_PX,
    cv2.LINE_AA,
  )
  return picture


def _mouths(row: ClipInfo) -> str:
  if not row.mouths:
    return "none"
  return f"{row.mouths} px {'grey' if row.grey else 'JPEG'}"


def _emotion(row: ClipInfo) -> str:
  if row.emotion == spec.UNKNOWN:
    return "unknown"
  name = spec.EMOTIONS[row.emotion]
  return f"{name} {row.level}" if row.level else name


def _counts(values: Iterable[str]) -> str:
  """Each value and how often it occurs."""
  return ", ".join(f"{name} {n}" for name, n in sorted(Counter(values).items()))


def _read_lines(path: Path) -> list[dict]:
  if not path.exists():
    return []
  return [json.loads(line) for line in path.read_text().splitlines()]


_SHEET = flags.DEFINE_string("sheet", None, "Write a contact sheet PNG here.")
_PLAY = flags.DEFINE_integer("play", None, "Write the clip of this number.", 0)
_OUT = flags.DEFINE_string("out", "clip.mp4", "Where --play writes it.")
_SAMPLE = flags.DEFINE_integer(
  "sample", SAMPLED, "Clips of each split to read for histograms.", 0
)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns the exit code."""
  if len(argv) != 2:
    return command_line.fail("inspect", "name one prepared data set")
  try:
    if _PLAY.value is not None:
      outputs.check_file(_OUT.value, argv[1:], (".mp4",))
      print(play(Prepared(argv[1]), _PLAY.value, _OUT.value))
      print(f"video: {_OUT.value}")
      return 0
    if _SHEET.value:
      outputs.check_file(_SHEET.value, argv[1:], (".png",))
    data = Prepared(argv[1])
    print(describe(data))
    if _SAMPLE.value:
      print(histograms(data, _SAMPLE.value))
    if _SHEET.value:
      path = Path(_SHEET.value)
      picture = cv2.imencode(".png", sheet(data)[..., ::-1])[1]
      files.write(path, picture.tobytes())
      print(f"sheet: {path}")
  except (ValueError, OSError, MediaError) as error:
    return command_line.fail("inspect", str(error))
  return 0


if __name__ == "__main__":
  app.run(main, flags_parser=command_line.parser("inspect"))
