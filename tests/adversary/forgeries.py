"""Forged packages: whatever is changed in a signed one, the verifier never calls it verified.

Belongs here: the kind `forgeries`: random changes, several at once, of packages that the command made, also with all
hashes made to fit afterwards. Does not belong here: every change of one kind (`../verify/exhaustive.py`).

Three keys are tried: the HMAC key alone, the public key alone, both. Not tried are the changes that a key cannot tell:
with the HMAC key alone, 64 other bytes in manifest.json.sig, and what is sealed with that key.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq
import rfc8785
from support.exporter import KEY, Exporter, content
from verify import build, tampering

from landscape_assets.verify import verify_package

from . import random_runs
from .trials import Tally, at_exit

SECRET = KEY.encode()
OTHER_KEY = "another key of the tests, as long as the first"
EACH = 60
"""Forgeries of an attempt."""
PAIRS = 20
"""Attempts that forge the same packages, so that they are exported once."""

Files = dict[str, bytes]


@dataclass(frozen=True)
class Genuine:
    """Packages that the command made, as files: of the run, of the run earlier, of another run, by another key."""

    folder: str
    files: Files
    earlier: Files
    other: Files
    other_key: Files
    pem: bytes

    @property
    def foreign(self) -> tuple[Files, ...]:
        return self.earlier, self.other, self.other_key


@lru_cache(maxsize=1)
def _genuine(number: int) -> Genuine:
    rng = random.Random(f"genuine {number}")
    folder = Path(tempfile.mkdtemp(prefix="genuine-"))
    at_exit(shutil.rmtree, folder, True)
    run_id = rng.choice(["run", "run é/1", "a,b", "=1"])
    runs = [random_runs.Maker(rng).run(run_id, 12), random_runs.Maker(rng).run("other", 12)]
    random_runs.write(folder / "landscape.db", runs, rng)
    Exporter(folder).run("keygen", folder / "key")
    made = []
    for name, which, key in (
        ("earlier", run_id, KEY), ("files", run_id, KEY), ("other", "other", KEY), ("other_key", run_id, OTHER_KEY),
    ):  # fmt: skip
        exporter = Exporter(folder / name)
        exporter.folder.mkdir()
        settings = {"LANDSCAPE_SIGNING_KEY": key, "LANDSCAPE_SIGNING_PRIVATE_KEY_FILE": str(folder / "key")}
        outcome = exporter.outcome(folder / "landscape.db", which, **settings)
        made.append((Path(outcome["package"]), name))
    found = {name: {k: v for k, v in content(package).items() if v is not None} for package, name in made}
    return Genuine(made[1][0].name, pem=(folder / "key.pub").read_bytes(), **found)


Change = Callable[[random.Random, Files, Genuine], str]
"""Changes files in place; what was done."""


def _bytes(rng: random.Random, files: Files, genuine: Genuine) -> str:
    name = rng.choice(sorted(files))
    data = bytearray(files[name])
    at, how = rng.randrange(len(data) + 1), rng.choice(["flip", "insert", "delete", "cut", "append"])
    if how == "flip" and data:
        data[at % len(data)] ^= 1 << rng.randrange(8)
    elif how == "insert":
        data[at:at] = rng.choice([b" ", b"\n", b"\0", b"0", b",", b"\xef\xbb\xbf", rng.randbytes(3)])
    elif how == "delete":
        del data[at : at + rng.choice([1, 2, 30])]
    elif how == "cut":
        del data[at:]
    else:
        data += rng.choice([b"\n", b" ", b"\0", b"\r\n", b"{}", rng.randbytes(9)])
    files[name] = bytes(data)
    return f"{how} at byte {at} of {name}"


def _lines(rng: random.Random, files: Files, genuine: Genuine) -> str:
    name = rng.choice(["records.jsonl", *(n for n in sorted(files) if n.endswith((".csv", ".jsonl")))])
    lines = files[name].splitlines(keepends=True)
    foreign = [line for other in genuine.foreign for line in other.get(name, b"").splitlines(keepends=True)]
    how = rng.choice(
        [
            "delete",
            "double",
            "swap",
            "move",
            "reverse",
            "insert foreign",
            "replace by foreign",
            "drop the last",
            "shuffle",
        ]
    )
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    if how == "delete":
        del lines[at]
    elif how == "double":
        lines.insert(to, lines[at])
    elif how == "swap":
        lines[at], lines[to] = lines[to], lines[at]
    elif how == "move":
        lines.insert(to, lines.pop(at))
    elif how == "reverse":
        lines.reverse()
    elif how == "insert foreign" and foreign:
        lines.insert(at, rng.choice(foreign))
    elif how == "replace by foreign" and foreign:
        lines[at] = rng.choice(foreign)
    elif how == "drop the last":
        del lines[-1]
    elif how == "shuffle":
        rng.shuffle(lines)
    files[name] = b"".join(lines)
    return f"{how} line {at + 1} of {name}"


def _written_otherwise(rng: random.Random, files: Files, genuine: Genuine) -> str:
    """The same values in other bytes: a line of the records, or the manifest."""
    name = rng.choice(["records.jsonl", "records.jsonl", "manifest.json"])
    lines = files[name].split(b"\n")
    at = rng.randrange(max(1, len(lines) - 1))
    text = lines[at].decode("utf-8", "replace")
    how = rng.choice(
        [
            "number",
            "escape",
            "spaces",
            "order",
            "double key",
            "case of a hash",
            "solidus",
            "line end",
            "null for nothing",
        ]
    )
    if how == "number":
        numbers = list(re.finditer(r"(?<=:)-?\d+(\.\d+)?(e[+-]?\d+)?(?=[,}])", text))
        if numbers:
            found = rng.choice(numbers)
            other = rng.choice(["{}.0", "{}e0", "{}E+0", "0{}", "+{}", " {}", '"{}"', "{}.00", "-{}"]).format(found[0])
            text = text[: found.start()] + other + text[found.end() :]
    elif how == "escape" and len(text) > 3:
        letters = list(re.finditer(r"[A-Za-z0-9]", text))
        if letters:
            found = rng.choice(letters)
            text = text[: found.start()] + f"\\u{ord(found[0]):04x}" + text[found.end() :]
    elif how == "spaces":
        text = text.replace(rng.choice([",", ":", "{"]), rng.choice([", ", " :", "{ ", "{\t"]), rng.choice([1, -1]))
    elif how in ("order", "double key", "null for nothing"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict) and value:
            items = list(value.items())
            if how == "order":
                rng.shuffle(items)
            else:
                items.append((rng.choice(items)[0] if how == "double key" else "more", rng.choice([None, items[0][1]])))
            inner = ",".join(
                f"{json.dumps(k)}:{json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in items
            )
            text = f"{{{inner}}}"
    elif how == "case of a hash":
        text = re.sub(r"[0-9a-f]{64}", lambda match: match[0].upper(), text, count=rng.choice([1, 0]))
    elif how == "solidus":
        text = text.replace("/", "\\/")
    else:
        text += rng.choice(["\r", " ", "\t"])
    lines[at] = text.encode("utf-8", "surrogatepass")
    files[name] = b"\n".join(lines)
    return f"{how} of line {at + 1} of {name} written otherwise"


def _values(rng: random.Random, files: Files, genuine: Genuine) -> str:
    """Another value in a record, in canonical form."""
    lines = files["records.jsonl"].split(b"\n")
    at, from_ = rng.randrange(max(1, len(lines) - 1)), rng.randrange(max(1, len(lines) - 1))
    try:
        record, source = build.read(lines[at]), build.read(lines[from_])
    except ValueError:
        return "nothing"
    name = rng.choice(sorted(record))
    how = rng.choice(["change", "remove", "null", "copy", "copy the signature", "sign with another key", "type"])
    if how == "change":
        record[name] = tampering.changed(record[name])
    elif how == "remove":
        del record[name]
    elif how == "null":
        record[name] = "" if record[name] is None else None
    elif how == "copy":
        record[name] = source.get(name)
    elif how == "copy the signature":
        record["signature"] = source.get("signature")
    elif how == "type":
        record[name] = str(record[name])
    else:
        record = build.sign(record, OTHER_KEY.encode())
    try:
        lines[at] = rfc8785.dumps(record)
    except (rfc8785.CanonicalizationError, RecursionError):
        return "nothing"
    files["records.jsonl"] = b"\n".join(lines)
    return f"{how} {name} of record {at + 1}"


def _manifest(rng: random.Random, files: Files, genuine: Genuine) -> str:
    try:
        manifest = json.loads(files["manifest.json"])
        edits = list(tampering.manifest_edits(manifest))
    except (ValueError, KeyError, AttributeError, TypeError):
        return "nothing"
    what, edited = rng.choice(edits)
    how = rng.choice(["as it is", "signature stripped", "signed with another key", "the signature of another"])
    if how == "signature stripped":
        edited.pop("signature", None)
    elif how == "signed with another key":
        edited = build.sign(edited, OTHER_KEY.encode())
    elif how == "the signature of another":
        edited["signature"] = json.loads(rng.choice(genuine.foreign)["manifest.json"])["signature"]
    files["manifest.json"] = rfc8785.dumps(edited)
    return f"manifest: {what}, {how}"


def _transplant(rng: random.Random, files: Files, genuine: Genuine) -> str:
    """Files, or the manifest's signature, of another genuine package."""
    number = rng.randrange(len(genuine.foreign))
    other = genuine.foreign[number]
    if rng.random() < 0.3:
        names = ["manifest.json", "manifest.json.sig"]
    else:
        names = rng.sample(sorted(other), rng.randint(1, 4))
    for name in names:
        files[name] = other[name]
    return f"{names} of genuine package {number}"


def _parquet(rng: random.Random, files: Files, genuine: Genuine) -> str:
    """The same table written again, or without a row."""
    name = rng.choice([name for name in sorted(files) if name.endswith(".parquet")] or [""])
    try:
        table = pq.read_table(io.BytesIO(files[name]))
    except Exception:  # it was changed before
        return "nothing"
    if rng.random() < 0.5:
        table = table.slice(1)
    target = io.BytesIO()
    pq.write_table(table, target, compression=rng.choice(["snappy", "zstd", "none"]))
    files[name] = target.getvalue()
    return f"{name} written again, {table.num_rows} rows"


def _names(rng: random.Random, files: Files, genuine: Genuine) -> str:
    """Files exchanged, renamed, removed, added."""
    one, two = rng.sample(sorted(files), 2) if len(files) > 1 else (next(iter(files)),) * 2
    how = rng.choice(["exchange", "rename", "remove", "add"])
    if how == "exchange":
        files[one], files[two] = files[two], files[one]
    elif how == "rename":
        files[rng.choice([f"{one}.bak", one.upper(), f"csv/{Path(one).name}", f".{Path(one).name}"])] = files.pop(one)
    elif how == "remove":
        del files[one]
    else:
        files[rng.choice(["more", "csv/more.csv", "records.jsonl~", "\u202e", "manifest.json.sig2"])] = files[one]
    return f"{how} {one} ({two})"


CHANGES: tuple[Change, ...] = (_bytes, _lines, _written_otherwise, _values, _manifest, _transplant, _parquet, _names)


def attempt(seed: int, folder: Path, tally: Tally) -> None:
    """Forgeries of one genuine package, each of them a trial."""
    rng = random.Random(f"forgeries {seed}")
    genuine = _genuine(seed // PAIRS)
    package = build.write(folder / "sound" / genuine.folder, genuine.files)
    for keys in ({"key": SECRET}, {"public_key": genuine.pem}, {"key": SECRET, "public_key": genuine.pem}):
        status = verify_package(package, processes=1, **keys).status
        tally.judge("the genuine package", None if status == 0 else ("a genuine package is not verified", str(status)))
    for number in range(EACH):
        parent = folder / str(number)
        if rng.random() < 0.1:
            _touch_files(rng, package, parent, genuine, tally)
        else:
            _forge(rng, parent, genuine, tally)
        shutil.rmtree(parent)


def _forge(rng: random.Random, parent: Path, genuine: Genuine, tally: Tally) -> None:
    files = dict(genuine.files)
    done = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        if not {"records.jsonl", "manifest.json"} <= set(files):
            break
        done.append(rng.choice(CHANGES)(rng, files, genuine))
    sealed = rng.choice(["", "", "fitting hashes", "fitting hashes and another key", "fitting hashes and the key"])
    if sealed:
        try:
            key = {"fitting hashes": None, "fitting hashes and another key": OTHER_KEY.encode()}.get(sealed, SECRET)
            signature = files.get("manifest.json.sig")
            files = tampering.resealed(files, key)
            if signature is not None and rng.random() < 0.5:  # with the old public-key signature
                files["manifest.json.sig"] = signature
                manifest = json.loads(files["manifest.json"])
                manifest["public_key"] = json.loads(genuine.files["manifest.json"])["public_key"]
                files["manifest.json"] = build.seal(manifest, key)
        except (KeyError, ValueError, TypeError, AttributeError, rfc8785.CanonicalizationError):
            sealed = ""  # too much is broken to be sealed
    folder = (
        genuine.folder if rng.random() < 0.95 else rng.choice(["other", genuine.folder.upper(), f"{genuine.folder} "])
    )
    if files == genuine.files and folder == genuine.folder:
        parent.mkdir()
        return
    try:
        package = build.write(parent / folder, files)
    except OSError:  # a file where a folder has to be
        parent.mkdir(exist_ok=True)
        return
    changed = {name for name in {*files, *genuine.files} if files.get(name) != genuine.files.get(name)}
    _verify(
        package,
        changed,
        genuine,
        tally,
        f"{'; '.join(done)}; {sealed}; folder {folder!r}",
        insider=sealed.endswith("the key"),
    )


def _touch_files(rng: random.Random, package: Path, parent: Path, genuine: Genuine, tally: Tally) -> None:
    what, touch = rng.choice(list(tampering.file_tamperings(package)))
    touched = parent / package.name
    shutil.copytree(package, touched)
    try:
        moved = touch(touched)
    except FileExistsError:  # what is added is there in this package
        return
    if isinstance(moved, Path) and moved.parent == parent:
        touched = moved
    _verify(touched, {what}, genuine, tally, what, insider=False)


def _verify(package: Path, changed: set[str], genuine: Genuine, tally: Tally, what: str, *, insider: bool) -> None:
    """Nothing is verified, with no key that can tell."""
    signature = package / "manifest.json.sig"
    blind = changed == {signature.name} and signature.is_file() and signature.stat().st_size == 64
    tried = [("the public key", {"public_key": genuine.pem}), ("both keys", {"key": SECRET, "public_key": genuine.pem})]
    if not blind and not insider:
        tried.append(("the HMAC key", {"key": SECRET}))
    for name, keys in tried:
        try:
            report = verify_package(package, processes=1, **keys)
        except Exception as error:  # it would be a traceback
            tally.judge(f"{what}, {name}", ("a traceback of verify", f"{type(error).__name__}: {error}"))
            continue
        tally.note(f"status {int(report.status)}")
        tally.judge(f"{what}, {name}", None if report.status != 0 else ("a forgery is verified", report.to_text()))
