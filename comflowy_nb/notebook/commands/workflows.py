"""The commands `workflows`, `workflow` (`add`, `alias`, `export`, `remove`) and `fields`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import SettingsError, WorkflowError, nearest_tip
from comflowy_nb.layout.value_text import write_value
from comflowy_nb.notebook.commands.start_from import show_conversion
from comflowy_nb.notebook.display.html import join, paragraph, table
from comflowy_nb.notebook.form.fields import range_text
from comflowy_nb.recipe import find_metadata
from comflowy_nb.services.workflow_finder import SERVER_LAST, id_in_url
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.files import new_folder
from comflowy_nb.workflow.graph import graph_from, read_graph
from comflowy_nb.workflow.image_metadata import read_image_graph
from comflowy_nb.workflow.images import IMAGE_SUFFIXES
from comflowy_nb.workflow.syntax.json_values import text_of
from comflowy_nb.workflow.syntax.line import expand_text
from comflowy_nb.workflow.syntax.payload import read_console
from comflowy_nb.workflow.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph


_MAX_SHOWN_OPTIONS = 10


def workflows(session: Session, request: Request) -> None:
    """List the workflows, and which of them run on the connected service."""
    del request
    client = session.client
    if client is None:
        names = table(("workflow", "from"), [(name, "catalogue") for name in session.catalogue.names()])
        session.say(join(names, paragraph("no service is connected: a service may list more")))
        return
    rows = []
    otherwise = "no" if client.connection.finder.lists_all else "needs an id there"
    for known in client.connection.finder.known():
        aliases = ", ".join(f"{word}={field_id}" for word, field_id in known.aliases.items())
        rows.append((known.name, known.source, "yes" if known.runs_here else otherwise, aliases))
    if not rows:
        session.say(paragraph("no workflow has a name yet: %comflowy workflow add NAME ID"))
        return
    session.say(table(("workflow", "from", f"runs on {client.label}", "aliases"), rows))


def workflow(session: Session, request: Request) -> None:
    """Run `workflow add NAME SOURCE`, `alias NAME WORD=FIELD`, `export NAME FILE` or `remove NAME`."""
    verb = request.words[0].text
    verbs = {"add": _add, "alias": _alias, "export": _export, "remove": _remove}
    for option, owner in (("fields", "add"), ("overwrite", "export")):
        if option in request.options and verb in verbs and verb != owner:
            raise UsageError(f"--{option} is for workflow {owner}")
    if verb in verbs:
        verbs[verb](session, request)
    else:
        tip = nearest_tip(verb, verbs)
        raise UsageError(f"unknown command 'workflow {verb}'{tip or '.'} Usage: %comflowy {request.command.usage}")


def fields(session: Session, request: Request) -> None:
    """Show the fields of a workflow. With a body or `--fields`, store the description first."""
    named = request.text(request.words[0])
    described = _read_description(session, request)
    if described:
        _describe(session, named, described)
    found = _workflow(session, named)
    show_conversion(session, found)
    if not found.fields:
        session.say(
            paragraph(
                f"the fields of {found.name} are not known here. Right-click a field twice in the editor: the "
                "browser's console prints its description.",
                f"Paste the text below %%comflowy fields {named}",
            )
        )
        return
    rows = [
        (
            field_id,
            ", ".join(word for word, target in found.aliases.items() if target == field_id),
            "" if field.type is FieldType.UNKNOWN else str(field.type),
            write_value(field.default) if field.default is not None else "",
            _allowed_values(field),
            field.node_title or field.class_type or "",
        )
        for field_id, field in found.fields.items()
    ]
    stored = [paragraph(f"kept: {', '.join(described)}")] if described else []
    session.say(join(*stored, table(("field", "alias", "type", "default", "allowed", "node"), rows)))


def _add(session: Session, request: Request) -> None:
    if len(request.words) != 3 or request.fields:
        raise UsageError(
            "workflow add needs a name and a workflow: %comflowy workflow add NAME ID|URL|FILE|IMAGE|server:last"
        )
    name, source = request.text(request.words[1]), request.text(request.words[2])
    workflow_id, graph = _source(session, source)
    identity = None
    if workflow_id is not None:
        if session.client is None:
            raise SettingsError(
                f"{source} is an id, which belongs to a service: connect to the service first, as in "
                "%comflowy connect cloud"
            )
        session.client.connection.finder.check_id(workflow_id)
        identity = session.client.identity
    session.catalogue.add(name, identity=identity, id=workflow_id, graph=graph)
    described = _read_description(session, request)
    if described:
        session.catalogue.describe(name, described)
    kind = f"id {workflow_id} on {session.client.label}" if workflow_id and session.client else "a graph"
    if graph is not None:
        show_conversion(session, Workflow(name, graph=graph))
    session.say(paragraph(f"{name} is now {kind} - {_next_step(session, name, is_graph=graph is not None)}"))


def _next_step(session: Session, name: str, *, is_graph: bool) -> str:
    """Return the next command after a workflow was added, for the connected service."""
    if session.client is None:
        return f"next: connect a ComfyUI server, as in %comflowy connect comfyui, then %comflowy run {name}"
    if is_graph and not session.client.service.runs_graphs:
        return session.client.connection.finder.why_no_graph(name)
    return f"next: %comflowy run {name} or %comflowy fields {name}"


def _alias(session: Session, request: Request) -> None:
    if len(request.words) != 2 or len(request.fields) != 1:
        raise UsageError(
            "workflow alias needs a workflow and WORD=FIELD, as in: %comflowy workflow alias default prompt=6::text"
        )
    name, pair = request.text(request.words[1]), request.fields[0]
    word, target = pair.key or "", expand_text(pair.value or "", request.namespace)
    field_ids: tuple[str, ...] = (target,)
    if "::" not in target or session.client is not None:
        field_ids = _workflow(session, name).find(target)
    if len(field_ids) != 1:
        raise WorkflowError(
            f"an alias names one field, and {target} names {len(field_ids)}: use one of {', '.join(field_ids)}"
        )
    session.catalogue.alias(name, word, field_ids[0])
    session.say(paragraph(f"{word} is now {field_ids[0]} of {name}: %comflowy run {name} {word}=..."))


def _export(session: Session, request: Request) -> None:
    if len(request.words) != 3 or request.fields:
        raise UsageError("workflow export needs a workflow and a file: %comflowy workflow export NAME FILE.json")
    named = request.text(request.words[1])
    found, entry = _workflow(session, named), session.catalogue.get(named)
    if found.graph is None and entry is not None and entry.has_graph:  # the service runs its id
        found = replace(found, graph=graph_from(entry.read_graph, session.library.convert))
    show_conversion(session, found)
    target = request.text(request.words[2])
    folder = new_folder(target)
    file = found.export(target, overwrite="overwrite" in request.options)
    session.say(paragraph(f"the graph of {found.name} is in {file.name}{folder}, in API format"))


def _remove(session: Session, request: Request) -> None:
    if len(request.words) != 2 or request.fields:
        raise UsageError("workflow remove needs one name: %comflowy workflow remove NAME")
    name = request.text(request.words[1])
    graph_file = session.catalogue.remove(name)
    graph = f"; the file of its graph, {graph_file}, is kept" if graph_file else ""
    session.say(paragraph(f"{name} was removed from the catalogue{graph}. Its runs are kept in the history"))


def _source(session: Session, text: str) -> tuple[str | None, Graph | None]:
    """Return the workflow id or the graph of the argument SOURCE."""
    if text == SERVER_LAST:
        return None, session.connected().connection.finder.server_last()
    if "://" in text:
        return id_in_url(text), None
    path = expand_home(text)
    if path.suffix.lower() == ".json":
        return None, graph_from(lambda: read_graph(path), session.library.convert)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        _, graph = find_metadata(path, session.library)
        return None, graph or graph_from(lambda: read_image_graph(path), session.library.convert)
    return text, None


def _read_description(session: Session, request: Request) -> Mapping[str, Field]:
    """Return the fields that a body or `--fields` describes."""
    found: dict[str, Field] = {}
    if "fields" in request.options:
        file = expand_home(request.options["fields"])
        found.update(graph_from(lambda: read_graph(file), session.library.convert).fields())
    if request.body is not None and request.body.strip():
        found.update(read_console(request.body))
    return found


def _describe(session: Session, named: str, described: Mapping[str, Field]) -> None:
    """Store the descriptions of fields in the catalogue. Add an entry for the workflow if it has none."""
    catalogue = session.catalogue
    if named not in catalogue.names():
        # The description is stored in an entry with the service's own name of the workflow.
        found = _workflow(session, named)
        if session.client is None or found.id is None:
            raise WorkflowError(f"give the workflow a name first: %comflowy workflow add NAME {named}")
        catalogue.add(named, identity=session.client.identity, id=found.id)
    catalogue.describe(named, described)


def _workflow(session: Session, named: str) -> Workflow:
    """Find a workflow on the connected service, or in the catalogue if none is connected."""
    entry = session.catalogue.get(named) if session.client is None else None
    if entry is None:
        return session.connected().workflow(named)
    graph = graph_from(entry.read_graph, None) if entry.graph_file is not None else None
    described = entry.fields or (graph.fields() if graph is not None else {})
    return Workflow(entry.name, None, graph, described, entry.aliases)


def _allowed_values(field: Field) -> str:
    """Return the choices or the range of a field as text."""
    if not field.options:
        return range_text(field)
    more = len(field.options) - _MAX_SHOWN_OPTIONS
    shown = ", ".join(text_of(option) for option in field.options[:_MAX_SHOWN_OPTIONS])
    return f"{shown} and {more} more" if more > 0 else shown
