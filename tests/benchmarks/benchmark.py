"""How fast each part is, on this machine, in one run.

  python -m tests.benchmarks [--preset demo] [--steps 12] [--stages a,b]
  python -m tests.benchmarks --layers [--preset base256]: see layers.py
  python -m tests.benchmarks.loader, .media VIDEO, .scaling: see there

Prints a table: seconds a step of every stage and the share of it that waits
for input; frames a second of the renderer, of `prepare` and of `generate`.
Machines differ and are shared, so nothing is asserted; compare rows of one
run, or the columns "x real time" and "per reference" of two. The reference is
a 512 x 512 matrix product, timed before and after everything else.
"""

import argparse
import contextlib
import functools
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from ml_collections import ConfigDict

from configs import speak as configs
from data_pipelines.dataset import opening
from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import cut
from data_pipelines.faces.nets import MissingModelError
from data_pipelines.faces.tracker import Tracker
from data_pipelines.ingest.run import prepare
from data_pipelines.media.mp4 import write_video
from data_pipelines.sources import folder, synthetic
from data_pipelines.synthetic import render
from speak_jax import spec
from speak_jax.inference.lowering import functions_of, settings_of
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.stages import registry
from speak_jax.stages.init import networks
from speak_jax.training import (
  input_pipeline,
  microbatches,
  sharding,
  state,
  step,
)
from tests import talking
from tests.benchmarks import layers
from tests.stages import small


class Row(NamedTuple):
  """One line of the table."""

  name: str
  value: float
  unit: str  # "frames/s" or "s/step"
  note: str = ""


class Plan(NamedTuple):
  """How much of everything."""

  config: ConfigDict
  stages: tuple[str, ...]
  steps: int  # timed, after one that compiles
  clips: int  # rendered
  seconds: float  # of a clip and of the generated video
  workers: int


def reference() -> float:
  """512 x 512 x 512 matrix products a second, in float32."""
  x = jnp.ones((512, 512))
  product = jax.jit(lambda a: a @ a)
  product(x).block_until_ready()
  count, begin = 0, time.perf_counter()
  while time.perf_counter() - begin < 0.3:
    product(x).block_until_ready()
    count += 1
  return count / (time.perf_counter() - begin)


def recipes(plan: Plan, size: int) -> list[render.Recipe]:
  """Clips of different people."""
  return render.recipes(
    seed=0,
    identities=plan.clips,
    held_out=0,
    clips_per_identity=1,
    seconds=plan.seconds,
    size=size,
    framing="tight",
  )


def renderer(plan: Plan) -> Iterator[Row]:
  """One process, JPEGs and sound included; the first clip warms it up."""
  for size in sorted({plan.config.model.image, 128}):
    warm, *rest = recipes(plan, size)
    render.render_clip(warm)
    begin = time.perf_counter()
    frames = sum(len(render.render_clip(one).frames) for one in rest)
    rate = frames / (time.perf_counter() - begin)
    yield Row(f"renderer, {size} px", rate, "frames/s", "1 process")


def preparing(plan: Plan, out: Path) -> Iterator[Row]:
  """`prepare` as it is called, processes started and shards written."""
  size = plan.config.model.image
  common = {"seed": 0, "size": size, "seconds": plan.seconds}
  # Two people are held out, so that training on it has samples to show.
  made = render.recipes(
    **common,
    identities=plan.clips,
    held_out=2,
    clips_per_identity=2,
    framing="tight",
    twins_every=plan.config.data.synthetic.twins_every,
  )
  tasks = synthetic.tasks(made)
  yield _prepared("prepare synthetic", tasks, out / "synthetic", plan)
  videos = out / "videos"
  videos.mkdir()
  for recipe in recipes(plan, 256):
    _write_clip(videos / f"{recipe.clip}.mp4", render.render_clip(recipe))
  with _skip_without_models() as skipped:
    Tracker()
    settings = cut.Settings(size=size)
    found = folder.survey(videos, settings=settings, held_out=0.0).tasks
    yield _prepared("prepare folder", found, out / "folder", plan)
  yield from skipped("prepare folder")


def _prepared(name: str, tasks: list, out: Path, plan: Plan) -> Row:
  begin = time.perf_counter()
  with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
    summary = prepare(tasks, out, workers=plan.workers, meta={})
  rate = summary.frames / (time.perf_counter() - begin)
  return Row(name, rate, "frames/s", f"{plan.workers} processes, start-up")


def stage_steps(plan: Plan, name: str, data: Path) -> Iterator[Row]:
  """Steps of one stage as the loop makes them, each waited for."""
  mesh = sharding.make_mesh(plan.config.mesh.data, plan.config.mesh.model)
  config, stages, _ = microbatches.fit_to_devices(
    plan.config, mesh.shape["data"]
  )
  stage = stages[name]
  current = state.init_state(stage, 0, {})
  placing = sharding.state_sharding(current, mesh, config.mesh.min_shard_size)
  current = sharding.shard(current, placing)
  clips = opening.open_records(data, "train")
  devices = len(mesh.local_devices)
  batches = input_pipeline.batches(
    config, name, clips, 0, True, (0, 1), devices
  )
  phases = step.jit_phases(stage, placing, mesh)
  key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
  waits, walls = [], []
  for number in range(plan.steps + 1):
    begin = time.perf_counter()
    batch = next(batches)
    waits.append(time.perf_counter() - begin)
    placed = sharding.shard_batch(batch, mesh)
    current, _ = step.train_step(phases, current, placed, key, number)
    jax.block_until_ready(current)
    walls.append(time.perf_counter() - begin)
  share = sum(waits[1:]) / sum(walls[1:])
  note = f"batch {config[name].batch}, {share:.1%} of it waits for input"
  yield Row(f"{name} step", float(np.median(walls[1:])), "s/step", note)
  yield Row(f"{name} first step", walls[0], "s/step", "compilation")


def generating(plan: Plan, out: Path) -> Iterator[Row]:
  """The command's work with fresh weights: the whole, and frames alone."""
  config = plan.config
  settings = settings_of(config)
  stage = registry.STAGES["speak"].make(config)
  started = state.init_state(stage, 0, {})
  variables = {
    name: {"params": started.params[name], **started.vars.get(name, {})}
    for name in ("encoders", "speak")
  }
  functions = functions_of(networks(config), settings)
  made = Synthesizer(functions, variables, settings)
  size, n = settings.image, round(plan.seconds * settings.fps)
  rng = np.random.default_rng(0)
  sound = rng.integers(-9000, 9000, settings.samples * n, np.int16)
  sound = sound[: round(n * spec.samples_per_frame(settings.fps))]
  inputs = (
    rng.integers(0, 256, (size, size, 3), np.uint8),
    rng.uniform(0, size, (68, 2)),
    rng.integers(0, 256, (n, size, size, 3), np.uint8),
    rng.integers(0, 256, (8, settings.emotion, settings.emotion, 3), np.uint8),
    sound,
  )
  compiling = _time(lambda: made.video(*inputs))
  seconds = _time(lambda: made.video(*inputs))
  yield Row("generate, frames alone", n / seconds, "frames/s", "codes included")
  yield Row("generate, first call", compiling, "s/step", "compilation")
  clip = render.render_clip(recipes(plan, 256)[0])
  _write_clip(out / "drive.mp4", clip)
  picture = decode_frame(clip.frames[0])
  cv2.imwrite(str(out / "face.png"), picture[..., ::-1])
  soundfile.write(out / "speech.wav", clip.audio, spec.SAMPLE_RATE_HZ)
  with _skip_without_models() as skipped:
    run = functools.partial(
      talking.generate,
      made,
      identity=out / "face.png",
      audio=out / "speech.wav",
      pose=out / "drive.mp4",
      emotion=out / "drive.mp4",
      output=out / "out.mp4",
      tracker=Tracker(),
      say=lambda line: None,
    )
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
      seconds = _time(run)
    rate = len(clip.frames) / seconds
    yield Row("generate, files to file", rate, "frames/s", "faces tracked")
  yield from skipped("generate, files to file")


@contextlib.contextmanager
def _skip_without_models() -> Iterator[Callable[[str], list[Row]]]:
  """Turns missing face models into a row that says so."""
  reasons: list[str] = []
  try:
    yield lambda name: [
      Row(name, float("nan"), "frames/s", f"skipped: {r}") for r in reasons
    ]
  except MissingModelError as error:
    reasons.append(str(error))


def _write_clip(path: Path, record: spec.Record) -> None:
  frames = (decode_frame(jpeg) for jpeg in record.frames)
  write_video(path, frames, float(record.fps), record.audio)


def _time(work: Callable[[], Any]) -> float:
  begin = time.perf_counter()
  work()
  return time.perf_counter() - begin


def run(plan: Plan) -> Iterator[Row]:
  """All rows, as they are measured."""
  with tempfile.TemporaryDirectory() as name:
    out = Path(name)
    yield from renderer(plan)
    yield from preparing(plan, out)
    for stage in plan.stages:
      yield from stage_steps(plan, stage, out / "synthetic")
    yield from generating(plan, out)


def show(plan: Plan) -> list[Row]:
  """Prints the table, row by row, and returns it."""
  before = reference()
  device = jax.devices()[0]
  print(f"{len(jax.devices())} x {device.device_kind}, {device.platform}")
  print(f"reference: {before:.0f} products/s")
  print(f"{'':26}{'':>10} {'':9}{'x real time':>12}{'per reference':>15}")
  fps, rows = plan.config.data.fps, []
  for row in run(plan):
    rows.append(row)
    framed = row.unit == "frames/s"
    real = f"{row.value / fps:.2f}" if framed else ""
    # So many reference products fit into one step, or one frame.
    cost = before / row.value if framed else before * row.value
    print(
      f"{row.name:26}{row.value:10.4g} {row.unit:9}{real:>12}{cost:15.4g}"
      f"  {row.note}",
      flush=True,
    )
  print(f"reference afterwards: {reference():.0f} products/s")
  return rows


def minimal() -> Plan:
  """The least that runs every function here: a test of the benchmark."""
  config = small.config(data__synthetic__twins_every=0)
  return Plan(config, ("syncnet",), 1, 2, 1.0, 1)


def main() -> None:
  """Reads the flags."""
  parser = argparse.ArgumentParser(
    prog="python -m tests.benchmarks",
    description="Prints how fast each part is.",
  )
  parser.add_argument("--preset", help="demo; of the layers, base256")
  parser.add_argument("--steps", type=int, default=12, help="timed, a stage")
  parser.add_argument("--stages", default="syncnet,irfd,speak")
  parser.add_argument("--clips", type=int, default=12)
  parser.add_argument("--seconds", type=float, default=4.0, help="of a clip")
  parser.add_argument("--workers", type=int, default=2)
  parser.add_argument("--minimal", action="store_true", help="only to see it")
  parser.add_argument(
    "--layers", action="store_true", help="every convolution in one thread"
  )
  flags = parser.parse_args()
  if flags.layers:
    model = configs.get_config(flags.preset or "base256").model
    layers.show(model, batch=1, seconds=0.05)
    return
  if flags.minimal:
    show(minimal())
    return
  show(
    Plan(
      config=configs.get_config(flags.preset or "demo"),
      stages=tuple(flags.stages.split(",")),
      steps=flags.steps,
      clips=flags.clips,
      seconds=flags.seconds,
      workers=flags.workers,
    )
  )
