"""Awkward files, drawn: what people hand to a program and it did not expect.

`MAKERS` has a function for each file. What all of them show and say is a drawn
person (two where two are needed) and a drawn voice, so that they can be made
anywhere; each is made where a test first asks for it. Files of the same names
and kinds that were cut from recordings lie in shared/data/awkward where that
folder is; the same tests read both (the fixture `awkward` of conftest.py).
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import soundfile
from jaxtyping import Float, Int16, UInt8
from PIL import Image
from scipy.signal import resample_poly

from data_pipelines.dataset.pictures import decode_frame
from data_pipelines.synthetic import demo_inputs, head, speech
from speak_jax import spec

RATE = spec.SAMPLE_RATE_HZ
SECONDS = 3.0  # of most films
GROUND = 90  # grey level of what lies around a picture that was put elsewhere


class Files:
  """A folder of the files; those that are missing are made as they are asked.

  Args:
    folder: Where they are.
    plain: A film with the sound of audio_late_400ms.mp4, not late.
  """

  def __init__(self, folder: Path, plain: Path | None = None):
    self.folder = folder
    self._plain = plain

  def path(self, name: str) -> Path:
    """The file of that name."""
    path = self.folder / name
    if self._plain is None and not path.exists():
      MAKERS[name](path)
    return path

  def everything(self) -> Path:
    """The folder, with all of them in it."""
    for name in MAKERS:
      self.path(name)
    return self.folder

  def plain(self) -> Path:
    """A film with the sound of audio_late_400ms.mp4, which is not late."""
    if self._plain is not None:
      return self._plain
    path = self.folder.with_name(f"{self.folder.name}_plain.mp4")
    if not path.exists():
      film(path, pictures(75), voice(SECONDS))
    return path


# --- what is shown and said ------------------------------------------------


@functools.cache
def _person(index: int, seconds: float) -> list[UInt8[np.ndarray, "h w 3"]]:
  clip = demo_inputs.clip(0, index, "neutral", 1, seconds)
  return [decode_frame(jpeg) for jpeg in clip.frames]


def pictures(n: int, person: int = 2) -> list[UInt8[np.ndarray, "256 256 3"]]:
  """n pictures of a drawn person who talks, there and back again."""
  drawn = _person(person, SECONDS if person == 2 else 1.0)
  there = [*range(len(drawn)), *range(len(drawn) - 2, 0, -1)]
  return [drawn[there[i % len(there)]] for i in range(n)]


@functools.cache
def voice(seconds: float) -> Int16[np.ndarray, "s"]:
  """Speech of a drawn person, 16 kHz."""
  person = head.model(0, "test", 1).person
  return speech.speak(person, 0, round(25 * seconds), 25, (0, 3)).audio


def resampled(
  sound: Int16[np.ndarray, "s"], hz: int, channels: int = 1
) -> np.ndarray:
  """Floats in [-1, 1] at another rate, (s, channels)."""
  common = np.gcd(hz, RATE)
  made = resample_poly(sound / 32768, hz // common, RATE // common)
  return np.repeat(made[:, None], channels, 1)


# --- films -----------------------------------------------------------------


def film(
  path: Path,
  shown: Sequence[UInt8[np.ndarray, "h w 3"]],
  sound: Int16[np.ndarray, "s"] | None = None,
  *,
  rate: Fraction | int = 25,
  lasts: Iterable[int] | None = None,
  hz: int = RATE,
  channels: int = 1,
  late: float = 0.0,
  matrix: Sequence[int] | None = None,
  index_first: bool = True,
) -> None:
  """Writes an mp4 (H.264, AAC).

  Args:
    path: Where to.
    shown: Pictures.
    sound: 16 kHz; None: no sound track.
    rate: Pictures a second, whose inverse is the unit of `lasts`.
    lasts: How long each picture lasts; None: one unit.
    hz: Rate that the sound is stored at.
    channels: 1 or 2, both the same.
    late: Seconds from the first picture to the sound's beginning.
    matrix: a, b, c, d of the display matrix: x' = a x + c y, y' = b x + d y.
    index_first: Whether the index lies in front of the pictures.
  """
  options = {"movflags": "+faststart"} if index_first else {}
  with av.open(str(path), "w", format="mp4", options=options) as out:
    video = out.add_stream("libx264", rate=rate)
    video.height, video.width = shown[0].shape[:2]
    video.pix_fmt = "yuv420p"
    video.options = {
      "crf": "20", "preset": "veryfast", "threads": "1", "bf": "0"
    }  # fmt: skip
    if matrix is not None:
      a, b, c, d = (x << 16 for x in matrix)
      video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
    layout = "stereo" if channels == 2 else "mono"
    track = None
    if sound is not None:
      track = out.add_stream("aac", rate=hz, layout=layout)
      track.bit_rate = 64_000 * channels
    begin = 0
    lasting = list(lasts) if lasts is not None else [1] * len(shown)
    for picture, units in zip(shown, lasting, strict=True):
      frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(picture), format="rgb24"
      )
      frame.pts, frame.time_base = begin, 1 / Fraction(rate)
      out.mux(video.encode(frame))
      begin += units
    last = video.encode(None)
    if last:  # its length is told by no next one
      last[-1].duration = round(
        lasting[-1] / Fraction(rate) / last[-1].time_base
      )
    out.mux(last)
    if sound is not None and track is not None:
      encode(out, track, resampled(sound, hz, channels), hz, layout, late)


def encode(
  out: Any,
  track: Any,
  sound: Float[np.ndarray, "s c"],
  hz: int,
  layout: str,
  late: float = 0.0,
) -> None:
  """Writes floats (s, channels) as a track's codec wants them."""
  whole = av.AudioFrame.from_ndarray(
    np.ascontiguousarray(sound, np.float32).reshape(1, -1),
    format="flt",
    layout=layout,
  )
  whole.sample_rate, whole.time_base = hz, Fraction(1, hz)
  whole.pts = round(late * hz)
  context = track.codec_context
  pieces = av.AudioResampler(
    format=context.format,
    layout=layout,
    rate=hz,
    frame_size=context.frame_size or 1024,
  )
  for frame in (*pieces.resample(whole), *pieces.resample(None)):
    out.mux(track.encode(frame))
  out.mux(track.encode(None))


def placed(
  picture: UInt8[np.ndarray, "h w 3"],
  x: int,
  y: int,
  width: int,
  height: int,
) -> UInt8[np.ndarray, "height width 3"]:
  """A picture on plain ground, its corner at x, y; what is outside is lost."""
  shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
  return cv2.warpAffine(
    picture, shift, (width, height), borderValue=(GROUND,) * 3
  )


def scaled(
  picture: UInt8[np.ndarray, "h w 3"], width: int, height: int
) -> UInt8[np.ndarray, "height width 3"]:
  return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _audio_late_400ms(path: Path) -> None:
  film(path, pictures(79), voice(SECONDS)[: round(2.6 * RATE)], late=0.4)


def _audio_longer_than_video(path: Path) -> None:
  film(path, pictures(53), voice(5.24))


def _face_leaves(path: Path) -> None:
  """Out to the right in three pictures, gone for 2 s, and back in three."""
  x = np.full(125, 0)
  x[41:44] = 58, 116, 174
  x[44:96] = 999
  x[96:99] = 174, 116, 58
  shown = zip(pictures(125), x, strict=True)
  film(path, [placed(p, int(at), 0, 488, 256) for p, at in shown], voice(5.0))


def _fps_29_97(path: Path) -> None:
  film(path, pictures(90), voice(SECONDS), rate=Fraction(30000, 1001))


def _no_audio(path: Path) -> None:
  film(path, pictures(75))


def _one_frame(path: Path) -> None:
  film(path, pictures(1))


def _rotated_phone(path: Path) -> None:
  """Upright 288 x 512, stored on its side."""
  upright = (placed(x, 16, 100, 288, 512) for x in pictures(90))
  film(
    path,
    [np.rot90(x) for x in upright],
    voice(SECONDS),
    rate=30,
    hz=44100,
    channels=2,
    matrix=(0, 1, -1, 0),
  )


def _text_renamed(path: Path) -> None:
  path.write_text("a letter that somebody has renamed\n")


def _tiny_96px(path: Path) -> None:
  """A face of some 24 px in a picture of 96."""
  small = (scaled(x, 52, 52) for x in pictures(75))
  film(path, [placed(x, 22, 22, 96, 96) for x in small], voice(SECONDS))


def _truncated_mid_stream(path: Path) -> None:
  """Breaks off within the 31st picture; the index is whole."""
  film(path, pictures(75), voice(SECONDS))
  with av.open(str(path)) as whole:
    places = [x.pos for x in whole.demux(video=0) if x.size]
  path.write_bytes(path.read_bytes()[: places[30] + 10])


def _truncated_no_moov(path: Path) -> None:
  film(path, pictures(75), voice(SECONDS), index_first=False)
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) * 6 // 10])


def _two_faces(path: Path) -> None:
  film(path, [two(i) for i in range(100)], voice(4.0))


def two(at: int) -> UInt8[np.ndarray, "256 512 3"]:
  """Two people side by side, the right one smaller."""
  left, right = (pictures(at + 1, person)[at] for person in (2, 5))
  picture = placed(left, 0, 0, 512, 256)
  picture[:, 256:] = placed(scaled(right, 208, 208), 24, 48, 256, 256)
  return picture


def _very_dark(path: Path) -> None:
  film(path, [x // 6 for x in pictures(75)], voice(SECONDS))


def _vfr(path: Path) -> None:
  """25, then 12.5, then 5 pictures a second: 56 of them in 4 s."""
  film(path, pictures(56), voice(4.0), lasts=[1] * 33 + [2] * 16 + [5] * 7)


def _zero_byte(path: Path) -> None:
  path.touch()


# --- pictures --------------------------------------------------------------


def picture() -> Image.Image:
  """The picture of which most others are kinds."""
  return Image.fromarray(pictures(1)[0])


def _exif_rotated(path: Path) -> None:
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise
  turned = picture().transpose(Image.Transpose.ROTATE_90)
  turned.save(path, exif=exif, quality=95)


def _gray16(path: Path) -> None:
  light = np.asarray(picture().convert("L")).astype(np.uint16)
  Image.fromarray(257 * light).save(path)


def _no_face(path: Path) -> None:
  noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
  Image.fromarray(noise).resize((256, 192), Image.Resampling.BICUBIC).save(path)


def _rgba(path: Path) -> None:
  """The person, with a soft edge, on nothing."""
  alpha = np.zeros((256, 256), np.uint8)
  cv2.ellipse(alpha, (128, 128), (110, 125), 0, 0, 360, 255, -1)
  cut_out = picture()
  cut_out.putalpha(Image.fromarray(cv2.GaussianBlur(alpha, (0, 0), 4)))
  cut_out.save(path)


def _tiny(path: Path) -> None:
  picture().crop((28, 0, 228, 242)).resize((48, 58)).save(path)


def _truncated(path: Path) -> None:
  picture().save(path, quality=95)
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 3])


# --- sounds ----------------------------------------------------------------


def _wav(path: Path, seconds: float, hz: int, channels: int, kind: str) -> None:
  soundfile.write(path, resampled(voice(seconds), hz, channels), hz, kind)


def _clipped(path: Path) -> None:
  """30 dB too loud."""
  loud = voice(4.0) * 10 ** (30 / 20)
  soundfile.write(path, loud.clip(-32768, 32767).astype(np.int16), RATE)


def _noise_only(path: Path) -> None:
  noise = np.random.default_rng(0).normal(0, 0.1, round(SECONDS * RATE))
  soundfile.write(path, noise, RATE)


def _short(path: Path) -> None:
  """A tenth of a second at the loudest place."""
  sound = voice(SECONDS)
  middle = int(np.abs(sound.astype(int))[800:-800].argmax()) + 800
  soundfile.write(path, sound[middle - 800 : middle + 800], RATE)


def _speech_mp3(path: Path) -> None:
  with av.open(str(path), "w") as out:
    track = out.add_stream("libmp3lame", rate=44100, layout="mono")
    encode(out, track, resampled(voice(6.0), 44100), 44100, "mono")


MAKERS: dict[str, Callable[[Path], None]] = {
  "audio_late_400ms.mp4": _audio_late_400ms,
  "audio_longer_than_video.mp4": _audio_longer_than_video,
  "clipped.wav": _clipped,
  "cmyk.jpg": lambda path: picture().convert("CMYK").save(path, quality=95),
  "empty.wav": lambda path: soundfile.write(path, np.zeros(0), RATE),
  "exif_rotated.jpg": _exif_rotated,
  "face_leaves.mp4": _face_leaves,
  "float32_48k_stereo.wav": lambda path: _wav(path, 3.0, 48000, 2, "FLOAT"),
  "fps_29_97.mp4": _fps_29_97,
  "gray.jpg": lambda path: picture().convert("L").save(path, quality=95),
  "gray16.png": _gray16,
  "no_audio.mp4": _no_audio,
  "no_face.png": _no_face,
  "noise_only.wav": _noise_only,
  "one_frame.mp4": _one_frame,
  "palette.png": lambda path: picture().quantize(64).save(path),
  "pcm24_44k.wav": lambda path: _wav(path, 3.0, 44100, 1, "PCM_24"),
  "rgba.png": _rgba,
  "rotated_phone.mp4": _rotated_phone,
  "short_0p1s.wav": _short,
  "silent.wav": lambda path: soundfile.write(
    path, np.zeros(round(SECONDS * RATE)), RATE
  ),
  "speech.mp3": _speech_mp3,
  "stereo_8k.wav": lambda path: _wav(path, 5.0, 8000, 2, "PCM_16"),
  "text_renamed.mp4": _text_renamed,
  "tiny.png": _tiny,
  "tiny_96px.mp4": _tiny_96px,
  "truncated.jpg": _truncated,
  "truncated_mid_stream.mp4": _truncated_mid_stream,
  "truncated_no_moov.mp4": _truncated_no_moov,
  "two_faces.mp4": _two_faces,
  "two_people.jpg": lambda path: Image.fromarray(two(0)).save(path, quality=95),
  "upside_down.jpg": lambda path: (
    picture().transpose(Image.Transpose.ROTATE_180).save(path, quality=95)
  ),
  "very_dark.mp4": _very_dark,
  "vfr.mp4": _vfr,
  "zero_byte.mp4": _zero_byte,
}
