"""Where shards run."""

from glint_label.engines.local import run_local

__all__ = ["run_local"]
