"""Everything that marks a video while it is written: `Marking`."""

import datetime
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from speak_jax import bundle
from speak_jax.provenance import manifest, tags
from speak_jax.provenance.credentials import Credentials
from speak_jax.provenance.watermark import Watermark, code_of

# What is said of --no-watermark.
LAW = (
  "--no-watermark: Article 50(2) of the EU AI Act asks that synthetic video is"
  " marked so that machines can tell, robustly; tags and manifest stay, but"
  " are lost with the next re-encoding"
)
_EPOCH = "SOURCE_DATE_EPOCH"  # seconds since 1970, for files that repeat


class Weights(NamedTuple):
  """Which weights make a video; the code 0 is of those that nobody names."""

  name: str = ""
  digest: str = ""  # SHA-256, hexadecimal
  commit: str = ""

  @property
  def code(self) -> int:
    """What the watermark says of them."""
    return code_of(self.digest) if self.digest else 0


def of_bundle(path: str | os.PathLike, content: bundle.Bundle) -> Weights:
  """Names the weights of a bundle.

  Args:
    path: Its folder.
    content: What it holds.

  Raises:
    BundleError: It lists no digest of its weights.
  """
  name = Path(path).resolve().name
  commit = str(content.config.get("commit") or "")
  return Weights(name, bundle.digest(path), commit)


class Marking:
  """How a video is marked.

  Watermark in the frames, texts in the container, a signed manifest. Only the
  first can be left out. The time is that of the writing, or $SOURCE_DATE_EPOCH.
  """

  def __init__(
    self,
    weights: Weights = Weights(),  # noqa: B008
    *,
    whole: bool = False,
    watermark: bool = True,
    credentials: Credentials | None = None,
  ):
    """Says how.

    Args:
      weights: That make the video.
      whole: Whether they draw all of it; else they move a picture.
      watermark: Whether frames are marked too.
      credentials: What signs; None: a certificate made for each file.
    """
    self._weights = weights
    self._whole, self._watermark = whole, watermark
    self._credentials = credentials

  @property
  def statement(self) -> tags.Statement:
    """What a video that is finished now says of itself."""
    return tags.Statement(
      tags.tool(),
      self._weights.name,
      self._weights.digest,
      self._weights.commit,
      _now().isoformat().replace("+00:00", "Z"),
      tags.WHOLE if self._whole else tags.COMPOSITE,
    )

  @property
  def tags(self) -> dict[str, str]:
    """Texts of the container."""
    return tags.written(self.statement)

  def finish(self, path: Path) -> None:
    """Signs a finished file, if its kind can hold a manifest.

    Raises:
      FileError: It cannot be signed; one line.
    """
    if path.suffix.lower() in manifest.KINDS:
      manifest.sign(path, self.statement, self._credentials)

  def frames(
    self, frames: Iterator[UInt8[np.ndarray, "h w c"]]
  ) -> Generator[UInt8[np.ndarray, "h w c"], None, None]:
    """Yields marked frames, each a function of itself alone.

    RGB, or RGBA, whose alpha stays. When it is closed, so are the frames, if
    they can be.
    """
    mark = None
    try:
      for frame in frames:
        if mark is None:
          height, width, _ = frame.shape
          mark = self.of_size(height, width)
        yield mark(frame)
    finally:
      if isinstance(frames, Generator):
        frames.close()

  def of_size(
    self, height: int, width: int
  ) -> Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "h w 3"]]:
    """What marks a frame of this size; px."""
    if not self._watermark:
      return lambda frame: frame
    return Watermark(height, width, self._weights.code)


def _now() -> datetime.datetime:
  seconds = os.environ.get(_EPOCH, "")
  if seconds.isascii() and seconds.isdigit():
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
  return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
