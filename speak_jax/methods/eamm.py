"""EAMM, from a run, as a method that can be evaluated.

The identity picture is moved by keypoints that are heard, with the head held
as in the pose video, and an emotion video adds what it feels like. The mode
"neutral" leaves that out; "fomm" and "fomm_relative" are driven by a video of
the pose alone (`methods/fomm.py`). Nothing is drawn at random: the public code
passes the emotion video through what training draws, ours covers its mouths.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media.warp import similarity
from speak_jax.methods import base, crops, fomm
from speak_jax.methods.base import Method, Request, Restored, ShownFrames
from speak_jax.models import head_pose
from speak_jax.models.eamm import anchored, displaced
from speak_jax.models.fomm import Keypoints
from speak_jax.models.head_pose import PoseScale
from speak_jax.nn import emotion_view, mfcc, one_euro
from speak_jax.nn.one_euro import OneEuro
from speak_jax.nn.pixels import as_bytes
from speak_jax.stages import batch_shapes
from speak_jax.stages import eamm_emotion as emotion_stage
from speak_jax.stages import eamm_motion as motion_stage
from speak_jax.stages import fomm as fomm_stage

CHUNK = 16  # frames that are made at a time
ALIGNED = slice(0, 35)  # landmarks by which an emotion video is held still
CODE = (
  *fomm.CODE,
  "speak_jax.models.atvg",
  "speak_jax.models.eamm",
  "speak_jax.models.head_pose",
  "speak_jax.stages.eamm_emotion",
  "speak_jax.stages.eamm_motion",
  "speak_jax.methods.eamm",
)


class Chunk(NamedTuple):
  """What frames are made of, one after the other."""

  windows: Float[Any, "t 28 12"]  # of sound
  pose: Float[Any, "t 6"]  # standardised
  emotion: UInt8[Any, "t n n 3"] | None  # None: there is none
  landmarks: Float[Any, "t 68 2"] | None  # of the emotion's frames


class States(NamedTuple):
  """What is known of the frames before."""

  heard: Float[Any, "l 2 1 d"]
  # Of the filters; of keypoints, that of their points and of their Jacobians.
  pose: one_euro.State
  keypoints: tuple[one_euro.State, ...]
  displacement: tuple[one_euro.State, ...]


class Networks(NamedTuple):
  """All networks, compiled for chunks of one size."""

  begin: Callable  # u8 picture -> (source, states)
  go_on: Callable  # (source, chunk, states) -> (u8 frames, states)
  # (landmarks of frames, of the picture, their side in px) -> numbers
  pose: Callable
  size: int  # px


class Inputs(NamedTuple):
  """A request in EAMM's own terms: the whole crop at its own size."""

  picture: UInt8[np.ndarray, "n n 3"]
  chunk: Chunk  # of all frames
  matrix: Float[np.ndarray, "2 3"]  # that cut the picture
  identity: UInt8[np.ndarray, "h w 3"]


class Source(NamedTuple):
  """What is reckoned of a picture once."""

  picture: Float[Any, "1 n n 3"]
  encoded: Any
  keypoints: Keypoints


def restore(path: Path, frames: int) -> Restored:
  """Opens a run; chunks have one size, so that clips may be of any length.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  del frames
  stages = fomm_stage.NAME, motion_stage.FINETUNE, emotion_stage.EMOTION
  return base.restored_run(path, stages, CODE, compiled)


def restore_neutral(path: Path, frames: int) -> Restored:
  """The same, without what feels emotions.

  Raises:
    ValueError: damaged, or of another version of the code; one line.
  """
  del frames
  stages = fomm_stage.NAME, motion_stage.FINETUNE
  return base.restored_run(path, stages, CODE, compiled)


def prepare(networks: Networks, request: Request) -> Inputs:
  """Scales the picture, cuts the sound, measures heads, holds faces still."""
  assert request.pose is not None  # it is one of `needs`
  side, size, count = len(request.identity), networks.size, request.frames
  matrix = crops.square(np.full(2, (side - 1) / 2), side, size)
  [picture] = crops.cut(request.identity[None], matrix[None], size)
  numbers = networks.pose(request.pose.landmarks, request.landmarks, side)
  chunk = Chunk(
    mfcc.windows(request.audio, count).astype(np.float32),
    numbers.astype(np.float32),
    *_held_still(request.emotion, matrix, size, count),
  )
  return Inputs(picture, chunk, matrix, request.identity)


def generate(
  networks: Networks, inputs: Inputs, key: int
) -> UInt8[np.ndarray, "t n n 3"]:
  """A frame for each window of sound; states go from chunk to chunk."""
  del key
  source, states = networks.begin(jnp.asarray(inputs.picture[None]))
  made = []
  for first in range(0, len(inputs.chunk.windows), CHUNK):
    part = jax.tree.map(lambda x, i=first: x[i : i + CHUNK], inputs.chunk)
    count = len(part.windows)
    part = jax.tree.map(lambda x, lack=CHUNK - count: _filled(x, lack), part)
    frames, states = networks.go_on(source, part, states)
    made.append(np.asarray(frames[:count]))
  return np.concatenate(made)


def place(
  frames: UInt8[np.ndarray, "t n n 3"], inputs: Inputs
) -> UInt8[np.ndarray, "t h w 3"]:
  """Back to the size of the canonical crop."""
  matrices = np.repeat(inputs.matrix[None], len(frames), 0)
  return crops.paste(frames, matrices, inputs.identity[None])


def compiled(*learned: base.Trained) -> Networks:
  """The networks of a run's stages: `fomm`, finetuning, and perhaps emotion."""
  seen, heard, *felt = learned
  config = learned[-1].config
  model = config.model
  detector = fomm_stage.detector(config)
  generator = fomm_stage.generator(config)
  hearing = motion_stage.hearing_net(config)
  feeling = emotion_stage.feeling_net(config)
  moved = emotion_stage.moved_by(config)
  factors = tuple(model.displace) or (1.0,) * len(moved)
  if len(factors) != len(moved):
    raise ValueError(
      f"config.model.displace has {len(factors)} factors for {len(moved)}"
      " keypoints"
    )
  filters = {}
  for name in ("pose", "keypoints", "displacement"):
    cutoff, beta, scale = model.smooth[name]
    filters[name] = OneEuro(cutoff, beta, scale, model.smooth.rate)
  networks = {
    "see": seen.variables[fomm_stage.KEYPOINTS],
    "paint": heard.variables[fomm_stage.GENERATOR],
    "hear": heard.variables[motion_stage.HEARING],
  }
  if felt:
    networks["feel"] = felt[0].variables[emotion_stage.FEELING]
  networks = jax.device_put(networks)

  @jax.jit
  def begin(networks, picture):
    picture = picture.astype(jnp.float32) / 255
    found: Any = detector.apply(networks["see"], picture)
    encoded = generator.apply(networks["paint"], picture, method="encode")
    return Source(picture, encoded, found.keypoints)

  def smooth(
    name: str, keypoints: Keypoints, states: tuple[one_euro.State, ...]
  ) -> tuple[Keypoints, tuple[one_euro.State, ...]]:
    (points, first), (jacobians, second) = (
      one_euro.smooth(x, filters[name], state)
      for x, state in zip(keypoints, states, strict=True)
    )
    return Keypoints(points, jacobians), (first, second)

  @jax.jit
  def go_on(networks, source, chunk, states):
    pose, pose_state = one_euro.smooth(chunk.pose, filters["pose"], states.pose)
    heard: Any = hearing.apply(
      networks["hear"],
      source.picture,
      chunk.windows[None],
      pose[None],
      states.heard,
      model.loud,
    )
    own = heard.found.keypoints
    if model.anchored:
      own = anchored(source.keypoints, own)
    keypoints, after = smooth("keypoints", own, states.keypoints)
    after = States(heard.state, pose_state, after, states.displacement)
    if chunk.emotion is not None:
      views = emotion_view.still(
        chunk.emotion.astype(jnp.float32) / 255, chunk.landmarks
      )
      felt: Any = feeling.apply(networks["feel"], views, own)
      added, state = smooth(
        "displacement", felt.displacement, states.displacement
      )
      keypoints = displaced(keypoints, added, moved, factors)
      after = after._replace(displacement=state)
    painted: Any = generator.apply(
      networks["paint"],
      source.encoded,
      source.keypoints,
      keypoints,
      method="move",
    )
    return as_bytes(2 * painted.frames - 1), after

  def fresh() -> States:
    """Before the first frame."""
    state: Any = jax.eval_shape(
      hearing.apply,
      networks["hear"],
      batch_shapes.float32(1, model.image, model.image, 3),
      batch_shapes.float32(1, CHUNK, *motion_stage.HEARD),
      batch_shapes.float32(1, CHUNK, head_pose.NUMBERS),
    ).state
    return States(
      jnp.zeros(state.shape, state.dtype),
      one_euro.start((head_pose.NUMBERS,)),
      *(
        (one_euro.start((count, 2)), one_euro.start((count, 2, 2)))
        for count in (model.keypoints, len(moved))
      ),
    )

  states = fresh()
  numbers = heard.variables[motion_stage.SCALE]["params"]
  scale = PoseScale(**jax.tree.map(np.asarray, numbers))
  return Networks(
    begin=lambda picture: (begin(networks, picture), states),
    go_on=lambda *rest: go_on(networks, *rest),
    pose=lambda *rest: motion_stage.held(config, scale, *rest),
    size=model.image,
  )


def _held_still(
  track: ShownFrames | None,
  matrix: Float[np.ndarray, "2 3"],
  size: int,
  count: int,
) -> tuple[
  UInt8[np.ndarray, "t n n 3"] | None, Float[np.ndarray, "t 68 2"] | None
]:
  """An emotion's frames brought to where its first one's face is.

  The public code also raises the faces of surprise and fear by 10 px of 256,
  by a label that it is told; here nothing is told.

  Args:
    track: In the canonical crop; None: there is none.
    matrix: That cuts it to the native one.
    size: Of the native crop.
    count: Frames that are wanted; a video of less runs back and forth.
  """
  if track is None:
    return None, None
  length = len(track.frames)
  turn = np.arange(count) % max(2 * length - 2, 1)
  times = np.minimum(turn, 2 * length - 2 - turn)
  points = track.landmarks[times].astype(np.float64)
  goal = points[0] @ matrix[:, :2].T + matrix[:, 2]
  matrices = np.stack([similarity(x[ALIGNED], goal[ALIGNED]) for x in points])
  moved = np.einsum("tij,tkj->tki", matrices[:, :, :2], points)
  moved = moved + matrices[:, None, :, 2]
  frames = crops.cut(track.frames[times], matrices, size)
  return frames, moved.astype(np.float32)


def _filled(x: np.ndarray, lack: int) -> np.ndarray:
  """A chunk with its last row as often as there are rows missing."""
  return np.pad(x, ((0, lack), *((0, 0),) * (x.ndim - 1)), "edge")


EAMM = Method(
  name="EAMM",
  needs=frozenset({"pose", "emotion"}),
  sees="head pose in six numbers a frame, every frame without its mouth",
  samples=False,
  restore=restore,
  prepare=prepare,
  generate=generate,
  place=place,
)
NEUTRAL = EAMM._replace(
  name="EAMM, neutral",
  needs=frozenset({"pose"}),
  sees="head pose in six numbers a frame",
  restore=restore_neutral,
)
METHODS = {"": EAMM, "neutral": NEUTRAL, **fomm.METHODS}
