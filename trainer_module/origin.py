"""Where the encoder that is judged comes from, in words for a person: what is measured against
random weights is the merit of all that made it, which need not be this run's pretraining.

Standard library alone.
"""

from trainer_module.findings import counted

PRETRAINING = "pretraining"  # of this run, begun with random weights
BROUGHT = "the encoder that was brought"  # as a file of weights has it, not pretrained further
SAVED = "the saved encoder"  # of a folder that an earlier run left


def brought_and(epochs: int) -> str:
    """Returns the words for pretraining that began with a file of weights."""
    return f"the brought weights and {counted(epochs, 'epoch')}"


def pretrains(of: str) -> bool:
    """Returns whether an encoder of these words was pretrained in its run."""
    return of not in (BROUGHT, SAVED)


def is_brought(of: str) -> bool:
    """Returns whether its architecture came with a file or a folder."""
    return of != PRETRAINING
