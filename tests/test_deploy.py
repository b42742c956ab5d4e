"""The deployment, as far as it runs without Docker: tests/compose.py runs the services.

PostgreSQL is an empty database of the suite's. The store is SeaweedFS, as its profile starts it.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
import yaml

from attachments.conf import DEFAULTS
from attachments.storage import build_policies
from attachments.storage.policies import VARIABLES as S3_KEYS
from nodus import gunicorn_conf
from nodus.dev.embedded import find_free_ports
from tests.compose import (
    BIN,
    COMPOSE,
    COMPOSE_FILE,
    SERVICES,
    Project,
    build_image,
    can_confine,
    interpolate,
)
from tests.documents import ROOT, VARIABLES, read_example

OURS = [name for name, service in SERVICES.items() if "build" in service]
BACKGROUND = ["worker", "schedule"]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return build_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def project(image, tmp_path):
    """Nothing of it runs."""
    return Project(image=image, directory=tmp_path)


def read_secrets(project: Project) -> dict[str, str]:
    """Run the service `secrets`."""
    made_up = project.run("secrets")
    assert made_up.returncode == 0, made_up.stderr
    paths = [path for path in project.secrets.rglob("*") if path.is_file()]
    return {str(path.relative_to(project.secrets)): path.read_text() for path in paths}


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """An empty database."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS test_deploy WITH (FORCE)")
        server.execute("CREATE DATABASE test_deploy")
        yield urlsplit(url)._replace(path="/test_deploy").geturl()
        server.execute("DROP DATABASE test_deploy WITH (FORCE)")


@dataclass
class Site:
    project: Project
    processes: dict[str, "subprocess.Popen[str]"]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.project.ports['web']}"

    @property
    def s3_url(self) -> str:
        return f"http://localhost:{self.project.s3_port}"


@pytest.fixture(scope="module")
def site(image, database_url, tmp_path_factory) -> Iterator[Site]:
    """`docker compose up`: secrets, an empty database, an empty store, setup, and the servers."""
    directory = tmp_path_factory.mktemp("volumes")
    project = Project(image=image, directory=directory, variables={"CLAMAV_URL": ""})
    read_secrets(project)
    (project.secrets / "site" / "database_url").write_text(find_database(project, database_url))
    with ExitStack() as stack:
        run_once(project, "seaweedfs-setup")
        store = stack.enter_context(start_store(project))
        stack.callback(store.kill)  # its data is thrown away
        wait_for(lambda: answers(f"http://localhost:{project.s3_port}", 403), {"seaweedfs": store})
        run_once(project, "setup")
        servers = {name: stack.enter_context(project.start(name)) for name in ("web", *BACKGROUND)}
        wait_for(lambda: answers(f"http://localhost:{project.ports['web']}/health", 200), servers)
        yield Site(project, {"seaweedfs": store, **servers})


def find_database(project: Project, url: str) -> str:
    """Where its containers find it. The one of the tests listens on a Unix socket alone."""
    if "?host=" not in url:
        return url
    base, _, directory = url.partition("?host=")
    socket = project.mount_socket(Path(directory) / ".s.PGSQL.5432")
    return f"{base}?host={socket.parent}"


def run_once(project: Project, service: str) -> None:
    result = project.run(service)
    assert result.returncode == 0, result.stdout + result.stderr


def start_store(project: Project):
    """SeaweedFS on free ports; the usual size of volumes may be more than this disk has room for."""
    parts = ("master.port", "volume.port", "filer.port")
    free = iter(find_free_ports(2 * len(parts) + 1))
    ports = [f"-{part}{suffix}={next(free)}" for part in parts for suffix in ("", ".grpc")]
    command = [*project.read_command("seaweedfs"), *ports, f"-s3.port.grpc={next(free)}"]
    return project.start("seaweedfs", *command, "-master.volumeSizeLimitMB=64")


def wait_for(is_there: Callable[[], bool], processes: dict[str, "subprocess.Popen[str]"]) -> None:
    deadline = time.monotonic() + 60
    while not is_there():
        assert time.monotonic() < deadline
        for name, process in processes.items():
            assert process.poll() is None, f"{name} ended"
        time.sleep(0.1)


def answers(url: str, status: int) -> bool:
    try:
        return requests.get(url, timeout=30).status_code == status
    except requests.ConnectionError:
        return False


@pytest.mark.postgres
def test_the_site_is_healthy(site):
    health = requests.get(f"{site.url}/health", timeout=30)

    assert health.json() == {"status": "ok", "minio": "connected", "database": "connected"}


@pytest.mark.postgres
@pytest.mark.parametrize("service", ["web", *BACKGROUND])
def test_a_container_says_that_it_is_healthy(site, service):
    def probe():
        return site.project.run(service, *site.project.read_healthcheck(service))

    wait_for(lambda: probe().returncode == 0, {service: site.processes[service]})

    assert (probe().returncode, probe().stderr) == (0, "")


@pytest.mark.postgres
def test_the_store_answers_to_its_healthcheck(site):
    url = site.project.read_healthcheck("seaweedfs")[-1]

    assert answers(url, 200)


@pytest.mark.postgres
def test_a_container_says_that_the_store_is_down(site, image):
    (nowhere,) = find_free_ports(1)
    (port,) = find_free_ports(1)
    broken = {
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{nowhere}",
        "BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "1",
    }

    with site.project.start("web", environment=broken) as web:
        wait_for(lambda: answers(f"http://localhost:{port}/health", 503), {"web": web})
        probe = site.project.run("web", *image.probe, **broken)

    assert probe.returncode == 1
    assert json.loads(probe.stderr)["minio"] == "unavailable"


def test_a_container_says_that_nothing_listens(project, image):
    probe = project.run("web", *image.probe, DJANGO_ALLOWED_HOSTS="*.example.com")

    assert probe.returncode == 1
    assert "refused" in probe.stderr


@pytest.mark.skipif(not can_confine(), reason="this machine makes no namespaces")
@pytest.mark.parametrize("service", OURS)
def test_a_container_writes_to_tmp_alone_and_has_no_rights(project, service):
    script = """
import os, pathlib, tempfile
tempfile.TemporaryFile()
for place in (".", "/", "/root", os.environ["HOME"], "/var/tmp"):
    try:
        pathlib.Path(place, "written").touch()
    except OSError:
        continue
    print("wrote to", place)
status = pathlib.Path("/proc/self/status").read_text()
print(os.getuid(), *(line for line in status.splitlines() if line.startswith(("CapEff", "NoNew"))))
"""

    result = project.run(service, "python", "-c", script)

    uid = 0 if service == "seaweedfs-setup" else 10001
    assert result.stdout == f"{uid} CapEff:\t{'0' * 16} NoNewPrivs:\t1\n", result.stderr


@pytest.mark.postgres
def test_swagger_ui_and_the_admin_have_their_files(site):
    for page in ("/api/docs", "/admin/login/"):
        html = requests.get(site.url + page, headers={"Accept": "text/html"}, timeout=30).text
        addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
        assert len(addresses) > 2
        for address in addresses:
            assert requests.get(site.url + address, timeout=30).status_code == 200


def make_client(site: Site) -> "requests.Session":
    """Somebody with an account, who is signed in."""
    account = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": "made up"}
    command = ["python", "manage.py", "createsuperuser", "--noinput", "--email", "r@example.com"]
    site.project.run("web", *command, **account)
    login = {"username": "root", "password": "made up"}
    token = requests.post(f"{site.url}/api/v1/auth/token", json=login, timeout=30).json()["access"]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return session


@pytest.mark.postgres
def test_a_browser_uploads_to_the_address_that_it_can_reach(site, samples):
    url = f"{site.url}/api/v1/attachments"
    with make_client(site) as client:
        file = {"filename": "a.png", "content_type": "image/png"}
        ticket = client.post(f"{url}/presigned", json=file).json()
        requests.post(
            ticket["url"], data=ticket["fields"], files={"file": samples["image/png"]}, timeout=30
        ).raise_for_status()
        body = {"attachment_id": ticket["attachment_id"]}
        attachment = client.post(f"{url}/confirm", json=body).json()

        def find_thumbnail():
            return client.get(f"{url}/{attachment['id']}").json()["thumbnail_url"]

        wait_for(lambda: find_thumbnail() is not None, site.processes)
        thumbnail = requests.get(find_thumbnail(), timeout=30)

    assert ticket["url"] == f"{site.s3_url}/attachments"
    assert attachment["status"] == "ready"
    assert attachment["download_url"].startswith(f"{site.s3_url}/attachments/")
    assert requests.get(attachment["download_url"], timeout=30).content == samples["image/png"]
    assert thumbnail.headers["Content-Type"] == "image/webp"  # the worker decoded it


@pytest.mark.postgres
def test_the_forms_and_links_show_keys_that_may_do_one_thing_each(site):
    path = site.project.secrets / "seaweedfs" / "identities.json"
    identities = {item["name"]: item for item in json.loads(path.read_text())["identities"]}

    keys = {name: item["credentials"][0]["accessKey"] for name, item in identities.items()}
    assert keys == {
        "main": "nodus",
        "signer": "nodus-signer",
        "reader": "nodus-reader",
        "admin": "nodus-admin",
    }
    assert identities["signer"]["actions"] == ["Write:attachment?"]
    assert identities["reader"]["actions"] == []
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.postgres
def test_prometheus_may_read_the_metrics_of_each_server(site):
    (job,) = yaml.safe_load((ROOT / "docs/monitoring/prometheus.yml").read_text())["scrape_configs"]
    token = Path(str(site.project.secrets) + job["authorization"]["credentials_file"][12:])
    headers = {"Authorization": f"Bearer {token.read_text()}"}

    (targets,) = (config["targets"] for config in job["static_configs"])
    assert {target.partition(":")[0] for target in targets} == {"web", *BACKGROUND}
    for target in targets:
        url = f"http://localhost:{site.project.ports[target.partition(':')[0]]}/metrics"
        answer = requests.get(url, headers={**headers, "Host": target}, timeout=30)
        assert answer.status_code == 200
        assert "attachments_uploads_total" in answer.text
    assert requests.get(f"{site.url}/metrics", timeout=30).status_code == 404


@pytest.mark.postgres
def test_setup_may_run_again(site):
    setup = site.project.run("setup")

    assert setup.returncode == 0
    assert "created" not in setup.stdout
    assert "changed " not in setup.stdout.replace("unchanged", "")


@pytest.mark.postgres
def test_the_cache_is_redis(site):
    code = "from django.core.cache import cache; print(cache.make_key('x'), cache._cache)"

    result = site.project.run("web", "python", "manage.py", "shell", "-c", code)

    assert "RedisCacheClient" in result.stdout, result.stderr


@pytest.mark.postgres
@pytest.mark.parametrize("service", ["web", *BACKGROUND])
def test_a_server_that_is_told_to_stop_ends_by_itself(site, service):
    """Last of those that use the site."""
    process = site.processes[service]

    process.terminate()

    assert process.wait(60) == 0


def test_compose_waits_until_a_server_has_ended():
    periods = {name: SERVICES[name].get("stop_grace_period", "10s") for name in OURS}

    assert int(periods["web"].removesuffix("s")) > gunicorn_conf.graceful_timeout
    assert periods["worker"] == "2m"  # no task is cut off that a decoder may take a minute for


def test_secrets_are_made_up_once(project):
    first = read_secrets(project)
    second = read_secrets(project)

    assert first == second
    assert first.keys() == {
        "site/django_secret_key",
        "site/s3_secret_key",
        "site/s3_signer_secret_key",
        "site/s3_reader_secret_key",
        "database/postgres_password",
        "site/database_url",
        "admin/s3_admin_secret_key",
        "root/minio_root_password",
        "metrics/metrics_token",
        "grafana/grafana_password",
    }
    assert len(set(first.values())) == 10
    database_url = first.pop("site/database_url")
    assert all(re.fullmatch(r"[\w-]{64}", value) for value in first.values())
    assert urlsplit(database_url).password == first["database/postgres_password"]


# The keys of the store


def find_mounts(service: str) -> dict[str, str]:
    """Which volume a service finds where in /run/secrets."""
    mounts = (volume.split(":") for volume in SERVICES[service].get("volumes", ()))
    return {
        path.removeprefix("/run/secrets/"): volume
        for volume, path, *_ in mounts
        if path.startswith("/run/secrets/")
    }


def test_each_service_sees_the_secrets_that_it_needs():
    seen = {name: find_mounts(name) for name in SERVICES if find_mounts(name)}

    site = {"site": "secrets", "metrics": "metrics-secrets"}
    admin, root = {"admin": "admin-secrets"}, {"root": "root-secrets"}
    database, store = {"database": "database-secrets"}, {"seaweedfs": "seaweedfs-secrets"}
    metrics, grafana = {"metrics": "metrics-secrets"}, {"grafana": "grafana-secrets"}
    assert seen == {
        "secrets": {**site, **database, **admin, **root, **grafana},
        "postgres": database,
        "minio": root,
        "minio-setup": {"site": "secrets", **admin, **root},
        "seaweedfs-setup": {**site, **admin, **store},
        "seaweedfs": store,
        "setup": {**site, **admin},
        "web": site,
        "worker": site,
        "schedule": site,
        "prometheus": metrics,
        "grafana": grafana,
    }


def test_nothing_of_ours_uses_the_root_key_and_nothing_that_serves_the_admin_key():
    users = {
        name: {
            value
            for variable, value in service.get("environment", {}).items()
            if variable.endswith("_ACCESS_KEY")
        }
        for name, service in SERVICES.items()
    }

    servers = {"nodus", "nodus-signer", "nodus-reader"}
    assert users["web"] == users["worker"] == users["schedule"] == servers
    assert users["setup"] == users["seaweedfs-setup"] == {*users["web"], "nodus-admin"}
    assert SERVICES["minio"]["environment"]["MINIO_ROOT_USER"] == "nodus-root"


def test_minio_gets_a_user_with_a_policy_for_each_key(project):
    secrets = read_secrets(project)
    (project.directory / "bin").mkdir()
    client = project.directory / "bin" / "mc"
    client.write_text('#!/bin/sh\necho "$MC_HOST_minio $*"\n')
    client.chmod(0o755)

    setup = project.run("minio-setup")

    root = f"http://nodus-root:{secrets['root/minio_root_password']}@minio:9000"
    users = {
        "nodus": "site/s3_secret_key",
        "nodus-signer": "site/s3_signer_secret_key",
        "nodus-reader": "site/s3_reader_secret_key",
        "nodus-admin": "admin/s3_admin_secret_key",
    }
    assert setup.stdout.splitlines() == [
        line
        for name, secret in users.items()
        for line in (
            f"{root} admin user add minio {name} {secrets[secret]}",
            f"{root} admin policy create minio {name} /{name}",
            f"{root} admin policy attach minio {name} --user {name}",
        )
    ]
    assert SERVICES["minio-setup"]["configs"] == list(users)


@pytest.mark.parametrize("bucket", ["attachments", "files"])
def test_the_policies_in_minio_are_those_that_setup_storage_prints(bucket):
    environment = SERVICES["setup"]["environment"]
    contents = {
        role: COMPOSE["configs"][environment[f"{prefix}_ACCESS_KEY"]]["content"]
        for role, prefix in S3_KEYS.items()
    }

    policies = {
        role: json.loads(interpolate(content, S3_BUCKET=bucket))
        for role, content in contents.items()
    }

    assert policies == build_policies(bucket)["minio"]


# The files


def test_without_secrets_production_refuses_to_start(image):
    result = subprocess.run(
        ["python", "manage.py", "check"],
        cwd=image.directory,
        env=image.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode != 0
    for name in ("DJANGO_SECRET_KEY", "DATABASE_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        assert name in result.stderr


def test_the_dockerfile_has_no_warning():
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True)


def test_the_compose_file_keeps_the_schema():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE]

    subprocess.run(command, check=True)


def test_what_is_waited_for_can_tell_that_it_is_there():
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "test" in SERVICES[name]["healthcheck"]
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert "restart" not in SERVICES[name]
            profiles = SERVICES[name].get("profiles", [])
            assert profiles in ([], service.get("profiles")) or wanted["required"] is False


def test_one_store_takes_the_place_of_the_other():
    minio, seaweedfs = SERVICES["minio"], SERVICES["seaweedfs"]

    assert minio["networks"] == seaweedfs["networks"] == {"default": {"aliases": ["store"]}}
    assert set(seaweedfs["ports"]) < set(minio["ports"])  # both at once cannot start
    assert SERVICES["minio-setup"]["scale"] == minio["scale"] == "${MINIO_SCALE:-1}"


def test_each_container_is_confined():
    """Others start as root and give that up, or write to what is not known."""
    confined = {name for name, service in SERVICES.items() if service.get("read_only")}

    assert confined >= {*OURS, "secrets", "seaweedfs", "redis", "prometheus"}
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service.get("cap_drop") == ["ALL"] or name in ("postgres", "clamav")
        # Compose copies their content into the container, and cannot if nothing can be written.
        assert not (name in confined and "configs" in service)


def test_only_this_machine_reaches_the_ports():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(set(ports)) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_volume_is_declared_and_each_image_pinned():
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    images = [service["image"] for service in SERVICES.values() if "build" not in service]

    sources = {volume.partition(":")[0] for volume in volumes}
    files = {source for source in sources if source.startswith("./")}
    assert sources - files == COMPOSE["volumes"].keys()
    assert all((ROOT / path).exists() for path in files)
    assert all(re.fullmatch(r"[\w/]+:(?!latest)\S+", image) for image in images)
    assert "minio/minio:RELEASE.2025-09-07T16-13-09Z" in images


def test_compose_sets_what_the_settings_read():
    environment = SERVICES["setup"]["environment"]
    interpolated = set(re.findall(r"\$\{(\w+)", COMPOSE_FILE.read_text()))

    assert {name.removesuffix("_FILE") for name in environment} <= VARIABLES
    # PORT and S3_PORT are in the Makefile too.
    assert interpolated - {"PORT", "S3_PORT", "MINIO_SCALE"} <= VARIABLES


def test_the_example_names_what_the_settings_read():
    example = read_example()
    limits = {name for name in example if name.startswith("ATTACHMENTS_")}

    assert example.keys() - limits == VARIABLES
    assert {name.removeprefix("ATTACHMENTS_") for name in limits} <= DEFAULTS.keys()


def test_the_example_shows_the_defaults(image):
    code = """
import json
from attachments.conf import DEFAULTS
from nodus import gunicorn_conf, settings
values = {**vars(settings), **vars(gunicorn_conf)}
values["ATTACHMENTS"] = {**DEFAULTS, **values["ATTACHMENTS"]}
values["STORAGES"]["attachments"]["OPTIONS"].pop("client_config")
names = ["DEBUG", "ALLOWED_HOSTS", "DATABASES", "CACHES", "STORAGES", "ATTACHMENTS", "LOGGING"]
names += ["LANGUAGE_CODE", "LOG_REQUESTS", "bind", "workers"]
print(json.dumps({name: values[name] for name in names}, default=repr))
"""

    def show(**variables: str) -> "subprocess.CompletedProcess[str]":
        # None of the variables that the Dockerfile sets.
        environment = {"PATH": image.environment["PATH"], **variables}
        return subprocess.run(
            ["python", "-c", code],
            cwd=image.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    shown, default = show(**read_example()), show()

    assert shown.returncode == default.returncode == 0, shown.stderr + default.stderr
    assert json.loads(shown.stdout) == json.loads(default.stdout)
