"""What a row whose image or label map cannot be read does: it ends the run, or it is left out, and
told.

Standard library alone.
"""

ON_BAD_ROW = ("fail", "skip")
