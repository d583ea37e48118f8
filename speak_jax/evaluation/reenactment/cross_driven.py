"""The whole system with inputs of several people: does each do its own work?

The portrait stays; pose, emotion or speech, and then all three, come from
other clips of other people. Each must bring what it is there for and nothing
else. The same donors serve every row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from speak_jax import spec
from speak_jax.evaluation import ledger as figures
from speak_jax.evaluation import methods
from speak_jax.evaluation.readers.reading import Reader, Reading, Take
from speak_jax.evaluation.reenactment.self_driven import fit, request
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

# A request's frames.
Make = Callable[[methods.Request], UInt8[np.ndarray, "n h w 3"]]


class Shown(NamedTuple):
  """One clip's pictures for the sheet: a frame from the middle of each."""

  portrait: UInt8[np.ndarray, "h w 3"]
  donors: dict[str, UInt8[np.ndarray, "h w 3"]]  # by input
  made: dict[str, UInt8[np.ndarray, "h w 3"]]  # by row


def donors(takes: Sequence[Take], index: int) -> dict[str, Take]:
  """{input: who gives it}: other people, three different ones if there are.

  The emotion is another than the clip's where somebody shows another.

  Raises:
    ValueError: all clips are of one person.
  """
  order = [*takes[index + 1 :], *takes[:index]]
  others = [t for t in order if t.person != takes[index].person]
  if not others:
    raise ValueError("driving by others needs clips of two people")
  unlike = [t for t in others if t.emotion != takes[index].emotion]
  chosen = {"emotion": (unlike or others)[0]}
  for name in ("pose", "speech"):
    taken = {take.person for take in chosen.values()}
    fresh = [t for t in others if t.person not in taken]
    chosen[name] = (fresh or others)[0]
  return chosen


def measure(
  takes: Sequence[Take],
  make: Make,
  read: Reader,
  *,
  seed: int,
  shown: int = 0,
  progress: Callable[[Sequence[Take]], Iterable[Take]] = lambda x: x,
) -> tuple[figures.Figures, list[Shown]]:
  """Drives every clip's portrait by others, and reads what comes out.

  Args:
    takes: Clips of two people or more. The first frame, the portrait, is left
      out.
    make: The system.
    read: Who reads pose and so on off frames.
    seed: Of the bootstrap.
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
    Figures that the reader cannot tell are left out.
  """
  ledger = figures.Ledger()
  kept: list[Shown] = []
  for index, take in enumerate(progress(takes)):
    lenders = donors(takes, index)
    n = min(len(t.frames) for t in (take, *lenders.values()))
    frames = {
      row: make(_request(take, {x: lenders[x] for x in inputs}, n))
      for row, inputs in ROWS.items()
    }
    portrait = read(take.frames[:1])
    strange = read(lenders["pose"].frames[:1])
    for row, made in {**frames, "real": take.frames[:n]}.items():
      lent = {x: lenders[x] for x in ROWS.get(row, ())}
      for name, sum_row, statistic in _figures(
        read(made), take, lent, n, portrait, strange
      ):
        ledger.add(f"driven/{row}/{name}", sum_row, statistic)
    if len(kept) < shown:
      kept.append(
        Shown(
          take.frames[0],
          {x: lender.frames[n // 2] for x, lender in lenders.items()},
          {row: made[n // 2] for row, made in frames.items()},
        )
      )
  return ledger.figures(seed), kept


def _request(take: Take, lent: Mapping[str, Take], n: int) -> methods.Request:
  """The clip's own request, with what others lend, cut to n frames."""
  speaker = lent.get("speech", take)
  length = round(n * spec.samples_per_frame(take.fps))
  head, mood = lent.get("pose", take), lent.get("emotion", take)
  return request(take, fit(speaker.audio, length))._replace(
    frames=n,
    pose=methods.Track(head.frames[:n], head.landmarks[:n]),
    emotion=mood.emotion_track,
    target=None,
  )


_Sums = tuple[str, np.ndarray, Callable[[np.ndarray], float]]


def _figures(
  seen: Reading,
  take: Take,
  lent: Mapping[str, Take],
  n: int,
  portrait: Reading,
  strange: Reading,
) -> Iterable[_Sums]:
  """(name, sums of this clip, how they are read) of one row."""
  ok = seen.found.copy()
  ok[0] = False
  if not ok.any():
    return
  head, speaker = lent.get("pose", take), lent.get("speech", take)
  turned, opened = seen.pose[ok], seen.opening[ok].astype(float)
  wanted = head.pose[:n][ok]
  yield "pose_r2", sums.r2_row(turned, wanted), sums.r2
  if "pose" in lent:
    moved = pose.moved_row(turned, take.pose[:n][ok], wanted)
    yield "pose_moved", moved, sums.ratio
  row = sums.pearson_row(opened, speaker.opening[:n][ok])
  yield "mouth_r", row, sums.pearson
  if "speech" in lent:
    row = sums.pearson_row(opened, take.opening[:n][ok])
    yield "mouth_r_source", row, sums.pearson
  if seen.emotion is not None:
    guess = seen.emotion[ok].argmax(-1)
    labels = {"emotion": lent.get("emotion", take).emotion}
    if "emotion" in lent:
      labels["emotion_source"] = take.emotion
    for name, label in labels.items():
      if label != spec.UNKNOWN:
        yield name, sums.mean_row((guess == label).astype(float)), sums.mean
  people = {"identity": portrait}
  if "pose" in lent:
    people["identity_donor"] = strange
  for name, person in people.items():
    if seen.identity is not None and person.identity is not None:
      like = identity.cosine(seen.identity[ok], person.identity)
      yield name, sums.mean_row(like), sums.mean


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


def markdown(found: Mapping[str, figures.Figure]) -> str:
  """Table of `measure`; "" without its figures."""
  titles = {
    "own": "nothing",
    "pose": "pose",
    "emotion": "emotion",
    "speech": "speech",
    "all": "pose, emotion and speech, of three people",
    "real": "real frames, as the reader sees them",
  }
  columns = [
    name
    for name in COLUMNS
    if any(f"driven/{row}/{name}" in found for row in titles)
  ]
  if not columns:
    return ""
  lines = [
    "| comes from others | " + " | ".join(COLUMNS[x] for x in columns) + " |",
    "|---" * (len(columns) + 1) + "|",
  ]
  for row, title in titles.items():
    keys = [f"driven/{row}/{name}" for name in columns]
    # Not asked of this row, and so empty.
    cells = [figures.text(found[x], 2) if x in found else "" for x in keys]
    lines.append(f"| {title} | {' | '.join(cells)} |")
  return "\n".join(lines)


def grid(shown: Sequence[Shown]) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the sheet, a row a clip; columns as `titles` says."""
  return np.stack(
    [
      np.stack(
        [
          one.portrait,
          *(one.donors[x] for x in INPUTS),
          *(one.made[row] for row in ROWS),
        ]
      )
      for one in shown
    ]
  )


def titles() -> list[str]:
  """Of the columns of `grid`."""
  given = [f"{x} from" for x in INPUTS]
  return ["portrait", *given, "nothing", *(x for x in ROWS if x != "own")]
