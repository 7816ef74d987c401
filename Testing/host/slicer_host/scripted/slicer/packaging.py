"""slicer.packaging (Slicer 5.12) for tests: records what a module asks to install, and installs nothing."""

from slicer_host.record import notModeled, stubsUsed

calls: list[tuple[object, dict]] = []  # (requirements, options) of each pip_install


def pip_install(requirements, **options):
    """Record a call. In testing mode, which the host is always in, Slicer waits for pip and calls no callback."""
    calls.append((requirements, options))
    if not options.get("blocking", True):
        stubsUsed.add("slicer.packaging.pip_install(blocking=False)")


def __getattr__(name):
    raise notModeled("slicer.packaging", name)
