"""Run what docker-compose.yml runs, without Docker.

The image is a folder with what the COPY lines of the Dockerfile take. A container is a process
whose user, mounts and rights are those of its service: Linux gives each namespaces of its own, as
Docker does. Networks are left out: servers listen on free ports of this machine.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nodus.dev.embedded import find_free_ports
from tests.documents import ROOT

BIN = Path(sys.executable).parent
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
STOP_SECONDS = 45
NO_RIGHTS = "setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all --no-new-privs"


@dataclass(kw_only=True)
class Image:
    """What the Dockerfile makes."""

    directory: Path
    user: str = "0:0"
    environment: dict[str, str] = field(default_factory=lambda: {"HOME": "/"})
    command: list[str] = field(default_factory=list)
    probe: list[str] = field(default_factory=list)


def build_image(directory: Path) -> Image:
    """Do what the Dockerfile says, but for installing what is installed in this environment."""
    image = Image(directory=directory)
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    for name, value in re.findall(r"^([A-Z]+) (.+)$", text, re.M):
        if name == "COPY" and value.endswith(("./", "./attachments", "./nodus")):
            _copy(*value.split(), directory=directory)
        elif name == "ENV":
            _set_variables(image.environment, value)
        elif name == "RUN" and value.startswith("python manage.py"):
            subprocess.run(value, shell=True, cwd=directory, env=image.environment, check=True)
        elif name == "USER":
            image.user = value
        elif name == "CMD":
            image.command = json.loads(value)
        elif name == "HEALTHCHECK":
            image.probe = json.loads(value.partition(" CMD ")[2])
    return image


def _copy(source: str, target: str, *, directory: Path) -> None:
    if (ROOT / source).is_dir():
        without_cache = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, directory / target, ignore=without_cache)
    else:
        shutil.copy(ROOT / source, directory / target)


def _set_variables(environment: dict[str, str], value: str) -> None:
    path = {"/venv/bin": str(BIN), "$PATH": os.environ["PATH"]}
    for pair in value.split():
        name, _, text = pair.partition("=")
        environment[name] = _replace(text, path) if name == "PATH" else text


def _replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def interpolate(text: str, **variables: str) -> str:
    """Replace variables as Compose does, the innermost first."""
    while match := re.search(r"(?<!\$)\$\{(\w+)(:?-)([^{}]*)\}", text):
        value = variables.get(match[1])
        is_kept = value is not None and (value or match[2] == "-")
        text = text.replace(match[0], str(value) if is_kept else match[3])
    return text.replace("$$", "$")


@dataclass(kw_only=True)
class Project:
    """The services of docker-compose.yml."""

    image: Image
    directory: Path
    """Where the volumes are."""
    variables: dict[str, str] = field(default_factory=dict)
    """What .env has."""
    _before: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.s3_port, *ports = find_free_ports(1 + len(SERVICES))
        self.ports = dict(zip(SERVICES, ports, strict=True))
        """Where a service listens that is no store."""
        self.variables = {"S3_PORT": str(self.s3_port), **self.variables}

    @property
    def secrets(self) -> Path:
        return self.directory / "run" / "secrets"

    def mount_socket(self, path: Path) -> Path:
        """Where containers find it, whatever the rights of the folder that it is in."""
        target = self.directory / "run" / "postgres" / path.name
        target.parent.mkdir(parents=True)
        if os.geteuid():
            target.symlink_to(path)
        else:
            target.touch()
            mount = shlex.join(["mount", "--bind", str(path), str(target)])
            self._before = ["unshare", "--mount", "sh", "-euc", f'{mount}; exec "$@"', "sh"]
        return target

    def translate(self, text: str, *, service: str) -> str:
        """What a service gets to read, with the places of this machine."""
        places = {
            "/run/secrets": str(self.secrets),
            "=/data": f"={self.directory / 'data'}",
            "store:9000": f"127.0.0.1:{self.s3_port}",
            "127.0.0.1:9000": f"127.0.0.1:{self.s3_port}",
            "=9000": f"={self.s3_port}",
            ":9108": f":{self.ports[service]}",
        }
        return _replace(interpolate(text, **self.variables), places)

    def read_environment(self, service: str) -> dict[str, str]:
        options = SERVICES[service]
        base = self.image.environment if _is_ours(options) else {"PATH": self._find_path()}
        own = {
            name: self.translate(value, service=service)
            for name, value in options.get("environment", {}).items()
        }
        bind = {"BIND": f"127.0.0.1:{self.ports[service]}"} if service == "web" else {}
        return {**base, **own, **bind}

    def read_command(self, service: str) -> list[str]:
        options = SERVICES[service]
        command = options.get("command") or (self.image.command if _is_ours(options) else [])
        words = [*options.get("entrypoint", ()), *command]
        return [self.translate(word, service=service) for word in words]

    def read_healthcheck(self, service: str) -> list[str]:
        test = SERVICES[service].get("healthcheck", {}).get("test")
        words = test[1:] if test else self.image.probe
        return [self.translate(word, service=service) for word in words]

    @contextmanager
    def start(
        self, service: str, *command: str, **options: Any
    ) -> Iterator["subprocess.Popen[str]"]:
        """Run a service, or another command in its place, until the block ends."""
        environment = {**self.read_environment(service), **options.pop("environment", {})}
        process = subprocess.Popen(
            self._confine(service, [*(command or self.read_command(service))]),
            cwd=self._find_directory(service),
            env={**environment, "TMPDIR": str(self._tmp)},
            text=True,
            **options,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)

    def run(
        self, service: str, *command: str, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(service, *command, environment=environment, **pipes) as process:
            output = process.communicate()
            return subprocess.CompletedProcess(command, process.wait(), *output)

    @property
    def _tmp(self) -> Path:
        """Each container sees a file system of its own there."""
        path = self.directory / "tmp"
        path.mkdir(exist_ok=True)
        return path

    def _find_path(self) -> str:
        return f"{self.directory / 'bin'}:{BIN}:{os.environ['PATH']}"

    def _find_directory(self, service: str) -> str:
        options = SERVICES[service]
        if _is_ours(options):
            return str(self.image.directory)
        return self.translate(options.get("working_dir", str(self.directory)), service=service)

    def _confine(self, service: str, command: list[str]) -> list[str]:
        if not can_confine():
            return [*self._before, *command]
        options = SERVICES[service]
        uid, gid = (options.get("user") or self.image.user).split(":")
        steps = list(self._plan_mounts(service))
        rights = NO_RIGHTS if options.get("cap_drop") == ["ALL"] else ""
        script = "; ".join([*steps, f'exec {rights} "$@"'])
        return [*self._before, *_unshare(uid, gid), "sh", "-euc", script, "sh", *command]

    def _plan_mounts(self, service: str) -> Iterator[str]:
        options = SERVICES[service]
        for volume in options.get("volumes", ()):
            _, target, *mode = volume.split(":")
            place = Path(self.translate(f"={target}", service=service)[1:])
            if place.is_relative_to(self.directory):
                place.mkdir(parents=True, exist_ok=True)
                if mode != ["ro"]:
                    yield shlex.join(["mount", "--bind", str(place), str(place)])
        if options.get("tmpfs") == ["/tmp"]:
            yield shlex.join(["mount", "-t", "tmpfs", "nodus", str(self._tmp)])
            if not _is_ours(options):
                yield "mount --rbind /tmp /tmp"  # SeaweedFS knows no TMPDIR
        if options.get("read_only"):
            yield "mount -o remount,bind,ro /"


def _is_ours(options: dict[str, Any]) -> bool:
    return "build" in options


def _unshare(uid: str, gid: str) -> list[str]:
    users = [f"--map-user={uid}", f"--map-group={gid}"]
    return ["unshare", "--user", "--mount", "--keep-caps", *users]


@cache
def can_confine() -> bool:
    """Whether this machine lets its users make namespaces, as Linux usually does."""
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    trial = [
        *_unshare("10001", "10001"),
        "sh",
        "-c",
        f"mount -o remount,bind,ro / && {NO_RIGHTS} true",
    ]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0
