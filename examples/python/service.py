"""Tea or coffee? A service of the gateway: it is asked with JSON and answers with JSON, and knows nothing of Telegram."""

import json
import os
from collections import OrderedDict
from typing import Any, Optional

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from signature import is_from_the_gateway

SECRET = os.environ["VOTES_SECRET"].encode()
BUTTONS = [[{"text": "Tea", "callback_data": "VOTE:tea"}, {"text": "Coffee", "callback_data": "VOTE:coffee"}]]

Answer = dict[str, Any]


class Asked(BaseModel):
    """What the gateway sends, as far as this service reads it."""

    request_id: str
    user_id: Optional[str] = None
    telegram_user_id: Optional[int] = None
    message: Optional[str] = None
    command: Optional[str] = None
    action: Optional[str] = None
    param: Optional[str] = None


votes = {"tea": 0, "coffee": 0}

# The answers that were given, by their Idempotency-Key. A service that books or pays keeps them in its database, in the
# transaction that does the work; here the last few thousand in memory will do.
answers: OrderedDict[str, Answer] = OrderedDict()
MOST_ANSWERS = 10_000


def on_vote(asked: Asked) -> Answer:
    # Our own name for the user, which comes with every request from now on.
    return {
        "type": "text",
        "content": "Tea or coffee?",
        "buttons": BUTTONS,
        "user_id": f"member-{asked.telegram_user_id}",
    }


def on_button(choice: str) -> Answer:
    votes[choice] += 1
    content = f"Tea: {votes['tea']}, coffee: {votes['coffee']}"
    edit = {"type": "edit", "content": content, "buttons": BUTTONS}
    return {"messages": [edit], "answer": {"text": f"One more for {choice}."}}


def answer_to(asked: Asked) -> Answer:
    if asked.command == "/vote":
        return on_vote(asked)
    if asked.action == "VOTE" and asked.param in votes:
        return on_button(asked.param)
    if asked.message is not None:
        return {"type": "text", "content": f"{asked.user_id} says: {asked.message}"}
    return {"type": "none"}


app = FastAPI()


@app.post("/ask")
async def ask(request: Request) -> Answer:
    body = await request.body()
    if not is_from_the_gateway(request.headers, body, SECRET):
        raise HTTPException(401, "not signed by the gateway")
    # Nothing below waits for anything, so no other request comes in between. With an await in it, or with several
    # processes, the key has to be claimed before the work is done.
    key = request.headers["Idempotency-Key"]
    if key not in answers:
        # A failure raises before it is remembered, so a repeat tries again.
        answers[key] = answer_to(Asked(**json.loads(body)))
        if len(answers) > MOST_ANSWERS:
            answers.popitem(last=False)
    return answers[key]
