"""What may be said of a video beside its files, and nothing that opens one.

Names of fields and their meaning are those of `Request`. A word such as an
emotion's name is checked to be one, for a request also takes paths there.
"""

from collections.abc import Callable, Mapping
from typing import Any

from data_pipelines.faces.face_rule import parse_face_rule
from speak_jax.inference import emotion_label, head
from speak_jax.inference.inputs import Rules
from speak_jax.inference.request import FRAMINGS, POSE_MODES, RequestError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def _flag(text: str) -> bool:
  if text.lower() in _TRUE:
    return True
  if text.lower() in _FALSE:
    return False
  raise ValueError(f"{text!r} is not true or false")


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
  def read(text: str) -> str:
    if text not in words:
      raise ValueError(f"{text!r} is not {' or '.join(words)}")
    return text

  return read


def _number(text: str) -> float:
  try:
    return float(text)
  except ValueError:
    raise ValueError(f"{text!r} is no number") from None


def _integer(text: str) -> int:
  try:
    return int(text)
  except ValueError:
    raise ValueError(f"{text!r} is no whole number") from None


def _seed(text: str) -> int:
  seed = _integer(text)
  if not 0 <= seed < 2**63:
    raise ValueError(f"{text} is not from 0 to 2^63 - 1")
  return seed


def _emotion(text: str) -> str:
  emotion_label.strengths(text)
  return text


def _gaze(text: str) -> str:
  head.read_gaze(text)
  return text


_READERS: dict[str, Callable[[str], Any]] = {
  "emotion": _emotion,
  "pose": _one_of(tuple(word.value for word in head.Idle)),
  "pose_mode": _one_of(POSE_MODES),
  "pose_scale": _number,
  "gaze": _gaze,
  "blink": _flag,
  "mouth": _number,
  "size": _integer,
  "framing": _one_of(FRAMINGS),
  "smooth": _flag,
  "seed": _seed,
}
_FACES = {"face": "identity", "pose_face": "pose", "emotion_face": "emotion"}
_VIDEO = {"fps": _number, "track": _integer}  # not of a stream


def read(
  given: Mapping[str, Any], side_px: int, *, streamed: bool = False
) -> dict[str, Any]:
  """Reads fields of a request.

  Args:
    given: Texts; of JSON also numbers and truth values.
    side_px: The longest side that may be asked for.
    streamed: Whether sound comes in pieces.

  Returns:
    Fields of `Request`. There is always a size.

  Raises:
    RequestError: an unknown field, or a value that it cannot have; one line.
  """
  readers = _READERS if streamed else _READERS | _VIDEO
  out: dict[str, Any] = {}
  rules: dict[str, Any] = {}
  for name, value in given.items():
    if isinstance(value, bool):
      value = str(value).lower()
    if not isinstance(value, (str, int, float)):
      raise RequestError(_shown(name), "is no text, number or truth value")
    text = str(value)
    try:
      if name in _FACES:
        rules[_FACES[name]] = parse_face_rule(text)
      elif name in readers:
        out[name] = readers[name](text)
      else:
        known = ", ".join([*readers, *_FACES])
        raise ValueError(f"unknown; known are {known}")
    except ValueError as error:
      raise RequestError(_shown(name), str(error)) from None
  if rules:
    out["rules"] = Rules(**rules)
  size = out.setdefault("size", min(512, side_px))
  if size > side_px:
    raise RequestError("size", f"{size} is more than {side_px}")
  return out


def _shown(name: str) -> str:
  """A field's name as it may be repeated."""
  return name[:40].encode("ascii", "backslashreplace").decode()
