"""Cached frames come back bit for bit, or are made anew."""

import os

import numpy as np
import pytest

from speak_jax.evaluation import cache
from speak_jax.evaluation.cache import Cache


def _frames(seed=0, shape=(5, 34, 38, 3)):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1, 16, 16, 3), (3, 33, 47, 3)])
def test_noise_and_extremes_are_bit_exact(tmp_path, shape):
  for frames in (_frames(1, shape), _frames(2, shape) // 128 * 255):
    cache.write(tmp_path / "x.mkv", frames.astype(np.uint8))
    np.testing.assert_array_equal(cache.read(tmp_path / "x.mkv"), frames)
  assert [x.name for x in tmp_path.iterdir()] == ["x.mkv"]


def test_every_colour_survives(tmp_path):
  """All 256^3 colours once."""
  blue, green, red = np.meshgrid(*[np.arange(256)] * 3, indexing="ij")
  cube = np.stack([red, green, blue], -1).astype(np.uint8)
  frames = cube.reshape(16, 1024, 1024, 3)
  cache.write(tmp_path / "x.mkv", frames)
  np.testing.assert_array_equal(cache.read(tmp_path / "x.mkv"), frames)


def test_frames_are_made_once(tmp_path):
  calls = []

  def make():
    calls.append(1)
    return _frames()

  held = Cache(tmp_path / "new", 10**6)
  for _ in range(3):
    np.testing.assert_array_equal(held.frames("a", make), _frames())
  assert len(calls) == 1


@pytest.mark.parametrize("damage", ["short", "flipped", "empty", "other"])
def test_a_damaged_entry_is_made_anew(tmp_path, damage):
  held = Cache(tmp_path, 10**7)
  held.frames("a", _frames)
  path = tmp_path / "a.mkv"
  content = bytearray(path.read_bytes())
  if damage == "short":
    content = content[: len(content) // 2]
  elif damage == "flipped":
    content[len(content) // 2] ^= 0x40
  elif damage == "empty":
    content = b""
  else:
    content = b"not a video at all" * 20
  path.write_bytes(content)
  assert cache.read(path) is None
  np.testing.assert_array_equal(held.frames("a", _frames), _frames())
  np.testing.assert_array_equal(cache.read(path), _frames())


def test_the_least_recently_used_go_first(tmp_path):
  cache.write(tmp_path / "a.mkv", _frames())
  # Noise does not shrink: every clip is as large. Two have room.
  held = Cache(tmp_path, int(2.5 * (tmp_path / "a.mkv").stat().st_size))
  for i, name in enumerate("ab"):
    held.frames(name, lambda i=i: _frames(i))
    os.utime(tmp_path / f"{name}.mkv", (i + 1, i + 1))
  held.frames("a", _frames)  # used: now younger than b
  held.frames("c", lambda: _frames(2))
  assert sorted(x.stem for x in tmp_path.iterdir()) == ["a", "c"]
  tiny = Cache(tmp_path, 0)
  tiny.frames("d", _frames)
  assert [x.stem for x in tmp_path.iterdir()] == ["d"]


def test_a_writer_that_fails_leaves_nothing(tmp_path, monkeypatch):
  def fail(*args):
    raise OSError("no room")

  monkeypatch.setattr(cache.files.os, "replace", fail)
  with pytest.raises(OSError, match="no room"):
    cache.write(tmp_path / "x.mkv", _frames())
  assert list(tmp_path.iterdir()) == []
