"""How well the judge reads rendered frames that it has not judged."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from speak_jax import spec
from speak_jax.common.batching import in_batches
from speak_jax.metrics import identity as identity_metrics
from speak_jax.metrics import sums
from speak_jax.models import judge as models
from speak_jax.tools.train_judge.faces import Faces

_apply = jax.jit(models.apply)


def judge_all(params: Any, frames: UInt8[np.ndarray, "n h w 3"]) -> Any:
  """`models.judge.apply` over any number of frames."""
  return models.Judgement(*in_batches(lambda x: _apply(params, x), frames))


def score(params: Any, faces: Faces) -> dict[str, float]:
  """How well the judge reads rendered frames, {metric: value}."""
  judged = judge_all(params, faces.frames)
  miss = np.linalg.norm(judged.landmarks - faces.landmarks, axis=-1)
  clear = (faces.level >= 2) & (faces.emotion > 0) | (faces.emotion == 0)
  right = judged.emotion.argmax(-1) == faces.emotion
  scores = {
    "frames": float(len(faces.frames)),
    "people": float(len(np.unique(faces.identity))),
    "landmarks_px": float(miss.mean()),
    "mouth_landmarks_px": float(miss[:, spec.MOUTH].mean()),
    "emotion": float(right[clear].mean()),
    "opening_r": sums.pearson(
      sums.pearson_row(judged.opening, faces.mouth_open)[None]
    ),
    "identity_auc": identity_metrics.auc(judged.identity, faces.identity),
    **_cosines(judged.identity, faces.identity),
  }
  for i, name in enumerate(("yaw", "pitch", "roll")):
    pred, true = judged.pose[:, i : i + 1], faces.pose[:, i : i + 1]
    scores[f"{name}_mae"] = float(np.abs(pred - true).mean())
    scores[f"{name}_r2"] = sums.r2(sums.r2_row(pred, true)[None])
  for level in (1, 2, 3):
    chosen = (faces.level == level) & (faces.emotion > 0)
    if chosen.any():
      scores[f"emotion_level{level}"] = float(right[chosen].mean())
  return scores


def _cosines(
  embeddings: Float[np.ndarray, "n d"], people: Int[np.ndarray, "n"]
) -> dict[str, float]:
  """Mean cosine of two frames of one person, and of two people."""
  near = embeddings @ embeddings.T
  same = people[:, None] == people
  np.fill_diagonal(near, np.nan)
  return {
    "identity_same": float(np.nanmean(near[same])),
    "identity_other": float(np.nanmean(near[~same])),
  }
