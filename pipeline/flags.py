"""The flags of `python local_runner.py`, and which settings they name.

Flags of the original SimCLR program keep their names and meaning. Nothing heavy is imported here,
so that `--help` and a mistyped flag answer at once.
"""

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from components.file_list_example_gen.rows import ON_BAD_ROW
from components.metadata.url import FORM, parse_mysql, without_password
from pipeline.arguments import at_home, known_word, nearest, one_of, path_of, refuse_empty
from pipeline.choices import IMAGES_FOLDER, OWN, Choices, refuse_beside_from_scratch
from pipeline.engines.engine import IN_PROCESS, RUNNERS, refuse_by_name
from pipeline.precedence import Layer, stacked
from pipeline.recipes import RECIPES, recipe_named
from pipeline.setting_types import BOOLEANS, KINDS, LISTS, from_text, kind_of
from trainer_module.errors import InputError
from trainer_module.settings import DEPTHS, HEADS, MOST_JITTER
from trainer_module.tasks.registry import TASKS

DESCRIPTION = "Runs the pipeline on this machine; `python local_runner.py` alone runs the demo."
PRECEDENCE = """\
what wins, if several say something about one setting:
  flags and --set, over the file of --config, over the recipe. A flag and --set that name one
  setting with two values are refused; a flag that sets several at once (--strength, --seed,
  --input_size) gives way to --set of one of them. docs/settings.md has examples.
"""
# flag -> the one setting that it names, in the order in which later ones win
DIRECT = {
    "recipe": "recipe",
    "task": "task",
    "train_file_path": "lists.train",
    "val_file_path": "lists.eval",
    "pretrain_file_path": "lists.pretrain",
    "source": "dataset.source",
    "images": "dataset.source",
    "input_size": "image_size",
    "crop_size": "view_size",
    "num_classes": "target.num_classes",
    "on_bad_row": "on_bad_row",
    "depth": "encoder.depth",
    "width": "encoder.width",
    "head": "finetuning.head",
    "freeze": "finetuning.freeze",
    "label_fraction": "finetuning.label_fraction",
    "num_epochs": "TRAINING.epochs",
    "batch_size": "TRAINING.batch_size",
    "learning_rate": "TRAINING.learning_rate",
    "pretrain_epochs": "pretraining.epochs",
    "minutes": "pretraining.minutes",
    "temperature": "pretraining.temperature",
    "eval_epochs": "eval_epochs",
    "from_scratch": "from_scratch",
    "encoder_weights": "weights.file",
    "pretrain_save_path": "save_paths.pretrain",
    "finetune_save_path": "save_paths.finetune",
    "pipeline_root": "pipeline_root",
    "metadata": "metadata",
}
# Flags that say where a run goes on, not what it does.
OF_THE_PLACE = ("resume", "pipeline_root", "metadata", "beam_runner")
JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}  # SimCLR, appendix A


class Parser(argparse.ArgumentParser):
    """argparse that names the nearest flag for an unknown one, and takes no empty value."""

    def __init__(self, **options):
        super().__init__(**options)
        refuse_empty(self)

    def parse_args(self, args=None, namespace=None):
        """Parses; an unknown flag ends with exit code 2 and a suggestion."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].split("=")[0]
            if not flag.startswith("-"):
                self.error(f"{flag!r} stands without a flag. Fix: {_with_flag(unknown[0], args)}")
            known = [name for action in self._actions for name in action.option_strings]
            self.error(f"No flag {flag!r}. {nearest(flag, known, 'See --help.')}")
        for name, value in vars(parsed).items():  # argparse makes a list of `--seed=--`
            if value == [] and self.get_default(name) != []:
                self.error(f"argument --{name}: must have a value. Received: '--'")
        return parsed


def _with_flag(word: str, args: Sequence[str] | None) -> str:
    """Returns how a word that stands alone was meant: as the rest of a value that has no quotes,
    where numbers stand before it, or as images.
    """
    given = list(sys.argv[1:] if args is None else args)
    place = len(given) - 1 - given[::-1].index(word)
    before = " ".join(given[max(0, place - 2) : place]).replace("=", " ")
    flag, _, value = before.rpartition(" ")
    flag = flag.rpartition(" ")[2]
    if word.isdecimal() and value.isdecimal() and flag.startswith("--"):
        return f'{flag}="{value} {word}"'
    return f"--train_file_path={word} for a list, --images={word} for a folder of images"


def _number(text: str) -> float:
    return _read(float, text, "a number")


def _whole_number(text: str) -> int:
    return _read(int, text, "a whole number")


def _read(kind: type, text: str, what: str):
    try:
        return kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {what}. Received: {text!r}") from error


def _boolean(text: str) -> bool:
    return BOOLEANS[known_word(BOOLEANS, text.lower())]


def _runner(text: str) -> str:
    try:
        refuse_by_name(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return known_word(RUNNERS, text)


def build_parser() -> Parser:
    """Returns the command line."""
    parser = _run_and_image_flags()
    _add_training_flags(parser.add_argument_group("model and training"))
    return parser


def _run_and_image_flags() -> Parser:
    usage = "python local_runner.py [--recipe NAME] [flags]"
    parser = Parser(
        prog="local_runner.py",
        usage=usage,
        description=DESCRIPTION,
        epilog=PRECEDENCE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run = parser.add_argument_group("what to run")
    run.add_argument(
        "--recipe",
        help=f"named configuration: {', '.join(sorted(RECIPES))}; default: demo, or own with lists "
        f"of your own",
    )
    run.add_argument("--config", metavar="FILE", help="settings, as --print_config writes them")
    run.add_argument(
        "--print_config", action="store_true", help="print all settings as a file; run nothing"
    )
    run.add_argument("--task", **one_of(TASKS), help="default: classification")
    run.add_argument("--resume", action="store_true", help="continue the interrupted run")
    run.add_argument(
        "--from_scratch",
        nargs="?",
        const=True,
        type=_boolean,
        help="no pretraining: the task learns the whole network",
    )
    run.add_argument(
        "--pretrain_save_path",
        help="folder: pretraining leaves its encoder there, any other task takes it from there",
    )
    run.add_argument("--finetune_save_path", help="folder for the final model")
    run.add_argument(
        "--pipeline_root",
        type=path_of,
        help="folder of artifacts, metadata, pushed models; default: runs/NAME",
    )
    run.add_argument(
        "--metadata",
        metavar=FORM,
        help="keep ML Metadata on a MySQL server, not in the pipeline root",
    )
    run.add_argument(
        "--beam_runner",
        type=_runner,
        metavar="NAME",
        help=f"what the data nodes run on: {', '.join(RUNNERS)} (docs/scale.md); default: "
        f"{IN_PROCESS}, of a run that is continued what it was on",
    )
    data = parser.add_argument_group("images")
    data.add_argument(
        "--images",
        metavar="DIR",
        help="instead of lists: a folder with one folder a class, or train/ and val/ of these; "
        "with --task=pretrain all images below it",
    )
    data.add_argument("--train_file_path", help="list file, one `path,target` (or `path`) a line")
    data.add_argument(
        "--val_file_path", help="list file; without it 20 %% of the training list are held out"
    )
    data.add_argument(
        "--pretrain_file_path", help="list file, one `path` a line; default: the training images"
    )
    data.add_argument(
        "--cifar10",
        nargs="?",
        const=True,
        default=False,
        type=_boolean,
        help="the recipe cifar10_original",
    )
    data.add_argument("--source", help="archive or folder that a recipe's data set is read from")
    data.add_argument("--input_size", metavar='"H W"', help='pixels, as in "240 240"')
    data.add_argument(
        "--crop_size",
        metavar='"H W"',
        help="pixels of the views in pretraining, at most the input size; default: that, or of "
        "lists of your own three quarters of it on a CPU",
    )
    data.add_argument(
        "--num_classes",
        type=_whole_number,
        help="default: counted in the training list, where that is possible",
    )
    data.add_argument(
        "--on_bad_row",
        **one_of(ON_BAD_ROW),
        help="skip undecodable images instead of stopping",
    )
    data.add_argument(
        "--recheck",
        action="store_true",
        help="look at the content of all images for changes, not at sizes and times alone",
    )
    return parser


def _add_training_flags(model) -> None:
    model.add_argument("--depth", **one_of([str(depth) for depth in DEPTHS]), help="of the ResNet")
    model.add_argument("--width", type=_number, help="multiplies the channels")
    model.add_argument("--head", **one_of(HEADS))
    model.add_argument(
        "--freeze", nargs="?", const=True, type=_boolean, help="train the head alone"
    )
    model.add_argument("--batch_size", type=_whole_number, help="images, of the task's training")
    model.add_argument(
        "--num_epochs",
        type=_whole_number,
        help="of the task's training: pretraining with --task=pretrain, else fine-tuning",
    )
    model.add_argument(
        "--pretrain_epochs",
        type=_whole_number,
        help="of pretraining, whatever the task; 0 with --encoder_weights: none",
    )
    model.add_argument(
        "--encoder_weights",
        metavar="FILE",
        help="ResNet of torchvision, timm or lightly that pretraining begins with: safetensors, or "
        ".pth, .pt, .ckpt where PyTorch is installed",
    )
    model.add_argument(
        "--minutes",
        type=_number,
        metavar="N",
        help="of pretraining on this machine: as many epochs as fit, instead of a number of them",
    )
    model.add_argument("--learning_rate", type=_number, help="of the task's training")
    model.add_argument("--temperature", type=_number, help="of the contrastive loss")
    model.add_argument(
        "--strength", type=_number, help="of the colour jitter; 1.0 is SimCLR's for ImageNet"
    )
    model.add_argument(
        "--eval_epochs",
        metavar="E,E,...",
        help="epochs of pretraining after which the frozen features are evaluated",
    )
    model.add_argument(
        "--label_fraction",
        type=_number,
        help="share of the labels that fine-tuning may use, in (0, 1]",
    )
    model.add_argument("--seed", type=_whole_number)
    model.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="any setting, by the names that --print_config shows",
    )


def choices_of(flags: argparse.Namespace) -> Choices:
    """Returns what a command line and the file that it names choose.

    Raises:
      ValueError: naming the field, the rule and the value received.
    """
    file, settings = _settings_of_file(flags.config), _settings_by_name(flags.set)
    try:
        return _stacked(flags, file, settings)
    except ValueError as error:
        raise _of_file(flags.config, file, error) from error


def _stacked(flags: argparse.Namespace, file: Layer, settings: Layer) -> Choices:
    recipe = recipe_named(_recipe(flags, file, settings))
    task = flags.task or settings.get("task") or file.get("task") or recipe.task
    if flags.images:
        _refuse_beside_images(flags, settings)
    named = _named(flags, "pretraining" if task == "pretrain" else "finetuning")
    _refuse_contradiction(named, settings)
    _refuse_strength(flags.strength, settings)
    if flags.from_scratch:
        idle = {"--pretrain_epochs": flags.pretrain_epochs, "--minutes": flags.minutes}
        refuse_beside_from_scratch(idle)
    line = {setting: value for setting, (_, value) in named.items()}
    line |= {**settings, "recipe": recipe.recipe}
    minutes = line.get("pretraining.minutes")
    if minutes and "pretraining.epochs" in line:
        raise InputError(
            f"`--minutes` and a number of epochs of pretraining must not both be given. Received: "
            f"{minutes:g} minutes and {line['pretraining.epochs']} epochs. Fix: leave one out"
        )
    try:
        return stacked(recipe, file, line, _implied(flags))
    except ValueError as error:
        raise _as_typed(error, named) from error


def _as_typed(error: ValueError, named: Mapping[str, tuple[str, Any]]) -> ValueError:
    """Returns an error of the settings' rules with flags in place of the settings they name."""
    begun = re.match(r"([\w.]+): `", str(error))
    section = begun[1] if begun else ""
    told = str(error).removeprefix(f"{section}: ")
    for setting, (flag, _) in named.items():
        of, _, field = setting.rpartition(".")
        if of == section:
            told = re.sub(rf"`{field}`( \({flag}\))?", f"`{flag}`", told)
            told = re.sub(rf"(?<![\w-]){field}=", f"{flag}=", told)
    is_of_flag = told.startswith("`--") or not section
    return type(error)(told if is_of_flag else f"{section}: {told}")


def refuse_beside_resume(parser: Parser, flags: argparse.Namespace) -> None:
    """Raises an InputError if `--resume` is given with flags that would make it another run, or
    with a store that is none.
    """
    defaults = vars(parser.parse_args([]))
    others = [
        name
        for name, value in vars(flags).items()
        if value != defaults[name] and name not in OF_THE_PLACE
    ]
    if others:
        raise InputError(
            f"`--resume` takes the settings of the interrupted run; leave out "
            f"--{', --'.join(others)}"
        )
    if flags.metadata:
        parse_mysql(flags.metadata)


def _lists_of(flags: argparse.Namespace) -> dict[str, str]:
    """Returns flag -> list, of those that are given."""
    names = ("train_file_path", "val_file_path", "pretrain_file_path")
    return {f"--{name}": getattr(flags, name) for name in names if getattr(flags, name)}


def _refuse_beside_images(flags: argparse.Namespace, settings: Layer) -> None:
    """Raises an InputError if `--images` is given with what else says where images are."""
    given = [*_lists_of(flags), *(["--source"] if flags.source else [])]
    given += ["--cifar10"] if flags.cifar10 else []
    given += [f"--set {name}" for name in settings if name in LISTS or name.startswith("dataset.")]
    if given:
        raise InputError(
            f"`--images` is all that names images; leave out {', '.join(given)}. Lists that you "
            f"can edit: python -m pipeline.datasets folder --source DIR --output_dir lists"
        )


def _settings_of_file(path: str | None) -> Layer:
    if not path:
        return {}
    from pipeline.config_file import read_settings

    return read_settings(at_home(path))


def _of_file(path: str | None, file: Layer, error: ValueError) -> ValueError:
    """Returns the error, said of the file where that breaks a rule without any flag."""
    try:
        stacked(recipe_named(_recipe_of(file)), file, {})
    except ValueError as of_file:
        return InputError(f"{path}: {of_file}")
    return error


def _settings_by_name(given: list[str]) -> dict[str, Any]:
    settings = {}
    for setting in given:
        name, equals, text = setting.partition("=")
        if not equals:
            told = without_password(setting)
            raise InputError(f"`--set` takes SECTION.FIELD=VALUE. Received: {told!r}")
        settings[name] = from_text(kind_of(name), text, name)
    return settings


def _recipe(flags: argparse.Namespace, file: Layer, settings: Layer) -> str:
    """Returns the name of the recipe that the run is made from.

    Raises:
      InputError: if two are named: the file's settings would be no longer those of its recipe.
    """
    named = [flags.recipe, settings.get("recipe"), "cifar10_original" if flags.cifar10 else ""]
    named = [name for name in dict.fromkeys(named) if name]
    if len(named) > 1:
        raise InputError(
            f"`recipe` must be named once; --cifar10 names cifar10_original. Received: "
            f"{' and '.join(named)}. Fix: leave one out"
        )
    asked = "".join(named)
    if asked and file.get("recipe", asked) != asked:
        raise InputError(
            f"`recipe` must be named once. Received: {asked} by a flag, {file['recipe']} in "
            f"{flags.config}. Fix: leave the flag out, or the line `recipe:` of the file"
        )
    if any((flags.images, *_lists_of(flags).values())):
        return asked or file.get("recipe", OWN)
    return asked or _recipe_of({**file, **settings})


def _recipe_of(layer: Layer) -> str:
    return layer.get("recipe") or (OWN if any(map(layer.get, LISTS)) else "demo")


def _named(flags: argparse.Namespace, training: str) -> dict[str, tuple[str, Any]]:
    """Returns setting -> flag that names it and its value.

    Args:
      flags: of the command line.
      training: the section of the task's training.
    """
    if flags.num_classes is not None and flags.num_classes < 2:
        raise InputError(f"`--num_classes` must be at least 2. Received: {flags.num_classes}")
    if flags.minutes is not None and not flags.minutes > 0:
        raise InputError(f"`--minutes` must be greater than 0. Received: {flags.minutes:g}")
    named = {}
    for name, setting in DIRECT.items():
        value, setting = getattr(flags, name), setting.replace("TRAINING", training)
        if value is not None:
            if isinstance(value, str):
                value = from_text(KINDS[setting], value, f"--{name}")
            named[setting] = f"--{name}", str(value) if KINDS[setting] is str else value
    return named


def _implied(flags: argparse.Namespace) -> dict[str, Any]:
    """Returns what follows from flags that set several settings, or one beside their own."""
    implied = {}
    if flags.images:
        implied["dataset.name"] = IMAGES_FOLDER
    if flags.input_size:
        implied["view_size"] = from_text(KINDS["view_size"], flags.input_size, "--input_size")
    if flags.seed is not None:
        implied |= {"pretraining.seed": flags.seed, "finetuning.seed": flags.seed}
    if flags.strength is not None:
        implied |= {f"augmentation.{name}": most * flags.strength for name, most in JITTER.items()}
    return implied


def _refuse_strength(strength: float | None, settings: Layer) -> None:
    """Raises an InputError if `--strength` asks for a jitter that there is not; what `--set` names
    is not of it.
    """
    open_ones = [name for name in JITTER if f"augmentation.{name}" not in settings]
    largest = min((MOST_JITTER[name] / JITTER[name] for name in open_ones), default=math.inf)
    if strength is not None and not 0 <= strength <= largest:
        raise InputError(
            f"`--strength` must be from 0 to {largest:g}. Received: {strength:g}. 1 is SimCLR's "
            f"jitter for ImageNet"
        )


def _refuse_contradiction(named: Mapping[str, tuple[str, Any]], settings: Layer) -> None:
    """Raises an InputError if `--set` says another thing than a flag of the same setting."""
    for setting, (flag, value) in named.items():
        if setting in settings and settings[setting] != value:
            first, second = (without_password(str(one)) for one in (value, settings[setting]))
            raise InputError(
                f"`{flag}` and `--set {setting}` must not differ. Received: {first} and {second}. "
                f"Fix: leave one of them out"
            )
