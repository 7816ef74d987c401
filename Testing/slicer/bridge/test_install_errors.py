"""What people are told when pip fails. The texts are those of pip 23 and 26, cut to the lines that matter."""

import sys
import unittest

from leanseg.slicer_bridge.installation import explainInstallError

NOTHING_FOUND = """
ERROR: Could not find a version that satisfies the requirement openvino (from versions: none)
ERROR: No matching distribution found for openvino
"""
RETRYING = "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by "
NOT_INSTALLED = "ERROR: Could not install packages due to an OSError: "


class ExplainInstallError(unittest.TestCase):
    def assertExplained(self, expected, *texts):
        for text in texts:
            with self.subTest(text):
                line = explainInstallError(text)
                self.assertIn(expected, line)
                self.assertNotIn("\n", line)

    def assertConnectionExplained(self, expected, *reasons):
        """Of these, pip says in the end only that it found nothing."""
        self.assertExplained(
            expected, *(f"{RETRYING}'{reason}': /simple/openvino/{NOTHING_FOUND}" for reason in reasons)
        )

    def test_a_proxy(self):
        refused = "Failed to establish a new connection: [Errno 111] Connection refused"
        tunnel = "OSError('Tunnel connection failed: 407 Proxy Authentication Required')"
        self.assertConnectionExplained(
            "HTTPS_PROXY (with user name",
            f"ProxyError('Cannot connect to proxy.', NewConnectionError('<HTTPSConnection object>: {refused}'))",
            f"ProxyError('Cannot connect to proxy.', {tunnel})",
            tunnel,
        )

    def test_a_certificate(self):
        failed = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
        self.assertConnectionExplained(
            "PIP_CERT",
            f"SSLError(SSLCertVerificationError(1, '{failed}: self-signed certificate (_ssl.c:1006)'))",
            f"SSLError(SSLCertVerificationError(1, '{failed}: unable to get local issuer certificate (_ssl.c:1129)'))",
        )
        url = "Could not fetch URL https://localhost:8443/simple/openvino/"
        problem = "There was a problem confirming the ssl certificate"
        self.assertExplained("PIP_CERT", f"{url}: {problem}: self-signed certificate - skipping{NOTHING_FOUND}")

    def test_no_network(self):
        expected = "no connection to the package server"
        new = "Failed to establish a new connection"
        self.assertConnectionExplained(
            expected,
            f"NewConnectionError('<HTTPSConnection object at 0x7f>: {new}: [Errno -2] Name or service not known')",
            f"NewConnectionError(\"HTTPSConnection(host='x', port=9): {new}: [Errno 111] Connection refused\")",
            "NameResolutionError(\"Failed to resolve 'pypi.org' ([Errno 11001] getaddrinfo failed)\")",
        )
        self.assertExplained(expected, "ReadTimeoutError(\"HTTPSConnectionPool(host='pypi.org'): Read timed out.\")")

    def test_no_space(self):
        full = f"{NOT_INSTALLED}[Errno 28] No space left on device\n"
        self.assertExplained("disk is full", full)

    def test_the_end_counts_not_a_connection_that_was_tried_again(self):
        full = f"{NOT_INSTALLED}[Errno 28] No space left on device\n"
        self.assertExplained("disk is full", f"{RETRYING}'ProxyError()'\n{full}")

    def test_a_file_in_use(self):
        reason = "The process cannot access the file because it is being used by another process"
        self.assertExplained("A file is in use", f"{NOT_INSTALLED}[WinError 32] {reason}: 'openvino.dll'\n")

    def test_a_folder_that_cannot_be_written(self):
        self.assertExplained(
            "Slicer's folder cannot be written",
            f"{NOT_INSTALLED}[Errno 13] Permission denied: 'site-packages/openvino'\nCheck the permissions.\n",
            f"{NOT_INSTALLED}[WinError 5] Access is denied: 'openvino.dll'\nCheck the permissions.\n",
            "OSError: [Errno 30] Read-only file system: 'site-packages/openvino'\n",
        )

    def test_a_path_that_is_too_long(self):
        self.assertExplained(
            "path of Slicer's folder is too long",
            "OSError: [WinError 206] The filename or extension is too long: 'C:\\Users'\n",
            "HINT: This error might have occurred since this system does not have Windows Long Path support enabled.\n",
        )

    def test_no_wheel_for_this_python(self):
        self.assertExplained(
            f"no OpenVINO for Python {sys.version_info.major}.{sys.version_info.minor}",
            f"Looking in links: wheels{NOTHING_FOUND}",
            "ERROR: openvino-2026.4.1-22982-cp312-cp312-win_amd64.whl is not a supported wheel on this platform.\n",
        )

    def test_anything_else_is_quoted_by_its_last_line(self):
        self.assertExplained("not installed: something new. Slicer's log", "first\nsomething new.\n\n")
        self.assertExplained("pip said nothing", "", "\n\n")


if __name__ == "__main__":
    unittest.main()
