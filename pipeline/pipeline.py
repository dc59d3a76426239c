"""The graph: from list files to a pushed model, one node a sentence.

`create_pipeline` is the whole road of a task with a target; `create_finetuning_pipeline` takes the
encoder of an earlier run, `create_supervised_pipeline` none at all; `create_pretraining_pipeline`
ends with the encoder. Another graph is another function over the same pieces.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx.components import (
    Evaluator,
    ExampleValidator,
    Pusher,
    SchemaGen,
    StatisticsGen,
    Trainer,
    Transform,
)
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import evaluator_pb2, example_gen_pb2, pusher_pb2, trainer_pb2, transform_pb2  # noqa: F401 (registers protos)
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing

from components.accuracy_by_epoch.component import EpochEvaluation
from components.anomaly_gate import AnomalyGate
from components.baseline import EarlierBlessedModel
from components.file_list_example_gen.component import FileListExampleGen
from components.file_list_example_gen.held_out import is_split
from components.metadata import names
from components.model_check.component import ModelCheck
from components.report.component import RunReport
from pipeline.describing import describing
from pipeline.fingerprint import node_fingerprint
from pipeline.least_images import with_least_images
from pipeline.plan import Plan
from trainer_module import findings
from trainer_module.settings import (
    EvaluationScience,
    FinetuningScience,
    PretrainingScience,
    Science,
    to_json,
)
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.task import Task

PREPROCESSING_FN = "trainer_module.preprocessing.preprocessing_fn"
PRETRAIN_FN = "trainer_module.pretrain_run_fn.run_fn"
FINETUNE_FN = "trainer_module.finetune_run_fn.run_fn"
BEAM_ARGS = [
    "--runner=FnApiRunner",  # in process; Beam's default tries to download a binary
    # else TFX builds a source package of itself for every component
    "--sdk_container_image=unused",
]  # and those of another engine, which the runner adds where the graph's digest does not see them


@dataclass(frozen=True)
class Part:
    """Some nodes, and what others are told of them, by the names of their inputs."""

    nodes: tuple
    told: dict[str, Channel]


def earlier_blessed_model(finetuner: Trainer) -> Part:
    """Builds the node that finds what a new model must not fall behind: the latest one before it
    that every gate blessed.
    """
    baseline = Resolver(
        strategy_class=EarlierBlessedModel,
        candidate=finetuner.outputs["model"],
        model=Channel(type=Model, producer_component_id=finetuner.id),
        model_blessing=Channel(type=ModelBlessing),
        infra_blessing=Channel(type=InfraBlessing),
    ).with_id(names.BASELINE)
    return Part((baseline,), {names.BASELINE_INPUT: baseline.outputs["model"]})


@dataclass(frozen=True)
class Folders:
    """Where a run keeps its things, and how what it kept before is found there."""

    root: str  # artifacts of every node
    serving: str  # pushed models, one numbered folder each
    # the encoder of an earlier run, as a Model artifact (pipeline/imported.py)
    imported: str = ""
    # the Finetuner -> the model to beat; an orchestrator may have a way of its own
    baseline: Callable[[Trainer], Part] = earlier_blessed_model


def graph_of(plan: Plan):
    """Returns the function that builds the graph of a run."""
    if not plan.task.has_target:
        return create_pretraining_pipeline
    if plan.choices.from_scratch:
        return create_supervised_pipeline
    return (
        create_finetuning_pipeline if plan.saved_encoder.replaces_pretraining else create_pipeline
    )


def create_pipeline(
    plan: Plan,
    folders: Folders,
    example_gen: BaseComponent | None = None,
) -> Pipeline:
    """Builds the road from lists to a gated, pushed model.

    Args:
      plan: of the run.
      folders: where artifacts and pushed models go.
      example_gen: reads the images instead of FileListExampleGen; docs/swapping.md says what its
        examples must hold.
    """
    data = ingest(plan, example_gen)
    begun = beginning(plan, folders)
    pretrainer = pretrain(plan, data, **begun.told)
    encoder = pretrainer.outputs["model"]
    finetuner = finetune(plan, data, encoder)
    table = evaluate_epochs(plan, data, encoder, **begun.told)
    judged = judge_and_push(plan, data, finetuner, folders)
    # RunReport shows all of it on one page.
    report = report_run(
        plan,
        data,
        **judged.told,
        **table.told,
        pretrained_model=encoder,
        pretraining=pretrainer.outputs["model_run"],
    )
    return _pipeline(
        plan,
        folders,
        [*data.nodes, *begun.nodes, pretrainer, *table.nodes, finetuner, *judged.nodes, report],
    )


def create_finetuning_pipeline(
    plan: Plan, folders: Folders, example_gen: BaseComponent | None = None
) -> Pipeline:
    """Builds the same road with the encoder of an earlier run in place of the Pretrainer."""
    data = ingest(plan, example_gen)
    imported = import_encoder(plan, folders)
    encoder = imported.outputs["result"]
    finetuner = finetune(plan, data, encoder)
    table = evaluate_epochs(plan, data, encoder)
    judged = judge_and_push(plan, data, finetuner, folders)
    report = report_run(plan, data, **judged.told, **table.told, pretrained_model=encoder)
    return _pipeline(
        plan,
        folders,
        [*data.nodes, imported, *table.nodes, finetuner, *judged.nodes, report],
    )


def create_supervised_pipeline(
    plan: Plan, folders: Folders, example_gen: BaseComponent | None = None
) -> Pipeline:
    """Builds the same road without pretraining: the Finetuner begins with an untrained encoder."""
    data = ingest(plan, example_gen)
    finetuner = finetune(plan, data)
    judged = judge_and_push(plan, data, finetuner, folders)
    report = report_run(plan, data, **judged.told)
    return _pipeline(plan, folders, [*data.nodes, finetuner, *judged.nodes, report])


def create_pretraining_pipeline(
    plan: Plan,
    folders: Folders,
    example_gen: BaseComponent | None = None,
) -> Pipeline:
    """Builds the road from one unlabelled list to a pushed encoder; there is no metric to gate on.

    Arguments as above.
    """
    data = ingest(plan, example_gen)
    begun = beginning(plan, folders)
    pretrainer = pretrain(plan, data, **begun.told)
    check = check_model(plan, data, pretrainer, split="train")
    pusher = Pusher(
        model=pretrainer.outputs["model"],
        infra_blessing=check.outputs["blessing"],
        push_destination=_destination(folders),
    )
    told = {
        "infra_blessing": check.outputs["blessing"],
        "pushed_model": pusher.outputs["pushed_model"],
    }
    report = report_run(
        plan,
        data,
        **told,
        pretrained_model=pretrainer.outputs["model"],
        pretraining=pretrainer.outputs["model_run"],
    )
    nodes = [*data.nodes, *begun.nodes, pretrainer, check, pusher, report]
    return _pipeline(plan, folders, nodes)


@dataclass(frozen=True)
class Data:
    """The nodes from lists to transformed examples."""

    example_gen: BaseComponent
    statistics: StatisticsGen
    validator: ExampleValidator
    transform: Transform
    nodes: tuple


def ingest(plan: Plan, example_gen: BaseComponent | None = None) -> Data:
    """Builds the nodes that read, validate and transform the images."""
    lists = plan.lists.given()
    example_gen = example_gen or read_lists(plan)
    others = ["eval", "pretrain"]
    # StatisticsGen describes every feature of every split.
    statistics = StatisticsGen(
        examples=example_gen.outputs["examples"], stats_options=describing(plan.task)
    )
    statistics = _stock(statistics, plan.task)
    # SchemaGen states what the training split looks like; it must not see the splits that are held
    # against it.
    described = statistics.outputs["statistics"]
    schema = _stock(
        SchemaGen(statistics=described, infer_feature_shape=True, exclude_splits=others), plan.task
    )
    # ExampleValidator holds the other splits against that schema; pretraining images carry no
    # target to compare.
    validator = ExampleValidator(
        statistics=described, schema=schema.outputs["schema"], exclude_splits=["pretrain"]
    )
    validator = _stock(validator, plan.task)
    # AnomalyGate stops the run if anything was found.
    gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"], fingerprint=_code(names.ANOMALY_GATE, plan.task)
    )
    # Transform decodes, resizes, learns the normalization and transforms the targets, from the
    # training split alone.
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=transform_pb2.SplitsConfig(
            analyze=["train"], transform=_splits(lists, plan.task)
        ),
        custom_config={
            "image_size": list(plan.choices.image_size),
            "stored_as": plan.stored_as,
            "task": task_to_json(plan.task),
            "normalization": [
                list(plan.saved_encoder.channel_mean),
                list(plan.saved_encoder.channel_std),
            ],
            "fingerprint": _code(names.TRANSFORM, plan.task),
        },
        disable_analyzer_cache=True,  # saves time; a changed split is analyzed whole
        disable_statistics=True,  # of examples before and after it: nobody reads them
    )
    transform.add_upstream_node(gate)
    return Data(
        example_gen,
        statistics,
        validator,
        transform,
        (example_gen, statistics, schema, validator, gate, transform),
    )


def read_lists(plan: Plan) -> FileListExampleGen:
    """Builds the node that reads the images that the lists name."""
    return FileListExampleGen(
        lists=plan.lists.given(),
        task=task_to_json(plan.task),
        fingerprint=_code(names.EXAMPLE_GEN, plan.task),
        on_bad_row=plan.choices.on_bad_row,
        hold_out=plan.task.has_target,
    )


def pretrain(plan: Plan, data: Data, **start: Channel) -> Trainer:
    """Builds the node that learns the encoder without labels; labels only watch (kNN accuracy).

    `start` is the encoder that it begins with, as `beginning` has it.
    """
    split = "pretrain" if "pretrain" in plan.lists.given() else "train"
    loss = [plan.pretraining.loss] if "." in plan.pretraining.loss else []
    code = _code(names.PRETRAINER, plan.task, plan.encoder.builder, *loss)
    science = PretrainingScience(**_science(plan), fingerprint=code, eval_epochs=plan.eval_epochs)
    splits = split, _held_out(plan)
    return _trainer(names.PRETRAINER, PRETRAIN_FN, data, splits, science, **start)


def finetune(plan: Plan, data: Data, encoder: Channel | None = None) -> Trainer:
    """Builds the node that trains a head on the encoder, and the encoder too unless it is frozen.

    Without one, it begins untrained.
    """
    code = _code(names.FINETUNER, plan.task, plan.encoder.builder)
    science = FinetuningScience(
        **_science(plan), fingerprint=code, finetuning=plan.choices.finetuning
    )
    base = {"base_model": encoder} if encoder else {}
    return _trainer(names.FINETUNER, FINETUNE_FN, data, ("train", _held_out(plan)), science, **base)


def import_encoder(plan: Plan, folders: Folders) -> Importer:
    """Builds the node that enters an encoder of an earlier run, or of another program, into ML
    Metadata.

    Its content is part of its identity.
    """
    saved = plan.saved_encoder
    told = {"fingerprint": saved.fingerprint, "source": saved.path}
    return Importer(
        source_uri=folders.imported,
        artifact_type=Model,
        custom_properties=told | ({"mapping": saved.mapping} if saved.mapping else {}),
    ).with_id(names.ENCODER)


def beginning(plan: Plan, folders: Folders) -> Part:
    """Builds the node that enters the weights which pretraining begins with; no node where these
    are random ones.
    """
    if not plan.saved_encoder.begins_pretraining:
        return Part((), {})
    imported = import_encoder(plan, folders)
    return Part((imported,), {"base_model": imported.outputs["result"]})


def evaluate_epochs(plan: Plan, data: Data, encoder: Channel, **start: Channel) -> Part:
    """Builds the node that tabulates accuracy against epochs of pretraining, which began with
    `start`, as `beginning` has it; no node where that was not asked for.
    """
    if not plan.eval_epochs:
        return Part((), {})
    settings = EvaluationScience(
        task_to_json(plan.task),
        plan.choices.image_size,
        plan.eval_epochs,
        plan.pretraining.seed,
    )
    node = EpochEvaluation(
        examples=data.transform.outputs["transformed_examples"],
        transform_graph=data.transform.outputs["transform_graph"],
        model=encoder,
        settings=json.dumps(to_json(settings), sort_keys=True),
        fingerprint=_code(names.EPOCH_EVALUATION, plan.task, plan.encoder.builder),
        **start,
    )
    return Part((node.with_id(names.EPOCH_EVALUATION),), {"by_epoch": node.outputs["evaluation"]})


def judge_and_push(plan: Plan, data: Data, finetuner: Trainer, folders: Folders) -> Part:
    """Builds the nodes that judge a model against thresholds and its predecessor, and push it only
    if it passes.
    """
    baseline = folders.baseline(finetuner)
    # Evaluator asks the served model for the answers to raw examples and holds the metric against
    # both thresholds.
    evaluation = plan.task.evaluation(
        plan.gate.limit(plan.task.higher_is_better), plan.gate.max_metric_drop
    )
    evaluation = with_least_images(evaluation, plan.gate.least_eval_images)
    config = json_format.ParseDict(evaluation, tfma.EvalConfig())
    evaluator = Evaluator(
        examples=data.example_gen.outputs["examples"],
        model=finetuner.outputs["model"],
        eval_config=config,
        example_splits=["eval"],
        **baseline.told,
    )
    metrics = [metric for spec in config.metrics_specs for metric in spec.metrics if metric.module]
    evaluator = _stock(
        evaluator, plan.task, *(f"{metric.module}.{metric.class_name}" for metric in metrics)
    )
    # ModelCheck loads the model in a fresh process and asks it as a server would.
    check = check_model(plan, data, finetuner)
    # Pusher copies the model out only if both blessed it.
    pusher = Pusher(
        model=finetuner.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=check.outputs["blessing"],
        push_destination=_destination(folders),
    )
    told = {
        "model": finetuner.outputs["model"],
        "finetuning": finetuner.outputs["model_run"],
        "evaluation": evaluator.outputs["evaluation"],
        "blessing": evaluator.outputs["blessing"],
        "infra_blessing": check.outputs["blessing"],
        "pushed_model": pusher.outputs["pushed_model"],
    }
    return Part((*baseline.nodes, evaluator, check, pusher), told)


def check_model(plan: Plan, data: Data, trainer: Trainer, split: str = "eval") -> ModelCheck:
    """Builds the node that loads the model in a fresh process."""
    return ModelCheck(
        model=trainer.outputs["model"],
        examples=data.example_gen.outputs["examples"],
        split=split,
        fingerprint=_code(names.MODEL_CHECK, plan.task),
    ).with_id(names.MODEL_CHECK)


def report_run(plan: Plan, data: Data, **channels) -> RunReport:
    """Builds the last node; `channels` are the inputs of RunReport that not every graph has."""
    return RunReport(
        fingerprint=_code(names.RUN_REPORT, plan.task),
        findings=findings.to_json(plan.findings),
        examples=data.example_gen.outputs["examples"],
        statistics=data.statistics.outputs["statistics"],
        anomalies=data.validator.outputs["anomalies"],
        transformed_examples=data.transform.outputs["transformed_examples"],
        transform_graph=data.transform.outputs["transform_graph"],
        **channels,
    )


def _code(node: str, task: Task, *also: str) -> str:
    return node_fingerprint(node, type(task), *also)


def _stock(node: BaseComponent, task: Task, *also: str) -> BaseComponent:
    """Returns a component of TFX's own, which knows no fingerprint, with one among the parameters
    that the cache compares.
    """
    node.exec_properties["fingerprint"] = _code(node.id, task, *also)
    return node


def _trainer(
    name: str, run_fn: str, data: Data, splits: tuple[str, str], science: Science, **channels
) -> Trainer:
    return Trainer(
        run_fn=run_fn,
        examples=data.transform.outputs["transformed_examples"],
        transform_graph=data.transform.outputs["transform_graph"],
        train_args=trainer_pb2.TrainArgs(splits=[splits[0]]),
        eval_args=trainer_pb2.EvalArgs(splits=[splits[1]]),
        custom_config=to_json(science),
        **channels,
    ).with_id(name)


def _science(plan: Plan) -> dict[str, Any]:
    """Returns the settings that both Trainers need."""
    return {
        "task": task_to_json(plan.task),
        "image_size": plan.choices.image_size,
        "view_size": plan.choices.view_size,
        "encoder": plan.encoder,
        "augmentation": plan.choices.augmentation,
        "pretraining": plan.pretraining,
    }


def _held_out(plan: Plan) -> str:
    """Returns the split to evaluate on.

    Where nothing is held out TFX wants the name of a split all the same.
    """
    return "eval" if "eval" in _splits(plan.lists.given(), plan.task) else "train"


def _splits(lists: dict, task: Task) -> list[str]:
    if not lists:
        return ["eval", "train"]  # what another ExampleGen must give
    return sorted({*lists, "eval"} if is_split(lists, task.has_target) else lists)


def _destination(folders: Folders) -> pusher_pb2.PushDestination:
    return pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=folders.serving)
    )


def _pipeline(plan: Plan, folders: Folders, nodes: list) -> Pipeline:
    return Pipeline(
        pipeline_name=plan.name,
        pipeline_root=folders.root,
        components=nodes,
        enable_cache=True,
        beam_pipeline_args=BEAM_ARGS,
    )
