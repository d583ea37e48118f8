"""A run without data draws its people; with meshes, if its config says so."""

import json

import numpy as np

from speak_jax.training import input_pipeline
from tests.stages import small

FACES = {
  "identities": 1,
  "held_out": 1,
  "clips": 1,
  "seconds": 0.2,
  "size": 64,
  "framing": "tight",
  "twins_every": 0,
  "workers": 0,
}


def opened(folder, **more):
  faces = FACES | more
  config = small.config(
    **{f"data__synthetic__{name}": value for name, value in faces.items()}
  )
  sets = input_pipeline.open_data(config, folder)
  meta = json.loads((folder / "data" / "metadata.json").read_text())
  return sets, meta, config


def test_meshes_are_stored_where_the_config_says_so(face_models, tmp_path):
  plain, before, config = opened(tmp_path / "plain")
  full, after, _ = opened(tmp_path / "full", meshes=True)
  # As before there were meshes: data that a run has drawn is found again.
  assert before == {
    **{k: v for k, v in FACES.items() if k not in ("workers", "clips")},
    "source": "synthetic",
    "clips_per_identity": 1,
    "seed": config.seed,
    "fps": config.data.fps,
  }
  assert after == {**before, "meshes": True}
  for split in ("train", "test"):
    assert plain[split].index[0].meshes is False
    mesh = full[split].mesh(0, slice(None), 64)
    assert mesh.shape == (5, 468, 3)
    np.testing.assert_array_equal(
      plain[split][0].landmarks, full[split][0].landmarks
    )
