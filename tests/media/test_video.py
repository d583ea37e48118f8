from fractions import Fraction

import av
import numpy as np
import pytest

from data_pipelines.media import decoder, mp4, video
from data_pipelines.media.audio import read_audio
from data_pipelines.media.error import MediaError, MediaWarning

SIZE = 32


def picture(value: int) -> np.ndarray:
  return np.full((SIZE, SIZE, 3), value, np.uint8)


def written(path, times_ms, values):
  """An mp4 whose picture i has its own brightness and time."""
  with av.open(str(path), "w") as out:
    stream = out.add_stream("libx264", rate=1000)
    stream.width = stream.height = SIZE
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, 1000)
    stream.codec_context.time_base = Fraction(1, 1000)
    stream.options = {"crf": "1", "bf": "0"}
    for time, value in zip(times_ms, values, strict=True):
      frame = av.VideoFrame.from_ndarray(picture(value), format="rgb24")
      frame.pts, frame.time_base = time, Fraction(1, 1000)
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  return path


def brightness(path, fps=25.0) -> np.ndarray:
  return np.array([frame.mean() for frame in video.read_frames(path, fps)])


def test_uneven_times_land_on_the_grid(tmp_path):
  times = [0, 40, 80, 160, 240, 440, 480]
  values = [20, 40, 60, 90, 130, 180, 220]
  got = brightness(written(tmp_path / "a.mp4", times, values))
  # The nearest in time, a tie to the later; the last one lasts 1 ms.
  want = [20, 40, 60, 90, 90, 130, 130, 130, 130, 180, 180, 180]
  np.testing.assert_allclose(got, want, atol=4)


@pytest.mark.parametrize(
  ("fps", "n"), [(30000 / 1001, 90), (50.0, 150), (12.0, 36)]
)
def test_any_rate_keeps_its_length(tmp_path, fps, n):
  frames = (picture(40 + i) for i in range(n))
  path = tmp_path / "a.mp4"
  assert mp4.write_video(path, frames, fps) == n
  got = brightness(path)
  assert len(got) == round(n / fps * 25)
  # Brightness is time: it may be half a source picture off.
  time = np.arange(len(got)) / 25
  np.testing.assert_allclose(got - 40, time * fps, atol=2.6)
  assert video.probe(path).fps == pytest.approx(fps, rel=1e-3)


def test_sound_and_picture_come_back_in_step(tmp_path):
  n, flash = 50, 30
  frames = [picture(255 if i == flash else 0) for i in range(n)]
  sound = np.zeros(n * 640, np.int16)
  sound[flash * 640 : flash * 640 + 160] = 20_000
  path = tmp_path / "a.mp4"
  mp4.write_video(path, frames, 25.0, sound)
  info = video.probe(path)
  assert info.has_audio and (info.width, info.height) == (SIZE, SIZE)
  assert brightness(path).argmax() == flash
  got = read_audio(path, n)
  assert len(got) == n * 640
  start = np.flatnonzero(np.abs(got.astype(int)) > 5000)[0]
  assert abs(start - flash * 640) < 32  # 2 ms
  data = path.read_bytes()
  assert data.index(b"moov") < data.index(b"mdat")


def test_a_failed_write_leaves_nothing(tmp_path):
  def frames():
    yield picture(0)
    raise RuntimeError("no more")

  path = tmp_path / "a.mp4"
  path.write_bytes(b"old")
  with pytest.raises(RuntimeError):
    mp4.write_video(path, frames())
  assert path.read_bytes() == b"old"
  assert list(tmp_path.iterdir()) == [path]
  with pytest.raises(MediaError, match="no frames"):
    mp4.write_video(path, [])
  with pytest.raises(MediaError, match="even"):
    mp4.write_video(path, np.zeros((1, 31, 32, 3), np.uint8))


def test_what_is_no_video_is_refused_in_one_line(tmp_path):
  (tmp_path / "empty.mp4").write_bytes(b"")
  (tmp_path / "text.mp4").write_text("words")
  # Scripts that would make ffmpeg open other files.
  (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nother.mp4\n")
  (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
  for name in ("empty", "text", "list", "concat", "missing"):
    path = tmp_path / f"{name}.mp4"
    with pytest.raises(MediaError) as caught:
      next(video.read_frames(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_rotation_is_applied(awkward):
  frames = list(video.read_frames(awkward.path("rotated_phone.mp4")))
  assert len(frames) == 75 and frames[0].shape == (512, 288, 3)


def test_broken_off_file_gives_what_is_there(awkward):
  path = awkward.path("truncated_mid_stream.mp4")
  with pytest.warns(MediaWarning, match="breaks off after 30 of 75"):
    assert 28 <= sum(1 for _ in video.read_frames(path)) <= 32


def test_an_hour_of_sound_is_never_encoded_at_once(tmp_path, monkeypatch):
  """A second at a time, beside its pictures; all of it arrives."""
  sizes = []
  whole = mp4.av.AudioFrame

  class Counted:
    @staticmethod
    def from_ndarray(array, **kwargs):
      sizes.append(array.shape[1])
      return whole.from_ndarray(array, **kwargs)

  monkeypatch.setattr(mp4.av, "AudioFrame", Counted)
  audio = np.zeros(5 * 16_000 + 123, np.int16)
  frames = np.zeros((125, 16, 16, 3), np.uint8)
  mp4.write_video(tmp_path / "a.mp4", frames, 25.0, audio)
  assert sizes == [16_000] * 5 + [123]


def test_a_video_of_many_pictures_is_read_to_its_end(tmp_path):
  """Its pictures must not have a thread each: no process may have so many."""
  path, count = tmp_path / "long.mp4", 2_000
  frame = np.zeros((16, 16, 3), np.uint8)
  mp4.write_video(path, (frame for _ in range(count)))
  assert sum(1 for _ in decoder.read_frames(path)) == count
