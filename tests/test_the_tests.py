"""The tests themselves: none asserts what cannot be false.

Belongs here: what can be seen in a test's source. Does not belong here: behaviour of the product.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts)

_LITERALS = (ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Constant, ast.JoinedStr, ast.Lambda, ast.GeneratorExp)
_CONDITIONS = (ast.Compare, ast.BoolOp, ast.UnaryOp)
_ACTS = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)


def vacuous(source: str) -> Iterator[tuple[int, str]]:
    """Line and kind of each statement that looks like an assertion and cannot fail, or says something else than it
    looks like."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            told = node.msg.elts if isinstance(node.msg, ast.Tuple) else [node.msg]
            if any(isinstance(part, _CONDITIONS) for part in told):
                yield node.lineno, "the message of an assertion is a condition"
            yield from ((node.lineno, kind) for kind in _always(node.test))
        elif isinstance(node, ast.Expr) and not _is_docstring_or_ellipsis(node.value):
            if not any(isinstance(part, _ACTS) for part in ast.walk(node.value)) or isinstance(node.value, ast.Compare):
                yield node.lineno, "an expression by itself does nothing"


def _is_docstring_or_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (isinstance(node.value, str) or node.value is ...)


def _always(test: ast.expr) -> Iterator[str]:
    """Why a condition is always true, as far as can be seen."""
    if isinstance(test, _LITERALS):
        yield "a literal is asserted"
    elif isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        if any(isinstance(value, _LITERALS) for value in test.values):
            yield "one side of an `or` is a literal"
    elif isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _always(value)
    elif isinstance(test, ast.Compare):
        terms = [test.left, *test.comparators]
        for left, operator, right in zip(terms, test.ops, terms[1:], strict=False):
            if ast.dump(left) == ast.dump(right) and isinstance(operator, (ast.Eq, ast.Is, ast.LtE, ast.GtE)):
                yield "something is compared with itself"
            if isinstance(operator, ast.GtE) and isinstance(right, ast.Constant) and right.value == 0 and _is_len(left):
                yield "a length is never below 0"
    elif isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id in ("all", "any"):
        if test.args and isinstance(test.args[0], _LITERALS) and not isinstance(test.args[0], ast.GeneratorExp):
            yield f"{test.func.id}() of a literal"


def _is_len(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


@pytest.mark.parametrize(
    "statement",
    [
        "assert a, b == 1",
        "assert a, (b == 1, c)",
        "assert a, not b",
        "assert a, b and c",
        "assert (a, b)",
        "assert [a]",
        "assert True",
        "assert 'text'",
        "assert f'{a}'",
        "assert (x for x in a)",
        "assert a == a",
        "assert f(1) == f(1) == 2",
        "assert a and b.c == b.c",
        "assert a is a",
        "assert len(a) >= 0",
        "assert a == 1 or 2",
        "assert all([a])",
        "a == b",
        "f(a) == b",
        "a",
        "a.b",
        "a, b",
        "not a",
        "a and b",
    ],
)
def test_what_cannot_fail_is_found(statement: str) -> None:
    """Each kind of it."""
    assert [line for line, _ in vacuous(f"def test():\n    {statement}\n")] == [2]


@pytest.mark.parametrize(
    "statement",
    [
        "assert a == b, f'{a}'",
        "assert a, a.text",
        "assert a, (b, c)",
        "assert a, 'text ' + b",
        "assert a != a",
        "assert (a, b) == (1, 2)",
        "assert [x for x in a if x]",
        "assert all(x for x in a)",
        "assert len(a) >= 1",
        "assert a or b",
        "f(a)",
        "(yield)",
        "await a",
        "'a docstring'",
        "...",
    ],
)
def test_what_can_fail_is_left_alone(statement: str) -> None:
    """A list that a condition filters may be empty, and calls have effects."""
    assert list(vacuous(f"async def test():\n    {statement}\n")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_asserts_what_cannot_be_false(path: Path) -> None:
    """Of the whole folder of tests, helpers included."""
    assert [f"{path.name}:{line}: {kind}" for line, kind in vacuous(path.read_text("utf-8"))] == []
