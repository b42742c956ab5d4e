"""The deployment, as far as it runs without Docker.

The image is a folder with what the COPY lines of the Dockerfile take. The commands and the
variables are those of the Dockerfile and of docker-compose.yml. PostgreSQL and S3 are fresh, and
differ only in where they listen.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
import yaml

from attachments.conf import DEFAULTS
from attachments.storage import build_policies
from attachments.storage.policies import VARIABLES as S3_KEYS
from attachments.storage.policies import Key
from nodus.dev.embedded import EmbeddedS3, find_free_ports
from tests.documents import ROOT, VARIABLES, read_example

BIN = Path(sys.executable).parent
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@dataclass
class Image:
    """What the Dockerfile makes."""

    directory: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": f"{BIN}:{os.environ['PATH']}"}
    )
    command: list[str] = field(default_factory=list)
    probe: list[str] = field(default_factory=list)

    def run(self, command: list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = {**self.environment, **variables}
        return subprocess.run(
            command,
            cwd=self.directory,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Image:
    image = Image(directory=tmp_path_factory.mktemp("image"))
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    for name, value in re.findall(r"^([A-Z]+) (.+)$", text, re.M):
        if name == "COPY":
            *sources, target = value.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, image.directory / target)
        elif name == "ENV":
            image.environment.update(pair.split("=") for pair in value.split())
        elif name == "RUN" and value.startswith("python"):
            result = image.run(value.split())
            assert result.returncode == 0, result.stderr
        elif name == "CMD":
            image.command = json.loads(value)
        elif name == "HEALTHCHECK":
            image.probe = json.loads(value.partition(" CMD ")[2])
    return image


@dataclass
class Site:
    url: str
    s3_url: str
    image: Image
    environment: dict[str, str]
    setup_environment: dict[str, str]


def interpolate(value: str, **variables: str) -> str:
    """Replace variables as Compose does, the innermost first."""
    while match := re.search(r"\$\{(\w+):-([^{}]*)\}", value):
        value = value.replace(match[0], variables.get(match[1]) or match[2])
    return value


def run_service(name: str, directory: Path, **environment: str) -> None:
    """Run a service that is a shell script; its working directory is ``directory``."""
    service = SERVICES[name]
    command = [*service["entrypoint"], *service["command"]]
    subprocess.run(
        [part.replace("$$", "$") for part in command],
        cwd=directory,
        env={**os.environ, **service.get("environment", {}), **environment},
        check=True,
    )


def find_mounts(name: str) -> dict[str, str]:
    """Which volume a service finds where in /run/secrets."""
    mounts = (volume.split(":") for volume in SERVICES[name]["volumes"])
    return {
        path.removeprefix("/run/secrets/"): volume
        for volume, path, *_ in mounts
        if path.startswith("/run/secrets/")
    }


def make_up_secrets(directory: Path) -> dict[str, str]:
    """Run the service `secrets`."""
    for path in find_mounts("secrets"):
        (directory / path).mkdir(exist_ok=True)
    run_service("secrets", directory)
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_text() for path in paths}


def read_key(environment: dict[str, str], prefix: str) -> Key:
    return Key(
        access_key=environment[f"{prefix}_ACCESS_KEY"],
        secret_key=Path(environment[f"{prefix}_SECRET_KEY_FILE"]).read_text(),
    )


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """An empty database."""
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS test_deploy WITH (FORCE)")
        server.execute("CREATE DATABASE test_deploy")
        yield urlsplit(url)._replace(path="/test_deploy").geturl()
        server.execute("DROP DATABASE test_deploy WITH (FORCE)")


@pytest.fixture(scope="module")
def site(image, database_url, tmp_path_factory) -> Iterator[Site]:
    """`docker compose up`: secrets, an empty database, an empty store, setup, web."""
    directory = tmp_path_factory.mktemp("secrets")
    make_up_secrets(directory)
    (directory / "site" / "database_url").write_text(database_url)
    (s3_port,) = find_free_ports(1)

    def read_environment(service: str) -> dict[str, str]:
        variables = {
            name: interpolate(value, S3_PORT=str(s3_port)).replace("/run/secrets", str(directory))
            for name, value in SERVICES[service]["environment"].items()
        }
        endpoint_url = f"http://127.0.0.1:{s3_port}"
        return {**image.environment, **variables, "S3_ENDPOINT_URL": endpoint_url}

    environment, setup_environment = read_environment("web"), read_environment("setup")
    s3 = EmbeddedS3(
        data_dir=tmp_path_factory.mktemp("s3"),
        port=s3_port,
        keys={role: read_key(setup_environment, prefix) for role, prefix in S3_KEYS.items()},
        buckets=["attachments"],
    )
    with ExitStack() as stack:
        s3.start()
        stack.callback(s3.kill)  # its data is thrown away
        setup = image.run(SERVICES["setup"]["command"], **setup_environment)
        assert setup.returncode == 0, setup.stderr
        yield stack.enter_context(serve(image, environment, setup_environment))


@contextmanager
def serve(
    image: Image, environment: dict[str, str], setup_environment: dict[str, str] | None = None
) -> Iterator[Site]:
    """Run the image's command on a free port, and wait until it gives any answer to /health."""
    (port,) = find_free_ports(1)
    environment = {**environment, "BIND": f"127.0.0.1:{port}"}
    url = f"http://localhost:{port}"
    web = subprocess.Popen(image.command, cwd=image.directory, env=environment)
    try:
        while not is_answering(f"{url}/health"):
            assert web.poll() is None, "the server did not start"
            time.sleep(0.1)
        s3_url = environment["S3_PUBLIC_ENDPOINT_URL"]
        yield Site(url, s3_url, image, environment, setup_environment or environment)
    finally:
        web.send_signal(signal.SIGINT)  # at once, without waiting for idle clients
        web.wait(40)


def is_answering(url: str) -> bool:
    try:
        requests.get(url, timeout=30)
    except requests.ConnectionError:
        return False
    return True


@pytest.mark.postgres
def test_the_site_is_healthy_and_its_container_says_so(site):
    health = requests.get(f"{site.url}/health", timeout=30)
    probe = site.image.run(site.image.probe, **site.environment)

    assert health.json() == {"status": "ok", "minio": "connected", "database": "connected"}
    assert (probe.returncode, probe.stderr) == (0, "")


@pytest.mark.postgres
def test_the_container_says_that_the_store_is_down(site):
    (nowhere,) = find_free_ports(1)
    broken = {**site.environment, "S3_ENDPOINT_URL": f"http://127.0.0.1:{nowhere}"}

    with serve(site.image, broken) as broken_site:
        probe = site.image.run(site.image.probe, **broken_site.environment)

    assert probe.returncode == 1
    assert json.loads(probe.stderr)["minio"] == "unavailable"


def test_the_container_says_that_nothing_listens(image):
    (port,) = find_free_ports(1)

    probe = image.run(image.probe, BIND=f"0.0.0.0:{port}", DJANGO_ALLOWED_HOSTS="*.example.com")

    assert probe.returncode == 1
    assert "refused" in probe.stderr


@pytest.mark.postgres
def test_swagger_ui_and_the_admin_have_their_files(site):
    for page in ("/api/docs", "/admin/login/"):
        html = requests.get(site.url + page, headers={"Accept": "text/html"}, timeout=30).text
        addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
        assert len(addresses) > 2
        for address in addresses:
            assert requests.get(site.url + address, timeout=30).status_code == 200


@pytest.mark.postgres
def test_a_browser_uploads_to_the_address_that_it_can_reach(site, samples):
    account = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": "made up"}
    command = ["python", "manage.py", "createsuperuser", "--noinput", "--email", "r@example.com"]
    site.image.run(command, **site.environment, **account)
    api = f"{site.url}/api/v1"
    login = {"username": "root", "password": "made up"}
    token = requests.post(f"{api}/auth/token", json=login, timeout=30).json()["access"]
    headers = {"Authorization": f"Bearer {token}"}

    ticket = requests.post(
        f"{api}/attachments/presigned",
        json={"filename": "a.png", "content_type": "image/png"},
        headers=headers,
        timeout=30,
    ).json()
    requests.post(
        ticket["url"], data=ticket["fields"], files={"file": samples["image/png"]}, timeout=30
    ).raise_for_status()
    attachment = requests.post(
        f"{api}/attachments/confirm",
        json={"attachment_id": ticket["attachment_id"]},
        headers=headers,
        timeout=30,
    ).json()

    assert site.s3_url.startswith("http://localhost:")
    assert ticket["url"] == f"{site.s3_url}/attachments"
    assert attachment["status"] == "ready"
    assert attachment["download_url"].startswith(f"{site.s3_url}/attachments/")
    assert requests.get(attachment["download_url"], timeout=30).content == samples["image/png"]


@pytest.mark.postgres
def test_setup_may_run_again(site):
    setup = site.image.run(SERVICES["setup"]["command"], **site.setup_environment)

    assert setup.returncode == 0
    assert "created" not in setup.stdout
    assert "changed " not in setup.stdout.replace("unchanged", "")


@pytest.mark.postgres
def test_the_cache_is_redis(site):
    code = "from django.core.cache import cache; print(cache.make_key('x'), cache._cache)"

    result = site.image.run(["python", "manage.py", "shell", "-c", code], **site.environment)

    assert "RedisCacheClient" in result.stdout, result.stderr


def test_secrets_are_made_up_once(tmp_path):
    first = make_up_secrets(tmp_path)
    second = make_up_secrets(tmp_path)

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
    }
    assert len(set(first.values())) == 8
    database_url = first.pop("site/database_url")
    assert all(re.fullmatch(r"[\w-]{64}", value) for value in first.values())
    assert urlsplit(database_url).password == first["database/postgres_password"]


# The keys of the store


def test_each_service_sees_the_secrets_that_it_needs():
    seen = {name: find_mounts(name) for name in SERVICES if "volumes" in SERVICES[name]}

    site, admin, root = {"site": "secrets"}, {"admin": "admin-secrets"}, {"root": "root-secrets"}
    database = {"database": "database-secrets"}
    assert seen == {
        "secrets": {**site, **database, **admin, **root},
        "postgres": database,
        "minio": root,
        "minio-setup": {**site, **admin, **root},
        "setup": {**site, **admin},
        "web": site,
        "worker": site,
        "schedule": site,
        "clamav": {},
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
    assert users["setup"] == {*users["web"], "nodus-admin"}
    assert SERVICES["minio"]["environment"]["MINIO_ROOT_USER"] == "nodus-root"


def test_minio_gets_a_user_with_a_policy_for_each_key(tmp_path):
    secrets = make_up_secrets(tmp_path)
    log = tmp_path / "log"
    (tmp_path / "bin").mkdir()
    client = tmp_path / "bin" / "mc"
    client.write_text(f'#!/bin/sh\necho "$MC_HOST_minio $*" >> {log}\n')
    client.chmod(0o755)

    run_service("minio-setup", tmp_path, PATH=f"{tmp_path}/bin:{os.environ['PATH']}")

    root = f"http://nodus-root:{secrets['root/minio_root_password']}@minio:9000"
    users = {
        "nodus": "site/s3_secret_key",
        "nodus-signer": "site/s3_signer_secret_key",
        "nodus-reader": "site/s3_reader_secret_key",
        "nodus-admin": "admin/s3_admin_secret_key",
    }
    assert log.read_text().splitlines() == [
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
    result = image.run(["python", "manage.py", "check"])

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


def test_only_this_machine_reaches_the_ports():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_volume_is_declared_and_each_image_pinned():
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    images = [service["image"] for service in SERVICES.values() if "build" not in service]

    assert {volume.partition(":")[0] for volume in volumes} == COMPOSE["volumes"].keys()
    assert all(re.fullmatch(r"[\w/]+:(?!latest)\S+", image) for image in images)
    assert "minio/minio:RELEASE.2025-09-07T16-13-09Z" in images


def test_compose_sets_what_the_settings_read():
    environment = SERVICES["setup"]["environment"]
    interpolated = set(re.findall(r"\$\{(\w+)", COMPOSE_FILE.read_text()))

    assert {name.removesuffix("_FILE") for name in environment} <= VARIABLES
    assert interpolated - {"PORT", "S3_PORT"} <= VARIABLES  # those two are in the Makefile


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
print(json.dumps({name: values[name] for name in names}))
"""
    path = {"PATH": image.environment["PATH"]}  # none of the variables that the Dockerfile sets
    image = Image(directory=image.directory, environment=path)

    shown = image.run(["python", "-c", code], **read_example())
    default = image.run(["python", "-c", code])

    assert shown.returncode == default.returncode == 0, shown.stderr + default.stderr
    assert json.loads(shown.stdout) == json.loads(default.stdout)
