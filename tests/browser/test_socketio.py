"""Flask-SocketIO in threading mode, unmodified, from a real browser: polling, websocket, and the upgrade.

Socket.IO's own script would have to be fetched. The protocol is a few lines (Engine.IO 4, Socket.IO 5), and
so each step of an upgrade is in sight here.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.server.command import Serving

APPS = Path(__file__).parent.parent / "websockets" / "apps"
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(60),
]

# Engine.IO's packets are 0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop; within a message,
# Socket.IO's are 0 connect, 2 event, 3 acknowledgement of an event by its number.
CLIENT = r"""
async (kind) => {
    const address = (scheme, transport, sid) =>
        `${scheme}//${location.host}/socket.io/?EIO=4&transport=${transport}` + (sid ? `&sid=${sid}` : "");

    class Transport {
        packets = [];
        async until(start) {
            for (;;) {
                const packet = this.packets.shift() ?? await this.next();
                if (packet.startsWith(start)) return packet.slice(start.length);
                if (packet === "2") await this.send("3");
                else if (packet.startsWith("42")) events.push(JSON.parse(packet.slice(2)));
            }
        }
        async call(...event) {
            await this.send("427" + JSON.stringify(event));
            return JSON.parse(await this.until("437"))[0];
        }
    }

    class Polling extends Transport {
        async open() {
            this.sid = JSON.parse(await this.until("0")).sid;
        }
        async next() {
            const response = await fetch(address("http:", "polling", this.sid));
            if (!response.ok) throw new Error(`polling: ${response.status}`);
            this.packets.push(...(await response.text()).split("\x1e"));
            return this.packets.shift();
        }
        async send(packet) {
            const url = address("http:", "polling", this.sid);
            const response = await fetch(url, {method: "POST", body: packet});
            if (!response.ok) throw new Error(`sending: ${response.status}`);
        }
    }

    class Socket extends Transport {
        async open(sid) {
            this.socket = new WebSocket(address("ws:", "websocket", sid));
            this.socket.onmessage = ({data}) => { this.packets.push(data); this.wake?.(); };
            this.socket.onclose = ({code}) => this.fail?.(new Error(`closed: ${code}`));
            await new Promise((opened, failed) => {
                this.socket.onopen = opened;
                this.socket.onerror = () => failed(new Error("no websocket"));
            });
            if (!sid) await this.until("0");
        }
        async next() {
            await new Promise((wake, fail) => { this.wake = wake; this.fail = fail; });
            return this.packets.shift();
        }
        async send(packet) {
            this.socket.send(packet);
        }
    }

    const events = [];
    let transport = kind === "websocket" ? new Socket() : new Polling();
    await transport.open();
    await transport.send('40"ann"');
    await transport.until("40");
    if (kind === "upgrade") {
        const socket = new Socket();
        await socket.open(transport.sid);
        await socket.send("2probe");
        await socket.until("3probe");
        await socket.send("5");
        transport = socket;
    }
    const seen = [await transport.call("echo", "Grüße ✓"), await transport.call("transport")];
    await transport.call("join", "blue");
    while (events.length === 0) events.push(JSON.parse(await transport.until("42")));
    await transport.send("1");
    return [...seen, events[0]];
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Serving("rooms:app", "--port", "0", "--no-access-log", cwd=APPS) as serving:
        yield serving
        serving.interrupt()
        assert serving.finish() == 0
        assert "Traceback" not in serving.stderr


@pytest.mark.parametrize(
    ("kind", "transport"), [("polling", "polling"), ("websocket", "websocket"), ("upgrade", "websocket")]
)
def test_a_client_talks(browser: Browser, serving: Serving, kind: str, transport: str) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{serving.address}/tell/nobody/anything")  # any page of this address
    assert page.evaluate(CLIENT, kind) == ["Grüße ✓", transport, ["joined", "ann"]]
    assert errors == []
    page.close()
