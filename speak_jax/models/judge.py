"""The judge: reads landmarks, pose, emotion, opening and identity off frames.

It measures what the other networks make and shares nothing with them: other
weights, other faces, and it never sees a generated frame while it learns.
`speak_jax.tools.train_judge` trains it.

A first net finds the face in the whole frame; the others look at pieces cut
along what it found, because at 64 pixels a brow is two pixels of 4096.
"""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import traverse_util
from jax import Array
from jaxtyping import Float, PRNGKeyArray, UInt8
from safetensors import numpy as safetensors

from speak_jax import spec
from speak_jax.common import files
from speak_jax.nn import norm, resnet
from speak_jax.nn.conv import Conv, leaky
from speak_jax.nn.pixels import as_frames

SIZE = 64  # px, side of the frames that the judge reads
WIDTH = 24  # channels of its nets' first stage
IDENTITY = 64  # width of the identity embedding
WEIGHTS = Path(__file__).parents[1] / "assets" / "judge.safetensors"

# Left eye, right eye, mouth in the face's own frame: eyes 1 apart, v down.
ANCHORS = np.array([[-0.5, -0.55], [0.5, -0.55], [0.0, 0.55]], np.float32)


class View(NamedTuple):
  """A square piece of the face's own frame, and its pixels when cut."""

  u: float
  v: float
  half: float  # half its side, in eye distances
  px: int


FACE = View(0.0, 0.1, 1.2, 48)  # brows to chin
HEAD = View(0.0, -0.25, 2.1, 48)  # hair and ears too
MOUTH = View(0.0, 0.0, 0.8, 32)  # about the middle of the lips


class Similarity(NamedTuple):
  """Face's frame to picture: x = a u - b v + x0, y = b u + a v + y0."""

  turn: Float[Array, "n 2"]  # a, b: pixels for one eye distance
  shift: Float[Array, "n 2"]  # x0, y0


class Judgement(NamedTuple):
  """What the judge sees in n frames."""

  landmarks: Float[Any, "n 68 2"]  # pixels of its 64 px frames
  pose: Float[Any, "n 3"]  # yaw, pitch, roll in degrees
  emotion: Float[Any, "n 8"]  # logits over spec.EMOTIONS
  opening: Float[Any, "n"]  # of the mouth, 0 closed to about 1
  identity: Float[Any, "n 64"]  # unit vectors; compare by cosine


class Backbone(nn.Module):
  """A small residual network whose features keep their places."""

  width: int
  stem: str  # "small" looks closer than "deep", at three times the cost

  @nn.compact
  def __call__(self, pictures: Float[Array, "n h w 3"]) -> Float[Array, "n d"]:
    """128 features of each picture."""
    maps = resnet.ResNet(
      (1, 1, 1), self.width, False, self.stem, name="resnet"
    )(pictures)
    places = leaky(Conv(16, 1, name="squeeze")(maps.stages[-1]))
    places = rearrange(places, "n h w c -> n (h w c)")
    both = jnp.concatenate([places, maps.pooled], -1)
    return leaky(nn.Dense(128, name="dense")(both))


class Judge(nn.Module):
  """All of the judge's nets. Frames are float RGB in [-1, 1], 64 px."""

  width: int = WIDTH

  def setup(self):
    """Makes the nets."""
    self.finder = Backbone(self.width, "deep", name="finder")
    self.rough_points = nn.Dense(136, name="found")  # as stored
    self.face = Backbone(self.width, "small", name="face")
    self.face_points = nn.Dense(136, name="face_points")
    self.mouth = Backbone(self.width - 8, "small", name="mouth")
    self.mouth_points = nn.Dense(40, name="mouth_points")
    self.head = Backbone(self.width, "deep", name="head")
    self.identity = nn.Dense(IDENTITY, name="identity")
    self.pose_hidden = nn.Dense(96, name="pose_hidden")
    self.pose = nn.Dense(3, name="pose")
    self.emotion_hidden = nn.Dense(96, name="emotion_hidden")
    self.emotion = nn.Dense(len(spec.EMOTIONS), name="emotion")
    self.opening_hidden = nn.Dense(48, name="opening_hidden")
    self.opening = nn.Dense(1, name="opening")

  def __call__(self, frames: Float[Array, "n h w 3"]) -> Judgement:
    """Judges frames; the pieces are cut along what `detect_landmarks` says."""
    landmarks = self.detect_landmarks(frames)
    return self.analyse(frames, landmarks, landmarks)

  def detect_landmarks(
    self, frames: Float[Array, "n h w 3"]
  ) -> Float[Array, "n 68 2"]:
    """A first guess of the landmarks, in pixels."""
    points = self.rough_points(self.finder(frames)) + _flat(_mean_face())
    points = rearrange(points, "n (k d) -> n k d", d=2)
    # One unit is about a face's eye distance, and 0 the frame's middle.
    return points * (SIZE / 4) + (SIZE - 1) / 2

  def analyse(
    self,
    frames: Float[Array, "n h w 3"],
    landmarks: Float[Array, "n 68 2"],
    first: Float[Array, "n 68 2"],
  ) -> Judgement:
    """Everything else, from pieces cut along given landmarks.

    Args:
      frames: The pictures.
      landmarks: Where to cut. True ones, disturbed, while learning.
      first: `detect_landmarks`'s guess, for the pose.
    """
    frame = fit_similarity(landmarks)
    face = self.face(crop_view(frames, frame, FACE))
    shape = self.face_points(face) + _flat(_mean_face())
    shape = rearrange(shape, "n (k d) -> n k d", d=2)
    middle = shape[:, spec.MOUTH].mean(1)
    mouth = self.mouth(
      crop_view(frames, frame, MOUTH, jax.lax.stop_gradient(middle))
    )
    lips = rearrange(self.mouth_points(mouth), "n (k d) -> n k d", d=2)
    lips = shape[:, spec.MOUTH] + MOUTH.half * lips
    shape = jnp.concatenate([shape[:, : spec.MOUTH.start], lips], 1)
    points = to_picture(frame, shape)

    settled = jax.lax.stop_gradient(shape)
    first = jax.lax.stop_gradient(first)
    spread = jnp.concatenate(
      [
        _flat(settled),
        _flat(first - first.mean(1, keepdims=True)) / (SIZE / 4),
      ],
      -1,
    )
    turn = frame.turn / (SIZE / 4)
    pose = leaky(self.pose_hidden(jnp.concatenate([face, spread, turn], -1)))
    mood = jnp.concatenate([face, _flat(settled)], -1)
    lips_flat = jnp.concatenate([mouth, _flat(settled[:, spec.MOUTH])], -1)
    opening = self.opening(leaky(self.opening_hidden(lips_flat)))
    return Judgement(
      landmarks=points,
      pose=30.0 * self.pose(pose),
      emotion=self.emotion(leaky(self.emotion_hidden(mood))),
      opening=opening[:, 0],
      identity=norm.unit(
        self.identity(self.head(crop_view(frames, frame, HEAD)))
      ),
    )

  def learn(
    self,
    frames: Float[Array, "n h w 3"],
    landmarks: Float[Array, "n 68 2"],
  ) -> tuple[Float[Array, "n 68 2"], Judgement]:
    """A guess of landmarks, and the rest from pieces cut along given ones."""
    first = self.detect_landmarks(frames)
    return first, self.analyse(frames, landmarks, first)


def fit_similarity(landmarks: Float[Array, "n 68 2"]) -> Similarity:
  """The face's own frame: least squares over both eyes and the mouth."""
  anchors = jnp.stack(
    [
      landmarks[:, spec.LEFT_EYE].mean(1),
      landmarks[:, spec.RIGHT_EYE].mean(1),
      landmarks[:, spec.MOUTH].mean(1),
    ],
    1,
  )
  centre, goal = ANCHORS.mean(0), ANCHORS - ANCHORS.mean(0)
  middle = anchors.mean(1)
  offset = anchors - middle[:, None]
  size = float((goal**2).sum())
  a = (goal * offset).sum((1, 2)) / size
  b = (goal[:, 0] * offset[..., 1] - goal[:, 1] * offset[..., 0]).sum(1) / size
  turn = jnp.stack([a, b], -1)
  return Similarity(turn, middle - _rotate(turn, jnp.asarray(centre)))


def to_picture(
  frame: Similarity, points: Float[Array, "n k 2"]
) -> Float[Array, "n k 2"]:
  """Points of the face's own frame in picture pixels."""
  return _rotate(frame.turn[:, None], points) + frame.shift[:, None]


def to_face(
  frame: Similarity, points: Float[Array, "n k 2"]
) -> Float[Array, "n k 2"]:
  """The inverse of `to_picture`."""
  back = frame.turn * jnp.array([1.0, -1.0])
  back /= (frame.turn**2).sum(-1, keepdims=True).clip(1e-6)
  return _rotate(back[:, None], points - frame.shift[:, None])


def crop_view(
  frames: Float[Array, "n h w c"],
  frame: Similarity,
  view: View,
  centre: Float[Array, "n 2"] | None = None,
) -> Float[Array, "n i j c"]:
  """Cuts a view out of pictures, upright; borders are replicated.

  Args:
    frames: The pictures.
    frame: Where each face is.
    view: What to cut.
    centre: Its middle in the face's frame, if not the view's own.
  """
  if centre is None:
    centre = jnp.broadcast_to(jnp.array([view.u, view.v]), frame.shift.shape)
  along = (jnp.arange(view.px) + 0.5) / view.px * 2 - 1
  u, v = jnp.meshgrid(along * view.half, along * view.half)
  grid = jnp.stack([u.ravel(), v.ravel()], -1)
  places = to_picture(frame, grid + centre[:, None])
  return sample(frames, rearrange(places, "n (i j) d -> n i j d", i=view.px))


def sample(
  frames: Float[Array, "n h w c"], places: Float[Array, "n i j 2"]
) -> Float[Array, "n i j c"]:
  """Bilinear look-up at x, y in pixels; borders are replicated.

  As a + d (b - a), where `nn.warp.sample` has a (1 - d) + b d: they differ by
  the last bit, and what this judge has measured is to stay what it measures.
  """
  height, width = frames.shape[1:3]
  x = places[..., 0].clip(0, width - 1)
  y = places[..., 1].clip(0, height - 1)
  left = jnp.floor(x).clip(0, width - 2).astype(jnp.int32)
  top = jnp.floor(y).clip(0, height - 2).astype(jnp.int32)
  dx, dy = (x - left)[..., None], (y - top)[..., None]
  pixels = rearrange(frames, "n h w c -> n (h w) c")
  corner = top * width + left

  def pick(step: int) -> Array:
    index = rearrange(corner + step, "n i j -> n (i j) 1")
    taken = jnp.take_along_axis(pixels, index, 1, mode="promise_in_bounds")
    return taken.reshape(*corner.shape, -1)

  upper = pick(0) + dx * (pick(1) - pick(0))
  lower = pick(width) + dx * (pick(width + 1) - pick(width))
  return upper + dy * (lower - upper)


def init(key: PRNGKeyArray) -> Any:
  """Fresh parameters: drawn by one program, without running the nets."""
  frames = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
  draw = jax.jit(lambda key: dict(Judge().lazy_init(key, frames))["params"])
  return draw(key)


def apply(params: Any, frames: UInt8[Array, "n h w 3"]) -> Judgement:
  """Judges uint8 frames of 64 x 64 pixels. Pure; jit it at one batch size.

  Raises:
    ValueError: frames of another size (resize them first, by area).
  """
  if frames.shape[1:] != (SIZE, SIZE, 3):
    raise ValueError(f"the judge reads {SIZE} px frames, not {frames.shape}")
  judgement: Any = Judge().apply({"params": params}, as_frames(frames))
  return judgement


def save(params: Any, path: Path) -> None:
  """Writes weights as float16 safetensors, whole or not at all."""
  flat = traverse_util.flatten_dict(params, sep="/")
  halves = {k: np.asarray(v, np.float16) for k, v in flat.items()}
  files.write(path, safetensors.save(halves))


def load(path: Path = WEIGHTS) -> Any:
  """Reads weights as float32; by default those that come with the package.

  Raises:
    ValueError: no such file; the line says how to make one.
  """
  if not path.exists():
    raise ValueError(
      f"{path}: missing; run `python -m speak_jax.tools.train_judge`"
    )
  flat = {
    k: v.astype(np.float32) for k, v in safetensors.load_file(path).items()
  }
  return traverse_util.unflatten_dict(flat, sep="/")


def _rotate(turn: Float[Array, "*n 2"], points: Float[Array, "*m 2"]) -> Array:
  """Complex multiplication: turns and scales points."""
  a, b = turn[..., 0], turn[..., 1]
  u, v = points[..., 0], points[..., 1]
  return jnp.stack([a * u - b * v, b * u + a * v], -1)


def _flat(points: Float[Array, "n k 2"]) -> Float[Array, "n d"]:
  return rearrange(points, "n k d -> n (k d)")


def _mean_face() -> Float[Array, "1 68 2"]:
  """A plain frontal face in its own frame, from which nets start."""
  points = np.zeros((68, 2), np.float32)
  turn = np.linspace(0, np.pi, 17)
  points[spec.JAW] = np.stack(
    [-1.15 * np.cos(turn), -0.35 + 1.6 * np.sin(turn)], -1
  )
  across = np.r_[np.linspace(-0.9, -0.2, 5), np.linspace(0.2, 0.9, 5)]
  points[spec.BROWS] = np.stack([across, np.full(10, -0.9)], -1)
  points[spec.NOSE] = [0, 0]
  points[27:31, 1] = np.linspace(-0.5, 0.0, 4)
  points[31:36] = np.stack([np.linspace(-0.2, 0.2, 5), np.full(5, 0.15)], -1)
  points[spec.LEFT_EYE], points[spec.RIGHT_EYE] = ANCHORS[0], ANCHORS[1]
  points[spec.MOUTH] = ANCHORS[2]
  return jnp.asarray(points)[None]
