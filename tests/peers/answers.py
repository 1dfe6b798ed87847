"""What the simulator answers to a bot: each method that it simulates, in the types that the libraries have for it."""

import aiogram.methods
import telegram

from models import aiogram_problems, must_have_none, ptb_problems
from processes import Simulator
from updates import CHANNEL, GROUP, PRESSED, PRIVATE, SUPERGROUP

# Held elsewhere: in the updates, and in what the echo bots do.
ELSEWHERE = {"getUpdates", "answerCallbackQuery"}
WEBHOOK = "http://127.0.0.1:1/webhook"


def calls(message_id, photo_id):
    """Method, parameters, and PTB's class for the answer; None: it is no object there."""
    yield "getMe", {}, telegram.User
    for chat_id in (PRIVATE, GROUP, SUPERGROUP, CHANNEL):
        yield "getChat", {"chat_id": chat_id}, telegram.ChatFullInfo
    yield "getFile", {"file_id": "f"}, telegram.File
    yield "getMyCommands", {}, None
    yield "getWebhookInfo", {}, telegram.WebhookInfo
    for method, params in PRESSED.values():
        yield method, params | {"chat_id": PRIVATE}, telegram.Message
    yield "sendMessage", {"chat_id": SUPERGROUP, "text": "yes", "reply_parameters": {"message_id": 1}}, telegram.Message
    here = {"chat_id": PRIVATE, "message_id": message_id}
    yield "copyMessage", here | {"from_chat_id": PRIVATE}, telegram.MessageId
    yield "forwardMessage", here | {"from_chat_id": PRIVATE}, telegram.Message
    yield "editMessageText", here | {"text": "changed"}, telegram.Message
    yield "editMessageReplyMarkup", here | {"reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "b"}]]}}, \
        telegram.Message
    photo = {"chat_id": PRIVATE, "message_id": photo_id}
    yield "copyMessages", {"chat_id": PRIVATE, "from_chat_id": PRIVATE, "message_ids": [message_id, photo_id]}, None
    yield "forwardMessages", {"chat_id": PRIVATE, "from_chat_id": PRIVATE, "message_ids": [message_id]}, None
    album = [{"type": "photo", "media": "a", "caption": "b"}, {"type": "video", "media": "https://x.y/z.mp4"}]
    yield "sendMediaGroup", {"chat_id": PRIVATE, "media": album}, None
    yield "editMessageMedia", photo | {"media": {"type": "animation", "media": "c"}}, telegram.Message
    yield "setMyCommands", {"commands": [{"command": "start", "description": "begin"}]}, None
    yield "getMyCommands", {}, None
    yield "getMyName", {}, telegram.BotName
    yield "getMyDescription", {}, telegram.BotDescription
    yield "getMyShortDescription", {}, telegram.BotShortDescription
    yield "editMessageCaption", photo | {"caption": "changed"}, telegram.Message
    yield "sendChatAction", {"chat_id": PRIVATE, "action": "typing"}, None
    yield "setWebhook", {"url": WEBHOOK, "allowed_updates": ["message"]}, None
    yield "getWebhookInfo", {}, telegram.WebhookInfo
    yield "deleteMessage", here, None
    yield "deleteWebhook", {}, None


def run(report, binaries, folder):
    with Simulator(binaries / "telegram-simulator", folder) as simulator:
        simulator.do("message", chat_id=CHANNEL, chat_type="channel", text="a channel")
        simulator.do("message", chat_id=SUPERGROUP, user_id=3005, text="a question")
        first = simulator.call("sendMessage", chat_id=PRIVATE, text="first")[1]["result"]["message_id"]
        photo = simulator.call("sendPhoto", chat_id=PRIVATE, photo="p")[1]["result"]["message_id"]
        seen = {}
        for method, params, kind in calls(first, photo):
            status, answer = simulator.call(method, **params)
            seen[method] = seen.get(method, 0) + 1
            name = f"answer_{method}" if seen[method] == 1 else f"answer_{method}_{seen[method]}"
            returned = getattr(aiogram.methods, method[0].upper() + method[1:]).__returning__
            with report.case(f"aiogram::{name}"):
                must_have_none([] if status == 200 else [answer], answer)
                must_have_none(aiogram_problems(returned, answer["result"]), answer["result"])
            if kind:
                with report.case(f"ptb::{name}"):
                    must_have_none(ptb_problems(kind, answer.get("result")), answer)
        others = [answer_of_other(simulator, method) for method in methods() - set(seen) - ELSEWHERE]
        # 501: it knows the method, and says that it does not simulate it.
        for case, wanted in [("methods_that_are_unknown", 404), ("methods_that_are_not_simulated", 200)]:
            with report.case(f"aiogram::{case}"):
                must_have_none(sorted(problem for status, problem in others if problem and status == wanted), "all")


def methods():
    """All that aiogram knows, by the Bot API's names."""
    classes = [getattr(aiogram.methods, name) for name in aiogram.methods.__all__]
    named = [getattr(method, "__api_method__", None) for method in classes]
    return {name for name in named if isinstance(name, str)}


def answer_of_other(simulator, method):
    """The status, and what aiogram has against the answer of a method that has no effect here."""
    status, answer = simulator.call(method)
    returned = getattr(aiogram.methods, method[0].upper() + method[1:]).__returning__
    fine = status == 200 and not aiogram_problems(returned, answer["result"])
    return status, None if fine else f"{method}: {answer}"
