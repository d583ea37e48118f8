"""From a recipe to a clip: the front door of the synthetic faces.

Signs: yaw > 0 turns the head to the picture's right, pitch > 0 looks up,
roll > 0 tilts clockwise in the picture; degrees. The head is turned by
R = roll(z) yaw(y) pitch(x).
"""

import json
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.synthetic import (
  emotion,
  features,
  head,
  identity,
  motion,
  raster,
  speech,
)
from speak_jax import spec

FACTORS = (
  "yaw",
  "pitch",
  "roll",
  "shift_x",
  "shift_y",
  "scale",
  "mouth_open",
  "mouth_wide",
  "mouth_round",
  "mouth_press",
  "blink",
  "gaze_x",
  "gaze_y",
  "light_x",
  "light_y",
)
_POSE = slice(0, 6)
_MOUTH = slice(6, 10)
_DISTANCE = 6.5  # from the camera to the neck, head units
_SUPERSAMPLE = 2
_MIDDLE_Y = 0.03  # head unit at the picture's middle
_HEIGHT = head.CROWN_Y - head.CHIN_Y + 0.12  # with hair
JPEG_QUALITY = 95


class Recipe(NamedTuple):
  """All that decides a clip; the same recipe gives the same bytes."""

  seed: int
  split: str  # of identity.SPLITS
  identity: int
  emotion: int  # index into spec.EMOTIONS
  level: int  # 1 to 3
  take: int = 0  # tells clips of the same person and emotion apart
  seconds: float = 2.0
  fps: float = spec.FPS
  size: int = 256
  framing: str = "medium"
  twins_every: int = 0  # frames from twin to twin; 0 = no twins

  @property
  def clip(self) -> str:
    """The clip's unique name."""
    return (
      f"{self.split}_{self.identity:05d}"
      f"_{spec.EMOTIONS[self.emotion]}_{self.level}_{self.take}"
    )


class Scene(NamedTuple):
  """n pictures of one person."""

  model: head.Model
  factors: Float[np.ndarray, "n f"]
  channels: Float[np.ndarray, "n c"]  # of the emotion alone
  light: Float[np.ndarray, "n 3"]
  colours: Float[np.ndarray, "n 3 3"]
  background: Float[np.ndarray, "m h w 3"]


class Rendered(NamedTuple):
  """Independent pictures of many people, for training a judge."""

  frames: UInt8[np.ndarray, "n h w 3"]
  landmarks: Float[np.ndarray, "n 68 2"]
  pose: Float[np.ndarray, "n 3"]
  emotion: Int[np.ndarray, "n"]
  level: Int[np.ndarray, "n"]
  identity: Int[np.ndarray, "n"]
  mouth_open: Float[np.ndarray, "n"]
  factors: Float[np.ndarray, "n f"]


class Twins(NamedTuple):
  """Frames that share exactly one thing with k frames of a clip."""

  frames: UInt8[np.ndarray, "k h w 3"]
  landmarks: Float[np.ndarray, "k 68 2"]
  factors: Float[np.ndarray, "k f"]


def rotation(pose: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
  """Matrices of yaw, pitch, roll in degrees (axes: right, up, to camera)."""
  yaw, pitch, roll = np.deg2rad(pose).T
  one, nil = np.ones_like(yaw), np.zeros_like(yaw)

  def matrix(*rows):
    return np.stack([np.stack(row, -1) for row in rows], -2)

  turn = matrix(
    (np.cos(yaw), nil, np.sin(yaw)), (nil, one, nil),
    (-np.sin(yaw), nil, np.cos(yaw)),
  )  # fmt: skip
  nod = matrix(
    (one, nil, nil), (nil, np.cos(pitch), np.sin(pitch)),
    (nil, -np.sin(pitch), np.cos(pitch)),
  )  # fmt: skip
  tilt = matrix(
    (np.cos(roll), np.sin(roll), nil), (-np.sin(roll), np.cos(roll), nil),
    (nil, nil, one),
  )  # fmt: skip
  return tilt @ turn @ nod


def draw(scene: Scene, size: int):
  """Draws a scene.

  Returns:
    Frames, uint8 (n, size, size, 3), and landmarks in their pixels,
    float32 (n, 68, 2).
  """
  model, factors = scene.model, scene.factors
  n = len(factors)
  by_name = {name: factors[:, i] for i, name in enumerate(FACTORS)}
  channels = scene.channels.astype(np.float32).copy()
  jaw, pout = (emotion.FIELDS.index(k) for k in ("jaw", "round"))
  gap = features.GAPE * 2 * model.anchor["eye_x"] * by_name["mouth_open"]
  channels[:, jaw] = 0.76 * gap
  channels[:, pout] = by_name["mouth_round"]
  moves = features.Motion(
    channels=channels,
    mouth_open=by_name["mouth_open"],
    mouth_wide=by_name["mouth_wide"],
    mouth_round=by_name["mouth_round"],
    mouth_press=by_name["mouth_press"],
    blink=by_name["blink"],
    gaze=np.stack([by_name["gaze_x"], by_name["gaze_y"]], -1),
    light=scene.light,
  )
  face = features.build(model, moves)
  plain, extra = len(model.points), face.points.shape[1]
  k = len(emotion.FIELDS)
  depth = np.zeros((n, len(emotion.FOLDS)), np.float32)
  for i, fold in enumerate(emotion.FOLDS):
    for name, weight in fold.items():
      depth[:, i] += weight * channels[:, emotion.CHANNELS.index(name)].clip(0)
  pose = factors[:, :3]
  unit = by_name["scale"] * size / _HEIGHT
  camera = np.stack(
    [
      size * (0.5 + by_name["shift_x"]),
      size * (0.5 + by_name["shift_y"]) + _MIDDLE_Y * unit,
      unit,
    ],
    -1,
  )
  marks = np.arange(68, dtype=np.int32)
  skin_marks = np.arange(model.markers.start, model.markers.stop)
  marks[0:17], marks[27:36] = skin_marks[:17], skin_marks[17:]
  marks[17:27] = plain + face.landmarks[:10]
  marks[36:68] = plain + face.landmarks[10:]
  landmarks = np.empty((n, 68, 2), np.float32)
  out = np.empty((n, size, size, 3), np.uint8)
  one_sided = np.zeros(len(face.bias), np.int8)
  raster.frames(
    model.points,
    model.moving.start,
    model.fields,
    model.folds,
    np.ascontiguousarray(channels[:, :k]),
    depth.clip(0, 0.6),
    face.points,
    model.albedo,
    face.albedo,
    model.uv,
    face.uv,
    np.concatenate([model.weight, np.ones(extra, np.float32)]),
    np.concatenate([model.material, face.material]),
    np.concatenate([model.sided_vertex, np.zeros(extra, np.int8)]),
    np.concatenate([model.before, face.triangles + plain, model.after]),
    np.concatenate([model.bias[0], face.bias, model.bias[1]]),
    np.concatenate([model.sided[0], one_sided, model.sided[1]]),
    model.atlas,
    rotation(pose).astype(np.float32),
    rotation(pose * np.array([0.18, 0.05, 0.10])).astype(np.float32),
    head.PIVOT,
    camera.astype(np.float32),
    scene.light.astype(np.float32),
    scene.colours.astype(np.float32),
    scene.background,
    np.float32(_DISTANCE),
    _SUPERSAMPLE,
    marks,
    landmarks,
    out,
  )
  # Pixel (0, 0) has its centre at 0: half a pixel from the raster's corner.
  return out, landmarks - 0.5


def encode(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """JPEG bytes of an RGB frame; full chroma where pixels are few."""
  sampling = (
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    if frame.shape[0] < 128
    else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
  )
  options = [
    cv2.IMWRITE_JPEG_QUALITY,
    JPEG_QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    sampling,
  ]
  return cv2.imencode(".jpg", frame[..., ::-1], options)[1].tobytes()


def channels_of(person, index: int, level: int, rows: int, drift=None):
  """Channels of `rows` frames, and what the emotion adds to the mouth.

  Args:
    person: An Identity.
    index: Index into spec.EMOTIONS.
    level: 1 to 3.
    rows: Number of frames.
    drift: (rows,) in [-1, 1]; how the strength wanders, 12 % at most.
  """
  weights = emotion.expression(person, index, level)
  out = np.zeros((rows, len(emotion.CHANNELS)), np.float32)
  for i, name in enumerate(emotion.CHANNELS):
    out[:, i] = weights.get(name, 0.0)
  gain = np.ones(rows) if drift is None else 1 + 0.12 * drift
  gain = gain.astype(np.float32)
  extra = np.stack(
    [np.full(rows, weights.get(name, 0.0)) for name in emotion.MOUTH], -1
  )
  return out * gain[:, None], extra * gain[:, None]


def mouth_factors(spoken, extra, press) -> Float[np.ndarray, "n 4"]:
  """Mouth columns of FACTORS: what is said plus what the emotion adds.

  Args:
    spoken: Opening, width and rounding of the speech, (n,) each.
    extra: (n, m) by emotion.MOUTH.
    press: (n,) 1 where the lips must meet, whatever the emotion.
  """
  opening, wide, pursed = spoken
  opening = opening + extra[:, 0] * (1 - 0.5 * opening)
  opening = opening * (1 - press)
  wide = wide + extra[:, 1] * (1 - 0.5 * np.abs(wide))
  pursed = np.maximum(pursed, extra[:, 2])
  press = np.maximum(press, extra[:, 3] * (1 - opening))
  return np.stack(
    [opening.clip(0, 1), wide.clip(-1, 1), pursed.clip(0, 1), press], -1
  )


def _stranger(rng, recipe, taken):
  """Another person of the split: near in number, so that models are shared."""
  while True:
    index = int(rng.integers(0, 12)) + 12 * (recipe.identity // 12)
    if index not in taken:
      return index


def twins(
  recipe: Recipe, factors: Float[np.ndarray, "n f"], at: Int[np.ndarray, "k"]
) -> tuple[Twins, Twins]:
  """Pose twins and mouth twins of some frames of a clip.

  A pose twin has another person, emotion, mouth, light and room in exactly
  the frame's pose, shift and scale; a mouth twin has yet another person,
  emotion and pose with exactly the frame's mouth.

  Args:
    recipe: The clip's.
    factors: The clip's, in the order of FACTORS.
    at: Which of its frames.
  """
  rng = np.random.default_rng((*_key(recipe), 3))
  k = len(at)
  out = []
  taken = {recipe.identity}
  for kept in (_POSE, _MOUTH):
    index = _stranger(rng, recipe, taken)
    taken.add(index)
    other = head.model(recipe.seed, recipe.split, index)
    feelings = rng.choice(np.delete(np.arange(8), recipe.emotion), k)
    shown, extra = _random_channels(rng, other.person, feelings)
    rows = _random_factors(rng, recipe.framing, extra)
    rows[:, kept] = factors[at][:, kept]
    light, colours, scenery = surroundings(rng, rows, recipe.size)
    frames, landmarks = draw(
      Scene(other, rows, shown, light, colours, scenery), recipe.size
    )
    out.append(Twins(frames, landmarks, rows))
  return out[0], out[1]


def _key(recipe):
  """Seed of everything in a clip but the person."""
  split = identity.SPLITS.index(recipe.split)
  return (
    303, recipe.seed, split, recipe.identity, recipe.emotion, recipe.level,
    recipe.take,
  )  # fmt: skip


def _random_channels(rng, person, feelings):
  """Channels and mouth additions of one row per emotion, any level."""
  pairs = [
    channels_of(person, int(feeling), int(rng.integers(1, 4)), 1)
    for feeling in feelings
  ]
  return (
    np.concatenate([pair[0] for pair in pairs]),
    np.concatenate([pair[1] for pair in pairs]),
  )


def _random_factors(rng, framing, extra):
  """Independent rows of FACTORS, the light left out."""
  count = len(extra)
  rows = np.zeros((count, len(FACTORS)))
  place = motion.scatter(rng, count, framing)
  rows[:, _POSE] = np.concatenate(
    [place.pose, place.shift, place.scale[:, None]], 1
  )
  *spoken, press = random_mouth(rng, count)
  rows[:, _MOUTH] = mouth_factors(spoken, extra, press)
  rows[:, 10] = (rng.random(count) < 0.06) * rng.uniform(0.5, 1, count)
  rows[:, 11:13] = rng.uniform(-1, 1, (count, 2)) * np.array([0.8, 0.4])
  return rows


def random_mouth(rng, count: int):
  """Independent mouths: opening, width, rounding, pressing, (count,) each."""
  opening = rng.beta(0.8, 1.4, count)
  pursed = (rng.random(count) < 0.25) * rng.uniform(0.3, 1, count)
  wide = rng.uniform(-0.2, 0.9, count) * (pursed == 0) - 0.7 * pursed
  press = (rng.random(count) < 0.18).astype(float)
  return opening * (1 - press) * (1 - 0.5 * pursed), wide, pursed, press


def surroundings(rng, rows, size):
  """Light and room anew for every row; writes the light's factors.

  Returns:
    Directions (n, 3), colours (n, 3, 3), backgrounds (n, size, size, 3).
  """
  lights = [motion.light(rng) for _ in rows]
  direction = np.stack([one[0] for one in lights])
  rows[:, -2:] = direction[:, :2]
  scenery = np.stack([motion.background(rng, size) for _ in rows])
  return direction, np.stack([one[1] for one in lights]), scenery


def render_clip(recipe: Recipe) -> spec.Record:
  """Renders one clip with its sound, labels and twins.

  Raises:
    ValueError: an unknown split or framing, an emotion or level out of range.
  """
  if not 0 <= recipe.emotion < len(spec.EMOTIONS) or not 1 <= recipe.level <= 3:
    raise ValueError(
      f"emotion {recipe.emotion}, level {recipe.level}: want 0 to 7, 1 to 3"
    )
  motion.framing(recipe.framing)
  model = head.model(recipe.seed, recipe.split, recipe.identity)
  key = _key(recipe)
  rng = np.random.default_rng((*key, 1))
  n = round(recipe.seconds * recipe.fps)
  utterance = speech.speak(
    model.person, recipe.emotion, n, recipe.fps, (*key, 2)
  )
  place = motion.travel(rng, n, recipe.fps, recipe.framing)
  drift = motion.wander(rng, n, recipe.fps, 1, 0.8)[:, 0]
  channels, extra = channels_of(
    model.person, recipe.emotion, recipe.level, n, drift
  )
  tracks = [
    speech.at_frames(track, n, recipe.fps)
    for track in (
      utterance.mouth_open,
      utterance.mouth_wide,
      utterance.mouth_round,
      utterance.mouth_press,
    )
  ]
  factors = np.zeros((n, len(FACTORS)))
  factors[:, _POSE] = np.concatenate(
    [place.pose, place.shift, place.scale[:, None]], 1
  )
  factors[:, _MOUTH] = mouth_factors(tracks[:3], extra, tracks[3])
  factors[:, 10] = motion.blinks(rng, n, recipe.fps)
  factors[:, 11:13] = motion.glances(rng, n, recipe.fps)
  # One room and light for all clips of a person, as in a studio's recordings:
  # a picture from another clip tells all that the codes do not.
  room = np.random.default_rng(_key(recipe)[:4])
  direction, colours = motion.light(room)
  factors[:, 13:15] = direction[:2]
  scene = Scene(
    model,
    factors,
    channels,
    np.tile(direction, (n, 1)),
    np.tile(colours, (n, 1, 1)),
    motion.background(room, recipe.size)[None],
  )
  frames, landmarks = draw(scene, recipe.size)
  at = (
    np.arange(recipe.twins_every // 2, n, recipe.twins_every)
    if recipe.twins_every
    else np.zeros(0, int)
  )
  if len(at):
    pose_twin, mouth_twin = twins(recipe, factors, at)
  else:
    nobody = Twins(
      np.zeros((0, recipe.size, recipe.size, 3), np.uint8),
      np.zeros((0, 68, 2), np.float32),
      np.zeros((0, len(FACTORS))),
    )
    pose_twin = mouth_twin = nobody
  return spec.Record(
    clip=recipe.clip,
    identity=model.person.name,
    emotion=recipe.emotion,
    level=recipe.level,
    view="front",
    source=json.dumps(recipe._asdict()),
    fps=float(recipe.fps),
    frames=[encode(frame) for frame in frames],
    audio=utterance.audio,
    landmarks=landmarks,
    pose=factors[:, :3].astype(np.float32),
    pose_method="rendered",
    crop=np.eye(2, 3, dtype=np.float32),
    factors=factors.astype(np.float32),
    phonemes=json.dumps(utterance.phonemes),
    twin_index=at.astype(np.int32),
    twin_pose=[encode(frame) for frame in pose_twin.frames],
    twin_pose_landmarks=pose_twin.landmarks,
    twin_mouth=[encode(frame) for frame in mouth_twin.frames],
    twin_mouth_landmarks=mouth_twin.landmarks,
  )


def random_frames(
  seed: int,
  n: int,
  size: int,
  framing: str,
  split: str = "judge",
  per_identity: int = 16,
) -> Rendered:
  """Independent frames: pose, emotion, mouth, light, background all random.

  Args:
    seed: The same arguments give the same frames.
    n: How many.
    size: Pixels of a side.
    framing: Of motion.FRAMINGS.
    split: Whose people; "judge" shares nobody with a data set's splits.
    per_identity: Frames of each person, in a row.
  """
  parts = []
  for first in range(0, n, per_identity):
    count = min(per_identity, n - first)
    rng = np.random.default_rng((404, seed, first))
    index = first // per_identity
    model = head.model(seed, split, index)
    feelings = rng.integers(0, len(spec.EMOTIONS), count)
    levels = rng.integers(1, 4, count)
    shown = [
      channels_of(model.person, int(feeling), int(level), 1)
      for feeling, level in zip(feelings, levels, strict=True)
    ]
    extra = np.concatenate([one[1] for one in shown])
    rows = _random_factors(rng, framing, extra)
    light, colours, scenery = surroundings(rng, rows, size)
    channels = np.concatenate([one[0] for one in shown])
    frames, landmarks = draw(
      Scene(model, rows, channels, light, colours, scenery), size
    )
    parts.append(
      (frames, landmarks, feelings, levels, np.full(count, index), rows)
    )
  frames, landmarks, feelings, levels, who, rows = (
    np.concatenate(column) for column in zip(*parts, strict=True)
  )
  return Rendered(
    frames=frames,
    landmarks=landmarks,
    pose=rows[:, :3].astype(np.float32),
    emotion=feelings.astype(np.int32),
    level=levels.astype(np.int32),
    identity=who.astype(np.int32),
    mouth_open=rows[:, 6].astype(np.float32),
    factors=rows.astype(np.float32),
  )


def recipes(
  *,
  seed: int,
  identities: int,
  held_out: int,
  clips_per_identity: int,
  emotions: tuple[int, ...] = tuple(range(len(spec.EMOTIONS))),
  levels: tuple[int, ...] = (1, 2, 3),
  seconds: float = 2.0,
  fps: float = spec.FPS,
  size: int = 256,
  framing: str = "medium",
  twins_every: int = 0,
) -> list[Recipe]:
  """Recipes of a data set: every person in several emotions.

  Emotions of one person differ as long as there are enough of them; then
  they come again with another level. The splits share nobody.
  """
  out = []
  for split, count in (("train", identities), ("test", held_out)):
    for index in range(count):
      rng = np.random.default_rng((202, seed, split == "test", index))
      order: list[tuple[int, int]] = []
      while len(order) < clips_per_identity:
        order += [
          (int(feeling), int(rng.choice(levels)))
          for feeling in rng.permutation(emotions)
        ]
      for take, (feeling, level) in enumerate(order[:clips_per_identity]):
        out.append(
          Recipe(
            seed=seed,
            split=split,
            identity=index,
            emotion=feeling,
            # A neutral face has one strength only.
            level=level if feeling else 1,
            take=take,
            seconds=seconds,
            fps=fps,
            size=size,
            framing=framing,
            twins_every=twins_every,
          )
        )
  return out
