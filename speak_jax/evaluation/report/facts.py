"""How a report's numbers were measured, a line each."""

import os
import platform
from collections.abc import Mapping

import jax

from speak_jax.common import files
from speak_jax.evaluation.dataset import Dataset, held_out_kinds
from speak_jax.evaluation.models import Models, single_irfd, sync_judge
from speak_jax.evaluation.plan import Plan
from speak_jax.evaluation.public_networks import FID_EVERY
from speak_jax.evaluation.report import prose
from speak_jax.pretrained import syncnet


def facts(
  plan: Plan,
  models: Models,
  dataset: Dataset,
  frames_per_second: Mapping[str, float],
) -> dict[str, str]:
  """{what: how it was}, without the minutes that it took.

  Args:
    plan: Names the files of models and weights.
    models: By name.
    dataset: The clips.
    frames_per_second: That each model generates, where it was measured.
  """
  frames = sum(len(clip.frames) for clip in dataset.clips)
  kind = "synthetic faces" if dataset.synthetic else "recorded video"
  device = jax.devices()[0]
  unseen = held_out_kinds(dataset.records)
  restored = {name: model.restored for name, model in models.items()}
  lines = {
    "model": prose.per_model(
      {
        name: f"{plan.models[name]}, preset {x.preset}, {x.size} px"
        for name, x in restored.items()
      }
    ),
    "commit": prose.per_model(
      {name: x.commit or "unknown" for name, x in restored.items()}
    ),
    "data": f"{dataset.name}: {kind}, {len(dataset.clips)} clips, {frames}"
    f" frames, {prose.held_out(dataset.people, unseen)}",
    "seed": str(plan.seed),
    "hardware": f"{device.platform} {device.device_kind}, {os.cpu_count()}"
    f" CPU cores, {platform.machine()}",
    "reader": dataset.reader,
  }
  if parts := single_irfd(models):
    sessions = [row.session for row in dataset.records.index]
    lines["identity pictures"] = prose.identity_pictures(
      parts.same_session, sessions
    )
  if frames_per_second:
    lines["speed"] = prose.per_model(
      {name: f"{x:.1f} frames/s" for name, x in frames_per_second.items()}
    )
  return lines | _networks(plan, models, dataset)


def _networks(plan: Plan, models: Models, dataset: Dataset) -> dict[str, str]:
  """Which networks judged."""
  lines = {}
  if plan.lpips:
    size = dataset.clips[0].frames.shape[1]
    lines["lpips"] = f"v0.1, AlexNet, at {size} px: {plan.lpips}"
  if plan.inception:
    lines["fid"] = f"every {FID_EVERY}th frame, whole crop: {plan.inception}"
  if plan.syncnet:
    lines["syncnet"] = prose.official_weights(
      str(plan.syncnet),
      "official SyncNet v2",
      files.sha256(plan.syncnet),
      syncnet.RELEASED_SHA256,
    )
  elif judge := sync_judge(models):
    alone = len(models) == 1
    lines["syncnet"] = "the run's own" if alone else f"{judge}'s own, for all"
  return lines
