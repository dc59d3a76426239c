"""The first of our lines that `python -m pipeline.TOOL` runs: from here on a stop is a line."""

from pipeline.loading import end_at_once_on_signals, starts_a_tool

if starts_a_tool():
    end_at_once_on_signals()
