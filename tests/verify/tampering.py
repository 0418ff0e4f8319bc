"""Ways of touching a package, as functions that do it in place.

Belongs here: what `test_tampering.py` does a part of and `exhaustive.py` does all of. Does not belong here:
    expectations.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import rfc8785

from . import build

Tampering = tuple[str, Callable[[Path], object]]


def files_of(package: Path) -> list[str]:
    """The files of a package, as paths in it, in a fixed order."""
    return sorted(str(path.relative_to(package)) for path in package.rglob("*") if path.is_file())


class Restored:
    """A copy of a package in which one file after another is changed and put back, without copying the rest."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.sound = {name: (package / name).read_bytes() for name in files_of(package)}

    def with_content(self, name: str, content: bytes) -> Restored:
        """Put other content into a file. Use with `with`, which puts the sound content back."""
        self.name = name
        (self.package / name).write_bytes(content)
        return self

    def __enter__(self) -> Path:
        return self.package

    def __exit__(self, *_: object) -> None:
        (self.package / self.name).write_bytes(self.sound[self.name])


def flipped(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def file_tamperings(package: Path) -> Iterator[Tampering]:
    """Each file removed, renamed, emptied, duplicated, lengthened, swapped; things added."""
    names = files_of(package)
    for name in names:
        stem, suffix = os.path.splitext(name)
        folder, _, last = name.rpartition("/")
        twin = os.path.join(folder, last.swapcase())
        yield f"remove {name}", lambda root, name=name: (root / name).unlink()
        yield f"empty {name}", lambda root, name=name: (root / name).write_bytes(b"")
        yield f"append to {name}", lambda root, name=name: (root / name).write_bytes((root / name).read_bytes() + b"\0")
        others = f"{stem}2{suffix}", f"{name}.bak", twin, f"csv/.{last}"
        for other in others:
            yield f"rename {name} to {other}", lambda root, name=name, other=other: (root / name).rename(root / other)
            yield f"copy {name} to {other}", lambda root, name=name, other=other: shutil.copy(root / name, root / other)
        yield f"fifo for {name}", lambda root, name=name: ((root / name).unlink(), os.mkfifo(root / name))
        yield f"folder for {name}", lambda root, name=name: ((root / name).unlink(), (root / name).mkdir())
        yield f"symbolic link for {name}", _symbolic_link(name)
        yield f"hard link of {name}", lambda root, name=name: os.link(root / name, root.parent / "another-name")
    for one, two in zip(names, names[1:] + names[:1], strict=True):
        yield f"swap {one} and {two}", _swap(one, two)
        yield f"put {one} in place of {two}", lambda root, one=one, two=two: shutil.copy(root / one, root / two)
    for name in (
        ".hidden",
        "..data",
        "a\nb",
        "csv/x.csv",
        "csv/RUN.csv",
        "csv/run.csv ",
        "re\u0301cords",
        "manifest.json.sig",
    ):
        yield f"add {name!r}", lambda root, name=name: (root / name).write_bytes(b"x")
    for name in ("empty", ".git", "parquet", "csv/deep"):
        yield f"add folder {name}", lambda root, name=name: (root / name).mkdir()
    yield "add a link to the folder itself", lambda root: (root / "loop").symlink_to(root)
    yield "rename the package", _rename_package


def _rename_package(root: Path) -> Path:
    return root.rename(root.with_name("run-other"))


def _symbolic_link(name: str) -> Callable[[Path], None]:
    def tamper(root: Path) -> None:
        (root / name).rename(root.parent / "moved")
        (root / name).symlink_to(root.parent / "moved")

    return tamper


def _swap(one: str, two: str) -> Callable[[Path], None]:
    def tamper(root: Path) -> None:
        contents = (root / one).read_bytes(), (root / two).read_bytes()
        (root / two).write_bytes(contents[0])
        (root / one).write_bytes(contents[1])

    return tamper


def line_edits(lines: list[bytes], foreign: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Each record removed, doubled, swapped with the next and replaced by one from another validly signed run."""
    for index, line in enumerate(lines):
        yield f"remove line {index + 1}", lines[:index] + lines[index + 1 :]
        yield f"double line {index + 1}", lines[: index + 1] + lines[index:]
        yield f"repeat line {index + 1} at the end", [*lines, line]
        yield f"cut off from line {index + 1}", lines[:index]
        if index + 1 < len(lines):
            yield (
                f"swap lines {index + 1} and {index + 2}",
                [*lines[:index], lines[index + 1], line, *lines[index + 2 :]],
            )
        if index < len(foreign):
            yield f"splice line {index + 1}", [*lines[:index], foreign[index], *lines[index + 1 :]]
            yield f"insert a foreign line {index + 1}", [*lines[:index], foreign[index], *lines[index:]]


def without_signature(line: bytes) -> bytes:
    """A record, or a manifest, with its signature stripped."""
    record = build.read(line)
    record.pop("signature", None)
    return rfc8785.dumps(record)


def resealed(package: dict[str, bytes], key: bytes | None = None) -> dict[str, bytes]:
    """The files of a package with the manifest's sizes and hashes made to fit them, and without a public-key signature,
    so that nothing but the content is wrong.

    Args:
        package: the files.
        key: to sign the manifest with; None leaves the old signature in it.
    """
    files = {name: content for name, content in package.items() if not name.startswith("manifest.json")}
    manifest = build.read(package["manifest.json"])
    build.list_files(manifest, files)
    manifest["public_key"] = None
    return {**files, "manifest.json": build.seal(manifest, key)}


def manifest_edits(manifest: dict) -> Iterator[tuple[str, dict]]:
    """The manifest with each value, at any depth, changed, removed or replaced by one of another type."""

    def walk(value: object, path: tuple) -> Iterator[tuple]:
        if path:
            yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield from walk(inner, (*path, key))

    def edited(path: tuple, edit: Callable[[object, object], object]) -> dict:
        copy = json.loads(json.dumps(manifest))
        target = copy
        for key in path[:-1]:
            target = target[key]
        edit(target, path[-1])
        return copy

    for path in walk(manifest, ()):
        name = ".".join(map(str, path))
        value = manifest
        for key in path:
            value = value[key]
        yield f"remove {name}", edited(path, lambda target, key: target.pop(key))
        for other in (None, True, -1, 1e300, "", "x", [], {}, changed(value)):
            if other != value or type(other) is not type(value):
                yield (
                    f"set {name} to {other!r:.40}",
                    edited(path, lambda t, key, other=other: t.__setitem__(key, other)),
                )


def changed(value: object) -> object:
    """A value of the same type and form that is another one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return "".join({"0": "1", "1": "2", "a": "b"}.get(character, character) for character in value) or "other"
    return {**value, "more": 1} if isinstance(value, dict) else [*value, *value[:1]]
