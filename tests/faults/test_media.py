"""A small campaign of mutated files, and that it would see what goes wrong.

The full one is a command: python -m tests.faults.campaign --help.
"""

import hashlib
import subprocess
import sys

import pytest

from tests.faults import media, mutants

FINE = "warning: a.png: odd\n"
REFUSED = "error: a.png: cannot be read\n"


def test_mutated_files_of_every_kind(tmp_path, face_models):
  found = list(media.media(tmp_path / "media", len(mutants.KINDS), 1, roles=1))
  assert all(one["held"] for one in found), found
  generated, prepared, inputs = found
  assert generated["calls"] == len(mutants.KINDS) * len(media.MODELS)
  assert set(generated["kinds"]) == set(mutants.KINDS)
  assert set(prepared["kinds"]) == set(mutants.FILMS)
  assert inputs["changed"] == []


@pytest.mark.parametrize(
  ("fault", "said"),
  [
    ({"code": None}, "died"),
    ({"code": None, "seconds": media.HUNG_S}, "hung"),
    ({"code": 65}, "exit code 65"),
    ({"err": "Traceback (most recent call last):\n" + REFUSED}, "a traceback"),
    ({"err": FINE * 9 + REFUSED}, "10 lines on stderr"),
    ({"err": "[mov @ 0x1] moov atom not found\n" + REFUSED}, "on stderr: [mov"),
    ({"out": "Invalid data\n"}, "on stdout: Invalid data"),
    ({"err": ""}, "0 refusals and exit code 1"),
    ({"err": 2 * REFUSED}, "2 refusals and exit code 1"),
    ({"code": 0}, "1 refusals and exit code 0"),
    ({"code": 0, "err": ""}, "in the output's folder: []"),
    ({"cpu": 61.0}, "61 s of CPU time"),
    ({"peak": 5 << 30}, "5120 MiB"),
  ],
)
def test_what_is_wrong_is_seen(tmp_path, fault, said):
  right = media.Answer(1, 0.1, 0.1, 1 << 30, "speech    a.wav\n", REFUSED)
  target = tmp_path / "made.mp4"
  assert list(media._odd(right, target)) == []
  wrong = list(media._odd(right._replace(**fault), target))
  assert any(line.startswith(said) for line in wrong), wrong


def test_what_is_left_behind_is_seen(tmp_path):
  (tmp_path / ".1-0.partial.mp4").touch()
  right = media.Answer(1, 0.1, 0.1, 1 << 30, "", REFUSED)
  (line,) = media._odd(right, tmp_path / "made.mp4")
  assert line == "in the output's folder: ['.1-0.partial.mp4']"


def test_a_process_that_stays_is_seen():
  # It has a child in a session of its own, which outlives it.
  child = "import time; time.sleep(60)"
  parent = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c',"
    f" {child!r}], start_new_session=True); time.sleep(2)"
  )
  process = subprocess.Popen([sys.executable, "-c", parent])
  watch = media.Watch(process.pid)
  process.wait()
  try:
    assert watch.peak > 1 << 20
    (left,) = watch.close(0.5)
    assert child in left
  finally:
    for pid, _ in watch.seen:
      media.kill(pid)


def test_files_come_from_the_seed(tmp_path):
  whole = {kind: kind.encode() * 500 for kind in mutants.KINDS}
  names = {}
  for place in ("a", "b"):
    made = mutants.mutants(tmp_path / place, whole, 450, 3)
    names[place] = media.digests(tmp_path / place)
  assert names["a"] == names["b"] and len(names["a"]) == 450
  assert {one.how for one in made} == set(mutants.HOW)
  by_kind = {(one.kind, one.how) for one in made}
  assert len(by_kind) == len(mutants.KINDS) * len(mutants.HOW)
  for one in made:
    own = hashlib.sha256(whole[one.kind]).hexdigest()
    if one.how in ("truncated", "repeated", "empty", "one_byte"):
      assert names["a"][one.path.name] != own


def test_checksums_are_mended(tmp_path):
  data = bytearray(b"\x89PNG\r\n\x1a\n")
  data += b"\0\0\0\x04IHDRabcd" + bytes(4) + b"\0\0\0\0IEND" + bytes(4)
  assert mutants._mended(data).endswith(b"IEND\xae\x42\x60\x82")
  page = bytearray(b"OggS" + bytes(22) + b"\x01\x03abc")
  # By the polynomial itself, bit by bit.
  value = 0
  for byte in page:
    value ^= byte << 24
    for _ in range(8):
      value = (value << 1) ^ (0x104C11DB7 if value & 1 << 31 else 0)
  mended = mutants._mended(page)
  assert int.from_bytes(mended[22:26], "little") == value
