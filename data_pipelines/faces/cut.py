"""A raw video as square clips of one face, each with its sound."""

import functools
import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8

from data_pipelines.faces import align, footage
from data_pipelines.faces.face_rule import parse_face_rule
from data_pipelines.faces.follow import MIN_SEEN, NoFaceError, follow, gaps
from data_pipelines.faces.follow import span as times_of
from data_pipelines.faces.nets import box_of, iou
from data_pipelines.faces.tracker import Track, Tracker, bridge, is_sure, runs
from data_pipelines.media import decoder
from data_pipelines.media.audio import clipped, fit, is_silent
from data_pipelines.media.error import MediaError, once, reject, warn
from data_pipelines.media.loudness import VOICE_LUFS, levelled
from data_pipelines.media.video import VideoInfo
from data_pipelines.media.warp import transform, transform_mesh, warp
from speak_jax import spec

SEARCH_S = 30.0  # how far a video is looked at for which way is up
MAX_FRAMES = 1024
MIN_FRAMES = 25  # a second at 25 fps: a shorter clip has no other moment
GAP = 12  # frames without a face that are bridged, unless all are held
# A shot ends where the face's box leaves its first place (as FOMM has it),
# where it jumps between two frames, or where the tracker sees a cut.
FIRST_IOU, NEXT_IOU = 0.25, 0.4
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)

# What a clip must be like. Real clips are far from all of these.
MIN_FACE_PX = 64
# Of the variance of the aligned face at 64 px, that of its Laplacian: 20 real
# clips have 0.10 to 0.68; blurred by 8 px of 256 they have under 0.04.
MIN_SHARPNESS, SHARP_PX, SHARP_EVERY = 0.02, 64, 5
MAX_CLIPPED = 0.05  # of the samples; of speech 30 dB too loud a third
NAMED = 3  # stretches of one reason that are named one by one
MAX_OUTSIDE = 0.5  # of the crop's area beyond the picture
WARN_OUTSIDE = 0.25  # from which a warning is given


class Settings(NamedTuple):
  """How videos become clips; plain values, so that they can be stored."""

  fps: float = float(spec.FPS)  # frame grid
  size: int = 256  # side of the crops, px
  max_frames: int = MAX_FRAMES  # longest clip; longer ones are split evenly
  # Silence for a video without sound, not an error: such a clip teaches a
  # mouth at rest under speech, so it is for tests.
  allow_silent: bool = False
  on_missing_face: str = "skip"  # "fail", "hold" or "skip"
  face: str = "largest"  # as `parse_face_rule` reads it
  voice_lufs: float = VOICE_LUFS  # loudness that all sound is brought to


class FaceClip(NamedTuple):
  """A stretch of a video, cropped to one face."""

  start: int  # first frame on the video's grid
  frames: list[bytes]  # JPEG, square
  audio: Int16[np.ndarray, "s"]  # round(n * 16000 / fps) samples
  landmarks: Float[np.ndarray, "n 68 2"]  # crop pixels
  mesh: Float[np.ndarray, "n 468 3"]  # x, y, z in crop pixels
  pose: Float[np.ndarray, "n 3"]  # degrees
  crop: Float[np.ndarray, "2 3"]  # source pixels -> crop pixels


class Stretch(NamedTuple):
  """Frames of a video that are left out."""

  start: int
  stop: int
  reason: str


@once()
def clips_of(
  path: str | os.PathLike,
  settings: Settings,
  *,
  audio_path: str | os.PathLike | None = None,
  box: tuple[float, float, float, float] | None = None,
  span: tuple[float, float] | None = None,
) -> list[FaceClip]:
  """Finds, follows and crops the face of a video.

  A video on its head or side is turned upright, and a warning says so; one
  that does not show which way is up is refused.

  Gaps of up to 12 frames without a face are interpolated, with a warning.
  Longer ones end a clip ("skip"), are interpolated too ("hold"), or refuse the
  video as short ones do ("fail"). Shots and `max_frames` end a clip. What lies
  outside the picture repeats its edge.

  A clip is left out if it is shorter than a second, if the face is small,
  blurred, seen in less than half of the frames or half outside the picture,
  or if the sound is silent or clipped. Each is reported as an `error.Rejected`
  warning, which holds file, start, stop (seconds of the source) and reason.

  Args:
    path: The video.
    settings: Grid, size and rules.
    audio_path: Where the sound is, if not in the video; it starts with the
      first picture. Its loudness becomes that of all voices.
    box: x, y, w, h in source px: the face of the first picture to follow,
      whatever `settings.face` says.
    span: Seconds of the video that are cut, as if there were no others;
      rejected stretches are reported in the video's own time.

  Raises:
    MediaError: unreadable, no sound, no face, or no stretch that is good
      enough; the reasons of all are named.
  """
  info = decoder.probe(path)
  has_audio = audio_path is not None or info.has_audio
  if not has_audio and not settings.allow_silent:
    raise MediaError(path, "no audio track")
  begin = span[0] if span else 0.0
  followed = _follow_face(path, info, settings, box, span)
  sound = None
  if has_audio:
    sound = _read_sound(
      path if audio_path is None else audio_path, begin, settings.voice_lufs
    )
  good, rejected = _judge(followed, sound, settings)
  clips = list(_encode(path, followed, sound, good, rejected, settings))
  rejected.sort()
  if not clips:
    reasons = [
      _with_times(
        reason, [x for x in rejected if x.reason == reason], settings.fps, begin
      )
      for reason in dict.fromkeys(x.reason for x in rejected)
    ]
    raise MediaError(path, "; ".join(reasons))
  for start, stop, reason in rejected:
    seconds = start / settings.fps + begin, stop / settings.fps + begin
    reject(path, *seconds, reason)
  return clips


class _Followed(NamedTuple):
  """A video and the face that was followed through it."""

  frames: decoder.Frames  # upright
  info: VideoInfo  # of the upright pictures
  tracked: Track  # rows of missing frames are NaN
  track: Track  # with gaps bridged


def _follow_face(
  path: str | os.PathLike,
  info: VideoInfo,
  settings: Settings,
  box: tuple[float, float, float, float] | None,
  span: tuple[float, float] | None,
) -> _Followed:
  """Turns the video upright, tracks the face and bridges gaps.

  Arguments as for `clips_of`; `info` is the file's.
  """
  rule = parse_face_rule(settings.face) if box is None else box
  frames = decoder.Frames(path, settings.fps, span=span)
  try:
    place = footage.find(
      path,
      _tracker(),
      rule,
      first=frames.first(),
      seconds=SEARCH_S,
      span=span,
    )
  except NoFaceError:  # but there may be one later
    place = footage.Footage(path, 0.0, 0, rule)
  frames = frames.again(turns=place.turns)
  if place.turns % 2:
    info = info._replace(width=info.height, height=info.width)
  tracked = follow(
    path,
    frames,
    settings.fps,
    tracker=_tracker(),
    rule=place.rule,
    on_missing_face=settings.on_missing_face,
  )
  hold = settings.on_missing_face == "hold"
  track = bridge(tracked, None if hold else GAP)
  bridged = track._replace(found=tracked.found | ~track.found)
  if not bridged.found.all():
    missing = gaps(bridged.found, settings.fps)
    warn(path, f"no face from {missing}, interpolated")
  return _Followed(frames, info, tracked, track)


class _Sound(NamedTuple):
  """Sound from the first frame of the span on, at 16 kHz."""

  levelled: Int16[np.ndarray, "s"]  # at the loudness of all voices
  recorded: Int16[np.ndarray, "s"]  # as the file has it


def _read_sound(
  path: str | os.PathLike, begin: float, voice_lufs: float
) -> _Sound:
  """Reads a file's sound from `begin` seconds on."""
  recorded = decoder.read_audio(path)
  audio = levelled(recorded, voice_lufs)  # one gain for all spans
  first = round(begin * spec.SAMPLE_RATE_HZ)
  return _Sound(audio[first:], recorded[first:])


class _Crop(NamedTuple):
  """Frames of a video and their square."""

  start: int
  stop: int
  matrix: Float[np.ndarray, "2 3"]


def _judge(
  followed: _Followed, sound: _Sound | None, settings: Settings
) -> tuple[list[_Crop], list[Stretch]]:
  """Stretches of one face that are good enough, and those that are not.

  By length, face, crop and sound; pictures are looked at later (`_encode`).
  """
  track, rejected = followed.track, []
  for start, stop in runs(~track.found):
    rejected.append(Stretch(start, stop, "no face"))
  good = []
  for start, stop in _stretches(track, settings.max_frames):
    crop = align.square(track.landmarks[start:stop], settings.size)
    reason = (
      _too_short(start, stop, settings)
      or _unseen(followed.tracked, start, stop)
      or _beyond(crop, settings.size, followed.info)
      or (_unheard(sound, start, stop, settings.fps) if sound else "")
    )
    if reason:
      rejected.append(Stretch(start, stop, reason))
    else:
      good.append(_Crop(start, stop, crop))
  return good, rejected


def _encode(
  path: str | os.PathLike,
  followed: _Followed,
  sound: _Sound | None,
  good: list[_Crop],
  rejected: list[Stretch],
  settings: Settings,
) -> Iterator[FaceClip]:
  """Cuts stretches out; those whose pictures are bad go to `rejected`."""
  fps, size, track = settings.fps, settings.size, followed.track
  if sound is None:
    samples = round(len(track.found) * spec.samples_per_frame(fps))
    audio = np.zeros(samples, np.int16)
  else:
    audio = sound.levelled
  for piece, jpegs, reason in _pictures(followed.frames, track, good, size):
    start, stop, crop = piece
    if reason:
      rejected.append(Stretch(start, stop, reason))
      continue
    outside = align.outside(
      crop, size, followed.info.width, followed.info.height
    )
    if outside > WARN_OUTSIDE:
      warn(path, f"{outside:.0%} of the crop lies outside the picture")
    yield FaceClip(
      start=start,
      frames=jpegs,
      audio=_sound_of(audio, start, stop, fps),
      landmarks=transform(track.landmarks[start:stop], crop),
      mesh=transform_mesh(track.mesh[start:stop], crop),
      pose=track.pose[start:stop],
      crop=crop.astype(np.float32),
    )


@functools.cache
def _tracker() -> Tracker:
  """One tracker a process: its networks take a while to load."""
  return Tracker()


def _with_times(
  reason: str, stretches: list[Stretch], fps: float, begin: float
) -> str:
  """A reason with its times; of many stretches from the first to the last."""
  if len(stretches) <= NAMED:
    times = [times_of(x.start, x.stop, fps, begin) for x in stretches]
    return "; ".join(f"{reason} from {time}" for time in times)
  time = times_of(stretches[0].start, stretches[-1].stop, fps, begin)
  return f"{reason} in {len(stretches)} stretches from {time}"


def _stretches(track: Track, max_frames: int) -> list[tuple[int, int]]:
  """Stretches (start, stop) of one face in one place and one shot."""
  stretches, shots = [], set(track.shots)
  for start, stop in runs(track.found):
    boxes = [box_of(points) for points in track.landmarks[start:stop]]
    begin = 0
    for i in range(1, len(boxes) + 1):
      if i == len(boxes) or (
        start + i in shots
        or iou(boxes[i], boxes[begin]) < FIRST_IOU
        or iou(boxes[i], boxes[i - 1]) < NEXT_IOU
      ):
        pieces = -(-(i - begin) // max_frames)
        edges = np.linspace(begin, i, pieces + 1).astype(int) + start
        stretches += itertools.pairwise(edges.tolist())
        begin = i
  return stretches


# Each of these says what is wrong with a stretch, or nothing.


def _too_short(start: int, stop: int, settings: Settings) -> str:
  shortest = min(MIN_FRAMES, settings.max_frames)
  return f"under {shortest} frames" if stop - start < shortest else ""


def _unseen(tracked: Track, start: int, stop: int) -> str:
  found = tracked.found[start:stop]
  if found.mean() < MIN_SEEN:
    return f"a face in only {found.mean():.0%} of the frames"
  points = tracked.landmarks[start:stop][found]
  extent = float(np.median((points.max(1) - points.min(1)).max(1)))
  if extent < MIN_FACE_PX:
    return f"face too small ({extent:.0f} px, {MIN_FACE_PX} needed)"
  return ""


def _beyond(crop: np.ndarray, size: int, info: VideoInfo) -> str:
  outside = align.outside(crop, size, info.width, info.height)
  if outside > MAX_OUTSIDE:
    return f"{outside:.0%} of the crop lies outside the picture"
  return ""


def _unheard(sound: _Sound, start: int, stop: int, fps: float) -> str:
  if is_silent(_sound_of(sound.levelled, start, stop, fps)):
    return "silent"
  share = clipped(_sound_of(sound.recorded, start, stop, fps))
  return f"clipped sound ({share:.0%})" if share > MAX_CLIPPED else ""


def _pictures(
  frames: decoder.Frames, track: Track, pieces: list[_Crop], size: int
) -> Iterator[tuple[_Crop, list[bytes], str]]:
  """Each stretch with its crops as JPEG, and what is wrong with them."""
  waiting = iter(pieces)
  piece = next(waiting, None)
  jpegs: list[bytes] = []
  sharp: list[float] = []
  lies = False
  # A pass of its own: only now is it known what the square must hold.
  for index, frame in enumerate(frames if piece else ()):
    if piece is None:
      break
    if index < piece.start:
      continue
    if index == piece.start:
      # Which way is up was asked of the first shot alone.
      later = bool(track.shots) and index >= track.shots[0]
      lies = later and _lies(frame, track.landmarks[index])
    jpegs.append(_jpeg(warp(frame, piece.matrix, size)))
    if (index - piece.start) % SHARP_EVERY == 0:
      sharp.append(_sharpness(frame, track.landmarks[index]))
    if index + 1 == piece.stop:
      yield piece, jpegs, _LIES if lies else _blurred(float(np.median(sharp)))
      piece, jpegs, sharp = next(waiting, None), [], []


def _blurred(sharpness: float) -> str:
  return f"blurred ({sharpness:.3f})" if sharpness < MIN_SHARPNESS else ""


_LIES = "the face of this shot is not upright"


def _lies(
  frame: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"]
) -> bool:
  """Whether the face with these landmarks lies on its side or head."""
  x0, y0, x1, y1 = box_of(landmarks).tolist()
  votes = _tracker().votes(frame, (x0, y0, x1 - x0, y1 - y0), False)
  return bool(votes.argmax()) and is_sure(votes)


def _sharpness(
  frame: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"]
) -> float:
  """Variance of the aligned face's Laplacian over that of its grey levels.

  The ratio does not depend on light and contrast.
  """
  aligned = align.align_face(frame, landmarks, SHARP_PX)
  grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY).astype(np.float32)
  edges = cv2.Laplacian(grey, cv2.CV_32F)
  return float(edges.var() / max(grey.var(), 1.0))


def _jpeg(crop: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """JPEG, quality 95, 4:2:0."""
  return cv2.imencode(".jpg", crop[..., ::-1], JPEG)[1].tobytes()


def _sound_of(
  audio: Int16[np.ndarray, "s"], start: int, stop: int, fps: float
) -> Int16[np.ndarray, "n"]:
  """The sound of frames start to stop, exactly as long as they."""
  rate = spec.samples_per_frame(fps)
  return fit(audio[round(start * rate) :], round((stop - start) * rate))
