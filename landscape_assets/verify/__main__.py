"""Entry point of the verifier as a folder, as one file (`landscape-verify.pyz`), and as `python -m`.

Belongs here: what must be settled before anything is imported: that this Python is new enough, and that nothing is
imported but the verifier and what is installed with Python. Does not belong here: anything else. Every Python back to
2.7 must be able to read this file, to say that it is too old.

Python puts the working folder or PYTHONPATH on the module path, depending on how it was started, and what lies there
may come with the package. So it is started once more with -I, which leaves both out.
"""

import os
import sys

NAME = "landscape_verify"
"""The package of which the files beside this one are modules, wherever they are and whatever their folder is called."""
HERE = os.path.dirname(os.path.abspath(__file__))
"""The folder, or the file landscape-verify.pyz."""


def prepare():
    # type: () -> None
    """Make the modules beside this file importable, and nothing else that lies there."""
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(HERE)]
    package = type(sys)(NAME)
    package.__path__ = [HERE]
    sys.modules[NAME] = package


def start():
    # type: () -> int
    """Run the command; gives the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is what tells an older Python
        mine = ".".join(str(part) for part in sys.version_info[:3])
        message = "verify: this verifier needs Python 3.11 or newer; this is Python %s.\n" % mine  # noqa: UP031 - as above
        sys.stderr.write(message)
        return 2
    if not sys.flags.isolated and os.name == "posix":  # elsewhere exec does not wait for the exit status
        os.execv(sys.executable, [sys.executable, "-I", HERE] + sys.argv[1:])  # noqa: RUF005 - as above
    prepare()
    from landscape_verify.cli import main  # type: ignore[import-not-found]

    return int(main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(start())
elif __name__ == NAME + ".worker":
    prepare()  # run by a process that checks records for this command
