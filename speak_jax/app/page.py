"""The page's two tabs, and what they do: requests for a `Model`."""

import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from speak_jax.app import said, widgets, wishes
from speak_jax.app.said import Made, Slots, Step
from speak_jax.app.wishes import NEUTRAL
from speak_jax.inference import desk as desks
from speak_jax.inference.desk import Busy, Desk, Job
from speak_jax.inference.model import Model
from speak_jax.inference.request import Request, RequestError

POLL_S = 0.25  # between two looks at the work
VISITORS = 12  # whose clicks are answered at once
PICTURE_BYTES = 2 << 30  # of a zip, before each picture is compressed
CONSENT = (
  "Make videos only of people who agreed to it, and say that they are made."
  " Every video carries a watermark and tags that say so."
)
HEAD = "What you give and what is made stays on this machine, for an hour."


class Limits(NamedTuple):
  """What a visitor may ask for."""

  sound_s: float  # length of a video
  upload_bytes: int  # of a file
  job_s: float  # that one video may take


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
      example = widgets.example("a painting speaks", "example")
      happy = None
      if self._photographs:
        happy = widgets.example("it is happy", "example-happy")
    with gr.Row():
      with gr.Column():
        identity, audio = self._person(slots, "one")
        column = widgets.column(slots, "one", self._photographs)
        more: dict[str, Any] = {}
        if self._photographs:
          more = widgets.eyes_and_lips("one")
        more |= widgets.output("one", self._photographs)
      with gr.Column():
        status, make, cancel = widgets.buttons(slots, "one", "Make the video")
        video = widgets.player("Video", "video")
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
    given = {"identity": identity, "audio": audio, **column.named(), **more}
    names = [name for name, widget in given.items() if widget is not None]
    inputs = [given[name] for name in names]

    def begin(request: gr.Request, *values: Any) -> Iterator[dict]:
      wanted = dict(zip(names, values, strict=True))
      for step in self._made(request, [wanted]):
        shown = said.steps(step, slots, status, make, cancel)
        made = step.made[0] if step.made else None
        if step.begins:
          shown |= {
            video: None,
            sheet: None,
            download: gr.update(visible=False),
          }
        if made is not None:
          shown[video], shown[sheet] = made.video, made.sheet
          shown[download] = gr.update(value=made.file, visible=True)
        yield shown

    outputs = [*slots.values(), status, make, cancel, video, sheet, download]
    run: dict[str, Any] = dict(
      fn=begin, inputs=inputs, outputs=outputs, **widgets.event(VISITORS)
    )
    make.click(**run)
    make.click(None, js=widgets.SHOW % status.elem_id)
    for button, mood in ((example, NEUTRAL), (happy, "happy")):
      if button is not None:
        moods = {column: mood}
        widgets.fill(button, identity, audio, moods, status).then(**run)
    cancel.click(self._cancel, outputs=[status], **widgets.event(None))

  def _two(self) -> None:
    slots: Slots = {}
    gr.Markdown(
      "One picture and one voice, with two heads that lead it or two emotions."
    )
    example = None
    if self._photographs:
      example = widgets.example("neutral and happy", "example-two")
    with gr.Row():
      identity, audio = self._person(slots, "two")
    columns: list[widgets.Column] = []
    with gr.Row():
      for i, name in enumerate("AB"):
        with gr.Column():
          column = widgets.column(
            slots, f"two-{name}", self._photographs, f" of {name}", i
          )
          columns.append(column)
    status, make, cancel = widgets.buttons(slots, "two", "Make both")
    with gr.Row():
      videos = [widgets.player(f"Video {x}", f"video-{x}") for x in "AB"]
    play = gr.Button("Play both", elem_id="play-both")
    play.click(None, js=widgets.PLAY)
    per = [column.named() for column in columns]
    names = [name for name, widget in per[0].items() if widget is not None]
    inputs = [identity, audio, *(x[name] for x in per for name in names)]

    def begin(request: gr.Request, *values: Any) -> Iterator[dict]:
      both = dict(identity=values[0], audio=values[1])
      rest = values[2:]
      parts = rest[: len(names)], rest[len(names) :]
      wanted = [both | dict(zip(names, x, strict=True)) for x in parts]
      for step in self._made(request, wanted):
        shown = said.steps(step, slots, status, make, cancel)
        for i, player in enumerate(videos):
          if i < len(step.made):
            shown[player] = step.made[i].video
          elif step.begins:
            shown[player] = None
        yield shown

    outputs = [*slots.values(), status, make, cancel, *videos]
    run: dict[str, Any] = dict(
      fn=begin, inputs=inputs, outputs=outputs, **widgets.event(VISITORS)
    )
    make.click(**run)
    make.click(None, js=widgets.SHOW % status.elem_id)
    if example is not None:
      moods = dict(zip(columns, (NEUTRAL, "happy"), strict=True))
      widgets.fill(example, identity, audio, moods, status).then(**run)
    cancel.click(self._cancel, outputs=[status], **widgets.event(None))

  def _person(self, slots: Slots, tab: str) -> tuple[gr.Image, gr.Audio]:
    return widgets.person(slots, tab, self._limits.sound_s)

  # --- work ------------------------------------------------------------------

  def _made(
    self, request: gr.Request, wanted: Sequence[Mapping[str, Any]]
  ) -> Iterator[Step]:
    """Makes one video after the other; yields how far it is."""
    requests, wrong = _requests(wanted)
    if wrong:
      yield Step("", wrong)
      return
    kinds = [x.get("kind", wishes.MP4) for x in wanted]
    try:
      job = self._desk.submit(
        str(request.session_hash), lambda job: self._work(job, requests, kinds)
      )
    except Busy as busy:
      yield Step("", {said.NOWHERE: [f"error: {busy}"]})
      return
    yield Step(said.progress(job), runs=True, begins=True)
    try:
      while not job.wait(POLL_S):
        yield Step(said.progress(job), runs=True)
    finally:
      if not job.done:  # nobody looks any more
        job.cancel()
    yield said.finished(job, requests)

  def _work(
    self, job: Job, requests: Sequence[Request], kinds: Sequence[str]
  ) -> list[Made]:
    made = []
    pairs = zip(requests, kinds, strict=True)
    for job.part, (request, kind) in enumerate(pairs):
      made.append(self._one_video(job, request, kind))
    return made

  def _one_video(self, job: Job, request: Request, kind: str) -> Made:
    folder = self._folder / secrets.token_hex(16)
    folder.mkdir(mode=0o700)
    sheet = folder / "sheet.png"
    pictures = kind == wishes.PICTURES
    output = f"{folder}/speak/" if pictures else f"{folder}/speak.{kind}"
    take, result = desks.make(
      job,
      self._model,
      request,
      output,
      sheet,
      most_s=self._limits.sound_s,
      most_bytes=PICTURE_BYTES,
    )
    note = (
      f"{result.frames} frames, {result.seconds:.2f} s,"
      f" {take.width} x {take.height} px, {job.rate:.1f} frames a second"
    )
    if not pictures:
      return Made(output, str(sheet), note, output)
    return Made(_zipped(job, Path(output)), str(sheet), note, None)

  def _cancel(self, request: gr.Request) -> str:
    there = self._desk.cancel(str(request.session_hash))
    return said.line("cancelling ..." if there else "nothing is in work")

  def _leave(self, request: gr.Request) -> None:
    """The visitor has closed the page."""
    self._desk.cancel(str(request.session_hash))


def _requests(
  wanted: Sequence[Mapping[str, Any]],
) -> tuple[list[Request], said.Said]:
  """The requests, and what is wrong with the wishes."""
  wrong: said.Said = {}
  for field, name in (("identity", "picture"), ("audio", "voice")):
    if wanted[0][field] is None:
      wrong[field, 0] = [f"error: give a {name}"]
  requests = []
  for part, one in enumerate(() if wrong else wanted):
    try:
      requests.append(wishes.request_of(one))
    except RequestError as error:
      wrong[error.field, part] = [f"error: {error.reason}"]
  return requests, wrong


def _zipped(job: Job, folder: Path) -> str:
  """Replaces a folder of pictures by a zip of them, as they are."""
  path = folder.with_suffix(".zip")
  job.begin("zipping")
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
    for picture in sorted(folder.iterdir()):
      job.check()
      file.write(picture, picture.name)
  shutil.rmtree(folder)
  return str(path)
