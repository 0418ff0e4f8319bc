"""The package: its manifest, its publication, reading it back.

Belongs here: everything that makes a folder a package. Does not belong here: the output formats (`formats/`), and the
verifier, which shares no code with it (`verify/`).
"""
