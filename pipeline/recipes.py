"""Recipes: named choices, each a function whose docstring says what to expect, where and in
what time.
"""

from collections.abc import Callable
from dataclasses import replace

from pipeline.arguments import nearest
from pipeline.choices import OWN, Choices, Dataset, Gate
from trainer_module.errors import InputError
from trainer_module.settings import (
    SHORT_RUN,
    Augmentation,
    Encoder,
    Finetuning,
    Pretraining,
    Target,
)

# Minutes on a CPU: small batches for many steps, and what short runs want.
SHORT_PRETRAINING = Pretraining(batch_size=128, monitor_every_epochs=5, **SHORT_RUN)

# Views of grey cells without up or down: brightness and contrast differ from photograph to
# photograph.
CELLS = Augmentation(
    vertical_flip_probability=0.5,
    quarter_turn_probability=0.75,
    brightness=0.2,
    contrast=0.2,
    saturation=0.0,
    hue=0.0,
    colour_drop_probability=0.0,
)


def demo() -> Choices:
    """Generated patterns (8 classes), so that anyone can watch features being learned in minutes,
    without a download.

    python local_runner.py

    2 CPU cores: 2 to 7 minutes by what else the machine does; frozen linear accuracy 91 to 98 %
    (eleven runs), 18 to 21 % untrained; docs/results/demo_cpu.json is one of the
    quickest. Half the epochs are too few: six runs then gave anything from 64 to 91 %.
    """
    return Choices(
        name="demo",
        dataset=Dataset("shapes"),
        encoder=Encoder(width=0.25),
        # A pattern, not a colour, is the class: full hue rotation and much colour drop make colour
        # useless.
        augmentation=Augmentation(hue=0.5, colour_drop_probability=0.8),
        pretraining=replace(SHORT_PRETRAINING, epochs=10),
        gate=Gate(min_metric=0.6),
    )


def cifar10_small() -> Choices:
    """10,000 training and 2,000 test images of CIFAR-10, quarter-width ResNet-18: real images on a
    laptop.

    python local_runner.py --recipe cifar10_small --source PATH_OF_CIFAR10

    2 CPU cores with AVX2, evaluation at six epochs included: 16 min beside other work; frozen
    linear accuracy 58.4 % (56.2 to 60.5), 34.2 % untrained: docs/results/cifar10_small_cpu.json.
    With AVX-512 and bfloat16 it took 9 min 16 s.
    """
    return Choices(
        name="cifar10_small",
        dataset=Dataset("cifar10", options={"train_images": 10_000, "eval_images": 2_000}),
        encoder=Encoder(width=0.25),
        view_size=(
            24,
            24,
        ),  # 0.56 of the work of 32 x 32 a step, so more epochs in the same minutes
        pretraining=replace(SHORT_PRETRAINING, epochs=30, monitor_every_epochs=10),
        gate=Gate(min_metric=0.4),
    )


def cifar10_cpu() -> Choices:
    """All 50,000 training and 10,000 test images of CIFAR-10 on two CPU cores: a quarter of the
    width, views of 24 pixels.

    python local_runner.py --recipe cifar10_cpu --source PATH_OF_CIFAR10

    2 CPU cores with AVX-512 and bfloat16: 104 min beside other work, of which 95 pretraining;
    frozen linear accuracy 80.0 % (79.2 to 80.8), 10 nearest neighbours 76.9 %. The run itself took
    the means of 2 x 2 cells: 79.0 %, 39.2 % untrained, and after 10, 30, 50, 70 epochs 70.2, 74.2,
    76.2, 77.8 %: docs/results/cifar10_cpu.json.
    """
    return Choices(
        name="cifar10_cpu",
        dataset=Dataset("cifar10"),
        encoder=Encoder(width=0.25, grid=3),
        view_size=(24, 24),  # of a crop, on average 0.77 of a side: things have their usual size
        pretraining=replace(SHORT_PRETRAINING, epochs=90, monitor_every_epochs=10),
        eval_epochs=(10, 30, 50, 70, 90),
        gate=Gate(min_metric=0.6),
    )


def cifar10() -> Choices:
    """All of CIFAR-10 with the best published two-view recipe (dkobak/simclr-cifar10: 91.9 % linear
    at 1000 epochs on an A100).

    python local_runner.py --recipe cifar10 --source PATH_OF_CIFAR10

    Not run yet: it wants a GPU, and the accuracy named above is the publication's.
    """
    return Choices(
        name="cifar10",
        dataset=Dataset("cifar10"),
        pretraining=Pretraining(epochs=1000, monitor_every_epochs=50),
        gate=Gate(min_metric=0.8),
    )


def shapes_segmentation() -> Choices:
    """Generated scenes of three patterned regions (8 classes and a background): a decoder on a
    frozen encoder tells every pixel's class.

    python local_runner.py --recipe shapes_segmentation

    2 CPU cores with bfloat16: 4 min 49 s; mean IoU 33.4 %, 20.7 % with the same decoder on the
    untrained encoder (one run, before the encoder padded as PyTorch does). See
    docs/segmentation.md.
    """
    return Choices(
        name="shapes",
        task="segmentation",
        target=Target(num_classes=9),
        dataset=Dataset(
            "shapes",
            options={"train_images": 3000, "eval_images": 500, "image_size": 64, "regions": 3},
        ),
        image_size=(64, 64),
        view_size=(64, 64),
        encoder=Encoder(
            width=0.25, stem="imagenet"
        ),  # a sixteenth of the small stem's work; the decoder brings the resolution back
        augmentation=Augmentation(
            crop_area=(0.4, 1.0), hue=0.5, colour_drop_probability=0.8
        ),  # smaller crops share no region
        pretraining=replace(SHORT_PRETRAINING, epochs=40, monitor_every_epochs=40),
        finetuning=Finetuning(epochs=15, batch_size=32, learning_rate=1e-2),
        gate=Gate(min_metric=0.2),
    )


def camvid() -> Choices:
    """CamVid, 367 street scenes with label maps of 11 classes, at 144 x 192 pixels: encoder and
    decoder learn together.

    python local_runner.py --recipe camvid --source PATH_OF_CAMVID

    2 CPU cores: 12 minutes; mean IoU 55.8 % on the validation list, 38.1 % on the test list; 55.6 %
    on the former without pretraining (one run). See docs/segmentation.md.
    """
    return Choices(
        name="camvid",
        task="segmentation",
        target=Target(num_classes=11),
        dataset=Dataset("camvid"),
        image_size=(144, 192),
        view_size=(96, 128),
        encoder=Encoder(width=0.25),
        augmentation=Augmentation(
            crop_area=(0.3, 1.0)
        ),  # smaller crops of one scene show different things
        # Batches of 32 give NT-Xent few negatives; without the positive pair in the denominator
        # (DCL) it minds less.
        pretraining=replace(
            SHORT_PRETRAINING, epochs=30, batch_size=32, loss="dcl", monitor_every_epochs=30
        ),
        finetuning=Finetuning(
            epochs=40, batch_size=8, freeze=False, learning_rate=2e-3, weight_decay=1e-4
        ),
        gate=Gate(min_metric=0.3),
    )


def cifar10_original() -> Choices:
    r"""CIFAR-10 with the values of the original program's command line.

    `--cifar10=True` means this recipe.

    python local_runner.py --recipe cifar10_original --task=pretrain \
        --pretrain_save_path=logs/pretrain
    python local_runner.py --recipe cifar10_original --pretrain_save_path=logs/pretrain \
        --eval_epochs=200,400,600,800,1000

    Not run at full length: it wants a GPU. The original's table, linear head of 10 epochs: 85.4,
    88.3, 89.5, 89.5 and 89.9 % after 200, 400, 600, 800 and 1000 epochs. A learning rate of 1.0 is
    one for LARS, as in the CIFAR-10 command of google-research/simclr.
    """
    return Choices(
        name="cifar10_original",
        dataset=Dataset("cifar10"),
        augmentation=Augmentation(crop_area=(0.08, 1.0), colour_drop_probability=0.2),
        pretraining=Pretraining(
            epochs=1000,
            batch_size=256,
            temperature=0.1,
            optimizer="lars",
            learning_rate=1.0,
            weight_decay=1e-4,
            warmup_epochs=10.0,
            monitor_every_epochs=50,
        ),
        eval_epochs=(200, 400, 600, 800, 1000),
        gate=Gate(min_metric=0.8),
    )


def elpv() -> Choices:
    """Functional and defective solar cells, 1,968 for training and 656 for testing (`python -m pip
    install elpv-dataset`, non-commercial).

    python local_runner.py --recipe elpv

    A crack is thin and dark and may lie anywhere, so views are large parts of a cell, turned and
    mirrored, never tinted. After pretraining the whole network learns from the labels;
    `linear_accuracy` is that of a linear head before that, on the frozen encoder. Two cells of
    three are functional: always answering so scores 68.75 %. Published (Deitsch et al. 2019, their
    own split): CNN 88.4 %, SVM 82.4 %.

    2 CPU cores with bfloat16: 10 min 50 s; fine-tuned 84.6 %, frozen linear 81.3 %, 76.2 %
    untrained (one run, before the encoder padded as PyTorch does). See docs/results/elpv_cpu.json.
    """
    return Choices(
        name="elpv",
        dataset=Dataset("elpv"),
        encoder=Encoder(width=0.25),
        image_size=(128, 128),
        view_size=(96, 96),  # 0.56 of the work a step
        augmentation=replace(CELLS, crop_area=(0.4, 1.0), brightness=0.4, contrast=0.4),
        pretraining=replace(SHORT_PRETRAINING, epochs=60, monitor_every_epochs=20),
        finetuning=Finetuning(
            epochs=60,
            batch_size=32,
            freeze=False,
            weight_decay=1e-2,
            views=replace(CELLS, crop_area=(0.7, 1.0)),
        ),
        gate=Gate(min_metric=0.75),
    )


def utkface() -> Choices:
    """Gender from UTKFace's aligned and cropped faces, features learned without labels.

    python local_runner.py --recipe utkface --source FOLDER_OF_FACES

    For race, age group or age (--task=regression) write the lists with `python -m pipeline.datasets
    utkface --target race` and name them. In aligned faces eyes and mouths lie where they lie in all
    others, and a mean over the whole face forgets where; so features are the means of 3 x 3 cells.

    2 CPU cores with AVX-512 and bfloat16: 101 min beside much other work; frozen linear accuracy
    of 6 x 6 cells 87.2 % (86.2 to 88.1), 82.4 % untrained, 87.1 % of 3 x 3 cells of the same
    encoder: docs/results/utkface_cpu.json. Of 16 x 16 pixels alone: 87.1 % (docs/faces.md).
    """
    return Choices(
        name="utkface",
        dataset=Dataset("utkface", options={"target": "gender", "on_bad_row": "skip"}),
        image_size=(48, 48),
        view_size=(32, 32),  # with the small stem, a quarter of the work of 64 x 64 a step
        encoder=Encoder(width=0.25, grid=3),
        pretraining=replace(SHORT_PRETRAINING, epochs=30, monitor_every_epochs=10),
        eval_epochs=(10, 20, 30),
        gate=Gate(min_metric=0.6),
    )


def own() -> Choices:
    """The user's own list files or folder: what nobody names follows from the images and the
    machine (pipeline/data_defaults.py, docs/own-images.md), the model must beat chance.
    """
    return Choices(
        name=OWN,
        pretraining=Pretraining(epochs=100, batch_size=256),
        finetuning=Finetuning(),
        fit_to_data=True,
    )


RECIPES: dict[str, Callable[[], Choices]] = {
    recipe.__name__: recipe
    for recipe in (
        demo,
        cifar10_small,
        cifar10_cpu,
        cifar10,
        cifar10_original,
        elpv,
        utkface,
        shapes_segmentation,
        camvid,
        own,
    )
}


def recipe_named(name: str) -> Choices:
    """Returns the recipe of that name.

    Raises:
      InputError: if there is none; the message names the nearest.
    """
    if name not in RECIPES:
        there = f"There are: {', '.join(sorted(RECIPES))}"
        hint = nearest(name, RECIPES, "")
        raise InputError(f"No recipe {name!r}. {hint and f'{hint} '}{there}")
    return replace(RECIPES[name](), recipe=name)
