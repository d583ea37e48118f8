"""What a file says of its own making, layer by layer."""

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from data_pipelines.media import decoder
from speak_jax.provenance import detection, manifest, tags
from speak_jax.provenance.detection import Found
from speak_jax.provenance.manifest import Manifest
from speak_jax.provenance.tags import Statement

# Seconds of a video that are looked at: all of a short one, else as much of
# its beginning, middle and end.
WHOLE_S, PART_S = 12.0, 4.0
_FPS = 25.0
_MOST = 300  # frames of what has no length


class Report(NamedTuple):
  """What was found.

  Attributes:
    manifest: The newest signed manifest, of whatever program.
    tags: What the container's texts state.
    mark: The watermark, whether or not it counts.
    weights: Name of the weights that the watermark's code is of; "": unknown.
  """

  manifest: Manifest | None
  tags: Statement | None
  mark: Found
  weights: str

  @property
  def says_synthetic(self) -> bool:
    """Whether any layer says that the video is synthetic."""
    signed = self.manifest is not None and self.manifest.says_synthetic
    return signed or self.tags is not None or self.mark.there

  @property
  def is_altered(self) -> bool:
    """Whether there is a manifest that does not fit the file."""
    return self.manifest is not None and not self.manifest.valid


def examine(
  path: str | os.PathLike, known: Mapping[int, str], anchors: str = ""
) -> Report:
  """Looks at every layer of a video or picture.

  The file is decoded in a process of its own, see `data_pipelines.media`.

  Args:
    path: The file, which may be hostile.
    known: Names of weights by their watermark's code.
    anchors: Issuers to trust, see `credentials.anchors`.

  Raises:
    MediaError: Unreadable; one line.
  """
  statement = tags.read(decoder.read_tags(path))
  found = decoder.read_manifest(path, anchors)
  signed = None if found is None else manifest.parsed(found)
  mark = _mark(path, list(known))
  weights = known.get(mark.code, "") if mark.there else ""
  return Report(signed, statement, mark, weights)


def _mark(path: str | os.PathLike, known: list[int]) -> Found:
  """The best of a video's parts; chance is counted for each of them."""
  seconds = decoder.probe(path).seconds
  spans: list[tuple[float, float] | None] = [None]
  if seconds > WHOLE_S:
    middle = (seconds - PART_S) / 2
    last = seconds - PART_S - 1  # what is said of the length may be too long
    spans = [(x, x + PART_S) for x in (0.0, middle, last)]
  found = [detection.detect(_grey(path, span), known) for span in spans]
  best = min(found, key=lambda x: x.false_alarm)
  alarm = min(1.0, best.false_alarm * len(found))
  return best._replace(false_alarm=alarm)


def _grey(path: str | os.PathLike, span: tuple[float, float] | None):
  frames: Iterable = decoder.read_frames(path, _FPS, span)
  return detection.mean_grey(itertools.islice(frames, _MOST))
