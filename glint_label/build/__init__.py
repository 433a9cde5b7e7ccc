"""The build: `pipeline` lists the stages in order, and there is a file for each.

`build(BuildConfig(...))` does all of it; `make_plan` checks and writes nothing.
"""
