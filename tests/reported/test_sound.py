"""What is heard and written of sound, of the kinds that people reported.

Each file holds the same voice. What is heard is that voice, at one loudness;
what is written is the file's own sound.
"""

import warnings
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import av.filter
import cv2
import numpy as np
import pytest
import soundfile

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.faces import cut
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import audio, decoder, loudness, mp4, video
from data_pipelines.media.error import MediaError, MediaWarning
from data_pipelines.media.mixing import mix
from data_pipelines.synthetic import demo_inputs, identity, render
from speak_jax import bundle, spec
from speak_jax.inference.synthesizer import Synthesizer
from tests import talking
from tests.reported.voices import RATE, SECONDS, Sound, db, voice, write


def silent(x):
  return 0 * x


class File(NamedTuple):
  """How a file is made, and what is said of it."""

  sounds: tuple[Sound, ...]
  options: dict = {}  # noqa: RUF012
  said: str = ""
  own: str = ""  # rate and layout in the mp4, where not the file's own
  hz: float = 7000  # up to which it is the voice


STEREO = ("stereo", lambda x: [x, x])
FILES = {
  # The rows of the reported table.
  "voice_minus20dB.wav": File(
    (Sound("pcm_s16le", channels=lambda x: [db(-20) * x]),)
  ),
  "antiphase.wav": File(
    (Sound("pcm_s16le", RATE, "stereo", lambda x: [x, -x]),),
    said="channels in opposite phase",
  ),
  "centre51.m4a": File(
    (Sound("aac", 48000, "5.1", lambda x: [0 * x] * 2 + [x] + [0 * x] * 3),),
    {"form": "ipod"},
  ),
  "two_tracks.mkv": File(
    (
      Sound("aac", channels=lambda x: [0 * x], default=False),
      Sound("aac"),
    ),
    {"picture": True},
    said="2 audio tracks; the default one is heard (track 2)",
  ),
  "say.aiff": File((Sound("pcm_s16be"),)),
  "say.caf": File((Sound("pcm_s16be"),)),
  "voice.wma": File((Sound("wmav2", 44100),), {"form": "asf"}),
  # Others of the same kinds.
  "minus40dB_24bit.wav": File(
    (Sound("pcm_s24le", 48000, channels=lambda x: [db(-40) * x]),)
  ),
  "hot_float.wav": File(
    (Sound("pcm_f32le", 48000, channels=lambda x: [db(12) * x]),)
  ),
  "eight_bit.wav": File((Sound("pcm_u8", 22050),)),
  "phone.wav": File((Sound("pcm_mulaw", 8000),), hz=3400),
  "phone.au": File((Sound("pcm_alaw", 8000),), hz=3400),
  "studio.wav": File(
    (Sound("pcm_s24le", 192000, *STEREO),), own="48000 stereo"
  ),
  "odd_rate.wav": File((Sound("pcm_s32le", 37800),), own="44100 mono"),
  "raw.aac": File((Sound("aac", 44100),), {"form": "adts"}),
  "note.opus": File((Sound("libopus", 48000),), {"form": "ogg"}),
  "packed.wv": File((Sound("wavpack", 44100, *STEREO),)),
  "true.tta": File((Sound("tta", 44100, *STEREO),)),
  "book.m4b": File((Sound("aac", 44100),), {"form": "ipod"}),
  "lossless.m4a": File((Sound("alac", 48000, *STEREO),), {"form": "ipod"}),
  "a_film.wav": File((Sound("aac", 48000),), {"form": "mp4", "picture": True}),
  "a_wav.mp3": File((Sound("pcm_s16le", 44100),), {"form": "wav"}),
  "left_only.flac": File(
    (Sound("flac", 96000, "stereo", lambda x: [x, 0 * x]),)
  ),
  "rumble71.flac": File(
    (
      Sound(
        "flac",
        48000,
        "7.1",
        lambda x: (
          [0 * x] * 2 + [x, np.sin(np.arange(len(x)) / 99) / 3] + [0 * x] * 4
        ),
      ),
    )
  ),
  "silent_default.mkv": File(
    (
      Sound("aac", channels=lambda x: [0 * x]),
      Sound("aac", default=False),
    ),
    said="the loudest one is heard (track 2)",
  ),
}


def heard(path: Path) -> np.ndarray:
  """As a network hears it."""
  return loudness.levelled(decoder.read_audio(path))


def likeness(got: np.ndarray, hz: float) -> tuple[float, float]:
  """How much of a sound is the voice, up to `hz`, and its lag in seconds."""
  want = voice()
  n = 2 * max(len(got), len(want))
  a, b = np.fft.rfft(got.astype(float), n), np.fft.rfft(want.astype(float), n)
  a[round(hz * n / RATE) :] = b[round(hz * n / RATE) :] = 0
  fine = 8  # to an eighth of a sample
  together = fine * np.fft.irfft(a * b.conj(), fine * n)
  at = int(together.argmax())
  alone = np.fft.irfft(a, n), np.fft.irfft(b, n)
  share = together[at] / np.prod([np.linalg.norm(x) for x in alone])
  return float(share), (at / fine - n * (at > fine * n // 2)) / RATE


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_the_same_voice(tmp_path, name):
  file = FILES[name]
  path = write(tmp_path / name, *file.sounds, **file.options)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    got = heard(path)
  said = [str(x.message) for x in caught]
  assert bool(said) == bool(file.said), said
  assert all(file.said in line for line in said)
  assert loudness.loudness(got) == pytest.approx(loudness.VOICE_LUFS, abs=0.3)
  share, lag = likeness(got, file.hz)
  assert share > 0.95, share
  # AAC without a container, and WMA, do not say how long their coder waits.
  assert abs(lag) < (0.05 if name in ("raw.aac", "voice.wma") else 0.001)
  assert abs(len(got) / RATE - SECONDS) < 0.07


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
def test_the_video_has_the_files_own_sound(tmp_path, name):
  file = FILES[name]
  path = write(tmp_path / name, *file.sounds, **file.options)
  track = decoder.audio_track(path)
  out = tmp_path / "out.mp4"
  frames = np.zeros((40, 16, 16, 3), np.uint8)
  mp4.write_video(out, frames, 25.0, decoder.read_sound(path, track))
  made = decoder.read_sound(out, 0)
  sound = np.concatenate(list(made.chunks), 1)
  got = f"{made.rate} {made.layout}"
  of = file.sounds[track]
  assert got == (file.own or f"{of.rate} {of.layout}")
  common = decoder.read_audio(out)
  before = decoder.read_audio(path)
  m = min(len(common), len(before))
  assert np.corrcoef(common[:m], before[:m])[0, 1] > 0.97
  # Channel by channel: what was silent is, and what was not is as loud.
  rows = of.channels(voice() / 32768)
  scale = max(np.abs(rows).max(), 1.0)  # floats above full scale
  levels = [np.std(row) / scale for row in rows]
  np.testing.assert_allclose(
    sound.std(1), levels, atol=0.25 * max(levels), rtol=0
  )
  assert np.abs(sound).max() < 1.2


@pytest.mark.parametrize("channels", range(1, 33))
@pytest.mark.parametrize("at", ["first", "last"])
def test_no_channel_is_lost_of_any_number(tmp_path, channels, at):
  rows = np.zeros((len(voice()), channels), np.int16)
  rows[:, 0 if at == "first" else -1] = voice()
  path = tmp_path / "recorder.wav"
  soundfile.write(path, rows, RATE)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", MediaWarning)
    made = decoder.read_sound(path, 0)
    own = np.concatenate(list(made.chunks), 1)
  assert len(own) == audio.LAYOUTS[made.layout]
  level = voice().std() / 32768
  # ffmpeg plays two from the back 3 dB lower in each ear.
  assert np.sqrt((own.std(1) ** 2).sum()) > 0.65 * level
  assert likeness(own.sum(0) * 32768, 7000)[0] > 0.99
  said = [str(x.message) for x in caught]
  assert len(said) == (channels > audio.MOST_CHANNELS), said


def test_the_wanted_track_is_heard(tmp_path):
  tracks = [Sound("aac", channels=lambda x, i=i: [x * i / 9]) for i in (9, 1)]
  path = write(tmp_path / "two.mkv", *tracks)
  levels = [
    loudness.loudness(
      decoder.read_audio(path, track=decoder.audio_track(path, i))
    )
    for i in (1, 2)
  ]
  assert levels[0] - levels[1] == pytest.approx(19.1, abs=0.5)
  with pytest.raises(MediaError, match="no audio track 3 of 1 to 2"):
    decoder.audio_track(path, 3)


def test_samples_that_are_no_numbers_are_borne(tmp_path):
  sound = voice() / np.float32(32768)
  sound[[500, 5000]] = np.nan, np.inf
  path = tmp_path / "a.wav"
  soundfile.write(path, sound, RATE, "FLOAT")
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    got = heard(path)
    made = decoder.read_sound(path, 0)
    whole = np.concatenate(list(made.chunks), 1)
  assert np.isfinite(whole).all() and np.abs(whole).max() <= 1
  assert likeness(got, 7000)[0] > 0.5


def test_what_is_no_sound_says_what_is_read(tmp_path):
  path = tmp_path / "letter.wav"
  path.write_text("to whom it may concern\n" * 99)
  with pytest.raises(MediaError, match=r"letter\.wav: .*wav, mp3, flac"):
    decoder.read_audio(path)


# --- loudness --------------------------------------------------------------


def test_a_picture_is_told_which_sounds_are_read(tmp_path):
  path = tmp_path / "song.wav"
  cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
  (tmp_path / "a.png").rename(path)
  line = r"song\.wav: cannot be read .of another kind.; kinds that are: .*wav"
  with pytest.raises(MediaError, match=line):
    decoder.audio_track(path)


def test_loudness_is_that_of_ffmpeg():
  sound = np.tile(voice(), 4)
  sound[: 2 * RATE] //= 50  # gated
  graph = av.filter.Graph()
  source = graph.add_abuffer(
    format="s16", sample_rate=RATE, layout="mono", time_base=Fraction(1, RATE)
  )  # fmt: skip
  meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
  source.link_to(meter)
  meter.link_to(sink)
  graph.configure()
  frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
  frame.sample_rate, frame.pts = RATE, 0
  graph.push(frame)
  graph.push(None)
  said = None
  while True:
    try:
      said = graph.pull().metadata.get("lavfi.r128.I", said)
    except (av.error.EOFError, av.error.BlockingIOError):
      break
  assert loudness.loudness(sound) == pytest.approx(float(said), abs=0.05)


@pytest.mark.parametrize("level", [-10, -26, -40])
@pytest.mark.parametrize("offset", [0.45, -0.2])
def test_a_constant_is_no_sound(level, offset):
  """Of a faulty microphone's input; amplified it would drown the voice."""
  quiet = (db(level) * voice() + 32768 * offset).round()
  got = loudness.levelled(quiet.clip(-32768, 32767).astype(np.int16))
  assert loudness.loudness(got) == pytest.approx(loudness.VOICE_LUFS, abs=0.3)
  assert likeness(got - got.mean(), 7000)[0] > 0.95


def test_silence_stays_silence():
  quiet = np.zeros(RATE, np.int16)
  quiet[::7] = 1
  for sound in (quiet, quiet[:0], quiet[:99]):
    np.testing.assert_array_equal(loudness.levelled(sound), sound)


@pytest.mark.parametrize("seconds", [0.1, 0.39, 0.41, 61.0])
def test_any_length_is_levelled(seconds):
  sound = np.resize(voice()[2000:], round(seconds * RATE)) // 9
  got = loudness.levelled(sound)
  assert len(got) == len(sound)
  assert loudness.loudness(got) == pytest.approx(loudness.VOICE_LUFS, abs=0.2)


def test_the_voices_of_training_have_that_loudness():
  clips = [
    render.speech.speak(
      identity.sample(7, "train", i), i % 8, 50, 25, (1, i)
    ).audio
    for i in range(64)
  ]
  levels = [loudness.loudness(clip) for clip in clips]
  assert np.mean(levels) == pytest.approx(loudness.VOICE_LUFS, abs=0.5)


@pytest.fixture(scope="module")
def speaker() -> spec.Record:
  """A drawn person who speaks for 1.6 s."""
  return demo_inputs.clip(0, 0, "neutral", 1, SECONDS)


@pytest.mark.parametrize("level", [-40, -20, 0])
def test_prepare_levels_the_voice_too(speaker, face_models, tmp_path, level):
  path = tmp_path / "a.mp4"
  sound = np.rint(speaker.audio * db(level)).astype(np.int16)
  frames = [decode_frame(jpeg) for jpeg in speaker.frames]
  mp4.write_video(path, frames, 25.0, sound)
  (clip,) = cut.clips_of(path, cut.Settings(size=64))
  assert loudness.loudness(clip.audio) == pytest.approx(
    loudness.VOICE_LUFS, abs=0.3
  )


def test_prepare_still_rejects_what_was_clipped_and_silence(
  speaker, face_models, tmp_path
):
  """Though neither can be heard of the levelled sound."""
  frames = [decode_frame(jpeg) for jpeg in speaker.frames]
  loud = np.clip(speaker.audio * 30.0, -32768, 32767).astype(np.int16)
  for name, sound, reason in (
    ("loud.mp4", loud, "clipped sound"),
    ("silent.mp4", 0 * loud, "silent"),
  ):
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    mp4.write_video(tmp_path / name, frames, 25.0)
    with pytest.raises(MediaError, match=reason):
      cut.clips_of(
        tmp_path / name,
        cut.Settings(size=64),
        audio_path=tmp_path / "a.wav",
      )


# --- the mix ---------------------------------------------------------------


@pytest.mark.parametrize(
  ("channels", "names", "weights", "turned"),
  [
    ("a,a", "FL FR", [0.5, 0.5], False),
    ("a,-a", "FL FR", [0.5, -0.5], True),
    ("a,0", "FL FR", [1, 0], False),
    ("a,b", "FL FR", [0.5, 0.5], False),
    ("0,0,a,0,0,0", "FL FR FC LFE BL BR", [0, 0, 1, 0, 0, 0], False),
    ("b,b,a,b,0,0", "FL FR FC LFE BL BR", [0.25, 0.25, 0.5, 0, 0, 0], False),
    ("a,-a,0,0,0,0", "FL FR FC LFE BL BR", [0.5, -0.5, 0, 0, 0, 0], True),
    ("0,0,0,a", "FL FR FC LFE", [0, 0, 0, 1], False),
    ("0,0", "FL FR", [0.5, 0.5], False),
  ],
)
def test_the_mix_loses_nothing(channels, names, weights, turned):
  rng = np.random.default_rng(0)
  a, b = np.linalg.qr(rng.normal(size=(999, 2)))[0].T
  known = {"a": a, "-a": -a, "b": b * 0.9, "0": silent(a)}
  x = np.stack([known[name] for name in channels.split(",")])
  got, said = mix(x @ x.T, names.split())
  np.testing.assert_allclose(got, weights, atol=1e-6)
  assert said == turned


# --- lips ------------------------------------------------------------------


class Lips(NamedTuple):
  """The reference model with one person's picture."""

  made: Synthesizer
  tracker: Tracker
  picture: Path

  def opening(self, sound: Path, out: Path) -> np.ndarray:
    """The mouth's opening in the video of a sound."""
    talking.generate(
      self.made,
      identity=self.picture,
      audio=sound,
      output=out,
      tracker=self.tracker,
      size=256,
      say=lambda line: None,
    )
    track = self.tracker.track(list(video.read_frames(out)))
    assert track.found.all()
    return np.array([spec.mouth_opening(x) for x in track.landmarks])


@pytest.fixture(scope="module")
def lips(tmp_path_factory, face_models) -> Lips:
  person = demo_inputs.clip(0, 0, "neutral", 1, seconds=0.2)
  picture = cv2.imdecode(np.frombuffer(person.frames[0], np.uint8), 1)
  path = tmp_path_factory.mktemp("lips") / "identity.png"
  cv2.imwrite(str(path), picture)
  made = Synthesizer.from_bundle(bundle.REFERENCE)
  return Lips(made, Tracker(face_models), path)


def alike(got: np.ndarray, want: np.ndarray) -> tuple[float, float]:
  """Correlation and ratio of the amplitudes of two mouths."""
  m = min(len(got), len(want))
  got, want = got[:m], want[:m]
  return float(np.corrcoef(got, want)[0, 1]), float(got.std() / want.std())


@pytest.fixture(scope="module")
def normal(lips, tmp_path_factory) -> np.ndarray:
  folder = tmp_path_factory.mktemp("normal")
  soundfile.write(folder / "a.wav", voice(), RATE)
  return lips.opening(folder / "a.wav", folder / "a.mp4")


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
@pytest.mark.parametrize("level", [-40, -20, -10, 0])
def test_lips_are_the_same_at_all_levels(lips, normal, tmp_path, level):
  sound = np.rint(voice() * db(level)).astype(np.int16)
  soundfile.write(tmp_path / "a.wav", sound, RATE)
  r, amplitude = alike(
    lips.opening(tmp_path / "a.wav", tmp_path / "a.mp4"), normal
  )
  print(f"{level} dB: r {r:.3f}, amplitude {amplitude:.3f}")
  assert r > 0.95 and 0.9 < amplitude < 1.1


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
@pytest.mark.parametrize(
  "name",
  [
    "voice_minus20dB.wav",
    "antiphase.wav",
    "centre51.m4a",
    "say.aiff",
    "say.caf",
  ],
)
def test_lips_of_the_reported_files(lips, reported, tmp_path, name):
  want = lips.opening(reported / "voice_normal.wav", tmp_path / "a.mp4")
  r, amplitude = alike(lips.opening(reported / name, tmp_path / "b.mp4"), want)
  print(f"{name}: r {r:.3f}, amplitude {amplitude:.3f}")
  assert r > 0.95 and 0.9 < amplitude < 1.1


@pytest.mark.filterwarnings("ignore::data_pipelines.media.error.MediaWarning")
@pytest.mark.parametrize("name", ["two_tracks.mkv", "voice.wma", "clip.wmv"])
def test_the_other_reported_files_are_heard(reported, name):
  got = heard(reported / name)
  assert loudness.loudness(got) == pytest.approx(loudness.VOICE_LUFS, abs=0.3)
