"""What comes with the package, by name: configs, models, an example.

  --config configs/speak.py:small64,seed=3   as in a checkout
  --config small64,seed=3                    the same; speak.py is meant
  --model photograph                         moves photographs; generate's own
  --model reference                          the reference model
  --identity example                         a portrait (a painting)
  --audio example                            a recorded sentence

A file or folder of that name that is there counts more.
"""

import re
from collections.abc import Sequence
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
REFERENCE = Path(__file__).parents[1] / "assets" / "reference"
PHOTOGRAPH = REFERENCE.with_name("photograph")
EXAMPLE = REFERENCE.with_name("example")
FACES = REFERENCE.with_name("faces")  # networks that know real faces
PORTRAIT, SENTENCE = EXAMPLE / "portrait.jpg", EXAMPLE / "sentence.wav"

_MODELS = ("model", "config.finetune_from")  # flags
_BUNDLES = {"reference": REFERENCE, "photograph": PHOTOGRAPH}
_EXAMPLE = "example"
_INPUTS = {  # by flag; the other two are aliases
  "identity": PORTRAIT,
  "audio": SENTENCE,
  "source_image": PORTRAIT,
  "driven_audio": SENTENCE,
}


def config(text: str) -> str:
  """The value of --config: FILE[:words], or the words alone.

  What names no file is given back as it is, for the flag to say so.
  """
  head = re.match(r"[^:,=]*", text)
  file = head[0] if head else ""
  if Path(file).is_file() or text in ("", "-h", "--help"):
    return text
  if file.endswith(".py"):
    own = CONFIGS / Path(file).name
    known = file in (own.name, f"configs/{own.name}") and own.is_file()
    return f"{own}{text[len(file) :]}" if known else text
  return text if "/" in file else f"{CONFIGS / 'speak.py'}:{text}"


def model(text: str) -> str:
  """The path of a run or bundle; two bundles come along, by their names."""
  own = _BUNDLES.get(text.removeprefix("speak_jax/assets/"))
  return text if own is None or Path(text).exists() else str(own)


def media(flag: str, text: str) -> str:
  """The path of an input; "example" is the file that comes along for a flag."""
  if text != _EXAMPLE or Path(text).is_file():
    return text
  return str(_INPUTS[flag])


def _value(flag: str, text: str) -> str:
  """What a flag's value means, which may be a name of the package's own."""
  if flag == "config":
    return config(text)
  if flag in _MODELS:
    return model(text)
  return media(flag, text) if flag in _INPUTS else text


def named(argv: Sequence[str]) -> list[str]:
  """A command's words, with the paths of what they name of the package."""
  words = list(argv)
  flag = ""  # whose value the word is
  for i, word in enumerate(argv):
    if word == "--":
      break
    head, sign, value = word.partition("=")
    name = head.lstrip("-")
    if flag:
      words[i] = _value(flag, word)
      flag = ""
    elif sign and word.startswith("-"):
      words[i] = f"{head}={_value(name, value)}"
    elif word.startswith("-") and name in ("config", *_MODELS, *_INPUTS):
      flag = name
  return words
