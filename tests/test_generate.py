"""Four files to an mp4: its length, its sound, and one line when it fails."""

import gc
import os
import subprocess
import sys
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_pipelines.faces.tracker import Step, Track, gather
from data_pipelines.media import decoder, mp4, sandbox, video
from data_pipelines.media.audio import read_audio
from data_pipelines.media.error import MediaError, MediaWarning
from speak_jax import bundle
from speak_jax.common import packaged
from speak_jax.common.files import FileError
from speak_jax.inference import (
  contact_sheet,
  driver,
  inputs,
  talking_head,
)
from speak_jax.inference.inputs import Rules
from speak_jax.inference.request import RequestError
from speak_jax.inference.synthesizer import Synthesizer
from speak_jax.inference.windows import ping_pong
from tests import glass, talking
from tests.plain_face import mesh_of

ROOT = Path(__file__).parents[1]


class Centred:
  """A tracker that sees a face in the middle of every bright picture."""

  def __init__(self, faces: int = 1):
    self.faces = faces

  def track(self, frames, which="largest") -> Track:
    return gather(self.stream(frames, which))

  def votes(self, frame, which="largest", thorough=True):
    return np.array([2.0 * (frame.mean() > 20), 0, 0, 0])

  def boxes(self, frame):
    raise NotImplementedError

  def stream(self, frames, which="largest"):
    turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([np.cos(turn), np.sin(turn)], -1) * 30 + 48
    points[36:42], points[42:48] = (36, 40), (60, 40)
    points[48:68] = (48, 64)
    points[48], points[54] = (40, 64), (56, 64)
    for frame in frames:
      found = bool(frame.mean() > 20)
      seen = points if found else np.full((68, 2), np.nan)
      yield Step(
        seen.astype(np.float32),
        mesh_of(seen),
        np.zeros(3, np.float32),
        found,
        self.faces,
        False,
      )


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
  return Synthesizer(
    glass.functions(), glass.VARIABLES, glass.SETTINGS, windows=4
  )


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
  """Grey inputs: 96 px picture, 1 s pose and emotion, 1 s of noise."""
  picture = np.full((96, 96, 3), 100, np.uint8)
  Image.fromarray(picture).save(tmp_path / "face.png")
  clip = np.repeat(picture[None], 25, 0)
  mp4.write_video(tmp_path / "pose.mp4", clip)
  mp4.write_video(tmp_path / "emotion.mp4", clip)
  _write_wav(tmp_path / "speech.wav", 1.0)
  return {
    "identity": tmp_path / "face.png",
    "audio": tmp_path / "speech.wav",
    "pose": tmp_path / "pose.mp4",
    "emotion": tmp_path / "emotion.mp4",
    "output": tmp_path / "out.mp4",
  }


def _write_wav(path: Path, seconds: float, level: int = 8000) -> None:
  noise = np.random.default_rng(0).uniform(-1, 1, round(seconds * 16000))
  with wave.open(str(path), "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes((noise * level).astype("<i2").tobytes())


def _run(synthesizer, files, tracker=None, **kwargs):
  return talking.generate(
    synthesizer,
    **({"size": 16} | files | kwargs),
    tracker=tracker or Centred(),
    say=lambda line: None,
  )


@pytest.mark.parametrize(
  ("seconds", "frames"), [(0.1, 2), (2.03, 51), (5.24, 131)]
)
def test_video_lasts_as_long_as_the_speech(synthesizer, files, seconds, frames):
  _write_wav(files["audio"], seconds)
  result = _run(synthesizer, files, size=32)
  assert result.frames == frames
  info = video.probe(result.path)
  assert (info.frames, info.width, info.height) == (frames, 32, 32)
  sound = read_audio(result.path)
  # AAC pads to its own frames of 1024; the video says how much counts.
  assert abs(len(sound) - seconds * 16000) <= 1024
  assert abs(_lag(sound, read_audio(files["audio"]))) <= 320  # half a frame


def _lag(late: np.ndarray, early: np.ndarray) -> int:
  """By how many samples `late` is behind, by cross-correlation."""
  n = 2 * max(len(late), len(early))
  spectrum = np.fft.rfft(late, n) * np.conj(np.fft.rfft(early, n))
  lag = int(np.fft.irfft(spectrum, n).argmax())
  return lag - n if lag > n // 2 else lag


def test_speech_may_come_from_a_video_and_identity_too(synthesizer, files):
  clip = np.full((30, 96, 96, 3), 100, np.uint8)
  clip[:3] = 0  # no face at first
  sound = read_audio(files["audio"], frames=30, fps=25.0)
  mp4.write_video(files["audio"].with_suffix(".mp4"), clip, audio=sound)
  result = _run(
    synthesizer,
    files,
    audio=files["audio"].with_suffix(".mp4"),
    identity=files["audio"].with_suffix(".mp4"),
  )
  assert result.frames == 30


def test_gap_in_the_pose_is_bridged_and_said(synthesizer, files):
  clip = np.full((25, 96, 96, 3), 100, np.uint8)
  clip[10:15] = 0
  mp4.write_video(files["pose"], clip)
  with pytest.warns(MediaWarning, match=r"no face from 0\.40 to 0\.60 s"):
    result = _run(synthesizer, files)
  assert result.frames == 25


def test_gap_in_the_pose_by_policy(synthesizer, files):
  clip = np.full((25, 96, 96, 3), 100, np.uint8)
  clip[10:15] = 0
  clip[15:] = 140  # another pose: what the stub encodes is brightness
  mp4.write_video(files["pose"], clip)

  def red(policy: str) -> np.ndarray:
    with pytest.warns(MediaWarning, match=r"no face from 0\.40 to 0\.60 s"):
      result = _run(
        synthesizer,
        files,
        rules=Rules(on_missing_face=policy),
        smooth=False,
      )
    return np.array([x[..., 0].mean() for x in video.read_frames(result.path)])

  held, skipped = red("hold"), red("skip")
  assert len(held) == len(skipped) == 25
  # Held, it goes from one to the other in the gap; skipped, at its start.
  assert held[9] + 3 < held[12] < held[15] - 3
  assert abs(skipped[10] - skipped[14]) < 3 and skipped[10] > skipped[9] + 10
  with pytest.raises(MediaError, match=r"pose\.mp4: no face from 0\.40 to 0"):
    _run(synthesizer, files, rules=Rules(on_missing_face="fail"))


def test_each_file_has_its_own_rule_for_faces(synthesizer, files):
  asked = []

  class Asked(Centred):
    def stream(self, frames, which="largest"):
      asked.append(which)
      return super().stream(frames)

  box = (1.0, 2.0, 30.0, 40.0)
  rules = Rules(identity=box, pose="first")
  with pytest.warns(MediaWarning, match="2 faces") as said:
    _run(synthesizer, files, Asked(faces=2), rules=rules)
  assert [str(x.message).partition("2 faces; the ")[2] for x in said] == [
    "one in the box is followed",
    "leftmost one is followed",
    "largest one is followed",
  ]
  assert asked == [box, "first", "largest"]


def test_clipped_sound_is_said(synthesizer, files):
  _write_wav(files["audio"], 0.5, level=32767)
  loud = read_audio(files["audio"]).astype(int) * 4
  with wave.open(str(files["audio"]), "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(loud.clip(-32768, 32767).astype("<i2").tobytes())
  with pytest.warns(MediaWarning, match=r"7\d% of the sound is clipped"):
    _run(synthesizer, files)


def test_mostly_faceless_pose_is_refused(synthesizer, files):
  clip = np.zeros((25, 96, 96, 3), np.uint8)
  clip[:5] = 100
  mp4.write_video(files["pose"], clip)
  with pytest.raises(MediaError, match=r"pose\.mp4: a face in only 20%"):
    _run(synthesizer, files)


def test_faceless_identity_is_refused_and_nothing_is_written(
  synthesizer, files
):
  Image.new("RGB", (96, 96)).save(files["identity"])
  with pytest.raises(MediaError, match=r"face\.png: no face found"):
    _run(synthesizer, files)
  assert not list(files["output"].parent.glob("*out*"))


def test_crowd_is_said(synthesizer, files):
  with pytest.warns(MediaWarning, match="2 faces; the largest"):
    _run(synthesizer, files, Centred(faces=2))


def test_a_picture_may_drive_and_is_said_to_be_still(synthesizer, files):
  with pytest.warns(MediaWarning, match="keep still"):
    _run(synthesizer, files, pose=files["identity"])


def test_silence_is_said(synthesizer, files):
  _write_wav(files["audio"], 0.5, level=0)
  with pytest.warns(MediaWarning, match="silent"):
    assert _run(synthesizer, files).frames == 12


def test_an_odd_size_is_one_line(synthesizer, files):
  with pytest.raises(RequestError, match=r"^size: 33 is not even$"):
    _run(synthesizer, files, size=33)
  assert not files["output"].exists()


@pytest.mark.parametrize(
  ("change", "line"),
  [
    ({"output": "out.avi"}, "name it so"),
    ({"output": "no/where/out.mp4"}, "no folder"),
    ({"audio": "face.png"}, "face.png: "),
    ({"audio": "pose.mp4"}, "pose.mp4: no audio track"),
    ({"audio": "none.wav"}, "none.wav: no such file"),
    ({"pose": "speech.wav"}, "speech.wav: no picture track"),
    ({"emotion": "none.mp4"}, "none.mp4: no such file"),
  ],
)
def test_bad_input_is_one_line_with_the_file(synthesizer, files, change, line):
  folder = files["output"].parent
  change = {
    k: folder / v if isinstance(v, str) else v for k, v in change.items()
  }
  with pytest.raises(FileError) as error:
    _run(synthesizer, files, **change)
  assert line in str(error.value)
  assert "\n" not in str(error.value)
  assert not list(folder.glob("*out*"))


def test_failure_while_writing_leaves_nothing(synthesizer, files, monkeypatch):
  def broken(*args):
    yield np.zeros((3, 8, 8, 3), np.uint8)
    raise MediaError("device", "gone")

  monkeypatch.setattr(synthesizer, "stream", broken)
  with pytest.raises(MediaError, match="gone"):
    _run(synthesizer, files)
  assert not list(files["output"].parent.glob("*out*"))


class Endless:
  """Grey pictures of 96 px instead of a decoder's, and how many were read."""

  def __init__(self, n: int, gaps=()):
    self.n, self.gaps, self.read = n, gaps, 0

  def __call__(self, path, fps, span=None, turns=0):
    if Path(path).name != "pose.mp4":
      yield from video.read_frames(path, fps, span, turns)
      return
    for i in range(self.n):
      self.read += 1
      dark = any(start <= i < stop for start, stop in self.gaps)
      yield np.full((96, 96, 3), 0 if dark else 80 + i % 100, np.uint8)


def _hurry(monkeypatch, frames: Endless) -> None:
  """A look of a second, whose pictures are decoded twice."""
  monkeypatch.setattr(driver, "LOOK_S", 1.0)
  monkeypatch.setattr(driver, "KEEP_BYTES", 10 * 96 * 96 * 3)
  monkeypatch.setattr(decoder, "read_frames", frames)


def test_a_long_pose_video_streams_in_little_memory(
  synthesizer, files, monkeypatch
):
  """2,000 frames are 55 MB, their crops 25; neither is ever in memory."""
  n = 2000
  _write_wav(files["audio"], n / 25)
  large = Synthesizer(
    glass.functions(),
    glass.VARIABLES,
    glass.SETTINGS._replace(image=64),
    windows=4,
  )
  frames = Endless(n)
  _hurry(monkeypatch, frames)
  _run(large, files, audio=_short(files, 0.2))  # what is loaded once
  sizes = []
  for seconds in (n / 100, n / 25):
    frames.n = round(25 * seconds)
    sound = _short(files, seconds)
    tracemalloc.start()
    assert _run(large, files, audio=sound).frames == frames.n
    sizes.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
  # Four times as long: sound in 16 bits, 12 numbers a frame and no more.
  assert sizes[1] < 12e6
  assert sizes[1] - sizes[0] < 3 * (3 * n / 4) * 1280


def _short(files, seconds: float) -> Path:
  _write_wav(files["audio"], seconds)
  return files["audio"]


def test_the_first_frame_waits_for_the_look_alone(
  synthesizer, files, monkeypatch
):
  frames, read = Endless(1000), []
  _hurry(monkeypatch, frames)

  def write(path, made, fps, audio, **marks):
    next(iter(made))
    read.append(frames.read)
    return 1

  monkeypatch.setattr(mp4, "write_video", write)
  _run(synthesizer, files, audio=_short(files, 40.0))
  # The look, twice; two batches of 4 windows; what is read ahead.
  most = 2 * 25 + 2 * 12 + talking_head.PREFETCH + 8
  assert 0 < read[0] <= most


@pytest.mark.parametrize("smooth", [False, True])
def test_streamed_poses_are_those_of_the_whole_clip(
  synthesizer, files, monkeypatch, smooth
):
  """With gaps, in and after the look, and back and forth at the end."""
  frames = Endless(60, gaps=((0, 2), (20, 27), (40, 45), (58, 60)))
  _hurry(monkeypatch, frames)
  seen = []

  def stream(portrait, pose, emotion, audio):
    seen.extend(pose)
    yield np.zeros((len(seen), 8, 8, 3), np.uint8)

  monkeypatch.setattr(synthesizer, "stream", stream)
  with pytest.warns(
    MediaWarning, match=r"no face from 0\.00 to 0\.08 s, 0\.80"
  ):
    _run(synthesizer, files, audio=_short(files, 4.0), smooth=smooth)
  found = np.ones(60, bool)
  for start, stop in frames.gaps:
    found[start:stop] = False
  at = np.arange(60)
  shade = np.interp(at, at[found], 80.0 + at[found] % 100) / 127.5 - 1
  if smooth:
    padded = np.pad(shade, 1, mode="edge")
    shade = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
  want = shade[ping_pong(60, 100)]
  np.testing.assert_allclose(np.array(seen)[:, 0], want, atol=1e-4)


@pytest.mark.parametrize(
  ("gap", "rule", "line"),
  [
    ((40, 99), "hold", r"a face in only 41%"),
    ((50, 55), "fail", r"no face from 2\.00 to 2\.04 s"),
  ],
)
def test_what_shows_late_is_refused_late_and_nothing_is_left(
  synthesizer, files, monkeypatch, gap, rule, line
):
  _hurry(monkeypatch, Endless(100, gaps=(gap,)))
  with pytest.raises(MediaError, match=line):
    _run(
      synthesizer,
      files,
      audio=_short(files, 4.0),
      rules=Rules(on_missing_face=rule),
      smooth=False,
    )
  assert not list(files["output"].parent.glob("*out*"))


def test_a_face_that_leaves_its_square_later_is_said(
  synthesizer, files, monkeypatch
):
  class Leaving(Centred):
    def stream(self, frames, which="largest"):
      for i, step in enumerate(super().stream(frames, which)):
        yield step._replace(landmarks=step.landmarks + (i > 60) * 30)

  _hurry(monkeypatch, Endless(100))
  with pytest.warns(MediaWarning, match=r"leaves the square .* in 39 frames"):
    _run(synthesizer, files, Leaving(), audio=_short(files, 4.0))


def test_sheet_shows_the_pose_frames_that_drive(
  synthesizer, files, monkeypatch
):
  frames = Endless(60, gaps=((10, 15),))
  _hurry(monkeypatch, frames)
  rows = []
  monkeypatch.setattr(contact_sheet, "write", lambda _, x: rows.extend(x))
  with pytest.warns(MediaWarning, match="no face"):
    _run(
      synthesizer,
      files,
      audio=_short(files, 4.0),
      sheet=files["output"].with_suffix(".png"),
    )
  (_, pictures) = rows[1]
  columns = np.linspace(0, 99, 8).astype(int)
  shades = [int(picture.mean()) for picture in pictures]
  drives = ping_pong(60, 100)[columns]
  drives = [9 if 10 <= i < 15 else i for i in drives]
  assert shades == [80 + i for i in drives]


def test_sheet_has_a_row_per_kind(synthesizer, files):
  sheet = files["output"].with_suffix(".png")
  _run(synthesizer, files, sheet=sheet)
  with Image.open(sheet) as image:
    cell = contact_sheet.CELL_PX
    assert image.size[0] == cell * 9  # identity and eight emotion faces
    assert image.size[1] > 3 * cell


def refused(folder, model, *words):
  """The one line with which the command refuses files of a folder."""
  made = subprocess.run(
    [
      *(sys.executable, "-m", "speak_jax.generate", "--model", model),
      *("--identity=a.png", "--audio=a.wav", *words, "-o", "out.mp4"),
    ],
    cwd=folder,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert made.returncode == 1
  assert made.stderr.count("\n") == 1
  return made.stderr


def test_command_fails_in_one_line(tmp_path):
  for name in ("a.png", "a.wav", "a.mp4"):
    (tmp_path / name).write_bytes(b"-")
  model = tmp_path / "model"
  model.mkdir()
  made = refused(tmp_path, model, "--pose=a.mp4", "--emotion=a.mp4")
  assert f"{model}: not a bundle" in made


@pytest.mark.parametrize(
  ("functions", "emotion", "line"),
  [
    (("frames",), "happy", "error: happy: no such file"),
    (("expression",), "glad", "error: --emotion: glad: no such file, nor an"),
    (("expression",), "empty.mp4", "error: empty.mp4: empty file"),
  ],
)
def test_a_wrong_emotion_is_refused_before_the_bundle_is_read(
  tmp_path, functions, emotion, line
):
  """The weights are no weights: whoever reads them says so instead."""
  for name in ("a.png", "a.wav", "a.mp4"):
    (tmp_path / name).write_bytes(b"-")
  (tmp_path / "empty.mp4").touch()
  model = tmp_path / "model"
  (model / "stablehlo").mkdir(parents=True)
  for name in ("SHA256SUMS", "model.safetensors"):
    (model / name).touch()
  for name in functions:
    (model / "stablehlo" / f"{name}.bin").touch()
  assert line in refused(tmp_path, model, "--emotion", emotion)


@pytest.mark.parametrize(
  ("model", "flag", "reason"),
  [
    (
      "photograph",
      "--windows=4",
      "this model moves the picture frame by frame",
    ),
    ("photograph", "--pose-mode=absolute", "there is no pose to follow"),
    ("reference", "--framing=full", "this model draws crops alone"),
    ("reference", "--pose-mode=relative", "this model takes a pose as it is"),
    (
      "reference",
      "--seed=0",
      "this model keeps a head still that nobody drives",
    ),
  ],
)
def test_a_flag_that_the_model_has_no_use_for_is_refused(
  tmp_path, model, flag, reason
):
  for name in ("a.png", "a.wav"):
    (tmp_path / name).write_bytes(b"-")
  line = f"error: {flag.partition('=')[0]}: {reason}; leave it out\n"
  assert refused(tmp_path, model, flag) == line


DEFAULT = """
from absl import flags
from speak_jax import generate
generate._define_flags()
print(flags.FLAGS["model"].default)
"""


def test_without_a_model_it_is_a_photograph_that_talks():
  made = subprocess.run(
    [sys.executable, "-c", DEFAULT],
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert Path(made.stdout.strip()).samefile(packaged.PHOTOGRAPH), made.stderr
  assert bundle.moves_photographs(packaged.PHOTOGRAPH)


@pytest.mark.parametrize("first", [1, 99])
def test_no_picture_without_a_face_keeps_a_decoder(
  tmp_path, monkeypatch, first
):
  class Late(Centred):
    """Sees none in the first pictures that it follows."""

    asked = 0

    def stream(self, frames, which="largest"):
      self.asked += 1
      for step in super().stream(frames, which):
        yield step._replace(found=step.found and self.asked > first)

  frames = np.full((5, 96, 96, 3), 120, np.uint8)
  mp4.write_video(tmp_path / "a.mp4", frames, 25.0)
  gc.collect()  # ends what earlier tests have left
  begun, ended = [], []
  start, finish = sandbox._Helper.start, sandbox._Helper.finish
  monkeypatch.setattr(
    sandbox._Helper,
    "start",
    lambda self, x: begun.append(start(self, x)) or begun[-1],
  )
  monkeypatch.setattr(
    sandbox._Helper,
    "finish",
    lambda self, pid: ended.append(pid) or finish(self, pid),
  )

  def ask():
    other = decoder.read_frames(tmp_path / "a.mp4")  # as the speech is
    next(other)
    inputs._first_face(tmp_path / "a.mp4", 25.0, Late(), "largest")
    raise MediaError("b.mp4", "no face found")

  gc.disable()
  try:
    try:
      ask()
    except MediaError as error:
      assert error.reason == "no face found"
    assert sorted(ended) == sorted(pid for pid, _ in begun)
  finally:
    gc.enable()
