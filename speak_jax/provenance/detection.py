"""Finds the mark of `watermark` in a video that was coded, scaled or cropped.

The mark stands still while people move, so frames are averaged first. The mean
is whitened: in bands of four widths and four directions, each place is divided
by how much goes on there, which takes most of the picture away and little of
the mark. Then, for each scale that the picture may have had, its Fourier
coefficients at the tile's waves are correlated with the tile's own at every
shift: two transforms a scale, and a crop costs nothing.

A score is in standard deviations of what a picture without a mark gives. The
tile is a sum of some hundred waves whose phases were drawn at random, whatever
the picture: so a score of z or more has a probability of at most exp(-z^2 / 2)
(Chernoff's bound; cos of a random phase is sub-Gaussian), and a false alarm
that times the number of places that the best was chosen from: scales, shifts,
codes. Nothing is fitted. Thousands of other tiles on videos without a mark
agree (docs/results/2026-11-30-marking.md).
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Complex, Float, UInt8

from speak_jax.provenance.watermark import CODES, HIGH, PERIOD, STEP, Key, shift

ALARM = 1e-4  # probability of a false alarm below which a mark counts as found
SCALES = 0.42, 2.1  # px of the picture for one of the marked frame
MOST_PX = 1024  # longer side of what is looked at
LEAST_PX = 32
APART = 0.45  # wavelengths of WAVE that two scales differ by over a picture
WAVE = 10.0  # px
_BANDS = (2, 4, 8, 16, 32)  # px, wavelengths
_DIRECTIONS = 4
_QUIET = 0.5  # square of a level
_ROUND = 2  # cycles; what is usual is the mean so far round a coefficient
_LIMIT = 2.0  # of a coefficient, over what is usual
# Places that the best is chosen from, for a scale: of any code, of a known one.
# The first kind of search has a tenth of the probability, the second the rest.
PLACES_ANY, PLACES_KNOWN = PERIOD**2 * CODES * 10, PERIOD**2 * 10 // 9
_CLOSER = (-0.4, -0.2, 0.2, 0.4)  # of a step, round the best scale


class Found(NamedTuple):
  """What was found, whether or not it counts.

  Attributes:
    false_alarm: Probability that a picture without a mark looks as much like
      one, 1 at most.
    score: Standard deviations.
    code: Of the weights; of nobody's unless a mark is there.
    scale: px of the picture for one of the marked frame.
  """

  false_alarm: float
  score: float
  code: int
  scale: float

  @property
  def there(self) -> bool:
    """Whether it counts as found."""
    return self.false_alarm <= ALARM


def mean_grey(
  frames: Iterable[UInt8[np.ndarray, "h w 3"]],
) -> Float[np.ndarray, "h w"]:
  """The mean brightness of frames of one size.

  Raises:
    ValueError: No frames.
  """
  total, count = None, 0
  for frame in frames:
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    total = grey.astype(np.float32) if total is None else total + grey
    count += 1
  if total is None:
    raise ValueError("no frames")
  return total / count


def detect(
  grey: Float[np.ndarray, "h w"],
  known: Sequence[int] = (),
  key: Key | None = None,
) -> Found:
  """Looks for the mark in a mean picture.

  Args:
    grey: From `mean_grey`, of LEAST_PX at least.
    known: Codes that are more likely than others: with one of them a weaker
      mark is found.
    key: Of the tiles; None: the one that `Watermark` uses.
  """
  longer = max(grey.shape)
  if longer > MOST_PX:
    size = [round(x * MOST_PX / longer) for x in grey.shape[::-1]]
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
  if min(grey.shape) < LEAST_PX:
    return Found(1.0, 0.0, 0, 1.0)
  key = Key() if key is None else key
  spectrum = Spectrum(grey, key)
  scales = list(candidates(max(grey.shape)))
  trials = Trials(key, known, len(scales) + len(_CLOSER))
  for scale in scales:
    trials.add(scale, spectrum.at(scale))
  best = trials.best
  step = APART * WAVE * best.scale / max(grey.shape)
  for part in _CLOSER:
    scale = best.scale * (1 + part * step)
    trials.add(scale, spectrum.at(scale))
  found = trials.best
  return found._replace(scale=found.scale * longer / max(grey.shape))


def candidates(side: int) -> Iterator[float]:
  """Scales so close that the best is at most half a step away.

  Args:
    side: The longer one of the picture, px.
  """
  scale, last = SCALES
  while scale < last:
    yield scale
    scale *= 1 + APART * WAVE * scale / side


class Spectrum:
  """A whitened picture's coefficients at the waves of a scaled tile."""

  def __init__(self, grey: Float[np.ndarray, "h w"], key: Key):
    """Whitens a picture."""
    down, right = (_taper(n) for n in grey.shape)
    self._picture = (whitened(grey) * down[:, None] * right).astype(np.float32)
    self._where = key.ky + HIGH, key.kx + _ROUND

  def at(self, scale: float) -> Complex[np.ndarray, "k"]:
    """Coefficients over what is usual round each, for one scale."""
    height, width = self._picture.shape
    turns = 2 * np.pi / (PERIOD * scale)
    # Of a real picture, the waves to the left are those to the right.
    across = turns * np.outer(np.arange(width), np.arange(HIGH + 1))
    down = turns * np.outer(np.arange(-HIGH, HIGH + 1), np.arange(height))
    rows = self._picture @ np.cos(across).astype(np.float32)
    rows = rows - 1j * (self._picture @ np.sin(across).astype(np.float32))
    right = np.exp(-1j * down).astype(np.complex64) @ rows
    left = right[::-1, _ROUND:0:-1].conj()
    plane = np.concatenate([left, right], 1)
    power = cv2.blur(np.abs(plane) ** 2, (2 * _ROUND + 1, 2 * _ROUND + 1))
    plane = plane / np.sqrt(power + 1e-12)
    over = np.maximum(np.abs(plane) / _LIMIT, 1)
    return (plane / over)[self._where]


class Trials:
  """Scores of every scale, shift and code, and the best of them."""

  def __init__(self, key: Key, known: Sequence[int], count: int):
    """Nothing was tried.

    Args:
      key: Of the tiles.
      known: Codes to look for by themselves.
        count: How many scales will be tried, for the probability.
    """
    self._key, self._count = key, count
    self._known = [(code, shift(code)) for code in known]
    self._places = key.ky % PERIOD, key.kx % PERIOD
    self.best = Found(1.0, -math.inf, 0, 1.0)

  def add(self, scale: float, values: Complex[np.ndarray, "k"]) -> None:
    """Tries one scale."""
    first, second = (self._surface(values, i) for i in (0, 1))
    # Codes are even shifts: each of the two tiles where it fits best among
    # places that are even, or odd, the same way.
    for odd in ((0, 0), (0, 1), (1, 0), (1, 1)):
      a, b = (x[odd[0] :: STEP, odd[1] :: STEP] for x in (first, second))
      at, to = a.argmax(), b.argmax()
      score = float(a.flat[at] + b.flat[to]) / math.sqrt(2)
      apart = np.subtract(divmod(to, a.shape[1]), divmod(at, a.shape[1]))
      down, right = (int(x) for x in apart % a.shape)
      self._take(score, PLACES_ANY, down * a.shape[1] + right, scale)
    for code, (down, right) in self._known:
      both = first + np.roll(second, (-down, -right), (0, 1))
      score = float(both.max()) / math.sqrt(2)
      self._take(score, PLACES_KNOWN * len(self._known), code, scale)

  def _surface(
    self, values: Complex[np.ndarray, "k"], tile: int
  ) -> Float[np.ndarray, "p p"]:
    """Correlation with a tile at every shift, of unit variance."""
    plane = np.zeros((PERIOD, PERIOD), np.complex64)
    plane[self._places] = values * self._key.waves[tile].conj()
    size = math.sqrt(float((np.abs(values) ** 2).sum()) / 2) + 1e-9
    return np.fft.ifft2(plane).real * (PERIOD**2 / size)

  def _take(self, score: float, places: int, code: int, scale: float) -> None:
    alarm = min(1.0, places * self._count * math.exp(-(score**2) / 2))
    if (alarm, -score) < (self.best.false_alarm, -self.best.score):
      self.best = Found(alarm, score, code, scale)


def whitened(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
  """Makes every place, width and direction of a picture equally loud.

  Places quieter than some 0.7 levels stay so: a coder leaves no mark there.
  """
  height, width = grey.shape
  rows, columns = (cv2.getOptimalDFTSize(n + 32) for n in grey.shape)
  wider = np.pad(grey, ((0, rows - height), (0, columns - width)), mode="edge")
  plane = np.fft.rfft2(wider.astype(np.float32))
  down, right = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)
  octave = -np.log2(np.hypot(down, right) + 1e-9)  # of the wavelength
  angle = np.arctan2(down, right)
  total = np.zeros_like(grey, np.float32)
  for low, high in itertools.pairwise(_BANDS):
    middle = (math.log2(low) + math.log2(high)) / 2
    radial = _hump(octave - middle, 1.0)
    for i in range(_DIRECTIONS):
      turn = (angle - i * np.pi / _DIRECTIONS + np.pi / 2) % np.pi - np.pi / 2
      filtered = plane * (radial * _hump(turn, np.pi / _DIRECTIONS))
      band = np.fft.irfft2(filtered, (rows, columns))[:height, :width]
      band = band.astype(np.float32)
      power = cv2.GaussianBlur(band * band, (0, 0), 0.4 * 2**middle) + _QUIET
      total += np.clip(band / np.sqrt(power), -2.5, 2.5) * power**-0.3
  return total


def _hump(x: Float[np.ndarray, "..."], reach: float) -> np.ndarray:
  """1 at 0, 0 from `reach` on; humps that far apart add up to 1."""
  return np.cos(np.pi / 2 * np.clip(x / reach, -1, 1)) ** 2


def _taper(n: int, border: int = 6) -> Float[np.ndarray, "n"]:
  """A window that falls to 0 within a few px of the borders."""
  near = np.minimum(np.arange(n), np.arange(n)[::-1])
  return np.sin(np.pi / 2 * np.clip((near + 0.5) / border, 0, 1)) ** 2
