"""Makes a blind user study of several methods' clips, and reads its answers.

  python -m speak_jax.tools.study --results ours=A,wav2lip=B,truth=C \
    --out study/
  python -m speak_jax.tools.study --collect answers/*.json \
    --key study/key.json --out table.md

A result is a folder of mp4s with sound, or a folder of such folders, one for
each method; clips are the names that all methods have. Raters get study/page
(one file, or a folder when the clips are too large for that) and send back
one JSON file each. study/key.json tells which method is behind which number:
keep it.
"""

import hashlib
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from absl import app, flags
from jaxtyping import UInt8

from data_pipelines.media.audio import read_audio
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.media.video import probe, read_frames, write_video
from speak_jax import spec
from speak_jax.common import command_line, files, outputs
from speak_jax.common.progress import Progress
from speak_jax.evaluation import study
from speak_jax.evaluation.report import html

MOST_PX = 512  # longer side of a video in the page

# {method: {clip: file}}
Videos = Mapping[str, Mapping[str, Path]]


class Made(NamedTuple):
  """What `make` wrote."""

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


def find(results: Sequence[str]) -> dict[str, dict[str, Path]]:
  """The videos behind NAME=FOLDER or FOLDER, by method and clip.

  A folder without mp4s stands for its sub-folders with some, each a method of
  the sub-folder's name.

  Raises:
    ValueError: one line: no such folder, no video, or a method twice.
  """
  found: dict[str, dict[str, Path]] = {}
  for result in results:
    name, equals, where = result.partition("=")
    folder = Path(where if equals else result)
    if not folder.is_dir():
      raise ValueError(f"{folder}: no such folder")
    named = [(name if equals else folder.resolve().name, folder)]
    if not _mp4s(folder):
      below = sorted(path for path in folder.iterdir() if path.is_dir())
      prefix = f"{name}/" if equals else ""
      named = [(prefix + path.name, path) for path in below if _mp4s(path)]
    if not named:
      raise ValueError(f"{folder}: no mp4 in it or in its folders")
    for method, home in named:
      if method in found:
        raise ValueError(
          f"{home}: a second method {method}; name them: NAME=FOLDER"
        )
      found[method] = _mp4s(home)
  return found


def make(
  videos: Videos, out: Path, seed: int, most: int, embed_mb: float
) -> Made:
  """Writes OUT/page/ for raters and OUT/key.json for whoever collects.

  All versions of a clip are encoded anew with one size, rate, length and
  encoder, so that neither metadata nor shape tells the method.

  Args:
    videos: {method: {clip: mp4}}; two methods at least.
    out: Folder, made if it is not there.
    seed: Of the order, and of the choice if there are too many clips.
    most: Clips at most; 0: all that the methods share.
    embed_mb: Up to this size the page is one file with the clips in it.

  Raises:
    ValueError: one line: nothing to compare, a video that cannot be read, has
      no sound or another shape, or a folder with another study in it.
  """
  clips = _shared(videos)
  if most and len(clips) > most:
    chosen = np.random.default_rng(seed).permutation(len(clips))[:most]
    clips = [clips[i] for i in sorted(chosen)]
  key = study.plan(list(videos), clips, seed, _digest(videos, clips))
  key_path = out / "key.json"
  _check_free(key_path, key)
  shapes = {
    clip: _shape([row[clip] for row in videos.values()]) for clip in clips
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
      path.stem: html.data_uri(path.read_bytes(), "video/mp4")
      if embedded
      else path.name
      for path in encoded
    }
    text = study.page(key, sources, "data:" if embedded else "'self'")
    for old in page.glob("*.mp4"):  # of this study, when made before
      old.unlink()
    if not embedded:
      for path in encoded:
        path.rename(page / path.name)
    files.write(page / "index.html", text)
    files.write(key_path, study.key_text(key))
  total = sum(path.stat().st_size for path in page.iterdir())
  return Made(
    page=page / "index.html",
    key=key_path,
    methods=list(videos),
    clips=clips,
    megabytes=total / 1e6,
    embedded=embedded,
  )


def collect(
  paths: Sequence[Path], key: study.Key
) -> tuple[list[study.Answers], list[str]]:
  """Every rater's answers, and a line for each file that is left out.

  Of two files of a rater the one with more ratings counts: the other was
  saved halfway.
  """
  kept: dict[str, tuple[Path, study.Answers]] = {}
  refused = []
  for path in paths:
    try:
      found = _answers(path, key)
    except ValueError as error:
      refused.append(str(error))
      continue
    before = kept.get(found.rater)
    if before is None:
      kept[found.rater] = (path, found)
      continue
    first, second = before, (path, found)
    if len(found.marks) > len(before[1].marks):
      first, second = second, first
    kept[found.rater] = first
    refused.append(f"{second[0]}: the same rater as {first[0]}")
  return [answers for _, answers in kept.values()], refused


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
      digest.update(hashlib.sha256(_content(videos[method][clip])).digest())
  return digest.hexdigest()


def _content(path: Path, most: int = -1) -> bytes:
  """Up to so many bytes, which a file given by mistake may exceed."""
  try:
    with path.open("rb") as stream:
      return stream.read(most)
  except OSError as error:
    raise ValueError(f"{path}: cannot be read ({error.strerror})") from None


def _answers(path: Path, key: study.Key) -> study.Answers:
  content = _content(path, study.MOST_BYTES + 1)
  try:
    return study.read_answers(content, key)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def _key(path: Path) -> study.Key:
  content = _content(path)
  try:
    return study.read_key(content)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def _check_free(path: Path, key: study.Key) -> None:
  """Another study's key is not replaced: its answers would be lost."""
  if path.exists() and _key(path).study != key.study:
    raise ValueError(f"{path}: of another study; take another folder")


def _shape(paths: Sequence[Path]) -> Shape:
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
  scale = min(1.0, MOST_PX / max(large.width, large.height))
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


FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
  """Makes a study or collects one; 0, or 1 and a line if it cannot."""
  warnings.simplefilter("ignore", MediaWarning)
  try:
    if bool(FLAGS.results) == bool(FLAGS.collect):
      raise ValueError("give either --results or --collect")
    if FLAGS.collect:
      return _collect([FLAGS.collect, *argv[1:]])
    if len(argv) > 1:
      raise ValueError(f"{argv[1]}: unexpected argument")
    return _make()
  except (ValueError, OSError) as error:
    return command_line.fail("error", str(error))


def _make() -> int:
  results, out = find(FLAGS.results), Path(FLAGS.out or "study")
  folders = [x.rpartition("=")[2] for x in FLAGS.results]
  outputs.check_folder(out, [], sealed=folders)
  made = make(
    results,
    out,
    FLAGS.seed,
    FLAGS.clips,
    FLAGS.embed_mb,
  )
  print(
    f"{len(made.clips)} clips of {len(made.methods)} methods:"
    f" {', '.join(made.methods)}"
  )
  if made.embedded:
    print(f"wrote {made.page}, {made.megabytes:.1f} MB: send this one file")
  else:
    print(
      f"wrote {made.page.parent}, {made.megabytes:.1f} MB, larger than"
      f" --embed_mb: send the whole folder, raters open {made.page.name}"
    )
  print(f"wrote {made.key}: keep it, it tells which method is which")
  return 0


def _collect(names: Sequence[str]) -> int:
  out = Path(FLAGS.out or "table.md")
  outputs.check_file(out, [*names, FLAGS.key], (".md", ".txt"))
  key = _key(Path(FLAGS.key))
  answers, refused = collect([Path(name) for name in names], key)
  for line in refused:
    command_line.fail("left out", line)
  if not answers:
    raise ValueError("no answers are left")
  text = study.table(answers, key, FLAGS.seed)
  files.write(out, text)
  print(text, end="")
  print(f"wrote {out}: {len(answers)} raters, {len(refused)} files left out")
  return 0


if __name__ == "__main__":
  flags.DEFINE_list("results", [], "NAME=FOLDER or FOLDER, comma-separated")
  flags.DEFINE_string("collect", "", "answer files of raters, any number")
  flags.DEFINE_string("key", "study/key.json", "the study's key, to collect")
  flags.DEFINE_string("out", "", "study/ to make, table.md to collect")
  flags.DEFINE_integer("seed", 0, "of the order, of the bootstrap", 0)
  flags.DEFINE_integer("clips", 0, "clips at most; 0: all", lower_bound=0)
  flags.DEFINE_float("embed_mb", 25.0, "largest page that is one file", 0)
  app.run(main, flags_parser=command_line.parser("study"))
