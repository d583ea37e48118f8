"""The bundle: the folder that is shipped, and nothing else is needed to run it.

  BUNDLE/
    model.safetensors   EMA weights, flat names "encoders/params/..."
    config.json         sizes, frame rate, preset, commit, what it learned from
    stablehlo/*.bin     one serialised function each (`inference.functions`)
    README.md           model card
    SHA256SUMS          of all the others; what is used is checked against it
    evaluation.safetensors   if wished, weights of the earlier stages, named
                        "irfd/decoder/params/...": with them a bundle is
                        measured as its run was; nothing else reads them

What else lies there (`.git`, `.cache/huggingface`, a card that was edited) is
neither read nor looked at, and files may be links, as in the cache of the
Hugging Face hub. REFERENCE is one of the two bundles that come with this
package; of all `speak_jax.common.packaged` knows the paths.

Goes in: flat weights, artifacts, settings. Comes out: the same, verified. No
file is ever unpickled.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from speak_jax.common import files, packaged
from speak_jax.common.files import FileError

FORMAT = 2
# Of what moves a photograph at its own size, and draws no frame itself.
PHOTOGRAPH = 3
REFERENCE = packaged.REFERENCE
# By format. In 1 `frames` encoded the sound of its window itself.
_FUNCTIONS = {
  1: ("portrait", "pose", "emotion", "frames"),
  2: ("portrait", "pose", "emotion", "speech", "frames"),
  PHOTOGRAPH: ("expression",),
}
FUNCTIONS = _FUNCTIONS[FORMAT]

_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_CARD = "README.md"
_SUMS = "SHA256SUMS"
_EVALUATION = "evaluation.safetensors"
# Left by file managers and by Git or the hub's tools: nobody's work.
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini", ".gitattributes", ".cache")


class BundleError(FileError):
  """A bundle that must not be used; one line: the file and the reason."""


class Bundle(NamedTuple):
  """What a bundle holds, verified."""

  config: dict[str, Any]
  weights: dict[str, np.ndarray]  # flat name -> array
  # Name -> serialised StableHLO: FUNCTIONS, in format 1 all but "speech".
  artifacts: dict[str, bytes]
  evaluation: dict[str, np.ndarray] = {}  # noqa: RUF012, stage/flat name

  @property
  def moves_photographs(self) -> bool:
    """Whether it moves a photograph; else it draws frames of its own size."""
    return "expression" in self.artifacts

  @property
  def written_by(self) -> str | None:
    """Version of jax that has written the functions; None: not known."""
    return self.config.get("jax")

  @property
  def variables(self) -> dict[str, Any]:
    """The weights as the functions take them: a tree of their names' parts."""
    tree: dict[str, Any] = {}
    for name, array in self.weights.items():
      *folders, last = name.split("/")
      branch = tree
      for folder in folders:
        branch = branch.setdefault(folder, {})
      branch[last] = array
    return tree


def is_bundle(path: str | os.PathLike) -> bool:
  """Whether `path` looks like a bundle (it is not verified here)."""
  return (Path(path) / _SUMS).is_file() and (Path(path) / _WEIGHTS).is_file()


def moves_photographs(path: str | os.PathLike) -> bool:
  """Whether a bundle's files look as `Bundle.moves_photographs` will say."""
  return is_bundle(path) and (Path(path) / "stablehlo/expression.bin").is_file()


def write(path: str | os.PathLike, bundle: Bundle, card: str) -> None:
  """Writes a bundle in one go: it is there whole or not at all.

  Args:
    path: The folder to make. A bundle that lies there is replaced.
    bundle: What to ship; `artifacts` must hold every name in FUNCTIONS, or
      "expression" alone.
    card: The model card, Markdown.

  Raises:
    BundleError: see `check_target`.
    ValueError: an artifact is missing or unknown.
  """
  target = Path(path)
  version = FORMAT
  if sorted(bundle.artifacts) == sorted(_FUNCTIONS[PHOTOGRAPH]):
    version = PHOTOGRAPH
  elif sorted(bundle.artifacts) != sorted(FUNCTIONS):
    raise ValueError(f"artifacts {sorted(bundle.artifacts)} != {FUNCTIONS}")
  check_target(target)
  with files.replacing_folder(target) as fresh:
    (fresh / "stablehlo").mkdir()
    contents = {
      _WEIGHTS: _arrays(bundle.weights),
      _CONFIG: _json({"format": version, **bundle.config}),
      _CARD: card.encode(),
    }
    for name, artifact in bundle.artifacts.items():
      contents[f"stablehlo/{name}.bin"] = artifact
    if bundle.evaluation:
      contents[_EVALUATION] = _arrays(bundle.evaluation)
    for name, content in contents.items():
      (fresh / name).write_bytes(content)
    sums = (f"{files.sha256(fresh / n)}  {n}\n" for n in sorted(contents))
    (fresh / _SUMS).write_text("".join(sums))


def check_target(path: str | os.PathLike) -> None:
  """Refuses a folder that `write` would not make, or not without loss.

  Raises:
    BundleError: `path` is something other than a bundle or an empty folder, or
      a bundle with files or a model card that no export has made.
  """
  target = Path(path)
  if not target.exists() or (target.is_dir() and not any(target.iterdir())):
    return
  if not is_bundle(target):
    raise BundleError(target, "exists and is not a bundle")
  sums = _sums(target)
  for file in sorted(target.rglob("*")):
    name = file.relative_to(target)
    litter = any(x in _LITTER or x.startswith("._") for x in name.parts)
    if file.is_file() and not litter and name.as_posix() not in (*sums, _SUMS):
      raise BundleError(
        file, "is not of the bundle that would be replaced; move it away"
      )
  card = target / _CARD
  if _CARD in sums and card.is_file() and files.sha256(card) != sums[_CARD]:
    raise BundleError(card, "was edited, and would be replaced; move it away")


def read(path: str | os.PathLike) -> Bundle:
  """Reads a bundle after checking every byte of it against SHA256SUMS.

  Raises:
    BundleError: no bundle there, or a file of it that is missing, altered, not
      listed, or of a format that this version does not know; the line names it.
  """
  folder = Path(path)
  config, names = _verified(folder)
  weights = _read_arrays(folder / _WEIGHTS)
  evaluation = {}
  if _EVALUATION in names:
    evaluation = _read_arrays(folder / _EVALUATION)
  artifacts = {
    name: _artifact(folder, name).read_bytes()
    for name in _FUNCTIONS[config["format"]]
  }
  return Bundle(config, weights, artifacts, evaluation)


def digest(path: str | os.PathLike) -> str:
  """SHA-256 of a bundle's weights, as it lists it: their name for good.

  Raises:
    BundleError: No bundle there, or one that lists no weights.
  """
  folder = Path(path)
  if not is_bundle(folder):
    raise BundleError(folder, f"not a bundle (no {_SUMS} or no {_WEIGHTS})")
  found = _sums(folder).get(_WEIGHTS, "")
  if not re.fullmatch("[0-9a-f]{64}", found):
    raise BundleError(folder / _SUMS, f"lists no digest of {_WEIGHTS}")
  return found


def verify(path: str | os.PathLike) -> None:
  """Checks that a folder is a bundle, with all that is used, unaltered.

  This finds damage and tampering with single files. It does not tell who made
  the bundle: whoever can write the folder can write SHA256SUMS too.

  Raises:
    BundleError: see `read`.
  """
  _verified(Path(path))


def _verified(folder: Path) -> tuple[dict[str, Any], list[str]]:
  """The bundle's config, and names of all its files that are used."""
  if folder.is_file():
    raise BundleError(folder, "a file; a bundle is a folder: unpack it")
  if not folder.is_dir():
    raise BundleError(folder, "no such bundle folder")
  if not (folder / _SUMS).is_file():
    raise BundleError(folder, f"not a bundle (no {_SUMS})")
  sums = _sums(folder)
  # The config first, for it says which others there must be.
  _check(folder / _CONFIG, sums.get(_CONFIG))
  try:
    config = json.loads((folder / _CONFIG).read_text())
  except ValueError as error:
    raise BundleError(folder / _CONFIG, "not JSON") from error
  version = config.get("format") if isinstance(config, dict) else None
  if version not in _FUNCTIONS:
    raise BundleError(
      folder / _CONFIG,
      f"bundle format {version}, this program reads 1 to {PHOTOGRAPH}",
    )
  functions = [_artifact(folder, name) for name in _FUNCTIONS[version]]
  needed = [folder / _WEIGHTS, *functions]
  # Weights for evaluation that nothing vouches for are not left out unsaid.
  if _EVALUATION in sums or (folder / _EVALUATION).exists():
    needed.append(folder / _EVALUATION)
  names = [file.relative_to(folder).as_posix() for file in needed]
  for file, name in zip(needed, names, strict=True):
    _check(file, sums.get(name))
  return config, names


def _sums(folder: Path) -> dict[str, str]:
  """{name: digest} of SHA256SUMS, in text or binary mode's spelling."""
  sums = {}
  for line in (folder / _SUMS).read_text(errors="replace").splitlines():
    digest, _, name = line.partition(" ")
    sums[name[1:].removeprefix("./")] = digest
  return sums


def _artifact(folder: Path, function: str) -> Path:
  return folder / "stablehlo" / f"{function}.bin"


def _check(file: Path, digest: str | None) -> None:
  """Refuses a file that is not there as SHA256SUMS has it."""
  if not file.is_file():
    broken = file.is_symlink()
    raise BundleError(file, "missing" + " (a broken link)" * broken)
  if digest is None:
    raise BundleError(file, f"not listed in {_SUMS}")
  if files.sha256(file) == digest:
    return
  if files.is_lfs_pointer(file):
    raise BundleError(file, "only a Git LFS pointer; run git lfs pull")
  raise BundleError(file, f"altered: differs from {_SUMS}")


def _arrays(weights: Mapping[str, Any]) -> bytes:
  """The content of a safetensors file."""
  return safetensors.numpy.save(
    {name: np.array(array, order="C") for name, array in weights.items()}
  )


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
  """Its arrays by name; what was stored in half precision comes as float32."""
  try:
    arrays = safetensors.numpy.load_file(file)
  except safetensors.SafetensorError as error:
    raise BundleError(file, "not safetensors") from error
  return {
    name: array.astype(np.float32) if array.dtype == np.float16 else array
    for name, array in arrays.items()
  }


def _json(value: Mapping[str, Any]) -> bytes:
  """JSON for people and programs: sorted, indented."""
  return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
