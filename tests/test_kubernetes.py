"""The example for Kubernetes: what the API server would refuse, and what would not start."""

import re
import subprocess
import sys
from secrets import token_urlsafe

import kubernetes_validate
import pytest
import yaml
from django.urls import resolve

from attachments.conf import DEFAULTS
from nodus import gunicorn_conf
from tests.compose import SERVICES
from tests.documents import ROOT, VARIABLES, read_blocks

DIRECTORY = ROOT / "docs" / "kubernetes"
OBJECTS = {
    (item["kind"], item["metadata"]["name"]): item
    for path in sorted(DIRECTORY.glob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text())
}
PODS = {
    name.removeprefix("nodus-"): item["spec"]["template"]["spec"]
    for (kind, name), item in OBJECTS.items()
    if kind in ("Deployment", "Job")
}
CONTAINERS = {name: pod["containers"][0] for name, pod in PODS.items()}
SETTINGS = OBJECTS["ConfigMap", "nodus"]["data"]
ENV_FILES = [
    dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", block, re.M))
    for block in read_blocks("docs/deployment.md", "env")
]
# What docs/deployment.md puts into the two secrets.
(SECRET,) = (block for block in ENV_FILES if "DJANGO_SECRET_KEY" in block)
(SETUP_SECRET,) = (block for block in ENV_FILES if "S3_ADMIN_ACCESS_KEY" in block)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("key", OBJECTS, ids="-".join)
def test_it_keeps_the_schema(key, version):
    kubernetes_validate.validate(OBJECTS[key], version, strict=True)


def test_there_is_what_a_site_needs():
    assert set(PODS) == {"setup", "web", "worker", "schedule"}
    kinds = {kind for kind, _ in OBJECTS}
    assert kinds >= {"Service", "Ingress", "ConfigMap", "PodDisruptionBudget"}


@pytest.mark.parametrize("name", ["setup", "worker", "schedule"])
def test_the_commands_are_those_of_compose(name):
    assert CONTAINERS[name]["command"] == SERVICES[name]["command"]


def test_each_variable_is_one_of_the_settings():
    own = {
        variable["name"]
        for container in CONTAINERS.values()
        for variable in container.get("env", ())
        if "value" in variable
    }
    secret = {*SECRET, *SETUP_SECRET}
    known = {*VARIABLES, *(f"ATTACHMENTS_{key}" for key in DEFAULTS)}
    assert {*own, *SETTINGS, *secret} <= known
    assert not secret & SETTINGS.keys()
    assert {name for name in secret if "ADMIN" in name} == SETUP_SECRET.keys()


def test_each_reference_leads_somewhere():
    for name, container in CONTAINERS.items():
        maps = [source["configMapRef"]["name"] for source in container["envFrom"][:1]]
        secrets = [source["secretRef"]["name"] for source in container["envFrom"][1:]]
        assert maps == ["nodus"]
        assert secrets == (["nodus", "nodus-setup"] if name == "setup" else ["nodus"])
    labels = OBJECTS["Deployment", "nodus-web"]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS["Service", "nodus"]["spec"]["selector"] == labels
    budget = OBJECTS["PodDisruptionBudget", "nodus-web"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert budget["minAvailable"] < OBJECTS["Deployment", "nodus-web"]["spec"]["replicas"]


@pytest.mark.parametrize("name", PODS)
def test_each_pod_is_confined(name):
    pod, container = PODS[name], CONTAINERS[name]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
    assert container["resources"].keys() == {"requests", "limits"}


def test_pods_have_the_time_to_finish():
    web = CONTAINERS["web"]
    pause = int(web["lifecycle"]["preStop"]["exec"]["command"][1])

    assert PODS["web"]["terminationGracePeriodSeconds"] > pause + gunicorn_conf.graceful_timeout
    assert PODS["worker"]["terminationGracePeriodSeconds"] == 120  # as in Compose


def test_probes_ask_what_answers():
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = CONTAINERS["web"][probe]["httpGet"]["path"]
        assert resolve(path).url_name.startswith("health")


def test_production_starts_with_these_variables():
    own = {item["name"]: item.get("value", "10.0.0.1") for item in CONTAINERS["web"]["env"]}
    filled = {name: token_urlsafe(48) for name in (*SECRET, *SETUP_SECRET)}
    database = {"DATABASE_URL": SECRET["DATABASE_URL"]}

    check = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={"DJANGO_DEBUG": "false", **SETTINGS, **own, **filled, **database},
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.returncode == 0, check.stderr
