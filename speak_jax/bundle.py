"""The bundle: the folder that is shipped, and nothing else is needed to run it.

  BUNDLE/
    model.safetensors   EMA weights, flat names "encoders/params/..."
    config.json         sizes, frame rate, preset, commit, what it learned from
    stablehlo/*.bin     one serialised function each (see `synthesis`)
    README.md           model card
    SHA256SUMS          of all the others, checked before anything is read
    evaluation.safetensors   if wished, weights of the earlier stages, named
                        "irfd/decoder/params/...": with them a bundle is
                        measured as its run was; nothing else reads them

REFERENCE is the bundle that comes with this package.

Goes in: flat weights, artifacts, settings. Comes out: the same, verified. No
file is ever unpickled.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

FORMAT = 2
REFERENCE = Path(__file__).parent / "assets" / "reference"
# By format. In 1 `frames` encoded the sound of its window itself.
_FUNCTIONS = {
  1: ("portrait", "pose", "emotion", "frames"),
  2: ("portrait", "pose", "emotion", "speech", "frames"),
}
FUNCTIONS = _FUNCTIONS[FORMAT]

_WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_CARD = "README.md"
_SUMS = "SHA256SUMS"
_EVALUATION = "evaluation.safetensors"
_MAY_BE = (*(f"stablehlo/{name}.bin" for name in FUNCTIONS), _EVALUATION)
_FILES = (
  _WEIGHTS,
  _CONFIG,
  _CARD,
  *(f"stablehlo/{name}.bin" for name in _FUNCTIONS[1]),
)


class BundleError(ValueError):
  """A bundle that must not be used; one line: the file and the reason."""

  def __init__(self, path: str | os.PathLike, reason: str):
    super().__init__(f"{os.fspath(path)}: {reason}")


class Bundle(NamedTuple):
  """What a bundle holds, verified."""

  config: dict[str, Any]
  weights: dict[str, np.ndarray]  # flat name -> array
  # Name -> serialised StableHLO: FUNCTIONS, in format 1 all but "speech".
  artifacts: dict[str, bytes]
  evaluation: dict[str, np.ndarray] = {}  # noqa: RUF012, stage/flat name


def is_bundle(path: str | os.PathLike) -> bool:
  """Whether `path` looks like a bundle (it is not verified here)."""
  return (Path(path) / _SUMS).is_file() and (Path(path) / _WEIGHTS).is_file()


def write(path: str | os.PathLike, bundle: Bundle, card: str) -> None:
  """Writes a bundle in one go: it is there whole or not at all.

  Args:
    path: The folder to make. A bundle that lies there is replaced.
    bundle: What to ship; `artifacts` must hold every name in FUNCTIONS.
    card: The model card, Markdown.

  Raises:
    BundleError: `path` is something other than a bundle or an empty folder.
    ValueError: an artifact is missing or unknown.
  """
  target = Path(path)
  if sorted(bundle.artifacts) != sorted(FUNCTIONS):
    raise ValueError(f"artifacts {sorted(bundle.artifacts)} != {FUNCTIONS}")
  replace = target.exists()
  empty = target.is_dir() and not any(target.iterdir())
  if replace and not empty and not is_bundle(target):
    raise BundleError(target, "exists and is not a bundle")
  target.parent.mkdir(parents=True, exist_ok=True)
  # Beside the target, so that the rename stays on one file system.
  fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
  try:
    (fresh / "stablehlo").mkdir()
    contents = {
      _WEIGHTS: _arrays(bundle.weights),
      _CONFIG: _json({"format": FORMAT, **bundle.config}),
      _CARD: card.encode(),
    }
    for name, artifact in bundle.artifacts.items():
      contents[f"stablehlo/{name}.bin"] = artifact
    if bundle.evaluation:
      contents[_EVALUATION] = _arrays(bundle.evaluation)
    for name, content in contents.items():
      (fresh / name).write_bytes(content)
    sums = "".join(f"{_sha256(fresh / n)}  {n}\n" for n in sorted(contents))
    (fresh / _SUMS).write_text(sums)
    fresh.chmod(0o755)  # mkdtemp makes it private
    if replace:
      old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
      target.rename(old / "old")
      fresh.rename(target)
      shutil.rmtree(old)
    else:
      fresh.rename(target)
  finally:
    shutil.rmtree(fresh, ignore_errors=True)


def read(path: str | os.PathLike) -> Bundle:
  """Reads a bundle after checking every byte of it against SHA256SUMS.

  Raises:
    BundleError: no bundle there, or a file that is missing, unknown, altered
      or of a format that this version does not know; the line names it.
  """
  folder = Path(path)
  verify(folder)
  try:
    config = json.loads((folder / _CONFIG).read_text())
  except ValueError as error:
    raise BundleError(folder / _CONFIG, "not JSON") from error
  version = config.get("format") if isinstance(config, dict) else None
  if version not in _FUNCTIONS:
    raise BundleError(
      folder / _CONFIG,
      f"bundle format {version}, this program reads 1 to {FORMAT}",
    )
  weights = _read_arrays(folder / _WEIGHTS)
  evaluation = {}
  if (folder / _EVALUATION).is_file():
    evaluation = _read_arrays(folder / _EVALUATION)
  artifacts = {}
  for name in _FUNCTIONS[version]:
    file = folder / "stablehlo" / f"{name}.bin"
    if not file.is_file():
      raise BundleError(file, f"missing, format {version} has it")
    artifacts[name] = file.read_bytes()
  return Bundle(config, weights, artifacts, evaluation)


def verify(path: str | os.PathLike) -> None:
  """Checks that a folder is a bundle, complete, unaltered and nothing more.

  This finds damage and tampering with single files. It does not tell who made
  the bundle: whoever can write the folder can write SHA256SUMS too.

  Raises:
    BundleError: see `read`.
  """
  folder = Path(path)
  if not folder.is_dir():
    raise BundleError(folder, "no such bundle folder")
  if not (folder / _SUMS).is_file():
    raise BundleError(folder, f"not a bundle (no {_SUMS})")
  sums = {}
  for line in (folder / _SUMS).read_text(errors="replace").splitlines():
    digest, _, name = line.partition("  ")
    sums[name] = digest
  for name in _FILES:
    if name not in sums:
      raise BundleError(folder / name, f"not listed in {_SUMS}")
  for file in sorted(folder.rglob("*")):
    name = file.relative_to(folder).as_posix()
    if file.is_file() and name != _SUMS and name not in (*_FILES, *sums):
      raise BundleError(file, "does not belong to a bundle")
  for name, digest in sums.items():
    if name not in (*_FILES, *_MAY_BE):
      raise BundleError(folder / _SUMS, f"lists an unknown file {name!r}")
    if not (folder / name).is_file():
      raise BundleError(folder / name, "missing")
    if _sha256(folder / name) != digest:
      raise BundleError(folder / name, f"altered: differs from {_SUMS}")


def _arrays(weights: Mapping[str, Any]) -> bytes:
  """The content of a safetensors file."""
  return safetensors.numpy.save(
    {name: np.array(array, order="C") for name, array in weights.items()}
  )


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
  """Its arrays by name; what was stored in half precision comes as float32."""
  try:
    found = safetensors.numpy.load_file(file)
  except safetensors.SafetensorError as error:
    raise BundleError(file, "not safetensors") from error
  return {
    name: array.astype(np.float32) if array.dtype == np.float16 else array
    for name, array in found.items()
  }


def _sha256(file: Path) -> str:
  """Hex digest of a file's content."""
  with file.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _json(value: Mapping[str, Any]) -> bytes:
  """JSON for people and programs: sorted, indented."""
  return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
