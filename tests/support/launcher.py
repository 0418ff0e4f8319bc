"""A run launcher for tests: Dagster runs in threads of this process.

Belongs here: launching without the seconds that a process of its own takes to start. What a deployment does is seen in
`tests/browser` and, with BACKFILL_RUNS set, in `tests/orchestration/test_backfill.py`.
"""

from concurrent.futures import Future, ThreadPoolExecutor

from dagster._core.execution.api import execute_run
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._utils.hosted_user_process import recon_job_from_origin


class ThreadLauncher(SyncInMemoryRunLauncher):
    """Launches each Dagster run in a thread, as many at a time as it is asked to."""

    def __init__(self, inst_data=None) -> None:
        super().__init__(inst_data)
        self._threads = ThreadPoolExecutor(16, "dagster-run")
        self._launched: list[Future] = []

    def launch_run(self, context: LaunchRunContext) -> None:
        job = recon_job_from_origin(context.job_code_origin)
        self._launched.append(self._threads.submit(execute_run, job, context.dagster_run, self._instance))

    def join(self, timeout: int = 60) -> None:
        for launched in self._launched:
            launched.result(timeout)
