"""What the page says: how far a video is, and what is odd of each input."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from speak_jax.common.files import FileError
from speak_jax.common.progress import clock
from speak_jax.inference.desk import Cancelled, Job, Late
from speak_jax.inference.request import Request, RequestError

# An input, and of which of the two videos; "" is none.
Slot = tuple[str, int]
Slots = dict[Slot, gr.HTML]  # where its lines are shown
Said = dict[Slot, Sequence[str]]
NOWHERE: Slot = ("", 0)


class Made(NamedTuple):
  """Files of one video."""

  file: str  # that is downloaded
  sheet: str
  note: str  # a line
  video: str | None  # what a player shows of it


class Step(NamedTuple):
  """What the page shows now."""

  status: str  # HTML
  said: Mapping[Slot, Sequence[str]] = {}  # lines
  made: Sequence[Made] = ()
  runs: bool = False
  begins: bool = False


def finished(job: Job, requests: Sequence[Request]) -> Step:
  """The last step, with what is to be said of each input."""
  said: dict[Slot, list[str]] = {}
  for note in job.lines:
    slot, text = _placed(note, requests)
    said.setdefault(slot, []).append(f"warning: {text}")
  if job.error is None:
    # Where there are two, they are A and B.
    names = [""] if len(requests) == 1 else ["A: ", "B: "]
    notes = [a + made.note for a, made in zip(names, job.result, strict=True)]
    return Step(line(f"done: {'; '.join(notes)}"), said, job.result)
  if isinstance(job.error, Cancelled):
    return Step(line("cancelled"), said)
  slot, text = _placed(str(job.error), requests)
  if isinstance(job.error, FileError):  # perhaps of the result
    text = text.replace(job.error.path, Path(job.error.path).name)
  if isinstance(job.error, RequestError):
    slot, text = (job.error.field, job.part), job.error.reason
  said.setdefault(slot, []).insert(0, f"error: {text}")
  late = isinstance(job.error, Late)
  return Step(line("stopped" if late else "nothing was made"), said)


def _placed(text: str, requests: Sequence[Request]) -> tuple[Slot, str]:
  """Which input a line is of, and the line without folders."""
  slot = NOWHERE
  for part, request in enumerate(requests):
    for field in ("identity", "audio", "pose", "emotion"):
      path = str(getattr(request, field))
      if os.sep in path and path in text:
        slot = (field, part) if slot == NOWHERE else slot
        text = text.replace(path, Path(path).name)
  return slot, text


def steps(
  step: Step, slots: Slots, status: gr.HTML, make: gr.Button, cancel: gr.Button
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
    f'<p class="said {text.partition(":")[0]}" role="alert">'
    f"{html.escape(text)}</p>"
    for text in lines
  )


def line(text: str) -> str:
  """A status, as HTML."""
  return f'<p class="status" role="status">{html.escape(text)}</p>'


def progress(job: Job) -> str:
  """How far the work is, as HTML."""
  if not job.count:
    return f"{line(f'{job.stage} ...')}<progress></progress>"
  text = f"{job.stage}: {job.made} of {job.count}"
  if rate := job.rate:
    left = clock((job.count - job.made) / rate)
    text += f", {rate:.1f} frames/s, {left} left"
  bar = f'<progress value="{job.made}" max="{job.count}"></progress>'
  return f"{line(text)}{bar}"
