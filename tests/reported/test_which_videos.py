"""Which files of a folder are videos, and what is passed over."""

import os

import av
import numpy as np
import pytest

from data_pipelines.sources import counts, video_files
from tests.reported.folders import passed, put, survey

FIRST_BYTES = {
  "mp4": b"\0\0\0\x20ftypisom",
  "mov of old": b"\0\0\0\x20mdat" + bytes(5000),
  "mkv": b"\x1a\x45\xdf\xa3\x9f",
  "avi": b"RIFF\0\0\0\0AVI LIST",
  "wmv": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
  "vob": b"\0\0\1\xba",
  "mpv": b"\0\0\1\xb3",
  "ts": (b"\x47" + bytes(187)) * 40,
  "m2ts": (bytes(4) + b"\x47" + bytes(187)) * 40,
  "ogv": b"OggS" + bytes(24) + b"\x80theora",
  "gif": b"GIF89a" + bytes(800) + b"!\xff\x0bNETSCAPE2.0",
  "flv": b"FLV\1\5",
}


NO_VIDEOS = {
  "heic": b"\0\0\0\x20ftypheic",
  "m4a": b"\0\0\0\x20ftypM4A ",
  "wav": b"RIFF\0\0\0\0WAVE",
  "ogg": b"OggS" + bytes(24) + b"\1vorbis",
  "gif": b"GIF89a" + bytes(900),
  "TypeScript": b"G" + b"export const a = 1;\n" * 400,
  "nothing": b"",
}


@pytest.mark.parametrize("kind", FIRST_BYTES)
def test_a_video_of_any_suffix_is_found_by_its_first_bytes(tmp_path, kind):
  put(tmp_path / "A" / "00001", FIRST_BYTES[kind])
  put(tmp_path / "A" / "odd.xyz", FIRST_BYTES[kind] + b"more")
  assert [t.clip for t in survey(tmp_path).tasks] == ["A/00001", "A/odd"]


@pytest.mark.parametrize("kind", NO_VIDEOS)
def test_what_is_no_video_is_passed_over_and_counted(tmp_path, kind):
  put(tmp_path / "a.mp4")
  put(tmp_path / "b.xyz", NO_VIDEOS[kind])
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["a"]
  assert passed(found) == {"files of other kinds": ["b.xyz"]}


def test_every_suffix_of_videos_is_taken(tmp_path):
  for suffix in video_files.VIDEO:
    put(tmp_path / f"A{suffix}" / f"1{suffix.upper()}", suffix.encode())
  assert len(survey(tmp_path).tasks) == len(video_files.VIDEO) > 20


def test_what_is_passed_over_is_said_by_kind(tmp_path):
  put(tmp_path / "A" / "a.mp4")
  for name in (
    *("b.jpg", "c.png", "d.wav", "e.zip", "f.txt", "g.mp4.part", "h.LRV"),
    *(".DS_Store", "._a.mp4", "$RECYCLE.BIN/old.mp4", "@eaDir/a.mp4/x.mp4"),
  ):
    put(tmp_path / "A" / name)
  put(tmp_path / "A" / "i.mp4", b"version https://git-lfs.github.com/spec/v1")
  (tmp_path / "A" / "gone.mp4").symlink_to("nothing")
  os.mkfifo(tmp_path / "A" / "pipe.mp4")
  found = survey(tmp_path)
  assert [task.clip for task in found.tasks] == ["A/a"]
  assert {kind: len(some) for kind, some in passed(found).items()} == {
    "pictures": 2,
    "sounds": 1,
    "archives; unpack what is to be used": 1,
    "texts and tables": 1,
    "unfinished downloads": 1,
    "a camera's previews and lists": 1,
    "hidden names": 2,
    "folders of the system's own": 2,
    "Git LFS pointers; run git lfs pull": 1,
    "broken links": 1,
    "pipes, sockets and devices": 1,
  }
  text = counts.page(found)
  assert "        2  pictures (.jpg, .png)" in text
  assert "           A/gone.mp4: No such file or directory" in text


def test_a_file_is_no_folder(tmp_path):
  with pytest.raises(ValueError, match="is a file; give the folder"):
    survey(put(tmp_path / "a.mp4"))


def test_a_folder_without_videos_says_what_there_is(tmp_path):
  put(tmp_path / "a.jpg")
  put(tmp_path / "b.zip")
  with pytest.raises(ValueError, match="but 1 archives; unpack what"):
    survey(tmp_path)


def test_containers_are_told_by_what_is_in_them(tmp_path):
  """Names without a suffix."""
  for name, form, codec in (
    ("clip_mts", "mpegts", "libx264"),
    ("clip_ogv", "ogg", "libvpx"),
    ("clip_wmv", "asf", "wmv2"),
    ("clip_gif", "gif", "gif"),
  ):
    with av.open(str(tmp_path / name), "w", format=form) as out:
      stream = out.add_stream(codec, rate=25)
      stream.width, stream.height = 32, 32
      stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
      for level in range(5):
        grey = np.full((32, 32, 3), 40 * level, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        out.mux(stream.encode(frame))
      out.mux(stream.encode(None))
  found = survey(tmp_path)
  assert len(found.tasks) == 4 and not found.passed
