"""Where work runs: a task, its items, workers on this machine or of a Ray cluster, one progress bar.

A worker that dies or hangs costs the item it was at, which is tried once more alone; the others go on.
"""

from glint_label.engines.local import available_cores, workers_start
from glint_label.engines.run import on_ray, run_tasks
from glint_label.engines.schedule import Loss

__all__ = ["Loss", "available_cores", "on_ray", "run_tasks", "workers_start"]
