"""Dagster's webserver, asked by GraphQL as its UI asks it, and a port for it.

Belongs here: one question. Does not belong here: starting the webserver (`deployment.py`, `../deploy/`).
"""

import json
import socket
import urllib.error
import urllib.request
from typing import Any


def free_port() -> int:
    """A port on 127.0.0.1 that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """The answer to a GraphQL query; an error in it is raised.

    Args:
        url: where the UI is.
        query: the query.
        variables: those of the query.
    """
    request = urllib.request.Request(
        f"{url}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as error:
        document = json.load(error)
    if document.get("errors"):
        raise AssertionError(document["errors"][0]["message"])
    return document["data"]
