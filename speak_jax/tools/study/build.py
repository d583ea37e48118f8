"""Finds methods' videos, encodes them alike, and writes a study's page."""

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipelines.media.audio import read_audio
from data_pipelines.media.error import MediaError
from data_pipelines.media.mp4 import write_video
from data_pipelines.media.video import probe, read_frames
from speak_jax import spec
from speak_jax.common import files
from speak_jax.common.names import split_named
from speak_jax.common.progress import Progress
from speak_jax.evaluation.report import markup
from speak_jax.tools.study import design
from speak_jax.tools.study.answers import load_key, read_file

MAX_PX = 512  # longer side of a video in the page

# {method: {clip: file}}
Videos = Mapping[str, Mapping[str, Path]]


class Study(NamedTuple):
  """What `build` wrote."""

  page: Path  # index.html
  key: Path
  methods: list[str]
  clips: list[str]
  megabytes: float  # of everything that raters get
  embedded: bool  # whether the page is one file


class Shape(NamedTuple):
  """What all versions of a clip are brought to, lest it tell them apart."""

  width: int
  height: int
  frames: int
  fps: float


def find_videos(results: Sequence[str]) -> dict[str, dict[str, Path]]:
  """The videos behind NAME=FOLDER or FOLDER, by method and clip.

  A folder without mp4s stands for its sub-folders with some, each a method of
  the sub-folder's name.

  Raises:
    ValueError: one line: no such folder, no video, or a method twice.
  """
  videos: dict[str, dict[str, Path]] = {}
  for result in results:
    name, path = split_named(result)
    folder = Path(path)
    if not folder.is_dir():
      raise ValueError(f"{folder}: no such folder")
    named = [(name or folder.resolve().name, folder)]
    if not _mp4s(folder):
      below = sorted(path for path in folder.iterdir() if path.is_dir())
      prefix = f"{name}/" if name else ""
      named = [(prefix + path.name, path) for path in below if _mp4s(path)]
    if not named:
      raise ValueError(f"{folder}: no mp4 in it or in its folders")
    for method, home in named:
      if method in videos:
        raise ValueError(
          f"{home}: a second method {method}; name them: NAME=FOLDER"
        )
      videos[method] = _mp4s(home)
  return videos


def build(
  videos: Videos, out: Path, seed: int, limit: int, embed_mb: float
) -> Study:
  """Writes OUT/page/ for raters and OUT/key.json for whoever collects.

  All versions of a clip are encoded anew with one size, rate, length and
  encoder, so that neither metadata nor shape tells the method.

  Args:
    videos: {method: {clip: mp4}}; two methods at least.
    out: Folder, made if it is not there.
    seed: Draws the order, and the clips if there are too many.
    limit: Clips at most; 0: all that the methods share.
    embed_mb: Up to this size the page is one file with the clips in it.

  Raises:
    ValueError: one line: nothing to compare, a video that cannot be read, has
      no sound or another shape, or a folder with another study in it.
  """
  clips = _shared(videos)
  if limit and len(clips) > limit:
    chosen = np.random.default_rng(seed).permutation(len(clips))[:limit]
    clips = [clips[i] for i in sorted(chosen)]
  key = design.plan(list(videos), clips, seed, _digest(videos, clips))
  key_path = out / "key.json"
  _check_unused(key_path, key)
  shapes = {
    clip: _common_shape([own[clip] for own in videos.values()])
    for clip in clips
  }
  page = out / "page"
  page.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=out, prefix=".part-") as scratch:
    encoded = []
    with Progress("study", "video", len(key.items)) as progress:
      for i, item in enumerate(key.items):
        target = Path(scratch) / f"{item.number}.mp4"
        _encode(videos[item.method][item.clip], target, shapes[item.clip])
        encoded.append(target)
        progress.update(i + 1)
    size = sum(path.stat().st_size for path in encoded)
    embedded = size * 4 / 3 <= embed_mb * 1e6  # base64 adds a third
    sources = {
      path.stem: markup.data_uri(path.read_bytes(), "video/mp4")
      if embedded
      else path.name
      for path in encoded
    }
    text = design.page(key, sources, "data:" if embedded else "'self'")
    for old in page.glob("*.mp4"):  # of this study, when made before
      old.unlink()
    if not embedded:
      for path in encoded:
        path.rename(page / path.name)
    files.write(page / "index.html", text)
    files.write(key_path, design.key_text(key))
  total = sum(path.stat().st_size for path in page.iterdir())
  return Study(
    page=page / "index.html",
    key=key_path,
    methods=list(videos),
    clips=clips,
    megabytes=total / 1e6,
    embedded=embedded,
  )


def _mp4s(folder: Path) -> dict[str, Path]:
  """{name without .mp4: file}; hidden files are no clips."""
  return {
    path.stem: path
    for path in sorted(folder.iterdir())
    if path.suffix.lower() == ".mp4"
    and not path.name.startswith(".")
    and path.is_file()
  }


def _shared(videos: Videos) -> list[str]:
  """Names that all methods have; what only some have is said."""
  every = sorted({clip for row in videos.values() for clip in row})
  clips = [x for x in every if all(x in row for row in videos.values())]
  if not clips:
    raise ValueError(f"no clip is in all of {', '.join(videos)}")
  if len(clips) < len(every):
    left = len(every) - len(clips)
    print(f"left out, as only some methods have them: {left} clips")
  return clips


def _digest(videos: Videos, clips: Sequence[str]) -> str:
  """Of all videos, whose names tell nothing of what is in them."""
  digest = hashlib.sha256()
  for method in videos:
    for clip in clips:
      digest.update(hashlib.sha256(read_file(videos[method][clip])).digest())
  return digest.hexdigest()


def _check_unused(path: Path, key: design.Key) -> None:
  """Another study's key is not replaced: its answers would be lost."""
  if path.exists() and load_key(path).study != key.study:
    raise ValueError(f"{path}: of another study; take another folder")


def _common_shape(paths: Sequence[Path]) -> Shape:
  """The largest version's size and rate, the shortest one's length."""
  infos = [probe(path) for path in paths]
  fps = max(info.fps for info in infos) or float(spec.FPS)
  large = max(infos, key=lambda info: info.width * info.height)
  for path, info in zip(paths, infos, strict=True):
    if not math.isclose(
      info.width * large.height, info.height * large.width, rel_tol=0.02
    ):
      raise MediaError(
        path,
        f"{info.width}x{info.height}, another method's is"
        f" {large.width}x{large.height}: crop them alike",
      )
  scale = min(1.0, MAX_PX / max(large.width, large.height))
  return Shape(
    width=_even(large.width * scale),
    height=_even(large.height * scale),
    frames=min(sum(1 for _ in read_frames(path, fps)) for path in paths),
    fps=fps,
  )


def _even(length: float) -> int:
  return 2 * round(length / 2)


def _encode(source: Path, target: Path, shape: Shape) -> None:
  def frames() -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    pairs = zip(
      range(shape.frames), read_frames(source, shape.fps), strict=False
    )
    for _, frame in pairs:
      yield _resized(frame, shape)

  sound = read_audio(source, shape.frames, shape.fps)
  write_video(target, frames(), shape.fps, sound)


def _resized(
  frame: UInt8[np.ndarray, "h w 3"], shape: Shape
) -> UInt8[np.ndarray, "y x 3"]:
  if frame.shape[:2] == (shape.height, shape.width):
    return frame
  larger = shape.width > frame.shape[1]
  way = cv2.INTER_LANCZOS4 if larger else cv2.INTER_AREA
  return cv2.resize(frame, (shape.width, shape.height), interpolation=way)
