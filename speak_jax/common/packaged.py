"""What comes with the package, named from any folder: configs and a model.

  --config configs/speak.py:small64,seed=3   as in a checkout
  --config small64,seed=3                    the same; speak.py is meant
  --model reference                          the reference model
  --model photograph                         the one that moves photographs

A file or folder of that name that is there counts more.
"""

import re
from collections.abc import Sequence
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"
REFERENCE = Path(__file__).parents[1] / "assets" / "reference"
PHOTOGRAPH = REFERENCE.with_name("photograph")

_MODELS = ("model", "config.finetune_from")  # flags
_BUNDLES = {"reference": REFERENCE, "photograph": PHOTOGRAPH}


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


def named(argv: Sequence[str]) -> list[str]:
  """A command's words, with the paths of what they name of the package."""
  words = list(argv)
  flag = ""  # whose value the word is
  for i, word in enumerate(argv):
    if word == "--":
      break
    head, sign, value = word.partition("=")
    name = flag or head.lstrip("-")
    if flag or (sign and word.startswith("-")):
      if name == "config":
        value = config(word if flag else value)
      elif name in _MODELS:
        value = model(word if flag else value)
      else:
        value = word if flag else value
      words[i] = value if flag else f"{head}={value}"
      flag = ""
    elif word.startswith("-") and name in ("config", *_MODELS):
      flag = name
  return words
