"""Cross-driven: the whole system with inputs of several people.

The portrait stays; pose, emotion or speech, and then all three, come from
other clips of other people. Each must bring what it is there for and nothing
else. The same donors serve every row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from speak_jax import spec
from speak_jax.evaluation import metric_table
from speak_jax.evaluation.eval_clip import EvalClip
from speak_jax.evaluation.metric_table import (
  MetricTable,
  MetricValue,
  MetricValues,
  Statistic,
)
from speak_jax.evaluation.readers.face_reader import Reader, Reading
from speak_jax.evaluation.reenactment.donors import clips_of_others, fit_audio
from speak_jax.evaluation.reenactment.self_driven import request
from speak_jax.evaluation.report import tables
from speak_jax.methods import base as methods
from speak_jax.metrics import identity, pose, sums

# What comes from others in each row; "real" are the true frames, as read.
ROWS = {
  "own": (),
  "pose": ("pose",),
  "emotion": ("emotion",),
  "speech": ("speech",),
  "all": ("pose", "emotion", "speech"),
}
INPUTS = ROWS["all"]
COLUMNS = {
  "pose_r2": "pose R2 to who gives it",
  "pose_moved": "pose moved",
  "emotion": "emotion of who gives it",
  "emotion_source": "of the clip",
  "mouth_r": "mouth r to who speaks",
  "mouth_r_source": "to the clip",
  "identity": "cosine to the portrait",
  "identity_donor": "to the pose's person",
}
_ROW_TITLES = {
  "own": "nothing",
  "pose": "pose",
  "emotion": "emotion",
  "speech": "speech",
  "all": "pose, emotion and speech, of three people",
  "real": "real frames, as the reader sees them",
}

# Generates a request's frames.
Generate = Callable[[methods.Request], UInt8[np.ndarray, "n h w 3"]]


class ClipPictures(NamedTuple):
  """One clip's pictures for the sheet: a frame from the middle of each."""

  portrait: UInt8[np.ndarray, "h w 3"]
  donors: dict[str, UInt8[np.ndarray, "h w 3"]]  # by input
  generated: dict[str, UInt8[np.ndarray, "h w 3"]]  # by row


def donors(clips: Sequence[EvalClip], index: int) -> dict[str, EvalClip]:
  """{input: clip that gives it}: of three other people if there are three.

  The emotion is another than the clip's where somebody shows another.

  Raises:
    ValueError: all clips are of one person.
  """
  others = clips_of_others(clips, index)
  if not others:
    raise ValueError("driving by others needs clips of two people")
  unlike = [x for x in others if x.emotion != clips[index].emotion]
  chosen = {"emotion": (unlike or others)[0]}
  for name in ("pose", "speech"):
    people = {clip.person for clip in chosen.values()}
    fresh = [x for x in others if x.person not in people]
    chosen[name] = (fresh or others)[0]
  return chosen


def measure(
  clips: Sequence[EvalClip],
  generate: Generate,
  read: Reader,
  *,
  seed: int,
  shown: int = 0,
  progress: Callable[[Sequence[EvalClip]], Iterable[EvalClip]] = lambda x: x,
) -> tuple[MetricValues, list[ClipPictures]]:
  """Drives every clip's portrait by others, and reads what comes out.

  Args:
    clips: Clips of two people or more. The first frame, the portrait, is left
      out.
    generate: The system.
    read: Reads pose and so on off frames.
    seed: Seed of the bootstrap.
    shown: Clips of which pictures are kept.
    progress: Wraps the clips.

  Returns:
    For each ROW of `ROWS` and for the real frames, driven/ROW/...: pose_r2:
    R2 of the pose to that of whoever gives it; mouth_r: correlation of the
    mouth's opening with the speaker's; emotion: share of frames that the
    reader takes for the emotion of whoever gives it; identity: cosine to the
    portrait. Where another gives the pose, pose_moved: how far it went, 1 is
    all the way, and identity_donor: cosine to that person; where another
    speaks, mouth_r_source: correlation with the clip's own mouth; where
    another gives the emotion, emotion_source: share taken for the clip's own.
    Metrics that the reader cannot tell are left out. And pictures of the
    first `shown` clips.

  Raises:
    ValueError: all clips are of one person.
  """
  table = MetricTable()
  pictures: list[ClipPictures] = []
  for index, clip in enumerate(progress(clips)):
    donor = donors(clips, index)
    n = min(len(x.frames) for x in (clip, *donor.values()))
    frames = {
      row: generate(_request(clip, {x: donor[x] for x in inputs}, n))
      for row, inputs in ROWS.items()
    }
    portrait = read(clip.frames[:1])
    stranger = read(donor["pose"].frames[:1])
    for row, row_frames in {**frames, "real": clip.frames[:n]}.items():
      lent = {x: donor[x] for x in ROWS.get(row, ())}
      for name, sum_row, statistic in _metrics(
        read(row_frames), clip, lent, n, portrait, stranger
      ):
        table.add(f"driven/{row}/{name}", sum_row, statistic)
    if len(pictures) < shown:
      pictures.append(
        ClipPictures(
          clip.frames[0],
          {x: lender.frames[n // 2] for x, lender in donor.items()},
          {row: row_frames[n // 2] for row, row_frames in frames.items()},
        )
      )
  return table.values(seed), pictures


def _request(
  clip: EvalClip, lent: Mapping[str, EvalClip], n: int
) -> methods.Request:
  """The clip's own request, with what others lend, cut to n frames."""
  speaker = lent.get("speech", clip)
  length = round(n * spec.samples_per_frame(clip.fps))
  head, mood = lent.get("pose", clip), lent.get("emotion", clip)
  return request(clip, fit_audio(speaker.audio, length))._replace(
    frames=n,
    pose=methods.ShownFrames(head.frames[:n], head.landmarks[:n]),
    emotion=mood.emotion_track,
    target=None,
  )


def _metrics(
  reading: Reading,
  clip: EvalClip,
  lent: Mapping[str, EvalClip],
  n: int,
  portrait: Reading,
  stranger: Reading,
) -> Iterator[tuple[str, np.ndarray, Statistic]]:
  """(name, sums of this clip, statistic of them) of one row.

  Args:
    reading: What the reader sees in the row's frames.
    clip: The clip whose portrait it is.
    lent: {input: clip of who gives it}, for those from others.
    n: Frames.
    portrait: Reading of the portrait.
    stranger: What the reader sees in the first frame of whoever gives the pose.
  """
  known = reading.found.copy()
  known[0] = False
  if not known.any():
    return
  head, speaker = lent.get("pose", clip), lent.get("speech", clip)
  angles, opening = reading.pose[known], reading.opening[known].astype(float)
  goal = head.pose[:n][known]
  yield "pose_r2", sums.r2_row(angles, goal), sums.r2
  if "pose" in lent:
    moved = pose.moved_row(angles, clip.pose[:n][known], goal)
    yield "pose_moved", moved, sums.ratio
  row = sums.pearson_row(opening, speaker.opening[:n][known])
  yield "mouth_r", row, sums.pearson
  if "speech" in lent:
    row = sums.pearson_row(opening, clip.opening[:n][known])
    yield "mouth_r_source", row, sums.pearson
  if reading.emotion is not None:
    guess = reading.emotion[known].argmax(-1)
    labels = {"emotion": lent.get("emotion", clip).emotion}
    if "emotion" in lent:
      labels["emotion_source"] = clip.emotion
    for name, label in labels.items():
      if label != spec.UNKNOWN:
        yield name, sums.mean_row((guess == label).astype(float)), sums.mean
  people = {"identity": portrait}
  if "pose" in lent:
    people["identity_donor"] = stranger
  for name, person in people.items():
    if reading.identity is not None and person.identity is not None:
      cosine = identity.cosine(reading.identity[known], person.identity)
      yield name, sums.mean_row(cosine), sums.mean


def markdown(values: Mapping[str, MetricValue]) -> str:
  """Table of `measure`; "" without its values."""
  columns = [
    name
    for name in COLUMNS
    if any(f"driven/{row}/{name}" in values for row in _ROW_TITLES)
  ]
  if not columns:
    return ""
  rows = []
  for row, title in _ROW_TITLES.items():
    keys = [f"driven/{row}/{name}" for name in columns]
    # "": not asked of this row.
    rows.append(
      [
        title,
        *(metric_table.text(values[x], 2) if x in values else "" for x in keys),
      ]
    )
  head = ["comes from others", *(COLUMNS[x] for x in columns)]
  return tables.pipe_table(head, rows)


def sheet_cells(
  pictures: Sequence[ClipPictures],
) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the sheet, a row a clip; columns as `sheet_titles` says."""
  return np.stack(
    [
      np.stack(
        [
          clip.portrait,
          *(clip.donors[x] for x in INPUTS),
          *(clip.generated[row] for row in ROWS),
        ]
      )
      for clip in pictures
    ]
  )


def sheet_titles() -> list[str]:
  """Titles of the columns of `sheet_cells`."""
  from_others = [f"{x} from" for x in INPUTS]
  return ["portrait", *from_others, "nothing", *(x for x in ROWS if x != "own")]
