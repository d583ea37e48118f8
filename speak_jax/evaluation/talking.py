"""Whole systems on held-out clips: self-driven, and with other speech.

The clip's first frame is the identity picture and is left out of every
figure; pose and emotion come from the clip. Lines: every model, every model
with another clip's speech, and the references of `methods`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int16, UInt8

from speak_jax.evaluation import methods, tables
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.figures import Figure, Figures, Ledger, difference
from speak_jax.evaluation.methods import REFERENCES, STATIC, TRUE, Entry
from speak_jax.evaluation.reading import Reader, Reading, Sync, Take
from speak_jax.metrics import (
  identity,
  image,
  landmarks,
  mouth,
  pose,
  sums,
)

Kind = Literal["own", "shuffled", "reference"]


class Line(NamedTuple):
  """A line of the table: who made the clips, hearing whose speech."""

  entry: Entry
  kind: Kind

  @property
  def title(self) -> str:
    """As tables print it."""
    titles = {
      "own": self.entry.name,
      "shuffled": f"{self.entry.name}, other speech",
      "reference": self.entry.method.name,
    }
    return titles[self.kind]


class Clip(NamedTuple):
  """What a line made of one clip, and what is read off it."""

  frames: UInt8[np.ndarray, "n h w 3"]
  seen: Reading


class Talked(NamedTuple):
  """One clip in some lines, for the sheet."""

  clip: str
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]


class Measured(NamedTuple):
  """What `measure` finds."""

  figures: Figures
  ledger: Ledger
  shown: list[Talked]


def lines(entries: Sequence[Entry]) -> list[Line]:
  """Every line of the table, in its order."""
  own = [Line(entry, "own") for entry in entries]
  shuffled = [Line(entry, "shuffled") for entry in entries]
  return [*own, *shuffled, *(Line(entry, "reference") for entry in REFERENCES)]


def name(line: Line, metric: str) -> str:
  """Key of a figure: NAME/psnr, NAME/psnr_shuffled, speak/static_psnr.

  How our own SyncNet does on real clips says nothing of speaking, and is
  syncnet/two_way.
  """
  if line.entry is TRUE and metric == "two_way":
    return "syncnet/two_way"
  return {
    "own": f"{line.entry.name}/{metric}",
    "shuffled": f"{line.entry.name}/{metric}_shuffled",
    "reference": f"speak/{line.entry.name}_{metric}",
  }[line.kind]


def measure(
  takes: Sequence[Take],
  entries: Sequence[Entry],
  read: Reader,
  lips: Sync | None,
  *,
  seed: int,
  shown: int,
  cache: Cache | None = None,
  progress: Callable[[Sequence[Take]], Iterable[Take]] = lambda x: x,
) -> Measured:
  """All of the speaking figures.

  Args:
    takes: Clips of one length each; two of different people at least.
    entries: The systems, of different names.
    read: Who reads landmarks and so on off frames.
    lips: SyncNet; None leaves its figures out.
    seed: Of the bootstrap.
    shown: How many clips are kept for the sheet.
    cache: Where generated frames are kept; None makes them every time.
    progress: Wraps the clips.
  """
  table, ledger, kept = lines(entries), Ledger(), []
  for index, take in enumerate(progress(takes)):
    driver = _driver(takes, index)
    sounds = _sounds(take, driver)
    made = {
      line.title: [
        _clip(line, request(take, sounds[line.kind]), key, read, cache)
        for key in range(methods.KEYS if line.entry.method.samples else 1)
      ]
      for line in table
    }
    real, still = made[_REAL][0], made[_STILL][0]
    clip = _Clip(ledger, str(index), take)
    for line in table:
      for one in made[line.title]:
        _line(clip, line, one, real.seen)
    if lips is not None:
      _sync(clip, made, table, lips, sounds)
    for entry in entries:
      own = made[Line(entry, "own").title]
      other = made[Line(entry, "shuffled").title]
      for one, two in zip(own, other, strict=True):
        _compare(clip, entry.name, one, two, still)
        _shuffled(clip, entry.name, two.seen, driver)
    if index < shown:
      kept.append(Talked(take.clip, {k: v[0].frames for k, v in made.items()}))
  return Measured(ledger.figures(seed), ledger, kept)


def request(take: Take, audio: Int16[np.ndarray, "s"]) -> methods.Request:
  """Self-driven: what there is to know of a clip, and a sound to say."""
  track = methods.Track(take.frames, take.landmarks)
  return methods.Request(
    identity=take.frames[0],
    landmarks=take.landmarks[0],
    audio=audio,
    frames=len(take.frames),
    fps=take.fps,
    pose=track,
    emotion=take.emotion_track,
    target=track,
  )


_REAL = Line(TRUE, "reference").title
_STILL = Line(STATIC, "reference").title


class _Clip(NamedTuple):
  """Where one clip's sums are booked."""

  ledger: Ledger
  index: str
  take: Take

  def add(self, name, row, statistic=sums.mean):
    self.ledger.add(name, row, statistic, self.index)


def _clip(
  line: Line,
  asked: methods.Request,
  key: int,
  read: Reader,
  cache: Cache | None,
) -> Clip:
  """Makes a clip, or finds it in the cache, and reads it."""

  def make():
    return methods.run(line.entry, asked, key)

  if cache is None or not line.entry.restored.digest:
    frames = make()
  else:
    frames = cache.frames(methods.digest(line.entry, asked, key), make)
  return Clip(frames, read(frames))


def _line(clip: _Clip, line: Line, one: Clip, real: Reading) -> None:
  """Figures of one line of one clip."""
  take, seen = clip.take, one.seen
  frames, true = one.frames[1:], take.frames[1:]
  box = mouth.mouth_box(take.landmarks[1:], true.shape[1])

  def book(metric, values, statistic=sums.mean):
    clip.add(name(line, metric), values, statistic)

  book("psnr", sums.mean_row(image.psnr(frames, true)))
  book("ssim", sums.mean_row(image.ssim(frames, true)))
  book("mouth_box_psnr", sums.mean_row(image.psnr(frames, true, box)))
  for metric, where in (
    ("gradient_energy", ()),
    ("mouth_gradient_energy", (box,)),
  ):
    energies = [image.gradient_energy(x, *where).sum() for x in (frames, true)]
    book(metric, np.array(energies), sums.ratio)
  ok = seen.found.copy()
  ok[0] = False
  book("found", sums.mean_row(seen.found[1:]))
  book("undetected", sums.mean_row(~seen.found[1:]))
  if not ok.any():
    return
  points, truth = seen.landmarks[ok], take.landmarks[ok]
  book("f_lmd", sums.mean_row(landmarks.f_lmd(points, truth)))
  book("m_lmd", sums.mean_row(landmarks.m_lmd(points, truth)))
  book("pose_error", sums.mean_row(pose.error(seen.pose[ok], take.pose[ok])))
  book("pose_r2", sums.r2_row(seen.pose[ok], take.pose[ok]), sums.r2)
  book(
    "mouth_r",
    sums.pearson_row(seen.opening[ok], take.opening[ok]),
    sums.pearson,
  )
  if seen.identity is not None and real.identity is not None:
    book(
      "identity_cosine",
      sums.mean_row(identity.cosine(seen.identity[ok], real.identity[0])),
    )
  if seen.emotion is not None and take.emotion >= 0:
    guess = seen.emotion[ok].argmax(-1)
    book("emotion", sums.mean_row((guess == take.emotion).astype(float)))


def _compare(
  clip: _Clip, model: str, own: Clip, other: Clip, still: Clip
) -> None:
  """Differences between lines of one clip, so that intervals are paired."""
  take, true = clip.take, clip.take.frames[1:]
  box = mouth.mouth_box(take.landmarks[1:], true.shape[1])
  whole = [image.psnr(x.frames[1:], true) for x in (own, still)]
  lips = [image.psnr(x.frames[1:], true, box) for x in (own, other, still)]
  for metric, gain in (
    ("psnr_over_static", whole[0] - whole[1]),
    ("mouth_box_over_shuffled", lips[0] - lips[1]),
    ("mouth_box_over_static", lips[0] - lips[2]),
  ):
    clip.add(f"{model}/{metric}", sums.mean_row(gain))


def _shuffled(clip: _Clip, model: str, seen: Reading, driver: Take) -> None:
  """Whom the mouth follows when it hears another clip's speech."""
  take = clip.take
  n = min(len(take.frames), len(driver.frames))
  ok = seen.found[:n].copy()
  ok[0] = False
  if not ok.any():
    return
  opening = seen.opening[:n][ok]
  driving = sums.pearson_row(opening, driver.opening[:n][ok])
  true = sums.pearson_row(opening, take.opening[:n][ok])
  clip.add(f"{model}/shuffled_driving_r", driving, sums.pearson)
  clip.add(f"{model}/shuffled_true_r", true, sums.pearson)
  clip.add(
    f"{model}/shuffled_driving_minus_true",
    np.concatenate([driving, true]),
    difference(sums.pearson, 3),
  )


def _sync(
  clip: _Clip,
  made: Mapping[str, Sequence[Clip]],
  table: Sequence[Line],
  lips: Sync,
  sounds: Mapping[Kind, np.ndarray],
) -> None:
  """SyncNet's opinion of every line against the sound that it heard."""
  count = len(clip.take.frames)
  own, other = (lips.sound(sounds[x], count) for x in ("own", "shuffled"))
  for line in table:
    heard = other if line.kind == "shuffled" else own
    for one in made[line.title]:
      seen = lips.lips(one.frames, one.seen.landmarks)
      if seen is None:
        continue
      for metric, values in lips.figures(seen, heard).items():
        clip.add(name(line, metric), sums.mean_row(values))


def _sounds(take: Take, driver: Take) -> dict[Kind, np.ndarray]:
  """What a line of each kind hears."""
  other = _fit(driver.audio, len(take.audio))
  return {"own": take.audio, "reference": take.audio, "shuffled": other}


def _driver(takes: Sequence[Take], index: int) -> Take:
  """The next clip of another person: whose speech is put in."""
  order = [*takes[index + 1 :], *takes[:index]]
  others = [t for t in order if t.person != takes[index].person]
  if not others:
    raise ValueError("shuffled speech needs clips of two people")
  return others[0]


def _fit(audio: Int16[np.ndarray, "s"], length: int) -> np.ndarray:
  """Cut, or silence added, to a length."""
  return np.pad(audio[:length], (0, max(length - len(audio), 0)))


def grid(
  talked: Sequence[Talked], columns: int, rows: Sequence[str]
) -> UInt8[np.ndarray, "r c h w 3"]:
  """Cells of the sheet: some lines of each clip, evenly spaced frames."""
  cells = []
  for one in talked:
    n = len(one.frames[rows[0]])
    at = np.linspace(1, n - 1, columns).round().astype(int)
    cells += [one.frames[row][at] for row in rows]
  return np.stack(cells)


def sheet_rows(entries: Sequence[Entry]) -> dict[str, str]:
  """{title of a line that the sheet shows: its short name}."""
  rows = {_REAL: "true", _STILL: "static"}
  for entry in entries:
    rows[Line(entry, "own").title] = entry.name
    rows[Line(entry, "shuffled").title] = "other speech"
  return rows


def table_rows(
  found: Mapping[str, Figure], entries: Sequence[Entry], data: str = ""
) -> list[tables.Row]:
  """The lines as rows of a table.

  Args:
    found: From `measure`.
    entries: The same as there.
    data: What the data set is called, where there are several.
  """
  rows = []
  for line in lines(entries):
    own = {
      metric: found[name(line, metric)]
      for metric in tables.METRICS
      if name(line, metric) in found
    }
    rows.append(
      tables.Row(
        method=line.title,
        data=data,
        source=tables.MEASURED,
        sees=line.entry.method.sees,
        clips=found[name(line, "psnr")].clips,
        undetected=found[name(line, "undetected")].value,
        figures=own,
      )
    )
  return rows
