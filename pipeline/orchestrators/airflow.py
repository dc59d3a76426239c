"""The pipeline as a DAG of Airflow: one task a node, between one that begins the run and one that
ends it.

A task is a command (step.py), run by this Python. So the DAG's file imports Airflow alone and is
read in a moment, however often a scheduler reads it, and Airflow lives in an environment of its
own: its packages and those of the lock do not agree. Not used: TFX's AirflowDagRunner, for which
every reading of the file imports TensorFlow, and which writes another metadata than local runs, so
that neither would find what the other made.
"""

import os
import pprint
import re
import sys

from tfx.dsl.compiler import compiler

from components.metadata.url import is_mysql
from pipeline.config_file import text_of
from pipeline.engines.engine import IN_PROCESS, PROJECT
from pipeline.orchestrators.choosing import Compilation
from pipeline.orchestrators.names import BEGIN, END
from pipeline.pipeline import Folders, graph_of
from pipeline.plan import Plan
from pipeline.root import Root
from pipeline.save_paths import place_of
from trainer_module.whole_files import write_text

AT_ONCE = 16  # tasks; one where the metadata are a SQLite file, which has one writer
DAG = '''\
"""Written by `python -m pipeline.compile --for airflow`; the settings are in the .yaml beside it.

Every machine that runs a task needs the folders below under the same paths.
"""

from datetime import datetime
from pathlib import Path
from shlex import join

from airflow import DAG

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator

PYTHON = {python!r}  # of the environment with the project's lock
MODULES = {modules!r}  # the project, and what settings name beside it
FOLDER = {folder!r}  # where the run is at home; a recipe's data/ lies there
SETTINGS = Path(__file__).resolve().with_suffix(".yaml")
AFTER = {after}  # task -> those that it waits for

with DAG(
    dag_id={dag!r},
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    max_active_runs=1,  # a pipeline root has one run at a time
    max_active_tasks={at_once},
    tags=["simclr"],
) as dag:
    tasks = {{
        name: BashOperator(
            task_id=name,
            bash_command="exec " + join(
                [PYTHON, "-m", "pipeline.orchestrators.step", name, {more}f"--config={{SETTINGS}}"]
            ) + " --run_id='{{{{ run_id }}}}'",
            cwd=FOLDER,
            env={{"PYTHONPATH": MODULES}},
            append_env=True,
            # the last task says how the run ended, whatever came before
            trigger_rule="all_done" if name == {end!r} else "all_success",
        )
        for name in AFTER
    }}
    for name, before in AFTER.items():
        tasks[name].set_upstream([tasks[one] for one in before])
'''


def compile_into(plan: Plan, compilation: Compilation, engine: str = IN_PROCESS) -> str:
    """Writes the DAG, and the settings beside it; returns what to tell."""
    root = Root(plan.choices.root.resolve(), plan.choices.metadata)
    folders = Folders(
        str(root.artifacts), str(root.serving), place_of(plan.saved_encoder, root.path)
    )
    graph = compiler.Compiler().compile(graph_of(plan)(plan, folders))
    _, settings = compilation.files
    write_text(settings, text_of(plan.choices))
    write_text(compilation.output, dag(plan, graph, engine))
    return (
        f"{compilation.output}: {len(graph.nodes) + 2} tasks; settings in {settings}. Put both "
        f"into Airflow's dags folder"
    )


def dag(plan: Plan, graph, engine: str = IN_PROCESS) -> str:
    """Returns the source of a DAG.

    Args:
      plan: of the run.
      graph: the pipeline, compiled.
      engine: that the data nodes run on.
    """
    return DAG.format(
        python=sys.executable,
        modules=os.pathsep.join(dict.fromkeys([str(PROJECT), *_modules()])),
        folder=os.getcwd(),
        after=pprint.pformat(tasks_of(graph), sort_dicts=False, width=120),
        dag=re.sub(r"[^\w.-]", "_", plan.name, flags=re.ASCII),
        at_once=AT_ONCE if is_mysql(plan.choices.metadata) else 1,
        more="" if engine == IN_PROCESS else f'"--beam_runner={engine}", ',
        end=END,
    )


def _modules() -> list[str]:
    return [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]


def tasks_of(graph) -> dict[str, list[str]]:
    """Returns task -> the tasks that it waits for, those of a compiled pipeline between the first
    and the last.
    """
    nodes = [node.pipeline_node for node in graph.nodes]
    after = {node.node_info.id: sorted(node.upstream_nodes) or [BEGIN] for node in nodes}
    waited_for = {one for before in after.values() for one in before}
    return {BEGIN: [], **after, END: sorted(after.keys() - waited_for)}
