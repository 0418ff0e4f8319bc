"""VERIFY.md: for one package, how to check it with nothing but sha256sum, find and openssl.

Belongs here: that text. The commands in it are run as they stand by a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def verify_md(run_id: str, files: Sequence[dict[str, Any]], public_key_id: str | None) -> str:
    """The text of VERIFY.md.

    Args:
        run_id: the run.
        files: every other file of the package but the manifest and its signature, with `path` and `sha256`.
        public_key_id: the id of the public key that manifest.json.sig verifies under, or None when there is no such
            file.
    """
    sums = "\n".join(f"{file['sha256']}  {file['path']}" for file in files)
    paths = sorted(["manifest.json", "VERIFY.md", *(file["path"] for file in files)])
    if public_key_id:
        paths.append("manifest.json.sig")
    folders = sorted({path.rpartition("/")[0] for path in paths} - {""})
    places = " \\\n".join(
        [f"  ! '(' -type d -path ./{path} ')'" for path in folders]
        + [f"  ! '(' -type f -path ./{path} ')'" for path in paths]
    )
    shown = run_id.encode("unicode_escape").decode().replace("`", "'")
    manifest = _SIGNED.format(key_id=public_key_id) if public_key_id else _UNSIGNED
    return f"""# How to check this package

It is an export of the audit trail of run `{shown}`. Open a terminal in this folder, and take the steps in their order.
Where one does not end as described here, stop: do not rely on the package, and ask for another copy where you got this
one.

## 1. What is in the folder

This lists whatever is in the folder besides the files of the package, and whatever is in the place of one of them and
is not a regular file. It opens no file. It must print nothing. If it prints anything, do not take the other steps: to
open what only looks like a file may never end.

```sh
find . ! -name . \\
{places}
```

## 2. The manifest

{manifest}
## 3. This page

The manifest lists the SHA-256 of this page. Run the command, and find the 64 digits that it prints in manifest.json,
behind `"path":"VERIFY.md"`.

```sh
sha256sum VERIFY.md
```

## 4. The other files

Every line must end in `OK`.

```sh
sha256sum --check --strict <<'SUMS'
{sums}
SUMS
```

## What this shows, and what it does not

That the files are those of which the manifest speaks. The command `landscape-assets verify` shows more: that every
record is in canonical form, in order and complete as counted, and, with the key of the exporter, that each is signed.
No check shows that what was recorded is true, or that the audit database was complete when it was exported.
"""


_SIGNED = """`manifest.json.sig` is an Ed25519 signature of manifest.json. Get the public key from the exporter by a way
of its own, never from where you got this folder, as a file `public-key.pem` beside it. First make sure that it is the
right key: this prints its id, which must be

    {key_id}

```sh
openssl pkey -pubin -in ../public-key.pem -outform DER | sha256sum
```

Then check the signature. It must print `Signature Verified Successfully`.

```sh
openssl pkeyutl -verify -pubin -inkey ../public-key.pem -rawin -in manifest.json -sigfile manifest.json.sig
```

"""

_UNSIGNED = """The manifest has no public-key signature. Without the exporter's secret key, who made it cannot be
shown; what follows shows only that the files belong together.

"""
