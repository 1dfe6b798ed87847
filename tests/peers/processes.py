"""The processes under test, each with its output in a file, and ended with the driver whatever happens."""

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from report import wait_until

TOKEN = "4242:peers"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def post(url, body, headers=None):
    """The status and the JSON of the answer, whatever the status is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | (headers or {}))
    try:
        with OPENER.open(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null")


def get(url):
    with OPENER.open(url, timeout=60) as answer:
        return json.loads(answer.read())


class Process:
    def __init__(self, log, arguments, environment=None, cwd=None):
        self.log_path = Path(log)
        # What the person who runs this has set for a gateway of his own does not count here.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
        kept |= {"PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"} | (environment or {})
        with open(log, "wb") as output:
            self.child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=kept, cwd=cwd
            )

    def log(self):
        return self.log_path.read_text(errors="replace")

    def alive(self):
        if self.child.poll() is not None:
            raise AssertionError(f"{self.child.args[0]} ended with {self.child.returncode}: {self.log()[-1500:]}")
        return True

    def end(self, how=signal.SIGINT):
        """Asks it to end, and returns its exit code."""
        self.child.send_signal(how)
        return self.child.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


class Simulator(Process):
    """A `telegram-simulator` of its own, and its control side."""

    def __init__(self, binary, folder):
        super().__init__(folder / "simulator.log", [binary, "--listen", "127.0.0.1:0"])
        said = wait_until(lambda: self.alive() and self.log(), lambda log: "\n" in log, "the simulator's address")
        self.url = said.split()[-1]

    def call(self, method, **params):
        """A Bot API call; returns the status and the whole answer."""
        return post(f"{self.url}/bot{TOKEN}/{method}", params)

    def do(self, action, **body):
        status, answer = post(f"{self.url}/control/{action}", body)
        if status != 200:
            raise AssertionError(f"/control/{action} answers {status}: {answer}")
        return answer

    def see(self, what):
        return get(f"{self.url}/control/{what}")

    def calls(self):
        return self.see("calls?limit=100000")

    def from_bot(self, chat_id):
        return [message for message in self.see(f"chats/{chat_id}")["messages"] if message["from"] == "bot"]
