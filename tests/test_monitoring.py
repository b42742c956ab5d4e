"""The dashboard and the alert rules name what the code exports, and Prometheus understands them."""

import json
import re
import shutil
import subprocess
from itertools import chain

import pytest
import yaml
from prometheus_client import REGISTRY

from attachments.metrics.gauges import BacklogCollector
from attachments.metrics.series import OPERATIONS
from attachments.storage import get_attachments_storage
from tests.documents import ROOT

DIRECTORY = ROOT / "docs" / "monitoring"
DASHBOARD = json.loads((DIRECTORY / "dashboard.json").read_text())
RULES = yaml.safe_load((DIRECTORY / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = {
    panel["title"]: [target["expr"] for target in panel["targets"]] for panel in DASHBOARD["panels"]
}
EXPRESSIONS = [*chain(*PANELS.values()), *(rule["expr"] for rule in RULES)]
NAME = re.compile(r"\battachments_[a-z_]+")
SELECTOR = re.compile(r"(attachments_[a-z_]+)\{([^}]*)\}")
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"
)


@pytest.fixture(scope="module")
def exported(django_db_setup, django_db_blocker):
    """The names of all samples, each with the values of each of its labels."""
    with django_db_blocker.unblock():
        families = [*REGISTRY.collect(), *BacklogCollector().collect()]
    found = {}
    for sample in chain.from_iterable(family.samples for family in families):
        labels = found.setdefault(sample.name, {})
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    return {name: labels for name, labels in found.items() if name.startswith("attachments_")}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_expression_names_what_is_exported(exported, expression):
    assert set(NAME.findall(expression)) <= exported.keys()
    for name, selector in SELECTOR.findall(expression):
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selector):
            wanted = set(value.split("|")) if operator == "=~" else {value}
            assert wanted <= exported[name][label]
    for labels in re.findall(r"by \(([\w, ]+)\)", expression):
        known = set().union(*(exported[name] for name in NAME.findall(expression)))
        assert {label.strip() for label in labels.split(",")} <= known


def test_the_dashboard_shows_all_that_is_exported(exported):
    shown = set(NAME.findall(" ".join(chain(*PANELS.values()))))
    families = {
        re.sub("_(bucket|sum|count)$", "", name)
        for name in exported
        if not name.endswith("_created")
    }

    assert families == {re.sub("_(bucket|sum|count)$", "", name) for name in shown}


def test_panels_lie_beside_each_other():
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]

    assert len(set(places)) == len(places) == len(PANELS)


def test_each_alert_says_what_to_do():
    for rule in RULES:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"].keys() == {"summary", "action"}


def test_the_operations_of_the_store_are_spelled_as_boto3_spells_them():
    operations = get_attachments_storage().connection.meta.client.meta.service_model.operation_names

    assert set(OPERATIONS) <= set(operations)


@needs_promtool
@pytest.mark.parametrize(
    "command", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]]
)
def test_promtool_finds_no_mistake(command):
    check = subprocess.run(
        ["promtool", *command], cwd=DIRECTORY, check=False, capture_output=True, text=True
    )

    assert check.returncode == 0, check.stdout + check.stderr


@needs_promtool
@pytest.mark.django_db
def test_promtool_reads_what_is_exported(tmp_path):
    from attachments import metrics

    check = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics.render_metrics(),
        check=False,
        capture_output=True,
    )

    complaints = [line for line in check.stderr.decode().splitlines() if "attachments_" in line]
    assert complaints == []


@needs_promtool
def test_promtool_parses_each_expression_of_the_dashboard(tmp_path):
    expressions = [
        expression.replace("$__rate_interval", "5m") for expression in chain(*PANELS.values())
    ]
    rules = [{"record": f"panel_{n}", "expr": expr} for n, expr in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    check = subprocess.run(
        ["promtool", "check", "rules", path], check=False, capture_output=True, text=True
    )

    assert check.returncode == 0, check.stdout + check.stderr
