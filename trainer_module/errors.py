"""The one error for what a person gave us and can mend: a flag, a list, an image.

The runner turns it into exit code 2.
"""


class InputError(ValueError):
    """The input breaks a rule; the message names where, which, what was received, and the fix."""
