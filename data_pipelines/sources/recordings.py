"""Recorded speech whose sentences are known, for drawn people to speak with.

A recording is any sound or video file. Its sentence is the text of a file of
its name beside it, `.txt` or `.lab`; without one, its name may be the sentence,
as in the GRID corpus.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.sources import tree, video_files
from data_pipelines.sources.passed_over import PassedOver
from data_pipelines.sources.task import Passed
from data_pipelines.synthetic.aligner import words_of
from data_pipelines.synthetic.render import Recipe

TRANSCRIPTS = (".txt", ".lab")  # in order of preference
KINDS = frozenset((*video_files.OTHERS["sounds"], *video_files.VIDEO))
NO_SENTENCE = "recordings without a sentence (NAME.txt or NAME.lab beside them)"

# Cooke et al. 2006, table I: a letter or digit for each of a sentence's words.
_GRID = (
  {"b": "bin", "l": "lay", "p": "place", "s": "set"},
  {"b": "blue", "g": "green", "r": "red", "w": "white"},
  {"a": "at", "b": "by", "i": "in", "w": "with"},
  # The letters but w, whose name is long; z as the British say it.
  {x: x for x in "abcdefghijklmnopqrstuvxy"} | {"z": "zed"},
  dict(
    zip(
      "z123456789",
      (
        *("zero", "one", "two", "three", "four"),
        *("five", "six", "seven", "eight", "nine"),
      ),
      strict=True,
    )
  ),
  {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


class Recording(NamedTuple):
  """A recording whose sentence is known."""

  name: str  # from the folder, without the suffix
  path: str
  sentence: str


def find(
  folder: str | os.PathLike,
) -> tuple[list[Recording], tuple[Passed, ...]]:
  """Finds recordings in a folder and those below it.

  Returns:
    The recordings, in the order of their names, and what cannot be used.

  Raises:
    ValueError: no such folder, or no recording with a sentence; one line.
  """
  root = tree.root(folder)
  passed = PassedOver(root)
  found = []
  for place in tree.walk(root):
    sentences = tree.stems(place, TRANSCRIPTS)
    for name in place.files:
      stem, suffix = os.path.splitext(name)
      if suffix.lower() not in KINDS:
        continue
      path = os.path.join(place.path, name)
      sentence = grid_sentence(stem)
      if stem in sentences:
        beside = os.path.join(place.path, sentences[stem])
        try:
          sentence = _text(beside)
        except (OSError, ValueError) as error:
          passed.add("sentences that cannot be read", beside, str(error))
          continue
      if not words_of(sentence):
        passed.add(NO_SENTENCE, path)
        continue
      own = os.path.splitext(os.path.relpath(path, root))[0]
      found.append(Recording(own, path, sentence))
  if not found:
    others = "; ".join(f"{len(x.names)} {x.kind}" for x in passed.all())
    raise ValueError(
      f"{folder}: no recordings with a sentence"
      + (f", but {others}" if others else "")
    )
  return sorted(found), passed.all()


def grid_sentence(stem: str) -> str:
  """Spells out the sentence that a file name of the GRID corpus stands for.

  `bbaf2n` is "bin blue at f two now". "" for any other name.
  """
  letters = stem.lower()
  if len(letters) != len(_GRID):
    return ""
  words = [known.get(x, "") for known, x in zip(_GRID, letters, strict=True)]
  return " ".join(words) if all(words) else ""


def assign(
  recordings: Sequence[Recording], recipes: Sequence[Recipe], seed: int
) -> list[Recording]:
  """Chooses a recording for each clip.

  What held-out people say nobody says in training: sentences are divided
  between the splits as the clips are. Each recording of a split is taken once
  before one is taken again.

  Args:
    recordings: All there are.
    recipes: Of the clips.
    seed: Of the choice.

  Raises:
    ValueError: there are two splits and fewer than two sentences.
  """
  rng = np.random.default_rng((505, seed))
  said = {one.name: words_of(one.sentence) for one in recordings}
  sentences = sorted(set(said.values()))
  splits = [recipe.split for recipe in recipes]
  share = splits.count("test") / len(splits)
  if 0 < share < 1 and len(sentences) < 2:
    raise ValueError(
      "one sentence is too few: what held-out people say is not trained on;"
      " --held-out 0 holds nobody out"
    )
  order = rng.permutation(len(sentences)).tolist()
  count = round(share * len(sentences))
  if 0 < share < 1:
    count = min(max(count, 1), len(sentences) - 1)
  held_out = {sentences[k] for k in order[:count]}
  left: dict[str, list[Recording]] = {}
  chosen = []
  for split in splits:
    if not left.get(split):
      pool = [
        x for x in recordings if (said[x.name] in held_out) == (split == "test")
      ]
      left[split] = [pool[k] for k in rng.permutation(len(pool)).tolist()]
    chosen.append(left[split].pop())
  return chosen


def digest(recordings: Sequence[Recording]) -> str:
  """Tells sets of recordings apart, by their names and sentences."""
  text = json.dumps([(one.name, one.sentence) for one in recordings])
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(path: str) -> str:
  """A sentence's file as one line.

  Raises:
    OSError: it cannot be read.
    ValueError: it is not UTF-8.
  """
  with open(path, encoding="utf-8-sig") as file:
    return re.sub(r"\s+", " ", file.read()).strip()
