"""What passed and what did not: a line for each case, in the words of the suite."""

import re
from contextlib import contextmanager
from time import monotonic, sleep

from known import KNOWN


class Differs(Exception):
    """What a library was shown is not what it expects: its complaints, and what they are about."""

    def __init__(self, complaints, about):
        super().__init__("\n".join(complaints) + f"\nin {about}")
        self.complaints = complaints

    def is_all(self, known):
        return all(re.search(known, complaint) for complaint in self.complaints)


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    @contextmanager
    def case(self, name):
        """A case fails by any exception; where it is known what differs it is then ignored, with the reason."""
        known, reason = KNOWN.get(name.split("::")[1], (None, None))
        name = f"peers::{name}"
        try:
            yield
        except Exception as error:
            if known and isinstance(error, Differs) and error.is_all(known):
                self.skipped += 1
                print(f"test {name} ... ignored, {reason}", flush=True)
                return
            self.failed += 1
            print(f"test {name} ... FAILED", flush=True)
            print("    " + f"{type(error).__name__}: {error}".replace("\n", "\n    "), flush=True)
            return
        self.passed += 1
        print(f"test {name} ... ok", flush=True)
        if known:
            print("    differs no longer: its line in known.py can go", flush=True)

    def skip(self, what):
        self.skipped += 1
        print(f"skipped: {what}", flush=True)

    def sum(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def wait_until(look, wanted, what, seconds=30):
    """Looks until it sees what is wanted: a value, or a function that says whether this is it."""
    fits = wanted if callable(wanted) else lambda seen: seen == wanted
    deadline = monotonic() + seconds
    while not fits(seen := look()):
        if monotonic() > deadline:
            goal = "" if callable(wanted) else f" and not {short(wanted)}"
            raise AssertionError(f"{what}: still {short(seen)}{goal}")
        sleep(0.02)
    return seen


def check(seen, wanted, what):
    if seen != wanted:
        raise AssertionError(f"{what}: {short(seen)} and not {short(wanted)}")


def short(value):
    text = repr(value)
    return text if len(text) < 1500 else f"{text[:700]} … {text[-700:]}"
