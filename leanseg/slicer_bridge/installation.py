"""Installing OpenVINO, the one thing that Slicer lacks, and saying why that failed.

By `pip_install`, not `pip_ensure`: that one cannot install from a folder, and keeps to itself what pip prints.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from leanseg.errors import MissingDependencyError
from leanseg.slicer_bridge.environment import examinePackage

OPENVINO = "openvino>=2025.0,<2027"
"""The shipped model gives the same masks with the first and the newest of these."""
DOWNLOAD_MB = {"Windows": 85, "Linux": 60, "Darwin": 40}
"""The largest wheel that may be taken for Python 3.12, rounded up, by platform.system(): of OpenVINO 2026.4.1; on a Mac
with an Intel processor, or with a Slicer made for one, of 2025.4.1, the last for these."""


def installRuntime(wheelFolder: Path | None = None, log: Callable[[str], None] | None = None) -> None:
    """Install OpenVINO into Slicer's Python without its telemetry (docs/adr/0002-openvino-without-telemetry.md).

    GUI thread only: elsewhere, Slicer's pip crashes it. Events are processed meanwhile.

    wheelFolder: take the wheel from there, without network. log: called with each line that pip prints.

    :raises MissingDependencyError: OpenVINO is not usable afterwards; why, and what to do.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Packages can be installed on the main thread only.")
    if "openvino" in sys.modules:
        raise MissingDependencyError(
            _("OpenVINO is in use in this session. Restart Slicer and install before you apply a model.")
        )
    arguments = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", OPENVINO]
    if wheelFolder is not None:
        _checkWheelFolder(wheelFolder)
        arguments += ["--no-index", "--find-links", str(wheelFolder)]
    if examinePackage("openvino").state == "broken":  # pip may see nothing to do, and uninstalls only by the record
        arguments.append("--force-reinstall" if _hasRecord() else "--ignore-installed")
    lines: list[str] = []

    def onLine(line: str) -> None:
        lines.append(line)
        if log is not None:
            log(line)

    returnCode = _pip(arguments, onLine)
    importlib.invalidate_caches()
    if returnCode != 0:
        raise MissingDependencyError(explainInstallError("\n".join(lines)))
    state = examinePackage("openvino").state
    if state != "ok":
        raise MissingDependencyError(
            _(
                "Slicer reports no error, but OpenVINO is {state}. If Slicer runs with --testing, start it without;"
                " else restart Slicer and install again."
            ).format(state=state)
        )


def _hasRecord() -> bool:
    try:
        return bool(metadata.distribution("openvino").read_text("RECORD"))
    except metadata.PackageNotFoundError:
        return False


def _checkWheelFolder(folder: Path) -> None:
    if not any(folder.glob("openvino-*.whl")):
        raise MissingDependencyError(
            _(
                "{folder} has no wheel of OpenVINO. On a computer with network, run: {command}, and copy the .whl file"
                " into a folder here."
            ).format(folder=folder, command=downloadCommand())
        )


def downloadCommand() -> str:
    """The command that fetches, on any computer with network, the wheel for this one."""
    machine = platform.machine()
    mac = "macosx_11_0_arm64" if machine == "arm64" else f"macosx_10_15_{machine}"
    tags = {"Windows": "win_amd64", "Darwin": mac}
    tag = tags.get(platform.system(), f"manylinux_2_28_{machine}")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f'pip download --no-deps --only-binary=:all: --python-version {python} --platform {tag} "{OPENVINO}"'


def _pip(arguments: list[str], onLine: Callable[[str], None]) -> int:
    """`pip install` in Slicer's Python; returns pip's exit code."""
    isModern = util.find_spec("slicer.packaging") is not None  # Slicer 5.12
    try:
        if isModern and not slicer.app.testingEnabled():
            return _pipBeside(arguments, onLine)
        # Slicer 5.10, and any Slicer in testing mode, waits for pip and prints what it says.
        with contextlib.redirect_stdout(_ReadAlong(sys.stdout, onLine)):
            slicer.util.pip_install(arguments)
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    except RuntimeError as error:  # no PythonSlicer, or another installation goes on
        onLine(str(error))
        return 1
    return 0


def _pipBeside(arguments: list[str], onLine: Callable[[str], None]) -> int:
    from slicer.packaging import pip_install

    codes: list[int] = []
    # Slicer's own progress dialog would keep pip's words to itself and show an error of its own.
    pip_install(arguments, blocking=False, show_progress=False, logCallback=onLine, completedCallback=codes.append)
    while not codes:
        slicer.app.processEvents()
        time.sleep(0.01)
    return codes[0]


class _ReadAlong(io.TextIOBase):
    """A stdout that passes everything on, and each line also to a callback."""

    def __init__(self, stdout: Any, onLine: Callable[[str], None]) -> None:
        self._stdout, self._onLine, self._rest = stdout, onLine, ""

    def write(self, text: str) -> int:
        self._stdout.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._onLine(line)
        return len(text)

    def flush(self) -> None:
        self._stdout.flush()


def explainInstallError(text: str) -> str:
    """What pip printed -> one line: the cause, and what to do."""
    for pattern, explanation in _causes():
        if re.search(pattern, text, re.IGNORECASE):
            return explanation.format(python=platform.python_version(), system=platform.system())
    last = [line.strip() for line in text.splitlines() if line.strip()][-1:] or [_("pip said nothing")]
    message: str = _("OpenVINO was not installed: {reason}. Slicer's log says more.")
    return message.format(reason=last[0].rstrip("."))


def _causes() -> list[tuple[str, str]]:
    """(pattern, explanation). What stops pip at once comes before connections, which it tries again."""
    return [
        (
            r"No space left|WinError 112|not enough space",
            _("The disk is full: OpenVINO needs 350 MB to be unpacked. Make room, and install again."),
        ),
        (
            r"WinError 206|file ?name too long|Windows Long Path",
            _("The path of Slicer's folder is too long. Install Slicer in a shorter one, and install again there."),
        ),
        (
            r"WinError 32|used by another process",
            _("A file is in use. Close every Slicer, start one, and install before you apply a model."),
        ),
        (
            r"WinError 5\b|Access is denied|Permission ?denied|Read-only file system|\[Errno (13|30)\]",
            _(
                "Slicer's folder cannot be written, or a file in it is in use. Close every other Slicer; if Slicer is"
                " installed for all users, start it once as administrator, or install it in a folder of your own."
            ),
        ),
        (
            r"ProxyError|407 Proxy|Tunnel connection failed",
            _(
                "The proxy refused the connection. Set the environment variable HTTPS_PROXY (with user name and"
                " password, if it asks for them) and start Slicer again, or install from a folder."
            ),
        ),
        (
            r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError|ssl certificate",
            _(
                "The certificate of the server is not trusted; a firewall may read along. Set the environment variable"
                " PIP_CERT to your institution's certificate file and start Slicer again, or install from a folder."
            ),
        ),
        (
            r"NameResolution|getaddrinfo|name resolution|Name or service not known|nodename nor servname|timed? ?out"
            r"|NewConnectionError|Connection (refused|reset|aborted)|Network is unreachable|RemoteDisconnected",
            _(
                "There is no connection to the package server. Check the network (behind a proxy: the environment"
                " variable HTTPS_PROXY), or install from a folder."
            ),
        ),
        (
            r"No matching distribution|not a supported wheel",
            _(
                "There is no OpenVINO for Python {python} on {system} there. Take a wheel for these, or use ONNX"
                ' Runtime; in the Python console: slicer.util.pip_install("onnxruntime")'
            ),
        ),
    ]
