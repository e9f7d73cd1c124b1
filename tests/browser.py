"""A headless Chromium that tests operate by its DevTools protocol. The program alone is needed, and no driver."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
# It asks for nothing from the network.
OPTIONS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-component-update',
    '--disable-background-networking', '--disable-sync', '--hide-scrollbars', '--remote-debugging-port=0',
)  # fmt: skip
PATIENCE = 30  # seconds that anything may take


def program() -> str:
    """Path of the program. Raises AssertionError where there is none."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise AssertionError(f'none of {", ".join(PROGRAMS)} is installed; on Debian or Ubuntu: apt-get install chromium')


class Page:
    """One page of the browser, a window of `width` by `height` CSS pixels."""

    def __init__(self, address: str):
        self.socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self.numbers = itertools.count(1)
        self.requested: list[str] = []  # addresses, in order
        self.errors: list[str] = []  # of the page's script
        for domain in ('Page', 'Runtime', 'Network'):
            self.send(f'{domain}.enable')

    def send(self, method: str, **values: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({'id': number, 'method': method, 'params': values}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get('id') == number:
                assert 'error' not in message, f'{method}: {message["error"]}'
                return message['result']
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        """Keep what an event says."""
        values = message['params']
        if message['method'] == 'Network.requestWillBeSent':
            self.requested.append(values['request']['url'])
        elif message['method'] == 'Runtime.exceptionThrown':
            details = values['exceptionDetails']
            self.errors.append(details.get('exception', {}).get('description', details['text']))

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file of this machine and wait until it is loaded. A width below 500 is that of a phone."""
        phone = width < 500
        self.send('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
        self.send('Emulation.setEmulatedMedia', features=scheme)
        self.send('Page.navigate', url=path.absolute().as_uri())
        self.wait('document.readyState === "complete"')

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self.send('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in found, f'{script}: {found["exceptionDetails"]}'
        return found['result'].get('value')

    def wait(self, script: str) -> None:
        """Wait until an expression of JavaScript is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < end, f'{script}: never true'
            time.sleep(0.05)

    def place(self, selector: str) -> dict[str, float]:
        """Where an element is in the window, after it was scrolled to: x, y, width and height in CSS pixels."""
        return self.run(
            f'(() => {{ const e = document.querySelector({json.dumps(selector)});'
            ' e.scrollIntoView({block: "center"}); const {x, y, width, height} = e.getBoundingClientRect();'
            ' return {x, y, width, height}; })()'
        )

    def click(self, x: float, y: float) -> None:
        """Press and release the left button of the mouse at a place in the window."""
        self.drag([(x, y)])

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Press the left button at the first place, move through the others, and release it at the last."""
        button = {'button': 'left', 'clickCount': 1}
        self.send('Input.dispatchMouseEvent', type='mousePressed', x=points[0][0], y=points[0][1], **button)
        for x, y in points[1:]:
            self.send('Input.dispatchMouseEvent', type='mouseMoved', x=x, y=y, button='left', buttons=1)
        self.send('Input.dispatchMouseEvent', type='mouseReleased', x=points[-1][0], y=points[-1][1], **button)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what the window shows, or the whole page, as PNG."""
        data = self.send('Page.captureScreenshot', format='png', captureBeyondViewport=whole)['data']
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def opened() -> Iterator[Page]:
    """A page of a new browser, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix='paper-lib-', ignore_cleanup_errors=True) as folder:
        argv = [program(), *OPTIONS, f'--user-data-dir={folder}', 'about:blank']
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Page(_address(Path(folder), process))
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _address(folder: Path, process: subprocess.Popen) -> str:
    """Where the first page of a browser listens."""
    file = folder / 'DevToolsActivePort'
    end = time.monotonic() + PATIENCE
    while not file.exists() or not file.read_text().strip():
        assert process.poll() is None, f'the browser ended with {process.returncode}'
        assert time.monotonic() < end, 'the browser does not start'
        time.sleep(0.05)
    port = file.read_text().split()[0]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f'http://127.0.0.1:{port}/json', timeout=PATIENCE) as answer:
        pages = [entry for entry in json.load(answer) if entry['type'] == 'page']
    return pages[0]['webSocketDebuggerUrl']
