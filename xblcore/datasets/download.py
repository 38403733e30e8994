"""Download a file from the first of several mirrors that serves it whole.

What arrives goes to ``<name>.part`` and takes its name only after a check, so a killed, broken or
altered download is never taken for the file; the next try goes on where it stopped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from xblcore.project import sha256_of

log = logging.getLogger(__name__)

# 4xx answers that may well be different a moment later; all other 4xx are final.
TRANSIENT = {408, 425, 429}

# What is lost when a connection breaks, and the least that renews the patience.
CHUNK = 1 << 13

# No raw file of the study is a quarter of it; a mirror that never ends shall not fill the disk.
LARGEST = 1 << 30


class DownloadError(OSError):
    """No mirror served the file; the message says what each one did."""


class TooLarge(requests.RequestException):
    """A mirror serves more than :data:`LARGEST` bytes."""


def check_sha256(expected: str) -> Callable[[Path], None]:
    """A check for :func:`download`: ValueError unless the file has this sha256."""

    def check(path: Path) -> None:
        found = sha256_of(path)
        if found != expected:
            raise ValueError(f"sha256 must be {expected}, got {found}")

    return check


class Patience:
    """Ends a download after so many seconds without a byte, over all its tries and mirrors.

    Downloads that share one end together, and each byte of any of them renews it for all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """A byte arrived."""
        self.deadline = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds left, 0 when exhausted."""
        return max(0.0, self.deadline - time.monotonic())


def reachable(urls: Sequence[str], *, seconds: float = 6.0) -> list[str]:
    """Those of ``urls`` whose server answers anything at all, in their order.

    All are asked at once, in threads that are left behind when the time is up: looking up a name
    cannot be interrupted, and on a machine without a network it may hang far longer.
    """
    answers: set[str] = set()

    def ask(url: str) -> None:
        try:
            requests.head(url, timeout=seconds, allow_redirects=True).close()
        except (requests.RequestException, HTTPError) as error:
            log.debug("%s: %s", url, error)
        else:
            answers.add(url)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    patience = Patience(seconds)
    for thread in threads:
        thread.join(patience.left())
    answered = set(answers)
    return [url for url in urls if url in answered]


def download(
    urls: Sequence[str],
    target: Path,
    *,
    check: Callable[[Path], None],
    patience: float | Patience = 12.0,
    attempts: int = 6,
    backoff: float = 0.5,
    progress: bool = True,
) -> str:
    """Fetch one file, resuming, retrying and changing mirrors as needed.

    Args:
        urls: the same file on several mirrors, the preferred one first.
        target: where the file goes; its folder must exist.
        check: raises ValueError if the file it is given is not the right one.
        patience: seconds without a single byte after which all mirrors are given up, or what
            is left of them where several downloads share it.
        attempts: rounds over the mirrors; a mirror that says no (4xx) or serves something else
            whole is not asked again.
        backoff: seconds before the second round, doubled for each further one.
        progress: show a bar if the terminal is one.

    Returns:
        The address that served it.

    Raises:
        DownloadError: none did.
    """
    part = target.with_name(target.name + ".part")
    waiting = patience if isinstance(patience, Patience) else Patience(patience)
    timeout = waiting.seconds / (1 + len(urls))
    failures: dict[str, str] = {}
    refused: set[str] = set()
    for attempt in range(attempts):
        if len(refused) == len(urls):
            break
        if attempt:
            time.sleep(min(backoff * 2 ** (attempt - 1), waiting.left()))
        for url in urls:
            if url in refused or not waiting.left():
                continue
            try:
                resumed = _continue_part(url, part, waiting, timeout, progress)
            except (requests.RequestException, HTTPError) as error:
                failures[url] = f"{type(error).__name__}: {error}"
                if _is_final(error):
                    refused.add(url)
                if isinstance(error, TooLarge):
                    part.unlink()
                continue
            try:
                check(part)
            except ValueError as error:
                failures[url] = str(error)
                part.unlink()
                if not resumed:  # all of it came from this mirror, which has another file
                    refused.add(url)
            else:
                os.replace(part, target)
                return url
    tried = "".join(f"\n  {url}: {failures.get(url, 'not asked, out of time')}" for url in urls)
    raise DownloadError(f"{target.name} must come from one of its mirrors, got none:{tried}")


def _is_final(error: Exception) -> bool:
    if isinstance(error, TooLarge):
        return True
    response = error.response if isinstance(error, requests.RequestException) else None
    # None and not truth: a response of status 400 and above is False.
    return (
        response is not None
        and 400 <= response.status_code < 500
        and response.status_code not in TRANSIENT
    )


def _continue_part(url: str, part: Path, waiting: Patience, timeout: float, progress: bool) -> bool:
    """Append to ``part`` what is missing; True if there was something to append to."""
    offset = part.stat().st_size if part.exists() else 0
    # identity: a server that packs a .gz once more would change its bytes.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if offset and response.status_code == 416:  # nothing is missing, or it is another file
            return True
        response.raise_for_status()
        partial = response.status_code == 206
        if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise requests.RequestException(
                f"Content-Range must begin at {offset}, got {response.headers.get('Content-Range')}"
            )
        length = response.raw.length_remaining  # None where the server does not say, or nonsense
        start = offset if partial else 0
        with (
            part.open("ab" if partial else "wb") as file,
            tqdm(
                total=start + length if length else None,
                initial=start,
                desc=part.stem,
                unit="B",
                unit_scale=True,
                disable=None if progress else True,  # None: where there is no terminal
            ) as bar,
        ):
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                if file.tell() + len(chunk) > LARGEST:
                    raise TooLarge(f"a raw file must have at most {LARGEST} bytes, got more")
                file.write(chunk)
                bar.update(len(chunk))
                waiting.renew()
    return partial
