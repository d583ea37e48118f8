from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from data_pipelines.media.audio import read_audio
from data_pipelines.media.error import MediaError


@pytest.mark.parametrize(
  ("rate", "subtype", "channels"),
  [(8000, "PCM_16", 2), (44100, "PCM_24", 1), (48000, "FLOAT", 2)],
)
def test_any_wav_becomes_16_khz_mono(tmp_path, rate, subtype, channels):
  time = np.arange(rate) / rate
  tone = np.repeat(0.5 * np.sin(2 * np.pi * 440 * time)[:, None], channels, 1)
  path = tmp_path / "a.wav"
  soundfile.write(path, tone, rate, subtype)
  got = read_audio(path)
  assert got.dtype == np.int16 and abs(len(got) - 16000) <= 2
  want = 16384 * np.sin(2 * np.pi * 440 * np.arange(len(got)) / 16000)
  np.testing.assert_allclose(got[200:-200], want[200:-200], atol=400)


def test_frames_fix_the_length(tmp_path):
  path = tmp_path / "a.wav"
  soundfile.write(path, np.full(1600, 0.5), 16000)
  assert len(read_audio(path, 5)) == 3200
  assert read_audio(path, 5)[1600:].max() == 0
  assert len(read_audio(path, 1)) == 640
  assert len(read_audio(path, 3, fps=30.0)) == 1600


def test_sound_that_starts_late_is_moved(tmp_path):
  path = tmp_path / "a.mkv"
  with av.open(str(path), "w") as out:
    video = out.add_stream("libx264", rate=25)
    video.width = video.height = 32
    video.pix_fmt = "yuv420p"
    sound = out.add_stream("pcm_s16le", rate=16000, layout="mono")
    for i in range(25):
      frame = av.VideoFrame.from_ndarray(
        np.zeros((32, 32, 3), np.uint8), format="rgb24"
      )
      frame.pts, frame.time_base = i, Fraction(1, 25)
      out.mux(video.encode(frame))
    out.mux(video.encode(None))
    chunk = av.AudioFrame.from_ndarray(
      np.full((1, 8000), 9000, np.int16), format="s16", layout="mono"
    )
    chunk.sample_rate, chunk.time_base = 16000, Fraction(1, 16000)
    chunk.pts = 6400  # 0.4 s
    out.mux(sound.encode(chunk))
    out.mux(sound.encode(None))
  got = read_audio(path, 25)
  assert np.abs(got[:6380]).max() == 0
  assert got[6420:14380].min() == 9000


@pytest.mark.parametrize("samples", [16000, 16384, 16385])
def test_the_coders_padding_is_no_sound(tmp_path, samples):
  """AAC codes 1024 samples at a time; an mp4 says how many there were."""
  path = tmp_path / "a.m4a"
  with av.open(str(path), "w", format="mp4") as out:
    stream = out.add_stream("aac", rate=16000, layout="mono")
    wave = 9000 * np.sin(np.arange(samples) / 9)
    chunk = av.AudioFrame.from_ndarray(
      wave.astype(np.int16)[None], format="s16", layout="mono"
    )
    chunk.sample_rate, chunk.pts = 16000, 0
    for frame in (chunk, None):
      out.mux(stream.encode(frame))
  got = read_audio(path)
  assert 0 <= len(got) - samples < 16  # an mp4 may count milliseconds
  assert np.abs(got[-400:]).max() > 8000  # nothing of it is lost


def test_no_sound_is_refused(tmp_path, awkward):
  empty = tmp_path / "empty.wav"
  soundfile.write(empty, np.zeros(0), 16000)
  with pytest.raises(MediaError, match=r"empty\.wav: the audio track holds no"):
    read_audio(empty)
  with pytest.raises(MediaError, match=r"no_audio\.mp4: no audio track"):
    read_audio(awkward.path("no_audio.mp4"))


@pytest.mark.parametrize(
  ("name", "seconds"),
  [
    ("speech.mp3", 6.0),
    ("stereo_8k.wav", 5.0),
    ("pcm24_44k.wav", 3.0),
    ("float32_48k_stereo.wav", 3.0),
    ("short_0p1s.wav", 0.1),
  ],
)
def test_awkward_sounds(awkward, name, seconds):
  got = read_audio(awkward.path(name))
  assert len(got) == pytest.approx(seconds * 16000, abs=2)
  assert 3000 < np.abs(got.astype(int)).max() <= 32768
