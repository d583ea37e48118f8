import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.dataset import index, opening, reader, writer
from data_pipelines.dataset.index import VERSION
from data_pipelines.dataset.pictures import (
  decode_frame,
  scale_landmarks,
  with_mouths,
)
from data_pipelines.dataset.record import NO_MESH, NO_MOUTHS, decode, encode
from speak_jax import spec
from tests import toy_records
from tests.toy_records import same


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """Two training persons in two shards, one held out; and a second set."""
  folder = tmp_path_factory.mktemp("data")
  train = [toy_records.record(i, identity=i % 2) for i in range(5)]
  test = [
    toy_records.record(
      9,
      identity=9,
      twins=2,
      view="front",
      take="take7",
      start=2,
      session="talk",
    )
  ]
  test = [with_mouths(record) for record in test]
  rows = []
  for k in range(2):
    path = folder / writer.shard_name("train", k, 2)
    rows += writer.write_shard(path, train[k::2])
  rows += writer.write_shard(folder / writer.shard_name("test", 0, 1), test)
  writer.write_metadata(folder, rows, meta={"seed": 3})
  return folder


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_round_trip(draw):
  n = draw.draw(st.integers(1, 3))
  k, f = draw.draw(st.integers(0, 2)), draw.draw(st.integers(0, 3))
  blobs = st.binary(max_size=9)  # zeros at the end must survive
  record = toy_records.record(0, frames=n, size=8)._replace(
    clip=draw.draw(st.text(max_size=5)),
    emotion=draw.draw(st.integers(-1, 7)),
    frames=draw.draw(st.lists(blobs, min_size=n, max_size=n)),
    factors=np.arange(n * f, dtype=np.float32).reshape(n, f),
    twin_index=np.arange(k, dtype=np.int32),
    twin_pose=draw.draw(st.lists(blobs, min_size=k, max_size=k)),
    twin_mouth=[b"\0"] * k,
    twin_pose_landmarks=toy_records.landmarks(k, 8),
    twin_mouth_landmarks=toy_records.landmarks(k, 8),
    mouths=np.arange(n * 9, dtype=np.uint8).reshape(n, 3, 3)
    if draw.draw(st.booleans())
    else NO_MOUTHS,
    mesh=toy_records.meshes(0, n) if draw.draw(st.booleans()) else NO_MESH,
  )
  data = encode(record)
  assert data == encode(record)
  same(decode(data), record)


@pytest.mark.parametrize(
  ("change", "word"),
  [
    ({"audio": np.zeros(639, np.int16)}, "audio"),
    ({"frames": []}, "frames"),
    ({"pose": np.zeros((2, 3), np.float32)}, "pose"),
    ({"emotion": 8}, "emotion"),
    ({"factors": np.zeros((3, 1), np.float32)}, "factors"),
    ({"mouths": np.zeros((2, 4, 4), np.uint8)}, "mouths"),
    ({"mouths": np.zeros((1, 4, 5), np.uint8)}, "mouths"),
    ({"mesh": np.zeros((2, 468, 3), np.int16)}, "mesh"),
    ({"mesh": np.zeros((1, 478, 3), np.int16)}, "mesh"),
    ({"mesh": np.zeros((1, 468, 3), np.float32)}, "mesh"),
  ],
)
def test_a_broken_record_is_refused(change, word):
  record = toy_records.record(0, frames=1)
  with pytest.raises(ValueError, match=f"clip0.*{word}"):
    encode(record._replace(**change))


@pytest.mark.parametrize("size", [32, 100, 256])
def test_a_mesh_in_units_of_the_side(size):
  rng = np.random.default_rng(size)
  px = rng.uniform(-1.9 * size, 1.9 * size, (2, 468, 3))
  px[0, 0] = -0.5, size - 0.5, size  # corners of the crop, and one side deep
  stored = spec.stored_mesh(px, size)
  assert stored.dtype == np.int16
  assert stored[0, 0].tolist() == [0, 16384, 16384]
  np.testing.assert_allclose(
    spec.mesh_px(stored, size), px, atol=size / 32768 * 1.01
  )
  # As landmarks are moved when crops are resized.
  np.testing.assert_allclose(
    spec.mesh_px(stored, 2 * size)[:, :68, :2],
    scale_landmarks(spec.mesh_px(stored, size)[:, :68, :2], size, 2 * size),
    atol=1e-3,
  )
  for wrong in (np.nan, 2 * size):
    with pytest.raises(ValueError, match="no number, or two sides away"):
      spec.stored_mesh(np.where(px == px[1, 3, 1], wrong, px), size)


def test_shard_is_whole_or_absent(tmp_path):
  good = [toy_records.record(i) for i in range(2)]
  bad = good[0]._replace(frames=[])
  path = tmp_path / "shard"
  rows = writer.write_shard(path, good)
  before = path.read_bytes()
  assert [row.row for row in rows] == [0, 1]
  with pytest.raises(ValueError, match="no frames"):
    writer.write_shard(path, [good[1], bad])
  assert [p.name for p in tmp_path.iterdir()] == ["shard"]
  assert path.read_bytes() == before
  writer.write_shard(tmp_path / "again", good)
  assert (tmp_path / "again").read_bytes() == before


def test_tfds_opens_it_without_this_code_or_tensorflow(data):
  code = """
import json, sys
import cv2, numpy as np
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
train = builder.as_data_source("train")
clips = [example["clip"].decode() for example in train]
test = builder.as_data_source("test")[0]
loaded = {"tensorflow", "data_pipelines", "speak_jax"} & set(sys.modules)
assert not loaded, loaded
frame = cv2.imdecode(np.frombuffer(test["frames"][3], np.uint8), 1)
print(json.dumps([
  clips, len(test["frames"]), str(test["audio"].dtype),
  test["audio"].shape, test["landmarks"].shape, test["twin_index"].tolist(),
  frame[..., ::-1].mean((0, 1)).round().tolist(), frame.shape,
  [int(test[k]) for k in ("emotion", "level", "start")],
  [test[k].decode() for k in ("identity", "view", "take", "session")],
  builder.info.metadata["seed"],
  [test["grey_mouths"].reshape(16, 16, 16)[t].mean().round() for t in (0, 9)],
]))
"""
  done = subprocess.run(
    [sys.executable, "-c", code, str(data)],
    cwd=data,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  line = json.loads(done.stdout.splitlines()[-1])
  clips, frames, dtype, audio, landmarks, twins, *line = line
  colour, shape, numbers, texts, seed, grey = line
  assert clips == ["clip0", "clip2", "clip4", "clip1", "clip3"]
  assert (frames, dtype, audio) == (16, "int16", [16 * 640])
  assert landmarks == [16, 68, 2]
  assert (twins, seed) == ([0, 8], 3)
  assert toy_records.read(np.array(colour)) == (9, 3, toy_records.FRAME)
  assert shape == [32, 32, 3]
  assert numbers == [0, 3, 2]
  assert texts == ["person9", "front", "take7", "talk"]
  # Of (90, 0, 30) and (90, 90, 30).
  np.testing.assert_allclose(grey, [30.3, 83.2], atol=2)


def test_open_reads_what_was_written(data):
  train = opening.open_records(data, "train")
  assert [row.clip for row in train.index][:3] == ["clip0", "clip2", "clip4"]
  same(train[3], toy_records.record(1, identity=1))
  test = opening.open_records(str(data), "test")
  assert test.index[0].twins == 2 and test.index[0].size == 32
  assert not {row.identity for row in train.index} & {
    row.identity for row in test.index
  }


def test_data_sets_together_keep_their_people_apart(data, tmp_path):
  path = tmp_path / writer.shard_name("train", 0, 1)
  rows = writer.write_shard(path, [toy_records.record(7)])
  writer.write_metadata(tmp_path, rows)
  both = opening.open_records(f"{data},{tmp_path}", "train")
  assert len(both) == 6
  assert toy_records.read(both.picture(5, "frames", 2, 32))[:2] == (7, 2)
  assert both[5].identity == both.index[5].identity == f"{tmp_path}/person0"
  assert len({row.identity for row in both.index}) == 3


def test_what_cannot_be_opened_is_named(data, tmp_path, monkeypatch):
  with pytest.raises(ValueError, match=r"not a prepared data set"):
    opening.open_records(tmp_path, "train")
  with pytest.raises(ValueError, match=r"no split 'val'; it has test, train"):
    opening.open_records(data, "val")
  with pytest.raises(ValueError, match="names no data set"):
    opening.open_records(" ,", "train")
  path = tmp_path / writer.shard_name("train", 0, 1)
  rows = writer.write_shard(path, [toy_records.record(7)])
  writer.write_metadata(tmp_path, rows)
  written = VERSION
  monkeypatch.setattr(index, "VERSION", "9.0.0")
  monkeypatch.setattr(index, "READABLE", ("9.0.0",))
  with pytest.raises(ValueError, match=f"format {written}, not 9.0.0"):
    opening.open_records(tmp_path, "train")


def test_metadata_refuses_a_wrong_directory(tmp_path):
  def shard(split, identity):
    path = tmp_path / writer.shard_name(split, 0, 1)
    return writer.write_shard(path, [toy_records.record(0, identity=identity)])

  train = shard("train", 1)
  with pytest.raises(ValueError, match="person1 is in two splits"):
    writer.write_metadata(tmp_path, train + shard("test", 1))
  with pytest.raises(ValueError, match="shard is missing"):
    gone = train[0]._replace(shard=writer.shard_name("train", 0, 2))
    writer.write_metadata(tmp_path, [gone])
  with pytest.raises(ValueError, match="no clip"):
    writer.write_metadata(tmp_path, [])
  assert not (tmp_path / "dataset_info.json").exists()


def test_damage_is_named_and_harms_one_clip(data, tmp_path):
  path = tmp_path / writer.shard_name("train", 0, 1)
  rng = np.random.default_rng(0)
  noisy = [
    toy_records.record(i)._replace(frames=[rng.bytes(9000) for _ in range(16)])
    for i in range(3)
  ]
  # Rows need a picture, so the index is that of plain clips.
  rows = writer.write_shard(path, [toy_records.record(i) for i in range(3)])
  places = writer.write_examples(path, map(encode, noisy))
  rows = [row._replace(at=at) for row, at in zip(rows, places, strict=True)]
  writer.write_metadata(tmp_path, rows)
  raw = bytearray(path.read_bytes())
  raw[len(bytes(raw).rstrip(b"\0")) // 2] ^= 1
  path.write_bytes(raw)
  opened = opening.open_records(tmp_path, "train")
  same(opened[0], noisy[0])
  same(opened[2], noisy[2])
  with pytest.raises(ValueError, match=r"-of-00001: clip clip1 cannot be"):
    opened[1]
  with pytest.raises(ValueError, match=r"clip0: frames 5 is not a readable"):
    opened.picture(0, "frames", 5, 32)


def test_cache_keeps_to_its_bytes():
  clips = [toy_records.record(i) for i in range(4)]
  index = reader.in_memory(clips).index

  def loads(cache_bytes):
    seen = []
    opened = reader.Records(
      "toy", index, lambda i: seen.append(i) or clips[i], cache_bytes
    )
    for _ in range(3):
      for i in range(4):
        opened.picture(i, "frames", 1, 32)
    return seen, opened._cache

  seen, cache = loads(1 << 24)
  assert seen == [0, 1, 2, 3]
  seen, cache = loads(80_000)  # about one record
  assert len(seen) > 4 and 0 < cache._bytes <= 80_000
  assert cache._bytes == sum(cost for _, cost in cache._items.values())


def test_stored_mouths_count_in_the_cache():
  plain = with_mouths(toy_records.record(0, size=96))
  bytes_of, none = reader._record_bytes, NO_MOUTHS
  cost = bytes_of(plain) - bytes_of(plain._replace(mouths=none))
  assert cost == len(plain.frames) * 48 * 48
  many = plain._replace(mouths=np.zeros((len(plain.frames), 256, 256)))
  opened = reader.in_memory([plain], 1 << 20)
  opened._load = [
    many
  ].__getitem__  # its mouths alone are as large as the cache
  assert opened[0] is many and opened._cache._bytes == 0


def test_threads_read_the_same(data):
  opened = opening.open_records(data, "train", cache_bytes=100_000)
  wrong = []

  def work():
    for i in (np.random.default_rng(0).permutation(50) % 5).tolist():
      clip = int(opened.index[i].clip[4:])
      if toy_records.read(opened.picture(i, "frames", 3, 16))[0] != clip:
        wrong.append(i)

  threads = [threading.Thread(target=work) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong


@pytest.mark.parametrize("size", [64, 40, 32, 24, 16, 8])
def test_a_small_picture_is_that_of_the_whole_one(size):
  """A share of the JPEG is decoded where that is enough; it looks the same."""
  y, x = np.mgrid[:64, :64] / 10
  waves = np.stack([np.sin(x) + y / 7, np.cos(x * y / 9), np.sin(x + y)], -1)
  jpeg = toy_records.jpeg((waves * 60 + 128).clip(0, 255).astype(np.uint8))
  whole = decode_frame(jpeg, size)
  part = decode_frame(jpeg, size, stored=64)
  assert part.shape == whole.shape == (size, size, 3)
  assert np.abs(part.astype(int) - whole).max() <= 5
  assert decode_frame(jpeg).shape == (64, 64, 3)


def test_landmarks_follow_a_resize():
  dot = np.zeros((64, 64, 3), np.uint8)
  dot[40:44, 20:24] = 255  # centre (21.5, 41.5)
  clip = toy_records.record(0, frames=1, size=64)
  clip.landmarks[0, 30] = 21.5, 41.5
  opened = reader.in_memory([clip._replace(frames=[toy_records.jpeg(dot)])])
  small = opened.picture(0, "frames", 0, 16).astype(float).mean(-1)
  y, x = (np.indices(small.shape) * small).sum((1, 2)) / small.sum()
  assert np.allclose(opened.landmarks(0, 0, 16)[30], (x, y), atol=0.05)
