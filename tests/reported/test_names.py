"""Names that nothing can encode, in folders, in lines, on sheets."""

import functools
import os
import shutil
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from data_pipelines import inspect
from data_pipelines.dataset.index import read_index
from data_pipelines.faces.tracker import Tracker
from data_pipelines.ingest import run
from data_pipelines.media import lettering
from data_pipelines.media.error import MediaError, MediaWarning, warn
from data_pipelines.sources.task import Task
from speak_jax.common import names
from speak_jax.evaluation.report import sheets
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass, talking, toy_records
from tests.reported.folders import put, read_lines, survey

NAMES = {  # as bytes on the disk: as text that anything takes
  b"caf\xe9": "caf\\xe9",  # Latin-1
  b"\xed\xa0\x80": "\\xed\\xa0\\x80",  # half a pair
  b"new\nline\x1b[31m\x07": "new\\x0aline\\x1b[31m\\x07",
  "right\u202eleft".encode(): "right\\u202eleft",
  "two\u2028lines".encode(): "two\\u2028lines",
  b"C:\\xe9": "C:\\\\xe9",  # which must not become the first one's
  "Zo\u00eb\U0001f600\u4e2d".encode(): "Zo\u00eb\U0001f600\u4e2d",
  b"L" * 251: "L" * 251,
  b"-o --help": "-o --help",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_text_that_anything_takes(tmp_path, name):
  put(os.path.join(os.fsencode(tmp_path), b"A", name + b".mp4"))
  put(os.path.join(os.fsencode(tmp_path), name[:200], b"1.mp4"), b"y")
  tasks = survey(tmp_path).tasks
  found = {task.clip: task for task in tasks}
  assert set(found) == {
    f"A/{NAMES[name]}",
    f"{names.label(os.fsdecode(name[:200]))}/1",
  }
  for task in tasks:
    assert os.path.exists(task.file)
    for text in (task.clip, task.identity):
      text.encode()
      assert len(text.splitlines()) == 1
    with pytest.raises(MediaError) as error:
      task.records()
    str(error.value).encode()


def test_no_two_names_become_one():
  texts = list(map(names.label, map(os.fsdecode, NAMES)))
  assert texts == list(NAMES.values())
  assert names.label("a\\xe9") != names.label(os.fsdecode(b"a\xe9"))
  assert names.printable("Zo\udcc3\udcab") == "Zo\u00eb"  # in an ASCII locale
  assert names.printable(names.printable("a\nb")) == "a\\x0ab"
  stems = [
    names.file_stem(x) for x in ("a/b", "." * 300, "\u4e2d" * 90, "x" * 300)
  ]
  assert stems[0] == "a_b" and names.file_stem("a_b", marked=True) != "a_b"
  assert all(len(x.encode()) < 140 and x[:1] != "." for x in stems)


def test_a_folder_that_libraries_cannot_name_is_refused(tmp_path):
  for good in ("a", "Zo\u00eb \U0001f600", str(tmp_path)):
    names.check_utf8(good)
  with pytest.raises(ValueError, match=r"^a\\xe9: is no UTF-8"):
    names.check_utf8("a\udce9")


def test_what_is_said_of_a_file_is_one_line():
  with pytest.warns(MediaWarning) as said:
    warn(os.fsdecode(b"a\xe9\n.mp4"), "odd")
  assert str(said[0].message) == "a\\xe9\\x0a.mp4: odd"


@pytest.mark.parametrize(
  "locale",
  [
    {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
  ],
)
def test_such_names_end_no_run(tmp_path, film, locale):
  """make_names.sh: each good one is prepared, each bad one is in the list."""
  raw, out = os.fsencode(tmp_path / "raw"), tmp_path / "out"
  good = [b"caf\xe9", "Zo\u00eb \u4e2d".encode(), b"L" * 251]
  for i, name in enumerate(good):  # no two of the same content
    put(os.path.join(raw, b"A", name + b".mp4"), film.read_bytes() + b"%d" % i)
  bad = put(os.path.join(raw, b"B", b"bad\xff\n.mp4"), b"no video")
  command = [
    "--source",
    "folder",
    "--input",
    os.fsdecode(raw),
    "--workers",
    "1",
  ]
  run = subprocess.run(
    [sys.executable, "-m", "data_pipelines.prepare", *command, "--output", out],
    env=os.environ | locale,
    capture_output=True,
    timeout=600,
  )
  assert run.returncode == 0, run.stderr
  (run.stdout + run.stderr).decode("ascii")
  clips = {row.clip for row in read_index(out)}
  assert clips == {f"A/{names.label(os.fsdecode(name))}" for name in good}
  (line,) = read_lines(out / "rejects.jsonl")
  assert line["clip"] == "B/bad\\xff\\x0a"
  assert line["file"] == names.printable(os.fsdecode(bad))
  if "PYTHONUTF8" in locale:
    return
  command = ["data_pipelines.inspect", out, "--sheet", tmp_path / "s.png"]
  run = subprocess.run(
    [sys.executable, "-m", *command],
    env=os.environ | locale,
    capture_output=True,
    timeout=600,
  )
  assert run.returncode == 0, run.stderr


def ink(text, width=400, **options):
  picture = np.full((20, width, 3), 255, np.uint8)
  lettering.write(picture, text, (3, 14), **options)
  return picture


@pytest.mark.parametrize(
  "name",
  [
    "\u00c4nna",
    "\u0141\u00f3d\u017a",
    "\u0395\u03bb\u03ad",
    "\u0414\u043c\u0439",
    "Nguy\u1ec5n",
  ],
)
def test_a_name_is_drawn_as_it_is_written(name):
  assert lettering.drawable(name) == name
  drawn = ink(name)
  columns = (drawn < 128).any((0, 2))
  assert columns.sum() >= 3 * len(name)
  # No letter is a question mark, or the box of a font that lacks it.
  for letter in name:
    for other in ("?", "\uffff"):
      assert (ink(letter) != ink(other)).any()
  assert (ink(name) == ink(unicodedata.normalize("NFD", name))).all()


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("\u4e2d\u6587", "\\u4e2d\\u6587"),
    ("caf\udce9", "caf\\xe9"),
    ("a\nb", "a\\x0ab"),
    ("\U0001f9d1", "\\U0001f9d1"),
  ],
)
def test_a_letter_that_cannot_be_drawn_is_its_number(name, said):
  assert lettering.drawable(name) == said
  assert (ink(name) == ink(said)).all()


def test_letters_that_run_leftward_are_drawn_or_their_numbers(monkeypatch):
  name = "\u0645\u0631\u064a\u0645"
  assert lettering.features.check("raqm") == (lettering.drawable(name) == name)
  monkeypatch.setattr(lettering.features, "check", lambda feature: False)
  assert lettering.drawable(name) == "\\u0645\\u0631\\u064a\\u0645"


def test_a_long_name_ends_in_dots_and_within_its_picture():
  drawn = ink("W" * 200, width=90)
  assert (drawn[:, :60] < 128).any() and (drawn[:, 88:] > 128).all()
  assert lettering._fitted("W" * 200, lettering._font(11), 87).endswith("W...")


def test_sheets_have_the_names(tmp_path):
  cells = np.zeros((2, 3, 32, 32, 3), np.uint8)
  names_of = [
    sheets.draw(cells, [x, "b"]) for x in ("\u00c4nna", "?nna", "Anna")
  ]
  assert all((names_of[0] != other).any() for other in names_of[1:])
  one = toy_records.record(1, frames=8, size=64)
  for name in ("\u00c4nna", "?nna"):
    task = Task(
      "c", name, "train", functools.partial(list, [one._replace(identity=name)])
    )
    run.prepare([task], tmp_path / name[1:] / name[0], workers=0, meta={})
  drawn = [
    inspect.sheet(inspect.Prepared(path))
    for path in (tmp_path / "nna").iterdir()
  ]
  assert (drawn[0] != drawn[1]).any()


def test_generate_says_any_name_in_a_line(tmp_path, film):
  """Latin-1, a line break and an escape, as input and output."""
  odd = os.fsdecode(b"a\xe9\n\x1b[31m.mp4")
  shutil.copyfile(film, tmp_path / odd)
  synthesizer = Synthesizer(glass.functions(), glass.VARIABLES, glass.SETTINGS)
  said = []
  inputs = dict.fromkeys(("identity", "audio", "pose", "emotion"), odd)
  talking.generate(
    synthesizer,
    **{kind: tmp_path / name for kind, name in inputs.items()},
    output=tmp_path / f"out{odd}",
    tracker=Tracker(),
    size=64,
    say=said.append,
  )
  assert (tmp_path / f"out{odd}").stat().st_size > 1000
  assert f"identity  {tmp_path}/a\\xe9\\x0a\\x1b[31m.mp4" in said
  assert all(x.isprintable() for x in said)


PRINT = """
import sys
from speak_jax.common import command_line
command_line.print_all()
print("Zo\\u00eb caf\\udce9")
print("Zo\\u00eb caf\\udce9", file=sys.stderr)
"""


@pytest.mark.parametrize(
  ("encoding", "shown"),
  [
    ("ascii", b"Zo\\xeb caf\\xe9\n"),
    ("utf-8", "Zo\u00eb caf\\xe9\n".encode()),
    ("latin-1", b"Zo\xeb caf\\xe9\n"),
  ],
)
def test_any_name_can_be_printed_anywhere(encoding, shown):
  run = subprocess.run(
    [sys.executable, "-c", PRINT],
    env=os.environ | {"PYTHONIOENCODING": encoding},
    capture_output=True,
  )
  assert run.returncode == 0, run.stderr
  assert run.stdout == run.stderr == shown
