"""The watermark: where it is found, what it costs, when it is wrong."""

import itertools
import time
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

import speak_jax
from data_pipelines.media.image import read_image
from data_pipelines.synthetic import render
from speak_jax import bundle, spec
from speak_jax.bench import changes, inputs
from speak_jax.bench.figure import Figure
from speak_jax.bench.plan import Plan
from speak_jax.common import packaged
from speak_jax.metrics.image import psnr
from speak_jax.provenance import detection
from speak_jax.provenance.marking import of_bundle
from speak_jax.provenance.watermark import Watermark

PX = 256  # longer side of the clips


def figures(plan: Plan) -> Iterator[Figure]:
  """Clips of the example portrait and of drawn people."""
  weights = of_bundle(packaged.PHOTOGRAPH, bundle.read(packaged.PHOTOGRAPH))
  found = dict.fromkeys(changes.WAYS, 0)
  alarms, costs = [], []
  for frames in clips(plan):
    height, width = frames.shape[1:3]
    mark = Watermark(height, width, weights.code)
    marked = np.stack([mark(x) for x in frames])
    costs.append(psnr(marked, frames).mean())
    bare = detection.mean_grey(changes.shipped(frames))
    alarms.append(detection.detect(bare, [weights.code]).false_alarm)
    shipped = changes.shipped(marked)
    for name, way in changes.WAYS.items():
      seen = detection.detect(detection.mean_grey(way(shipped)), [weights.code])
      found[name] += seen.there and seen.code == weights.code
  for name, count in found.items():
    yield Figure(f"found after {name}", f"of {plan.clips} clips", (count,))
  yield Figure(
    "false alarms",
    f"of {plan.clips} clips",
    (sum(x <= detection.ALARM for x in alarms),),
    "clips without a mark in which one is found",
  )
  yield Figure(
    "lowest probability without a mark",
    "",
    (min(alarms),),
    f"below {detection.ALARM:g} a mark counts as found",
    least=detection.ALARM,
  )
  yield Figure("PSNR of marked frames", "dB", (float(np.mean(costs)),))
  note = "of still frames against the truth, which are wrong already"
  people = inputs.people(max(plan.clips - 1, 1), plan.clip_s, PX)
  lost = float(np.mean([_lost(one, weights.code) for one in people]))
  yield Figure("PSNR cost", "dB", (lost,), note, least=0.02)
  for size in plan.sizes:
    yield Figure(f"a frame's mark, {size} px", "ms", (_mark_ms(size),))


def clips(plan: Plan) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
  """Videos without a mark, each of another face; first the example portrait."""
  model = speak_jax.load(watermark=False)
  voice = inputs.speech(plan.clip_s), spec.SAMPLE_RATE_HZ
  drawn = inputs.people(plan.clips - 1, plan.clip_s, PX)
  pictures = (next(inputs.pictures(render.render_clip(x))) for x in drawn)
  for picture in itertools.chain([read_image(packaged.PORTRAIT)], pictures):
    yield model.generate(picture, voice, size=PX).frames


def _lost(recipe: render.Recipe, code: int) -> float:
  """How much nearer to the truth a still first frame is without a mark, dB."""
  truth = np.stack(list(inputs.pictures(render.render_clip(recipe))))
  height, width = truth.shape[1:3]
  marked = Watermark(height, width, code)(truth[0])
  before = psnr(np.repeat(truth[:1], len(truth) - 1, 0), truth[1:])
  after = psnr(np.repeat(marked[None], len(truth) - 1, 0), truth[1:])
  return float((before - after).mean())


def _mark_ms(size: int, times: int = 50) -> float:
  picture = cv2.resize(read_image(packaged.PORTRAIT), (size, size))
  mark = Watermark(size, size, 0)
  mark(picture)
  begin = time.perf_counter()
  for _ in range(times):
    mark(picture)
  return 1000 * (time.perf_counter() - begin) / times
