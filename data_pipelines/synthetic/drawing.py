"""Draws scenes: pictures of one person, and where the landmarks are in them.

The head is turned by R = roll(z) yaw(y) pitch(x); signs as in `Factors`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.synthetic import (
  emotion,
  features,
  head,
  motion,
  raster,
)
from data_pipelines.synthetic.factors import Factors
from data_pipelines.synthetic.surface import CHIN_Y, CROWN_Y

_DISTANCE = 6.5  # from the camera to the neck, head units
_SUPERSAMPLE = 2
_MIDDLE_Y = 0.03  # head unit at the picture's middle
_HEIGHT = CROWN_Y - CHIN_Y + 0.12  # with hair


class Scene(NamedTuple):
  """n pictures of one person."""

  model: head.Model
  factors: Factors
  channels: Float[np.ndarray, "n c"]  # of the emotion alone
  light: Float[np.ndarray, "n 3"]
  colours: Float[np.ndarray, "n 3 3"]
  background: Float[np.ndarray, "b h w 3"]  # 1, or one a picture


def rotation(pose: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
  """Matrices of yaw, pitch, roll in degrees (axes: right, up, to camera)."""
  yaw, pitch, roll = np.deg2rad(pose).T
  one, nil = np.ones_like(yaw), np.zeros_like(yaw)

  def matrix(*rows: tuple[np.ndarray, ...]) -> np.ndarray:
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


def draw(
  scene: Scene, size: int
) -> tuple[UInt8[np.ndarray, "n h w 3"], Float[np.ndarray, "n 68 2"]]:
  """Draws a scene.

  Returns:
    RGB frames of `size` by `size` pixels, and landmarks in their pixels.
  """
  n = len(scene.factors.yaw)
  channels = _channels(scene)
  face = features.build(scene.model, _face_motion(scene, channels))
  mesh = _mesh(scene.model, face)
  landmarks = np.empty((n, 68, 2), np.float32)
  out = np.empty((n, size, size, 3), np.uint8)
  raster.frames(
    mesh, _motion(scene, channels, face), _view(scene, size), landmarks, out
  )
  # Pixel (0, 0) has its centre at 0: half a pixel from the raster's corner.
  return out, landmarks - 0.5


def _channels(scene: Scene) -> Float[np.ndarray, "n c"]:
  """Weights of emotion.CHANNELS, with what the mouth's own factors add."""
  shown = scene.factors
  channels = scene.channels.astype(np.float32).copy()
  jaw, pout = (emotion.FIELDS.index(k) for k in ("jaw", "round"))
  gap = features.GAPE * 2 * scene.model.anchor["eye_x"] * shown.mouth_open
  channels[:, jaw] = 0.76 * gap
  channels[:, pout] = shown.mouth_round
  return channels


def _face_motion(
  scene: Scene, channels: Float[np.ndarray, "n c"]
) -> features.FaceMotion:
  shown = scene.factors
  return features.FaceMotion(
    channels=channels,
    mouth_open=shown.mouth_open,
    mouth_wide=shown.mouth_wide,
    mouth_round=shown.mouth_round,
    mouth_press=shown.mouth_press,
    blink=shown.blink,
    gaze=np.stack([shown.gaze_x, shown.gaze_y], -1),
    light=scene.light,
  )


def _mesh(model: head.Model, face: features.Features) -> raster.Mesh:
  """The model with the patches of eyes, brows and mouth behind it."""
  plain, extra = len(model.points), face.points.shape[1]
  marks = np.arange(68, dtype=np.int32)
  skin_marks = np.arange(model.markers.start, model.markers.stop)
  marks[0:17], marks[27:36] = skin_marks[:17], skin_marks[17:]
  marks[17:27] = plain + face.landmarks[:10]
  marks[36:68] = plain + face.landmarks[10:]
  one_sided = np.zeros(len(face.bias), np.int8)
  return raster.Mesh(
    still=model.points,
    first_moving=model.moving.start,
    fields=model.fields,
    folds=model.folds,
    albedo=model.albedo,
    uv=model.uv,
    weight=np.concatenate([model.weight, np.ones(extra, np.float32)]),
    material=np.concatenate([model.material, face.material]),
    both=np.concatenate([model.sided_vertex, np.zeros(extra, np.int8)]),
    triangles=np.concatenate(
      [model.before, face.triangles + plain, model.after]
    ),
    bias=np.concatenate([model.bias[0], face.bias, model.bias[1]]),
    sided=np.concatenate([model.sided[0], one_sided, model.sided[1]]),
    atlas=model.atlas,
    marks=marks,
  )


def _motion(
  scene: Scene, channels: Float[np.ndarray, "n c"], face: features.Features
) -> raster.Motion:
  """How skin, patches and head move."""
  depth = np.zeros((len(channels), len(emotion.FOLDS)), np.float32)
  for i, fold in enumerate(emotion.FOLDS):
    for name, weight in fold.items():
      depth[:, i] += weight * channels[:, emotion.CHANNELS.index(name)].clip(0)
  pose = scene.factors.pose
  # The torso turns a little with the head: yaw, pitch, roll.
  torso = pose * np.array([0.18, 0.05, 0.10])
  return raster.Motion(
    channels=np.ascontiguousarray(channels[:, : len(emotion.FIELDS)]),
    depths=depth.clip(0, 0.6),
    patches=face.points,
    patch_albedo=face.albedo,
    patch_uv=face.uv,
    rotation=rotation(pose).astype(np.float32),
    torso=rotation(torso).astype(np.float32),
    pivot=head.PIVOT,
  )


def _view(scene: Scene, size: int) -> raster.View:
  """Where the head falls in pictures of `size` pixels, light and room."""
  shown = scene.factors
  unit = shown.scale * size / _HEIGHT
  camera = np.stack(
    [
      size * (0.5 + shown.shift_x),
      size * (0.5 + shown.shift_y) + _MIDDLE_Y * unit,
      unit,
    ],
    -1,
  )
  return raster.View(
    camera=camera.astype(np.float32),
    key=scene.light.astype(np.float32),
    colours=scene.colours.astype(np.float32),
    background=scene.background,
    distance=np.float32(_DISTANCE),
    factor=_SUPERSAMPLE,
  )


def lit(
  rng: np.random.Generator,
  model: head.Model,
  shown: Factors,
  channels: Float[np.ndarray, "n c"],
  size: int,
) -> Scene:
  """A scene with light and room anew in every picture of `size` pixels."""
  lights = [motion.light(rng) for _ in shown.yaw]
  direction = np.stack([one[0] for one in lights])
  shown = shown._replace(light_x=direction[:, 0], light_y=direction[:, 1])
  rooms = np.stack([motion.background(rng, size) for _ in shown.yaw])
  colours = np.stack([one[1] for one in lights])
  return Scene(model, shown, channels, direction, colours, rooms)
