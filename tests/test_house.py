"""The house is in order: imports go down, the promises have tests, and what can be seen from outside is documented."""

import ast
import inspect
import json
import os
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import click
import grimp
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import events.log
from events.codec import SCHEMAS
from service import cli
from service.http.route import Route
from service.live.close_codes import CLOSE_CODES
from service.metrics import Metrics
from service.problems import PROBLEMS
from service.routes import routes
from service.settings import ENVIRONMENT, Settings

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("service", "projections", "events")
GUARANTEES = 9
# What is served for browsers on the way to a page, not for people to ask for.
ROUTES_OF_PAGES = {"/dashboard/{file}", "/docs/{file}", "/favicon.ico"}


@cache
def documentation() -> str:
    """Everything in docs/, and the README."""
    return "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


def assert_documented(names: Iterable[str]) -> None:
    """All stand in the documentation as whole words; fails with those that do not."""
    whole = r"(?<![\w-]){}(?![\w-])"
    missing = sorted({name for name in names if not re.search(whole.format(re.escape(name)), documentation())})
    assert not missing, "nowhere in README.md and docs/: " + ", ".join(missing)


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Who imports whom, in all three floors, imports inside functions and for types included."""
    return grimp.build_graph(*FLOORS, cache_dir=None, include_external_packages=True)


def test_imports_only_go_down(imports: grimp.ImportGraph) -> None:
    """No floor imports one above it, and only the service knows HTTP."""
    broken = imports.find_illegal_dependencies_for_layers(layers=FLOORS)
    assert not broken, [(found.importer, found.imported) for found in broken]
    for module in imports.modules:
        if module.split(".")[0] in ("events", "projections"):
            assert "aiohttp" not in imports.find_modules_directly_imported_by(module), module


def test_no_module_imports_itself_on_a_way(imports: grimp.ImportGraph) -> None:
    """There are no circles: nothing that a module imports, directly or not, imports it."""
    ours = [module for module in imports.modules if module.split(".")[0] in FLOORS and "." in module]
    circles = [
        (module, imports.find_shortest_chain(other, module))
        for module in ours
        for other in imports.find_modules_directly_imported_by(module)
        if other in ours and imports.find_shortest_chain(other, module)
    ]
    assert not circles


def test_each_guarantee_of_the_log_has_its_test() -> None:
    """Each numbered guarantee in the contract has a file of the same number, whose tests run on every engine."""
    numbered = re.findall(r"^(\d+)\. ", inspect.getdoc(events.log) or "", re.MULTILINE)
    assert numbered == [str(number) for number in range(1, GUARANTEES + 1)]
    for number in numbered:
        files = list((ROOT / "tests" / "contract").glob(f"test_guarantee_{number}_*.py"))
        assert len(files) == 1, f"guarantee {number} has {len(files)} files of tests"
        tests = re.findall(r"^async def test_\w+\((.*?)\)", files[0].read_text(), re.MULTILINE | re.DOTALL)
        on_engines = [given for given in tests if re.search(r"\b(engine|log):", given)]
        assert on_engines, f"guarantee {number}: no test runs on an engine"


def test_each_setting_is_documented() -> None:
    """Each option of ``serve`` and each variable of the environment stands in the documentation by its name."""
    parameters = cli.commands.commands["serve"].params
    options = [
        name for option in parameters if isinstance(option, click.Option) and not option.hidden for name in option.opts
    ]
    variables = set(ENVIRONMENT)
    for option in parameters:
        variables |= set([option.envvar] if isinstance(option.envvar, str) else option.envvar or [])
    assert_documented([*options, *variables])
    fields = {variable.field for variable in ENVIRONMENT.values()} | {option.name for option in parameters}
    assert fields == set(Settings.__struct_fields__), "a setting that cannot be set from outside, or the reverse"


def test_each_command_is_documented() -> None:
    """Each command, and each option of it, stands in the documentation."""
    assert_documented(f"notelog {name}" for name in cli.commands.commands)
    assert_documented(name for command in cli.commands.commands.values() for name in names_of_options(command))


@pytest.mark.parametrize("name", cli.commands.commands)
def test_each_command_explains_itself(name: str) -> None:
    """`--help` says what the command does, what it takes, and of each option what it means and which variable of the
    environment stands for it; that of `serve` has every variable there is."""
    command = cli.commands.commands[name]
    shown = CliRunner().invoke(cli.commands, [name, "--help"], prog_name="notelog", terminal_width=200)
    assert shown.exit_code == 0
    help_ = " ".join(shown.output.split())
    assert len((command.help or "").split(".")[0].split()) >= 5, f"{name}: no sentence says what it does"
    for parameter in command.params:
        if not isinstance(parameter, click.Option):
            assert parameter.make_metavar(click.Context(command)) in command.help, f"{name}: {parameter.name}"
            continue
        if parameter.hidden:
            continue
        assert parameter.help, f"{name}: {parameter.opts[0]} has no help"
        assert parameter.help in help_, f"{name}: {parameter.opts[0]}"
        for variable in [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []:
            assert variable in help_, f"{name}: {variable}"
    if name == "serve":
        for variable, setting in ENVIRONMENT.items():
            assert variable in help_
            assert setting.meaning in help_


def names_of_options(command: click.Command) -> list[str]:
    """What can be written behind a command."""
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return [name for option in options for name in option.opts]


def test_each_problem_and_close_code_is_documented() -> None:
    """Whatever refusal a client meets, it finds in the documentation by its slug or its number."""
    assert_documented(PROBLEMS)
    assert_documented(str(code.code) for code in CLOSE_CODES)


def test_each_problem_says_what_to_do() -> None:
    """The explanation of each problem tells somebody to do something."""
    acts = r"\b(send|use|take|ask|mend|merge|connect|retry|try again|come back|must look|POST to)\b"
    silent = [slug for slug, kind in PROBLEMS.items() if not re.search(acts, kind.explanation, re.IGNORECASE)]
    assert not silent


def test_each_event_type_is_documented() -> None:
    """Each type of event is in the catalogue."""
    assert_documented(SCHEMAS)


def test_each_route_is_documented() -> None:
    """Each path that is served stands in the documentation; one that changes something, with its method."""

    class Anything:
        def __getattr__(self, name: str) -> object:
            return self

    table = routes(**{part: Anything() for part in inspect.signature(routes).parameters})  # type: ignore[arg-type]
    assert_documented(_in_words(route) for route in table if route.path not in ROUTES_OF_PAGES)


def _in_words(route: Route) -> str:
    """A route as people write it: without a parameter's pattern, and with GET only where it would be too short."""
    path = route.path.partition("/{tile")[0]
    return path if route.method == "GET" and path != "/" else f"{route.method} {path}"


def metrics() -> set[str]:
    """The names of everything that ``/metrics`` shows of notelog's own, as Prometheus stores it."""
    names = set()
    for metric in Metrics().registry.collect():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}[metric.type]
        names |= {metric.name + end for end in ends}
    return names


def test_each_metric_is_documented() -> None:
    """Each metric of notelog's own stands in the documentation by its name."""
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in metrics() if name.startswith("notelog_")}
    assert_documented(shown)


def test_the_grafana_dashboard_fits_the_metrics() -> None:
    """Each query asks for metrics that there are, and each metric of notelog's own is asked for."""
    text = (ROOT / "deploy" / "grafana" / "notelog.json").read_text()
    panels = json.loads(text)["panels"]
    asked = {
        name
        for panel in panels
        for target in panel.get("targets", [])
        for name in re.findall(r"\b(?:notelog|process)_\w+", target["expr"])
    }
    assert asked <= metrics(), asked - metrics()
    stems = {re.sub("_(bucket|sum|count|total)$", "", name) for name in asked}
    assert {re.sub("_(bucket|sum|count|total)$", "", name) for name in metrics() if "notelog_" in name} <= stems
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_lock_is_whole() -> None:
    """Each package that pyproject.toml asks for, and each that those ask for, has one version in requirements.lock, and
    nothing else stands there; in CI the tests run with these versions."""
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(locked) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    needed = closure(asked)
    assert needed.keys() <= locked.keys(), needed.keys() - locked.keys()
    if os.environ.get("CI") == "true":
        for name, version in needed.items():
            assert version in (locked[name], None), name
    if all(needed.values()):
        assert locked.keys() == needed.keys(), locked.keys() - needed.keys()


def closure(asked: list[str]) -> dict[str, str | None]:
    """All packages that these lead to, with the version that is installed here; None: it is not installed."""
    found: dict[str, str | None] = {"notelog": None}
    waiting = [Requirement(each) for each in asked]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if name == "notelog" or (name in found and not requirement.extras):
            continue
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
            continue
        for more in map(Requirement, metadata.requires(name) or []):
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(more)
    del found["notelog"]
    return found


def test_each_test_states_its_promise() -> None:
    """Each test says in its docstring what it proves, and each file of the project what it is about."""
    for folder in (*FLOORS, "tests", "bench"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(file.read_text())
            assert ast.get_docstring(tree) or not tree.body, f"{file.relative_to(ROOT)} does not say what it is about"
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_"):
                    where = f"{file.relative_to(ROOT)}: {function.name}"
                    assert folder != "tests" or ast.get_docstring(function), f"{where} does not state its promise"


def test_each_file_has_its_place_in_the_picture() -> None:
    """Each module of the three floors stands in docs/ARCHITECTURE.md, under its floor, and nothing that is gone."""
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for floor in FLOORS:
        table = page.partition(f"| `{floor}/` | |\n")[2].partition("\n\n")[0]
        there = {
            path.relative_to(ROOT / floor).with_suffix("").as_posix()
            for path in (ROOT / floor).rglob("*.py")
            if not path.stem.startswith("__")
        }
        named = set(re.findall(r"`([\w/]+\w)`", table))
        assert named == there, f"{floor}: {sorted(named ^ there)}"


def test_each_link_leads_somewhere() -> None:
    """Each file that a page names by a link is there, and each heading that it points to."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, heading = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not heading or heading in headings(target), f"{page.name}: {link}"


def test_the_readme_leads_to_each_page() -> None:
    """Each page of docs/ can be reached from the README by its links."""
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        links = {(page, link) for page in new for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())}
        new = {(page.parent / link).resolve() for page, link in links if link.endswith(".md")} - reached
    decisions = set((ROOT / "docs" / "decisions").glob("*.md"))  # the README links to their folder
    assert set((ROOT / "docs").rglob("*.md")) - decisions <= reached


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub names them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}
