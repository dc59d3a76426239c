"""Whether flags and settings files of any content are taken or refused in words: `python
benchmarks/fuzz_settings.py --inputs 20000 --seed 0`.

Half of the inputs are command lines, of flags that there are with values of every kind, of mistyped
flags and of `--set`; half are files, of settings with values that YAML knows, and of what
`--print_config` writes with some of it changed. One is right if it gives choices, whose own file
then gives the same again, or if it is refused: by argparse with exit code 2, or by an InputError.
Prints one JSON line last; exit code 1 if anything else came.
"""

import argparse
import contextlib
import io
import json
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.config_file import text_of  # noqa: E402
from pipeline.flags import build_parser, choices_of  # noqa: E402
from pipeline.recipes import RECIPES  # noqa: E402
from pipeline.save_paths import check_save_paths  # noqa: E402
from pipeline.setting_types import KINDS  # noqa: E402
from trainer_module.errors import InputError  # noqa: E402
from trainer_module.tasks.registry import TASKS  # noqa: E402

VALUES = [
    "0", "1", "2", "3", "-1", "0.5", "1.5", "-0.0", "1e-3", "1e400", "-1e400", "1e-400", "nan",
    "inf", "9" * 20, "9" * 5000, "1_000", "0x10", "1e3", "٣", "½", "²", "१२", "32", "32 32",
    "32x32", "32,32", "32 32 32", "16 1024", "1,2,3", ",", " ", "", "True", "false", "yes", "None",
    "null", "~", "a", "a.b", "a.b.c", "trainer_module.loss.nt_xent", "trainer_module.loss", "..",
    ".", "/", "/dev/null", "//x", "a/b", "\0", "a\0b", "\n", "\r\n", "\t", "\x1b[31m", "\ud800",
    "\u202e", "ü", "日本", "😀", "x" * 5000, "[1]", "{}", "{a}", "[", "]", "*", "?", "%s", "%d%n",
    "$HOME", "`id`", "; rm", "'", '"', "\\", "--", "-", "--x", "=", "a=b", "file:///a", "http://a",
    "gs://a/b", "mysql://u:p@h/d", "mysql://u@h:99999/d", "mysql://", "mysql://[::1", "://",
    "<script>alert(1)</script>", "linear", "mlp", "sgd", "lars", "adamw", "auto", "skip", "fail",
    "demo", "own", *RECIPES, *TASKS,
]  # fmt: skip
YAML_VALUES = [
    "[1, 2]", "[1, [2]]", "{a: 1}", "[]", "{}", "2001-01-01", "2001-99-99", "12:30:45",
    "!!binary a", "!!python/object/apply:os.system [id]", "!!map a", "!!set {a}", "!!int a",
    "!!float x", "!!timestamp x", "!!bool x", "&a [*a]", "*b", "|\n  text", ">", "'", '"', "0o7",
    "0b2", "1:99",
    "@a", "`a", "%a", "? a", "- a", "<<: a", "[" * 400, "{a: " * 400, "&x 1", "!", "!x y", "---",
    "...", "\ufeff1", "1e5", "+.inf", ".NaN", "-.inf", "=", "1__0", "_", "0x", "- - - a",
]  # fmt: skip
FLAGS = (1, 1, 1, 2, 3)  # of a line


def command_line(rng: random.Random, flags: list[str]) -> list[str]:
    """Returns some flags with values, now and then mistyped."""
    line = []
    for _ in range(rng.choice(FLAGS)):
        flag = rng.choice(flags)
        if rng.random() < 0.05:
            flag = mutated(rng, flag)
        value = f"{setting(rng)}={a_value(rng)}" if flag == "--set" else a_value(rng)
        line += rng.choice([[f"{flag}={value}"], [flag, value], [flag]])
    return line


def setting(rng: random.Random) -> str:
    """Returns the name of a setting, now and then of none."""
    name = rng.choice([*KINDS, "dataset.options.seed"])
    return mutated(rng, name) if rng.random() < 0.1 else name


def a_value(rng: random.Random) -> str:
    """Returns text that may be a value."""
    return mutated(rng, rng.choice(VALUES)) if rng.random() < 0.2 else rng.choice(VALUES)


def mutated(rng: random.Random, text: str) -> str:
    """Returns a text with a place removed, doubled or replaced."""
    place = rng.randrange(len(text) + 1)
    put = rng.choice(
        ["", text[place : place + 1] * 2, rng.choice(VALUES)[:3], chr(rng.randrange(256))]
    )
    return text[:place] + put + text[place + rng.randint(0, 2) :]


def settings_file(rng: random.Random, whole: str) -> str:
    """Returns the text of a file of settings, sound or not."""
    if rng.random() < 0.3:
        lines = whole.splitlines()
        for _ in range(rng.randint(1, 4)):
            index = rng.randrange(len(lines))
            lines[index : index + rng.randint(0, 2)] = [mutated(rng, lines[index])]
        return "\n".join(lines)
    lines = []
    for _ in range(rng.choice(FLAGS)):
        *sections, field = setting(rng).split(".")
        lines += [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
        value = rng.choice(YAML_VALUES) if rng.random() < 0.5 else a_value(rng)
        lines.append(f"{'  ' * len(sections)}{field}: {value}")
    return "\n".join(lines)


def outcome(parser: argparse.ArgumentParser, line: list[str]) -> str:
    """Returns what came of a command line: 'taken', 'refused', or the exception's traceback."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            choices = choices_of(parser.parse_args(line))
            check_save_paths(choices)
            Path("again.yaml").write_text(text_of(choices), encoding="utf-8")
            again = choices_of(parser.parse_args(["--config=again.yaml"]))
        same = text_of(again) == text_of(choices)
        return "taken" if same else "its file gives other choices"
    except InputError:
        return "refused"
    except SystemExit as ended:
        return "refused" if ended.code in (0, 2) else f"exit code {ended.code}"
    except BaseException:  # noqa: BLE001 (any other is a fault)
        return traceback.format_exc()


def fuzz(inputs: int, seed: int) -> tuple[Counter, list]:
    """Tries so many inputs in the working folder; returns how many came to what, and the faults as
    [input, what came].
    """
    rng, counts, faults = random.Random(seed), Counter(), []
    parser = build_parser()
    flags = [name for action in parser._actions for name in action.option_strings]
    flags = [flag for flag in flags if flag not in ("-h", "--help", "--config")] + ["--set"] * 10
    whole = text_of(RECIPES["demo"]())
    for number in range(inputs):
        line = command_line(rng, flags)
        if number % 2:
            text = settings_file(rng, whole)
            Path("fuzz.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
            line = ["--config=fuzz.yaml"]
        came = outcome(parser, line)
        counts[came if came in ("taken", "refused") else "fault"] += 1
        if came not in ("taken", "refused"):
            faults.append([text if number % 2 else line, came])
    return counts, faults


def main() -> int:
    """Runs the command line; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        counts, faults = fuzz(flags.inputs, flags.seed)
        os.chdir(ROOT)
    for given, came in faults[:20]:
        print(f"{str(given)[:300]!r}\n{came[-1500:]}")
    print(json.dumps({"inputs": flags.inputs, "seed": flags.seed, **counts}))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
