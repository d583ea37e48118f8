"""An invisible mark in every frame: that it is synthetic, and by which weights.

A tile of noise, PERIOD px on a side, is repeated over the frame, stands still
in it, and is added to all three channels. It is band-limited: waves of 7 to 21
px outlive H.264 and half the size. Its strength follows the picture: what has
texture of the same kind hides more of it, what is dark hides less. It is the
sum of two tiles of one secret-free key; how far the second is shifted against
the first is the code of the weights, of CODE_BITS bits.

Goes in: a frame. Comes out: the frame with the mark, and nothing is kept from
one frame to the next, so a stream has the same frames as a file.
`detection` finds it.
"""

import hashlib

import cv2
import numpy as np
from jaxtyping import Float, UInt8

PERIOD = 128  # px
LOW, HIGH = 6, 18  # cycles a period
CODE_BITS = 12
STEP = 2  # px of a shift between codes
CODES = (PERIOD // STEP) ** 2
_NAME = b"speak-jax watermark 1"

# Of the noise's standard deviation, levels of 255, in a frame of FULL_PX: on a
# flat place; more, by level of texture there; at most.
FLAT, SLOPE, MOST = 1.0, 0.3, 5.0
FULL_PX = 256  # geometric mean of the sides; larger frames need less
_FADE, _RANGE = 0.7, (0.5, 1.25)  # power of that ratio, and its bounds
_DARK, _DIM = (24.0, 64.0), 0.5  # levels: strength is (level + 24) / 64
_CELL = 8  # px, of a value of the strength

assert CODES == 1 << CODE_BITS


class Key:
  """The waves of the two tiles.

  Attributes:
    ky: int (k), cycles a period downwards, of one half of the plane.
    kx: int (k), the same to the right.
    waves: complex (2, k), their unit phases, by tile.
  """

  def __init__(self, name: bytes = _NAME):
    """Draws the phases from a name, the same on every machine."""
    steps = np.arange(-HIGH, HIGH + 1)
    ky, kx = np.meshgrid(steps, steps, indexing="ij")
    radius = np.hypot(ky, kx)
    half = (kx > 0) | ((kx == 0) & (ky > 0))
    half &= (radius >= LOW) & (radius <= HIGH)
    self.ky = ky[half]
    self.kx = kx[half]
    count = 2 * self.ky.size
    drawn = hashlib.shake_256(name).digest(2 * count)
    turns = np.frombuffer(drawn, "<u2").reshape(2, -1) / 65536
    self.waves = np.exp(2j * np.pi * turns)

  def tile(self, code: int) -> Float[np.ndarray, "p p"]:
    """One period of the mark, of unit variance.

    Args:
      code: From 0 to CODES - 1.

    Raises:
      ValueError: Another code.
    """
    down, right = shift(code)
    turned = np.exp(-2j * np.pi * (self.ky * down + self.kx * right) / PERIOD)
    values = self.waves[0] + self.waves[1] * turned
    plane = np.zeros((PERIOD, PERIOD), complex)
    plane[self.ky % PERIOD, self.kx % PERIOD] = values
    plane[-self.ky % PERIOD, -self.kx % PERIOD] = values.conj()
    tile = np.fft.ifft2(plane).real
    return tile / tile.std()


def shift(code: int) -> tuple[int, int]:
  """How far the second tile lies down and right of the first, in px.

  Raises:
    ValueError: No code.
  """
  if not 0 <= code < CODES:
    raise ValueError(f"code {code} is not from 0 to {CODES - 1}")
  down, right = divmod(code, PERIOD // STEP)
  return down * STEP, right * STEP


def code_of(digest: str) -> int:
  """The code of weights: the first bits of their file's SHA-256.

  Args:
    digest: In hexadecimal.

  Raises:
    ValueError: Not in hexadecimal.
  """
  return int(digest[: CODE_BITS // 4], 16)


class Watermark:
  """Marks frames of one size: a pure function of each frame."""

  def __init__(self, height: int, width: int, code: int):
    """Draws the pattern.

    Args:
      height: Of the frames, px.
      width: The same.
      code: Of the weights, see `code_of`.

    Raises:
      ValueError: No such code.
    """
    self._size = width, height
    self._cells = max(1, round(width / _CELL)), max(1, round(height / _CELL))
    self._halves = max(1, width // 2), max(1, height // 2)
    scale = (FULL_PX / np.sqrt(height * width)) ** _FADE
    self._scale = float(np.clip(scale, *_RANGE))
    tile = Key().tile(code)
    rows, columns = np.arange(height) % PERIOD, np.arange(width) % PERIOD
    pattern = tile[np.ix_(rows, columns)].astype(np.float32)
    # Apart, for what is added and what is taken away saturate as bytes.
    self._more = np.maximum(pattern, 0)
    self._less = np.maximum(-pattern, 0)

  def __call__(
    self, frame: UInt8[np.ndarray, "h w c"]
  ) -> UInt8[np.ndarray, "h w c"]:
    """Returns a marked copy; the frame is left as it is, and so is alpha.

    Raises:
      ValueError: A frame of another size.
    """
    if frame.shape[1::-1] != self._size:
      raise ValueError(f"a frame of {frame.shape[1::-1]}, not {self._size} px")
    if frame.shape[2] == 4:
      return np.dstack([self(frame[..., :3]), frame[..., 3]])
    strength = cv2.resize(self._strength(frame), self._size)
    more, less = (
      cv2.merge([cv2.multiply(strength, part, dtype=cv2.CV_8U)] * 3)
      for part in (self._more, self._less)
    )
    return cv2.subtract(cv2.add(frame, more), less)

  def _strength(
    self, frame: UInt8[np.ndarray, "h w 3"]
  ) -> Float[np.ndarray, "k l"]:
    """The noise's standard deviation in each cell of a frame."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, self._halves, interpolation=cv2.INTER_AREA)
    grey = grey.astype(np.float32)
    # Texture in the mark's own band, which is what hides it. The least round
    # about: a flat place beside an edge hides nothing.
    waves = cv2.absdiff(cv2.blur(grey, (3, 3)), cv2.blur(grey, (9, 9)))
    texture = cv2.resize(waves, self._cells, interpolation=cv2.INTER_AREA)
    texture = cv2.erode(
      texture, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE
    )
    level = cv2.resize(grey, self._cells, interpolation=cv2.INTER_AREA)
    offset, full = _DARK
    dim = np.clip((level + offset) / full, _DIM, 1)
    return self._scale * dim * np.minimum(FLAT + SLOPE * texture, MOST)
