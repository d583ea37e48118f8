import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from data_pipelines.media import decoder, mp4, png_folder
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax import bundle
from speak_jax.common import packaged
from speak_jax.provenance import examination, tags
from speak_jax.provenance.marking import Marking, Weights, of_bundle
from speak_jax.tools import verify
from tests.provenance import coding

DIGEST = "1ae" + "0" * 61


@pytest.fixture(scope="module")
def film(tmp_path_factory):
  """Two seconds of the portrait, marked and not, as generate writes them."""
  folder = tmp_path_factory.mktemp("films")
  frames = coding.portrait(192, 30)
  marking = Marking(Weights("mine", DIGEST, "c0ffee"))
  mp4.write_video(
    folder / "marked.mp4",
    marking.frames(x for x in frames),
    tags=marking.tags,
    finish=marking.finish,
  )
  mp4.write_video(folder / "plain.mp4", frames)
  bare = Marking(Weights("mine", DIGEST), watermark=False)
  mp4.write_video(
    folder / "bare.mp4", bare.frames(x for x in frames), tags=bare.tags
  )
  return folder


def test_layers_speak_for_themselves(film):
  known = {0x1AE: "mine"}
  marked = examination.examine(film / "marked.mp4", known)
  assert marked.mark.there and marked.weights == "mine"
  assert marked.tags is not None and marked.tags.digest == DIGEST
  assert marked.manifest is not None and marked.manifest.says_synthetic
  bare = examination.examine(film / "bare.mp4", known)
  assert not bare.mark.there and bare.weights == ""
  assert bare.tags is not None and bare.says_synthetic
  plain = examination.examine(film / "plain.mp4", known)
  assert not plain.says_synthetic
  text = "\n".join(verify.lines(marked))
  assert "code 1ae: mine" in text and "2" in marked.tags.made
  assert "false alarm" in text and "SHA-256 1ae000000000" in text
  assert "fits this file" in text and "Self-made" in text
  assert "does not prove it real" in verify.lines(plain)[-1]


def test_one_frame_as_a_picture(film, tmp_path):
  frame = next(decoder.read_frames(film / "marked.mp4"))
  Image.fromarray(frame).save(tmp_path / "a.png")
  found = examination.examine(tmp_path / "a.png", {0x1AE: "mine"})
  assert found.mark.there and found.tags is None and found.manifest is None


def test_each_picture_of_a_folder_says_it(tmp_path, capsys):
  """Tags, manifest and watermark, whichever frame is taken out."""
  marking = Marking(Weights("mine", DIGEST))
  frames = marking.frames(x for x in coding.portrait(192, 2))
  png_folder.write_pictures(
    tmp_path / "a", frames, 25, None, marking.tags, marking.finish
  )
  for name in ("000000.png", "000001.png"):
    found = examination.examine(tmp_path / "a" / name, {0x1AE: "mine"})
    assert found.mark.there and found.weights == "mine"
    assert found.tags is not None and found.tags.digest == DIGEST
    assert found.manifest is not None and found.manifest.says_synthetic
  assert verify.main(["verify", str(tmp_path / "a")]) == 1
  assert "is a folder; name one of its pictures" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["mov", "webm"])
def test_other_containers_say_it_too(tmp_path, kind):
  """A webm has no place for a manifest."""
  path = tmp_path / f"a.{kind}"
  marking = Marking(Weights("mine", DIGEST))
  frames = marking.frames(x for x in coding.portrait(96, 8))
  mp4.write_video(path, frames, tags=marking.tags, finish=marking.finish)
  found = examination.examine(path, {})
  assert found.tags is not None and found.tags.digest == DIGEST
  assert (found.manifest is not None) == (kind == "mov")
  assert not found.is_altered


def run(*words) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, "-m", "speak_jax", "verify", *map(str, words)],
    capture_output=True,
    text=True,
  )


def test_command(film):
  done = run(film / "bare.mp4", "--json")
  assert done.returncode == 0, done.stderr
  facts = json.loads(done.stdout)
  assert facts["synthetic"] and facts["tags"]["weights"] == "mine"
  assert not facts["watermark"]["found"]
  data = bytearray((film / "marked.mp4").read_bytes())
  data[-2000] ^= 1
  (film / "changed.mp4").write_bytes(data)
  changed = run(film / "changed.mp4")
  assert changed.returncode == verify.ALTERED
  assert "does not fit this file" in changed.stdout
  none = run(film / "plain.mp4")
  assert none.returncode == verify.NONE and none.stderr == ""
  assert run().returncode == 64


@pytest.mark.parametrize(
  "content",
  [
    b"",
    b"just words",
    b"#EXTM3U\nhttp://127.0.0.1/a.mp4\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64),
  ],
  ids=["empty", "text", "playlist", "concat", "header alone"],
)
def test_hostile_file_is_one_line(tmp_path, content):
  path = tmp_path / "a.mp4"
  path.write_bytes(content)
  with pytest.raises(MediaError) as caught:
    examination.examine(path, {})
  assert "\n" not in str(caught.value) and "a.mp4" in str(caught.value)


def test_file_that_breaks_off_is_read_or_refused(film, tmp_path):
  whole = (film / "marked.mp4").read_bytes()
  for part in (len(whole) // 3, len(whole) - 3000):
    path = tmp_path / "a.mp4"
    path.write_bytes(whole[:part])
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", MediaWarning)
      try:
        examination.examine(path, {})
      except MediaError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
  "comment",
  [
    "",
    "made by me",
    "speak-jax ",
    "speak-jax []",
    "speak-jax {}",
    'speak-jax {"tool": 3}',
    "speak-jax " + "[" * 100_000,
    'speak-jax {"tool": "a", "weights": null}',
  ],
)
def test_texts_of_others_state_nothing(comment):
  assert tags.read({"comment": comment}) is None


def test_statement_comes_back(tmp_path):
  one = Marking(Weights('a "b"\n\u4e2d', DIGEST, "c")).statement
  path = tmp_path / "a.mp4"
  mp4.write_video(
    path, np.zeros((3, 32, 32, 3), np.uint8), tags=tags.written(one)
  )
  found = decoder.read_tags(path)
  assert found["title"].startswith("Synthetic") and tags.read(found) == one


def test_time_can_be_fixed(monkeypatch):
  monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
  assert Marking().statement.made == "2001-09-09T01:46:40Z"
  monkeypatch.setenv("SOURCE_DATE_EPOCH", "\u0663")
  assert Marking().statement.made.startswith("20")


def test_weights_of_a_bundle():
  content = bundle.read(packaged.PHOTOGRAPH)
  weights = of_bundle(packaged.PHOTOGRAPH, content)
  assert weights.name == "photograph" and len(weights.digest) == 64
  assert weights.commit == content.config["commit"]
  with pytest.raises(bundle.BundleError, match="not a bundle"):
    bundle.digest(packaged.EXAMPLE)
