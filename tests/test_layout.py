"""The layout of the code: which room may import which, how long a module may be, which words are avoided.

Belongs here: what can be seen in the source alone. The rooms, their order and the words are those of
docs/architecture.md. Does not belong here: behaviour.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "landscape_assets"
LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("cli", "definitions"),
            ("demo", "evidence_commands", "report_command"),
            ("console", "dagster_defs", "keygen", "sample"),
            ("pipeline", "reporting", "status"),
            ("settings",),
            ("evidence",),
            ("package",),
            ("formats",),
            ("report",),
            ("records",),
            ("database",),
            ("contract",),
            ("storage",),
            ("failures", "process"),
            ("budget", "errors", "lookup", "mail", "merkle", "parallel", "printable"),
        ),
    )
)
"""The rooms, and the modules beside them, from the top down. Each may import what is below it."""

DAGSTER = {"dagster_defs", "demo", "definitions"}
"""What may import Dagster."""

LONGEST = 400
LONGER = {"contract/v1.py"}
"""Modules that may be longer, because they are data. Their docstrings say so."""

SPOKEN = (
    *(
        f"{folder}/**/*{kind}"
        for folder in (PACKAGE, "benchmarks", "docs", "deploy")
        for kind in (".py", ".md", ".yaml")
    ),
    *("*.md", "*.yaml", "deploy/Dockerfile"),
)
"""Where an avoided word must not be: code, documents and messages."""


def modules(package: str) -> dict[str, Path]:
    """Dotted name → file of every module of a package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module imports, wherever in it: a name of a module where one is named,
    and else of what is taken from it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = [*above, *(node.module or "").split(".")] if node.module else above
            yield from ((node.lineno, ".".join([*start, each.name])) for each in node.names)


def room(name: str) -> str:
    """The room (or the module beside the rooms) of a dotted name; empty for the package itself."""
    _, _, rest = name.partition(".")
    return rest.partition(".")[0]


def all_imports(package: str = PACKAGE) -> Iterator[tuple[str, str, str]]:
    """Where (file and line), importing module, and imported name of every import of the package."""
    for name, path in modules(package).items():
        for line, imported in imports(name, path):
            yield f"{path.relative_to(ROOT)}:{line}", name, imported


def test_every_module_has_its_layer() -> None:
    """A new room, or a module beside the rooms, says in LAYERS where it belongs."""
    known = set().union(*LAYERS) | {"", "verify"}
    assert {room(name) for name in modules(PACKAGE)} <= known


def test_rooms_depend_one_way() -> None:
    """Each imports what is below it: nothing above, nothing beside it."""
    layer = {each: number for number, layer in enumerate(LAYERS) for each in layer}
    wrong = [
        f"{where}: {room(importer)} imports {room(imported)}"
        for where, importer, imported in all_imports()
        if imported.startswith(f"{PACKAGE}.")
        and (room(importer), room(imported)) != ("verify", "verify")
        and room(importer) != room(imported)
        and room(importer) in layer
        and room(imported) in layer
        and layer[room(imported)] <= layer[room(importer)]
    ]
    assert wrong == []


def test_the_verifier_stands_alone() -> None:
    """It imports nothing else of the project and nothing that is installed, but `cryptography`, if that is there."""
    import sys

    known = set(sys.stdlib_module_names) | {"cryptography", "landscape_verify", "__future__"}
    wrong = [
        f"{where}: {imported}"
        for where, importer, imported in all_imports()
        if room(importer) == "verify"
        and not imported.startswith(f"{PACKAGE}.verify.")
        and imported.partition(".")[0] not in known
    ]
    assert wrong == []


def test_others_use_the_public_names_of_the_verifier() -> None:
    """What its `__init__` exports, and none of its modules: the exporter shares no code with it."""
    from landscape_assets import verify

    public = {f"{PACKAGE}.verify.{name}" for name in verify.__all__} | {f"{PACKAGE}.verify"}
    wrong = [
        f"{where}: {imported}"
        for where, importer, imported in all_imports()
        if room(importer) != "verify" and room(imported) == "verify" and imported not in public
    ]
    assert wrong == []


def test_dagster_is_imported_by_its_room_alone() -> None:
    """What an export is does not depend on how it is scheduled and shown."""
    wrong = [
        f"{where}: {imported}"
        for where, importer, imported in all_imports()
        if re.match(r"dagster\w*(\.|$)", imported) and room(importer) not in DAGSTER
    ]
    assert wrong == []


@pytest.mark.parametrize("package", [PACKAGE, "benchmarks"])
def test_no_module_imports_itself_in_a_circle(package: str) -> None:
    """Not even by an import within a function."""
    names = modules(package)
    graph: dict[str, set[str]] = {name: set() for name in names}
    for _, importer, imported in all_imports(package):
        target = imported if imported in names else imported.rpartition(".")[0]
        if target in names and target != importer:
            graph[importer].add(target)
    # What imports nothing of the rest cannot be part of a circle: take it away until nothing changes.
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]
    # Likewise what nothing of the rest imports.
    while free := graph.keys() - set().union(*graph.values()):
        for name in free:
            del graph[name]
    assert {name: sorted(targets & graph.keys()) for name, targets in graph.items()} == {}


def test_modules_are_short() -> None:
    """Unless a longer one is listed, and its docstring gives the reason."""
    wrong = []
    for path in modules(PACKAGE).values():
        text, short = path.read_text("utf-8"), str(path.relative_to(ROOT / PACKAGE))
        lines = text.count("\n")
        if lines <= LONGEST:
            continue
        if short not in LONGER:
            wrong.append(f"{short}: {lines} lines")
        elif f"more than {LONGEST} lines" not in " ".join((ast.get_docstring(ast.parse(text)) or "").split()):
            wrong.append(f"{short}: {lines} lines, and its docstring does not say why it has more than {LONGEST} lines")
    assert wrong == []


def avoided() -> dict[str, str]:
    """Avoided word → what to write, from the glossary."""
    words = {}
    for line in (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Glossary")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) > 1:
            words |= dict.fromkeys(re.findall(r"«(.+?)»", cells[-1]), cells[0])
    return words


def test_the_glossary_lists_words_to_avoid() -> None:
    """The list that the next test reads is found."""
    assert len(avoided()) > 10
    assert all(re.fullmatch(r"[\w' ]+", word) for word in avoided())


def test_avoided_words_are_not_used() -> None:
    """In code, documents and messages. The glossary itself may name them."""
    words = avoided()
    # A name of several words is one word to \\b; here each of its words counts.
    pattern = re.compile(rf"(?<![A-Za-z])({'|'.join(words)})(?![A-Za-z])", re.IGNORECASE)
    wrong = []
    for path in sorted({path for each in SPOKEN for path in ROOT.glob(each) if path.is_file()}):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if path.name == "architecture.md" and line.startswith("| "):
                continue
            wrong += [
                f"{path.relative_to(ROOT)}:{number}: «{found}»; write: {words[found.lower()]}"
                for found in pattern.findall(line)
            ]
    assert wrong == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/auditors.md"]
)
def test_files_that_documents_name_exist(page: str) -> None:
    """A file that was renamed is renamed in the documents too."""
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"`([\w.]+/[\w./-]*?[\w-]+\.(?:py|md|sql|toml|txt|ya?ml)|[\w.]+(?:/[\w.-]+)*/)`", text))
    # A page may leave out the first folder: `contract/`, `formats/base.py`.
    places = (ROOT, ROOT / PACKAGE, ROOT / "tests", ROOT / "docs")
    ours = {
        name
        for name in named
        if not name.startswith((".staging", ".superseded", "csv/", "parquet/", "build/", "demo/"))
    }
    assert {name for name in ours if not any((place / name).exists() for place in places)} == set()
    assert named
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    assert {link for link in linked if link and not (ROOT / page).parent.joinpath(link).exists()} == set()


def test_docstrings_name_files_that_exist() -> None:
    """Where a module says that something belongs elsewhere, elsewhere exists."""
    named = [
        (path, name)
        for path in modules(PACKAGE).values()
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
    ]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, name in named
        if not any((folder / name).exists() for folder in (path.parent, ROOT / PACKAGE, ROOT))
    ]
    assert wrong == []
