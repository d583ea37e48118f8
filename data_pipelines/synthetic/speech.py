"""Made-up speech: phonemes, their sound, and the mouth that makes them.

Sound and mouth come from the same phonemes on the same 1 ms grid, so video
frame t, which samples the middle of its interval, is in exact sync.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float64, Int16
from numba import njit
from scipy.ndimage import gaussian_filter1d

from data_pipelines.synthetic.identity import Identity
from speak_jax import spec

GRID_HZ = 1000
COARTICULATION_MS = 28.0  # width of the Gaussian that blends mouth targets


class _Phone(NamedTuple):
  """A phoneme: formants, sources, length, and mouth targets."""

  formants: tuple[float, float, float]
  voice: float  # amplitude of the larynx
  hiss: float  # amplitude of the noise
  hiss_hz: float
  ms: float
  open: float
  wide: float
  round: float


# Formants of an adult male after Peterson & Barney (1952), consonant loci
# rounded from textbooks; mouth targets are ours.
PHONES = {
  "a": _Phone((730, 1090, 2440), 1.0, 0.01, 1000, 135, 0.80, 0.10, 0.0),
  "A": _Phone((660, 1720, 2410), 1.0, 0.01, 1000, 125, 0.66, 0.45, 0.0),
  "e": _Phone((530, 1840, 2480), 1.0, 0.01, 1000, 115, 0.45, 0.60, 0.0),
  "i": _Phone((270, 2290, 3010), 0.9, 0.01, 1000, 110, 0.22, 1.00, 0.0),
  "o": _Phone((570, 840, 2410), 1.0, 0.01, 1000, 130, 0.50, -0.4, 0.75),
  "u": _Phone((300, 870, 2240), 0.9, 0.01, 1000, 115, 0.20, -0.8, 1.0),
  "@": _Phone((500, 1450, 2450), 0.9, 0.01, 1000, 85, 0.38, 0.0, 0.1),
  "m": _Phone((270, 1000, 2200), 0.45, 0.0, 1000, 85, 0.0, 0.0, 0.1),
  "b": _Phone((300, 900, 2200), 0.20, 0.0, 900, 80, 0.0, 0.0, 0.1),
  "p": _Phone((350, 900, 2200), 0.0, 0.0, 900, 95, 0.0, 0.1, 0.0),
  "n": _Phone((280, 1700, 2600), 0.45, 0.0, 1000, 70, 0.16, 0.2, 0.0),
  "d": _Phone((300, 1700, 2600), 0.20, 0.0, 3800, 65, 0.18, 0.2, 0.0),
  "t": _Phone((350, 1750, 2600), 0.0, 0.0, 4200, 80, 0.15, 0.2, 0.0),
  "k": _Phone((300, 1900, 2300), 0.0, 0.0, 2000, 85, 0.26, 0.1, 0.0),
  "f": _Phone((340, 1100, 2100), 0.0, 0.22, 6000, 100, 0.07, 0.25, 0.0),
  "s": _Phone((320, 1650, 2600), 0.0, 0.55, 6200, 105, 0.11, 0.6, 0.0),
  "S": _Phone((320, 1800, 2500), 0.0, 0.55, 3200, 110, 0.16, -0.4, 0.7),
  "l": _Phone((360, 1100, 2700), 0.65, 0.0, 1000, 70, 0.28, 0.2, 0.0),
  "r": _Phone((320, 1150, 1600), 0.65, 0.0, 1000, 75, 0.22, -0.2, 0.45),
  "w": _Phone((300, 700, 2200), 0.6, 0.0, 1000, 80, 0.12, -0.8, 1.0),
  "_": _Phone((500, 1450, 2450), 0.0, 0.0, 1000, 200, 0.03, 0.0, 0.0),
}  # fmt: skip
_VOWELS = tuple("aAeiou@")
_CONSONANTS = tuple("mmbbppndtkfsSlrw")
SHUT = frozenset("mbp")  # lips meet
_BURST = dict(b=0.35, p=0.7, d=0.5, t=0.9, k=0.8)

# Rate, pitch, pitch range and loudness by emotion (spec.EMOTIONS).
_PROSODY = np.array(
  [
    (1.0, 1.00, 1.0, 1.0),
    (1.12, 1.12, 1.5, 1.3),
    (0.92, 0.95, 0.9, 0.95),
    (0.94, 0.94, 1.1, 1.0),
    (1.15, 1.22, 1.2, 0.9),
    (1.06, 1.14, 1.6, 1.15),
    (0.80, 0.90, 0.6, 0.75),
    (1.05, 1.25, 1.8, 1.1),
  ]
)


class Speech(NamedTuple):
  """Sound and mouth of one utterance."""

  audio: Int16[np.ndarray, "s"]
  phonemes: list[tuple[str, float, float]]  # symbol, start, end in seconds
  mouth_open: Float[np.ndarray, "g"]  # on the 1 ms grid
  mouth_wide: Float[np.ndarray, "g"]
  mouth_round: Float[np.ndarray, "g"]
  mouth_press: Float[np.ndarray, "g"]  # 1 where the lips must meet


@njit(cache=True, nogil=True)
@no_type_check
def _synthesize(
  f0: Float64[np.ndarray, "g"],
  formants: Float64[np.ndarray, "g 4"],
  voice: Float64[np.ndarray, "g"],
  hiss: Float64[np.ndarray, "g"],
  hiss_hz: Float64[np.ndarray, "g"],
  noise: Float64[np.ndarray, "s"],
  jitter: Float64[np.ndarray, "j"],
):
  """Pulse train and noise through resonators.

  Args:
    f0: Pitch, Hz, on the 1 ms grid, like all but the last two.
    formants: Hz.
    voice: Amplitude of the larynx.
    hiss: Amplitude of the noise.
    hiss_hz: Its middle.
    noise: Unit noise, a value a sample.
    jitter: Factors of the pitch, one a period, in turn.

  Returns:
    s samples at 16 kHz, about -1 to 1.
  """
  n = noise.shape[0]
  out = np.zeros(n)
  bandwidth = np.array([70.0, 100.0, 150.0, 250.0])
  gain = np.zeros(4)
  first = np.zeros(4)
  second = np.zeros(4)
  before = np.zeros(4)
  earlier = np.zeros(4)
  h1 = h2 = 0.0
  hg = hf = hs = 0.0
  phase = 0.0
  period = 0
  for i in range(n):
    g = min(i // 16, f0.shape[0] - 1)
    if i % 16 == 0:
      for k in range(4):
        r = np.exp(-np.pi * bandwidth[k] / 16000.0)
        first[k] = 2 * r * np.cos(2 * np.pi * formants[g, k] / 16000.0)
        second[k] = -r * r
        gain[k] = 1 - first[k] - second[k]
      r = np.exp(-np.pi * (hiss_hz[g] * 0.3 + 300) / 16000.0)
      hf = 2 * r * np.cos(2 * np.pi * hiss_hz[g] / 16000.0)
      hs = -r * r
      hg = (1 - r) * 2.0
    phase += f0[g] * jitter[period % jitter.shape[0]] / 16000.0
    if phase >= 1.0:
      phase -= 1.0
      period += 1
    # Rosenberg's pulse, as flow; the difference below radiates it.
    if phase < 0.4:
      flow = 0.5 * (1 - np.cos(np.pi * phase / 0.4))
    elif phase < 0.58:
      flow = np.cos(np.pi * (phase - 0.4) / 0.36)
    else:
      flow = 0.0
    x = voice[g] * (flow + 0.03 * noise[i] * flow)
    for k in range(4):
      y = gain[k] * x + first[k] * before[k] + second[k] * earlier[k]
      earlier[k] = before[k]
      before[k] = y
      x = y
    y = hg * noise[i] * hiss[g] + hf * h1 + hs * h2
    h2 = h1
    h1 = y
    out[i] = x * 2.2 + 0.28 * y
  last = 0.0
  for i in range(n):
    value = out[i]
    out[i] = value - 0.94 * last
    last = value
  return out


def _sequence(
  rng: np.random.Generator, seconds: float, rate: float
) -> list[tuple[str, float, float]]:
  """Phonemes that fill `seconds`: syllables in words, words in phrases."""
  out = []
  now = float(rng.uniform(0.02, 0.10))
  out.append(("_", 0.0, now))

  def say(symbol: str, length: float = 1.0) -> None:
    nonlocal now
    ms = PHONES[symbol].ms * length * rng.uniform(0.85, 1.2) / rate
    out.append((symbol, now, now + ms / 1000))
    now += ms / 1000

  while now < seconds:
    for _ in range(rng.integers(2, 5)):
      for _ in range(rng.integers(1, 4)):
        say(str(rng.choice(_CONSONANTS)))
        say(str(rng.choice(_VOWELS)), rng.uniform(0.8, 1.25))
        if rng.random() < 0.2:
          say(str(rng.choice(_CONSONANTS)))
      if rng.random() < 0.25:
        say("_", 0.3)
    say("_", rng.uniform(0.6, 1.7))
  return [(s, a, min(b, seconds)) for s, a, b in out if a < seconds]


def _tune(
  rng: np.random.Generator, grid: int, seconds: float, span: float
) -> Float[np.ndarray, "g"]:
  """Logarithm of the pitch over its mean, on the 1 ms grid."""
  time = np.arange(grid) / GRID_HZ
  knots = np.arange(0, seconds + 0.6, 0.22)
  tune = np.interp(time, knots, rng.normal(0, 0.085 * span, len(knots)))
  tune = gaussian_filter1d(tune, 45.0, mode="nearest")
  return tune - 0.10 * span * ((time / 1.6) % 1)


def speak(
  person: Identity, emotion: int, frames: int, fps: float, seed: tuple[int, ...]
) -> Speech:
  """An utterance of `frames` frames.

  Args:
    person: Gives pitch and the length of the vocal tract.
    emotion: Index into spec.EMOTIONS; changes rate, pitch and loudness.
    frames: Number of video frames the sound belongs to.
    fps: Their rate; the sound has round(frames * 16000 / fps) samples.
    seed: Of all draws.
  """
  rng = np.random.default_rng(seed)
  samples = round(frames * spec.SAMPLE_RATE_HZ / fps)
  seconds = frames / fps
  grid = int(np.ceil(seconds * GRID_HZ)) + 1
  rate, pitch, span, loud = _PROSODY[emotion]
  phonemes = _sequence(rng, seconds, rate)

  formants = np.zeros((grid, 3))
  voice, hiss, hiss_hz = np.zeros(grid), np.zeros(grid), np.full(grid, 1000.0)
  burst = np.zeros(grid)
  strength = rng.uniform(0.85, 1.1, len(phonemes))
  mouth = mouth_tracks(phonemes, strength, grid)
  for symbol, start, end in phonemes:
    phone = PHONES[symbol]
    span_ms = _on_grid(start, end, grid)
    formants[span_ms] = phone.formants
    voice[span_ms], hiss[span_ms] = phone.voice, phone.hiss
    hiss_hz[span_ms] = phone.hiss_hz
    if symbol in _BURST:
      at = round(end * GRID_HZ)
      window = slice(max(at - 12, 0), min(at + 4, grid))
      burst[window] = _BURST[symbol]
      hiss_hz[window] = phone.hiss_hz
  formants = gaussian_filter1d(formants, 16.0, axis=0, mode="nearest")
  formants = formants * person.tract
  formants = np.concatenate(
    [formants, np.full((grid, 1), 3500.0 * person.tract)], 1
  )
  voice = gaussian_filter1d(voice, 8.0, mode="nearest")
  hiss = gaussian_filter1d(hiss, 6.0, mode="nearest") + burst
  f0 = person.voice_hz * pitch * np.exp(_tune(rng, grid, seconds, span))
  sound = _synthesize(
    f0,
    formants,
    voice,
    hiss,
    hiss_hz,
    rng.normal(0, 1, samples),
    1 + rng.normal(0, 0.012, 4096),
  )
  level = np.sqrt(np.mean(sound**2)) + 1e-9
  sound = np.tanh(sound / level * 0.11 * loud)
  sound += rng.normal(0, 10 ** (rng.uniform(-3.6, -3.0)), samples)
  return Speech(
    audio=np.clip(sound * 32767, -32768, 32767).astype(np.int16),
    phonemes=[(s, round(a, 4), round(b, 4)) for s, a, b in phonemes],
    mouth_open=mouth.opening.clip(0, 1),
    mouth_wide=mouth.wide,
    mouth_round=mouth.pursed.clip(0, 1),
    mouth_press=mouth.press.clip(0, 1),
  )


class MouthTracks(NamedTuple):
  """A mouth on the 1 ms grid; see `frame_factors.Mouth`."""

  opening: Float[np.ndarray, "g"]
  wide: Float[np.ndarray, "g"]
  pursed: Float[np.ndarray, "g"]
  press: Float[np.ndarray, "g"]


def mouth_tracks(
  phonemes: Sequence[tuple[str, float, float]],
  strength: Float[np.ndarray, "p"],
  grid: int,
) -> MouthTracks:
  """The mouth that makes some phonemes, coarticulated.

  Args:
    phonemes: Symbol of `PHONES`, start and end in seconds.
    strength: How far each opens the mouth, about 1.
    grid: Length of the tracks in ms.
  """
  mouth, shut = np.zeros((3, grid)), np.zeros(grid)
  for (symbol, start, end), force in zip(phonemes, strength, strict=True):
    phone, span_ms = PHONES[symbol], _on_grid(start, end, grid)
    target = (phone.open * force, phone.wide, phone.round)
    mouth[:, span_ms] = np.array(target)[:, None]
    if symbol in SHUT:
      shut[span_ms] = 1
  mouth = gaussian_filter1d(mouth, COARTICULATION_MS, axis=1, mode="nearest")
  # A hard closure with quick flanks: coarticulation must not open the lips.
  flank = gaussian_filter1d(
    np.convolve(shut, np.ones(17), "same").clip(0, 1), 9.0, mode="nearest"
  )
  shut = np.maximum(shut, flank)
  return MouthTracks(mouth[0] * (1 - shut), mouth[1], mouth[2], shut)


def _on_grid(start: float, end: float, grid: int) -> slice:
  """Places of a phoneme on the 1 ms grid."""
  return slice(round(start * GRID_HZ), min(grid, round(end * GRID_HZ) + 1))


def at_frames(
  values: Float[np.ndarray, "g"], frames: int, fps: float
) -> Float[np.ndarray, "n"]:
  """Samples a track of the 1 ms grid at the middle of each frame."""
  time = (np.arange(frames) + 0.5) / fps * GRID_HZ
  return np.interp(time, np.arange(len(values)), values)
