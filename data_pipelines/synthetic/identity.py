"""Who a synthetic person is: shape, colours, hair, beard, glasses, clothes.

Every value is drawn from a generator seeded by (seed, split, index), so the
identities of two splits never meet.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

SPLITS = ("train", "test", "judge")

# The shape values, unit normals each; what they do is in head.py.
SHAPE = (
  "face_width",
  "jaw_width",
  "chin_width",
  "chin_height",
  "cheek_width",
  "forehead_width",
  "cheek_fullness",
  "eye_distance",
  "eye_size",
  "eye_tilt",
  "eye_depth",
  "brow_height",
  "brow_thickness",
  "nose_length",
  "nose_width",
  "nose_height",
  "nose_tip",
  "mouth_height",
  "mouth_width",
  "upper_lip",
  "lower_lip",
  "ear_size",
  "ear_angle",
  "neck_width",
  "brow_ridge",
)

_SKIN = np.array(
  [
    (246, 211, 190),
    (234, 190, 160),
    (218, 168, 132),
    (190, 136, 98),
    (150, 101, 70),
    (112, 74, 52),
    (84, 56, 42),
  ],
  float,
)
_HAIR = np.array(
  [
    (28, 23, 22),
    (48, 34, 27),
    (84, 56, 38),
    (124, 84, 52),
    (176, 134, 84),
    (206, 170, 116),
    (150, 72, 38),
    (142, 138, 134),
    (196, 192, 186),
  ],
  float,
)
_EYES = np.array(
  [(66, 40, 24), (96, 62, 34), (112, 100, 54), (74, 112, 92), (82, 122, 160)],
  float,
)
STYLES = ("bald", "short", "medium", "long", "bun")
CLOTHES = ("tee", "shirt", "suit", "vneck", "turtleneck", "hoodie")


class Identity(NamedTuple):
  """One person. Colours are RGB 0 to 255; `shape` follows SHAPE."""

  name: str
  seed: tuple[int, ...]
  shape: Float[np.ndarray, "s"]
  feminine: bool
  skin: Float[np.ndarray, "3"]
  hair: Float[np.ndarray, "3"]
  brow: Float[np.ndarray, "3"]
  iris: Float[np.ndarray, "3"]
  lip: Float[np.ndarray, "3"]
  style: str  # of STYLES
  fringe: float  # 0 none, 1 down to the brows
  curl: float  # 0 straight, 1 curly
  volume: float  # of the hair, 1 usual
  parting: float  # -1 left, 1 right; where the hair parts
  beard: float  # 0 none, .5 stubble, 1 full
  moustache: float
  age: float  # 0 young, 1 old
  makeup: float
  freckles: float
  glasses: int  # 0 none, 1 round, 2 square, 3 half rim
  glasses_colour: Float[np.ndarray, "3"]
  clothes: str  # of CLOTHES
  cloth: Float[np.ndarray, "3"]
  cloth2: Float[np.ndarray, "3"]
  pattern: int  # 0 plain, 1 stripes, 2 checks
  voice_hz: float  # mean f0
  tract: float  # formant scale, 1 = an adult male
  style_factor: float  # how strongly this person shows emotion, about 1
  quirk: Float[np.ndarray, "e"]  # per emotion channel, about 1

  def value(self, name: str) -> float:
    """One shape value by its name in SHAPE."""
    return float(self.shape[SHAPE.index(name)])


def _along(
  colours: Float[np.ndarray, "c 3"], where: float
) -> Float[np.ndarray, "3"]:
  """Colour at a fractional position on a line of colours."""
  low = int(np.clip(np.floor(where), 0, len(colours) - 2))
  part = np.clip(where - low, 0, 1)
  return colours[low] * (1 - part) + colours[low + 1] * part


def _muted(
  rng: np.random.Generator, low: float, high: float, saturation: float
) -> Float[np.ndarray, "3"]:
  """A random colour of limited saturation and a value in [low, high]."""
  hue = rng.uniform(0, 2 * np.pi)
  value = rng.uniform(low, high)
  offset = np.cos(hue + np.array([0, -2.09, 2.09]))
  return np.clip(value * (1 + saturation * offset), 0, 255)


# A woman's shape values differ from the mean by this much, a man's the other
# way.
_FEMININE = {
  "jaw_width": -0.6,
  "chin_width": -0.6,
  "eye_size": 0.5,
  "brow_thickness": -0.7,
  "brow_ridge": -0.8,
  "nose_width": -0.4,
  "upper_lip": 0.4,
  "lower_lip": 0.4,
  "neck_width": -0.8,
  "brow_height": 0.35,
  "chin_height": -0.4,
  "ear_size": -0.3,
}


def sample(seed: int, split: str, index: int) -> Identity:
  """Draws person `index` of a split; the same arguments, the same person.

  Raises:
    ValueError: a split that is not one of SPLITS.
  """
  if split not in SPLITS:
    raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
  key = (101, seed, SPLITS.index(split), index)
  rng = np.random.default_rng(key)
  # In this order: every draw depends on those before it.
  feminine = bool(rng.random() < 0.5)
  shape = _shape(rng, feminine)
  colours = _colours(rng)
  face = _face(rng, colours, feminine)
  dress = _dress(rng)
  voice = rng.normal(205, 22) if feminine else rng.normal(118, 15)
  return Identity(
    name=f"{split}_{index:05d}",
    seed=key,
    shape=shape,
    feminine=feminine,
    skin=np.clip(colours.skin, 30, 250),
    hair=colours.hair,
    brow=np.clip(colours.hair * 0.62 + 0.06 * colours.skin, 12, 130),
    iris=np.clip(colours.iris * rng.uniform(0.85, 1.15), 15, 220),
    fringe=float(rng.random() < 0.35) * rng.uniform(0.6, 1),
    curl=float(rng.random() < (0.6 if colours.dark else 0.25))
    * rng.uniform(0.4, 1),
    volume=float(rng.uniform(0.75, 1.3)),
    parting=float(rng.choice([-1, 0, 1])) * rng.uniform(0.5, 1),
    age=colours.age,
    freckles=float(rng.random() < 0.2) * (1.0 if colours.tone < 2 else 0.3),
    pattern=int(rng.choice([0, 0, 0, 1, 2])),
    voice_hz=float(np.clip(voice, 85, 260)),
    tract=float((1.16 if feminine else 1.0) * rng.normal(1, 0.03)),
    style_factor=float(np.clip(rng.normal(1, 0.12), 0.75, 1.25)),
    quirk=np.clip(rng.normal(1, 0.12, 24), 0.7, 1.3),
    **face,
    **dress,
  )


def _shape(rng: np.random.Generator, feminine: bool) -> Float[np.ndarray, "s"]:
  """Values of SHAPE, about -2.4 to 2.4."""
  sex = 1.0 if feminine else -1.0
  shape = np.clip(rng.normal(0, 1, len(SHAPE)), -2.1, 2.1)
  for name, amount in _FEMININE.items():
    shape[SHAPE.index(name)] += sex * amount
  return np.clip(shape, -2.4, 2.4)


class _Colours(NamedTuple):
  """Skin, hair and eyes, RGB 0 to 255, and what they depend on."""

  tone: float  # of the skin, 0 light to 6 dark
  dark: bool
  age: float
  skin: Float[np.ndarray, "3"]
  hair: Float[np.ndarray, "3"]
  iris: Float[np.ndarray, "3"]


def _colours(rng: np.random.Generator) -> _Colours:
  """Dark skin goes with dark hair and eyes; old people are often grey."""
  tone = rng.uniform(0, len(_SKIN) - 1.02)
  skin = _along(_SKIN, tone) * (1 + rng.normal(0, 0.02, 3))
  dark = tone > 2.7
  age = float(rng.beta(1.2, 2.2))
  if dark or rng.random() < 0.25:
    hair = _along(_HAIR, rng.uniform(0, 1.3))
  else:
    hair = _along(_HAIR, rng.uniform(0, 5.9))
    if rng.random() < 0.12:
      hair = _HAIR[6]
  if age > 0.55 and rng.random() < 0.6:
    hair = _along(_HAIR, rng.uniform(7, 7.99))
  spread = 0.05 * np.clip(np.ptp(hair) / 40, 0.1, 1)  # grey stays grey
  hair = np.clip(hair * (1 + rng.normal(0, spread, 3)), 10, 240)
  iris = _along(_EYES, rng.uniform(0, 1.0 if dark else 4.0))
  return _Colours(tone, dark, age, skin, hair, iris)


def _face(
  rng: np.random.Generator, colours: _Colours, feminine: bool
) -> dict[str, Any]:
  """Fields of `Identity`: hair style, make-up, lips, beard."""
  if feminine:
    style = str(rng.choice(STYLES, p=(0.0, 0.14, 0.30, 0.36, 0.20)))
  else:
    style = str(rng.choice(STYLES, p=(0.12, 0.70, 0.13, 0.05, 0.0)))
  makeup = float(feminine and rng.random() < 0.6) * rng.uniform(0.4, 1)
  lip = colours.skin * np.array([0.84, 0.55, 0.54])
  painted = np.array([176, 40, 54]) * (1 - 0.35 * (colours.tone / 6))
  lip = lip * (1 - 0.7 * makeup) + 0.7 * makeup * painted
  beard = 0.0 if feminine or rng.random() < 0.45 else rng.uniform(0.25, 1.0)
  moustache = beard if rng.random() < 0.8 else 0.0
  if not feminine and beard == 0 and rng.random() < 0.12:
    moustache = 0.9
  return {
    "style": style,
    "makeup": float(makeup),
    "lip": np.clip(lip, 30, 230),
    "beard": float(beard),
    "moustache": float(moustache),
  }


def _dress(rng: np.random.Generator) -> dict[str, Any]:
  """Fields of `Identity`: clothes and glasses."""
  clothes = str(rng.choice(CLOTHES))
  cloth = _muted(rng, 35, 190, rng.uniform(0.05, 0.42))
  cloth2 = (
    _muted(rng, 190, 240, 0.05)
    if clothes == "suit"
    else np.clip(cloth * rng.uniform(0.55, 0.8), 0, 255)
  )
  if clothes == "suit":
    cloth = _muted(rng, 30, 85, 0.15)
  glasses = int(rng.integers(1, 4)) if rng.random() < 0.24 else 0
  frame = (
    np.array([26, 24, 24]) if rng.random() < 0.6 else _muted(rng, 60, 150, 0.3)
  )
  return {
    "clothes": clothes,
    "cloth": cloth,
    "cloth2": cloth2,
    "glasses": glasses,
    "glasses_colour": frame,
  }
