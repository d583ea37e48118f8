"""A photograph that talks, at its own size."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import (
  Callable,
  Generator,
  Iterable,
  Iterator,
  Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.faces import topology
from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.follow import FaceTracker
from data_pipelines.media.audio import Sound
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.mp4 import frame_rate
from data_pipelines.media.recording import Recording
from data_pipelines.media.together import together
from data_pipelines.synthetic.motion import ByFrame
from speak_jax.common.names import printable
from speak_jax.common.prefetch import prefetch
from speak_jax.inference import (
  crops,
  emotion_label,
  head,
  windows,
)
from speak_jax.inference.contact_sheet import Row, Shown
from speak_jax.inference.curve import Curve
from speak_jax.inference.driver import VideoDriver
from speak_jax.inference.inputs import (
  Photograph,
  read_expression,
  read_people,
  read_photograph,
  read_speech,
)
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.request import (
  FRAMINGS,
  MIN_SIDE_PX,
  Request,
  RequestError,
  check,
)
from speak_jax.inference.settings import Settings
from speak_jax.inference.take import Take
from speak_jax.photograph import composition, gaze, head_motion
from speak_jax.photograph.composition import Portrait
from speak_jax.photograph.gaze import Look
from speak_jax.photograph.head_motion import Drive, Steering, unpacked
from speak_jax.photograph.textured_mesh import SHIFT_MOST

LARGEST_PX = 1024  # side of a photograph, unless a size is asked for
DRIVER_PX = 64  # side of the driver's crops, on the contact sheet
# Square of framing "crop", over the larger side of the face; and how much
# higher it lies, of its side: hair needs more room than the neck.
HEAD, HEAD_UP = 2.0, 0.08
MIN_GAZES = 0.2  # share of a driver's frames that must show where he looks
# Distances between a driver's eyes that he may leave his place unsaid.
FAR = SHIFT_MOST / head_motion.SHIFT
THREADS = 2  # that compose frames; one more encodes
AHEAD = 16  # frames in work at most


def take(
  model: MotionModel,
  request: Request,
  tracker: FaceTracker,
  say: Callable[[str], None] = print,
  *,
  eyes: EyeReader,
) -> Take:
  """Reads what a request names; frames are composed as they are asked for.

  Args:
    model: From a bundle.
    request: See there.
    tracker: Finds faces, usually `faces.tracker.Tracker()`.
    say: Takes a line for each input. What is odd about one but can be borne
      is a MediaWarning.
    eyes: Finds irises.

  Raises:
    FileError: an input cannot be used; one line naming the file.
    RequestError: no such size, framing or emotion.
  """
  check(request, moves_photographs=True)
  speech, sound = _voices(request, say)
  rate = frame_rate(request.fps or model.settings.fps)
  # Between two frames, over that between two of the model's.
  step, fps = frame_rate(model.settings.fps) / rate, float(rate)
  try:
    n = windows.frames_of(max(speech, key=len), fps)
  except ValueError as error:
    raise MediaError(request.audio, str(error)) from None
  most = math.ceil((n - 1) * step) + 1  # of the model's
  cast = _cast(model, request, most, tracker, say, eyes=eyes)
  one = cast[0]
  photograph = one.portrait.photograph
  height, width = photograph.shape[:2]
  say(f"{n} frames at {fps:.5g} a second, {width} x {height} px")

  def moves(
    head: Actor, voice: Recording, drives: Iterator[Drive]
  ) -> Iterator[tuple[Float[np.ndarray, "468 3"], Drive]]:
    ours, for_lids = itertools.tee(drives)
    lids = (drive.lids for drive in for_lids)
    points = model.stream(voice, lids, head.strengths, request.mouth)
    return _at_rate(zip(points, ours, strict=False), step, n)

  def frames(
    alpha: UInt8[np.ndarray, "h w"] | None,
  ) -> Generator[UInt8[np.ndarray, "h w c"], None, None]:
    with contextlib.ExitStack() as stack:
      each = [
        moves(x, v, stack.enter_context(prefetch(x.drives, AHEAD)))
        for x, v in zip(cast, speech, strict=True)
      ]
      ones = [x.portrait._replace(alpha=alpha) for x in cast]
      yield from composed_all(ones, zip(*each, strict=True))

  rgba = None if one.alpha is None else frames(one.alpha)
  made = frames(None)
  return Take(
    made, n, fps, width, height, sound, one.rows, photograph, rgba=rgba
  )


class Actor(NamedTuple):
  """Who talks, and what moves all but his mouth."""

  portrait: Portrait
  # Of each of `spec.EMOTIONS`: of all frames, or by their indices.
  strengths: Float[np.ndarray, "8"] | ByFrame
  drives: Callable[[], Generator[Drive, None, None]]  # n of them
  rows: Callable[[Shown], list[Row]]  # of the contact sheet
  alpha: UInt8[np.ndarray, "h w"] | None  # of the photograph, if it has any


def _voices(
  request: Request, say: Callable[[str], None]
) -> tuple[list[Recording], Callable[[], Sound]]:
  """Reads what each face says, and how to read what is heard of them."""
  heard, owns = [], []
  for path in request.sounds:
    say(printable(f"speech    {path}"))
    speech, own = read_speech(path, request.track)
    heard.append(speech)
    owns.append(own)
  if len(owns) == 1:
    return heard, owns[0]

  def mix() -> Sound:
    highest = max(own().rate for own in owns)
    return together(lambda: [own(highest) for own in owns])

  return heard, mix


def _cast(
  model: MotionModel,
  request: Request,
  n: int,
  tracker: FaceTracker,
  say: Callable[[str], None],
  *,
  eyes: EyeReader,
) -> list["Actor"]:
  """Reads everybody who speaks, from the left; arguments as for `actor`.

  Raises:
    FileError: an input cannot be used.
    RequestError: there are more sounds than faces, or fewer, or faces overlap.
  """
  count = len(request.sounds)
  if count == 1:
    return [actor(model, request, n, tracker, say, eyes=eyes)]
  fps = model.settings.fps
  people = read_people(request.identity, fps, tracker, count)
  if people[0].faces != count:
    reason = f"{count} sounds, and {people[0].faces} faces in the picture"
    raise RequestError("more_audio", reason)
  cast = []
  for number, seen in enumerate(people):
    # Or all would nod together.
    own = dataclasses.replace(request, seed=(request.seed or 0) + number)
    said = say if number == 0 else lambda line: None
    cast.append(actor(model, own, n, tracker, said, eyes=eyes, seen=seen))
  hulls = [
    cv2.convexHull(
      x.portrait.textured.vertices[topology.OUTLINE, :2].astype(np.float32)
    )
    for x in cast
  ]
  for (i, a), (k, b) in itertools.combinations(enumerate(hulls, 1), 2):
    if cv2.intersectConvexConvex(a, b)[0] > 0:
      raise RequestError("more_audio", f"faces {i} and {k} overlap")
  return cast


def actor(
  model: MotionModel,
  request: Request,
  n: int,
  tracker: FaceTracker,
  say: Callable[[str], None],
  *,
  eyes: EyeReader,
  seen: Photograph | None = None,
) -> Actor:
  """Reads all that a request names but its sound.

  Args:
    model: From a bundle.
    request: That `check` has let pass.
    n: Frames for which drives are wanted.
    tracker: Finds faces.
    say: Takes a line for each input.
    eyes: Finds irises.
    seen: The photograph, if it has been read.

  Raises:
    FileError: an input cannot be used; one line naming the file.
  """
  fps, rules = model.settings.fps, request.rules
  say(printable(f"identity  {request.identity}"))
  if seen is None:
    seen = read_photograph(request.identity, fps, tracker, rules)
  frame, mesh, alpha, _ = seen
  if alpha is not None:
    frame = np.dstack([frame, alpha])
  framing = request.framing or FRAMINGS[0]
  frame, mesh = _sized(frame, mesh, request.size, framing)
  if alpha is not None:
    frame, alpha = np.ascontiguousarray(frame[..., :3]), frame[..., 3]
  one = composition.portrait(frame, mesh, eyes(frame, mesh), model.shut)
  pose = head.read_pose(request.pose)
  say(printable(f"pose      {head.described(pose, request.pose)}"))
  strengths, faces = _emotion(request, fps, tracker, say)
  absolute, aim = request.pose_mode == "absolute", head.read_gaze(request.gaze)
  driver, looks, own_gaze = None, None, None
  if one.eyeballs:
    own_gaze = one.gaze if absolute else None
    looks = gaze.Driver(eyes, own_gaze)
  elif not isinstance(pose, head.Told) or not isinstance(aim, str):
    warn(request.identity, "its eyes are shut, dark or small; its gaze stays")
  if isinstance(pose, head.Told):
    own, mode = one.textured.rotation, request.pose_mode
    drives = functools.partial(
      head_motion.idle,
      n,
      fps,
      request.seed or 0,
      head.turns(pose, n, fps, own, mode),
      own,
    )
  else:
    driver = VideoDriver(pose, n, _driver_settings(fps), tracker, rules)
    rest = one.textured.rotation if absolute else None
    drives = functools.partial(_driven, driver, looks, n, request, rest)
  steered = Steering(
    request.pose_scale, request.blink, head.gaze_beside(aim, own_gaze)
  )

  def rows(shown: Shown) -> list[Row]:
    rows = [Row("identity", [_square(one.photograph)])]
    if driver is not None:
      last = max(shown.count - 1, 1)
      columns = shown.columns * (n - 1) // last  # they may be at another rate
      rows.append(Row("pose", driver.shown(columns, n)))
    if faces is not None:
      rows.append(Row("emotion", list(faces[Shown(len(faces)).columns])))
    return [*rows, Row("made", list(map(_square, shown.frames)))]

  def moves() -> Generator[Drive, None, None]:
    yield from map(steered, drives())

  return Actor(one, strengths, moves, rows, alpha)


def _emotion(
  request: Request,
  fps: float,
  tracker: FaceTracker,
  say: Callable[[str], None],
) -> tuple[
  Float[np.ndarray, "8"] | ByFrame,
  UInt8[np.ndarray, "k s s 3"] | None,
]:
  """Reads how strong each emotion is, and the faces that show it, if any."""
  emotion = emotion_label.read(request.emotion)
  if isinstance(emotion, np.ndarray):
    say(printable(f"emotion   {request.emotion or 'none is added'}"))
    return emotion, None
  if isinstance(emotion, Curve):
    name = "a curve" if isinstance(request.emotion, Curve) else request.emotion
    times = f"{len(emotion.times)} times up to {emotion.times[-1]:g} s"
    say(printable(f"emotion   {name}: {times}"))
    return emotion.by_frame(fps), None
  # Here alone: the network that judges takes long to import.
  from speak_jax.inference import expression

  faces = read_expression(emotion, fps, tracker, request.rules)
  strengths = expression.strengths(
    expression.of_faces(expression.load(), faces)
  )
  say(printable(f"emotion   {emotion}: {emotion_label.described(strengths)}"))
  return strengths, faces


def _driver_settings(fps: float) -> Settings:
  """Of the driver's crops, which nothing but the contact sheet shows."""
  return Settings(
    image=DRIVER_PX,
    emotion=0,
    emotion_input="face",
    frames=1,
    context=0,
    fps=fps,
  )


def _sized(
  frame: UInt8[np.ndarray, "h w c"],
  mesh: Float[np.ndarray, "468 3"],
  size: int | None,
  framing: str,
) -> tuple[UInt8[np.ndarray, "k l c"], Float[np.ndarray, "468 3"]]:
  """Cuts and scales a photograph and its mesh to the output's size."""
  mesh = mesh.astype(np.float64)
  if framing == "crop":
    frame, mesh = _cropped(frame, mesh)
  longer = min(max(frame.shape[:2]), LARGEST_PX) if size is None else size
  before = np.array(frame.shape[1::-1])
  frame = crops.evenly_scaled(frame, longer, MIN_SIDE_PX)
  factors = np.array(frame.shape[1::-1]) / before
  flat = (mesh[:, :2] + 0.5) * factors - 0.5
  return frame, np.column_stack([flat, mesh[:, 2] * factors.mean()])


def _cropped(
  frame: UInt8[np.ndarray, "h w c"], mesh: Float[np.ndarray, "468 3"]
) -> tuple[UInt8[np.ndarray, "k l c"], Float[np.ndarray, "468 3"]]:
  """Cuts the square round a head, as far as the photograph reaches."""
  low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
  side = HEAD * float((high - low).max())
  corner = (low + high) / 2 - side / 2 - (0, HEAD_UP * side)
  left, top = np.floor(corner).astype(int).clip(0)
  right, bottom = np.ceil(corner + side).astype(int)
  return frame[top:bottom, left:right], mesh - [left, top, 0]


def _driven(
  driver: VideoDriver,
  looks: gaze.Driver | None,
  n: int,
  request: Request,
  rest: Float[np.ndarray, "3 3"] | None,
) -> Iterator[Drive]:
  """How a driver moves each of n frames; rest as for `driven`."""
  lids = head_motion.open_lids(driver.opening_meshes())
  # Split behind the pictures, of which `tee` would keep dozens.
  seen, again = itertools.tee(_seen(driver, looks))
  packed = head_motion.driven((mesh for mesh, _ in seen), lids, rest=rest)
  packed = _stays(driver, packed)
  if looks is not None:
    packed = head_motion.looking(packed, (x for _, x in again), looks.rest)
  if request.rules.on_missing_face == "hold":
    known = windows.bridge(packed)
  else:
    known = (numbers for numbers in packed if numbers is not None)
  numbers = windows.drive(
    known, n, smooth=request.smooth, jumps=head_motion.GAZES
  )
  return map(unpacked, numbers)


def _stays(
  driver: VideoDriver, rows: Iterable[Float[np.ndarray, "15"] | None]
) -> Iterator[Float[np.ndarray, "15"] | None]:
  """Yields what `driven` does, and says so if he leaves his place."""
  furthest = 0.0
  for row in rows:
    if row is not None:
      way = np.hypot(*unpacked(row).motion.shift) / head_motion.SHIFT
      furthest = max(furthest, float(way))
    yield row
  if furthest > FAR:
    warn(
      driver.path,
      f"the face goes {furthest:.1f} times the distance of its eyes off its"
      " place, as if the camera moved; the head follows less far",
    )


def _seen(
  driver: VideoDriver, looks: gaze.Driver | None
) -> Iterator[tuple[Float[np.ndarray, "468 3"] | None, Look | None]]:
  """Yields a driver's points and what his eyes do, if that is asked for.

  It is said if they are hardly seen.
  """
  faces_seen = known = 0
  for face in driver.faces():
    look = None if face is None or looks is None else looks(face)
    faces_seen += face is not None
    known += look is not None and look.gaze is not None
    yield None if face is None else face[1], look
  if looks is not None and known < MIN_GAZES * faces_seen:
    warn(
      driver.path,
      f"the gaze is seen in {known} of {faces_seen} frames; eyes too small,"
      " dark or shut",
    )


def _at_rate(
  moves: Iterable[tuple[Float[np.ndarray, "468 3"], Drive]],
  step: Fraction,
  n: int,
) -> Iterator[tuple[Float[np.ndarray, "468 3"], Drive]]:
  """Yields n moves at another rate: points and head between those given."""
  if step == 1:
    yield from moves
    return
  rows = (np.append(points, drive.packed()) for points, drive in moves)
  for row in windows.resampled(rows, step, n, jumps=head_motion.GAZES):
    points, numbers = np.split(row, [composition.NO_EXPRESSION.size])
    drive = unpacked(numbers)
    lids = min(max(drive.lids, 0.0), 1.0)  # a cubic may go beyond
    shape = composition.NO_EXPRESSION.shape
    yield points.reshape(shape), drive._replace(lids=lids)


def composed(
  one: Portrait,
  moves: Iterable[tuple[Float[np.ndarray, "468 3"], Drive]],
) -> Iterator[UInt8[np.ndarray, "h w c"]]:
  """Composes frames in a few threads, in order."""
  yield from composed_all((one,), ((move,) for move in moves))


def composed_all(
  ones: Sequence[Portrait],
  moves: Iterable[Sequence[tuple[Float[np.ndarray, "468 3"], Drive]]],
) -> Iterator[UInt8[np.ndarray, "h w c"]]:
  """The same of several faces of one photograph, and the moves of each."""
  waiting: collections.deque = collections.deque()
  with ThreadPoolExecutor(THREADS) as threads:
    for each in moves:
      parts = [
        composition.Move(
          one.expression(points, drive.lids, drive.gaze),
          drive.motion,
          drive.gaze,
        )
        for one, (points, drive) in zip(ones, each, strict=True)
      ]
      waiting.append(threads.submit(composition.compose_all, ones, parts))
      if len(waiting) >= AHEAD:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def _square(
  frame: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "s s 3"]:
  """Cuts the square in the middle of a frame; of a high one the upper part."""
  height, width = frame.shape[:2]
  side = min(height, width)
  left, top = (width - side) // 2, (height - side) // 4
  return frame[top : top + side, left : left + side]
