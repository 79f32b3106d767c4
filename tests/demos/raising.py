"""A demo whose pages raise."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def index() -> str:
    secret = "s3cret of the insides"
    raise RuntimeError(f"this is {secret}")


@app.post("/")
def form() -> str:
    return request.form["missing"]
