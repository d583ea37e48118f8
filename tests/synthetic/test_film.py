"""Filmed people are what a camera would have of them."""

import numpy as np

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import cut
from data_pipelines.media.audio import read_audio
from data_pipelines.media.video import read_frames
from data_pipelines.sources import folder
from data_pipelines.synthetic import film, render

RECIPE = render.Recipe(
  seed=3,
  split="train",
  identity=4,
  emotion=0,
  level=1,
  take=1,
  seconds=0.4,
  size=64,
)


def test_a_film_shows_and_sounds_as_the_clip(tmp_path):
  clip = render.render_clip(RECIPE)
  path = film.film(RECIPE, tmp_path)
  assert path == tmp_path / "train_00004" / "01.mp4"
  frames = np.stack(list(read_frames(path, clip.fps)))
  true = np.stack([decode_frame(x) for x in clip.frames])
  assert frames.shape == true.shape
  assert np.abs(frames.astype(int) - true).mean() < 6  # H.264
  sound = read_audio(path)[: len(clip.audio)].astype(float)
  assert np.corrcoef(sound, clip.audio[: len(sound)])[0, 1] > 0.9


def test_films_are_kept_and_found_as_people(tmp_path):
  path = film.film(RECIPE, tmp_path)
  before = path.stat().st_mtime_ns
  film.film(RECIPE, tmp_path)
  assert path.stat().st_mtime_ns == before
  film.film(RECIPE._replace(identity=5), tmp_path)
  listed = folder.survey(tmp_path, settings=cut.Settings()).tasks
  assert [task.identity for task in listed] == ["train_00004", "train_00005"]
