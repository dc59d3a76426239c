"""The one error for what a person gave us and can mend: a flag, a list, an image, a setting; the
runner turns it into exit code 2. And the one of a training that came to nothing.

Standard library alone.
"""

from typing import Any


class InputError(ValueError):
    """The input breaks a rule; the message names where, which, what was received, and the fix.

    Attributes:
      findings: all that was noticed about the data, where that is the reason
        (trainer_module/findings.py).
    """

    findings: tuple = ()

    def __str__(self):
        """Returns the message, in which names and labels may have any characters."""
        return visible(super().__str__())


class TrainingDivergedError(RuntimeError):
    """The loss, or a weight, is no longer a number."""


def visible(text: str, kept: str = "\n") -> str:
    """Returns a text with escapes for what no terminal shows, or what would steer it, but for what
    is `kept`: two labels that differ in such a character alone look the same otherwise, and a name
    that holds a line break looks like two.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in kept else one.encode("unicode_escape").decode()
        for one in text
    )


def require(condition: bool, rule: str, **received: Any) -> None:
    """Raises an InputError that states `rule` and the values received, unless `condition` holds."""
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise InputError(f"{rule}. Received: {values}")
