"""Whether a request was signed by the gateway with our common secret, within the last five minutes."""

import hashlib
import hmac
import time
from typing import Mapping

MOST_SECONDS_OFF = 300


def is_from_the_gateway(headers: Mapping[str, str], body: bytes, secret: bytes, now=time.time) -> bool:
    """`body` is what came, byte for byte, before anything reads it."""
    stamp, given = headers.get("X-Tgw-Timestamp", ""), headers.get("X-Tgw-Signature", "")
    if not stamp.isdecimal() or abs(now() - int(stamp)) > MOST_SECONDS_OFF:
        return False
    expected = "v1=" + hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), given.encode())
