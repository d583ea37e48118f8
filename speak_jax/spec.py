"""The words that both halves of the project share: constants, records, batches.

Imports NumPy and jaxtyping alone, because data workers load it without JAX.
Pixels travel as uint8 RGB and sound as int16 until they are on the device;
there `frames` means float RGB in [-1, 1] and `audio` float in [-1, 1].
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Int16, UInt8

SAMPLE_RATE_HZ = 16_000
FPS = 25  # the default frame grid; 640 samples of sound a frame, exactly

# MEAD's names in MEAD's order. A record's `emotion` is an index, -1 unknown.
EMOTIONS = (
  "neutral",
  "angry",
  "contempt",
  "disgusted",
  "fear",
  "happy",
  "sad",
  "surprised",
)
UNKNOWN = -1
LEVELS = 3  # of an emotion's strength, from 1 on

# iBUG 68-point scheme (0-based, half-open).
JAW = slice(0, 17)
BROWS = slice(17, 27)
NOSE = slice(27, 36)
LEFT_EYE = slice(36, 42)  # left in the picture
RIGHT_EYE = slice(42, 48)
MOUTH = slice(48, 68)
INNER_UPPER = (61, 62, 63)
INNER_LOWER = (67, 66, 65)  # below INNER_UPPER, point by point

# FaceMesh's points, and those of the lips' edges: outer, then inner, each from
# the left corner over the upper lip and back.
MESH = 468
MESH_LIPS = (
  *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
  *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
  *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
  *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
MESH_GAP = (13, 14)  # upper and lower edge of the gap between the lips

SYNC_FRAMES = 5  # 0.2 s, SyncNet's window
LEVEL = 11  # numbers of `sound_level`
MESH_UNIT = 16_384  # of a record's mesh: so many to the side of its crops

# The square that SyncNet sees, as sets store it: upper lip to the chin of an
# open mouth. Its side, and how far below the nose its middle lies, in eye
# distances.
LIPS_SQUARE = (1.7, 0.72)
# Grey of red, green and blue: BT.601, as in OpenCV and in a JPEG.
LUMA = (0.299, 0.587, 0.114)
# Pixel centres have whole numbers, so the corner of a picture has x = y = -0.5.
_MESH_CORNER = np.array([0.5, 0.5, 0.0], np.float32)
EYE_TO_NOSE = 0.68  # height of a face's nose below its eyes, the same unit
# Of SSIM, as metric and as loss: (K L)^2 holds its quotients where all is flat,
# L the range of values. Wang et al. 2004.
SSIM_K = (0.01, 0.03)


def samples_per_frame(fps: float) -> float:
  """Samples of 16 kHz sound that belong to one frame (640 at 25 fps)."""
  return SAMPLE_RATE_HZ / fps


class Record(NamedTuple):
  """One clip of one face, as it is on disk."""

  clip: str  # unique in its data set
  identity: str
  emotion: int  # index into EMOTIONS, -1 unknown
  level: int  # 1 to 3, 0 unknown
  view: str  # camera, "" unknown
  source: str  # where it came from: a path or a recipe
  fps: float
  frames: list[bytes]  # n JPEG crops, square
  audio: Int16[np.ndarray, "s"]  # s = round(n * 16000 / fps)
  landmarks: Float[np.ndarray, "n 68 2"]  # x, y in crop pixels
  pose: Float[np.ndarray, "n 3"]  # yaw, pitch, roll in degrees
  pose_method: str  # "rendered", "facemesh"
  crop: Float[np.ndarray, "2 3"]  # source pixels -> crop pixels
  # Synthetic clips alone; empty (first axis 0) elsewhere.
  factors: Float[np.ndarray, "n f"]  # synthetic.factors.FACTORS, exact
  phonemes: str  # JSON [[symbol, start_s, end_s], ...], "" elsewhere
  # Twins of k frames of the clip: another person and emotion, rendered in
  # exactly the frame's pose, and a third one with exactly its mouth.
  twin_index: Int[np.ndarray, "k"]
  twin_pose: list[bytes]
  twin_pose_landmarks: Float[np.ndarray, "k 68 2"]
  twin_mouth: list[bytes]
  twin_mouth_landmarks: Float[np.ndarray, "k 68 2"]
  # What several cameras filmed at once: records of one identity and take hold
  # the same instant where `start` + frame is the same. "" where there is none.
  take: str = ""
  start: int = 0  # the first frame's place in the take, on the grid of `fps`
  # Records of one identity and session show the person in the same clothes,
  # hair, room and light: one video, or one sitting. "" where it is not known.
  session: str = ""
  # `media.lips` of every frame, grey; no frames where a set has none.
  mouths: UInt8[np.ndarray, "m s s"] = np.zeros((0, 0, 0), np.uint8)
  # FaceMesh's points of every frame: x, y from the crop's upper left corner
  # and depth z, in 1/16384 of the crop's side (`stored_mesh`, `mesh_px`). m is
  # the number of frames, or 0 where a set has none.
  mesh: Int16[np.ndarray, "m 468 3"] = np.zeros((0, 468, 3), np.int16)


class SyncWindows(NamedTuple):
  """Stage 1: windows of one clip; window i of the picture matches sound i."""

  # Of 5 frames the aligned mouths (h = w, c = 1), or the lower halves (c = 3).
  mouth: UInt8[np.ndarray, "b n t h w c"]
  audio: Int16[np.ndarray, "b n s"]  # the same 0.2 s, 3200 samples


class Pair(NamedTuple):
  """Stage 2: who gives which factor, and the frame that they must make.

  Every donor may come from another clip or person than the target; in the
  paper's own case all of them are the target frame.
  """

  identity: UInt8[np.ndarray, "b h w 3"]
  identity_landmarks: Float[np.ndarray, "b 68 2"]
  pose: UInt8[np.ndarray, "b h w 3"]
  # Whole frame; the stage cuts the aligned face out of it, if E_e sees that.
  emotion: UInt8[np.ndarray, "b h w 3"]
  emotion_landmarks: Float[np.ndarray, "b 68 2"]
  mouth: UInt8[np.ndarray, "b m m 3"]  # aligned mouth patch
  target: UInt8[np.ndarray, "b h w 3"]
  target_landmarks: Float[np.ndarray, "b 68 2"]
  target_pose: Float[np.ndarray, "b 3"]  # degrees
  emotion_label: Int[np.ndarray, "b"]  # of the target, -1 unknown
  identity_label: Int[np.ndarray, "b"]
  # In training: whose mouth the pose picture gets (zeros where `lends` is not
  # so), and whether pose, mouth and emotion pictures are changed at all.
  donor: UInt8[np.ndarray, "b d d 3"]  # d = `donor_side`
  donor_landmarks: Float[np.ndarray, "b 68 2"]  # in its pixels
  lends: Bool[np.ndarray, "b"]
  treated: Bool[np.ndarray, "b"]


class Clip(NamedTuple):
  """Stage 3: t consecutive frames, their sound, and the other donors."""

  identity: UInt8[np.ndarray, "b h w 3"]  # outside the window
  identity_landmarks: Float[np.ndarray, "b 68 2"]
  frames: UInt8[np.ndarray, "b t h w 3"]  # to be made; they give the pose too
  landmarks: Float[np.ndarray, "b t 68 2"]  # of `frames`
  pose: Float[np.ndarray, "b t 3"]  # degrees, of `frames`
  audio: Int16[np.ndarray, "b s"]  # of t + 2 context frames
  level: Float[np.ndarray, "b 11"]  # `sound_level` of the whole clip
  # Whole frames, as in `Pair`: the clip's own, or another clip's of the person,
  # emotion and level.
  emotion: UInt8[np.ndarray, "b k h w 3"]
  emotion_landmarks: Float[np.ndarray, "b k 68 2"]
  emotion_label: Int[np.ndarray, "b"]
  # Whose mouth E_p sees in training, of the clip and outside the window, in
  # all of its frames; zeros where none is lent.
  donor: UInt8[np.ndarray, "b d d 3"]  # d = `donor_side`
  donor_landmarks: Float[np.ndarray, "b 68 2"]  # in its pixels


class Stretch(NamedTuple):
  """t consecutive frames with their sound, and r others of the person."""

  frames: UInt8[np.ndarray, "b t h w 3"]
  landmarks: Float[np.ndarray, "b t 68 2"]  # of `frames`
  pose: Float[np.ndarray, "b t 3"]  # degrees, of `frames`
  audio: Int16[np.ndarray, "b s"]  # of t + 2 context frames
  level: Float[np.ndarray, "b 11"]  # `sound_level` of the whole clip
  others: UInt8[np.ndarray, "b r h w 3"]  # consecutive
  other_landmarks: Float[np.ndarray, "b r 68 2"]
  other_pose: Float[np.ndarray, "b r 3"]
  emotion_label: Int[np.ndarray, "b"]  # of the clip, -1 unknown


class Motion(NamedTuple):
  """The motion stage: t consecutive frames of a face, and their sound."""

  # By how much FaceMesh's points lie beside the person's face at rest:
  # canonical, in distances between the outer corners of the eyes.
  expression: Float[np.ndarray, "b t 468 3"]
  lids: Float[np.ndarray, "b t"]  # 0 as at rest, 1 shut
  emotion: Float[np.ndarray, "b 8"]  # strength of each of EMOTIONS, 0 to 1
  audio: Int16[np.ndarray, "b s"]  # of t + 2 context frames


def stored_mesh(
  mesh: Float[np.ndarray, "*n 468 3"], size: int
) -> Int16[np.ndarray, "*n 468 3"]:
  """A mesh as records hold it, exact to 1/32768 of the crop's side.

  Args:
    mesh: x, y in pixels of the crop, whole numbers at pixel centres; z in the
      same pixels.
    size: Side of the crop in pixels.

  Raises:
    ValueError: a point is two sides or more away, or not a number.
  """
  units = np.rint((mesh + _MESH_CORNER) * (MESH_UNIT / size))
  if not (np.abs(units) < 2 * MESH_UNIT).all():
    raise ValueError("a mesh's point is no number, or two sides away")
  return units.astype(np.int16)


def mesh_px(stored: Int16[Any, "*n 468 3"], size: int):
  """The inverse of `stored_mesh`, for crops of any `size`: float32.

  Works on NumPy and JAX arrays alike.
  """
  return stored.astype(np.float32) * np.float32(size / MESH_UNIT) - _MESH_CORNER


def donor_side(size: int) -> int:
  """Side in pixels of the picture that lends a mouth to those of `size`.

  Half: what is pasted softly, for a pose alone, need not be sharp.
  """
  return size // 2


@runtime_checkable
class Samples(Protocol):
  """16-bit sound, of which slices are taken: an array, or what lies in a file.

  So that hours of it need not be in memory.
  """

  def __len__(self) -> int:
    """The number of samples."""
    ...

  def __getitem__(self, part: slice, /) -> Int16[np.ndarray, "s"]:
    """Those of a slice without a step."""
    ...


def sound_level(samples: Samples) -> Float[np.ndarray, "11"]:
  """How loud a whole sound is, and how its power lies over the spectrum.

  What a window of it is normalised by, so that the gain is one for the clip
  and pauses stay quiet.

  Args:
    samples: All of it; may be empty.

  Returns:
    float32, full scale 1: its mean, then the autocovariance at lags of 0 to 9
    samples, as if its mean went on before and after it. They say the variance
    of whatever a filter of up to ten taps makes of it.
  """
  if not len(samples):
    return np.zeros(LEVEL, np.float32)
  block = 1 << 16
  starts = range(0, len(samples), block)
  # Whole numbers, so exact in any order.
  total = sum(int(samples[i : i + block].sum(dtype=np.int64)) for i in starts)
  mean = total / len(samples)
  sums = np.zeros(LEVEL - 1)
  for start in starts:
    piece = samples[start : start + block + LEVEL - 2].astype(float) - mean
    for lag in range(LEVEL - 1):
      late = piece[lag : lag + block]
      # Not BLAS, whose threads wait for each other in a busy loader.
      sums[lag] += np.einsum("i,i->", piece[: len(late)], late)
  power = sums / len(samples) / 32768**2
  return np.concatenate([[mean / 32768], power]).astype(np.float32)


def interocular(landmarks: Float[Any, "*n 68 2"]):
  """Distance between the eye centres, in the landmarks' unit, shape (*n)."""
  left = landmarks[..., LEFT_EYE, :].mean(-2)
  right = landmarks[..., RIGHT_EYE, :].mean(-2)
  return ((left - right) ** 2).sum(-1) ** 0.5


def mouth_opening(landmarks: Float[Any, "*n 68 2"]):
  """Gap between the inner lips over the inter-ocular distance, shape (*n).

  Works on NumPy and JAX arrays alike. About 0 closed, 0.5 wide open.
  """
  upper = landmarks[..., list(INNER_UPPER), :]
  lower = landmarks[..., list(INNER_LOWER), :]
  gap = (((upper - lower) ** 2).sum(-1) ** 0.5).mean(-1)
  return gap / interocular(landmarks).clip(1e-3)


def lips_square(
  landmarks: Float[Any, "*n 68 2"],
  square: tuple[float, float] = LIPS_SQUARE,
):
  """The square round mouth and chin that SyncNet sees, upright in the face.

  It hangs on what the jaw does not move: the line of the eyes, by their
  corners, gives its turn, the nose its place, both its side. So lips and jaw
  move within it, and not it with them. A turned head has its eyes nearer to
  each other and a nodding one its nose nearer to them; the root of both
  distances' squares changes by less than either.

  Works on NumPy and JAX arrays alike.

  Args:
    landmarks: x, y.
    square: Side, and depth of the middle below the nose, in eye distances.

  Returns:
    (middle, side): shape (*n, 2) each, in the landmarks' unit; `side` is the
    square's upper side as a vector, from left to right.
  """
  left = landmarks[..., [36, 39], :].mean(-2)
  right = landmarks[..., [42, 45], :].mean(-2)
  nose = landmarks[..., 31:36, :].mean(-2)
  eyes, down = right - left, nose - (left + right) / 2
  apart = (eyes**2).sum(-1, keepdims=True)
  fall = (down**2).sum(-1, keepdims=True)
  size = ((apart + fall / EYE_TO_NOSE**2) / 2) ** 0.5
  unit = eyes / apart.clip(1e-6) ** 0.5
  # A quarter turn clockwise: what is below in the face. y points down.
  below = unit[..., ::-1] * np.array([-1.0, 1.0], np.float32)
  wide, down = square
  return nose + below * size * down, unit * size * wide


def lips_fold(picture: int, size: int) -> int:
  """How many times finer `lips_square` is sampled before it is averaged.

  Two neighbours are all that bilinear sampling sees. Where the square, about
  half as wide as the picture, shrinks to less than half, it would alias.

  Args:
    picture: Side of the picture in pixels.
    size: Side of the cut.
  """
  return max(1, round(0.5 * picture / size / 1.25))
