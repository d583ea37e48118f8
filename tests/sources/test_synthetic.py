"""Drawn people have meshes where that is asked for, and else what they had."""

import json

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from data_pipelines import prepare as command
from data_pipelines.dataset import opening
from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import cut
from data_pipelines.faces.tracker import IBUG, Tracker
from data_pipelines.ingest import run
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.sources import folder, synthetic
from data_pipelines.synthetic import render
from speak_jax import spec

SETTINGS = {
  "seed": 5,
  "identities": 2,
  "held_out": 0,
  "clips_per_identity": 1,
  "seconds": 0.4,
}
INNER = IBUG[17:]  # without the jaw, whose anatomy is another


def content(folder):
  return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize("size", [64, 256])
def test_a_mesh_lies_on_the_drawn_face(face_models, size):
  (one, _) = synthetic.tasks(render.recipes(**SETTINGS, size=size), meshes=True)
  (clip,) = one.records()
  assert clip.mesh.dtype == np.int16 and clip.mesh.shape == (10, 468, 3)
  seen = spec.mesh_px(clip.mesh, 256)
  true = (clip.landmarks + 0.5) * 256 / size - 0.5
  off = np.linalg.norm(seen[:, INNER, :2] - true[:, 17:], axis=-1)
  # What FaceMesh takes a drawn part for: 3 to 5 of 256 px from it.
  assert off.mean() < 5 and off.mean(1).max() < 8
  assert seen[:, 4, 2].max() < seen[:, [234, 454], 2].min()  # nose before ears


def test_a_film_of_drawn_people_has_the_mesh_of_its_landmarks(
  film, prepare_twice, lay, tmp_path
):
  root = lay(tmp_path / "raw", {"anna/a.mp4": film.mp4})
  survey = folder.survey(root, settings=cut.Settings(size=128))
  clips = prepare_twice(survey).clips
  assert clips
  for clip in clips.values():
    assert len(clip.mesh) == len(clip.frames)
    px = spec.mesh_px(clip.mesh, 128)
    np.testing.assert_allclose(px[:, IBUG, :2], clip.landmarks, atol=0.01)
    # And it is where the picture shows the face.
    again = Tracker().track([decode_frame(x) for x in clip.frames[:5]])
    off = np.linalg.norm(again.mesh[..., :2] - px[:5, :, :2], axis=-1)
    assert off.mean() < 2
    assert np.abs(again.mesh[..., 2] - px[:5, :, 2]).mean() < 2


def test_bytes_do_not_depend_on_workers(face_models, tmp_path):
  tasks = synthetic.tasks(render.recipes(**SETTINGS, size=64), meshes=True)
  for workers in (0, 2):
    run.prepare(tasks, tmp_path / str(workers), workers=workers, meta={})
  assert content(tmp_path / "0") == content(tmp_path / "2")
  data = opening.open_records(tmp_path / "2", "train")
  for i in range(2):
    (clip,) = tasks[i].records()
    np.testing.assert_array_equal(data.clip(i).mesh[:], clip.mesh)


def test_the_flag_adds_meshes_and_changes_nothing_else(
  face_models, tmp_path, monkeypatch
):
  flags.FLAGS.mark_as_parsed()
  whole = run.prepare
  monkeypatch.setattr(
    run, "prepare", lambda *args, **more: whole(*args, **more | {"workers": 0})
  )

  def made(name, **values):
    asked = {"identities": 1, "clips-per-identity": 1, "seconds": 0.2}
    with flagsaver.flagsaver(
      source="synthetic",
      output=str(tmp_path / name),
      size=64,
      **asked,
      **values,
    ):
      assert command.main(["prepare"]) == 0
    meta = json.loads((tmp_path / name / "metadata.json").read_text())
    return opening.open_records(tmp_path / name, "train"), meta

  (plain, before), (full, after) = made("plain"), made("full", meshes=True)
  # Sets that were prepared before are found again.
  assert before == {k: v for k, v in after.items() if k != "meshes"}
  assert after["meshes"] is True
  assert full.index[0].meshes and not plain.index[0].meshes
  assert len(full[0].mesh) == 5 and len(plain[0].mesh) == 0
  for name in set(spec.Record._fields) - {"mesh"}:
    np.testing.assert_array_equal(
      getattr(plain[0], name), getattr(full[0], name)
    )


def test_frames_without_a_face_are_interpolated_or_refused(face_models):
  recipe = render.recipes(**SETTINGS, size=64)[0]
  frames = np.stack(
    [decode_frame(x) for x in render.render_clip(recipe).frames]
  )
  whole = synthetic.read_mesh(recipe, frames)
  holes = frames.copy()
  holes[4:6] = 0
  with pytest.warns(MediaWarning, match=r"no face from 0\.16 to 0\.24 s"):
    filled = synthetic.read_mesh(recipe, holes)
  step = (filled[6].astype(int) - filled[3]) / 3
  np.testing.assert_allclose(filled[4], filled[3] + step, atol=1)
  np.testing.assert_array_equal(filled[:4], whole[:4])
  holes[2:8] = 0
  with pytest.raises(MediaError, match="a face in only 40% of the frames"):
    synthetic.read_mesh(recipe, holes)
  with pytest.raises(MediaError, match="no face found"):
    synthetic.read_mesh(recipe, np.zeros_like(frames))
