"""The folder of a package: its name, what is in it, and reading its files safely.

Belongs here: everything that asks the file system. Does not belong here: what the files say.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from . import codes
from .manifest import NAME, SIGNATURE_NAME, Listed
from .report import Findings

STAGING = ".staging"
BLOCK = 1024 * 1024
_MAX_NAME = 200
_KEPT = 120
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""A symbolic link is not followed, and a FIFO that took a file's place does not make the verifier wait."""
_FOLDER = sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC"))
_ENTER = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)
"""A folder that may be entered but not listed can be opened so on Linux; elsewhere it cannot be opened at all."""
_THROUGH = {os.open, os.stat} <= os.supports_dir_fd and os.scandir in os.supports_fd
"""Whether files are opened through the open folder. Windows has no such thing; there they are opened by their names."""


class Unreadable(Exception):
    """A file could not be read to the end, or is not what it was when it was looked at; the finding has been noted."""


class Folder:
    """The folder of a package, opened once: what is read through it is of one package.

    By name it would be of two, when the package is superseded meanwhile: then another folder gets the name.

    Args:
        root: the folder, without symbolic links.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.descriptor = -1
        if _THROUGH:
            self.descriptor = os.open(root, _ENTER)
        elif not os.path.isdir(root):
            raise NotADirectoryError(root)

    def close(self) -> None:
        """Close it; nothing can be read through it any more."""
        if _THROUGH:
            os.close(self.descriptor)

    def look(self, path: str) -> os.stat_result:
        """What lstat says of a file at the top of the folder."""
        if _THROUGH:
            return os.stat(path, dir_fd=self.descriptor, follow_symlinks=False)
        return os.lstat(os.path.join(self.root, path))

    def open(self, path: str) -> int:
        """A descriptor of a file; neither it nor a folder on the way to it may be a symbolic link."""
        if not _THROUGH:
            return os.open(os.path.join(self.root, *path.split("/")), _READ)
        folder, _, name = path.rpartition("/")
        if not folder:
            return os.open(name, _READ, dir_fd=self.descriptor)
        inner = os.open(folder, _ENTER, dir_fd=self.descriptor)
        try:
            return os.open(name, _READ, dir_fd=inner)
        finally:
            os.close(inner)

    def scan(self, folder: str) -> Iterator[tuple[str, os.stat_result | OSError]]:
        """What is in the folder (``) or in one at its top: each path, and what lstat says, or why it says nothing.

        Raises:
            OSError: the folder cannot be listed.
        """
        where: str | int = os.path.join(self.root, folder)
        if _THROUGH:
            where = os.open(folder or ".", _FOLDER | os.O_RDONLY, dir_fd=self.descriptor)
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    try:
                        yield path, entry.stat(follow_symlinks=False)
                    except OSError as error:
                        yield path, error
        finally:
            if isinstance(where, int):
                os.close(where)


def folder_name(run_id: str) -> str:
    """The folder name of a run_id (docs/package.md, "Folder name").

    Args:
        run_id: any text that has a UTF-8 form.

    Returns:
        A name of at most 200 bytes of ASCII.
    """
    raw = run_id.encode("utf-8")
    some = raw[: _MAX_NAME + 1]  # each byte gives one character at least: more of them cannot be in the name
    parts = [chr(byte) if _UNRESERVED.match(bytes([byte])) else f"%{byte:02X}" for byte in some]
    if not parts:
        return "%"
    if parts[0] == ".":
        parts[0] = "%2E"
    if sum(map(len, parts)) <= _MAX_NAME:
        return "".join(parts)
    kept, length = [], 0
    for part in parts:
        length += len(part)
        if length > _KEPT:
            break
        kept.append(part)
    return "".join(kept) + "%~" + hashlib.sha256(raw).hexdigest()


def survey(
    package: Folder, listed: tuple[Listed, ...], signature: bool, findings: Findings
) -> dict[str, os.stat_result]:
    """Compare what is in the folder with what the manifest lists.

    Args:
        package: the folder.
        listed: the files of the manifest; their paths have been judged.
        signature: whether manifest.json.sig belongs to the package.
        findings: where to note what is wrong.

    Returns:
        path → what lstat says, for each listed file that is there and may be opened. manifest.json and
        manifest.json.sig have been opened before, and are only looked for. Of what is in a folder that cannot be
        read, nothing is said but that.
    """
    wanted = {NAME, *(one.path for one in listed)}
    if signature:
        wanted.add(SIGNATURE_NAME)
    folders = {path.rpartition("/")[0] for path in wanted} - {""}
    folded = {_fold(name): name for name in wanted | folders}
    found: dict[str, os.stat_result] = {}

    def unlisted(path: str, code: codes.Code, what: str) -> None:
        twin = folded.get(_fold(path))
        if twin and twin != path:
            findings.add(
                codes.NAME_TWIN,
                path,
                None,
                f"This {what} is not listed, and its name differs from {twin!r} only in letter case or Unicode form.",
            )
        else:
            findings.add(code, path, None, f"The manifest does not list this {what}.")

    accounted: set[str] = set()

    def unknown(path: str, error: OSError, what: str) -> None:
        # Whether it is there, or what is below it, cannot be told: it is not called missing too.
        accounted.update(one for one in wanted if not path or one == path or one.startswith(path + "/"))
        message = f"The {what} cannot be read: {error.strerror or error}."
        findings.add(codes.UNREADABLE, path or ".", None, message)

    def scan(folder: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            for path, seen in package.scan(folder):
                if isinstance(seen, OSError):
                    unknown(path, seen, "file")
                else:
                    yield path, seen
        except OSError as error:
            unknown(folder, error, "folder")

    def visit(folder: str) -> None:
        for path, seen in scan(folder):
            is_folder = stat.S_ISDIR(seen.st_mode)
            if path in wanted:
                accounted.add(path)
                if path not in (NAME, SIGNATURE_NAME) and may_open(path, seen, findings):
                    found[path] = seen
            elif path in folders and is_folder:
                visit(path)
            elif path in folders:
                findings.add(codes.NOT_REGULAR, path, None, f"This is {_kind(seen)}, where a folder belongs.")
            elif is_folder:
                unlisted(path, codes.FOLDER_UNLISTED, "folder")
            else:
                unlisted(path, codes.FILE_UNLISTED, _kind(seen).split(" ", 1)[1])

    visit("")
    for path in sorted(wanted - accounted):
        findings.add(codes.FILE_MISSING, path, None, "The file is missing.")
    return found


def may_open(path: str, seen: os.stat_result, findings: Findings) -> bool:
    """Whether what lstat saw is a regular file, and so may be opened; a hard link is noted, but does no harm when
    read."""
    if not stat.S_ISREG(seen.st_mode):
        findings.add(codes.NOT_REGULAR, path, None, f"This is {_kind(seen)}, not a regular file.")
        return False
    if seen.st_nlink > 1:
        findings.add(
            codes.HARD_LINK,
            path,
            None,
            f"The file has {seen.st_nlink} names; through another one it can be changed without touching the package.",
        )
    return True


@contextmanager
def opened(package: Folder, path: str, seen: os.stat_result, findings: Findings) -> Iterator[Source]:
    """Open a file that lstat has seen, making sure that it is, and stays, the same one.

    Args:
        package: the folder.
        path: of the file in it.
        seen: what lstat said.
        findings: where to note what is wrong.

    Yields:
        The open file.

    Raises:
        Unreadable: it cannot be opened, or is another one by now. That it was changed while it was open is only noted:
            what was read of it is judged all the same.
    """
    try:
        descriptor = package.open(path)
    except OSError as error:
        raise _unreadable(path, error, findings) from error
    try:
        if not _is_same(descriptor, seen, path, findings):
            raise Unreadable(path)
        yield Source(descriptor, path, findings)
        _is_same(descriptor, seen, path, findings)
    finally:
        os.close(descriptor)


class Source:
    """An open file of a package.

    Args:
        descriptor: of the file.
        path: within the package.
        findings: where to note that it cannot be read.
    """

    def __init__(self, descriptor: int, path: str, findings: Findings) -> None:
        self.descriptor, self.path, self.findings = descriptor, path, findings

    def blocks(self, limit: int, size: int = BLOCK) -> Iterator[bytes]:
        """The content from the start in blocks, but no more than `limit` bytes and one, by which a longer file shows.

        Args:
            limit: the listed size, in bytes.
            size: of a block, in bytes.

        Raises:
            Unreadable: the file cannot be read to the end.
        """
        left = limit + 1
        try:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            while left > 0 and (block := os.read(self.descriptor, min(size, left))):
                left -= len(block)
                yield block
        except OSError as error:
            raise _unreadable(self.path, error, self.findings) from error


def _unreadable(path: str, error: OSError, findings: Findings) -> Unreadable:
    findings.add(codes.UNREADABLE, path, None, f"The file cannot be read: {error.strerror or error}.")
    return Unreadable(path)


class Measure:
    """Size and SHA-256 of a listed file, taken while it is read once.

    Args:
        listed: the file's entry in the manifest.
    """

    def __init__(self, listed: Listed) -> None:
        self.listed = listed
        self.size = 0
        self.hash = hashlib.sha256()

    def update(self, block: bytes) -> bytes:
        """Take account of the next block, and give it back without what lies beyond the listed size."""
        rest = self.listed.size - self.size
        self.size += len(block)
        block = block if len(block) <= rest else block[: max(rest, 0)]
        self.hash.update(block)
        return block

    def judge(self, findings: Findings) -> bool:
        """Compare with the manifest; gives whether both agree."""
        if self.size != self.listed.size:
            had = "more" if self.size > self.listed.size else f"{self.size}"
            findings.add(
                codes.FILE_SIZE,
                self.listed.path,
                None,
                f"The file has {had} bytes; the manifest lists {self.listed.size}.",
            )
            return False
        if self.hash.hexdigest() != self.listed.sha256:
            findings.add(
                codes.FILE_SHA256, self.listed.path, None, "The file's content is not what the manifest lists."
            )
            return False
        return True


def _is_same(descriptor: int, seen: os.stat_result, path: str, findings: Findings) -> bool:
    now = os.fstat(descriptor)
    names = ("st_dev", "st_ino", "st_mode", "st_size", "st_mtime_ns")
    if all(getattr(now, name) == getattr(seen, name) for name in names):
        return True
    findings.add(codes.FILE_CHANGED, path, None, "The file was replaced or changed while it was verified.")
    return False


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _kind(seen: os.stat_result) -> str:
    tests = {
        "a symbolic link": stat.S_ISLNK,
        "a FIFO": stat.S_ISFIFO,
        "a socket": stat.S_ISSOCK,
        "a device": lambda mode: stat.S_ISBLK(mode) or stat.S_ISCHR(mode),
        "a folder": stat.S_ISDIR,
    }
    return next((name for name, test in tests.items() if test(seen.st_mode)), "a file")
