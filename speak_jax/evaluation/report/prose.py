"""What a report says beside its figures."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from speak_jax.common import files
from speak_jax.models import judge

_TRACKER = "the face tracker that also made the records"
_CAPTIONS = {
  "sheet.png": "Held-out clips: the real frames, the first frame standing"
  " still, the model, and the model hearing another clip's speech.",
  "swaps.png": "Identity picture (another clip), source and donor, then the"
  " source made again with one code taken from the donor.",
  "matrix.png": "What moves when one code is exchanged.",
  "pose_sheet.png": "Every person with the pose code of each donor.",
  "emotion_sheet.png": "Every person with the emotion code of each donor.",
  "driven.png": "Portrait, who gives pose, emotion and speech, then the system"
  " with nothing, one and all of it from these others.",
}


def captions(files: Mapping[str, object]) -> dict[str, str]:
  """{file: what it shows} of a report's pictures."""
  return {name: _CAPTIONS[name] for name in files}


def joined(of: Mapping[str, str]) -> str:
  """One value for each model; of a single one without its name."""
  if len(of) == 1:
    return next(iter(of.values()))
  return "; ".join(f"{name}: {value}" for name, value in of.items())


def judged() -> str:
  """Who the judge is and what it scores itself, tight framing."""
  path = judge.WEIGHTS.with_suffix(".json")
  score = json.loads(path.read_text())["tight"]
  return (
    "the judge, trained on rendered faces of other people, never on generated"
    " frames; on its own held-out frames:"
    f" landmarks {score['landmarks_px']:.2f} px, yaw / pitch / roll R2"
    f" {score['yaw_r2']:.2f} / {score['pitch_r2']:.2f} /"
    f" {score['roll_r2']:.2f}, emotion {score['emotion']:.2f} (chance .125),"
    f" mouth opening r {score['opening_r']:.2f}, identity AUC"
    f" {score['identity_auc']:.3f}"
  )


def tracked(identity: str) -> str:
  """The same of the tracker, and of what tells people apart beside it.

  Args:
    identity: Whose features; "" nobody's.
  """
  if not identity:
    return (
      f"{_TRACKER}; it tells neither emotion nor identity, so those figures"
      " are left out"
    )
  return (
    f"{_TRACKER}; identity is the cosine of {identity} of the aligned face,"
    " like the field's CSIM but another network; it does not tell emotion, so"
    " those figures are left out"
  )


def released(path: Path, title: str, sha256: str) -> str:
  """Whether weights are those that everybody else uses."""
  digest = files.sha256(path)
  kind = "the" if digest == sha256 else "NOT the"
  return f"{title}, {path}: {kind} released file, {digest[:8]}"


def lenders(same_session: bool, sessions: Sequence[str]) -> str:
  """Which clips lend IRFD its identity pictures.

  Args:
    same_session: Whether the model learned from pictures of the session.
    sessions: Of every clip; "" where it is not known.
  """
  if not same_session:
    return "another clip of the person"
  known = sum(map(bool, sessions))
  if known == len(sessions):
    return "another clip of the person's session"
  if not known:
    return "another clip of the person: sessions are not known"
  return (
    "another clip of the person's session, or of the person where it is not"
    f" known ({len(sessions) - known} of {len(sessions)} clips)"
  )


def unseen(people: int, kinds: Collection[str]) -> str:
  """What training has not seen.

  Args:
    people: How many there are.
    kinds: What of them was held out, "clips" or "moments", where it is not all.
  """
  many = "1 person" if people == 1 else f"{people} people"
  if not kinds:
    return f"{many} whom training never saw"
  what = " and ".join(sorted(kinds))
  return f"{what} of {many}, of whom the training split has others"


def warnings(
  *, demo: bool, synthetic: bool, speaks: bool, sync: str, people: int
) -> list[str]:
  """Paragraphs that a report begins with.

  Args:
    demo: Whether a model is of the demo preset.
    synthetic: Whether the faces are drawn.
    speaks: Whether anything does.
    sync: Whose SyncNet judges: "public", "own", or "" where there is none.
    people: Whose clips there are.
  """
  found = []
  if people == 1:
    found.append(
      "All clips are of one person. Other speech is that of another clip of"
      " theirs, and swaps, whose donors must be others, are left out."
    )
  if demo:
    found.append(
      "**This shows that the pipeline works, not what quality it can reach:**"
      " the `demo` preset trains small networks for minutes. Expect soft lips"
      " and emotions that hardly show."
    )
  if synthetic:
    found.append(
      "All faces and voices here are synthetic. Nothing below says how the"
      " model does on real people."
    )
  found.append(
    "Read every figure beside two others: the static first frame, which"
    " already scores well, and the ground-truth column, which is what the"
    " reader itself scores on real frames. A high Sync figure without a"
    " mouth box above shuffled speech means lips that only SyncNet sees."
  )
  if sync == "public" and speaks:
    found.append(
      "Sync-C, Sync-D and the Sync offset are those of the official SyncNet"
      " v2, scored as its authors' code does, but for the face crop, which is"
      " made from landmarks instead of S3FD's boxes. That code takes zeros for"
      " the sound beyond a clip's ends, so that clips of other lengths than the"
      " literature's (its pipeline wants 100 frames) do not compare."
    )
  elif sync == "public":
    found.append("Nothing speaks yet: the official SyncNet had nothing to do.")
  elif sync == "own":
    found.append(
      "Sync figures are those of the run's own SyncNet: they compare the rows"
      " below, and are not the literature's Sync-C and Sync-D. For those, give"
      " the official SyncNet's weights (`--syncnet`)."
    )
  else:
    found.append(
      "No SyncNet is at hand (a bundle may have none): no Sync figures."
    )
  return found
