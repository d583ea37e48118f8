"""Folders of raw videos, and a data set made of toys in place of films."""

import functools
import json
import os

from data_pipelines.faces import cut
from data_pipelines.ingest import run
from data_pipelines.media.error import MediaError
from data_pipelines.sources import folder
from data_pipelines.sources.task import Task
from tests import toy_records


def put(path, content=b"x"):
  """A file, and the folders that it needs."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, "wb") as file:
    file.write(content)
  return path


def survey(root, **options):
  return folder.survey(root, settings=cut.Settings(), **options)


def passed(found):
  return {one.kind: one.names for one in found.passed}


def read_lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def read_number(path):
  """A clip whose pictures say what is in its file, "3" or "bad"."""
  number = path.read_text()[:1]
  if number == "b":
    raise MediaError(path, "no face found")
  return [toy_records.record(int(number), frames=4)._replace(clip=path.stem)]


def prepare_toys(raw, sounds=False, **options):
  made = []

  def make(path):
    made.append(path.stem)
    return read_number(path)

  tasks = [
    Task(
      path.stem,
      f"p{path.stem}",
      "train",
      functools.partial(make, path),
      str(path),
      sound=str(path.with_suffix(".wav")) if sounds else "",
    )
    for path in sorted(raw.glob("*.mp4"))
  ]
  out = raw.parent / "data"
  run.prepare(tasks, out, workers=0, meta={"source": "toy"}, **options)
  return made
