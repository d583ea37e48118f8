"""The page's widgets, and how they stand together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from speak_jax import spec
from speak_jax.app.said import Slots
from speak_jax.app.wishes import (
  AIMED,
  MP4,
  NEUTRAL,
  PICTURES,
  TURNED,
  WEBM,
)
from speak_jax.common import packaged
from speak_jax.inference.emotion_label import STRONGEST
from speak_jax.inference.head import GAZES, MOST_GAZE
from speak_jax.inference.request import FRAMINGS, MOST, POSE_MODES

SIZES = (256, 512, 768, 1024)
YAW, PITCH, ROLL = 30, 20, 30  # degrees; a photograph bears no more

# Both from the start, as soon as both can.
PLAY = """() => {
  const both = [...document.querySelectorAll('#video-A video, #video-B video')];
  for (const video of both) { video.currentTime = 0; }
  for (const video of both) { video.play(); }
}"""
# On a phone the work is far below what begins it.
SHOW = "() => document.getElementById('%s').scrollIntoView({block: 'center'})"


class Turns(NamedTuple):
  """How the head goes; nothing of it where frames are drawn."""

  pose_table: gr.File | None = None
  head: gr.Dropdown | None = None
  pose_mode: gr.Dropdown | None = None
  pose_scale: gr.Slider | None = None
  yaw: gr.Slider | None = None
  pitch: gr.Slider | None = None
  roll: gr.Slider | None = None


class Column(NamedTuple):
  """What differs between the two videos of a comparison, or is of one."""

  pose: gr.Video
  turns: Turns
  emotion: gr.Dropdown | None
  level: gr.Slider | None
  emotion_file: gr.File

  def named(self) -> dict[str, Any]:
    """Its widgets, by the names of `wishes`; None of what there is none."""
    own = self._asdict()
    turns = own.pop("turns")
    return own | turns._asdict()


def person(slots: Slots, tab: str, most_s: float) -> tuple[gr.Image, gr.Audio]:
  """Who speaks, and what."""
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
      label=f"Voice, {most_s:g} s at most",
      sources=["upload", "microphone"],
      type="filepath",
      buttons=["download"],
      elem_id=f"audio-{tab}",
    )
    slots["audio", 0] = _slot(f"said-audio-{tab}")
  return _as_it_is(identity), _as_it_is(audio)


def column(
  slots: Slots, tab: str, photographs: bool, of: str = "", part: int = 0
) -> Column:
  """Emotion and head.

  Args:
    slots: Given places for their lines.
    tab: Ends the names of the elements.
    photographs: Whether the model moves them.
    of: Ends the titles.
    part: Of which video.
  """
  emotion = level = None
  shows = "or a picture or video that shows it"
  kinds = ["image", "video"]
  with gr.Accordion(f"Emotion{of}", open=True):
    if photographs:
      shows, kinds = "or a picture, video or table (.csv)", [*kinds, ".csv"]
      with gr.Row():
        emotion = gr.Dropdown(
          list(spec.EMOTIONS),
          value=NEUTRAL,
          label="Emotion",
          elem_id=f"emotion-{tab}",
        )
        level = gr.Slider(0, STRONGEST, 1.0, step=0.05, label="Level")
    emotion_file = gr.File(
      label=shows,
      file_types=kinds,
      height=160,
      elem_id=f"emotion-file-{tab}",
    )
    slots["emotion", part] = _slot(f"said-emotion-{tab}")
  with gr.Accordion(f"Head's motion{of}", open=False):
    pose = gr.Video(
      label="Video of a head that leads",
      sources=["upload", "webcam"],
      height=280,
      elem_id=f"pose-{tab}",
    )
    slots["pose", part] = _slot(f"said-pose-{tab}")
    turns = _turns(tab) if photographs else Turns()
  return Column(_as_it_is(pose), turns, emotion, level, _as_it_is(emotion_file))


def _turns(tab: str) -> Turns:
  """What says how a head goes, beside a video of another one."""
  table = gr.File(
    label="or a table (.csv) of its angles",
    file_types=[".csv"],
    height=160,
    elem_id=f"pose-table-{tab}",
  )
  with gr.Row():
    idle = gr.Dropdown(
      [
        ("sways", "sampled"),
        ("keeps still", "still"),
        ("is turned by the angles below", TURNED),
      ],
      value="sampled",
      label="Without both the head",
      elem_id=f"head-{tab}",
    )
    mode = gr.Dropdown(
      [
        ("turns as they turn", "relative"),
        ("stands as they stand", "absolute"),
      ],
      value=POSE_MODES[0],
      label="With one of them it",
    )
  scale = gr.Slider(0, MOST, 1.0, step=0.1, label="How far it goes")
  return Turns(
    _as_it_is(table),
    idle,
    mode,
    scale,
    _angle("yaw", YAW, "to the picture's right", tab),
    _angle("pitch", PITCH, "up", tab),
    _angle("roll", ROLL, "clockwise", tab),
  )


def _angle(name: str, most: float, what: str, tab: str) -> gr.Slider:
  what = f"{name.rpartition('-')[2].capitalize()}, degrees {what}"
  return gr.Slider(-most, most, 0, step=1, label=what, elem_id=f"{name}-{tab}")


def eyes_and_lips(tab: str) -> dict[str, Any]:
  """Widgets by name; of models that move photographs."""
  with gr.Accordion("Eyes and lips", open=False):
    gaze = gr.Dropdown(
      [
        ("follow the video's, or look about", GAZES[0]),
        ("keep still", GAZES[1]),
        ("look aside by the degrees below", AIMED),
      ],
      value=GAZES[0],
      label="Eyes",
      elem_id=f"gaze-{tab}",
    )
    most_yaw, most_pitch = MOST_GAZE
    return {
      "gaze": gaze,
      "gaze_yaw": _angle("gaze-yaw", most_yaw, "to the picture's right", tab),
      "gaze_pitch": _angle("gaze-pitch", most_pitch, "up", tab),
      "blink": gr.Checkbox(True, label="Blink", elem_id=f"blink-{tab}"),
      "mouth": gr.Slider(
        0,
        MOST,
        1.0,
        step=0.1,
        label="How far speech opens the lips",
        elem_id=f"mouth-{tab}",
      ),
    }


def output(tab: str, photographs: bool) -> dict[str, Any]:
  """Widgets by name: of the file, the picture, and chance."""
  out: dict[str, Any] = {}
  with gr.Accordion("File, picture and chance", open=False):
    out["kind"] = gr.Dropdown(
      [
        ("mp4", MP4),
        ("webm, transparent where the picture is", WEBM),
        ("PNG pictures and sound, zipped, transparent too", PICTURES),
      ],
      value=MP4,
      label="File",
      elem_id=f"kind-{tab}",
    )
    out["size"] = gr.Dropdown(
      [("as the picture", 0), *((f"{x} px", x) for x in SIZES)],
      value=0,
      label="Longer side",
      elem_id=f"size-{tab}",
    )
    if photographs:
      out["framing"] = gr.Dropdown(
        [("the whole picture", "full"), ("the head", "crop")],
        value=FRAMINGS[0],
        label="What is shown",
      )
      out["seed"] = gr.Number(
        0, label="Seed of an idle head", precision=0, minimum=0
      )
    out["smooth"] = gr.Checkbox(True, label="Smooth the head's motion")
  return out


def buttons(
  slots: Slots, tab: str, what: str
) -> tuple[gr.HTML, gr.Button, gr.Button]:
  """How far it is, what begins and what ends it."""
  with gr.Row():
    make = gr.Button(what, variant="primary", elem_id=f"make-{tab}")
    cancel = gr.Button(
      "Cancel", variant="stop", interactive=False, elem_id=f"cancel-{tab}"
    )
  status = gr.HTML(elem_id=f"status-{tab}")
  slots["", 0] = _slot(f"said-{tab}")
  return status, make, cancel


def player(label: str, name: str) -> gr.Video:
  """Shows a video that was made."""
  return gr.Video(
    label=label,
    interactive=False,
    height=400,
    buttons=["download"],
    elem_id=name,
  )


def example(what: str, name: str) -> gr.Button:
  """A button for `fill`."""
  return gr.Button(f"Example: {what}", size="sm", elem_id=name)


def fill(
  button: gr.Button,
  identity: gr.Image,
  audio: gr.Audio,
  moods: Mapping[Column, str],
  status: gr.HTML,
) -> Any:
  """A click takes the example; what was given for the rest goes."""
  outputs: list[Any] = [identity, audio]
  values: list[Any] = [str(packaged.PORTRAIT), str(packaged.SENTENCE)]
  for one, mood in moods.items():
    given = [one.pose, one.emotion_file, one.turns.pose_table]
    gone = [x for x in given if x is not None]
    outputs += gone
    values += [None] * len(gone)
    if one.emotion is not None:
      outputs.append(one.emotion)
      values.append(mood)
  button.click(None, js=SHOW % status.elem_id)
  return button.click(lambda: values, outputs=outputs, **event(None))


def event(visitors: int | None) -> dict[str, Any]:
  """How a click is served, for so many visitors at once."""
  return dict(
    concurrency_limit=visitors,
    show_progress="hidden",
    api_visibility="private",
  )


def _slot(name: str) -> gr.HTML:
  return gr.HTML(elem_id=name, elem_classes=["slot"])


def _as_it_is(widget: Any) -> Any:
  """A widget whose file is read by nobody but our readers, which are safe."""
  widget.preprocess = lambda file: None if file is None else file.path
  return widget
