"""Every state that a crash may leave of one export, enumerated from the trace of its calls.

Belongs here: a model of a file system with what is durable and what is not yet, and the checks of each state. Does
not belong here: faults of a running process (`points.py`).

After each call of the trace the machine may stop. Three models say what is then on disk:

- `killed`: only the process ended; everything that it did is there.
- `data lost`: names are there, but the content of a file that was not synced is gone, half there, or zeros; of all
  such files at once, and of each alone.
- `strict`: as POSIX promises. A name made, moved or removed in a folder is durable only when that folder was synced
  after it: none of those changes, all, each alone, all but each one, the first so many, and all or none of each
  folder; each with the content of unsynced files there and lost. An exchange of two names is one step, as in every
  file system with a journal that offers it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from landscape_assets.verify import Status, verify_package

from .points import NO_ENTRY, Bench, Tree, digest, log_faults
from .process import KEY
from .shim import Call

Change = tuple[int, str, int | None]
"""In a folder, a name now leads to this node, or to none."""

Names = dict[int, dict[str, int]]
Content = Callable[[int], bytes]

_ROOT = 0
_PASSING = "%storage."
"""So begin the names of storage folders that are only there for one export; their content is all there or not at
all.
"""


class Disk:
    """The watched folder: as the process sees it, and what of it is durable.

    Args:
        start: what is there, all of it durable.
    """

    def __init__(self, start: Tree) -> None:
        self.names: Names = {_ROOT: {}}
        self.data: dict[int, bytearray] = {}
        self.synced: dict[int, bytes] = {}
        self._read: dict[int, bytes] = {}
        self.pending: list[tuple[Change, ...]] = []
        self.passing: set[int] = set()
        self._next = 1
        for path, data in start.items():
            node = self._new(is_folder=data is None)
            if data is not None:
                self.data[node] += data
                self.synced[node] = data
            folder, name = self._place(path)
            self.names[folder][name] = node
        self.durable: Names = {folder: dict(names) for folder, names in self.names.items()}

    def _new(self, *, is_folder: bool) -> int:
        node, self._next = self._next, self._next + 1
        if is_folder:
            self.names[node] = {}
        else:
            self.data[node] = bytearray()
            self.synced[node] = b""
        return node

    def _place(self, path: str) -> tuple[int, str]:
        *folders, name = path.split("/")
        node = _ROOT
        for folder in folders:
            node = self.names[node][folder]
        return node, name

    def _node(self, path: str) -> int:
        if not path:
            return _ROOT
        folder, name = self._place(path)
        return self.names[folder][name]

    def _change(self, *changes: Change) -> None:
        for folder, name, node in changes:
            if node is None:
                self.names[folder].pop(name, None)
            else:
                self.names[folder][name] = node
        self.pending.append(changes)

    def apply(self, call: Call, path: str, second: str) -> bool:
        """Does what a call did; whether it changed names, or what is durable of them or of a file."""
        if call.name == "write":
            node = self._node(path)
            self.data[node][call.offset : call.offset + len(call.data)] = call.data
            self._read.pop(node, None)
            return False
        if call.name == "sync":
            node = self._node(path)
            if node in self.data:
                self.synced[node] = self._current(node)
            else:
                self._sync_folder(node)
            return True
        if call.name in ("create", "mkdir"):
            folder, name = self._place(path)
            if name in self.names[folder]:
                return False
            node = self._new(is_folder=call.name == "mkdir")
            if folder in self.passing or name.startswith(_PASSING):
                self.passing.add(node)
            self._change((folder, name, node))
        elif call.name in ("unlink", "rmdir"):
            self._change((*self._place(path), None))
        elif call.name == "rename":
            node, before, after = self._node(path), self._place(path), self._place(second)
            if before[0] == after[0]:
                self._change((*before, None), (*after, node))
            else:
                self._change((*after, node))
                self._change((*before, None))
        elif call.name == "exchange":
            self._change((*self._place(path), self._node(second)), (*self._place(second), self._node(path)))
        else:
            return False
        return True

    def _sync_folder(self, node: int) -> None:
        left = []
        for changes in self.pending:
            if any(folder == node for folder, _, _ in changes):
                _apply(self.durable, changes)
            else:
                left.append(changes)
        self.pending = left

    def states(self, is_whole: bool) -> Iterator[tuple[str, Tree]]:
        """What a crash now may leave, by model.

        Args:
            is_whole: with every variant of names; else only with all changes of them and with none.
        """
        yield "killed", self._tree(self.names, self._current)
        unsynced = [node for node, data in self.data.items() if data != self.synced[node]]
        for content in (self._lost, self._half, self._zeros):
            yield "data lost", self._tree(self.names, content)
        for one in unsynced if is_whole else ():
            yield (
                "data lost",
                self._tree(self.names, lambda node, one=one: (self._lost if node == one else self._current)(node)),
            )
        for kept in self._subsets(is_whole):
            names = {folder: dict(found) for folder, found in self.durable.items()}
            for i in kept:
                _apply(names, self.pending[i])
            for content in (self._current, self._lost):
                yield "strict", self._tree(names, content)

    def _subsets(self, is_whole: bool) -> Iterator[list[int]]:
        everything = list(range(len(self.pending)))
        yield []
        yield everything
        if not is_whole:
            return
        passing = [i for i in everything if all(folder in self.passing for folder, _, _ in self.pending[i])]
        others = [i for i in everything if i not in passing]
        for i in others:
            yield [i]
            yield [*passing, i]
            yield [j for j in everything if j != i]
            yield [j for j in others if j != i]
            yield [j for j in everything if j <= i]
        for folder in {folder for i in others for folder, _, _ in self.pending[i]}:
            mine = [i for i in others if any(one == folder for one, _, _ in self.pending[i])]
            yield mine
            yield [i for i in everything if i not in mine]

    def _current(self, node: int) -> bytes:
        """The same object as long as nothing is written: thousands of states have it, and it is hashed once."""
        if node not in self._read:
            self._read[node] = bytes(self.data[node])
        return self._read[node]

    def _lost(self, node: int) -> bytes:
        return self.synced[node]

    def _half(self, node: int) -> bytes:
        data = self._current(node)
        return data if data == self.synced[node] else data[: len(data) // 2]

    def _zeros(self, node: int) -> bytes:
        data = self._current(node)
        return data if data == self.synced[node] else bytes(len(data))

    def _tree(self, names: Names, content: Content) -> Tree:
        found: Tree = {}

        def walk(folder: int, above: str) -> None:
            for name, node in names.get(folder, {}).items():
                path = above + name
                if node in self.data:
                    found[path] = content(node)
                else:
                    found[path] = None
                    walk(node, path + "/")

        walk(_ROOT, "")
        return found


def _apply(names: Names, changes: tuple[Change, ...]) -> None:
    for folder, name, node in changes:
        if node is None:
            names.setdefault(folder, {}).pop(name, None)
        else:
            names.setdefault(folder, {})[name] = node


class Crashes:
    """Goes through the states of one export.

    Args:
        bench: the export; prepared.
        start: what was there before it.
    """

    def __init__(self, bench: Bench, start: Tree) -> None:
        self._bench, self._start = bench, start
        scenario = bench.scenario
        self._package = str(scenario.package.relative_to(scenario.watched))
        self.calls = 0
        self.by_model: Counter[str] = Counter()
        self.distinct: dict[str, Tree] = {}
        self.visible = 0
        self._verdicts: dict[str, str] = {}
        self._logs: dict[str, str] = {}

    def problems(self, spread: int) -> list[str]:
        """What does not hold in some state: nothing, as it should be.

        Args:
            spread: look only after each so many-th call, around the moment of publication, and while it is logged.
        """
        disk, watched = Disk(self._start), str(self._bench.scenario.watched)
        found = self._of_states(disk, "before the first call", True)
        for number, call in enumerate(self._bench.calls, 1):
            if call.name == "read":
                continue
            self.calls += 1
            path = call.path.removeprefix(watched).removeprefix("/")
            second = call.second.removeprefix(watched).removeprefix("/")
            is_whole = disk.apply(call, path, second)
            names = {Path(path).name, Path(second).name}
            moment = call.name in ("rename", "exchange", "sync") and names & set(Path(self._package).parts)
            if number % spread == 0 or moment or "/.log" in call.path:
                found += self._of_states(disk, f"after call {number}, {call.name} {path}", is_whole)
        for model, state in disk.states(True):
            if self._part(state, self._package) != self._bench.published:
                found.append(f"{model}: after the export has said that it published, the package may be lost")
        return list(dict.fromkeys(found))

    def _of_states(self, disk: Disk, when: str, is_whole: bool) -> list[str]:
        found = []
        for model, state in disk.states(is_whole):
            self.by_model[model] += 1
            key = digest(state)
            if key in self.distinct:
                continue
            self.distinct[key] = state
            if problem := self._of_state(state):
                found.append(f"{model}: {problem} ({when})")
        return found

    def _of_state(self, state: Tree) -> str:
        before = self._bench.before
        if before is not None and before not in (
            self._part(state, self._package),
            *(self._part(state, path) for path in state if ".superseded/" in path and path.count("/") == 3),
        ):
            return "the package that was there before is nowhere"
        if problem := self._of_log(state):
            return problem
        if self._package not in state:
            return "" if before is None else "there is no package where one was"
        self.visible += 1
        part = self._part(state, self._package)
        key = digest(part)
        if key not in self._verdicts:
            self._verdicts[key] = self._verdict(part)
        return self._verdicts[key]

    def _of_log(self, state: Tree) -> str:
        """What is wrong with the log, of the folder as far as the log speaks of it; nothing where there is none."""
        above = f"{Path(self._package).parent}/"
        some = {
            path.removeprefix(above): data
            for path, data in state.items()
            if path.startswith(above) and (data is None or "/.log/" in path or path.endswith("/manifest.json"))
            if "/.staging" not in path
        }
        if ".log/checkpoint" not in some:
            return ""
        key = digest(some)
        if key not in self._logs:
            folder = self._bench.scenario.folder / "log-state"
            write(folder, some)
            codes = log_faults(folder, self._bench.scenario.public_key) - {NO_ENTRY}
            self._logs[key] = f"the log has the findings {', '.join(sorted(codes))}" if codes else ""
        return self._logs[key]

    def _verdict(self, part: Tree) -> str:
        scenario = self._bench.scenario
        folder = scenario.folder / "state" / scenario.package.name
        write(folder, part)
        report = verify_package(
            folder, key=KEY.encode(), public_key=scenario.public_key, run_id=scenario.run_id, processes=1
        )
        if report.status is not Status.VERIFIED:
            return f"the package has the verdict {int(report.status)}"
        return "" if part in (self._bench.published, self._bench.before) else "the package is another"

    @staticmethod
    def _part(state: Tree, folder: str) -> Tree:
        return {path.removeprefix(folder + "/"): data for path, data in state.items() if path.startswith(folder + "/")}

    @property
    def logs(self) -> int:
        """How many different logs were to be seen, and verified."""
        return len(self._logs)

    @property
    def packages(self) -> int:
        """How many different packages were to be seen, and verified."""
        return len(self._verdicts)

    def rerun_problems(self, every: int) -> tuple[int, list[str]]:
        """What is wrong after the same export was run again in some of the states; and in how many."""
        chosen = list(self.distinct.values())[::every]
        found = []
        for state in chosen:
            write(self._bench.scenario.watched, state)
            found += self._bench.of_rerun()
        return len(chosen), list(dict.fromkeys(found))


def write(folder: Path, state: Tree) -> None:
    """A tree on disk, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, data in state.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
