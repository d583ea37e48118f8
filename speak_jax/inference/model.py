"""A trained model in a user's hands: `speak_jax.load`."""

import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data_pipelines.faces.eyes import EyeReader
from data_pipelines.faces.follow import FaceTracker
from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import sandbox
from speak_jax import bundle as bundles
from speak_jax.common import packaged
from speak_jax.inference import take as takes
from speak_jax.inference.inputs import check_files
from speak_jax.inference.materials import (
  Emotion,
  Pictures,
  Pose,
  Speech,
  stored,
  stored_emotion,
  stored_pose,
)
from speak_jax.inference.request import Request, RequestError
from speak_jax.inference.take import Result, Take
from speak_jax.inference.video import Video
from speak_jax.provenance import manifest
from speak_jax.provenance.marking import Marking, of_bundle

if TYPE_CHECKING:
  from speak_jax.inference.stream import Stream

T = TypeVar("T")
NO_FILE = ""  # in the place of sound that comes in pieces
WINDOWS = 8  # made at a time, where a network draws frames


class Model:
  """Makes videos of talking heads.

  Attributes:
    tracker: Finds faces; for one thread at a time.
  """

  def __init__(
    self,
    reads: Callable[[Request, FaceTracker, Callable[[str], None]], Take],
    tracker: FaceTracker | None = None,
    marking: Marking | None = None,
    streams: Callable[..., "Stream"] | None = None,
  ):
    """Joins a network with what finds faces.

    Args:
      reads: `talking_photograph.take` or `talking_head.take`, of a network.
      tracker: Finds faces; None: FaceMesh.
      marking: How videos say that they are synthetic; None: marked, as by
        weights that have no name.
      streams: `stream.of_photograph` of a network that moves
        photographs; None: it makes no streams.

    Raises:
      MissingModelError: FaceMesh is not there yet.
    """
    self._reads, self._streams = reads, streams
    self._marking = Marking() if marking is None else marking
    self.tracker = Tracker() if tracker is None else tracker

  def generate(
    self,
    identity: Pictures,
    audio: Speech,
    pose: Pose | None = None,
    emotion: Emotion | None = None,
    *,
    more_audio: Sequence[Speech] = (),
    **fields: Any,
  ) -> Video:
    """Makes a video; `Request` says what each input is.

    Args:
      identity: A path, a PIL image or a uint8 picture (h w 3).
      audio: A path, or (samples, Hz): int16, or float of full scale 1, (s) or
        (s c).
      pose: A path, a picture, or (uint8 pictures (n h w 3), fps); "still" or
        "sampled"; or angles as `materials.stored_pose` takes them, such as
        rows of time (s), yaw, pitch and roll (degrees), float (n 4).
      emotion: A path, a picture or pictures; a name and its strength, as in
        "happy:0.7"; or a list of rows of time (s), name and strength.
      more_audio: Of a picture of several people: what its second face from
        the left says, its third and so on, each as `audio`.
      fields: The other fields of `Request`: size, framing, seed and so on.

    Raises:
      FileError: an input cannot be used; one line.
      RequestError: the model cannot do what is asked for; one line.
      ValueError: something in memory is no picture or sound; one line.
    """

    def made(folder: Path) -> Video:
      inputs = _in_files(identity, pose, emotion, folder)
      inputs["audio"] = stored(audio, "audio", folder)
      inputs["more_audio"] = tuple(
        stored(sound, f"audio{i}", folder) for i, sound in enumerate(more_audio)
      )
      return Video(self.take, self.tracker, Request(**inputs, **fields))

    return _with_folder(made)

  def stream(
    self,
    identity: Pictures,
    pose: Pose | None = None,
    emotion: Emotion | None = None,
    *,
    lufs: float | None = None,
    look_ahead: float | None = None,
    **fields: Any,
  ) -> "Stream":
    """Makes frames while sound comes; models that move photographs alone.

    Args:
      identity: As for `generate`.
      pose: The same. Head motion, read or idle, is that of ten minutes at
        most, and then goes back and forth.
      emotion: As for `generate`.
      lufs: Loudness of the voice that will come; None: it is measured while
        it comes, and the network hears it as loud as the voices that it
        learned from.
      look_ahead: Seconds of sound that must have come behind a frame before
        it is made; None: as much as the network hears (1.32), which gives
        the frames of `generate`. With less, what is not known yet is taken to
        mirror what was: .2 is enough to talk with somebody.
      fields: As for `generate`.

    Raises:
      FileError, RequestError, ValueError: as `generate` does.
    """
    if self._streams is None:
      raise RequestError("model", "draws windows of frames, and has no stream")
    streams = self._streams

    def made(folder: Path) -> "Stream":
      inputs = _in_files(identity, pose, emotion, folder)
      request = Request(audio=NO_FILE, **inputs, **fields)
      return streams(
        request, self.tracker, self._marking, lufs=lufs, look_ahead=look_ahead
      )

    return _with_folder(made)

  def take(
    self, request: Request, say: Callable[[str], None] = lambda line: None
  ) -> Take:
    """Reads the inputs of a request; `Take.marked` has its frames.

    Args:
      request: Of files.
      say: Takes a line for each input.

    Raises:
      FileError, RequestError: see `generate`.
    """
    take = self._reads(request, self.tracker, say)
    return take._replace(marking=self._marking)

  def write(
    self,
    request: Request,
    output: str | os.PathLike,
    *,
    sheet: str | os.PathLike | None = None,
    say: Callable[[str], None] = print,
    bar: bool = True,
  ) -> Result:
    """Makes a file out of files, as `speak generate` does.

    Args:
      request: Of files.
      output: The video, replaced if it is there, as its name ends: .mp4, .mov
        or .webm, whose folder must exist, or a slash: a folder of pictures.
      sheet: Also write a contact sheet PNG here.
      say: Takes a line for each input.
      bar: Whether to say how far it is.

    Raises:
      FileError, RequestError: see `generate`. Nothing is left half-written,
        and no input is replaced.
    """
    check_files(request.files, output, sheet)
    take = self.take(request, say)
    return takes.write(take, output, sheet, say, bar=bar)


def _with_folder(make: Callable[[Path], T]) -> T:
  """Makes something out of files of a new folder, which goes when it does."""
  folder = Path(tempfile.mkdtemp(prefix="speak-"))
  forget = functools.partial(shutil.rmtree, folder, ignore_errors=True)
  try:
    made = make(folder)
  except BaseException:
    forget()
    raise
  weakref.finalize(made, forget)
  return made


def _in_files(
  identity: Pictures, pose: Pose | None, emotion: Emotion | None, folder: Path
) -> dict[str, Any]:
  """Inputs as a request has them; what is in memory is stored first."""
  return {
    "identity": stored(identity, "identity", folder),
    "pose": None if pose is None else stored_pose(pose, folder),
    "emotion": None if emotion is None else stored_emotion(emotion, folder),
  }


def load(
  path: str | os.PathLike = packaged.PHOTOGRAPH,
  *,
  tracker: FaceTracker | None = None,
  windows: int | None = None,
  watermark: bool = True,
  certificate: str | os.PathLike | None = None,
  certificate_key: str | os.PathLike | None = None,
  cache: bool = False,
) -> Model:
  """Loads a bundle.

  Args:
    path: A folder that `speak_jax.export` made, or the name of a bundle that
      comes with the package: "photograph" or "reference".
    tracker: Finds faces; None: FaceMesh.
    windows: Made at a time, where the network draws frames; None: WINDOWS.
    watermark: Whether frames bear an invisible mark that they are synthetic;
      without it files still have tags and a signed manifest. `marking.LAW`
      says what the law asks.
    certificate: PEM chain that signs manifests; None: $SPEAK_CERTIFICATE, or
      one that is made for each file and vouches for nobody.
    certificate_key: Its private key, PEM; None: $SPEAK_CERTIFICATE_KEY.
    cache: Whether compiled programs are kept for the next start, those of all
      of this process; `compilation.keep` says where.

  Raises:
    BundleError: it is damaged, or of a newer jax; one line.
    FileError: the certificate or its key cannot be used; one line.
    RequestError: windows, of a model that makes frame by frame.
    MissingModelError: FaceMesh is not there yet.
  """
  sandbox.begin()  # it loads its libraries while this process loads JAX
  if cache:
    from speak_jax.inference import compilation

    compilation.keep()
  signer = manifest.signer(certificate, certificate_key)
  place = packaged.model(os.fspath(path))
  content = bundles.read(place)
  marking = Marking(
    of_bundle(place, content),
    whole=not content.moves_photographs,
    watermark=watermark,
    credentials=signer,
  )
  # Each kind's own alone: JAX and numba take a while to load.
  if content.moves_photographs:
    if windows is not None:
      raise RequestError(
        "windows",
        "this model moves the picture frame by frame; leave it out",
      )
    from speak_jax.inference import stream, talking_photograph
    from speak_jax.inference.motion_model import MotionModel

    network = MotionModel.from_bundle(place, content=content)
    eyes = EyeReader()
    reads = functools.partial(talking_photograph.take, network, eyes=eyes)
    streams = functools.partial(stream.of_photograph, network, eyes)
    return Model(reads, tracker, marking, streams)
  from speak_jax.inference import talking_head
  from speak_jax.inference.synthesizer import Synthesizer

  drawing = Synthesizer.from_bundle(
    place, content=content, windows=windows or WINDOWS
  )
  reads = functools.partial(talking_head.take, drawing)
  return Model(reads, tracker, marking)
