"""The public networks that judge: the official SyncNet v2, LPIPS, Inception."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from speak_jax.common.batching import in_batches
from speak_jax.evaluation.readers.perceptual import (
  FeatureMetric,
  PairedMetric,
  PerceptualMetric,
)
from speak_jax.metrics import image
from speak_jax.models import inception as inception_model
from speak_jax.models import lpips as lpips_model
from speak_jax.pretrained import files, layouts, syncnet
from speak_jax.pretrained.tensors import Converted

BATCH = 8  # frames at a time
FID_EVERY = 5  # frames: neighbours tell little more


class PublicNetworks(NamedTuple):
  """Public networks whose weights were given."""

  syncnet: Converted | None
  perceptual: dict[str, PerceptualMetric]  # by the name of the metric


def load(
  syncnet_path: Path | None, lpips: str, inception: str
) -> PublicNetworks:
  """Opens the weights, and the metrics that need none with them.

  Args:
    syncnet_path: Official SyncNet v2; None: there is none.
    lpips: Files of LPIPS with AlexNet, comma-separated; "" leaves it out.
    inception: File of FID's Inception; "" leaves FID out.

  Raises:
    ValueError: a file is missing, damaged or of another network; one line.
  """
  converted = None
  if syncnet_path:
    converted = syncnet.convert(files.read(syncnet_path))
  perceptual: dict[str, PerceptualMetric] = {
    "gaussian_ssim": PairedMetric(image.gaussian_ssim)
  }
  if lpips:
    alex = _weights(lpips, "lpips")
    perceptual["lpips"] = PairedMetric(
      lambda a, b: in_batches(
        lambda x, y: (lpips_model.distance(alex, x, y),), a, b, size=BATCH
      )[0]
    )
  if inception:
    pool3 = _weights(inception, "inception")
    perceptual["fid"] = FeatureMetric(
      lambda a: in_batches(
        lambda x: (inception_model.features(pool3, x),), a, size=BATCH
      )[0],
      every=FID_EVERY,
    )
  return PublicNetworks(converted, perceptual)


def _weights(name: str, layout: str) -> Any:
  return jax.device_put(layouts.load(name, layout).converted.variables)
