"""The page's widgets, and what they do: a request each, for a `Model`."""

import html
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from speak_jax import spec
from speak_jax.common import packaged
from speak_jax.common.files import FileError
from speak_jax.common.progress import clock
from speak_jax.inference import desk as desks
from speak_jax.inference import head
from speak_jax.inference.desk import Busy, Cancelled, Desk, Job, Late
from speak_jax.inference.emotion_label import STRONGEST
from speak_jax.inference.model import Model
from speak_jax.inference.request import (
  FRAMINGS,
  MOST,
  POSE_MODES,
  Request,
  RequestError,
)

SIZES = (256, 512, 768, 1024)
POLL_S = 0.25  # between two looks at the work
VISITORS = 12  # whose clicks are answered at once
NEUTRAL = spec.EMOTIONS[0]
TURNED = "turned"  # of the head's dropdown
YAW, PITCH, ROLL = 30, 20, 30  # degrees; a photograph bears no more
CONSENT = (
  "Make videos only of people who agreed to it, and say that they are made."
  " Every video carries a watermark and tags that say so."
)
HEAD = "What you give and what is made stays on this machine, for an hour."


# An input, and of which of the two videos; "" is none.
Slot = tuple[str, int]
Slots = dict[Slot, gr.HTML]  # where its lines are shown
Said = dict[Slot, Sequence[str]]
NOWHERE: Slot = ("", 0)


class Limits(NamedTuple):
  """What a visitor may ask for."""

  sound_s: float  # length of a video
  upload_bytes: int  # of a file
  job_s: float  # that one video may take


class Made(NamedTuple):
  """Files of one video."""

  video: str
  sheet: str
  note: str  # a line


class _Turns(NamedTuple):
  """How the head goes; nothing of it where frames are drawn."""

  head: gr.Dropdown | None = None
  pose_mode: gr.Dropdown | None = None
  pose_scale: gr.Slider | None = None
  yaw: gr.Slider | None = None
  pitch: gr.Slider | None = None
  roll: gr.Slider | None = None


class _Column(NamedTuple):
  """What differs between the two videos of a comparison, or is of one."""

  pose: gr.Video
  turns: _Turns
  emotion: gr.Dropdown | None
  level: gr.Slider | None
  emotion_file: gr.File


class Page:
  """Joins a model with its page."""

  def __init__(
    self,
    model: Model,
    desk: Desk,
    folder: Path,
    limits: Limits,
    moves_photographs: bool = True,
  ):
    """Nothing is drawn yet.

    Args:
      model: Makes the videos.
      desk: Where the work is done.
      folder: For what is made.
      limits: Of visitors.
      moves_photographs: Whether the model has names of emotions, framings
        and seeds.
    """
    self._model, self._desk, self._folder = model, desk, folder
    self._limits, self._photographs = limits, moves_photographs

  def blocks(self) -> gr.Blocks:
    """The page, for `routes.App.create_app`."""
    # What Gradio keeps for an hour `folder.sweep` takes away.
    with gr.Blocks(analytics_enabled=False, title="SPEAK") as page:
      gr.Markdown(f"# SPEAK\nA picture and a voice become a video. {HEAD}")
      with gr.Tab("One video"):
        self._one()
      with gr.Tab("Two, side by side"):
        self._two()
      gr.Markdown(CONSENT, elem_id="consent")
      page.unload(self._leave)
    page.queue(max_size=VISITORS, api_open=False)
    return page

  # --- the two tabs ----------------------------------------------------------

  def _one(self) -> None:
    slots: Slots = {}
    with gr.Row():
      example = _example("a painting speaks", "example")
      happy = None
      if self._photographs:
        happy = _example("it is happy", "example-happy")
    with gr.Row():
      with gr.Column():
        identity, audio = self._person(slots, "one")
        column = self._column(slots, "one")
        with gr.Accordion("Picture and chance", open=False):
          size = gr.Dropdown(
            [("as the picture", 0), *((f"{x} px", x) for x in SIZES)],
            value=0,
            label="Longer side",
          )
          framing = seed = mouth = blink = None
          if self._photographs:
            framing = gr.Dropdown(
              [("the whole picture", "full"), ("the head", "crop")],
              value=FRAMINGS[0],
              label="What is shown",
            )
            seed = gr.Number(
              0, label="Seed of an idle head", precision=0, minimum=0
            )
            mouth = gr.Slider(
              0, MOST, 1.0, step=0.1, label="How far speech opens the lips"
            )
            blink = gr.Checkbox(True, label="Blink")
          smooth = gr.Checkbox(True, label="Smooth the head's motion")
      with gr.Column():
        status, make, cancel = self._buttons(slots, "one", "Make the video")
        video = _result("Video", "video")
        download = gr.DownloadButton(
          "Download", visible=False, elem_id="download"
        )
        with gr.Accordion("Contact sheet", open=False):
          sheet = gr.Image(
            label="Inputs and frames",
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id="sheet",
          )
    given = {
      "identity": identity,
      "audio": audio,
      **_named(column),
      "size": size,
      "framing": framing,
      "seed": seed,
      "mouth": mouth,
      "blink": blink,
      "smooth": smooth,
    }
    names = [name for name, widget in given.items() if widget is not None]
    inputs = [given[name] for name in names]

    def begin(request: gr.Request, *values: Any) -> Iterator[dict]:
      wanted = dict(zip(names, values, strict=True))
      for step in self._made(request, [wanted]):
        shown = _steps(step, slots, status, make, cancel)
        made = step.made[0] if step.made else None
        if step.begins:
          shown |= {
            video: None,
            sheet: None,
            download: gr.update(visible=False),
          }
        if made is not None:
          shown[video], shown[sheet] = made.video, made.sheet
          shown[download] = gr.update(value=made.video, visible=True)
        yield shown

    outputs = [*slots.values(), status, make, cancel, video, sheet, download]
    run: dict[str, Any] = dict(
      fn=begin, inputs=inputs, outputs=outputs, **_event(VISITORS)
    )
    make.click(**run)
    make.click(None, js=_SHOW % status.elem_id)
    for button, mood in ((example, NEUTRAL), (happy, "happy")):
      if button is not None:
        _fill(button, identity, audio, {column: mood}, status).then(**run)
    cancel.click(self._cancel, outputs=[status], **_event(None))

  def _two(self) -> None:
    slots: Slots = {}
    gr.Markdown(
      "One picture and one voice, with two heads that lead it or two emotions."
    )
    example = None
    if self._photographs:
      example = _example("neutral and happy", "example-two")
    with gr.Row():
      identity, audio = self._person(slots, "two")
    columns: list[_Column] = []
    with gr.Row():
      for i, name in enumerate("AB"):
        with gr.Column():
          column = self._column(slots, f"two-{name}", f" of {name}", i)
          columns.append(column)
    status, make, cancel = self._buttons(slots, "two", "Make both")
    with gr.Row():
      videos = [_result(f"Video {name}", f"video-{name}") for name in "AB"]
    play = gr.Button("Play both", elem_id="play-both")
    play.click(None, js=_PLAY)
    per = [_named(column) for column in columns]
    names = [name for name, widget in per[0].items() if widget is not None]
    inputs = [identity, audio, *(x[name] for x in per for name in names)]

    def begin(request: gr.Request, *values: Any) -> Iterator[dict]:
      both = dict(identity=values[0], audio=values[1])
      rest = values[2:]
      parts = rest[: len(names)], rest[len(names) :]
      wanted = [both | dict(zip(names, x, strict=True)) for x in parts]
      for step in self._made(request, wanted):
        shown = _steps(step, slots, status, make, cancel)
        for i, player in enumerate(videos):
          if i < len(step.made):
            shown[player] = step.made[i].video
          elif step.begins:
            shown[player] = None
        yield shown

    outputs = [*slots.values(), status, make, cancel, *videos]
    run: dict[str, Any] = dict(
      fn=begin, inputs=inputs, outputs=outputs, **_event(VISITORS)
    )
    make.click(**run)
    make.click(None, js=_SHOW % status.elem_id)
    if example is not None:
      moods = dict(zip(columns, (NEUTRAL, "happy"), strict=True))
      _fill(example, identity, audio, moods, status).then(**run)
    cancel.click(self._cancel, outputs=[status], **_event(None))

  # --- parts of a tab --------------------------------------------------------

  def _person(self, slots: Slots, tab: str) -> tuple[gr.Image, gr.Audio]:
    with gr.Column():
      identity = gr.Image(
        label="Picture of a face",
        sources=["upload", "webcam", "clipboard"],
        type="filepath",
        height=320,
        elem_id=f"identity-{tab}",
      )
      slots["identity", 0] = _slot(f"said-identity-{tab}")
    with gr.Column():
      audio = gr.Audio(
        label=f"Voice, {self._limits.sound_s:g} s at most",
        sources=["upload", "microphone"],
        type="filepath",
        buttons=["download"],
        elem_id=f"audio-{tab}",
      )
      slots["audio", 0] = _slot(f"said-audio-{tab}")
    return _as_it_is(identity), _as_it_is(audio)

  def _column(
    self, slots: Slots, tab: str, of: str = "", part: int = 0
  ) -> _Column:
    emotion = level = None
    with gr.Accordion(f"Emotion{of}", open=True):
      if self._photographs:
        with gr.Row():
          emotion = gr.Dropdown(
            list(spec.EMOTIONS),
            value=NEUTRAL,
            label="Emotion",
            elem_id=f"emotion-{tab}",
          )
          level = gr.Slider(0, STRONGEST, 1.0, step=0.05, label="Level")
      emotion_file = gr.File(
        label="or a picture or video that shows it",
        file_types=["image", "video"],
        height=160,
        elem_id=f"emotion-file-{tab}",
      )
      slots["emotion", part] = _slot(f"said-emotion-{tab}")
    with gr.Accordion(f"Head's motion{of}", open=False):
      pose = gr.Video(
        label="Video of a head that leads (without it the head is idle)",
        sources=["upload", "webcam"],
        height=240,
        elem_id=f"pose-{tab}",
      )
      slots["pose", part] = _slot(f"said-pose-{tab}")
      turns = self._turns(tab) if self._photographs else _Turns()
    return _Column(
      _as_it_is(pose), turns, emotion, level, _as_it_is(emotion_file)
    )

  def _turns(self, tab: str) -> "_Turns":
    """What says how a head goes, beside a video of another one."""
    with gr.Row():
      idle = gr.Dropdown(
        [
          ("sways", "sampled"),
          ("keeps still", "still"),
          ("is turned by the angles below", TURNED),
        ],
        value="sampled",
        label="Without a video the head",
        elem_id=f"head-{tab}",
      )
      mode = gr.Dropdown(
        [
          ("turns as he turns", "relative"),
          ("stands as he stands", "absolute"),
        ],
        value=POSE_MODES[0],
        label="With a video the head",
      )
    scale = gr.Slider(
      0, MOST, 1.0, step=0.1, label="How far it goes (pose scale)"
    )
    angles = []
    for name, most, what in (
      ("yaw", YAW, "to the picture's right"),
      ("pitch", PITCH, "up"),
      ("roll", ROLL, "clockwise"),
    ):
      label = f"{name.capitalize()}, degrees {what}"
      slider = gr.Slider(
        -most, most, 0, step=1, label=label, elem_id=f"{name}-{tab}"
      )
      angles.append(slider)
    return _Turns(idle, mode, scale, *angles)

  def _buttons(
    self, slots: Slots, tab: str, what: str
  ) -> tuple[gr.HTML, gr.Button, gr.Button]:
    with gr.Row():
      make = gr.Button(what, variant="primary", elem_id=f"make-{tab}")
      cancel = gr.Button(
        "Cancel", variant="stop", interactive=False, elem_id=f"cancel-{tab}"
      )
    status = gr.HTML(elem_id=f"status-{tab}")
    slots["", 0] = _slot(f"said-{tab}")
    return status, make, cancel

  # --- work ------------------------------------------------------------------

  def _made(
    self, request: gr.Request, wanted: Sequence[Mapping[str, Any]]
  ) -> Iterator["_Step"]:
    """Makes one video after the other; yields how far it is."""
    said: Said = {}
    for field, name in (("identity", "picture"), ("audio", "voice")):
      if wanted[0][field] is None:
        said[field, 0] = [f"error: give a {name}"]
    if said:
      yield _Step("", said)
      return
    requests = [_request(x) for x in wanted]
    try:
      job = self._desk.submit(
        str(request.session_hash), lambda job: self._work(job, requests)
      )
    except Busy as busy:
      yield _Step("", {("", 0): [f"error: {busy}"]})
      return
    yield _Step(_progress(job), runs=True, begins=True)
    try:
      while not job.wait(POLL_S):
        yield _Step(_progress(job), runs=True)
    finally:
      if not job.done:  # nobody looks any more
        job.cancel()
    yield _finished(job, requests)

  def _work(self, job: Job, requests: Sequence[Request]) -> list[Made]:
    made = []
    for job.part, request in enumerate(requests):
      made.append(self._one_video(job, request))
    return made

  def _one_video(self, job: Job, request: Request) -> Made:
    folder = self._folder / secrets.token_hex(16)
    folder.mkdir(mode=0o700)
    video, sheet = folder / "speak.mp4", folder / "sheet.png"
    take, result = desks.make(
      job, self._model, request, video, sheet, most_s=self._limits.sound_s
    )
    note = (
      f"{result.frames} frames, {result.seconds:.2f} s,"
      f" {take.width} x {take.height} px, {job.rate:.1f} frames a second"
    )
    return Made(str(video), str(sheet), note)

  def _cancel(self, request: gr.Request) -> str:
    there = self._desk.cancel(str(request.session_hash))
    return _line("cancelling ..." if there else "nothing is in work")

  def _leave(self, request: gr.Request) -> None:
    """The visitor has closed the page."""
    self._desk.cancel(str(request.session_hash))


class _Step(NamedTuple):
  """What the page shows now."""

  status: str  # HTML
  said: Mapping[Slot, Sequence[str]] = {}  # lines
  made: Sequence[Made] = ()
  runs: bool = False
  begins: bool = False


# Both from the start, as soon as both can.
_PLAY = """() => {
  const both = [...document.querySelectorAll('#video-A video, #video-B video')];
  for (const video of both) { video.currentTime = 0; }
  for (const video of both) { video.play(); }
}"""


# On a phone the work is far below what begins it.
_SHOW = "() => document.getElementById('%s').scrollIntoView({block: 'center'})"


def _request(wanted: Mapping[str, Any]) -> Request:
  """What the widgets say; None where nothing is chosen."""
  pose, mode = wanted["pose"], wanted.get("pose_mode")
  if pose is None:
    pose, mode = _idle(wanted)
  emotion, name = wanted["emotion_file"], wanted.get("emotion")
  if emotion is None and name is not None and name != NEUTRAL:
    emotion = f"{name}:{wanted['level']:g}"
  seed, scale = wanted.get("seed"), wanted.get("pose_scale")
  if scale is None or pose == head.Idle.STILL.value:
    scale = 1.0
  return Request(
    identity=wanted["identity"],
    audio=wanted["audio"],
    pose=pose,
    emotion=emotion,
    pose_mode=mode,
    pose_scale=float(scale),
    mouth=float(wanted.get("mouth", 1.0)),
    blink=wanted.get("blink", True),
    size=wanted.get("size") or None,
    framing=wanted.get("framing"),
    smooth=wanted.get("smooth", True),
    seed=None if seed is None else int(seed),
  )


def _idle(wanted: Mapping[str, Any]) -> tuple[Any, str | None]:
  """The pose of a head that no video leads, and its mode."""
  idle = wanted.get("head")
  if idle != TURNED:
    return idle, None
  angles = [float(wanted[name]) for name in head.ANGLES]
  return head.curve_of(np.array([[0.0, *angles]])), "relative"


def _finished(job: Job, requests: Sequence[Request]) -> _Step:
  """The last step, with what is to be said of each input."""
  said: dict[Slot, list[str]] = {}
  for line in job.lines:
    slot, text = _placed(line, requests)
    said.setdefault(slot, []).append(f"warning: {text}")
  if job.error is None:
    # Where there are two, they are A and B.
    names = [""] if len(requests) == 1 else ["A: ", "B: "]
    notes = [a + made.note for a, made in zip(names, job.result, strict=True)]
    return _Step(_line(f"done: {'; '.join(notes)}"), said, job.result)
  if isinstance(job.error, Cancelled):
    return _Step(_line("cancelled"), said)
  slot, text = _placed(str(job.error), requests)
  if isinstance(job.error, FileError):  # perhaps of the result
    text = text.replace(job.error.path, Path(job.error.path).name)
  if isinstance(job.error, RequestError):
    slot, text = (job.error.field, job.part), job.error.reason
  said.setdefault(slot, []).insert(0, f"error: {text}")
  late = isinstance(job.error, Late)
  return _Step(_line("stopped" if late else "nothing was made"), said)


def _placed(line: str, requests: Sequence[Request]) -> tuple[Slot, str]:
  """Which input a line is of, and the line without folders."""
  slot = NOWHERE
  for part, request in enumerate(requests):
    for field in ("identity", "audio", "pose", "emotion"):
      path = str(getattr(request, field))
      if os.sep in path and path in line:
        slot = (field, part) if slot == NOWHERE else slot
        line = line.replace(path, Path(path).name)
  return slot, line


def _steps(
  step: _Step, slots: Slots, status: gr.HTML, make: gr.Button, cancel: gr.Button
) -> dict[Any, Any]:
  """What of the widgets changes."""
  shown: dict[Any, Any] = {status: step.status}
  if step.runs and not step.begins:
    return shown
  lines: dict[Slot, list[str]] = {slot: [] for slot in slots}
  for slot, more in step.said.items():
    if slot in slots:
      lines[slot] += more
    else:
      lines[NOWHERE] += [f"{x} ({slot[0]})" for x in more]
  for slot, widget in slots.items():
    shown[widget] = _said(lines[slot])
  shown[make] = gr.update(interactive=not step.runs)
  shown[cancel] = gr.update(interactive=step.runs)
  return shown


def _said(lines: Sequence[str]) -> str:
  """Errors and warnings, as HTML."""
  return "".join(
    f'<p class="said {line.partition(":")[0]}" role="alert">'
    f"{html.escape(line)}</p>"
    for line in lines
  )


def _line(text: str) -> str:
  return f'<p class="status" role="status">{html.escape(text)}</p>'


def _progress(job: Job) -> str:
  """How far the work is, as HTML."""
  if not job.count:
    return f"{_line(f'{job.stage} ...')}<progress></progress>"
  text = f"{job.stage}: {job.made} of {job.count}"
  if rate := job.rate:
    left = clock((job.count - job.made) / rate)
    text += f", {rate:.1f} frames/s, {left} left"
  bar = f'<progress value="{job.made}" max="{job.count}"></progress>'
  return f"{_line(text)}{bar}"


def _slot(name: str) -> gr.HTML:
  return gr.HTML(elem_id=name, elem_classes=["slot"])


def _result(label: str, name: str) -> gr.Video:
  return gr.Video(
    label=label,
    interactive=False,
    height=400,
    buttons=["download"],
    elem_id=name,
  )


def _as_it_is(widget: Any) -> Any:
  """A widget whose file is read by nobody but our readers, which are safe."""
  widget.preprocess = lambda file: None if file is None else file.path
  return widget


def _named(column: _Column) -> dict[str, Any]:
  """Its widgets by name; None of what there is none."""
  named = column._asdict()
  turns = named.pop("turns")
  return named | turns._asdict()


def _event(visitors: int | None) -> dict[str, Any]:
  return dict(
    concurrency_limit=visitors,
    show_progress="hidden",
    api_visibility="private",
  )


def _example(what: str, name: str) -> gr.Button:
  return gr.Button(f"Example: {what}", size="sm", elem_id=name)


def _fill(
  button: gr.Button,
  identity: gr.Image,
  audio: gr.Audio,
  moods: Mapping[_Column, str],
  status: gr.HTML,
) -> Any:
  """A click takes the example; what was given for the rest goes."""
  outputs: list[Any] = [identity, audio]
  values: list[Any] = [str(packaged.PORTRAIT), str(packaged.SENTENCE)]
  for column, mood in moods.items():
    outputs += [column.pose, column.emotion_file]
    values += [None, None]
    if column.emotion is not None:
      outputs.append(column.emotion)
      values.append(mood)
  button.click(None, js=_SHOW % status.elem_id)
  return button.click(lambda: values, outputs=outputs, **_event(None))
