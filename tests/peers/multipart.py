"""A stand-in for what the simulator does not read yet: multipart forms without a file, which teloxide uses for each
method that could carry one. Such a form is passed on as JSON, everything else as it is. Where the simulator reads
multipart by itself, nobody asks for this (see `needed`)."""

import json
import threading
import urllib.error
import urllib.request
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import OPENER, TOKEN, Simulator, post
from report import Differs

BOUNDARY = "peers-boundary"


def probe(simulator):
    """A message as a multipart form; the simulator's answer."""
    fields = {"chat_id": "1", "text": "multipart"}
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    body = ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return post(f"{simulator.url}/bot{TOKEN}/sendMessage", body, kind)


def needed(simulator):
    return probe(simulator)[0] != 200


def as_json(kind, body):
    form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    parts = [(part.get_param("name", header="content-disposition"), part) for part in form.iter_parts()]
    return json.dumps({name: part.get_payload(decode=True).decode() for name, part in parts}).encode()


class PassOn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target = ""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            kind, body = "application/json", as_json(kind, body)
        request = urllib.request.Request(self.target + self.path, body, {"Content-Type": kind})
        try:
            answer = OPENER.open(request, timeout=120)
        except urllib.error.HTTPError as error:
            answer = error
        except (urllib.error.URLError, ConnectionError):
            # The simulator has ended: so does the connection, without an answer.
            self.close_connection = True
            return
        with answer:
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def stand_in(url):
    """The address to use in place of `url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("To", (PassOn,), {"target": url}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def run(report, binary, folder):
    with Simulator(binary, folder) as simulator, report.case("teloxide::multipart_is_read"):
        status, answer = probe(simulator)
        if status != 200:
            raise Differs([answer["description"]], "a multipart form of chat_id and text")
