"""The signed C2PA manifest of a file: written last, and read back.

It holds what the tags say, by C2PA's names, and hashes of the file: whatever
is changed afterwards, tags included, no longer fits.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from data_pipelines.media.manifest import SETTINGS
from speak_jax.common import files
from speak_jax.common.files import FileError
from speak_jax.provenance import credentials, tags
from speak_jax.provenance.credentials import Credentials
from speak_jax.provenance.tags import Statement

# Kinds of files that can hold one, by suffix.
KINDS = {
  ".mp4": "video/mp4",
  ".m4v": "video/mp4",
  ".mov": "video/quicktime",
  ".png": "image/png",
}
# A larger file is signed in pieces: else c2pa has it in memory twice, or 256 MB
# of it. Its hashes are then those of each MiB of its pictures and sound.
WHOLE_BYTES = 8 << 20
_IN_PIECES = SETTINGS | {
  "core": {
    "merkle_tree_chunk_size_in_kb": 1024,
    "backing_store_memory_threshold_in_mb": WHOLE_BYTES >> 20,
  }
}
_STATEMENT = "org.speak-jax.statement"
_ACTIONS = ("c2pa.actions.v2", "c2pa.actions")
# Digital source types that say that a program made it, wholly or partly.
_SYNTHETIC = (
  tags.COMPOSITE,
  tags.WHOLE,
  f"{tags.SOURCE}algorithmicMedia",
  f"{tags.SOURCE}compositeSynthetic",
)


class Manifest(NamedTuple):
  """What a manifest says, and whether it fits the file.

  Attributes:
    valid: Nothing was changed since it was signed.
    trusted: An issuer that the reader trusts vouches for the certificate.
    failures: C2PA's codes of what does not fit.
    issuer: Organisation of the certificate; anybody can make one.
    name: Its common name.
    tool: Program that made the claim.
    source: Digital source type of the first action that has one.
    statement: What this program stated, if it was this one.
  """

  valid: bool
  trusted: bool
  failures: tuple[str, ...]
  issuer: str
  name: str
  tool: str
  source: str
  statement: Statement | None

  @property
  def says_synthetic(self) -> bool:
    """Whether it says so, and fits."""
    return self.valid and self.source in _SYNTHETIC

  @property
  def is_self_made(self) -> bool:
    """Whether its certificate says that nobody vouches for it."""
    return self.issuer == credentials.SELF_MADE


def sign(
  path: Path,
  statement: Statement,
  by: Credentials | None = None,
) -> None:
  """Adds a manifest to a file of KINDS; the file is replaced in one go.

  Args:
    path: The finished file. What changes it later breaks the manifest.
    statement: What to say of it.
    by: What signs; None: a certificate that is made for this file.

  Raises:
    FileError: It cannot be signed; one line. The file is as it was.
  """
  kind = KINDS[path.suffix.lower()]
  is_large = path.stat().st_size > WHOLE_BYTES
  settings = _IN_PIECES if is_large else SETTINGS
  by = credentials.self_made() if by is None else by
  with (
    files.replacing(path, sync=False) as partial,
    open(path, "rb") as source,
    open(partial, "w+b") as target,
  ):
    _sign(path, kind, source, target, statement, by, settings)


def signer(
  certificate: str | os.PathLike | None = None,
  key: str | os.PathLike | None = None,
) -> Credentials | None:
  """The user's credentials, tried on a picture in memory.

  So a certificate that C2PA does not take is told before any work.

  Args:
    certificate: PEM chain; None: the variable's, see `credentials.chosen`.
    key: Its private key.

  Returns:
    None: There are none.

  Raises:
    FileError: They cannot be used; one line.
  """
  found = credentials.chosen(certificate, key)
  if found is not None:
    path = certificate or os.environ.get(credentials.CERTIFICATE, "")
    empty = Statement("", "", "", "", "", tags.WHOLE)
    picture = io.BytesIO()
    Image.new("L", (1, 1)).save(picture, "PNG")
    _sign(path, "image/png", picture, io.BytesIO(), empty, found, SETTINGS)
  return found


def _sign(
  path, kind, source, target, statement, by: Credentials, settings
) -> None:
  import c2pa  # here alone: it is large

  try:
    info = c2pa.C2paSignerInfo(by.algorithm, by.chain, by.key, None)
    with (
      c2pa.Context.from_dict(settings) as context,
      c2pa.Signer.from_info(info) as native,
      c2pa.Builder(_claim(statement), context) as builder,
    ):
      builder.sign(native, kind, source, target)
  except c2pa.C2paError as error:
    raise FileError(path, f"C2PA cannot sign with it ({error})") from None


def _claim(statement: Statement) -> dict[str, Any]:
  """The manifest to be signed."""
  name, _, version = tags.tool().partition(" ")
  agent = {"name": name, "version": version}
  action = {
    "action": "c2pa.created",
    "digitalSourceType": statement.source,
    "softwareAgent": agent,
  }
  if statement.made:
    action["when"] = statement.made
  return {
    "claim_generator_info": [agent],
    "assertions": [
      {"label": _ACTIONS[0], "data": {"actions": [action]}},
      {"label": _STATEMENT, "data": statement._asdict()},
    ],
  }


def parsed(found: Mapping[str, Any]) -> Manifest:
  """What `media.manifest.read_manifest` has found, whoever has written it."""
  active = found.get("manifest")
  active = active if isinstance(active, dict) else {}
  generator = _first(active.get("claim_generator_info"))
  tool = " ".join(_text(generator.get(x)) for x in ("name", "version"))
  source, statement = "", None
  for assertion in _dicts(active.get("assertions")):
    data = assertion.get("data")
    if assertion.get("label") == _STATEMENT:
      statement = tags.of_facts(data)
    elif assertion.get("label") in _ACTIONS and isinstance(data, dict):
      for action in _dicts(data.get("actions")):
        source = source or _text(action.get("digitalSourceType"))
  return Manifest(
    valid=bool(found.get("valid")),
    trusted=bool(found.get("trusted")),
    failures=tuple(map(_text, found.get("failures") or ())),
    issuer=_text(found.get("issuer")),
    name=_text(found.get("name")),
    tool=tool.strip(),
    source=source,
    statement=statement,
  )


def _text(value: Any) -> str:
  return value[:200] if isinstance(value, str) else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
  """The dicts of what should be a list of them."""
  found = value if isinstance(value, list) else []
  return [item for item in found if isinstance(item, dict)]


def _first(value: Any) -> dict[str, Any]:
  return next(iter(_dicts(value)), {})
