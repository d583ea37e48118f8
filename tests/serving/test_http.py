"""POST /generate and its jobs, asked well and badly."""

import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from data_pipelines.media import decoder
from tests.serving.ask import Client


@pytest.fixture
def client(served):
  return served.client


@pytest.fixture
def parts(face, voice):
  return [
    ("identity", "x.jpg", face),
    ("audio", "y.wav", voice),
    ("size", None, b"64"),
  ]


def reason(answer) -> str:
  """The one line of an error."""
  text = answer["error"]["reason"]
  assert "\n" not in text
  assert "Traceback" not in text
  assert "/" not in text.replace("HTTP/", "")  # no path of the server's
  return text


def test_a_video_comes_back(client, parts, tmp_path, capsys):
  status, data = client.post(parts)
  assert status == 200
  assert capsys.readouterr().err == ""  # no bar in the log for each visitor
  (tmp_path / "a.mp4").write_bytes(data)
  assert decoder.probe(tmp_path / "a.mp4").frames == 15


def test_a_job_is_asked_for_and_fetched(client, parts):
  status, job = client.post(parts, "?wait=0")
  assert status == 202
  assert len(job["job"]) == 32
  path = f"/jobs/{job['job']}"
  while job["state"] in ("queued", "running"):
    time.sleep(0.1)
    status, job = client.ask("GET", path)
    assert status == 200
  assert (job["state"], job["frames"], job["of"]) == ("done", 15, 15)
  status, data = client.ask("GET", f"{path}/result")
  assert (status, data[4:8]) == (200, b"ftyp")
  assert client.ask("DELETE", path)[0] == 200
  assert client.ask("GET", f"{path}/result")[0] == 404


def test_a_job_is_cancelled_and_leaves_no_file(client, parts, served):
  _, job = client.post(parts, "?wait=0")
  assert client.ask("DELETE", f"/jobs/{job['job']}")[0] == 200
  end = time.monotonic() + 30
  while (served.folder / job["job"]).exists() and time.monotonic() < end:
    time.sleep(0.1)
  assert not (served.folder / job["job"]).exists()


def test_a_job_ends_while_its_inputs_are_read(
  client, parts, served, monkeypatch
):
  def endless(request, say):
    say("pose      a long one")
    while True:
      decoder.read_image(request.identity)

  monkeypatch.setattr(served.server.jobs._model, "take", endless)
  _, job = client.post(parts, "?wait=0")
  path, begin = f"/jobs/{job['job']}", time.monotonic()
  while job["stage"] != "looking at the head's motion":
    assert job["state"] in ("queued", "running")
    assert time.monotonic() - begin < 30
    time.sleep(0.05)
    job = client.ask("GET", path)[1]
  assert (job["state"], job["of"], job["warnings"]) == ("running", 0, [])
  begin = time.monotonic()
  assert client.ask("DELETE", path)[1]["state"] == "cancelled"
  while (served.folder / job["job"]).exists():
    assert time.monotonic() - begin < 5
    time.sleep(0.02)
  assert client.ask("GET", path)[0] == 404
  monkeypatch.undo()
  assert client.post(parts)[0] == 200  # the next one is made


def test_a_fault_of_ours_is_a_number(client, parts, served, monkeypatch):
  def broken(request, say):
    raise KeyError("secret")

  monkeypatch.setattr(served.server.jobs._model, "take", broken)
  status, answer = client.post(parts)
  assert status == 422 and "secret" not in reason(answer)
  assert "the server's log has it as" in reason(answer)


def test_files_are_gone_after_their_time(client, parts, served):
  _, job = client.post(parts, "?wait=0")
  kept = served.server.jobs.find(job["job"])
  assert kept.work.wait(60)
  kept.since -= served.server.limits.kept_s + 1
  assert client.ask("GET", f"/jobs/{job['job']}")[0] == 404
  assert not kept.folder.exists()


@pytest.fixture
def few(served, monkeypatch):
  """A server that keeps two videos, of which none is kept yet."""
  jobs = served.server.jobs
  for job in list(jobs._jobs.values()):
    jobs.forget(job)
  monkeypatch.setattr(jobs, "_limits", jobs._limits._replace(kept=2))
  yield jobs
  for job in list(jobs._jobs.values()):
    jobs.forget(job)


def test_bad_files_leave_nothing_that_keeps_others_out(client, parts, few):
  bad = [("identity", "a.jpg", b"no picture"), *parts[1:]]
  for _ in range(5):
    assert client.post(bad)[0] == 422
  assert not few._jobs
  assert client.post(parts)[0] == 200


def test_who_fetched_a_video_makes_room_for_others(client, parts, few):
  for _ in range(5):
    assert client.post(parts)[0] == 200
  assert len(few._jobs) <= 3
  # But what nobody has fetched is kept, and others have to wait.
  names = []
  for _ in range(3):
    status, job = client.post(parts, "?wait=0")
    assert status == 202
    assert few.find(job["job"]).work.wait(60)
    names.append(job["job"])
  status, answer = client.post(parts, "?wait=0")
  assert status == 503 and "kept" in reason(answer)
  assert client.ask("GET", f"/jobs/{names[0]}/result")[0] == 200
  assert client.post(parts, "?wait=0")[0] == 202
  assert client.ask("GET", f"/jobs/{names[0]}")[0] == 404


def test_health_and_metrics(client, served):
  status, health = client.ask("GET", "/health")
  assert (status, health["status"]) == (200, "ok")
  status, text = client.ask("GET", "/metrics")
  assert status == 200
  assert b"speak_jobs_waiting 0" in text
  stranger = Client(served.port)
  assert stranger.ask("GET", "/health")[0] == 200
  for path in ("/metrics", "/jobs/x", "/openapi.json"):
    assert stranger.ask("GET", path)[0] == 401


@pytest.mark.parametrize(
  "token", ["", "a", "Bearer", "A TOKEN OF THE TESTS", "\xff" * 9, "x" * 5_000]
)
def test_a_wrong_token_is_refused(client, token):
  headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
  status, answer = client.ask("GET", "/metrics", None, **headers)
  assert status == 401
  assert reason(answer) == "a token is needed"


# Values of fields that would open a file, or are none of theirs.
@pytest.mark.parametrize(
  "name, value, why",
  [
    ("emotion", "/etc/passwd", "is not one of"),
    ("emotion", "../../etc/passwd", "is not one of"),
    ("emotion", "happy:99", "strength"),
    ("pose", "/etc/hostname", "is not sampled or still"),
    ("pose", "file:///etc/hostname", "is not sampled or still"),
    ("gaze", "/dev/zero", "is not"),
    ("size", "1e9", "no whole number"),
    ("size", "999999", "more than 128"),
    ("size", "-1", "is not from"),
    ("fps", "nan", "is not"),
    ("mouth", "inf", "is not from"),
    ("framing", "sideways", "is not full or crop"),
    ("seed", "-5", "is not from"),
    ("blink", "perhaps", "not true or false"),
    ("face", "box:0,0,-1,nan", "is not largest"),
    ("track", "99", "no audio track"),
    ("output", "/tmp/x.mp4", "unknown"),
    ("__class__", "x", "unknown"),
    ("model", "/root", "unknown"),
    ("x" * 300, "1", "unknown"),
    ("size", "6" * 5_000, ""),
  ],
)
def test_a_bad_field_is_refused(client, parts, name, value, why):
  form = [part for part in parts if part[0] != name]
  status, answer = client.post([*form, (name, None, value.encode())])
  assert status in (400, 422)
  text = answer["error"]["reason"]
  assert why in text
  assert "\n" not in text
  assert "root:" not in text  # of a file of passwords


def _zip() -> bytes:
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w") as file:
    file.writestr("../../evil", b"x")
  return out.getvalue()


PLAYLIST = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n/etc/passwd\n"
SVG = (
  b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'
)


@pytest.mark.parametrize("name", ["identity", "audio"])
@pytest.mark.parametrize(
  "data",
  [
    b"",
    b"not media",
    PLAYLIST,
    SVG,
    b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    b"\x89PNG\r\n\x1a\n" + b"\x00" * 40,
    _zip(),
    b"\x00" * 100_000,
  ],
  ids=["empty", "text", "playlist", "svg", "concat", "png", "zip", "zeros"],
)
def test_a_file_that_is_no_media_is_refused(client, parts, name, data):
  form = [part for part in parts if part[0] != name]
  status, answer = client.post([*form, (name, "/etc/passwd", data)])
  assert status in (400, 422)
  assert reason(answer)
  assert answer["error"]["field"] == name


def test_a_truncated_picture_is_refused_or_used(client, parts, face):
  form = [part for part in parts if part[0] != "identity"]
  status, _ = client.post(
    [*form, ("identity", "a.jpg", face[: len(face) // 9])]
  )
  assert status in (200, 422)


def test_a_long_sound_is_refused(client, parts):
  out = io.BytesIO()
  noise = np.random.default_rng(0).integers(-9_000, 9_000, 40_000, np.int16)
  soundfile.write(out, noise, 8_000, format="WAV")
  form = [part for part in parts if part[0] != "audio"]
  status, answer = client.post([*form, ("audio", "a.wav", out.getvalue())])
  assert status == 422
  assert reason(answer) == "5 s of sound; 3 s are the limit"


@pytest.mark.parametrize(
  "change, why",
  [
    (lambda x: x[1:], "is missing"),
    (lambda x: [*x, x[0]], ""),
    (lambda x: [*x, ("extra", "a", b"x")], ""),
    (lambda x: [*x, *[(f"f{i}", None, b"x") for i in range(100)]], ""),
    (lambda x: [], "is missing"),
  ],
)
def test_a_form_of_other_parts_is_refused(client, parts, change, why):
  status, answer = client.post(change(parts))
  assert status == 400
  assert why in reason(answer)


def test_a_body_that_is_no_form_is_refused(client):
  for kind in ("application/json", "multipart/form-data", "text/plain"):
    status, answer = client.ask(
      "POST", "/generate", b'{"a": 1}', **{"Content-Type": kind}
    )
    assert status == 400
    assert reason(answer)


def test_a_huge_body_is_refused_at_once(client):
  status, answer = client.ask(
    "POST", "/generate", b"x", **{"Content-Length": str(10**12)}
  )
  assert status == 413
  assert reason(answer)


def test_a_huge_body_without_a_length_is_refused(client):
  def pieces():
    for _ in range(100):
      yield b"x" * 10_000

  kind = {"Content-Type": "multipart/form-data; boundary=edge"}
  try:
    status, _ = client.ask("POST", "/generate", pieces(), **kind)
  except (BrokenPipeError, ConnectionResetError):
    return  # it does not even read on
  assert status in (400, 413)


def test_a_body_that_does_not_come_is_given_up(client):
  head = (
    "POST /generate HTTP/1.1\r\nHost: a\r\n"
    f"Authorization: Bearer {client.token}\r\n"
    "Content-Type: multipart/form-data; boundary=edge\r\n"
    "Content-Length: 1000\r\n\r\n--edge\r\n"
  )
  begin = time.monotonic()
  answer = client.raw(head.encode(), 20)
  assert b" 408 " in answer.splitlines()[0]
  assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
  "data", [b"", b"GET / HT", b"GET /health HTTP/1.1\r\nX: "]
)
def test_a_connection_that_says_nothing_is_closed(client, data):
  begin = time.monotonic()
  assert b"<open>" not in client.raw(data, 20)
  assert time.monotonic() - begin < 15


def test_what_is_no_http_is_refused(client):
  answer = client.raw(b"\x16\x03\x01\x02\x00\x01\x00 nonsense\r\n\r\n")
  assert b"<open>" not in answer
  assert b" 400 " in answer.splitlines()[0]


@pytest.mark.parametrize(
  "path",
  [
    "/jobs/../../etc/passwd",
    "/jobs/..%2f..%2fetc%2fpasswd/result",
    "/jobs/%2e%2e/result",
    "/jobs/x/result",
    "/jobs/" + "A" * 32 + "/result",
    "/jobs/" + "A" * 20_000,
    "/jobs/a%00b",
    "//etc/passwd",
    "/generate/../metrics/..",
    "/docs",
  ],
)
def test_paths_lead_nowhere(client, path):
  status, answer = client.ask("GET", path)
  assert status in (400, 404, 405, 414)
  assert b"root:" not in str(answer).encode()


@pytest.mark.parametrize("wait", ["-1", "nan", "1e9", "x"])
def test_a_wait_is_a_number_within_bounds(client, parts, wait):
  status, answer = client.post(parts, f"?wait={wait}")
  assert status == 400
  assert reason(answer)


def test_many_at_once_are_served_or_told_to_come_again(client, parts):
  with ThreadPoolExecutor(24) as many:
    answers = list(many.map(lambda _: client.post(parts, "?wait=0"), range(24)))
  assert {status for status, _ in answers} == {202, 503}
  names = [x["job"] for status, x in answers if status == 202]
  assert len(set(names)) == len(names)
  for name in names:
    client.ask("DELETE", f"/jobs/{name}")
  assert client.ask("GET", "/health")[0] == 200


def test_one_clients_file_is_not_anothers(client, face, voice, served):
  """A job's folder holds its own alone, and no name in it is the client's."""
  marker = b"../../marker.sh"
  form = [
    ("identity", marker.decode(), face),
    ("audio", "C:\\a\\b.wav", voice),
    ("size", None, b"64"),
  ]
  assert client.post(form)[0] == 200
  assert not list(served.folder.parent.rglob("marker.sh"))
  names = {path.name for path in served.folder.rglob("*") if path.is_file()}
  assert names <= {"identity", "audio", "result.mp4"}


def test_a_crossed_page_is_refused_where_there_is_no_token():
  pytest.importorskip("fastapi", reason="no FastAPI here")
  from speak_jax.serving.guard import refusal

  assert refusal({"host": "127.0.0.1:8000"}, "") is None
  assert refusal({"host": "localhost"}, "") is None
  assert refusal({"host": "[::1]:80", "origin": "http://localhost"}, "") is None
  assert refusal({"host": "evil.example"}, "")
  assert refusal({"host": "127.0.0.1.evil.example"}, "")
  assert refusal({}, "")
  assert refusal({"host": "["}, "")
  assert refusal({"host": "127.0.0.1", "origin": "http://["}, "")
  bad = {"host": "127.0.0.1", "origin": "https://evil.example"}
  assert refusal(bad, "")
  assert refusal(bad, "t") is None
