"""A client of `speak serve`: a video by HTTP, or frames by WebSocket.

  python examples/serve_client.py video FACE VOICE OUT.mp4 [--option size=256]
  python examples/serve_client.py stream FACE VOICE.wav OUT_FOLDER [--live]

Both take --url (http://127.0.0.1:8000) and $SPEAK_SERVE_TOKEN. Needs no
more than Python, and for streams the package websockets.
"""

import argparse
import json
import os
import struct
import sys
import time
import urllib.error
import urllib.request
import uuid
import wave
from pathlib import Path

HEADER = struct.Struct("<did")  # time, utterance, second of it
TOKEN = os.environ.get("SPEAK_SERVE_TOKEN", "")


def form(files: dict[str, Path], fields: dict[str, str]) -> tuple[bytes, str]:
  """A multipart body, and its content type."""
  border = uuid.uuid4().hex
  parts = []
  for name, value in fields.items():
    head = f'Content-Disposition: form-data; name="{name}"'
    parts.append(head.encode() + b"\r\n\r\n" + value.encode())
  for name, path in files.items():
    head = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'
    kind = "\r\nContent-Type: application/octet-stream\r\n\r\n"
    parts.append((head + kind).encode() + path.read_bytes())
  edge = f"--{border}".encode()
  body = b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts)
  return body + edge + b"--\r\n", f"multipart/form-data; boundary={border}"


def ask(
  url: str, method: str = "GET", body: bytes | None = None, kind: str = ""
):
  """(status, headers, body) of an answer, errors too."""
  headers = {"Content-Type": kind} if kind else {}
  if TOKEN:
    headers["Authorization"] = f"Bearer {TOKEN}"
  asked = urllib.request.Request(url, body, headers, method=method)
  try:
    with urllib.request.urlopen(asked, timeout=120) as answer:
      return answer.status, answer.headers, answer.read()
  except urllib.error.HTTPError as error:
    return error.code, error.headers, error.read()


def video(url: str, face: Path, voice: Path, out: Path, fields: dict) -> None:
  """Makes a video, waiting for it as long as it takes."""
  body, kind = form({"identity": face, "audio": voice}, fields)
  status, headers, data = ask(f"{url}/generate", "POST", body, kind)
  if status == 202:
    place = url + headers["Location"]
    while True:
      job = json.loads(ask(place)[2])
      if job["state"] not in ("queued", "running"):
        break
      print(f"{job['state']}: {job['frames']} of {job['of']} frames")
      time.sleep(1)
    status, headers, data = ask(f"{place}/result")
  if status != 200:
    sys.exit(f"{status}: {data.decode()}")
  out.write_bytes(data)
  print(f"wrote {out}: {len(data)} bytes")


def stream(
  url: str, face: Path, voice: Path, out: Path, fields: dict, live: bool
) -> None:
  """Sends a sound in pieces of 0.1 s, and stores the frames that come."""
  from websockets.sync.client import connect

  with wave.open(str(voice)) as sound:
    if sound.getsampwidth() != 2:
      sys.exit(f"{voice}: not 16 bits")
    rate, channels = sound.getframerate(), sound.getnchannels()
    samples = sound.readframes(sound.getnframes())
  start = {
    "type": "start",
    "token": TOKEN,
    "rate": rate,
    "channels": channels,
    "format": "s16le",
    "frames": "jpeg",
    "pace": "live" if live else "ready",
    "options": fields,
  }
  out.mkdir(parents=True, exist_ok=True)
  address = url.replace("http", "ws", 1) + "/stream"
  with connect(address, max_size=None, open_timeout=60) as socket:
    socket.send(json.dumps(start))
    socket.send(face.read_bytes())
    ready = json.loads(socket.recv(timeout=60))
    if ready["type"] != "ready":
      sys.exit(json.dumps(ready))
    print(ready)
    each = rate // 10 * channels * 2
    for i in range(0, len(samples), each):
      socket.send(samples[i : i + each])
    socket.send(json.dumps({"type": "end"}))
    count = 0
    for message in socket:
      if isinstance(message, bytes):
        time_s, utterance, second = HEADER.unpack_from(message)
        (out / f"{count:06d}.jpg").write_bytes(message[HEADER.size :])
        if count == 0:
          print(f"first frame: {time_s:.2f} s, {utterance}, {second:.2f}")
        count += 1
        continue
      word = json.loads(message)
      if word["type"] == "error":
        sys.exit(json.dumps(word))
      if word["type"] == "spoken":
        socket.send(json.dumps({"type": "stop"}))
  print(f"{count} frames in {out}")


def main() -> None:
  """Reads the words of the command."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=("video", "stream"))
  for name in ("face", "voice", "out"):
    parser.add_argument(name, type=Path)
  parser.add_argument("--url", default="http://127.0.0.1:8000")
  parser.add_argument("--live", action="store_true", help="25 frames a second")
  parser.add_argument(
    "--option", action="append", default=[], help="NAME=VALUE, as size=256"
  )
  args = parser.parse_args()
  fields = dict(option.split("=", 1) for option in args.option)
  if args.what == "video":
    video(args.url, args.face, args.voice, args.out, fields)
  else:
    stream(args.url, args.face, args.voice, args.out, fields, args.live)


if __name__ == "__main__":
  main()
