"""The face networks: BlazeFace finds faces, FaceMesh places points.

They and the iris network, which `eyes` uses, are TFLite files of MediaPipe
0.10.21 (Apache-2.0), run on one CPU thread each. The steps round the networks
are those that they were trained with.
"""

import contextlib
import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.media.warp import warp
from speak_jax.common import files

DETECTOR, MESH = "face_detection_short_range.tflite", "face_landmark.tflite"
IRIS = "iris_landmark.tflite"
MODEL_FILES = {
  DETECTOR: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
  MESH: "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
  IRIS: "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
}

MIN_SCORE = 0.5
# Steps from the whole picture to small squares of it, no smaller than these: a
# face of a sixth of one is found, and a smaller one has too few pixels.
FINEST, TILE_PX = 5, 256
# What is lower than this shows no face, nor does a square of it.
LEAST_PX = 16
# Squares of one step at most: of pictures of 64 megapixels that are up to
# eight times as long as high all steps have fewer.
MOST_TILES = 2048
_DETECT_PX, _MESH_PX = 128, 192
_ROI = 1.5  # side of FaceMesh's input over the face box


class Face(NamedTuple):
  """One detected face; pixels of the whole picture."""

  box: Float[np.ndarray, "4"]  # x0, y0, x1, y1: brows to chin
  eyes: Float[np.ndarray, "2 2"]  # left and right in the picture
  score: float  # 0 to 1


class MissingModelError(FileNotFoundError):
  """The face model files have not been fetched, or are not the right ones."""


def models_dir() -> Path:
  """Folder of the model files.

  $SPEAK_JAX_MODELS if that is set; beside this file in a checkout; in the
  user's cache ($XDG_CACHE_HOME, ~/.cache) where the package is installed, for
  not everyone may write where that lies.
  """
  if named := os.environ.get("SPEAK_JAX_MODELS", ""):
    return Path(named)
  here = Path(__file__).parent
  if (here.parents[1] / "setup.py").is_file():
    return here / "models"
  cache = os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache"
  return Path(cache) / "speak_jax" / "models"


def is_right(path: Path) -> bool:
  """Says whether a model file is there and has the pinned SHA-256."""
  if not path.is_file():
    return False
  return files.sha256(path) == MODEL_FILES[path.name]


def checked(path: Path) -> Path:
  """The path itself, if it is one of the pinned model files."""
  if not is_right(path):
    raise MissingModelError(
      f"{path}: missing or not the pinned file; "
      "run `python -m data_pipelines.faces.fetch`"
    )
  return path


class BlazeFace:
  """Short-range face detector: good for faces over 1/6 of the square."""

  def __init__(self, path: Path):
    """Loads the model file."""
    self._net = Network(path)

  def detect(
    self, frame: UInt8[np.ndarray, "h w 3"], finest: int = 2
  ) -> list[Face]:
    """Finds faces, largest first.

    Args:
      frame: RGB.
      finest: If the whole picture shows none, as many steps to smaller ones
        are taken, as `levels` has them.
    """
    return next((faces for faces in self.levels(frame, finest) if faces), [])

  def levels(
    self, frame: UInt8[np.ndarray, "h w 3"], finest: int = FINEST
  ) -> Iterator[list[Face]]:
    """The faces, largest first, that are seen at finer and finer steps.

    First in the whole picture, then in half-overlapping squares of its short
    side, of half of it and so on, down to `TILE_PX`; of a strip that is many
    times as long as high, down to where there are too many of them.
    """
    height, width = frame.shape[:2]
    side, short = max(height, width), min(height, width)
    for step in range(finest + 1):
      if step == 0:
        x, y = (width - side) / 2, (height - side) / 2
        yield _largest_first(self._detect_square(frame, x, y, side))
        continue
      tile = short >> (step - 1)
      if step == 1 and height == width:
        continue  # that is the whole again
      if tile < (TILE_PX if step > 2 else LEAST_PX):
        return
      down, across = _starts(height, tile), _starts(width, tile)
      if len(down) * len(across) > MOST_TILES:
        return
      faces = [
        face
        for y in down
        for x in across
        for face in self._detect_square(frame, x, y, tile)
      ]
      yield _largest_first(_suppress(faces))

  def look_into(
    self,
    frame: UInt8[np.ndarray, "h w 3"],
    box: Float[np.ndarray, "4"],
  ) -> list[Face]:
    """The faces in and round a box x0, y0, x1, y1, at the box's own scale."""
    faces = []
    for wide in (1.5, 2.5):
      side = max(round(wide * float((box[2:] - box[:2]).max())), 1)
      x, y = (box[:2] + box[2:] - side) / 2
      faces += self._detect_square(frame, x, y, side)
    return _largest_first(_suppress(faces))

  def _detect_square(
    self, frame: UInt8[np.ndarray, "h w 3"], x: float, y: float, side: int
  ) -> list[Face]:
    """Faces inside one square of the picture; grey outside the picture."""
    scale = _DETECT_PX / side
    # Of a large picture only the part is made smaller.
    left, top = max(math.floor(x), 0), max(math.floor(y), 0)
    right, low = (max(math.ceil(at) + side + 1, 0) for at in (x, y))
    frame = frame[top:low, left:right]
    if not frame.size:  # a box that lies beyond the picture
      return []
    shift = -np.array([x - left, y - top]) * scale + (scale - 1) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = _cut(frame, matrix, _DETECT_PX)
    values, logits = self._net(crop / 127.5 - 1)
    scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -50, 50)))
    keep = np.flatnonzero(scores >= MIN_SCORE)
    values = values.reshape(-1, 8, 2)[keep] / _DETECT_PX
    middle = values[:, 0] + _anchor_grid()[keep]
    half = values[:, 1] / 2
    points = values[:, 2:4] + _anchor_grid()[keep][:, None]
    origin = np.array([x, y]) - 0.5  # from pixel edges to pixel centres
    least, most = ((middle + s * half) * side + origin for s in (-1, 1))
    faces = [
      Face(
        np.concatenate([least[i], most[i]]), points[i] * side + origin, float(s)
      )
      for i, s in enumerate(scores[keep])
    ]
    return _suppress(faces)


class FaceMesh:
  """468 points with depth in a square that holds one face."""

  def __init__(self, path: Path):
    """Loads the model file."""
    self._net = Network(path)

  def __call__(
    self, frame: UInt8[np.ndarray, "h w 3"], roi: Float[np.ndarray, "2 3"]
  ) -> tuple[Float[np.ndarray, "468 3"] | None, UInt8[np.ndarray, "s s 3"]]:
    """FaceMesh in a square of the picture, and what it looked at.

    The points are None if it sees no face there.
    """
    crop = warp(frame, roi, _MESH_PX)
    points, sure = self._points(crop, roi)
    return (points if sure >= MIN_SCORE else None), crop

  def score(
    self, frame: UInt8[np.ndarray, "h w 3"], roi: Float[np.ndarray, "2 3"]
  ) -> tuple[Float[np.ndarray, "468 3"], float]:
    """The points whatever it sees, and how sure it is of a face, 0 to 1."""
    return self._points(warp(frame, roi, _MESH_PX), roi)

  def _points(
    self, crop: UInt8[np.ndarray, "s s 3"], roi: Float[np.ndarray, "2 3"]
  ) -> tuple[Float[np.ndarray, "468 3"], float]:
    """Points in the whole picture, and how sure the network is of a face."""
    points, logit = self._net(crop.astype(np.float32) / 255)
    sure = 1 / (1 + np.exp(-logit.item()))
    points = points.reshape(468, 3)
    inverse = cv2.invertAffineTransform(roi)
    flat = (points[:, :2] - 0.5) @ inverse[:, :2].T + inverse[:, 2]
    depth = points[:, 2:] * np.hypot(*inverse[:, 0])
    return np.concatenate([flat, depth], 1).astype(np.float32), float(sure)


class Network:
  """One TFLite model on one thread: pixels (h, w, 3) in, outputs out."""

  def __init__(self, path: Path):
    """Loads the model file."""
    from ai_edge_litert.interpreter import Interpreter

    with _quiet():
      self._run = Interpreter(str(path), num_threads=1)
      self._run.allocate_tensors()
    self._input = self._run.get_input_details()[0]["index"]
    self._outputs = [d["index"] for d in self._run.get_output_details()]

  def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
    """Returns all outputs, of one picture (h, w, 3)."""
    self._run.set_tensor(self._input, pixels[None].astype(np.float32))
    self._run.invoke()
    return [self._run.get_tensor(index) for index in self._outputs]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Drops what the runtime's C++ prints to stderr; errors still raise."""
  kept = os.dup(2)
  nothing = os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(nothing, 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nothing)


@functools.cache
def _anchor_grid() -> Float[np.ndarray, "896 2"]:
  """Centres, 0 to 1, of BlazeFace's anchors: 16x16 two each, 8x8 six each."""
  grids = []
  for cells, count in ((16, 2), (8, 6)):
    y, x = np.mgrid[:cells, :cells]
    centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
    grids.append(np.repeat(centres, count, 0))
  return np.concatenate(grids)


def _cut(
  frame: UInt8[np.ndarray, "h w 3"],
  matrix: Float[np.ndarray, "2 3"],
  size: int,
) -> Float[np.ndarray, "s s 3"]:
  """As `warp`, but what lies outside the picture is black, as in training."""
  height, width = frame.shape[:2]
  scale = matrix[0, 0]
  small = max(round(width * scale), 1), max(round(height * scale), 1)
  if scale < 0.5:  # area average; the sub-pixel error is far below a cell
    frame = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
    matrix = matrix.copy()
    matrix[:, :2] = np.eye(2)
    matrix[:, 2] += (1 - scale) / 2
  return cv2.warpAffine(frame, matrix, (size, size)).astype(np.float32)


def _largest_first(faces: list[Face]) -> list[Face]:
  return sorted(faces, key=lambda face: -_area(face.box))


def _suppress(faces: list[Face], overlap: float = 0.3) -> list[Face]:
  """Merges overlapping boxes: score-weighted mean of each group."""
  rest = sorted(faces, key=lambda face: -face.score)
  merged = []
  while rest:
    group = [face for face in rest if iou(face.box, rest[0].box) > overlap]
    weights = np.array([face.score for face in group])
    box = np.average([face.box for face in group], 0, weights)
    eyes = np.average([face.eyes for face in group], 0, weights)
    merged.append(Face(box, eyes, rest[0].score))
    rest = [f for f in rest if iou(f.box, rest[0].box) <= overlap]
  return merged


def iou(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
  """Intersection over union of two boxes x0, y0, x1, y1."""
  low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
  common = float((high - low).clip(0).prod())
  return common / max(_area(a) + _area(b) - common, 1e-9)


def box_of(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "4"]:
  """Bounding box x0, y0, x1, y1 of points."""
  return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])


def _area(box: np.ndarray) -> float:
  return float((box[2:] - box[:2]).clip(0).prod())


def _starts(length: int, tile: int) -> Float[np.ndarray, "n"]:
  """Corners of half-overlapping tiles that cover a length."""
  count = max(int(np.ceil((length - tile) / (tile / 2))), 0) + 1
  return np.linspace(0, length - tile, count)


def face_roi(face: Face) -> Float[np.ndarray, "2 3"]:
  """Picture to FaceMesh's square, from a detected face."""
  return _roi(face.box, face.eyes)


def mesh_roi(mesh: Float[np.ndarray, "468 3"]) -> Float[np.ndarray, "2 3"]:
  """Picture to FaceMesh's square, from the mesh of the frame before."""
  return _roi(box_of(mesh), mesh[[33, 263], :2])


def _roi(
  box: Float[np.ndarray, "4"], eyes: Float[np.ndarray, "2 2"]
) -> Float[np.ndarray, "2 3"]:
  """Picture to FaceMesh's square: upright by the eyes, 1.5 x the box."""
  turn = np.arctan2(*(eyes[1] - eyes[0])[::-1])
  scale = _MESH_PX / (_ROI * max((box[2:] - box[:2]).max(), 1.0))
  cos, sin = scale * np.cos(turn), scale * np.sin(turn)
  linear = np.array([[cos, sin], [-sin, cos]])
  centre = (box[:2] + box[2:]) / 2
  shift = (_MESH_PX - 1) / 2 - linear @ centre
  return np.concatenate([linear, shift[:, None]], 1)
