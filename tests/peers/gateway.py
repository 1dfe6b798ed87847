"""The calls of the gateway itself, in the libraries' types: `tgw run` with the sample services, and with a service that
asks for every type of message. aiogram's classes of methods say what each parameter is, PTB's signatures their names."""

import inspect
import json
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiogram.methods
import telegram

from models import aiogram_problems, must_have_none
from processes import TOKEN, Process, Simulator, free_port, get
from report import check, wait_until

SECRET = "peers_secret"
BUTTONS = [[{"text": "Edit", "callback_data": "SAY:edit"}, {"text": "Site", "url": "https://example.com"}]]
URL = "https://example.com/file"
ON_MESSAGE = {"buttons": BUTTONS, "silent": True, "reply_to": True}

# What the service answers to a text or a button of this name.
ANSWERS = {
    "text": {"type": "text", "content": "<b>bold</b>", "parse_mode": "HTML"} | ON_MESSAGE,
    "long": {"type": "text", "content": "one two three. " * 700},
    "photo": {"type": "photo", "photo": URL, "content": "a *caption*", "parse_mode": "MarkdownV2"} | ON_MESSAGE,
    "document": {"type": "document", "url": URL} | ON_MESSAGE,
    "voice": {"type": "voice", "file_id": "voice-1"} | ON_MESSAGE,
    "location": {"type": "location", "latitude": 1.5, "longitude": -2} | ON_MESSAGE,
    "dice": {"type": "method", "method": "sendDice", "params": {"emoji": "🎲"}},
    "poll": {"type": "method", "method": "sendPoll", "params": {"question": "?", "options": [{"text": "a"}, {"text": "b"}]}},
    "commands": {"type": "method", "method": "setMyCommands", "params": {"commands": [{"command": "a", "description": "b"}]}},
    "edit": {"messages": [{"type": "edit", "content": "edited", "buttons": BUTTONS}], "answer": {"text": "A", "show_alert": True}},
    "delete": {"messages": [{"type": "delete"}], "answer": {"text": "gone"}},
    "none": {"type": "none"},
}
ROUTES = """
[services.said]
url = "{url}"

[[routes]]
text = true
service = "said"

[[routes]]
callback = "SAY"
service = "said"
"""
# The text, and the calls that it leads to.
SAMPLE = {
    "/start": ["sendMessage", "sendMessage"],
    "/help": ["sendMessage"],
    "/profile": ["sendMessage"],
    "Grüße 👩‍👩‍👧": ["sendMessage"],
    "long": ["sendMessage", "sendMessage"],
    "match": ["sendMessage", "sendMessage"],
    "fail": ["sendMessage"],
    "slow": ["sendChatAction", "sendMessage"],
}
SAID = {
    "text": ["sendMessage"],
    "long": ["sendMessage"] * 3,
    "photo": ["sendPhoto"],
    "document": ["sendDocument"],
    "voice": ["sendVoice"],
    "location": ["sendLocation"],
    "dice": ["sendDice"],
    "poll": ["sendPoll"],
}


class Said(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(ANSWERS[asked.get("param") or asked.get("message")]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def gateway(binaries, folder, simulator, **settings):
    """`tgw run`, ready, with its webhook set."""
    port = free_port()
    environment = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": simulator.url,
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "DATA_DIR": str(folder / "data"),
    }
    started = Process(folder / "tgw.log", [binaries / "tgw", "run"], environment | settings, cwd=folder)

    def ready():
        started.alive()
        try:
            return get(f"http://127.0.0.1:{port}/ready") is not None
        except OSError:
            return False

    try:
        wait_until(ready, True, "the gateway is ready")
    except BaseException:
        started.__exit__()
        raise
    hook = {"url": f"http://127.0.0.1:{port}/webhook/telegram", "secret_token": SECRET}
    check(simulator.call("setWebhook", **hook)[0], 200, "setWebhook")
    return started


def made(simulator, chat_id, methods):
    """Waits for these calls; typing may show whenever something is slow, and more than once."""

    def look():
        seen = [call["method"] for call in simulator.calls() if call["chat_id"] == chat_id and call["status"] == 200]
        if "sendChatAction" in methods:
            return [name for at, name in enumerate(seen) if name != "sendChatAction" or at == seen.index(name)]
        return [name for name in seen if name != "sendChatAction"]

    wait_until(look, methods, f"calls for chat {chat_id}")


def write(simulator, texts):
    """Each in a chat of its own, so that none waits for another's turn; one after the other, so that none is slow."""
    for chat_id, (text, methods) in enumerate(texts.items(), 5001):
        simulator.do("message", chat_id=chat_id, text=text)
        made(simulator, chat_id, methods)


def press(simulator, chat_id, data):
    message_id = next(m["message_id"] for m in reversed(simulator.from_bot(chat_id)) if m["buttons"])
    before = [call["method"] for call in simulator.calls() if call["chat_id"] == chat_id]
    simulator.do("press", chat_id=chat_id, message_id=message_id, data=data)
    answered = ["answerCallbackQuery", "deleteMessage" if data == "SAY:delete" else "editMessageText"]

    def look():
        now = [call["method"] for call in simulator.calls() if call["chat_id"] == chat_id and call["status"] == 200]
        return sorted(name for name in now[len(before) :] if name != "sendChatAction")

    wait_until(look, answered, f"calls after {data}")


def samples(binaries, folder, simulator):
    """The built-in table and the sample services, each button pressed, and a user who writes too fast."""
    services = ("CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE")
    settings = {f"{name}_SERVICE_URL": "sample:" for name in services} | {"RATE_LIMIT_REQUESTS": "4"}
    with gateway(binaries, folder, simulator, **settings) as running:
        write(simulator, SAMPLE)
        for data in ("CONNECT:mira", "ACCEPT:mira"):
            press(simulator, 5001, data)
        match = 5001 + list(SAMPLE).index("match")
        for data in ("SKIP:mira", "REJECT:jonas"):
            press(simulator, match, data)
        # Four are answered, and one of the others is told to slow down.
        date = simulator.from_bot(5001)[0]["date"]
        for _ in range(6):
            simulator.do("message", chat_id=5100, text="fast", date=date)
        made(simulator, 5100, ["sendMessage"] * 5)
        simulator.do("block", user_id=5001)
        wait_until(lambda: simulator.see("pending")["pending"], 0, "updates that were not taken")
        check(running.end(signal.SIGTERM), 0, "the gateway's exit code")
        return simulator.calls()


def every_type(binaries, folder, simulator):
    """A service that answers with each type of message."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), Said)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    routes = folder / "routes.toml"
    routes.write_text(ROUTES.format(url=f"http://127.0.0.1:{service.server_port}/"))
    with gateway(binaries, folder, simulator, ROUTES_FILE=str(routes), RATE_LIMIT_REQUESTS="1000") as running:
        write(simulator, SAID)
        simulator.do("message", chat_id=-5002, user_id=5001, text="text")
        made(simulator, -5002, ["sendMessage"])
        simulator.do("message", chat_id=5200, text="commands")
        wait_until(lambda: [c["method"] for c in simulator.calls()], lambda seen: "setMyCommands" in seen, "setMyCommands")
        press(simulator, 5001, "SAY:edit")
        press(simulator, 5001, "SAY:delete")
        check(running.end(signal.SIGTERM), 0, "the gateway's exit code")
        service.shutdown()
        return simulator.calls()


def signature(method):
    """The parameters that PTB has for this method, under Telegram's names."""
    name = re.sub(r"([A-Z])", r"_\1", method).lower()
    return set(inspect.signature(getattr(telegram.Bot, name)).parameters)


def run(report, binaries, folder):
    calls = []
    for conversation in (samples, every_type):
        (folder / conversation.__name__).mkdir()
        with Simulator(binaries / "telegram-simulator", folder / conversation.__name__) as simulator:
            with report.case(f"gateway::{conversation.__name__}_are_answered"):
                made_here = conversation(binaries, folder / conversation.__name__, simulator)
                # That one is ours, in place of a person's.
                calls += [call for call in made_here if call["method"] != "setWebhook"]
    with report.case("gateway::no_call_is_refused"):
        check([call for call in calls if call["status"] != 200], [], "calls")
    for method in sorted({call["method"] for call in calls}):
        params = [call["params"] for call in calls if call["method"] == method]
        with report.case(f"aiogram::gateway_calls_{method}"):
            kind = getattr(aiogram.methods, method[0].upper() + method[1:])
            for given in params:
                must_have_none(aiogram_problems(kind, given), given)
        with report.case(f"ptb::gateway_calls_{method}"):
            for given in params:
                check(set(given) - signature(method), set(), "parameters that PTB has not")
