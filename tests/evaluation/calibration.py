"""What metrics say of real clips against damaged copies of themselves.

  python -m tests.evaluation.calibration ../shared/data/real/clips

Reproduces a calibration table that was measured once with another detector:
it tells how much of a figure is codec, a pixel, or the detector's own noise.
"""

import itertools
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from data_pipelines.faces import align
from data_pipelines.faces.tracker import Tracker, bridge
from data_pipelines.media import video
from data_pipelines.media.warp import warp
from speak_jax.evaluation import metric_table
from speak_jax.evaluation.readers import aligned
from speak_jax.metrics import image, landmarks, sums

SIZE, FRAMES, LATE = 256, 30, 10
MEASURES = ("psnr", "ssim", "m_lmd", "f_lmd")
EXTRA = ("wrapped_psnr", "gaussian_ssim", "m_lmd_eyes", "f_lmd_eyes", "missed")
Table = dict[tuple[str, str], metric_table.MetricValue]  # (pair, measure)


def crop(path: Path, tracker: Tracker, count: int) -> np.ndarray:
  """The first frames of a clip in the static 256 px crop of its records."""
  frames = list(itertools.islice(video.read_frames(path), count))
  track = bridge(tracker.track(frames))
  matrix = align.square(track.landmarks, SIZE)
  return np.stack([warp(frame, matrix, SIZE) for frame in frames])


def h264(frames: np.ndarray, crf: int) -> np.ndarray:
  """Through H.264 (libx264, preset medium, yuv420p) and back."""
  with tempfile.TemporaryDirectory() as folder:
    path = str(Path(folder) / "clip.mp4")
    with av.open(path, "w") as out:
      stream = out.add_stream("libx264", rate=25)
      stream.height, stream.width = frames.shape[1:3]
      stream.pix_fmt = "yuv420p"
      stream.options = {"crf": str(crf), "preset": "medium", "threads": "1"}
      for frame in frames:
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        out.mux(stream.encode(picture))
      out.mux(stream.encode(None))
    return np.stack(list(video.read_frames(path)))


def pairs(
  frames: np.ndarray,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """(name, damaged, true) for every row of the table, 30 frames each."""
  true = frames[:FRAMES]
  yield "itself", true, true
  yield "H.264 crf18", h264(true, 18), true
  yield "H.264 crf28", h264(true, 28), true
  yield "shifted by 1 px", np.roll(true, 1, 2), true
  yield "down to 128 and up", np.stack([_coarse(x) for x in true]), true
  yield "first frame repeated", np.repeat(true[:1], len(true), 0), true
  yield "0.4 s late", true, frames[LATE : LATE + FRAMES]


def _coarse(frame: np.ndarray) -> np.ndarray:
  half = cv2.resize(frame, (SIZE // 2,) * 2, interpolation=cv2.INTER_AREA)
  return cv2.resize(half, (SIZE,) * 2, interpolation=cv2.INTER_CUBIC)


def wrapped_psnr(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
  """PSNR with the mistake of old scripts: grey, all in uint8, wraps."""
  grey = [
    np.stack([cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in side])
    for side in (pred, true)
  ]
  error = ((grey[0] - grey[1]) ** 2).mean((1, 2))
  return np.minimum(10 * np.log10(255**2 / error.clip(1e-12)), 100)


def measure(
  clips: Iterable[Path], tracker: Tracker, only: tuple[str, ...] = ()
) -> tuple[Table, Table]:
  """The table on static crops, and the same on aligned 128 px crops.

  Args:
    clips: Videos of one face.
    tracker: The landmark detector; it reads every side anew.
    only: Names of pairs; all of them when empty.
  """
  metric_tables = metric_table.MetricTable(), metric_table.MetricTable()
  for path in clips:
    frames = crop(path, tracker, FRAMES + LATE)
    for name, damaged, true in pairs(frames):
      if only and name not in only:
        continue
      ours, theirs = tracker.track(damaged), tracker.track(true)
      _add(metric_tables[0], name, damaged, true, ours, theirs)
      cuts = [
        aligned.align(x, seen.landmarks)
        for x, seen in ((damaged, ours), (true, theirs))
      ]
      both = cuts[0].found & cuts[1].found
      a, b = cuts[0].frames[both], cuts[1].frames[both]
      metric_tables[1].add(f"{name}/psnr", sums.mean_row(image.psnr(a, b)))
      metric_tables[1].add(f"{name}/ssim", sums.mean_row(image.ssim(a, b)))
      for measure in ("m_lmd", "f_lmd"):
        run = getattr(landmarks, measure)
        values = run(cuts[0].landmarks, cuts[1].landmarks)
        metric_tables[1].add(f"{name}/{measure}", sums.found_row(values))
  static, upright = (table.values(0) for table in metric_tables)
  return _table(static), _table(upright)


def _add(table, name, damaged, true, ours, theirs) -> None:
  table.add(f"{name}/psnr", sums.mean_row(image.psnr(damaged, true)))
  table.add(f"{name}/ssim", sums.mean_row(image.ssim(damaged, true)))
  wrapped = wrapped_psnr(damaged, true)
  table.add(f"{name}/wrapped_psnr", sums.mean_row(wrapped))
  gaussian = image.gaussian_ssim(damaged, true)
  table.add(f"{name}/gaussian_ssim", sums.mean_row(gaussian))
  found = landmarks.distances(ours.landmarks, theirs.landmarks, SIZE)
  for measure, values in found._asdict().items():
    table.add(f"{name}/{measure}", sums.found_row(values))
  missed = (~ours.found).astype(float)
  table.add(f"{name}/missed", sums.mean_row(missed))


def _table(found: metric_table.MetricValues) -> Table:
  split = {name: name.rsplit("/", 1) for name in found}
  return {(a, b): found[name] for name, (a, b) in split.items()}


def markdown(table: Table, measures: Iterable[str]) -> str:
  """One row a pair; value and 95 % interval over clips."""
  measures = list(measures)
  names = list(dict.fromkeys(pair for pair, _ in table))
  lines = [
    "| pair | " + " | ".join(measures) + " |",
    "|" + "---|" * (len(measures) + 1),
  ]
  for name in names:
    cells = [
      f"{f.value:.3f} ({f.low:.3f} to {f.high:.3f})"
      for f in (table[name, measure] for measure in measures)
    ]
    lines.append(f"| {name} | " + " | ".join(cells) + " |")
  return "\n".join(lines)


def main() -> None:
  """Prints both tables for all clips of a folder, and for the first six."""
  clips = sorted(Path(sys.argv[1]).glob("*.mp4"))
  tracker = Tracker()
  for chosen in (clips[:6], clips):
    static, upright = measure(chosen, tracker)
    print(f"\n{len(chosen)} clips, static 256 px crop\n")
    print(markdown(static, (*MEASURES, *EXTRA)))
    print(f"\n{len(chosen)} clips, aligned 128 px crop\n")
    print(markdown(upright, MEASURES))


if __name__ == "__main__":
  main()
