"""Whether what lies in deploy/ is right, as far as that can be told without a cluster or a container engine.

Every overlay, and every component on the base, is rendered by kustomize, validated against Kubernetes' own schemas, and held to
what no schema knows: selectors meet labels, ports exist, the grace period outlasts the drain, every setting is one that the
binary takes, and takes with that value. The same for compose.yaml and the proxies. Each rule is broken once on purpose, to see
that it is noticed.

    check.py ROOKERY
"""

import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
BIN = pathlib.Path(sys.executable).parent
# The oldest that knows the native preStop sleep, one between, and the newest there is a schema of.
VERSIONS = ["1.29", "1.32", "1.37"]
# What has no schema in Kubernetes itself, and the fields it is nothing without.
FOREIGN = {
    "HTTPRoute": ("gateway.networking.k8s.io/v1", ["parentRefs", "rules"]),
    "ServiceMonitor": ("monitoring.coreos.com/v1", ["selector", "endpoints"]),
    "PrometheusRule": ("monitoring.coreos.com/v1", ["groups"]),
    "ScaledObject": ("keda.sh/v1alpha1", ["scaleTargetRef", "triggers"]),
    "Cluster": ("postgresql.cnpg.io/v1", ["instances", "storage"]),
}
# What an operator puts into the Secret of production; the overlay only names it.
SECRET = {
    "ROOKERY_TOKEN_SECRET": "0123456789abcdef0123456789abcdef",
    "ROOKERY_ADMIN_TOKEN": "0123456789abcdef",
    "ROOKERY_REDIS_URL": "rediss://redis-0:6379,rediss://redis-1:6379",
    "ROOKERY_DATABASE_URL": "postgres://rookery@postgres/rookery",
}


class Wrong(Exception):
    """Something in deploy/ is not as it must be."""


def need(fact, words):
    if not fact:
        raise Wrong(words)


def run(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, **options)
    need(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout.strip()}")
    return done.stdout


class Binary:
    """What the binary says of itself."""

    def __init__(self, path):
        self.path = path
        self.settings = set(re.findall(r"\[env: (ROOKERY_\w+)", run(path, "serve", "--help")))
        need("ROOKERY_LISTEN" in self.settings, "rookery serve --help names no settings")
        self.commands = set(re.findall(r"^  ([a-z]+)  ", run(path, "--help"), re.MULTILINE))

    def knows(self, name):
        return name in self.settings or name.removesuffix("_FILE") in self.settings

    def takes(self, settings, where):
        """The settings are known, and good together."""
        for name in settings:
            if name.startswith("ROOKERY_"):
                need(self.knows(name), f"{where}: {name} is no setting of rookery")
        run(self.path, "config", env={"PATH": os.environ["PATH"], **settings})


# Kubernetes


def render(folder):
    documents = yaml.safe_load_all(run(BIN / "kubectl", "kustomize", folder))
    return [document for document in documents if document]


def validate(documents):
    for document in documents:
        kind = document["kind"]
        if kind in FOREIGN:
            version, fields = FOREIGN[kind]
            need(document["apiVersion"] == version, f"{kind}: {document['apiVersion']}")
            missing = [field for field in fields if field not in document["spec"]]
            need(not missing, f"{kind} without {missing}")
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:
                raise Wrong(f"{kind} {document['metadata']['name']} at {version}: {str(error)[:400]}") from error


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


def named(documents, kind, name):
    found = [document for document in of_kind(documents, kind) if document["metadata"]["name"] == name]
    return found[0] if found else None


def template_of(workload):
    return workload["spec"]["template"]


def meets(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def selected(documents, selector):
    workloads = of_kind(documents, "Deployment", "StatefulSet")
    return [workload for workload in workloads if meets(selector, template_of(workload)["metadata"]["labels"])]


def container_ports(workload):
    containers = template_of(workload)["spec"]["containers"]
    return {port["name"] for container in containers for port in container.get("ports", [])}


def settings_of(documents, deployment):
    """The environment of the gateway, from ConfigMaps and Secrets; what the overlay leaves to the operator is filled in."""
    container = template_of(deployment)["spec"]["containers"][0]
    values = {}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            name = source["configMapRef"]["name"]
            found = named(documents, "ConfigMap", name)
            need(found, f"there is no ConfigMap {name}")
            values |= found["data"]
        else:
            found = named(documents, "Secret", source["secretRef"]["name"])
            values |= {key: decoded(value) for key, value in found["data"].items()} if found else SECRET
    for variable in container["env"]:
        values[variable["name"]] = variable.get("value") or SECRET.get(variable["name"], "gateway-0")
    return values


def decoded(value):
    import base64

    return base64.b64decode(value).decode()


def rules(documents, binary):
    """What no schema knows."""
    gateways = [workload for workload in of_kind(documents, "Deployment") if workload["metadata"]["name"] == "rookery"]
    need(len(gateways) == 1, "there must be one Deployment of gateways")
    gateway = gateways[0]
    pod = template_of(gateway)["spec"]
    container = pod["containers"][0]
    rolling = gateway["spec"]["strategy"]["rollingUpdate"]
    need(rolling["maxUnavailable"] == 0 and rolling["maxSurge"] >= 1, "a rollout must not take gateways away first")
    settings = settings_of(documents, gateway)
    binary.takes(settings, "the gateways")
    for name in ("ROOKERY_REDIS_URL", "ROOKERY_TOKEN_SECRET", "ROOKERY_ADMIN_TOKEN", "ROOKERY_NODE_ID"):
        need(settings.get(name), f"gateways without {name}")
    wait, drain = container["lifecycle"]["preStop"]["sleep"]["seconds"], int(settings["ROOKERY_DRAIN_SECONDS"])
    grace = pod["terminationGracePeriodSeconds"]
    need(grace >= wait + drain + 10, f"a grace of {grace} s does not outlast preStop {wait} s and the drain {drain} s")
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    for name, setting in (("http", "ROOKERY_LISTEN"), ("admin", "ROOKERY_ADMIN_LISTEN")):
        need(settings[setting].split(":")[-1] == ports[name], f"port {name} is not that of {setting}")
    need(len(pod["topologySpreadConstraints"]) >= 2, "gateways are not spread over zones and hosts")
    for spread in pod["topologySpreadConstraints"]:
        labels = template_of(gateway)["metadata"]["labels"]
        need(meets(spread["labelSelector"]["matchLabels"], labels), "a spread constraint is about other pods")
    for workload in of_kind(documents, "Deployment", "StatefulSet"):
        workload_rules(workload)
    for service in of_kind(documents, "Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        behind = selected(documents, spec["selector"])
        need(len(behind) == 1, f"Service {name} selects {len(behind)} workloads")
        need(spec.get("sessionAffinity", "None") == "None", f"Service {name} is sticky")
        for port in spec["ports"]:
            need(port["targetPort"] in container_ports(behind[0]), f"Service {name}: no port {port['targetPort']}")
    budgets = [budget for budget in of_kind(documents, "PodDisruptionBudget") if selected(documents, budget["spec"]["selector"]["matchLabels"]) == [gateway]]
    need(len(budgets) == 1, "the gateways have no disruption budget")
    for policy in of_kind(documents, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"].get("matchLabels")
        need(selector is None or selected(documents, selector), f"NetworkPolicy {policy['metadata']['name']} selects nobody")
        named_ports = [port["port"] for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", [])]
        need(all(port in container_ports(gateway) for port in named_ports), "a NetworkPolicy names a port there is not")
    for scaler in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject"):
        need(scaler["spec"]["scaleTargetRef"]["name"] == "rookery", "an autoscaler of something else")
    need(len(of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject")) <= 1, "two autoscalers of one Deployment")
    ways_in(documents)
    for monitor in of_kind(documents, "ServiceMonitor"):
        wanted = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
        services = [service for service in of_kind(documents, "Service") if meets(monitor["spec"]["selector"]["matchLabels"], service["metadata"].get("labels", {}))]
        there = {port["name"] for service in services for port in service["spec"]["ports"]}
        need(wanted <= there, f"a ServiceMonitor scrapes {wanted - there}, which no Service has")
    for rule in of_kind(documents, "PrometheusRule"):
        alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
        need(rule["spec"] == alerts, "the PrometheusRule is not deploy/prometheus/alerts.yaml")


def workload_rules(workload):
    name, pod = workload["metadata"]["name"], template_of(workload)["spec"]
    need(meets(workload["spec"]["selector"]["matchLabels"], template_of(workload)["metadata"]["labels"]), f"{name} does not select its own pods")
    context = pod["securityContext"]
    need(context["runAsNonRoot"] and context["seccompProfile"]["type"] == "RuntimeDefault", f"{name} may be root")
    need(pod.get("automountServiceAccountToken") is False, f"{name} gets a token of the API server")
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    for container in pod["containers"]:
        need("livenessProbe" in container and "readinessProbe" in container, f"{name} has no probes")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            need(port is None or port in container_ports(workload), f"{name}: {probe} asks a port there is not")
        need({"cpu", "memory"} <= set(container["resources"]["requests"]) and "memory" in container["resources"]["limits"], f"{name} is without bounds")
        inner = container["securityContext"]
        need(inner["readOnlyRootFilesystem"] and not inner["allowPrivilegeEscalation"] and inner["capabilities"]["drop"] == ["ALL"], f"{name} may too much")
        image = container["image"]
        need(re.search(r":\d[\w.-]*$", image), f"{name}: the image {image} has no version")
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        need(mounted <= volumes, f"{name} mounts {mounted - volumes}, which is no volume")


def ways_in(documents):
    def service_has(name, port):
        service = named(documents, "Service", name)
        need(service, f"a way in to the Service {name}, which there is not")
        need(any(port in (entry["name"], entry["port"]) for entry in service["spec"]["ports"]), f"a way in to {name}:{port}")
        need(name != "rookery-admin", "the admin port is open to the world")

    for ingress in of_kind(documents, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                service_has(service["name"], service["port"].get("name") or service["port"]["number"])
        need(not any("affinity" in key or "sticky" in key for key in ingress["metadata"]["annotations"]), "a sticky Ingress")
    for route in of_kind(documents, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            need(rule["timeouts"]["request"] == "0s", "an HTTPRoute that cuts WebSockets")
            for backend in rule["backendRefs"]:
                service_has(backend["name"], backend["port"])


def kubernetes(binary):
    folders = sorted(folder for folder in (KUBERNETES / "overlays").iterdir() if folder.is_dir())
    components = sorted(folder for folder in (KUBERNETES / "components").iterdir() if folder.is_dir())
    need(len(folders) >= 2 and len(components) >= 7, "overlays or components are missing")
    count = 0
    for overlay in folders:
        documents = render(overlay)
        validate(documents)
        rules(documents, binary)
        count += len(documents)
        if overlay.name == "production":
            broken(documents, binary)
    with tempfile.TemporaryDirectory(dir=KUBERNETES.parent) as parent:
        for component in components:
            folder = pathlib.Path(parent) / component.name
            folder.mkdir()
            parts = {"resources": ["../../kubernetes/overlays/dev"], "components": [f"../../kubernetes/components/{component.name}"]}
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(parts))
            documents = render(folder)
            validate(documents)
            rules(documents, binary)
            count += len(documents)
    print(f"{len(folders)} overlays and {len(components)} components: {count} objects are valid at {', '.join(VERSIONS)}, and fit each other")


def broken(documents, binary):
    """Each rule sees its own breach."""

    def breach(what, kind, name, change, check=rules):
        changed = copy.deepcopy(documents)
        change(named(changed, kind, name))
        try:
            check(changed, binary) if check is rules else check(changed)
        except Wrong:
            return
        raise Wrong(f"nobody noticed: {what}")

    def container(deployment):
        return template_of(deployment)["spec"]["containers"][0]

    config = of_kind(documents, "ConfigMap")[0]["metadata"]["name"]
    breach("a short grace", "Deployment", "rookery", lambda d: template_of(d)["spec"].update(terminationGracePeriodSeconds=30))
    breach("capacity lost in a rollout", "Deployment", "rookery", lambda d: d["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1))
    breach("an unknown setting", "ConfigMap", config, lambda d: d["data"].update(ROOKERY_DRAIN_SECOND="3"))
    breach("an impossible value", "ConfigMap", config, lambda d: d["data"].update(ROOKERY_REDIS_MODE="ring"))
    breach("a root container", "Deployment", "rookery", lambda d: template_of(d)["spec"]["securityContext"].update(runAsNonRoot=False))
    breach("a probe of no port", "Deployment", "rookery", lambda d: container(d)["readinessProbe"]["httpGet"].update(port="health"))
    breach("an image without version", "Deployment", "rookery", lambda d: container(d).update(image="rookery:latest"))
    breach("a sticky service", "Service", "rookery", lambda d: d["spec"].update(sessionAffinity="ClientIP"))
    breach("a service of nobody", "Service", "rookery", lambda d: d["spec"]["selector"].update({"app.kubernetes.io/name": "rook"}))
    breach("a service on no port", "Service", "rookery", lambda d: d["spec"]["ports"][0].update(targetPort="web"))
    breach("other alert rules", "PrometheusRule", "rookery", lambda d: d["spec"]["groups"][0]["rules"].pop())
    breach("a route that cuts", "HTTPRoute", "rookery", lambda d: d["spec"]["rules"][0]["timeouts"].update(request="15s"))
    breach("a route to the admin port", "HTTPRoute", "rookery", lambda d: d["spec"]["rules"][0]["backendRefs"][0].update(name="rookery-admin", port=9090))
    breach("a field that there is not", "Deployment", "rookery", lambda d: d["spec"].update(replica=3), validate)


# Compose and the proxies


def compose(binary):
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = document["services"]
    gateways = {name: service for name, service in services.items() if name.startswith("gateway-")}
    need(len(gateways) == 3, "compose.yaml has not three gateways")
    for name, service in services.items():
        for other, condition in dict.fromkeys(service["depends_on"], {}).items() if isinstance(service.get("depends_on"), list) else service.get("depends_on", {}).items():
            need(other in services, f"{name} depends on {other}, which there is not")
            healthy = condition.get("condition") == "service_healthy"
            need(not healthy or "healthcheck" in services[other] or other in gateways, f"{other} has no health to wait for")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (DEPLOY / source).exists() if source.startswith(".") else source in document["volumes"]
            need(there, f"{name} mounts {source}, which there is not")
        for used in service.get("configs", []):
            need(used["source"] in document["configs"], f"{name} wants the config {used['source']}")
        image = service["image"]
        need(name in gateways or re.search(r":v?\d", image), f"{name}: the image {image} has no version")
        for port in service.get("ports", []):
            need(port.startswith("127.0.0.1:"), f"{name} is open to the network: {port}")
    for name, service in gateways.items():
        settings = {key: re.sub(r"\$\{(\w+)[^}]*\}", lambda match: SECRET[match[1]], str(value)) for key, value in service["environment"].items()}
        binary.takes(settings, name)
        need(settings["ROOKERY_NODE_ID"] == name and service["read_only"] and service["cap_drop"] == ["ALL"], f"{name} is not itself")
        grace, drain = int(service["stop_grace_period"].removesuffix("s")), int(settings["ROOKERY_DRAIN_SECONDS"])
        need(grace >= drain + 10, f"{name}: a grace of {grace} s does not outlast the drain")
    wanted = set(re.findall(r"\$\{(\w+)\}", (DEPLOY / "proxy/haproxy.cfg").read_text()))
    need(wanted == set(services["proxy"]["environment"]), "compose.yaml gives the proxy other variables than it reads")
    for name in ("prometheus", "grafana-datasource", "grafana-dashboards"):
        yaml.safe_load(document["configs"][name]["content"])
    print(f"compose.yaml: {len(services)} services fit each other")


def dockerfile(binary):
    path = DEPLOY / "Dockerfile"
    run(BIN / "hadolint", path)
    text = path.read_text()
    command = re.search(r'HEALTHCHECK .*CMD \["/rookery", "(\w+)"\]', text)
    need(command and command[1] in binary.commands, f"HEALTHCHECK runs no command of rookery: {sorted(binary.commands)}")
    need(re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1].startswith("65532"), "the image runs as root")
    for name in re.findall(r"ROOKERY_\w+", text):
        need(binary.knows(name), f"Dockerfile: {name} is no setting of rookery")
    for source in re.findall(r"^COPY ((?!--)(?:\S+ )+)\S+$", text, re.MULTILINE):
        for name in source.split():
            need((ROOT / name).exists() or name == "recipe.json", f"Dockerfile copies {name}, which there is not")
    print("Dockerfile: hadolint finds nothing")


def proxies():
    environment = {name: "127.0.0.1" if name.endswith("HOST") else "9090" for name in re.findall(r"\$\{(\w+)\}", (DEPLOY / "proxy/haproxy.cfg").read_text())}
    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    run(haproxy, "-c", "-f", DEPLOY / "proxy/haproxy.cfg", env={**os.environ, **environment, "BIND": "127.0.0.1:8080"})
    envoy = yaml.safe_load((DEPLOY / "proxy/envoy.yaml").read_text())["static_resources"]
    manager = envoy["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    need(route["timeout"] == "0s" and {"upgrade_type": "websocket"} in manager["upgrade_configs"], "Envoy would cut WebSockets")
    need(route["cluster"] in {cluster["name"] for cluster in envoy["clusters"]}, "Envoy routes to no cluster")
    print("haproxy.cfg and envoy.yaml are sound")


def main(path):
    warnings.simplefilter("ignore")
    binary = Binary(path)
    kubernetes(binary)
    compose(binary)
    dockerfile(binary)
    proxies()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Wrong as wrong:
        sys.exit(f"deploy: {wrong}")
