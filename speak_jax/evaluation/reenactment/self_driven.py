"""Whole systems on held-out clips: self-driven, and with other speech.

The clip's first frame is the identity picture and is left out of every
figure; pose and emotion come from the clip. Lines: every model, every model
with another clip's speech, and the references of `methods`. What a made clip
is compared by stands in `comparison`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int16, UInt8

from speak_jax import spec
from speak_jax.evaluation import methods
from speak_jax.evaluation.cache import Cache
from speak_jax.evaluation.ledger import Figure, Figures, Ledger
from speak_jax.evaluation.methods import REFERENCES, STATIC, TRUE, Entry
from speak_jax.evaluation.readers.aligned import align
from speak_jax.evaluation.readers.perceptual import (
  Crowd,
  Features,
  Look,
  distances,
)
from speak_jax.evaluation.readers.reading import Reader, Reading, Sync, Take
from speak_jax.evaluation.reenactment import comparison
from speak_jax.evaluation.reenactment.comparison import Side, Sums
from speak_jax.evaluation.report import tables
from speak_jax.metrics import mouth, sums

IDENTITIES = "frechet_identity"  # in the reader's own identity features
LEAST_SYNC = 0.4  # s; less is not two of SyncNet's windows

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
  begins: int  # frames before it only fill the clip


class Talked(NamedTuple):
  """One clip in all lines, to look at; by the lines' titles."""

  clip: str
  frames: dict[str, UInt8[np.ndarray, "n h w 3"]]
  sounds: dict[str, Int16[np.ndarray, "s"]]  # what each line hears


class Measured(NamedTuple):
  """What `measure` finds."""

  figures: Figures
  ledger: Ledger
  # That each entry generates, by its name. Cached clips do not count, nor the
  # first, which compiles; an entry without any other is not there.
  frames_per_second: dict[str, float]


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
  show: Callable[[Talked], None] = lambda talked: None,
  looks: Mapping[str, Look] = {},
  cache: Cache | None = None,
  progress: Callable[[Sequence[Take]], Iterable[Take]] = lambda x: x,
) -> Measured:
  """All of the speaking figures.

  Args:
    takes: Clips of one length each; two at least, of different people if the
      other speech is to be another person's.
    entries: The systems, of different names.
    read: Who reads landmarks and so on off frames.
    lips: SyncNet; None leaves its figures out.
    seed: Of the bootstrap.
    show: Is given every clip as it is made; frames are not kept here.
    looks: Networks to see frames through, by the names of their figures.
    cache: Where generated frames are kept; None makes them every time.
    progress: Wraps the clips.
  """
  table, ledger, crowd = lines(entries), Ledger(), Crowd()
  clock: Clock = defaultdict(list)
  for index, take in enumerate(progress(takes)):
    driver = next_person(takes, index)
    sounds = _sounds(take, driver)
    made = {
      line.title: [
        _clip(line, request(take, sounds[line.kind]), key, read, cache, clock)
        for key in range(methods.KEYS if line.entry.method.samples else 1)
      ]
      for line in table
    }
    real, still = made[_REAL][0], made[_STILL][0]
    true = _truth(take, real.seen)
    clip = _Clip(ledger, str(index), take)
    for line in table:
      for one in made[line.title]:
        found = _line(take, true, one, sounds[line.kind], looks)
        for metric, total in found.items():
          clip.add(name(line, metric), *total)
      # One key alone: the distance falls with the number of frames.
      for metric, values in _features(made[line.title][0], looks).items():
        crowd.add(name(line, metric), values)
    if lips is not None:
      _sync(clip, made, table, lips, sounds)
    for entry in entries:
      own = made[Line(entry, "own").title]
      other = made[Line(entry, "shuffled").title]
      for one, two in zip(own, other, strict=True):
        found = _between(take, driver, one, two, still, real)
        for metric, total in found.items():
          clip.add(f"{entry.name}/{metric}", *total)
    show(
      Talked(
        take.clip,
        {title: clips[0].frames for title, clips in made.items()},
        {line.title: sounds[line.kind] for line in table},
      )
    )
  seen = [IDENTITIES, *(k for k, x in looks.items() if isinstance(x, Features))]
  pairs = {
    name(line, metric): name(Line(TRUE, "reference"), metric)
    for line in table
    for metric in seen
  }
  figures = ledger.figures(seed) | crowd.figures(pairs)
  return Measured(figures, ledger, _speeds(clock))


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


# {name of an entry: (frames, seconds) of each clip that it generated}
Clock = dict[str, list[tuple[int, float]]]


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
  clock: Clock,
) -> Clip:
  """Makes a clip by the clock, or finds it in the cache, and reads it."""

  def make():
    frames, seconds = methods.timed(line.entry, asked, key)
    if line.kind != "reference":
      clock[line.entry.name].append((len(frames), seconds))
    return frames

  if cache is None or not line.entry.restored.digest:
    frames = make()
  else:
    frames = cache.frames(methods.digest(line.entry, asked, key), make)
  begins = round(line.entry.method.begins * asked.fps)
  return Clip(frames, read(frames), begins)


def _speeds(clock: Clock) -> dict[str, float]:
  return {
    entry: sums.ratio(np.array(clips[1:], np.float64))
    for entry, clips in clock.items()
    if len(clips) > 1
  }


def _truth(take: Take, seen: Reading) -> Side:
  """What made frames are compared with.

  Landmarks, pose and opening are the clip's own, so that the ground truth's
  line shows the reader's error; the identity is that of the first frame. The
  aligned crop needs the same landmarks on both sides, the reader's.
  """
  faces = seen.identity
  known = Reading(
    found=np.ones(len(take.frames), bool),
    landmarks=take.landmarks,
    pose=take.pose,
    opening=take.opening,
    emotion=None,
    identity=None if faces is None else np.repeat(faces[:1], len(faces), 0),
  )
  return Side(take.frames, known, align(take.frames, seen.landmarks))


def _line(
  take: Take,
  true: Side,
  one: Clip,
  heard: Int16[np.ndarray, "s"],
  looks: Mapping[str, Look],
) -> Sums:
  """Figures of one line of one clip; none if it begins after the end."""
  at = slice(max(one.begins, 1), None)
  if one.begins >= len(one.frames):
    return {}
  made, true = comparison.side(one.frames, one.seen).part(at), true.part(at)
  size = true.frames.shape[1]
  box = mouth.mouth_box(true.seen.landmarks, size)
  hushed = mouth.silent(heard, len(take.frames), take.fps)[at]
  return {
    **comparison.pictures(made.frames, true.frames, box, take.fps),
    **comparison.crops(made.upright, true.upright),
    **comparison.faces(made.seen, true.seen, size),
    **comparison.motions(made.seen, take.fps),
    **comparison.silence(made.seen, hushed),
    **comparison.emotions(made.seen, take.emotion),
    **distances(looks, made.frames, true.frames),
  }


def _features(
  one: Clip, looks: Mapping[str, Look]
) -> dict[str, Float[np.ndarray, "n d"]]:
  """What Frechet distances are measured in, of the frames compared."""
  at = slice(max(one.begins, 1), None)
  if one.begins >= len(one.frames):
    return {}
  frames, seen = one.frames[at], one.seen.part(at)
  found = {
    metric: look.run(frames[:: look.every])
    for metric, look in looks.items()
    if isinstance(look, Features)
  }
  if seen.identity is not None:
    found[IDENTITIES] = seen.identity[seen.found]
  return found


def _between(
  take: Take, driver: Take, own: Clip, other: Clip, still: Clip, real: Clip
) -> Sums:
  """Figures between the lines of one model, so that intervals are paired."""
  after = slice(1, None)
  true = take.frames[after]
  box = mouth.mouth_box(take.landmarks[after], true.shape[1])
  made, misled, stood = (x.frames[after] for x in (own, other, still))
  hushed = mouth.silent(take.audio, len(take.frames), take.fps)[after]
  # The other speech may be the shorter one.
  heard = slice(1, min(len(take.frames), len(driver.frames)))
  return {
    **comparison.gains(made, misled, stood, true, box),
    **comparison.wider(own.seen.part(after), real.seen.part(after), hushed),
    **comparison.followed(
      other.seen.part(heard), driver.opening[heard], take.opening[heard]
    ),
  }


def _sync(
  clip: _Clip,
  made: Mapping[str, Sequence[Clip]],
  table: Sequence[Line],
  lips: Sync,
  sounds: Mapping[Kind, np.ndarray],
) -> None:
  """SyncNet's opinion of every line against the sound that it heard."""
  take = clip.take
  step = spec.samples_per_frame(take.fps)
  codes: dict[tuple[Kind, int], np.ndarray] = {}
  for line in table:
    for one in made[line.title]:
      first, count = one.begins, len(take.frames) - one.begins
      if first and count < LEAST_SYNC * take.fps:
        continue
      seen = lips.lips(one.frames[first:], one.seen.landmarks[first:])
      if seen is None:
        continue
      if (line.kind, first) not in codes:
        sound = sounds[line.kind][round(first * step) :]
        codes[line.kind, first] = lips.sound(sound, count)
      heard = codes[line.kind, first]
      for metric, values in lips.figures(seen, heard).items():
        clip.add(name(line, metric), sums.mean_row(values))


def _sounds(take: Take, driver: Take) -> dict[Kind, np.ndarray]:
  """What a line of each kind hears."""
  other = fit(driver.audio, len(take.audio))
  return {"own": take.audio, "reference": take.audio, "shuffled": other}


def next_person(takes: Sequence[Take], index: int) -> Take:
  """The next clip of another person: whose speech is put in.

  Where all clips are of one person it is the next of theirs.

  Raises:
    ValueError: there is but one clip.
  """
  order = [*takes[index + 1 :], *takes[:index]]
  if not order:
    raise ValueError("shuffled speech needs two clips")
  others = [t for t in order if t.person != takes[index].person]
  return (others or order)[0]


def fit(audio: Int16[np.ndarray, "s"], length: int) -> np.ndarray:
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
    if name(line, "psnr") not in found:  # no clip is as long as its lag
      continue
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
