"""Runs the pipeline on this machine: `python local_runner.py` with no flag runs the demo.

Flags -> configuration -> LocalDagRunner. Nothing heavy is imported before flags, recipe and lists have been checked.
"""

import argparse
import dataclasses
import difflib
import importlib
import json
import os
import sys
from pathlib import Path

from components.file_list_example_gen.rows import check_rows, read_rows, refuse
from pipeline.config import Configuration, Lists, numbers, with_setting
from pipeline.recipes import RECIPES, recipe_named
from trainer_module.errors import InputError
from trainer_module.settings import DEPTHS, HEADS
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.unlabelled import Unlabelled

TASKS = ("pretrain", "classification")
RUNS, DATA = Path("runs"), Path("data")
LEAST_TRAIN_SHARE = 0.7  # of a single list: 80 % on average, decided image by image


class Parser(argparse.ArgumentParser):
    """argparse that names the nearest flag for an unknown one."""

    def parse_args(self, args=None, namespace=None):
        """Parses; an unknown flag ends with exit code 2 and a suggestion."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].split("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            near = difflib.get_close_matches(flag, known, 1)
            self.error(f"No flag {flag!r}." + (f" Did you mean {near[0]!r}?" if near else " See --help."))
        return parsed


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be True or False. Received: {text!r}")
    return text.lower() == "true"


def build_parser() -> Parser:
    """Returns the command line; flags of the original SimCLR program keep their names and meaning."""
    parser = _run_and_image_flags()
    _add_training_flags(parser.add_argument_group("model and training"))
    return parser


def _run_and_image_flags() -> Parser:
    usage = "python local_runner.py [--recipe NAME] [flags]"
    parser = Parser(
        prog="local_runner.py", usage=usage, description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run = parser.add_argument_group("what to run")
    run.add_argument("--recipe", help=f"named configuration: {', '.join(sorted(RECIPES))}; default: demo, or own with lists of your own")
    run.add_argument("--task", choices=TASKS, help="default: classification")
    run.add_argument("--resume", action="store_true", help="continue the interrupted run")
    run.add_argument("--pipeline_root", type=Path, help="folder of artifacts, metadata, pushed models; default: runs/NAME")
    data = parser.add_argument_group("images")
    data.add_argument("--train_file_path", help="list file, one `path,label` (or `path`) a line")
    data.add_argument("--val_file_path", help="list file; without it 20 %% of the training list are held out")
    data.add_argument("--pretrain_file_path", help="list file, one `path` a line; default: the training images")
    data.add_argument("--cifar10", nargs="?", const=True, default=False, type=_boolean, help="the CIFAR-10 recipe")
    data.add_argument("--source", help="archive or folder that a recipe's data set is read from")
    data.add_argument("--input_size", metavar='"H W"', help='pixels, as in "240 240"')
    data.add_argument("--crop_size", metavar='"H W"', help="pixels of the views in pretraining; default: the input size")
    data.add_argument("--num_classes", type=int, help="default: counted in the training list")
    data.add_argument("--on_bad_row", choices=("fail", "skip"), help="skip undecodable images instead of stopping")
    return parser


def _add_training_flags(model) -> None:
    model.add_argument("--depth", type=int, choices=DEPTHS, help="of the ResNet")
    model.add_argument("--width", type=float, help="multiplies the channels")
    model.add_argument("--head", choices=HEADS)
    model.add_argument("--freeze", nargs="?", const=True, type=_boolean, help="train the head alone")
    model.add_argument("--batch_size", type=int, help="images, of the task's training")
    model.add_argument("--num_epochs", type=int, help="of the task's training: pretraining with --task=pretrain, else fine-tuning")
    model.add_argument("--pretrain_epochs", type=int, help="of pretraining, whatever the task")
    model.add_argument("--learning_rate", type=float, help="of the task's training")
    model.add_argument("--temperature", type=float, help="of the contrastive loss")
    model.add_argument("--strength", type=float, help="of the colour jitter; 1.0 is SimCLR's for ImageNet")
    model.add_argument("--seed", type=int)
    model.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="any other setting")


def configure(flags: argparse.Namespace) -> Configuration:
    """Turns flags into a configuration.

    Raises:
      ValueError: naming the field, the rule and the value received.
    """
    own_lists = any((flags.train_file_path, flags.val_file_path, flags.pretrain_file_path))
    name = flags.recipe or ("cifar10" if flags.cifar10 else "own" if own_lists else "demo")
    configuration = recipe_named(name)
    if flags.task:
        configuration = dataclasses.replace(configuration, task=flags.task)
    if own_lists:
        configuration = _with_lists(configuration, flags)
    for change in (_with_sizes, _with_training, _with_settings):
        configuration = change(configuration, flags)
    return configuration


def _with_lists(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    train = flags.train_file_path or (flags.pretrain_file_path if configuration.task == "pretrain" else "")
    if not train:
        raise ValueError("`--train_file_path` is missing: a list of `path,label` rows")
    lists = Lists(train, flags.val_file_path or "", flags.pretrain_file_path or "")
    name = configuration.name
    if name == "own":
        name = f"{configuration.task}-{Path(train).resolve().parent.name or 'images'}"
    return dataclasses.replace(configuration, name=name, lists=lists, dataset=dataclasses.replace(configuration.dataset, name=""))


def _with_sizes(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    changes = {}
    if flags.input_size:
        changes["image_size"] = changes["view_size"] = _size(flags.input_size, "--input_size")
    if flags.crop_size:
        changes["view_size"] = _size(flags.crop_size, "--crop_size")
    for field in ("num_classes", "on_bad_row"):
        if getattr(flags, field) is not None:
            changes[field] = getattr(flags, field)
    if flags.num_classes is not None and flags.num_classes < 2:
        raise ValueError(f"`--num_classes` must be at least 2. Received: {flags.num_classes}")
    return dataclasses.replace(configuration, **changes)


def _size(text: str, name: str) -> tuple[int, int]:
    height, width = (int(value) for value in numbers(text, 2, name))
    return height, width


def _with_training(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    section = "pretraining" if configuration.task == "pretrain" else "finetuning"
    wanted = {
        f"{section}.epochs": flags.num_epochs,
        f"{section}.batch_size": flags.batch_size,
        f"{section}.learning_rate": flags.learning_rate,
        "pretraining.epochs": flags.pretrain_epochs or (flags.num_epochs if section == "pretraining" else None),
        "pretraining.temperature": flags.temperature,
        "pretraining.seed": flags.seed,
        "finetuning.seed": flags.seed,
        "finetuning.freeze": flags.freeze,
        "finetuning.head": flags.head,
        "encoder.depth": flags.depth,
        "encoder.width": flags.width,
    }
    if flags.strength is not None:  # the strengths of SimCLR's appendix A
        wanted |= {f"augmentation.{name}": 0.8 * flags.strength for name in ("brightness", "contrast", "saturation")}
        wanted["augmentation.hue"] = 0.2 * flags.strength
    for path, value in wanted.items():
        if value is not None:
            configuration = with_setting(configuration, path, str(value))
    return configuration


def _with_settings(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    for setting in flags.set:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"`--set` takes SECTION.FIELD=VALUE. Received: {setting!r}")
        configuration = with_setting(configuration, path, text)
    return configuration


def with_dataset(configuration: Configuration, source: str) -> Configuration:
    """Writes the recipe's own data set, unless it is there already, and returns the configuration with its lists.

    Args:
      configuration: of the run.
      source: archive or folder to read from, where the data set is not generated.
    """
    if not configuration.dataset.name:
        return configuration
    folder = DATA / configuration.name
    module = importlib.import_module(f"pipeline.datasets.{configuration.dataset.name}")
    options = dict(configuration.dataset.options) | ({"source": str(Path(source).resolve())} if source else {})
    wanted = json.dumps([configuration.dataset.name, options, Path(module.__file__).stat().st_mtime_ns])
    lists = {split: folder / f"{split}.csv" for split in ("train", "eval")}
    record = folder / ".written"
    if not record.is_file() or record.read_text(encoding="utf-8") != wanted or not all(path.is_file() for path in lists.values()):
        print(f"Writing the data set {configuration.dataset.name} into {folder} ...", flush=True)
        module.write(folder, **options)
        record.write_text(wanted, encoding="utf-8")
    return dataclasses.replace(configuration, lists=Lists(str(lists["train"]), str(lists["eval"])))


def check_lists(configuration: Configuration):
    """Reads and checks every row of every list.

    Returns:
      The task that the training list fixes, and the number of images to pretrain on.

    Raises:
      InputError: naming all bad rows.
    """
    lists = {split: read_rows(path) for split, path in configuration.lists.given().items()}
    if configuration.task == "pretrain":
        task = Unlabelled()
    else:
        task = Classification.from_targets([row.target for row in lists["train"]], configuration.num_classes)
    problems = []
    for split, rows in lists.items():
        problems += check_rows(rows, Unlabelled() if split == "pretrain" else task)
    refuse(problems)
    images = len(lists.get("pretrain", lists["train"]))
    return task, int(images * LEAST_TRAIN_SHARE) if task.has_target and list(lists) == ["train"] else images


def with_batch_that_fits(configuration: Configuration, images: int, chosen: bool) -> Configuration:
    """Returns the configuration with a pretraining batch of at most `images`.

    Raises:
      InputError: if there are too few images for any batch, or for the one that was `chosen` by a flag.
    """
    wanted = configuration.pretraining.batch_size
    if images >= wanted:
        return configuration
    if chosen or images < 2:
        rule = "`pretraining.batch_size` must be from 2 to the number of images to pretrain on"
        raise InputError(f"{rule}. Received: batch_size={wanted}, {images} images. Fix: a smaller batch or more images")
    print(f"Only {images} images to pretrain on: batches of {images} instead of {wanted}")
    return with_setting(configuration, "pretraining.batch_size", str(images))


def prepare(flags: argparse.Namespace):
    """Returns the configuration of a command line and its task, all input checked.

    Raises:
      ValueError: if a setting or the input breaks a rule.
    """
    configuration = with_dataset(configure(flags), flags.source)
    task, images = check_lists(configuration)
    chosen = any(setting.startswith("pretraining.batch_size") for setting in flags.set)
    chosen = chosen or (configuration.task == "pretrain" and flags.batch_size is not None)
    return with_batch_that_fits(configuration, images, chosen), task


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = build_parser()
    flags = parser.parse_args(arguments)
    from pipeline.runner import BAD_INPUT, Root, run

    try:
        root = None
        if flags.resume:
            root = interrupted_root(flags.pipeline_root)
            arguments = root.record()["flags"]
        configuration, task = prepare(parser.parse_args(arguments))
        root = root or Root((flags.pipeline_root or RUNS / configuration.name).resolve())
        return run(configuration, task, root, arguments, flags.resume)
    except ValueError as error:
        print(f"local_runner.py: {error}", file=sys.stderr)
        return BAD_INPUT


def interrupted_root(given: Path | None):
    """Returns the pipeline root to continue: the one given, or the latest below runs/ whose run did not finish.

    Raises:
      InputError: if there is none.
    """
    from pipeline.runner import Root, unfinished_roots

    waiting = [root for root in unfinished_roots(RUNS) if given is None]
    if given and not Root(given).record().get("finished", True):
        waiting = [Root(given)]
    if not waiting:
        raise InputError("`--resume`: no interrupted run was found; start a new one without it")
    return Root(waiting[0].path.resolve())


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking TensorFlow and Beam down module by module would take 2 s
