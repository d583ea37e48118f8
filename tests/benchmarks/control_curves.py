"""Whether heads, eyes and lips do as much as they are told.

  python -m tests.benchmarks.control_curves --photographs FOLDER

Each picture of a folder is turned, looks aside and speaks by growing amounts;
FaceMesh and the iris network read what came of it, and the difference from the
same picture at rest is told: mean over pictures and mean distance from it.
"""

from pathlib import Path

import numpy as np
from absl import app, flags

from data_pipelines.faces import canonical, headpose
from data_pipelines.faces.eyes import EyeReader, readable
from data_pipelines.faces.tracker import Tracker
from speak_jax.common import packaged
from speak_jax.inference import emotion_label
from speak_jax.inference.inputs import Rules, read_photograph, read_speech
from speak_jax.inference.motion_model import MotionModel
from speak_jax.inference.talking_photograph import _sized
from speak_jax.photograph import composition, gaze
from speak_jax.photograph.head_motion import rotation_of
from speak_jax.photograph.textured_mesh import Motion

SIDE, FRAMES, EVERY = 384, 50, 10  # px; frames of speech, which are read
ANGLES = (-30, -20, -10, 10, 20, 30)  # degrees of yaw; pitch and roll by half
GAZES = (-30, -20, -10, 10, 20, 30)
MOUTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
LIPS = (13, 14)  # upper and lower, inner
STILL = Motion(np.eye(3), np.zeros(2), 1.0)


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  model = MotionModel.from_bundle(packaged.PHOTOGRAPH)
  tracker, eyes = Tracker(), EyeReader()
  speech, _ = read_speech(packaged.SENTENCE, None)
  calm, shut = emotion_label.strengths("neutral"), [0.0] * FRAMES
  spoken = [
    np.stack(list(model.stream(speech[: FRAMES * 640], shut, calm, mouth)))
    for mouth in MOUTHS
  ]
  found: dict[str, list] = {name: [] for name in ("yaw", "pitch", "roll")}
  found |= {"gaze, right": [], "gaze, up": [], "lips": []}
  for path in sorted(Path(flags.FLAGS.photographs).iterdir()):
    shown = read_photograph(path, 25.0, tracker, Rules())
    frame, mesh = _sized(shown.frame, shown.mesh, SIDE, "crop")
    one = composition.portrait(frame, mesh, eyes(frame, mesh), model.shut)
    if np.abs(headpose.head_pose(mesh[None])[0, :2]).max() > 20:
      continue  # turned further than 50 degrees it would be held back

    def seen(offsets, motion=STILL, aim=(0.0, 0.0), one=one):
      moved = one.expression(offsets, 0.0, aim)
      made = composition.compose(one, moved, motion, aim)
      return made, tracker.track([made]).mesh[0]

    nothing = composition.NO_EXPRESSION
    rest, own = seen(nothing)
    for k, name in enumerate(("yaw", "pitch", "roll")):
      poses = []
      for angle in (0, *ANGLES):
        degrees = np.zeros(3)
        degrees[k] = angle / (1 if name == "yaw" else 2)
        turn = Motion(rotation_of(*np.radians(degrees)), np.zeros(2), 1.0)
        _, there = seen(nothing, turn)
        poses.append(headpose.head_pose(there[None])[0, k])
      found[name].append(np.subtract(poses[1:], poses[0]))
    if one.eyeballs and readable(rest, own, eyes(rest, own)).all():
      for k, name in enumerate(("gaze, right", "gaze, up")):
        ways = []
        for angle in (0, *GAZES):
          aim = (float(angle), 0.0) if k == 0 else (0.0, angle / 2)
          made, there = seen(nothing, STILL, aim)
          ways.append(gaze.of_eyes(eyes(made, there), there).mean(0)[k])
        found[name].append(np.subtract(ways[1:], ways[0]))
    opened = []
    for points in spoken:
      faces = np.stack([seen(x)[1] for x in points[::EVERY]])
      lips = canonical.placed(faces).points[:, LIPS, 1]
      opened.append(float(np.nanmean(np.diff(lips, axis=1))))
    found["lips"].append(opened)
    print(path.name, flush=True)
  asked = {"yaw": ANGLES, "gaze, right": GAZES, "lips": MOUTHS}
  for name, rows in found.items():
    told = asked.get(name, tuple(x / 2 for x in ANGLES))
    table = np.array(rows)
    mean = " | ".join(f"{x:.3g}" for x in np.nanmean(table, 0))
    spread = " | ".join(f"{x:.2g}" for x in np.nanstd(table, 0))
    print(f"{name}, {len(rows)} pictures")
    print("| asked for | " + " | ".join(f"{x:g}" for x in told) + " |")
    print(f"| done | {mean} |\n| spread | {spread} |")


if __name__ == "__main__":
  flags.DEFINE_string("photographs", None, "Folder of pictures.", required=True)
  app.run(main)
