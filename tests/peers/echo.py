"""The echo bots, each by long polling and by webhook: a person writes, edits, presses, and everything must come back
once and in order, with nothing in the bot's log that says otherwise."""

import re
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from processes import TOKEN, Process, Simulator, free_port
from report import check, wait_until

HERE = Path(__file__).parent
COMPLAINT = re.compile(r"\b(ERROR|CRITICAL|WARN(ING)?|Traceback|panicked|[A-Z]\w*Error)\b|[Ww]arning:")
# How aiogram says that it was asked to end.
NONE = "Received SIGINT signal"

UNICODE = [
    "Grüße, 世界 — مرحبا بالعالم — नमस्ते",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇵🇹 e\u0301 𝒳 \u200fabc",
    "<b>not bold</b> & _not_ *italic* \\ \"quoted\" {x} %20 +",
    "first\n\n  third\tline",
    "ж" * 4096,
]


def command(library, cache):
    return {
        "grammy": ["node", str(cache / "grammy/bot.mjs")],
        "aiogram": [sys.executable, str(HERE / "aiogram_bot.py")],
        "ptb": [sys.executable, str(HERE / "ptb_bot.py")],
        "teloxide": [str(cache / "teloxide/debug/peers-teloxide")],
    }[library]


@dataclass
class Conversation:
    """One bot, one simulator, and what each chat must hold of the bot's when all is over."""

    simulator: Simulator
    expected: dict = field(default_factory=dict)

    def write(self, chat_id, text=None, **more):
        more |= {"text": text} if text is not None else {}
        return self.simulator.do("message", chat_id=chat_id, **more)["message_id"]

    def expect(self, chat_id, *texts):
        """Waits for these texts of the bot's, after those that the chat has already."""
        wanted = self.expected.setdefault(chat_id, [])
        wanted.extend(texts)
        wait_until(lambda: self.texts(chat_id), wanted, f"what the bot wrote in chat {chat_id}")

    def texts(self, chat_id):
        return [message["text"] for message in self.simulator.from_bot(chat_id)]

    def last(self, chat_id):
        return self.simulator.from_bot(chat_id)[-1]


def greets(talk):
    talk.write(1001, "/start", first_name="Zoë")
    talk.expect(1001, "Hello, Zoë!")
    greeting = talk.last(1001)
    check(greeting["entities"], [{"type": "bold", "offset": 0, "length": 11}], "the greeting's entities")
    labels = [[button["text"] for button in row] for row in greeting["buttons"]]
    check(labels, [["One", "Two"]], "the greeting's buttons")


def texts(talk):
    for text in ["hello", "hello again", "1"]:
        talk.write(1002, text)
        talk.expect(1002, text)


def unicode(talk):
    for text in UNICODE:
        talk.write(1003, text)
    talk.expect(1003, *UNICODE)


def buttons(talk):
    talk.write(1004, "/start", first_name="Ann")
    talk.expect(1004, "Hello, Ann!")
    greeting = talk.last(1004)
    data = greeting["buttons"][0][1]["callback_data"]
    pressed = talk.simulator.do("press", chat_id=1004, message_id=greeting["message_id"], data=data)
    talk.expected[1004] = []
    talk.expect(1004, "You chose: two")
    changed = talk.last(1004)
    check((changed["edited"], changed["buttons"]), (True, []), "the message whose button was pressed")
    shown = talk.simulator.see("chats/1004")["answers"]
    ids = [(answer["callback_query_id"], answer["text"]) for answer in shown]
    check(ids, [(pressed["callback_query_id"], "Thank you")], "what the person was shown")


def edits(talk):
    message_id = talk.write(1005, "a tpyo")
    talk.expect(1005, "a tpyo")
    date = talk.last(1005)["date"]
    talk.simulator.do(
        "update",
        edited_message={
            "message_id": message_id,
            "from": {"id": 1005, "is_bot": False, "first_name": "Ann"},
            "chat": {"id": 1005, "type": "private", "first_name": "Ann"},
            "date": date,
            "edit_date": date + 1,
            "text": "a typo",
        },
    )
    talk.expect(1005, "a typo")
    check(talk.last(1005)["reply_to"], message_id, "the message that was replied to")


def photo(talk):
    sizes = [
        {"file_id": f"photo-{side}", "file_unique_id": f"unique-{side}", "width": side, "height": side}
        for side in (90, 320, 800)
    ]
    talk.write(1006, extra={"photo": sizes, "caption": "A “photo” 📷"})
    talk.expect(1006, "A “photo” 📷")
    echoed = talk.last(1006)
    check((echoed["kind"], echoed["media"]), ("photo", "photo-800"), "the photo that came back")


def groups(talk):
    for chat_id, kind in [(-4001, "group"), (-1001234567890, "supergroup")]:
        for user_id in (2001, 2002):
            talk.write(chat_id, f"I am {user_id}", user_id=user_id, chat_type=kind)
        talk.write(chat_id, "/start@sample_bot", user_id=2003, first_name="Bob", chat_type=kind)
        talk.expect(chat_id, "I am 2001", "I am 2002", "Hello, Bob!")


def burst_of_100_in_order(talk):
    numbers = [f"number {number}" for number in range(100)]
    for number in numbers:
        talk.write(1007, number)
    talk.expect(1007, *numbers)


CASES = [greets, texts, unicode, buttons, edits, photo, groups, burst_of_100_in_order]


def once(talk):
    """Nothing twice, nothing tried again, nothing refused, nothing left."""
    wait_until(lambda: talk.simulator.see("pending")["pending"], 0, "updates that the bot has not taken")
    for chat_id, wanted in talk.expected.items():
        check(talk.texts(chat_id), wanted, f"chat {chat_id} in the end")
    calls = [call for call in talk.simulator.calls() if call["method"] != "getUpdates"]
    refused = [call for call in calls if call["status"] != 200]
    check(refused, [], "calls that the simulator refused")
    again = [delivery for delivery in talk.simulator.see("deliveries") if delivery["attempt"] != 1]
    check(again, [], "updates that were sent again")
    failed = [delivery for delivery in talk.simulator.see("deliveries") if delivery["status"] != 200]
    check(failed, [], "updates that the bot did not take")


def clean(bot):
    complaints = [line for line in bot.log().splitlines() if COMPLAINT.search(line) and NONE not in line]
    check(complaints, [], "the bot's log")


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def start(library, by, simulator, folder, cache):
    """The bot, ready to be written to."""
    api, port = simulator.url, free_port()
    simulator.do("reset")
    environment = {"BOT_TOKEN": TOKEN, "API_URL": api, "PORT": str(port)}
    environment |= {"TELOXIDE_TOKEN": TOKEN, "TELOXIDE_API_URL": api, "RUST_LOG": "info"}
    if by == "webhook":
        environment["WEBHOOK_URL"] = f"http://127.0.0.1:{port}/webhook"
    bot = Process(folder / "bot.log", command(library, cache), environment)

    def ready():
        bot.alive()
        if by == "webhook":
            return simulator.see("bot")["webhook"] and listens(port)
        return any(call["method"] == "getUpdates" for call in simulator.calls())

    try:
        wait_until(ready, True, f"{library} by {by} is ready")
    except BaseException:
        bot.__exit__()
        raise
    return bot


def run(report, library, by, binary, folder, cache):
    name = f"{library}::{by}"
    folder.mkdir(parents=True)
    with Simulator(binary, folder) as simulator:
        bot = None
        with report.case(f"{name}_starts"):
            bot = start(library, by, simulator, folder, cache)
        if bot is None:
            return
        with bot:
            talk = Conversation(simulator)
            for case in CASES:
                with report.case(f"{name}_{case.__name__}"):
                    case(talk)
            with report.case(f"{name}_everything_once"):
                once(talk)
            with report.case(f"{name}_ends_cleanly"):
                check(bot.end(), 0, "the bot's exit code")
            with report.case(f"{name}_log_has_no_complaint"):
                clean(bot)
