"""What a source hands to `prepare`: raw clips, and what makes their records."""

from collections.abc import Callable
from typing import NamedTuple

from speak_jax import spec


class Labels(NamedTuple):
  """What is known of a raw clip before it is opened; as in `spec.Record`."""

  emotion: int = spec.UNKNOWN
  level: int = 0
  view: str = ""


class Task(NamedTuple):
  """One raw clip. Picklable, so that any worker process can run it.

  `records` decodes, tracks and crops; it returns one record for each usable
  track and raises `media.error.MediaError`, which names file and reason, when
  there is none.
  """

  clip: str  # unique in its data set; names the rejected clip
  identity: str
  # "train" or "test"; all clips of an identity have the same, unless clips or
  # moments of one are held out.
  split: str
  records: Callable[[], list[spec.Record]]
  file: str = ""  # the raw video, if there is one: named when its worker dies
  labels: Labels = Labels()
  sound: str = ""  # its sound, if that is another file


class Licence(NamedTuple):
  """The terms under which raw clips may be used."""

  name: str
  terms_url: str
  line: str  # what a user has to know, in one sentence


class Passed(NamedTuple):
  """Files or folders of one kind that a source does not use."""

  kind: str  # in the plural, with what to do about it
  names: list[str]  # a line each


class Survey(NamedTuple):
  """What a source found on disk."""

  tasks: list[Task]
  gaps: list[str]  # lines: what the layout should have and has not
  licence: Licence
  passed: tuple[Passed, ...] = ()
