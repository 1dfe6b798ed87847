"""Serves fastapi_app.py with two workers, on two cores."""

from os import environ

import uvicorn

if __name__ == "__main__":
    host, port = environ["LISTEN_ADDR"].split(":")
    uvicorn.run("fastapi_app:app", host=host, port=int(port), workers=2, log_level="warning", access_log=False)
