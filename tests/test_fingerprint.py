import shutil

import pytest

from pipeline import fingerprint


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    fingerprint._tree.cache_clear()
    (tmp_path / "trainer_module").mkdir()
    (tmp_path / "trainer_module" / "__init__.py").write_text("")

    def write(name, text):
        (tmp_path / "trainer_module" / f"{name}.py").write_text(text)
        fingerprint._tree.cache_clear()

    write("loss", "TEMPERATURE = 0.5\n")
    write("run", "from trainer_module.loss import TEMPERATURE\nfrom trainer_module import other\n")
    write("other", "VALUE = 1\n")
    write("apart", "VALUE = 2\n")
    return write


def digest():
    return fingerprint.code_fingerprint("trainer_module.run")


def test_an_edit_of_an_imported_module_changes_the_fingerprint(project):
    before = digest()
    project("loss", "TEMPERATURE = 0.1\n")
    assert digest() != before


def test_an_edit_of_a_module_that_is_not_imported_does_not(project):
    before = digest()
    project("apart", "VALUE = 3\n")
    assert digest() == before


def test_comments_docstrings_and_layout_do_not_count(project):
    before = digest()
    project("loss", '"""Now documented."""\n\n# and commented\nTEMPERATURE   =   0.5\n')
    assert digest() == before


def test_a_page_beside_an_imported_module_counts(project, tmp_path):
    before = digest()
    (tmp_path / "trainer_module" / "page.html").write_text("<p>new</p>")
    assert digest() != before


def test_imports_of_submodules_through_the_package_are_followed(project):
    assert fingerprint.imported_modules("trainer_module.run") >= {"trainer_module.loss", "trainer_module.other"}


def test_the_pretrainer_does_not_depend_on_the_code_of_the_finetuner():
    assert "trainer_module.finetune" not in fingerprint.imported_modules("trainer_module.pretrain_run_fn")


def test_an_edit_of_a_tasks_loss_runs_the_finetuner_again_and_not_the_ingest(tmp_path, monkeypatch):
    before = {node: fingerprint.node_fingerprint(node) for node in fingerprint.NODES}
    shutil.copytree(fingerprint.ROOT / "components", tmp_path / "components")
    shutil.copytree(fingerprint.ROOT / "trainer_module", tmp_path / "trainer_module")
    file = tmp_path / "trainer_module" / "tasks" / "classification.py"
    file.write_text(file.read_text().replace('name="cross_entropy"', 'name="log_loss"'))
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    after = {node: fingerprint.node_fingerprint(node) for node in fingerprint.NODES}
    assert [node for node in fingerprint.NODES if after[node] != before[node]] == ["Finetuner"]
