"""The development server and the debugger: a mistake on purpose, to find and to mend.

Run it:    .venv/bin/bridge serve demos.debugging:app --debug
Look at:   http://127.0.0.1:8000/        what to do, step by step
           http://127.0.0.1:8000/bill    the mistake
New here:  With --debug, an exception becomes a page: the traceback with its source,
           and in each frame a Python console, which asks for the PIN that the
           terminal shows. The server also watches the app's files, and starts it
           anew when you save one. `flask --app demos.debugging run --debug` does the
           same; `bridge serve` without --debug is the server for production, too.

The console runs any code for whoever knows the PIN, so --debug listens on this
machine's own addresses only. Never debug where others can reach it.
"""

from flask import Flask, render_template

app = Flask(__name__)

PRICES = {"coffee": 2.80, "tea": 2.50, "cake": 3.50}

# The mistake is in this line. Mend it when the debugger has shown it to you.
ORDER = ["coffe", "cake", "cake"]


@app.get("/")
def steps() -> str:
    return render_template("steps.html")


@app.get("/bill")
def bill() -> str:
    total = 0.0
    for item in ORDER:
        total += PRICES[item]
    return f"Your bill: {total:.2f}"
