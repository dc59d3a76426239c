"""Compiles the pipeline for an orchestrator: `python -m pipeline.compile --for airflow --output
FILE`, and the flags of local_runner.py.

The graph, its checks and its settings are those of a run on this machine; nothing is run.
"""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from pipeline.arguments import BAD_INPUT, DONE
from pipeline.engines.engine import engine_asked_for
from pipeline.flags import Parser, build_parser, choices_of
from pipeline.orchestrators.choosing import AIRFLOW, add_flags, compilation_of
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    flags = _parser().parse_args(arguments)
    try:
        choices = choices_of(flags)
        compilation = compilation_of(flags, choices)
        engine = engine_asked_for(flags.beam_runner)
        from pipeline.lock import lock
        from pipeline.plan import make_plan

        with ExitStack() as held:
            hold_root = partial(held.enter_context, lock(choices.root.resolve()))
            plan = make_plan(choices, hold_root=hold_root)
        with libraries_to_log(os.devnull):
            print(_compiler(compilation.orchestrator)(plan, compilation, engine.name))
    except ValueError as error:
        print(f"pipeline.compile: {error}", file=sys.stderr)
        return BAD_INPUT
    return DONE


def _compiler(orchestrator: str) -> Callable:
    if orchestrator == AIRFLOW:  # heavy, as is the other
        from pipeline.orchestrators.airflow import compile_into
    else:
        from pipeline.orchestrators.kubeflow import compile_into
    return compile_into


def _parser() -> Parser:
    parser = build_parser()
    parser.prog = "python -m pipeline.compile"
    parser.usage = f"{parser.prog} --for NAME --output FILE [flags of local_runner.py]"
    parser.description = __doc__.replace("`", "")
    add_flags(parser)
    return parser


if __name__ == "__main__":
    run_tool(main)
