"""A table of videos: what is made, what is not made again, what fails."""

import csv
import json
import os
import wave

import numpy as np
import pytest
from PIL import Image

from speak_jax.common.files import FileError
from speak_jax.inference import batch
from speak_jax.inference.inputs import Rules
from speak_jax.inference.synthesizer import Synthesizer
from tests import glass, talking
from tests.test_generate import Centred


@pytest.fixture(scope="module")
def model():
  made = Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=4
  )
  return talking.model(made, Centred())


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  picture = rng.integers(60, 140, (96, 96, 3), np.uint8)
  Image.fromarray(picture).save("face.png")
  Image.fromarray(np.zeros((96, 96, 3), np.uint8)).save("nobody.png")
  with wave.open("speech.wav", "wb") as out:
    out.setparams((1, 2, 16_000, 0, "NONE", ""))
    out.writeframes(rng.integers(-8000, 8000, 6400, np.int16).tobytes())
  return tmp_path


TABLE = """output,identity,audio,size
one.mp4,face.png,speech.wav,32
two.mp4,nobody.png,speech.wav,
three.webm,,speech.wav,16
four.mp4,face.png,speech.wav,x
one.mp4,face.png,speech.wav,
"""


def run(model, path, **defaults):
  said = []
  result = batch.run(model, path, defaults, "v1", said.append)
  return result, said


def failures():
  with open("list.csv.failed.csv", newline="") as file:
    return list(csv.DictReader(file))


def test_what_fails_is_written_down_and_the_rest_is_made(model, folder):
  (folder / "list.csv").write_text(TABLE)
  result, said = run(model, "list.csv", identity="face.png")
  assert result == batch.Result(2, 0, 3)
  assert (folder / "one.mp4").is_file() and (folder / "three.webm").is_file()
  assert not (folder / "two.mp4").exists()
  found = {row["line"]: (row["name"], row["reason"]) for row in failures()}
  assert set(found) == {"3", "5", "6"}
  assert found["3"] == ("two.mp4", "nobody.png: no face found")
  assert found["5"] == ("four.mp4", "size: 'x' cannot be")
  assert found["6"] == ("one.mp4", "line 2 writes the same output")
  assert len(said) == 5 and said[0] == "wrote one.mp4: 10 frames"


def test_what_is_done_is_not_done_again(model, folder):
  (folder / "list.csv").write_text(TABLE)
  run(model, "list.csv", identity="face.png")
  times = [os.stat(x).st_mtime_ns for x in ("one.mp4", "three.webm")]
  # A line that broke off says nothing.
  with open("list.csv.done.jsonl", "a") as file:
    file.write('{"output": "two')
  result, said = run(model, "list.csv", identity="face.png")
  assert result == batch.Result(0, 2, 3)
  assert times == [os.stat(x).st_mtime_ns for x in ("one.mp4", "three.webm")]
  assert not any(line.startswith("wrote") for line in said)
  # A lost output, a changed input, another wish, another model.
  (folder / "one.mp4").unlink()
  assert run(model, "list.csv", identity="face.png")[0].made == 1
  os.utime("speech.wav", (1, 1))
  assert run(model, "list.csv", identity="face.png")[0].made == 2
  os.utime("face.png", (1, 1))
  assert run(model, "list.csv", identity="face.png")[0].made == 2
  assert run(model, "list.csv", identity="face.png", size=64)[0].made == 0
  assert run(model, "list.csv", identity="face.png", smooth=False)[0].made == 2
  again = batch.run(model, "list.csv", {"identity": "face.png"}, "v2", print)
  assert again.made == 2
  # What is mended leaves no list of failures.
  (folder / "list.csv").write_text("".join(TABLE.splitlines(True)[:2]))
  assert run(model, "list.csv")[0].failed == 0
  assert not (folder / "list.csv.failed.csv").exists()


def test_a_json_line_is_a_row(model, folder):
  rows = [
    {"output": "a/", "identity": "face.png", "audio": "speech.wav"},
    {"output": "b.mp4", "identity": "face.png", "audio": 3},
    {"identity": "face.png", "audio": "speech.wav", "smooth": False},
  ]
  text = "\n\n".join(map(json.dumps, rows))
  (folder / "list.jsonl").write_text(text)
  result, said = run(model, "list.jsonl")
  assert result == batch.Result(1, 0, 2)
  assert (folder / "a" / "sound.wav").is_file()
  assert said[1:] == [
    "failed b.mp4: audio: 3 cannot be",
    "failed line 5: no output",
  ]


def test_cells_have_the_types_of_their_fields():
  cells = {
    "output": "o.mp4",
    "identity": "i",
    "audio": "a",
    "smooth": "no",
    "fps": "29.97",
    "seed": "3",
    "face": "2",
    "on_missing_face": "skip",
    "emotion": "happy:0.7",
    "blink": "yes",
    "gaze": (1.0, 2.0),
  }
  request = batch.job(batch.Row(2, cells), {"size": 64}).request
  assert (request.smooth, request.fps, request.seed) == (False, 29.97, 3)
  assert (request.blink, request.gaze, request.size) == (True, (1, 2), 64)
  assert request.emotion == "happy:0.7"
  assert request.rules == Rules(identity="2", on_missing_face="skip")


@pytest.mark.parametrize(
  ("name", "text", "line"),
  [
    ("a.csv", "output,sice\na,b\n", r"line 2: no column 'sice'; known: output"),
    ("a.csv", "output\na.mp4,b\n", "line 2: more cells than columns"),
    ("a.csv", "output\n\n", "has no row"),
    ("a.csv", 'output\n"a', "line 1: unexpected end of data"),
    ("a.jsonl", "{}\n[", "line 2: Expecting"),
    ("a.jsonl", "[1]", "line 1: no object"),
    ("a.txt", "a", "is none of .csv, .jsonl"),
    ("a.csv", b"\xff\xfe\x00", "cannot be read"),
  ],
)
def test_a_table_that_cannot_be_is_one_line(tmp_path, name, text, line):
  data = text if isinstance(text, bytes) else text.encode()
  (tmp_path / name).write_bytes(data)
  with pytest.raises(FileError, match=line) as caught:
    batch.read(tmp_path / name)
  assert "\n" not in str(caught.value)
