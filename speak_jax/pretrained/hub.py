"""Finds a weight file: by path, in the folder of weights, or on the hub.

The folder of weights is $SPEAK_JAX_WEIGHTS, or ~/.cache/speak_jax/weights.
What the hub sends is kept in the hub's own cache. Files whose SHA-256 is known
(torchvision writes its beginning into the name, the hub's cache names its
files so) are checked before they are used.
"""

import os
import re
from pathlib import Path

from speak_jax.common import files
from speak_jax.pretrained.tensors import WeightsError

# Tried in this order where a model is named without a file.
DEFAULT_FILES = ("model.safetensors", "pytorch_model.bin")
_TORCHVISION = "https://download.pytorch.org/models"
# Of files that are named as torchvision's and lie elsewhere.
_ELSEWHERE = {
  "pt_inception-2015-12-05-6726825d.pth": (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
  ),
}
_HUB = "https://huggingface.co"

_ID = re.compile(
  r"(?P<model>[\w-][\w.-]*/[\w-][\w.-]*)"
  r"(@(?P<revision>[\w.-]+))?(/(?P<file>[\w./-]+))?"
)
# torchvision's and timm's names, such as resnet50-0676ba61.pth.
_NAMED_BY_HASH = re.compile(r"[\w-]+-(?P<hash>[0-9a-f]{8})\.pth")
_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".model")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def folder() -> Path:
  """The folder of weights: $SPEAK_JAX_WEIGHTS or one in the home folder."""
  named = os.environ.get("SPEAK_JAX_WEIGHTS", "")
  return Path(named or "~/.cache/speak_jax/weights").expanduser()


def find(name: str) -> Path:
  """The file that a name means, checked by its SHA-256 where that is known.

  Args:
    name: In this order: a path; a file in the folder of weights, such as
      "vgg19-dcbb9e9d.pth"; or a hub id, "org/model", "org/model/file" or
      "org/model@revision/file", downloaded if need be. Where it is a folder
      or a model, DEFAULT_FILES are looked for in it.

  Raises:
    WeightsError: nothing of that name, and how to get it; or another SHA-256.
  """
  for place in (Path(name).expanduser(), folder() / name):
    for path in (place, *(place / file for file in DEFAULT_FILES)):
      if path.is_file():
        check(path)
        return path
  if _NAMED_BY_HASH.fullmatch(name):
    where = _ELSEWHERE.get(name, _TORCHVISION)
    raise WeightsError(
      f"{name}: not here; download {where}/{name} and put it into {folder()}"
    )
  wanted = _ID.fullmatch(name)
  if not wanted or (not wanted["file"] and name.endswith(_ENDINGS)):
    raise WeightsError(f"{name}: no such file, and no hub id (org/model)")
  files = (wanted["file"],) if wanted["file"] else DEFAULT_FILES
  try:
    path = _download(wanted["model"], wanted["revision"], files)
  except _UnreachableError as error:
    place = folder() / name / ("" if wanted["file"] else files[0])
    revision = wanted["revision"] or "main"
    raise WeightsError(
      f"{name}: no such file, and no download ({error}); get"
      f" {_HUB}/{wanted['model']}/resolve/{revision}/{files[0]} and put it at"
      f" {place}"
    ) from error
  check(path)
  return path


def check(path: Path) -> None:
  """Compares a file with its SHA-256 where the name of the file tells it.

  Raises:
    WeightsError: it is another one.
  """
  blob = path.resolve().name  # the hub's cache links to files named by hash
  if _SHA256.fullmatch(blob):
    known = blob
  elif named := _NAMED_BY_HASH.fullmatch(path.name):
    known = named["hash"]
  else:
    return
  digest = files.sha256(path)
  if not digest.startswith(known):
    raise WeightsError(
      f"{path}: damaged, its SHA-256 begins with {digest[:8]}, not {known[:8]}"
    )


class _UnreachableError(Exception):
  """The hub did not send the file; a reason."""


def _download(model: str, revision: str | None, files: tuple[str, ...]) -> Path:
  """The first of some files of a model that the hub has."""
  try:
    # Late: most runs have their weights here, and it is slow to import.
    import huggingface_hub
    from huggingface_hub import errors
  except ImportError as error:
    raise _UnreachableError("huggingface_hub is not installed") from error
  # What was downloaded before is used without asking: asking takes a network.
  for cached in (True, False):
    for file in files:
      try:
        path = huggingface_hub.hf_hub_download(
          model, file, revision=revision, local_files_only=cached
        )
        return Path(path)
      except errors.LocalEntryNotFoundError as error:
        if not cached:
          raise _UnreachableError("the hub is out of reach") from error
      except errors.EntryNotFoundError:
        continue
      # Whatever its network library raises: there is no class of them all.
      except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise _UnreachableError(reason[:100]) from error
  raise _UnreachableError(f"{model} has no {' or '.join(files)}")
