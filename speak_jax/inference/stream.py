"""A photograph that talks while it hears: `Model.stream`.

Sound comes in pieces, frames go out. What is heard and when a frame can be made
is in `utterance`, which is pure; here the states are kept, frames composed, and
one mouth led over to the next.
"""

import collections
import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import soxr
from jaxtyping import Float, Float32, Int16, UInt8

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.follow import FaceTracker
from speak_jax import spec
from speak_jax.common.on_disk import Rows
from speak_jax.common.prefetch import prefetch
from speak_jax.inference import utterance
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.request import Request, RequestError, check
from speak_jax.inference.talking_photograph import Actor, actor
from speak_jax.inference.utterance import Hearing, Utterance
from speak_jax.inference.windows import bounced
from speak_jax.photograph import composition
from speak_jax.photograph.head_motion import PACKED, Drive, unpacked
from speak_jax.provenance.marking import Marking

# Of an idle head's motion and of a pose video, which then go back and forth.
HORIZON_S = 600.0
BATCH = 10  # frames made at once: 0.4 s, so that new sound is soon heard
OVER = 4  # frames in which the mouth goes over from one sound to another
THREADS = 2  # that compose
AHEAD = 16  # drives that are read ahead
RATES_HZ = 4_000, 384_000
IDLE = -1  # the utterance of frames in which nobody speaks
NOTHING = -2  # the same before the first frame


class Frame(NamedTuple):
  """A frame, and when it is to be shown."""

  picture: UInt8[np.ndarray, "h w 3"]  # RGB
  time: float  # seconds since the stream's first frame
  utterance: int  # from 0, or IDLE
  # Second of the utterance that is to be heard with it; 0 where nobody speaks.
  second: float


class Stream:
  """Frames of somebody who hears what he is to say.

  Push sound, take the frames that are ready, as often as you like; one thread
  at a time. Frames are numbered on without a hole, whatever they show.

  Attributes:
    fps: Frames a second.
    width, height: Px.
    look_ahead: Seconds of sound behind a frame that must be known for it.
  """

  def __init__(
    self,
    network: MotionModel,
    actor: Actor,
    finish: Callable[[np.ndarray], np.ndarray],
    *,
    mouth: float = 1.0,
    lufs: float | None = None,
    look_ahead: float | None = None,
  ):
    """Makes ready; everything is compiled then.

    Args:
      network: Moves the mouth.
      actor: Who talks, with drives of HORIZON_S.
      finish: Marks a frame.
      mouth: As for `MotionModel.stream`.
      lufs: Loudness of the voice that will come; None: it is measured while
        it comes, as EBU R128 does, pauses left out.
      look_ahead: Seconds; None: as far as the network hears, which gives the
        frames that `Model.generate` makes. What is not known then is mirrored.

    Raises:
      RequestError: no such loudness or look-ahead.
    """
    settings = network.settings
    self._network, self._actor, self._finish = network, actor, finish
    self._opening = mouth
    self._hearing = Hearing(settings, _frames_ahead(network, look_ahead), lufs)
    if lufs is not None and not -70 <= lufs <= 0:
      raise RequestError("lufs", f"{lufs:g} is not from -70 to 0")
    self.fps = settings.fps
    self.height, self.width = actor.portrait.photograph.shape[:2]
    self.look_ahead = self._hearing.look_ahead / settings.fps
    self._said = utterance.silence()
    self._number = 0  # of the utterance
    self._waiting: collections.deque[Utterance] = collections.deque()
    self._ear: _Ear | None = None  # of the utterance that is being said
    self._shown = 0  # frames
    self._last = _FIRST
    self._open = contextlib.ExitStack()
    self._threads = self._open.enter_context(ThreadPoolExecutor(THREADS))
    read = self._open.enter_context(prefetch(actor.drives, AHEAD))
    self._drives = _endless(read)
    self._ahead: collections.deque[Drive] = collections.deque()
    self._close = weakref.finalize(self, self._open.close)
    self._compose(self._calm(), self._next_drives(1)[0])

  def __enter__(self) -> "Stream":
    """Gives itself."""
    return self

  def __exit__(self, *error: object) -> None:
    """Ends it."""
    self.close()

  @property
  def queued(self) -> float:
    """Seconds of sound that have come and were not shown."""
    sounds = (self._said, *self._waiting)
    total = sum(x.samples for x in sounds) / spec.SAMPLE_RATE_HZ
    return max(total - self._said.made / self.fps, 0.0)

  @property
  def spoken(self) -> int:
    """Number of utterances that are over: shown to their end, or forgotten."""
    said = self._said
    over = said.ended and said.made >= utterance.ready(said, self._hearing)
    return self._number + over

  def push(self, samples: np.ndarray, rate: float) -> None:
    """Hears what is said next.

    Args:
      samples: int16, or float of full scale 1, (s) or (s c); the mean of the
        channels is heard.
      rate: Hz, the same for all of an utterance.

    Raises:
      ValueError: it is no sound, or of another rate; one line.
    """
    mono = _mono(samples)
    if self._ear is None:
      self._ear = _Ear(rate)
      if self._said.ended:
        self._waiting.append(utterance.silence())
    elif rate != self._ear.rate:
      raise ValueError(
        f"{rate:g} Hz in an utterance of {self._ear.rate:g} Hz; end it first"
      )
    self._hear(self._ear(mono))

  def end(self) -> None:
    """What was pushed is all of the utterance; behind it there is silence."""
    if self._ear is None:
      return
    self._hear(self._ear(np.zeros(0, np.float32), last=True))
    self._ear = None
    if self._waiting:
      self._waiting[-1] = utterance.ended(self._waiting[-1])
    else:
      self._said = utterance.ended(self._said)

  def interrupt(self) -> None:
    """Forgets all that was pushed and not shown: somebody else speaks now."""
    self._waiting.clear()
    self._ear = None
    self._said = utterance.silence()
    self._number += 1

  def ready(self) -> Iterator[Frame]:
    """Makes the frames whose sound is known, until there are none.

    `push`, `end` and `interrupt` may come between two of them.
    """
    while (batch := self._batch()) is not None:
      number = self._number
      drives = self._next_drives(len(batch))
      pictures = [
        self._threads.submit(self._compose, over.mouth, drive)
        for over, drive in zip(batch, drives, strict=True)
      ]
      for over, picture in zip(batch, pictures, strict=True):
        second = self._said.made / self.fps
        self._said = utterance.taken(self._said, 1)
        yield self._show(picture.result(), over, second)
        if number != self._number:  # what was made of the old sound is not
          break
      for picture in pictures:
        picture.cancel()

  def idle(self) -> Frame:
    """Makes a frame in which nobody speaks, for when nothing comes."""
    (over,) = self._last.to(self._calm()[None], IDLE)
    (drive,) = self._next_drives(1)
    return self._show(self._compose(over.mouth, drive), over, 0.0)

  def over(self, pieces: Iterable[np.ndarray], rate: float) -> Iterator[Frame]:
    """Makes the frames of one utterance.

    Args:
      pieces: See `push`.
      rate: Hz.
    """
    for piece in pieces:
      self.push(piece, rate)
      yield from self.ready()
    self.end()
    yield from self.ready()

  def close(self) -> None:
    """Ends the threads."""
    self._close()

  def _hear(self, audio: Int16[np.ndarray, "s"]) -> None:
    if self._waiting:
      last = utterance.heard(self._waiting[-1], audio, self._hearing)
      self._waiting[-1] = last
    else:
      self._said = utterance.heard(self._said, audio, self._hearing)

  def _batch(self) -> list["_Over"] | None:
    """The next mouths, a few at most; None if there are none yet."""
    stretch = utterance.stretch(self._said, self._hearing, BATCH)
    while stretch is None and self._said.ended and self._waiting:
      self._said = self._waiting.popleft()
      self._number += 1
      stretch = utterance.stretch(self._said, self._hearing, BATCH)
    if stretch is None:
      return None
    mouths = self._points(stretch.sound, stretch.start, stretch.stop)
    return self._last.to(mouths, self._number)

  def _calm(self) -> Float[np.ndarray, "468 3"]:
    """The mouth of somebody who says nothing."""
    nothing = np.zeros((1, self._hearing.settings.samples), np.int16)
    return self._points(nothing, 0, 1)[0]

  def _points(
    self, sound: Int16[np.ndarray, "1 a"], start: int, stop: int
  ) -> Float[np.ndarray, "n 468 3"]:
    """The frames' points, lids open, from `start` to `stop` of a window."""
    strengths = self._actor.strengths
    if not isinstance(strengths, np.ndarray):
      frames = self._shown + np.arange(stop) - start
      strengths = strengths(frames.clip(0))
    lids = [0.0] * stop
    points = self._network.stretch(sound, lids, strengths, self._opening)
    return points[start:]

  def _compose(
    self, mouth: Float[np.ndarray, "468 3"], drive: Drive
  ) -> UInt8[np.ndarray, "h w 3"]:
    one = self._actor.portrait
    points = mouth + drive.lids * self._network.shut
    moved = one.expression(points, drive.lids, drive.gaze)
    frame = composition.compose(one, moved, drive.motion, drive.gaze)
    return self._finish(frame)

  def _next_drives(self, count: int) -> list[Drive]:
    """The drives of the next frames, which stay the next ones until shown."""
    missing = max(count - len(self._ahead), 0)
    self._ahead.extend(itertools.islice(self._drives, missing))
    return list(itertools.islice(self._ahead, count))

  def _show(
    self, picture: UInt8[np.ndarray, "h w 3"], over: "_Over", second: float
  ) -> Frame:
    self._ahead.popleft()
    self._last = over
    frame = Frame(picture, self._shown / self.fps, over.source, second)
    self._shown += 1
    return frame


class _Over(NamedTuple):
  """A mouth that was shown, and how far it had gone over to its sound."""

  mouth: Float[np.ndarray, "468 3"]  # lids open
  source: int  # the utterance, IDLE or NOTHING
  gap: Float[np.ndarray, "468 3"]  # from the sound's first mouth to one before
  frames: int  # shown of this source

  def to(
    self, mouths: Float[np.ndarray, "n 468 3"], source: int
  ) -> list["_Over"]:
    """The mouths that follow, led over to where they are another's."""
    gap, frames = self.gap, self.frames
    if self.source == NOTHING:
      gap, frames = np.zeros_like(self.mouth), 0
    elif source != self.source:
      gap, frames = self.mouth - mouths[0], 0
    out = []
    for mouth in mouths:
      frames += 1
      share = max(1 - frames / (OVER + 1), 0.0)
      out.append(_Over(mouth + share * gap, source, gap, frames))
    return out


_FIRST = _Over(np.zeros((spec.MESH, 3)), NOTHING, np.zeros((spec.MESH, 3)), 0)


class _Ear:
  """Turns sound of any rate into what networks hear."""

  def __init__(self, rate: float):
    """Takes its rate in Hz.

    Raises:
      ValueError: it is not in RATES_HZ.
    """
    low, high = RATES_HZ
    if not low <= rate <= high:
      raise ValueError(f"{rate:g} Hz are not from {low} to {high}")
    self.rate = rate
    self._resampler = None
    if rate != spec.SAMPLE_RATE_HZ:
      self._resampler = soxr.ResampleStream(
        rate, spec.SAMPLE_RATE_HZ, 1, dtype="float32"
      )

  def __call__(
    self, mono: Float32[np.ndarray, "s"], last: bool = False
  ) -> Int16[np.ndarray, "n"]:
    """The samples at 16 kHz that are known by now."""
    if self._resampler is not None:
      mono = self._resampler.resample_chunk(mono, last=last)
    return np.rint(mono * 32768).clip(-32768, 32767).astype(np.int16)


def _mono(samples: Any) -> Float32[np.ndarray, "s"]:
  """Full scale 1.

  Raises:
    ValueError: it is no sound; one line.
  """
  sound = np.asarray(samples)
  known = sound.dtype in (np.int16, np.float32, np.float64)
  if not known or sound.ndim not in (1, 2):
    raise ValueError(
      f"{sound.dtype} {sound.shape} is no sound: int16 or float, (s) or (s c)"
    )
  if sound.dtype == np.int16:
    sound = sound / np.float32(32768)
  elif not np.isfinite(sound).all():
    raise ValueError("the sound has samples that are no numbers")
  if sound.ndim == 2:
    sound = sound.mean(1)
  return sound.astype(np.float32)


def _frames_ahead(network: MotionModel, seconds: float | None) -> int:
  """Frames of sound that must be known behind a frame.

  Raises:
    RequestError: no such time.
  """
  most = network.settings.context
  if seconds is None:
    return most
  frames = round(seconds * network.settings.fps)
  if not 0 <= frames <= most:
    reach = most / network.settings.fps
    raise RequestError(
      "look_ahead", f"{seconds:g} s is not from 0 to {reach:g}"
    )
  return frames


def _endless(drives: Iterable[Drive]) -> Iterator[Drive]:
  """Plays them, then back and forth."""
  played = Rows(np.float64, (PACKED,))
  for drive in drives:
    played.append(drive.packed()[None])
    yield drive
  for time in itertools.count(len(played)):
    yield unpacked(played.row(bounced(time, len(played))))


def of_photograph(
  network: MotionModel,
  eyes: EyeReader,
  request: Request,
  tracker: FaceTracker,
  marking: Marking,
  *,
  lufs: float | None,
  look_ahead: float | None,
) -> Stream:
  """Reads a request, whose sound will come; see `Model.stream`.

  Args:
    network: From a bundle.
    eyes: Finds irises.
    request: Its sound is not looked at.
    tracker: Finds faces.
    marking: How frames are marked.
    lufs, look_ahead: See `Stream`.

  Raises:
    FileError, RequestError: as `talking_photograph.take` does.
  """
  check(request, moves_photographs=True)
  for field in ("fps", "track", "more_audio"):
    if getattr(request, field) != getattr(Request, field):
      raise RequestError(field, "a stream has none; leave it out")
  n = round(HORIZON_S * network.settings.fps)
  one = actor(network, request, n, tracker, lambda line: None, eyes=eyes)
  height, width = one.portrait.photograph.shape[:2]
  finish = marking.of_size(height, width)
  return Stream(
    network,
    one,
    finish,
    mouth=request.mouth,
    lufs=lufs,
    look_ahead=look_ahead,
  )
