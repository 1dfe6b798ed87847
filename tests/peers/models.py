"""What aiogram and python-telegram-bot say of a piece of JSON: fields that are missing, unknown or of a wrong type.

Both forgive unknown fields, and aiogram turns "5" into 5. So what a model read is written out again and held against
what came in: whatever changed on the way was not of the type that the model has for it."""

import copy
import json

import pydantic
import telegram

from report import Differs


def aiogram_problems(kind, data):
    """`kind` is a model, or a union or list of models."""
    try:
        read = pydantic.TypeAdapter(kind).validate_python(copy.deepcopy(data))
    except pydantic.ValidationError as error:
        problems = sorted({f"{dotted(problem['loc'])}: {problem['msg']}" for problem in error.errors()})
        # Of a union only the other half's problems say something.
        return [problem for problem in problems if ".InaccessibleMessage." not in problem] or problems
    unknown = [f"{path}: unknown to {name}" for path, name in aiogram_unknown(read, "")]
    written = pydantic.TypeAdapter(kind).dump_python(read, mode="json", by_alias=True, exclude_unset=True, warnings=False)
    return unknown + changes(data, written, "")


def aiogram_unknown(value, path):
    if isinstance(value, pydantic.BaseModel):
        for name in value.model_extra or {}:
            yield f"{path}.{name}", type(value).__name__
        for name in value.model_fields_set - set(value.model_extra or {}):
            yield from aiogram_unknown(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from aiogram_unknown(item, f"{path}[{index}]")


def ptb_problems(kind, data):
    """`kind` is one of PTB's classes."""
    try:
        read = kind.de_json(copy.deepcopy(data), None)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    unknown = [f"{path}: unknown to {name}" for path, name in ptb_unknown(read, "")]
    return unknown + changes(data, json.loads(read.to_json()), "")


def ptb_unknown(value, path):
    if isinstance(value, telegram.TelegramObject):
        for name in value.api_kwargs:
            yield f"{path}.{name}", type(value).__name__
        slots = {slot for base in type(value).__mro__ for slot in getattr(base, "__slots__", ())}
        for name in slots - {"api_kwargs", "_bot", "_id_attrs", "_frozen"}:
            yield from ptb_unknown(getattr(value, name, None), f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from ptb_unknown(item, f"{path}[{index}]")


def changes(before, after, path):
    """Where what was written is not what was read. What the model added by itself does not count."""
    if isinstance(before, dict) and isinstance(after, dict):
        # An empty list is as good as none to PTB.
        names = [name for name in before if name in after or before[name] not in ([], None)]
        return [
            problem
            for name in names
            for problem in (
                changes(before[name], after[name], f"{path}.{name}") if name in after else [f"{path}.{name}: dropped"]
            )
        ]
    if isinstance(before, list) and isinstance(after, (list, tuple)) and len(before) == len(after):
        pairs = enumerate(zip(before, after))
        return [problem for index, pair in pairs for problem in changes(*pair, f"{path}[{index}]")]
    numbers = isinstance(before, (int, float)) and isinstance(after, float) and not isinstance(before, bool)
    same = before == after and (numbers or type(before) is type(after))
    return [] if same else [f"{path}: {before!r} was read as {after!r}"]


def dotted(location):
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def must_have_none(problems, data):
    if problems:
        raise Differs(problems, data)
