"""What an encoder is called wherever a person reads of it. Standard library alone."""

from trainer_module.settings import Encoder


def encoder_name(encoder: Encoder) -> str:
    """Returns 'a ResNet-18 of width 1'; of a network of one's own 'an encoder of my.module.build':
    what depth and width mean there, its builder alone knows.
    """
    if encoder.builder != Encoder().builder:
        return f"an encoder of {encoder.builder}"
    return f"a ResNet-{encoder.depth} of width {encoder.width:g}"
