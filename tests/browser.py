"""A headless Chromium, driven over the DevTools protocol: enough of a browser to test a page in."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

__all__ = ["Browser", "Tab", "find_browser", "running_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--window-size=1280,900",
    "about:blank",
)
_SECONDS = 20.0
_PAUSE = 0.03


def find_browser() -> str | None:
    """Path of an installed Chromium, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab, with everything it asked the network for and everything it complained about."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        self.requested: list[str] = []
        self.complaints: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        """The result of a DevTools command."""
        return await self._browser.send(method, params, self._session)

    async def goto(self, url: str) -> None:
        """Opens an address; a script may have to be waited for with `until`."""
        await self.send("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        given = {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = await self.send("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = _SECONDS) -> Any:
        """The value of an expression, as soon as it is truthy."""
        end = time.monotonic() + seconds
        while not (value := await self._now(script)):
            if time.monotonic() > end:
                shown = await self.run("document.body.innerText")
                raise AssertionError(f"{script} did not come true within {seconds:g} s; the page shows:\n{shown}")
            await asyncio.sleep(_PAUSE)
        return value

    async def _now(self, script: str) -> Any:
        # A page that is being loaded has no elements yet.
        wrapped = (
            f"(() => {{ try {{ const v = {script}; return v instanceof Node ? true : v }} catch {{ return null }} }})()"
        )
        return await self.run(wrapped)

    async def text(self, selector: str) -> str:
        """What an element shows."""
        shown: str = await self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return shown

    async def fill(self, selector: str, value: str) -> None:
        """Types into a field, in place of what is there."""
        await self.run(f"(e => {{ e.focus(); e.select?.() }})(document.querySelector({json.dumps(selector)}))")
        await self.send("Input.insertText", text=value)

    async def click(self, selector: str) -> None:
        """Clicks in the middle of an element, as a mouse does."""
        found = f"document.querySelector({json.dumps(selector)})"
        box = await self.until(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            f" return b.width && [b.x + b.width / 2, b.y + b.height / 2] }})({found})"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def press(self, key: str, *, modifiers: int = 0) -> None:
        """Presses a key by its name, such as Tab; `modifiers` is 2 for Ctrl."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        given: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **given, **({"text": "\r"} if code == 13 else {}))
        await self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    async def download_to(self, folder: Path) -> None:
        """Has downloads written to a folder."""
        await self._browser.send(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(folder), "browserContextId": self._context},
        )

    async def screenshot(self, path: Path) -> None:
        """Writes what the tab shows to a PNG file."""
        taken = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Takes note of an event."""
        if method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        # The browser's own lines on answers such as 401 are no complaints of the page's.
        elif method == "Log.entryAdded" and params["entry"]["source"] != "network":
            self.complaints.append(params["entry"]["text"])


class Browser:
    """A connection to a running browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[str, Tab] = {}

    async def send(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> Any:
        """The result of a DevTools command."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params or {}}
        await self._socket.send_json({**message, "sessionId": session} if session else message)
        return await asyncio.wait_for(answer, _SECONDS)

    async def listen(self) -> None:
        """Hands on what the browser says, until it goes away."""
        async for frame in self._socket:
            message = json.loads(frame.data)
            if "id" in message:
                answer = self._waiting.pop(message["id"])
                if answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(AssertionError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
            elif tab := self._tabs.get(message.get("sessionId", "")):
                tab.heard(message["method"], message["params"])

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """A tab of its own: storage and cache are shared with no other."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = await self.send("Target.createTarget", {"url": "about:blank", "browserContextId": context})
        attached = await self.send("Target.attachToTarget", {**target, "flatten": True})
        tab = self._tabs[attached["sessionId"]] = Tab(self, attached["sessionId"], context)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await tab.send(f"{domain}.enable")
        try:
            yield tab
        finally:
            await self.send("Target.disposeBrowserContext", {"browserContextId": context})


@asynccontextmanager
async def running_browser(path: str, profile: Path) -> AsyncIterator[Browser]:
    """A browser with an empty profile in a folder, ended at the end."""
    process = await asyncio.create_subprocess_exec(
        path,
        *_FLAGS,
        f"--user-data-dir={profile}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        address = await asyncio.to_thread(_address, profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
            browser = Browser(socket)
            listening = asyncio.create_task(browser.listen())
            yield browser
            listening.cancel()
            await asyncio.wait([listening])
    finally:
        process.terminate()
        await process.wait()


def _address(file: Path) -> str:
    for _ in range(600):
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError("the browser did not start within 30 s")
