"""What a report says beside its numbers."""

import json
from collections.abc import Collection, Mapping, Sequence

from speak_jax.models import judge

_TRACKER = "the face tracker that also made the records"
_DRIVEN = "driven.png"
_CAPTIONS = {
  "sheet.png": "Held-out clips: the real frames, the first frame standing"
  " still, the model, and the model hearing another clip's speech.",
  "swaps.png": "Identity picture (another clip), source and donor, then the"
  " source made again with one code taken from the donor.",
  "matrix.png": "What moves when one code is exchanged.",
  "pose_sheet.png": "Every person with the pose code of each donor.",
  "emotion_sheet.png": "Every person with the emotion code of each donor.",
  _DRIVEN: "Portrait, who gives pose, emotion and speech, then the system"
  " with nothing, one and all of it from these others.",
}


def captions(names: Mapping[str, object]) -> dict[str, str]:
  """{file: what it shows} of a report's pictures."""
  captions = {}
  for name in names:
    # driven_NAME.png is that of one system of several.
    own = name.removeprefix("driven_").removesuffix(".png")
    several = name.startswith("driven_")
    said = _CAPTIONS[_DRIVEN if several else name]
    captions[name] = f"{own}. {said}" if several else said
  return captions


def per_model(facts: Mapping[str, str]) -> str:
  """One fact for each model; of a single one without its name."""
  if len(facts) == 1:
    return next(iter(facts.values()))
  return "; ".join(f"{name}: {fact}" for name, fact in facts.items())


def judge_reader() -> str:
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


def tracker_reader(identity: str) -> str:
  """Who the tracker is, and what tells people apart beside it.

  Args:
    identity: The network whose features do; "": none does.
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


def official_weights(path: str, title: str, digest: str, sha256: str) -> str:
  """Whether weights are those that everybody else uses.

  Args:
    path: Path of the file.
    title: What it should be.
    digest: Its SHA-256.
    sha256: That of the released file.
  """
  kind = "the" if digest == sha256 else "NOT the"
  return f"{title}, {path}: {kind} released file, {digest[:8]}"


def identity_pictures(same_session: bool, sessions: Sequence[str]) -> str:
  """Which clips IRFD's identity pictures come from.

  Args:
    same_session: Whether the model learned from pictures of the session.
    sessions: Session of every clip; "" where it is not known.
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


def held_out(people: int, kinds: Collection[str]) -> str:
  """What training has not seen.

  Args:
    people: Number of people whose clips are measured.
    kinds: What of them was held out: "clips" or "moments"; none: all of it.
  """
  many = "1 person" if people == 1 else f"{people} people"
  if not kinds:
    return f"{many} whom training never saw"
  what = " and ".join(sorted(kinds))
  return f"{what} of {many}, of whom the training split has others"


def introduction(
  *, demo: bool, synthetic: bool, speaks: bool, sync: str, people: int
) -> list[str]:
  """Paragraphs that a report begins with: how to read its numbers.

  Args:
    demo: Whether a model is of the demo preset.
    synthetic: Whether the faces are drawn.
    speaks: Whether one of the models speaks.
    sync: Whose SyncNet judges: "official", "own", or "" where there is none.
    people: Number of people whose clips are measured.
  """
  paragraphs = []
  if people == 1:
    paragraphs.append(
      "All clips are of one person. Other speech is that of another clip of"
      " theirs, and swaps, whose donors must be others, are left out."
    )
  if demo:
    paragraphs.append(
      "**This shows that the pipeline works, not what quality it can reach:**"
      " the `demo` preset trains small networks for minutes. Expect soft lips"
      " and emotions that hardly show."
    )
  if synthetic:
    paragraphs.append(
      "All faces and voices here are synthetic. Nothing below says how the"
      " model does on real people."
    )
  paragraphs.append(
    "Read every figure beside two others: the static first frame, which"
    " already scores well, and the ground-truth column, which is what the"
    " reader itself scores on real frames. A high Sync figure without a"
    " mouth box above shuffled speech means lips that only SyncNet sees."
  )
  if sync == "official" and speaks:
    paragraphs.append(
      "Sync-C, Sync-D and the Sync offset are those of the official SyncNet"
      " v2, scored as its authors' code does, but for the face crop, which is"
      " made from landmarks instead of S3FD's boxes. That code takes zeros for"
      " the sound beyond a clip's ends, so that clips of other lengths than the"
      " literature's (its pipeline wants 100 frames) do not compare."
    )
  elif sync == "official":
    paragraphs.append(
      "Nothing speaks yet: the official SyncNet had nothing to do."
    )
  elif sync == "own":
    paragraphs.append(
      "Sync figures are those of the run's own SyncNet: they compare the rows"
      " below, and are not the literature's Sync-C and Sync-D. For those, give"
      " the official SyncNet's weights (`--syncnet`)."
    )
  else:
    paragraphs.append(
      "No SyncNet is at hand (a bundle may have none): no Sync figures."
    )
  return paragraphs
