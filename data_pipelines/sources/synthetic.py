"""Synthetic faces as a source: one task for each recipe."""

import functools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Int16, UInt8

from data_pipelines.faces.follow import check_share, follow, gaps
from data_pipelines.faces.tracker import Tracker, bridge
from data_pipelines.media import decoder
from data_pipelines.media.error import MediaError, warn
from data_pipelines.media.loudness import levelled
from data_pipelines.sources import recordings
from data_pipelines.sources.recordings import Recording
from data_pipelines.sources.task import Labels, Licence, Survey, Task
from data_pipelines.synthetic import recorded_speech, render
from data_pipelines.synthetic.aligner import (
  Aligner,
  AlignmentError,
  PocketSphinx,
  words_of,
)
from data_pipelines.synthetic.identity import sample
from data_pipelines.synthetic.recorded_speech import Recorded
from speak_jax import spec

LICENCE = Licence(
  "none", "", "These faces and voices are drawn: they show nobody."
)
RECORDED = Licence(
  "the owner's own",
  "",
  "The faces are drawn and show nobody; the voices are your own files: you "
  "answer for the rights in them and for the consent of the people heard.",
)
MIN_FRAMES = 5  # of a recording: SyncNet's 0.2 s


def _render(
  recipe: render.Recipe,
  meshes: bool,
  voice: tuple[Recording, Callable[[], Aligner]] | None,
) -> list[spec.Record]:
  """Renders the clip; a module's function, so that tasks can be pickled."""
  mesh_of = partial(read_mesh, recipe) if meshes else None
  said = recorded(recipe, voice[0], voice[1]()) if voice else None
  return [render.render_clip(recipe, mesh_of, said)]


def recorded(
  recipe: render.Recipe, recording: Recording, aligner: Aligner
) -> Recorded:
  """Reads a recording as what the person of a clip says.

  A longer one than `recipe.seconds` is cut to that, somewhere.

  Raises:
    MediaError: it cannot be read, is too short, or its sentence cannot be
      aligned with it.
  """
  path = recording.path
  audio = levelled(decoder.read_audio(path))
  rng = np.random.default_rng((*render.key_of(recipe), 4))
  start, frames = recorded_speech.stretch(
    len(audio), recipe.seconds, recipe.fps, rng
  )
  if frames < MIN_FRAMES:
    raise MediaError(path, f"{frames} frames long, fewer than {MIN_FRAMES}")
  try:
    phones = aligner.align(audio, words_of(recording.sentence))
  except AlignmentError as error:
    raise MediaError(path, str(error)) from error
  person = sample(recipe.seed, recipe.split, recipe.identity)
  return Recorded(
    recorded_speech.speech_of(
      audio,
      phones,
      start,
      round(frames * spec.samples_per_frame(recipe.fps)),
      recorded_speech.articulation_of(person),
    ),
    recording.name,
    recording.sentence,
  )


def read_mesh(
  recipe: render.Recipe, frames: UInt8[np.ndarray, "n s s 3"]
) -> Int16[np.ndarray, "n 468 3"]:
  """FaceMesh's points of a drawn clip's frames, as records hold them.

  Frames in which it sees no face are interpolated, with a warning.

  Raises:
    MediaError: it sees one in less than half of them.
    MissingModelError: says how to fetch the networks.
  """
  seen = follow(
    recipe.clip, frames, recipe.fps, tracker=_tracker(), rule="largest"
  )
  check_share(recipe.clip, seen.found)
  if not seen.found.all():
    missing = gaps(seen.found, recipe.fps)
    warn(recipe.clip, f"no face from {missing}, interpolated")
  return spec.stored_mesh(bridge(seen).mesh, recipe.size)


@functools.cache
def _tracker() -> Tracker:
  """One tracker a process: its networks take a while to load."""
  return Tracker()


def survey(
  recipes: Sequence[render.Recipe],
  voices: Sequence[Recording],
  *,
  meshes: bool,
  seed: int,
) -> Survey:
  """A task for each clip of people who speak with recorded speech.

  Args:
    recipes: Of the clips; see `render.recipes`.
    voices: What there is to say; see `recordings.find`.
    meshes: Whether FaceMesh reads `spec.Record.mesh` off the frames.
    seed: Chooses who says what.

  Raises:
    ValueError: one line: PocketSphinx is not installed, or there are too few
      recordings.
  """
  PocketSphinx()  # now, not in a worker
  spoken = recordings.assign(voices, recipes, seed)
  return Survey(tasks(recipes, meshes=meshes, spoken=spoken), [], RECORDED)


def tasks(
  recipes: Sequence[render.Recipe],
  *,
  meshes: bool = False,
  spoken: Sequence[Recording] | None = None,
  aligner: Callable[[], Aligner] = PocketSphinx,
) -> list[Task]:
  """A task for each clip of a data set.

  Args:
    recipes: Of the clips; see `render.recipes`.
    meshes: Whether FaceMesh reads `spec.Record.mesh` off the frames.
    spoken: What the person of each clip speaks with; None: drawn speech.
    aligner: Makes what aligns the recordings, in a worker process.
  """
  voices: Sequence[Recording | None] = spoken or [None] * len(recipes)
  return [
    Task(
      clip=recipe.clip,
      identity=f"{recipe.split}_{recipe.identity:05d}",
      split=recipe.split,
      records=partial(
        _render, recipe, meshes, (voice, aligner) if voice else None
      ),
      file=voice.path if voice else "",
      labels=Labels(recipe.emotion, recipe.level, "front"),
    )
    for recipe, voice in zip(recipes, voices, strict=True)
  ]
