"""`tests/run peers`, once everything is installed: drive.py FOLDER_OF_BINARIES CACHE LIBRARY...

The libraries that are named have been installed; the models of aiogram and python-telegram-bot always are."""

import importlib
import signal
import sys
import tempfile
from pathlib import Path

import commands
import echo
from report import Report


def main():
    # Whoever ends the driver ends what it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binaries, cache, libraries = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[3:]
    simulator = binaries / "telegram-simulator"
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for library in ("grammy", "aiogram", "ptb", "teloxide"):
            if library not in libraries:
                report.skip(f"the echo bots in {library}")
                continue
            for by in ("polling", "webhook"):
                echo.run(report, library, by, simulator, folder / library / by, cache)
        commands.run(report, cache, libraries)
        for name in ("updates", "answers", "gateway"):
            (folder / name).mkdir()
            importlib.import_module(name).run(report, binaries, folder / name)
    print(report.sum())
    sys.exit(report.failed != 0)


if __name__ == "__main__":
    main()
