"""Reads the C2PA manifest of a video or picture: who signed what about it."""

import json
import os
from typing import Any

from data_pipelines.media.container import check_file
from data_pipelines.media.error import MediaError

MOST = 1 << 20  # characters of a manifest that are looked at
# Nothing is asked of the network, and nobody is trusted unless named.
SETTINGS = {
  "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
  "builder": {"thumbnail": {"enabled": False}},
}


def read_manifest(
  path: str | os.PathLike, anchors: str = ""
) -> dict[str, Any] | None:
  """Returns the newest manifest of a file; None if it has none.

  Keys: "valid", whether signature and content fit; "trusted", whether one of
  the anchors vouches for the certificate too; "failures", codes of C2PA of
  what does not fit; "issuer" and "name", texts of the certificate; and
  "manifest", what c2pa gives as JSON. Of one that cannot be read there are
  "valid", false, and "failures" alone.

  Args:
    path: The file.
    anchors: Certificates in PEM of issuers that are trusted; "": nobody is.

  Raises:
    MediaError: No such file.
  """
  import c2pa  # here alone: 40 MB that decoding does not need

  check_file(path)
  errors: Any = c2pa.C2paError  # its kinds are attributes that no checker sees
  try:
    with (
      c2pa.Context.from_dict(_settings(anchors)) as context,
      open(path, "rb") as file,
      c2pa.Reader(_kind(path), file, context=context) as reader,
    ):
      text = reader.json()
  except (errors.ManifestNotFound, errors.NotSupported):
    return None
  except errors as error:
    return {"valid": False, "failures": [" ".join(str(error).split())[:200]]}
  except OSError as error:
    raise MediaError(path, f"cannot be read ({error.strerror})") from None
  if len(text) > MOST:
    return {"valid": False, "failures": [f"over {MOST >> 20} MiB of JSON"]}
  return _summary(json.loads(text))


def _settings(anchors: str) -> dict[str, Any]:
  """How to read, with whom to trust."""
  return (
    SETTINGS | {"trust": {"user_anchors": anchors}} if anchors else SETTINGS
  )


def _summary(store: dict[str, Any]) -> dict[str, Any]:
  """The active manifest, and what is wrong with it."""
  statuses = store.get("validation_status") or []
  codes = [str(status.get("code")) for status in statuses]
  active = store["manifests"][store["active_manifest"]]
  signed = active.get("signature_info") or {}
  return {
    "valid": store.get("validation_state") in ("Valid", "Trusted"),
    "trusted": store.get("validation_state") == "Trusted",
    "failures": [x for x in codes if x != "signingCredential.untrusted"],
    "issuer": str(signed.get("issuer") or ""),
    "name": str(signed.get("common_name") or ""),
    "manifest": active,
  }


def _kind(path: str | os.PathLike) -> str:
  """The kind of a file by its first bytes, as c2pa wants it."""
  with open(path, "rb") as file:
    head = file.read(12)
  if head[4:8] == b"ftyp":
    return "video/mp4"
  for begin, kind in (
    (b"\xff\xd8", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"RIFF", "video/avi" if head[8:] == b"AVI " else "image/webp"),
  ):
    if head.startswith(begin):
      return kind
  return "application/octet-stream"  # which c2pa does not know
