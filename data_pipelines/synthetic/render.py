"""From a recipe to a clip: the front door of the synthetic faces.

The same recipe gives the same bytes. `drawing` has the pictures.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from data_pipelines.synthetic import (
  factors,
  head,
  identity,
  motion,
  speech,
)
from data_pipelines.synthetic.drawing import Scene, draw, lit
from data_pipelines.synthetic.factors import MOUTH, POSE, Factors
from data_pipelines.synthetic.frame_factors import (
  Mouth,
  channels_of,
  channels_of_many,
  mouth_columns,
  pose_columns,
  random_channels,
  random_factors,
)
from data_pipelines.synthetic.recorded_speech import Recorded
from speak_jax import spec

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
  factors: Factors


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


def _stranger(rng: np.random.Generator, recipe: Recipe, taken: set[int]) -> int:
  """Another person of the split: near in number, so that models are shared."""
  while True:
    index = int(rng.integers(0, 12)) + 12 * (recipe.identity // 12)
    if index not in taken:
      return index


def twins(
  recipe: Recipe, shown: Factors, at: Int[np.ndarray, "k"]
) -> tuple[Twins, Twins]:
  """Pose twins and mouth twins of some frames of a clip.

  A pose twin has another person, emotion, mouth, light and room in exactly
  the frame's pose, shift and scale; a mouth twin has yet another person,
  emotion and pose with exactly the frame's mouth.

  Args:
    recipe: The clip's.
    shown: The clip's factors.
    at: Which of its frames.
  """
  rng = np.random.default_rng((*key_of(recipe), 3))
  k = len(at)
  out = []
  taken = {recipe.identity}
  for kept in (POSE, MOUTH):
    index = _stranger(rng, recipe, taken)
    taken.add(index)
    other = head.model(recipe.seed, recipe.split, index)
    feelings = rng.choice(np.delete(np.arange(8), recipe.emotion), k)
    channels, extra = random_channels(rng, other.person, feelings)
    rows = random_factors(rng, recipe.framing, extra)
    rows = rows.with_columns_of(shown.rows(at), kept)
    scene = lit(rng, other, rows, channels, recipe.size)
    frames, landmarks = draw(scene, recipe.size)
    out.append(Twins(frames, landmarks, scene.factors))
  return out[0], out[1]


def key_of(recipe: Recipe) -> tuple[int, ...]:
  """Seed of everything in a clip but the person; append a number of its own."""
  split = identity.SPLITS.index(recipe.split)
  return (
    303, recipe.seed, split, recipe.identity, recipe.emotion, recipe.level,
    recipe.take,
  )  # fmt: skip


def render_clip(
  recipe: Recipe,
  mesh_of: Callable[[np.ndarray], np.ndarray] | None = None,
  recorded: Recorded | None = None,
) -> spec.Record:
  """Renders one clip with its sound, labels and twins.

  Args:
    recipe: All that decides it.
    mesh_of: Reads `spec.Record.mesh` off the frames (n, h, w, 3), as the
      renderer knows no such points; None: the record has none.
    recorded: What the person says, for as long as it lasts; None: drawn speech
      of `recipe.seconds`.

  Raises:
    ValueError: an unknown split or framing, an emotion or level out of range.
  """
  if not 0 <= recipe.emotion < len(spec.EMOTIONS) or not 1 <= recipe.level <= 3:
    raise ValueError(
      f"emotion {recipe.emotion}, level {recipe.level}: want 0 to 7, 1 to 3"
    )
  motion.framing(recipe.framing)
  model = head.model(recipe.seed, recipe.split, recipe.identity)
  source = recipe._asdict()
  if recorded is None:
    n = round(recipe.seconds * recipe.fps)
    utterance = speech.speak(
      model.person, recipe.emotion, n, recipe.fps, (*key_of(recipe), 2)
    )
  else:
    utterance = recorded.speech
    n = round(len(utterance.audio) / spec.samples_per_frame(recipe.fps))
    source |= {
      "recording": recorded.recording, "sentence": recorded.sentence
    }  # fmt: skip
  scene = _clip_scene(recipe, model, utterance, n)
  frames, landmarks = draw(scene, recipe.size)
  at = np.zeros(0, int)
  if recipe.twins_every:
    at = np.arange(recipe.twins_every // 2, n, recipe.twins_every)
  if len(at):
    pose_twin, mouth_twin = twins(recipe, scene.factors, at)
  else:
    pose_twin = mouth_twin = _no_twins(recipe.size)
  record = spec.Record(
    clip=recipe.clip,
    identity=model.person.name,
    emotion=recipe.emotion,
    level=recipe.level,
    view="front",
    source=json.dumps(source),
    fps=float(recipe.fps),
    frames=[encode(frame) for frame in frames],
    audio=utterance.audio,
    landmarks=landmarks,
    pose=scene.factors.pose.astype(np.float32),
    pose_method="rendered",
    crop=np.eye(2, 3, dtype=np.float32),
    factors=scene.factors.stacked().astype(np.float32),
    phonemes=json.dumps(utterance.phonemes),
    twin_index=at.astype(np.int32),
    twin_pose=[encode(frame) for frame in pose_twin.frames],
    twin_pose_landmarks=pose_twin.landmarks,
    twin_mouth=[encode(frame) for frame in mouth_twin.frames],
    twin_mouth_landmarks=mouth_twin.landmarks,
  )
  return record._replace(mesh=mesh_of(frames)) if mesh_of else record


def _clip_scene(
  recipe: Recipe, model: head.Model, utterance: speech.Speech, n: int
) -> Scene:
  """What a clip of n frames shows."""
  rng = np.random.default_rng((*key_of(recipe), 1))
  place = motion.travel(rng, n, recipe.fps, recipe.framing)
  drift = motion.wander(rng, n, recipe.fps, 1, 0.8)[:, 0]
  channels, extra = channels_of(
    model.person, recipe.emotion, recipe.level, n, drift
  )
  spoken = Mouth(
    *(
      speech.at_frames(track, n, recipe.fps)
      for track in (
        utterance.mouth_open,
        utterance.mouth_wide,
        utterance.mouth_round,
        utterance.mouth_press,
      )
    )
  )
  blink = motion.blinks(rng, n, recipe.fps)
  gaze = motion.glances(rng, n, recipe.fps)
  # One room and light for all clips of a person, as in a studio's recordings:
  # a picture from another clip tells all that the codes do not.
  room = np.random.default_rng(key_of(recipe)[:4])
  direction, colours = motion.light(room)
  shown = factors.zeros(n)._replace(
    **pose_columns(place),
    **mouth_columns(spoken, extra),
    blink=blink,
    gaze_x=gaze[:, 0],
    gaze_y=gaze[:, 1],
    light_x=np.full(n, direction[0]),
    light_y=np.full(n, direction[1]),
  )
  return Scene(
    model,
    shown,
    channels,
    np.tile(direction, (n, 1)),
    np.tile(colours, (n, 1, 1)),
    motion.background(room, recipe.size)[None],
  )


def _no_twins(size: int) -> Twins:
  """Twins of no frame."""
  return Twins(
    np.zeros((0, size, size, 3), np.uint8),
    np.zeros((0, 68, 2), np.float32),
    factors.zeros(0),
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
  parts, drawn = [], []
  for first in range(0, n, per_identity):
    count = min(per_identity, n - first)
    rng = np.random.default_rng((404, seed, first))
    index = first // per_identity
    model = head.model(seed, split, index)
    feelings = rng.integers(0, len(spec.EMOTIONS), count)
    levels = rng.integers(1, 4, count)
    channels, extra = channels_of_many(model.person, feelings, levels)
    rows = random_factors(rng, framing, extra)
    scene = lit(rng, model, rows, channels, size)
    frames, landmarks = draw(scene, size)
    who = np.full(count, index)
    parts.append((frames, landmarks, feelings, levels, who))
    drawn.append(scene.factors)
  rows = factors.join(drawn)
  frames, landmarks, feelings, levels, who = (
    np.concatenate(column) for column in zip(*parts, strict=True)
  )
  return Rendered(
    frames=frames,
    landmarks=landmarks,
    pose=rows.pose.astype(np.float32),
    emotion=feelings.astype(np.int32),
    level=levels.astype(np.int32),
    identity=who.astype(np.int32),
    mouth_open=rows.mouth_open.astype(np.float32),
    factors=rows.stacked().astype(np.float32),
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
