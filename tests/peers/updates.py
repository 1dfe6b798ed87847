"""Every kind of update that the simulator makes, taken as raw JSON by getUpdates, in the models of both libraries."""

from functools import partial

import aiogram.types
import telegram

from models import aiogram_problems, must_have_none, ptb_problems
from processes import Simulator

PRIVATE, GROUP, SUPERGROUP, CHANNEL = 3001, -3002, -1003000000003, -1003000000004
PHOTO = [{"file_id": "p", "file_unique_id": "u", "width": 90, "height": 90}]
PERSON = {"id": PRIVATE, "is_bot": False, "first_name": "Ann"}
KEYBOARD = {"inline_keyboard": [[{"text": "One", "callback_data": "one"}, {"text": "Site", "url": "https://example.com"}]]}


def messages(simulator):
    """A name for each, and the body for /control/message."""
    yield "text", {"chat_id": PRIVATE, "text": "hello"}
    yield "text_with_everything", {
        "chat_id": PRIVATE, "user_id": 3009, "text": "Grüße 👩‍👩‍👧", "first_name": "Zoë", "language_code": "de",
        "date": 1760000000,
    }
    yield "command", {"chat_id": PRIVATE, "text": "/start now"}
    yield "photo", {"chat_id": PRIVATE, "extra": {"photo": PHOTO, "caption": "a photo"}}
    yield "location", {"chat_id": PRIVATE, "extra": {"location": {"latitude": 1.5, "longitude": -2}}}
    yield "reply", {"chat_id": PRIVATE, "text": "yes", "extra": {"reply_to_message": sent(simulator, "sendMessage", text="?")}}
    yield "group", {"chat_id": GROUP, "user_id": 3005, "text": "in a group"}
    yield "group_command", {"chat_id": GROUP, "user_id": 3005, "text": "/start@sample_bot"}
    yield "supergroup", {"chat_id": SUPERGROUP, "user_id": 3005, "text": "in a supergroup"}
    yield "channel", {"chat_id": CHANNEL, "chat_type": "channel", "text": "in a channel"}


# What the bot has sent, and a person then presses a button of.
PRESSED = {
    "text": ("sendMessage", {"text": "<b>choose</b>", "parse_mode": "HTML"}),
    "photo": ("sendPhoto", {"photo": "https://example.com/a.jpg", "caption": "*look*", "parse_mode": "MarkdownV2"}),
    "document": ("sendDocument", {"document": "https://example.com/a.pdf"}),
    "voice": ("sendVoice", {"voice": "v"}),
    "audio": ("sendAudio", {"audio": "a"}),
    "video": ("sendVideo", {"video": "v"}),
    "video_note": ("sendVideoNote", {"video_note": "v"}),
    "animation": ("sendAnimation", {"animation": "a"}),
    "sticker": ("sendSticker", {"sticker": "s"}),
    "location": ("sendLocation", {"latitude": 1.5, "longitude": 2}),
    "venue": ("sendVenue", {"latitude": 1.5, "longitude": 2, "title": "Here", "address": "1 Street"}),
    "contact": ("sendContact", {"phone_number": "123", "first_name": "Ann"}),
    "dice": ("sendDice", {}),
    "poll": ("sendPoll", {"question": "?", "options": ["a", {"text": "b"}]}),
}

# Passed on as they were given: here only the id is the simulator's.
GIVEN = {
    "edited_message": {"message_id": 1, "date": 1, "edit_date": 2, "chat": {"id": PRIVATE, "type": "private"}, "text": "x"},
    "inline_query": {"id": "1", "from": PERSON, "query": "q", "offset": ""},
    "poll_answer": {"poll_id": "1", "user": PERSON, "option_ids": [0], "option_persistent_ids": ["a"]},
    "pre_checkout_query": {"id": "1", "from": PERSON, "currency": "XTR", "total_amount": 1, "invoice_payload": "p"},
}


def sent(simulator, method, chat_id=PRIVATE, **params):
    status, answer = simulator.call(method, chat_id=chat_id, **params)
    if status != 200:
        raise AssertionError(f"{method}: {answer}")
    return answer["result"]


def made(simulator):
    """A name for each update, and how it is made."""
    for name, body in messages(simulator):
        yield f"message_{name}", partial(simulator.do, "message", **body)
    for name, (method, params) in PRESSED.items():
        yield f"press_{name}", partial(press, simulator, PRIVATE, method, params)
    yield "press_in_a_group", partial(press, simulator, GROUP, *PRESSED["text"])
    replying = {"text": "!", "reply_parameters": {"message_id": 1}}
    yield "press_reply", partial(press, simulator, PRIVATE, "sendMessage", replying)
    yield "press_edited", partial(press_edited, simulator)
    yield "press_forgotten", partial(simulator.do, "press", chat_id=PRIVATE, message_id=999999, data="one")
    yield "blocked", partial(simulator.do, "block", user_id=3007)
    yield "unblocked", partial(simulator.do, "unblock", user_id=3007)
    for name, content in GIVEN.items():
        yield f"given_{name}", partial(simulator.do, "update", **{name: content})


def press(simulator, chat_id, method, params):
    message = sent(simulator, method, chat_id, reply_markup=KEYBOARD, **params)
    return simulator.do("press", chat_id=chat_id, message_id=message["message_id"], user_id=3005, data="one")


def press_edited(simulator):
    message = sent(simulator, "sendMessage", text="before", reply_markup=KEYBOARD)
    edited = {"message_id": message["message_id"], "text": "after", "reply_markup": KEYBOARD}
    sent(simulator, "editMessageText", **edited)
    return simulator.do("press", chat_id=PRIVATE, message_id=message["message_id"], data="one")


def run(report, binaries, folder):
    with Simulator(binaries / "telegram-simulator", folder) as simulator:
        for name, make in made(simulator):
            made_id = make()["update_id"]
            updates = simulator.call("getUpdates", offset=made_id)[1]["result"]
            for library, kind, problems in [
                ("aiogram", aiogram.types.Update, aiogram_problems),
                ("ptb", telegram.Update, ptb_problems),
            ]:
                with report.case(f"{library}::update_{name}"):
                    if [update["update_id"] for update in updates] != [made_id]:
                        raise AssertionError(f"getUpdates has {updates} and not just update {made_id}")
                    must_have_none(problems(kind, updates[0]), updates[0])
