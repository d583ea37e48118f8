"""Whether a long video costs more memory than a short one, and decays.

As `speak bench --subjects endless` makes it, looked at minute by minute.

  python -m tests.benchmarks.endless [--seconds 10,600] [--pose] [--size 128]

Makes a video of the example portrait and so many seconds of the example
sentence, over and over, each in a process of its own, and looks at it minute by
minute. --pose adds a video of head motion of 256 px that is as long. Prints,
after the machine, of each video:

  peak MiB   the most memory that the process has had, and that any process has
             had that decodes for it
  grows      MiB from the end of its first minute to the end of its last
  frames/s   of each minute: median, and lowest to highest
  samples    by which it ends beside its sound
  sharp      gradient energy of a minute: median, spread, last beside first
  apart      how far the person is from the photograph by the judge of identity:
             the same, and by how much it rises in an hour, a straight line laid
             through the minutes, with its standard error
  turned     degrees that the head is turned aside, and the correlation of that
             with `apart` over minutes

A spread is the standard deviation over minutes, in percent of the median. Of
videos shorter than two minutes both halves take the place of minutes.
"""

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.media import mp4
from data_pipelines.synthetic import render
from speak_jax.bench import endless, inputs, machine

POSE_PX, LOOP_S = 256, 10.0  # of the video of head motion


def film(path: Path, seconds: float) -> None:
  """Writes a drawn head that moves, forth and back over ten seconds.

  Its packets are copied as often as they are wanted.
  """
  (recipe,) = inputs.people(1, LOOP_S, POSE_PX)
  frames = [decode_frame(x) for x in render.render_clip(recipe).frames]
  once = [*frames, *frames[-2:0:-1]]
  wanted = round(seconds * 25)
  if wanted < len(once):
    mp4.write_video(path, once[:wanted])
    return
  unit = path.with_name("unit.mp4")
  mp4.write_video(unit, once)
  with av.open(str(path), "w") as out:
    stream = None
    for begin in range(0, wanted, len(once)):
      with av.open(str(unit)) as file:
        video = file.streams.video[0]
        stream = stream or out.add_stream_from_template(video)
        for packet in file.demux(video):
          if packet.size:
            shift = round(begin / 25 / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = stream
            out.mux(packet)


def line(values: np.ndarray) -> tuple[float, float]:
  """Rise in an hour of a straight line through minutes, and its error."""
  if len(values) < 3:
    return np.nan, np.nan
  hours = np.arange(len(values)) / 60
  (slope, _), spread = np.polyfit(hours, values, 1, cov="unscaled")
  rest = values - np.polyval(np.polyfit(hours, values, 1), hours)
  error = np.sqrt(spread[0, 0] * (rest**2).sum() / (len(values) - 2))
  return float(slope), float(error)


def said(name: str, values: np.ndarray) -> str:
  """Median, spread, and the last minute beside the first."""
  middle = np.median(values)
  return (
    f"{name} {middle:.3f} (spread {values.std() / middle:.2%}, last beside"
    f" first {values[-1] / values[0] - 1:+.2%})"
  )


def row(seconds: float, has_pose: bool, size: int) -> str:
  """Makes and looks at one video; the lines that say what was found."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    wanted = inputs.voice(folder / endless.VOICE, seconds, endless.EXTRA)
    if has_pose:
      film(folder / endless.POSE, seconds)
    cost = endless.made(folder, size)
    made = folder / endless.MADE
    frames, extra = endless.count(made), endless.heard(made) - wanted
    minutes = endless.looked_at(made)
  mib = cost.minutes_mib
  rates = endless.MINUTE / np.diff(cost.seconds)  # frames/s of each minute
  if len(rates) > 1:  # the last minute may be a part of one
    rates = rates[: frames // endless.MINUTE]
  else:
    rates = np.array([frames / (cost.seconds[-1] - cost.seconds[0])])
  slope, error = line(minutes.apart)
  alike = np.nan
  if len(minutes.apart) > 2:
    alike = np.corrcoef(minutes.apart, minutes.turned)[0, 1]
  grown = f"{mib[-2] - mib[1]:+.0f} MiB" if len(mib) > 3 else "too short"
  return "\n  ".join(
    [
      f"{seconds:g} s, {'a video as long' if has_pose else 'idle'}:",
      f"peak {cost.mib:.0f} MiB, decoders {cost.decoders_mib:.0f} MiB;"
      f" grows: {grown}",
      f"frames/s {np.median(rates):.1f} ({rates.min():.1f} to"
      f" {rates.max():.1f}); {frames} frames; samples {extra:+d}",
      said("sharp", minutes.sharp),
      said("apart", minutes.apart)
      + f", in an hour {slope:+.4f} +- {error:.4f}",
      f"turned {np.median(minutes.turned):.2f} degrees, correlation with apart"
      f" {alike:+.2f}; {len(minutes.apart)} minutes or halves",
    ]
  )


def main() -> None:
  """Reads the flags and prints what was found."""
  parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.endless")
  parser.add_argument("--seconds", default="10,600", help="of sound, of each")
  parser.add_argument("--pose", action="store_true", help="a video as long")
  parser.add_argument("--size", type=int, default=128, help="px")
  args = parser.parse_args()
  print(machine.facts(), machine.moment(), flush=True)
  for seconds in map(float, args.seconds.split(",")):
    print(row(seconds, args.pose, args.size), flush=True)


if __name__ == "__main__":
  main()
