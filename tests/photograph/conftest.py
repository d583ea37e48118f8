"""A drawn person as a photograph, with the points that FaceMesh sees."""

import wave

import numpy as np
import pytest
from PIL import Image

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces.nets import (
  DETECTOR,
  MESH,
  BlazeFace,
  FaceMesh,
  face_roi,
  mesh_roi,
)
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import mp4
from data_pipelines.synthetic import render
from speak_jax import bundle as bundles
from speak_jax.inference import motion_lowering
from speak_jax.stages import motion
from tests.stages import small

SECONDS = 1.0  # of speech


@pytest.fixture(scope="session")
def face_mesh(face_models):
  """Finds the points of the one face of a picture."""
  detector, mesh = (
    net(next(face_models.rglob(name)))
    for net, name in ((BlazeFace, DETECTOR), (FaceMesh, MESH))
  )

  def find(frame):
    (face, *_) = detector.detect(frame)
    points, _ = mesh(frame, face_roi(face))
    points, _ = mesh(frame, mesh_roi(points))
    return points

  return find


@pytest.fixture(scope="session")
def photograph(face_mesh):
  """(picture, FaceMesh's points) of a drawn person who looks ahead."""
  drawn = render.random_frames(3, 48, 256, "tight")
  ahead = np.abs(drawn.pose).max(1) + 100 * drawn.mouth_open
  frame = drawn.frames[int(ahead.argmin())]
  return frame, face_mesh(frame)


@pytest.fixture(scope="session")
def made():
  """(config, variables) of an untrained motion stage."""
  config = small.config()
  params, _ = small.parameters(motion.make(config))
  return config, {"motion": {"params": params["motion"]}}


@pytest.fixture(scope="session")
def bundle(made, tmp_path_factory):
  """Its bundle on disk."""
  config, variables = made
  settings = motion_lowering.settings_of(config)
  expression = motion_lowering.expression_of(config)
  flat = {
    f"motion/params/{layer}/{name}": np.asarray(array)
    for layer, arrays in variables["motion"]["params"].items()
    for name, array in arrays.items()
  }
  content = bundles.Bundle(
    config={"settings": settings._asdict()},
    weights=flat,
    artifacts=motion_lowering.serialize(expression, variables, settings),
  )
  path = tmp_path_factory.mktemp("motion") / "bundle"
  bundles.write(path, content, "# Card\n")
  return path


@pytest.fixture(scope="session")
def files(photograph, tmp_path_factory):
  """A drawn photograph that is no square, speech, and a film of a head."""
  folder = tmp_path_factory.mktemp("inputs")
  frame = np.pad(photograph[0], ((10, 41), (0, 0), (0, 0)), mode="edge")
  Image.fromarray(frame).save(folder / "face.png")
  rng = np.random.default_rng(0)
  with wave.open(str(folder / "speech.wav"), "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(16_000)
    sound = rng.normal(0, 3_000, round(16_000 * SECONDS))
    out.writeframes(sound.astype("<i2").tobytes())
  recipe = render.recipes(
    seed=1,
    identities=1,
    held_out=0,
    clips_per_identity=1,
    seconds=0.6,
    size=160,
    framing="medium",
  )[0]
  film = [decode_frame(x) for x in render.render_clip(recipe).frames]
  mp4.write_video(folder / "pose.mp4", film)
  return folder


@pytest.fixture(scope="session")
def tracker(face_models):
  return Tracker(face_models)
