"""Runs the pipeline on this machine: `python local_runner.py` with no flag runs the demo.

Flags -> configuration -> LocalDagRunner. Nothing heavy is imported before flags, recipe and lists
have been checked.
"""

import argparse
import dataclasses
import difflib
import hashlib
import os
import sys
from pathlib import Path

from components.file_list_example_gen.rows import Row, check_rows, parse_rows, refuse
from components.file_list_example_gen.same_images import refuse_doubles
from components.metadata_url import FORM, parse_mysql
from pipeline.arguments import folder, refuse_empty
from pipeline.config import (
    Configuration,
    Lists,
    SavePaths,
    absolute,
    parse_like,
    same_list,
    whole_numbers,
    with_setting,
)
from pipeline.datasets.of_recipe import with_dataset
from pipeline.recipes import RECIPES, recipe_named
from pipeline.save_paths import check_save_paths, with_saved_encoder
from pipeline.stopping import STOPPED, stoppable
from trainer_module.errors import InputError
from trainer_module.settings import DEPTHS, HEADS, Encoder
from trainer_module.tasks.registry import TASKS
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled

RUNS = Path("runs")


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
            known = [name for action in self._actions for name in action.option_strings]
            near = difflib.get_close_matches(flag, known, 1)
            self.error(
                f"No flag {flag!r}." + (f" Did you mean {near[0]!r}?" if near else " See --help.")
            )
        return parsed


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be True or False. Received: {text!r}")
    return text.lower() == "true"


def build_parser() -> Parser:
    """Returns the command line.

    Flags of the original SimCLR program keep their names and meaning.
    """
    parser = _run_and_image_flags()
    _add_training_flags(parser.add_argument_group("model and training"))
    return parser


def _run_and_image_flags() -> Parser:
    usage = "python local_runner.py [--recipe NAME] [flags]"
    parser = Parser(
        prog="local_runner.py",
        usage=usage,
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run = parser.add_argument_group("what to run")
    run.add_argument(
        "--recipe",
        help=f"named configuration: {', '.join(sorted(RECIPES))}; default: demo, or own with lists "
        f"of your own",
    )
    run.add_argument("--task", choices=TASKS, help="default: classification")
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
        type=folder,
        help="folder of artifacts, metadata, pushed models; default: runs/NAME",
    )
    run.add_argument(
        "--metadata",
        metavar=FORM,
        help="keep ML Metadata on a MySQL server, not in the pipeline root",
    )
    data = parser.add_argument_group("images")
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
        help="pixels of the views in pretraining; default: the input size",
    )
    data.add_argument(
        "--num_classes",
        type=int,
        help="default: counted in the training list, where that is possible",
    )
    data.add_argument(
        "--on_bad_row", choices=("fail", "skip"), help="skip undecodable images instead of stopping"
    )
    return parser


def _add_training_flags(model) -> None:
    model.add_argument("--depth", type=int, choices=DEPTHS, help="of the ResNet")
    model.add_argument("--width", type=float, help="multiplies the channels")
    model.add_argument("--head", choices=HEADS)
    model.add_argument(
        "--freeze", nargs="?", const=True, type=_boolean, help="train the head alone"
    )
    model.add_argument("--batch_size", type=int, help="images, of the task's training")
    model.add_argument(
        "--num_epochs",
        type=int,
        help="of the task's training: pretraining with --task=pretrain, else fine-tuning",
    )
    model.add_argument("--pretrain_epochs", type=int, help="of pretraining, whatever the task")
    model.add_argument("--learning_rate", type=float, help="of the task's training")
    model.add_argument("--temperature", type=float, help="of the contrastive loss")
    model.add_argument(
        "--strength", type=float, help="of the colour jitter; 1.0 is SimCLR's for ImageNet"
    )
    model.add_argument(
        "--eval_epochs",
        metavar="E,E,...",
        help="epochs of pretraining after which the frozen features are evaluated",
    )
    model.add_argument(
        "--label_fraction",
        type=float,
        help="share of the labels that fine-tuning may use, in (0, 1]",
    )
    model.add_argument("--seed", type=int)
    model.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="any other setting",
    )


def configure(flags: argparse.Namespace) -> Configuration:
    """Turns flags into a configuration.

    Raises:
      ValueError: naming the field, the rule and the value received.
    """
    own_lists = any((flags.train_file_path, flags.val_file_path, flags.pretrain_file_path))
    name = flags.recipe or ("cifar10_original" if flags.cifar10 else "own" if own_lists else "demo")
    configuration = recipe_named(name)
    if flags.task:
        configuration = dataclasses.replace(configuration, task=flags.task)
    if own_lists:
        configuration = _with_lists(configuration, flags)
    for change in (_with_sizes, _with_training, _with_settings, _with_encoder_choice):
        configuration = change(configuration, flags)
    # One root, baseline and serving folder for each task: an encoder is no newer version of a
    # classifier.
    suffix = "" if configuration.task == "classification" else f"-{configuration.task}"
    return dataclasses.replace(configuration, name=configuration.name + suffix)


def _with_lists(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    train = flags.train_file_path or (
        flags.pretrain_file_path if configuration.task == "pretrain" else ""
    )
    if not train:
        raise ValueError("`--train_file_path` is missing: a list of `path,label` rows")
    lists = Lists(train, flags.val_file_path or "", flags.pretrain_file_path or "")
    name = configuration.name
    if name == "own":
        path = Path(train).resolve()
        name = (
            f"{path.parent.name or 'images'}-{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
        )
    if flags.pretrain_file_path and not flags.val_file_path and configuration.task != "pretrain":
        raise ValueError(
            "`--pretrain_file_path` beside `--train_file_path` needs `--val_file_path` too: "
            "nothing is held out then"
        )
    if lists.pretrain and lists.eval and same_list(lists.pretrain, lists.eval):
        raise ValueError(
            "`--pretrain_file_path` and `--val_file_path` name the same list; pretrain on other "
            "images"
        )
    return dataclasses.replace(
        configuration,
        name=name,
        lists=lists,
        dataset=dataclasses.replace(configuration.dataset, name=""),
    )


def _with_sizes(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    changes = {}
    if flags.input_size:
        changes["image_size"] = changes["view_size"] = _size(flags.input_size, "--input_size")
    if flags.crop_size:
        changes["view_size"] = _size(flags.crop_size, "--crop_size")
    if flags.on_bad_row is not None:
        changes["on_bad_row"] = flags.on_bad_row
    if flags.num_classes is not None:
        if flags.num_classes < 2:
            raise ValueError(f"`--num_classes` must be at least 2. Received: {flags.num_classes}")
        changes["target"] = dataclasses.replace(configuration.target, num_classes=flags.num_classes)
    return dataclasses.replace(configuration, **changes)


def _size(text: str, name: str) -> tuple[int, int]:
    height, width = whole_numbers(text, 2, name)
    return height, width


def _with_training(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    section = "pretraining" if configuration.task == "pretrain" else "finetuning"
    wanted = {
        "pretraining.warmup_epochs": _shortened_warmup(
            configuration, section, flags
        ),  # before the epochs, which it must not exceed
        f"{section}.epochs": flags.num_epochs,
        f"{section}.batch_size": flags.batch_size,
        f"{section}.learning_rate": flags.learning_rate,
        "pretraining.epochs": flags.num_epochs
        if flags.pretrain_epochs is None and section == "pretraining"
        else flags.pretrain_epochs,
        "pretraining.temperature": flags.temperature,
        "pretraining.seed": flags.seed,
        "finetuning.seed": flags.seed,
        "finetuning.freeze": flags.freeze,
        "finetuning.label_fraction": flags.label_fraction,
        "eval_epochs": flags.eval_epochs,
        "finetuning.head": flags.head,
        "encoder.depth": flags.depth,
        "encoder.width": flags.width,
    }
    if flags.strength is not None:  # the strengths of SimCLR's appendix A
        wanted |= {
            f"augmentation.{name}": 0.8 * flags.strength
            for name in ("brightness", "contrast", "saturation")
        }
        wanted["augmentation.hue"] = 0.2 * flags.strength
    for path, value in wanted.items():
        if value is not None:
            configuration = with_setting(configuration, path, str(value))
    return configuration


def _shortened_warmup(
    configuration: Configuration, section: str, flags: argparse.Namespace
) -> float | None:
    """Returns a warm-up in proportion where pretraining is made shorter than the recipe's warm-up.

    None to keep that.
    """
    pretraining = configuration.pretraining
    epochs = flags.pretrain_epochs or (flags.num_epochs if section == "pretraining" else None)
    too_long = epochs is not None and 1 <= epochs < pretraining.warmup_epochs
    return pretraining.warmup_epochs * epochs / pretraining.epochs if too_long else None


def _with_settings(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    for setting in flags.set:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"`--set` takes SECTION.FIELD=VALUE. Received: {setting!r}")
        configuration = with_setting(configuration, path, text)
    return configuration


def _with_encoder_choice(configuration: Configuration, flags: argparse.Namespace) -> Configuration:
    """Says where the encoder comes from and where it goes: pretrained, taken from a folder, or
    learned from the labels alone.
    """
    paths = SavePaths(
        *(
            path and absolute(path)
            for path in (flags.pretrain_save_path or "", flags.finetune_save_path or "")
        )
    )
    configuration = dataclasses.replace(configuration, save_paths=paths)
    if not flags.from_scratch:
        return configuration
    idle = {
        "--task=pretrain": configuration.task == "pretrain",
        "--freeze": flags.freeze,
        "--eval_epochs": flags.eval_epochs,
    }
    idle |= {"--pretrain_save_path": paths.pretrain, "--pretrain_epochs": flags.pretrain_epochs}
    if any(idle.values()):
        clashing = ", ".join(name for name, given in idle.items() if given)
        raise ValueError(
            f"`--from_scratch` learns the encoder from labels alone, without pretraining. Received "
            f"beside it: {clashing}"
        )
    finetuning = dataclasses.replace(configuration.finetuning, freeze=False)
    return dataclasses.replace(
        configuration, from_scratch=True, eval_epochs=(), finetuning=finetuning
    )


def _asked_encoder(flags: argparse.Namespace) -> dict[str, object]:
    """Returns the encoder's settings that the user named, flag or `--set`."""
    asked = {
        name: value
        for name, value in (("depth", flags.depth), ("width", flags.width))
        if value is not None
    }
    for setting in flags.set:
        name, _, text = setting.partition("=")
        if name.startswith("encoder."):
            field = name.removeprefix("encoder.")
            asked[field] = parse_like(getattr(Encoder(), field), text, name)
    return asked


def with_eval_epochs(configuration: Configuration, chosen: bool) -> Configuration:
    """Returns the configuration with those epochs to evaluate whose encoder there is or will be.

    Args:
      configuration: of the run.
      chosen: the user named the epochs; a recipe's own are left out where there is no encoder of
        them.

    Raises:
      ValueError: if one was chosen that there will not be.
    """
    saved, last = configuration.saved_encoder, configuration.pretraining.epochs
    possible = {
        epoch
        for epoch in configuration.eval_epochs
        if (epoch in saved.milestones if saved.path else epoch <= last)
    }
    task = TASKS[configuration.task]
    possible = possible if task.one_class_an_image or task is Unlabelled else set()
    absent = [epoch for epoch in configuration.eval_epochs if epoch not in possible]
    if absent and chosen:
        there = (
            f"{saved.path} holds {', '.join(map(str, saved.milestones)) or 'none'}"
            if saved.path
            else f"pretraining ends after {last}"
        )
        named = ", ".join(map(str, absent))
        raise ValueError(
            f"`--eval_epochs` must name epochs of pretraining whose encoder is kept, for "
            f"--task=classification. Received: {named} "
            f"for --task={configuration.task}, while {there}. Fix: leave them out, or pretrain "
            f"with these epochs"
        )
    return dataclasses.replace(configuration, eval_epochs=tuple(sorted(possible)))


def check_lists(configuration: Configuration):
    """Reads and checks every row of every list.

    Returns:
      The task that the training list fixes, the number of images to pretrain on, and the
      configuration with a gate above what a constant answer scores.

    Raises:
      InputError: naming all bad rows.
    """
    lists, problems = {}, []
    for split, path in configuration.lists.given().items():
        lists[split], malformed = parse_rows(path)
        problems += malformed
    task = TASKS[configuration.task].from_targets(
        [row.target for row in lists["train"]], configuration.target
    )
    for split, rows in lists.items():
        problems += check_rows(rows, Unlabelled() if split == "pretrain" else task)
    refuse(problems)
    refuse_doubles(lists, task)
    images = len(lists.get("pretrain", lists["train"]))
    return task, images, with_floor(configuration, task, lists.get("eval", lists["train"]))


def with_floor(configuration: Configuration, task: Task, rows: list[Row]) -> Configuration:
    """Returns the configuration with a gate that asks for more than the best constant answer to the
    targets of these rows.
    """
    constant = float(f"{task.constant_score([row.target for row in rows]):.4g}")
    return dataclasses.replace(
        configuration, gate=configuration.gate.beating(constant, task.higher_is_better)
    )


def with_batch_that_fits(configuration: Configuration, images: int, chosen: bool) -> Configuration:
    """Returns the configuration with a pretraining batch of at most `images`.

    Raises:
      InputError: if there are too few images for any batch, or for the one that was `chosen` by a
        flag.
    """
    wanted = configuration.pretraining.batch_size
    if images >= wanted:
        return configuration
    if chosen or images < 2:
        rule = "`pretraining.batch_size` must be from 2 to the number of images to pretrain on"
        raise InputError(
            f"{rule}. Received: batch_size={wanted}, {images} images. Fix: a smaller batch or more "
            f"images"
        )
    print(f"Only {images} images to pretrain on: batches of {images} instead of {wanted}")
    return with_setting(configuration, "pretraining.batch_size", str(images))


def prepare(flags: argparse.Namespace, may_take_encoder: bool = True):
    """Returns the configuration of a command line and its task, all input checked.

    Args:
      flags: the parsed command line.
      may_take_encoder: False continues a run that found none at its `--pretrain_save_path`: the
        one that is there by now is its own.

    Raises:
      ValueError: if a setting or the input breaks a rule.
    """
    configuration = configure(flags)
    check_save_paths(configuration)
    if may_take_encoder:
        configuration = with_saved_encoder(configuration, _asked_encoder(flags))
    _tell_saved_encoder(configuration)
    chosen = flags.eval_epochs is not None or any(
        setting.startswith("eval_epochs=") for setting in flags.set
    )
    configuration = with_eval_epochs(configuration, chosen)
    configuration = with_dataset(configuration, flags.source)
    task, images, configuration = check_lists(configuration)
    _tell_flags_without_effect(configuration, task, flags)
    chosen = any(setting.startswith("pretraining.batch_size") for setting in flags.set)
    chosen = chosen or (configuration.task == "pretrain" and flags.batch_size is not None)
    if configuration.saved_encoder.path or configuration.from_scratch:
        return configuration, task
    return with_batch_that_fits(configuration, images, chosen), task


def _tell_saved_encoder(configuration: Configuration) -> None:
    saved, encoder = configuration.saved_encoder, configuration.encoder
    if saved.path:
        print(
            f"Encoder: the ResNet-{encoder.depth} of width {encoder.width:g} from {saved.path}, "
            f"not pretrained again"
        )


def _tell_flags_without_effect(
    configuration: Configuration, task: Task, flags: argparse.Namespace
) -> None:
    finetuning = configuration.finetuning
    idle = [
        f"--{name}"
        for name in ("num_epochs", "batch_size", "learning_rate")
        if getattr(flags, name) is not None
    ]
    if idle and task.fits_linear and finetuning.freeze and finetuning.head == "linear":
        print(
            f"Note: a linear head on a frozen encoder is fitted until it converges; "
            f"{', '.join(idle)} changes nothing there"
        )
    if flags.head and not task.on_features:
        print(f"Note: {task.name} has one kind of head; --head changes nothing there")


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = build_parser()
    flags = parser.parse_args(arguments)
    interrupted = "Interrupted before the run began. The same command starts it."
    try:
        with stoppable(lambda: interrupted):
            return _start(parser, flags, arguments)
    except KeyboardInterrupt:
        print(interrupted)
        return STOPPED
    except ValueError as error:
        print(f"local_runner.py: {error}", file=sys.stderr)
        return 2


def _start(parser: Parser, flags: argparse.Namespace, arguments: list[str]) -> int:
    from pipeline.runner import Root, run

    root, record = None, {}
    if flags.resume:
        root = interrupted_root(flags.pipeline_root)
        _require_resume_alone(parser, flags)
        record = root.record()
        root = dataclasses.replace(root, server=flags.metadata or record.get("metadata", ""))
        arguments = record["flags"]
        os.chdir(record["folder"])  # its relative paths start there
    if flags.metadata:
        parse_mysql(flags.metadata)
    configuration, task = prepare(parser.parse_args(arguments), record.get("took_encoder", True))
    root = root or Root(
        (flags.pipeline_root or RUNS / configuration.name).resolve(), flags.metadata or ""
    )
    return run(configuration, task, root, arguments, flags.resume)


def _require_resume_alone(parser: Parser, flags: argparse.Namespace) -> None:
    defaults = vars(parser.parse_args([]))
    others = [
        name
        for name, value in vars(flags).items()
        if value != defaults[name] and name not in ("resume", "pipeline_root", "metadata")
    ]
    if others:
        raise ValueError(
            f"`--resume` takes the flags of the interrupted run; leave out --{', --'.join(others)}"
        )


def interrupted_root(given: Path | None):
    """Returns the pipeline root to continue: the one given, or the latest below runs/ whose run did
    not finish.

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
