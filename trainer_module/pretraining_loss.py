"""Which loss pretraining minimises: one of ours by name, or anyone's by dotted path."""

from collections.abc import Callable
from functools import partial

from trainer_module import dotted
from trainer_module.loss import nt_xent
from trainer_module.settings import Pretraining
from trainer_module.vicreg import vicreg

BY_NAME: dict[str, Callable[[Pretraining], Callable]] = {
    "nt_xent": lambda settings: partial(nt_xent, temperature=settings.temperature),
    "dcl": lambda settings: partial(nt_xent, temperature=settings.temperature, decoupled=True),
    "vicreg": lambda _: vicreg,
}


def pretraining_loss(settings: Pretraining) -> Callable:
    """Returns the loss that `settings.loss` names, a function of the embeddings of first and second
    views, [B, P] each.
    """
    if settings.loss in BY_NAME:
        return BY_NAME[settings.loss](settings)
    return dotted.function(settings.loss)
