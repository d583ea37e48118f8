"""Held-out clips of a data set, and who reads their faces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_pipelines.dataset import paths
from data_pipelines.dataset.index import read_metadata
from data_pipelines.dataset.reader import Records
from data_pipelines.dataset.writer import HELD_OUT
from data_pipelines.faces.tracker import Tracker
from data_pipelines.sampling.held_out import EvaluationClip, evaluation_clips
from speak_jax.evaluation.eval_clip import EMOTION_FRAMES, EvalClip, eval_clip
from speak_jax.evaluation.models import NO_PARTS, Models, single_irfd
from speak_jax.evaluation.readers import face_reader
from speak_jax.evaluation.readers.face_reader import Reader
from speak_jax.evaluation.readers.perceptual import (
  FeatureMetric,
  PerceptualMetric,
)
from speak_jax.evaluation.report import prose
from speak_jax.models import judge


class Dataset(NamedTuple):
  """Held-out clips of one data set, and who reads them."""

  name: str  # its folders
  records: Records
  wholes: Sequence[EvaluationClip]
  clips: Sequence[EvalClip]  # the same, as they are measured
  synthetic: bool
  read: Reader
  reader: str  # who that is, and how good

  @property
  def people(self) -> int:
    """How many people the clips are of."""
    return len({clip.person for clip in self.clips})


def held_out_kinds(records: Records) -> set[str]:
  """What of the people is held out, in data sets where it is not all."""
  folders = [x.folder for x in records.members if x.folder]
  metadata = [read_metadata(folder) for folder in folders]
  return {str(x[HELD_OUT]) for x in metadata if HELD_OUT in x}


def named_folders(data: str, models: Mapping[str, Path]) -> dict[str, str]:
  """{name: folder} of a flag such as MEAD=data/mead,data/hdtf.

  Args:
    data: The flag, as `paths.named_folders` reads it; "": the data of the first
      model's run.
    models: By name.

  Raises:
    ValueError: two data sets of one name, or none.
  """
  data = data or str(next(iter(models.values())) / "data")
  folders = paths.named_folders(data)
  return {name: str(folder) for name, folder in folders.items()}


def check(records: Records, models: Models, name: str, *, swap: bool) -> None:
  """Refuses clips that the models cannot be measured on.

  Args:
    records: Held-out clips.
    models: By name.
    name: Name of the data set, for the error.
    swap: Whether donors must be other people.

  Raises:
    ValueError: one clip alone, another frame rate, or one person alone; one
      line.
  """
  if len(records.index) < 2:
    raise ValueError(
      f"{name}: one held-out clip, and other speech must come from another:"
      " prepare with a larger --held-out"
    )
  for model_name, model in models.items():
    fps = model.restored.fps
    for row in records.index:
      if abs(row.fps - fps) > 0.01:
        raise ValueError(
          f"{name}: clip {row.clip} has {row.fps:g} frames/s, the model"
          f" {model_name} makes {fps:g}"
        )
  if swap and len({row.identity for row in records.index}) < 2:
    raise ValueError(
      f"--swap: {name}: donors must be others than its one person"
    )


def load(
  records: Records,
  models: Models,
  perceptual: Mapping[str, PerceptualMetric],
  *,
  name: str,
  limit: int,
) -> Dataset:
  """The clips of a data set, in one crop for all models, that of the largest.

  Args:
    records: Held-out clips.
    models: By name.
    perceptual: Its FID network tells people apart on recorded video.
    name: Name of the data set.
    limit: Clips at most.
  """
  size = max(model.restored.size for model in models.values())
  # Nothing else is shown identity pictures: what speaks has the first frame.
  parts = single_irfd(models) or NO_PARTS
  wholes = list(
    evaluation_clips(
      records,
      size=size,
      face_size=size,
      emotion_frames=EMOTION_FRAMES,
      emotion_input="frame",
      same_session=parts.same_session,
      limit=limit,
    )
  )
  synthetic = all(len(whole.factors) for whole in wholes)
  read, reader = _judge() if synthetic else _tracker(perceptual)
  clips = [eval_clip(whole) for whole in wholes]
  return Dataset(name, records, wholes, clips, synthetic, read, reader)


def _judge() -> tuple[Reader, str]:
  """Who reads rendered faces, and in words."""
  return face_reader.judge_reader(judge.load()), prose.judge_reader()


def _tracker(
  perceptual: Mapping[str, PerceptualMetric],
) -> tuple[Reader, str]:
  """Who reads recorded faces, and in words."""
  fid = perceptual.get("fid")
  if isinstance(fid, FeatureMetric):
    read = face_reader.tracker_reader(Tracker(), fid.run)
    return read, prose.tracker_reader("Inception's pool3")
  read = face_reader.tracker_reader(Tracker())
  return read, prose.tracker_reader("")
