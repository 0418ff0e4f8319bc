"""The files of `deploy/`: what they must say, and that they agree with one another and with the rest of the repository.

Belongs here: what can be read from them. Does not belong here: the processes that they start (`test_processes.py`), and
the schema checks that docs/deployment.md lists."""

import json
import re
from pathlib import Path

import dagster as dg
import yaml
from support.deployment import DAGSTER_YAML

from landscape_assets.process import LIBRARY_ENVIRONMENT

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8"))


def with_postgresql(text: str) -> str:
    """The project's dagster.yaml with its block for PostgreSQL in force."""
    return re.sub(r"^# ((?:storage:|  ).*)$", r"\1", text, flags=re.MULTILINE)


def instructions() -> list[list[str]]:
    """The instructions of the Dockerfile, continuation lines joined; a list for each stage."""
    lines = [
        line for line in (DEPLOY / "Dockerfile").read_text("utf-8").split("\n") if line and not line.startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).split("\n")
    starts = [i for i, line in enumerate(joined) if line.startswith("FROM ")]
    return [joined[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def test_the_instance_is_the_projects_with_its_block_for_postgresql():
    """What `dagster.yaml` says in a comment is what the deployment, and the test of its processes, uses."""
    root = DAGSTER_YAML.read_text("utf-8")
    assert "storage" not in yaml.safe_load(root)
    assert yaml.safe_load(with_postgresql(root)) == load(DEPLOY / "dagster.yaml")
    assert "postgres" in load(DEPLOY / "dagster.yaml")["storage"]


def test_the_image_has_two_stages_and_an_unprivileged_user():
    """What builds stays behind; the last word is the code server."""
    build, final = instructions()
    assert not [line for line in final if "pip install" in line or "apt-get" in line]
    assert [line for line in final if line.startswith("COPY --from=build /opt/venv")]
    assert "USER 10001:10001" in final
    assert not [
        line for line in final[final.index("USER 10001:10001") :] if line.startswith(("RUN", "COPY", "USER root"))
    ]
    assert json.loads(final[-1].removeprefix("CMD ")) == load(DEPLOY / "compose.yaml")["services"]["code"]["command"]
    (install,) = [line for line in build if "pip install" in line]
    assert install == 'RUN pip install -c constraints.txt ".[k8s]"'


def test_the_image_sets_what_the_command_line_sets_for_itself():
    """Code server and run workers load Arrow and Polars with the same environment."""
    _, final = instructions()
    (line,) = [line for line in final if line.startswith("ENV ")]
    assert dict(word.split("=", 1) for word in line.split()[1:]).items() >= LIBRARY_ENVIRONMENT.items()


def test_what_the_image_adds_is_pinned():
    """constraints.txt names one version of each package, those of the extra k8s included, which no test needs."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:]
    versions = dict(line.split("==") for line in lines)
    assert len(versions) == len(lines) and all(re.fullmatch(r"[0-9][0-9a-z.]*", each) for each in versions.values())
    assert versions["dagster-k8s"] == versions["dagster-postgres"] and "kubernetes" in versions


def test_compose_has_the_processes_and_no_secret():
    """Passwords come from the environment, the key from a file; the code server alone has the audit database and it."""
    compose = load(DEPLOY / "compose.yaml")
    services = compose["services"]
    assert set(services) == {"postgres", "schema", "code", "webserver", "officers", "daemon"}
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    assert re.findall(r"(?:PASSWORD|DATABASE_URL): (?!\$\{)", text) == []
    # Compose mounts a file. It would write a secret of another source into the container, whose root is read-only.
    assert services["code"]["read_only"]
    ((name, secret),) = compose["secrets"].items()
    assert set(secret) == {"file"} and secret["file"].startswith("${LANDSCAPE_SIGNING_KEY_FILE:?")
    assert services["code"]["secrets"] == [name]
    assert services["code"]["environment"]["LANDSCAPE_SIGNING_KEY_FILE"] == f"/run/secrets/{name}"
    assert "LANDSCAPE_SIGNING_KEY" not in services["code"]["environment"]
    with_audit_data = [
        name for name, service in services.items() if "LANDSCAPE_DATABASE_URL" in str(service.get("environment"))
    ]
    assert with_audit_data == ["code"]
    assert [name for name, service in services.items() if service.get("secrets")] == ["code"]
    assert [port for service in services.values() for port in service.get("ports", [])] == [
        "127.0.0.1:3000:3000",
        "127.0.0.1:3001:3001",
    ]
    for name in ("schema", "code", "webserver", "officers", "daemon"):
        assert services[name]["cap_drop"] == ["ALL"]


def test_kubernetes_spreads_dagster_runs():
    """One job for each Dagster run, secrets by name alone, packages on a claim, the code server of the image."""
    values = load(DEPLOY / "helm-values.yaml")
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert deployment["dagsterApiGrpcArgs"] == ["-m", "landscape_assets.definitions"]
    assert deployment["envSecrets"] == [{"name": "landscape-assets"}]
    environment = {entry["name"]: entry["value"] for entry in deployment["env"]}
    assert not {"LANDSCAPE_DATABASE_URL", "LANDSCAPE_SIGNING_KEY"} & set(environment)
    (secret,) = [volume["name"] for volume in deployment["volumes"] if "secret" in volume]
    (folder,) = [mount["mountPath"] for mount in deployment["volumeMounts"] if mount["name"] == secret]
    assert Path(environment["LANDSCAPE_SIGNING_KEY_FILE"]).parent == Path(folder)
    claims = {volume["name"] for volume in deployment["volumes"] if "persistentVolumeClaim" in volume}
    mounted = {mount["mountPath"] for mount in deployment["volumeMounts"] if mount["name"] in claims}
    assert all(
        any(environment[name].startswith(f"{path}/") for path in mounted)
        for name in ("LANDSCAPE_EXPORT_DIR", "LANDSCAPE_STORAGE_DIR")
    )
    assert deployment["podSecurityContext"]["runAsUser"] == 10001
    assert not deployment["image"]["tag"].startswith("latest")


def test_run_pods_have_what_the_code_location_has():
    """The chart hands environment, secrets and volumes to run pods, but not security contexts: these are said twice."""
    values = load(DEPLOY / "helm-values.yaml")
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    pod, container = launcher["runK8sConfig"]["podSpecConfig"], launcher["runK8sConfig"]["containerConfig"]
    assert pod["securityContext"] == deployment["podSecurityContext"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"] == deployment["securityContext"]
    # What else the chart keeps to the code location, and what it hands over, and would then be there twice.
    for name in ("nodeSelector", "affinity", "tolerations"):
        assert pod.get(name) == deployment.get(name)
    assert not {"volumes", "volumeMounts", "envSecrets", "envVars", "resources"} & (set(launcher) | set(pod))
    assert not {"env", "envFrom", "volumeMounts", "resources"} & set(container)


def test_dagster_takes_the_projects_instance(tmp_path):
    """Every setting is one that Dagster knows. (The deployment's is tried with its processes.)"""
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML.read_text("utf-8"))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
