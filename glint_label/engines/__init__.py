"""Where work runs: a task, its items, worker processes, one progress bar."""

from glint_label.engines.local import available_cores, run_tasks, workers_start

__all__ = ["available_cores", "run_tasks", "workers_start"]
