"""What grammY and aiogram take for a command: the verdicts of `commands.json`, made by running both libraries.

    commands.py CACHE            holds the file against the libraries, as `tests/run peers` does
    commands.py CACHE --write    writes their verdicts into it

Each case is a message, and the command that a handler or a route is registered for. A verdict is the arguments that it
is handed (a text, empty where there are none), or null where it is not called. `ours` is the gateway's, which its own
test (`worker/src/routes/commands.rs`) holds; where the three are not one, `reason` says why."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from aiogram import Bot, Dispatcher
from aiogram.filters import Command, CommandObject
from aiogram.types import Update, User

HERE = Path(__file__).parent
FILE = HERE / "commands.json"

BOT = {"id": 7, "is_bot": True, "first_name": "Sample", "username": "sample_bot"}


def update_of(case):
    """The update that a case stands for; `length` is that of a bot_command at offset 0."""
    field = "caption" if case.get("caption") else "text"
    kind, chat = case.get("kind", "message"), case.get("chat", "private")
    message = {
        "message_id": 5,
        "date": 1_790_000_000,
        "chat": {"id": 42 if chat == "private" else -42, "type": chat, "title": "T", "first_name": "A"},
        "from": {"id": 42, "is_bot": False, "first_name": "A"},
        field: case["text"],
    }
    if field == "caption":
        message["photo"] = [{"file_id": "p", "file_unique_id": "u", "width": 1, "height": 1}]
    entities = case.get("entities")
    if "length" in case:
        entities = [{"type": "bot_command", "offset": 0, "length": case["length"]}]
    if entities is not None:
        message["caption_entities" if field == "caption" else "entities"] = entities
    return {"update_id": 1, kind: message}


async def aiogram_verdict(case):
    bot, dispatcher, verdicts = Bot("7:sample"), Dispatcher(), []
    bot._me = User(**BOT)

    async def handler(message, command: CommandObject):
        verdicts.append(command.args or "")

    dispatcher.message.register(handler, Command(case["command"]))
    await dispatcher.feed_update(bot, Update.model_validate(update_of(case)))
    await bot.session.close()
    return verdicts[0] if verdicts else None


async def all_of_aiogram(cases):
    return [await aiogram_verdict(case) for case in cases]


def all_of_grammy(cases, cache):
    """Run where grammY is installed: node looks for a library beside the script."""
    script = cache / "grammy" / "commands.mjs"
    script.write_text((HERE / "grammy" / "commands.mjs").read_text())
    asked = [{"command": case["command"], "update": update_of(case)} for case in cases]
    told = subprocess.run(
        ["node", script], input=json.dumps({"bot": BOT, "cases": asked}), capture_output=True, text=True, check=True
    )
    return json.loads(told.stdout)


def verdicts(cases, cache, libraries=("aiogram", "grammy")):
    """Of each library that is installed, its verdict on each case."""
    made = {}
    if "aiogram" in libraries:
        made["aiogram"] = asyncio.run(all_of_aiogram(cases))
    if "grammy" in libraries:
        made["grammy"] = all_of_grammy(cases, cache)
    return made


def run(report, cache, libraries):
    """The recorded verdicts are still the libraries' own."""
    cases = json.loads(FILE.read_text())
    for library, told in verdicts(cases, cache, libraries).items():
        with report.case(f"commands::{library}"):
            wrong = [
                f"{case['text']!r}: {verdict!r}, recorded as {case[library]!r}"
                for case, verdict in zip(cases, told, strict=True)
                if case[library] != verdict
            ]
            if wrong:
                raise AssertionError("; ".join(wrong))


def write(cache):
    cases = json.loads(FILE.read_text())
    for library, told in verdicts(cases, cache).items():
        for case, verdict in zip(cases, told, strict=True):
            case[library] = verdict
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    FILE.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    if sys.argv[2:] == ["--write"]:
        write(Path(sys.argv[1]))
    else:
        from report import Report

        report = Report()
        run(report, Path(sys.argv[1]), ("aiogram", "grammy"))
        print(report.sum())
        sys.exit(report.failed != 0)
