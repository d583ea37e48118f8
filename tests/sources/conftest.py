"""A drawn person, filmed once, in the formats that the public sets come in."""

import json
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from data_pipelines.dataset import opening
from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.ingest.run import prepare
from data_pipelines.media.error import MediaWarning
from data_pipelines.media.mp4 import write_video
from data_pipelines.sources.task import Survey
from data_pipelines.synthetic import render
from speak_jax import spec
from tests.sources.recipe import RECIPE


class Film(NamedTuple):
  """Files of one film of 2.2 s."""

  mp4: Path
  mute: Path  # an mp4 without sound
  flv: Path
  wav: Path
  m4a: Path
  mp3: Path
  cut_off: Path  # an mp4 without its first half, and so its index


class Prepared(NamedTuple):
  """What `prepare` made of a survey."""

  clips: dict[str, spec.Record]
  splits: dict[str, str]  # by clip
  rejects: dict[str, str]  # clip to reason


@pytest.fixture(scope="session")
def film(tmp_path_factory, face_models) -> Film:
  """The film; rendered once for all tests."""
  folder = tmp_path_factory.mktemp("film")
  clip = render.render_clip(RECIPE)
  frames = np.stack([decode_frame(x) for x in clip.frames])
  made = Film(
    mp4=folder / "a.mp4",
    mute=folder / "mute.mp4",
    flv=folder / "a.flv",
    wav=folder / "a.wav",
    m4a=folder / "a.m4a",
    mp3=folder / "a.mp3",
    cut_off=folder / "cut_off.mp4",
  )
  write_video(made.mp4, frames, clip.fps, clip.audio)
  write_video(made.mute, frames, clip.fps)
  write(made.flv, clip.audio, "libmp3lame", 22_050, frames)
  write(made.wav, clip.audio, "pcm_s16le")
  write(made.m4a, clip.audio, "aac")
  write(made.mp3, clip.audio, "libmp3lame")
  whole = made.mp4.read_bytes()
  made.cut_off.write_bytes(whole[len(whole) // 2 :])
  return made


def write(path, audio, codec, rate=spec.SAMPLE_RATE_HZ, frames=()):
  """Writes sound, and pictures as Flash video, with PyAV."""
  with av.open(str(path), "w") as out:
    video = out.add_stream("flv", rate=25) if len(frames) else None
    sound = out.add_stream(codec, rate=rate, layout="mono")
    if video is not None:
      video.height, video.width = frames[0].shape[:2]
      video.pix_fmt, video.bit_rate = "yuv420p", 2_000_000
      for i, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts = i
        out.mux(video.encode(picture))
      out.mux(video.encode(None))
    chunk = av.AudioFrame.from_ndarray(audio[None], format="s16", layout="mono")
    chunk.sample_rate, chunk.pts = spec.SAMPLE_RATE_HZ, 0
    out.mux(sound.encode(chunk))
    out.mux(sound.encode(None))


@pytest.fixture
def lay():
  """Puts files into a tree: name below the root to file, text or nothing."""

  def tree(root: Path, files: dict[str, Path | str]) -> Path:
    for name, content in files.items():
      path = root / name
      path.parent.mkdir(parents=True, exist_ok=True)
      if isinstance(content, str):
        path.write_text(content)
      else:
        os.link(content, path)
    return root

  return tree


@pytest.fixture
def prepare_twice(tmp_path):
  """Prepares a survey, twice; the second run must leave every byte."""

  def run(survey: Survey) -> Prepared:
    out = tmp_path / "prepared"
    meta = {"licence": survey.licence._asdict()}
    contents = []
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", MediaWarning)
      for _ in range(2):
        prepare(survey.tasks, out, workers=0, meta=meta, max_reject=0.9)
        contents.append(
          {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}
        )
    assert contents[0] == contents[1]
    assert survey.licence.line in (out / "prepare.json").read_text()
    clips, splits = {}, {}
    for split in {task.split for task in survey.tasks}:
      for record in opening.open_records(out, split):
        clips[record.clip] = record
        splits[record.clip] = split
    lines = (out / "rejects.jsonl").read_text().splitlines()
    rejects = {x["clip"]: x["reason"] for x in map(json.loads, lines)}
    return Prepared(clips, splits, rejects)

  return run


@pytest.fixture
def labels():
  """Emotion, level and view of a record, the emotion by name."""

  def of(record: spec.Record) -> tuple[str, int, str]:
    emotion = spec.EMOTIONS[record.emotion] if record.emotion >= 0 else ""
    return emotion, record.level, record.view

  return of
