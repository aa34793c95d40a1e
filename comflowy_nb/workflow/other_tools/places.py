"""Find the fields of a workflow for prompts, size and sampler settings, by its nodes and links.

The sampler is the node whose input latent is not the output of another sampler. Its links lead to the text encoders, to
the empty latent, and for `SamplerCustomAdvanced` to separate nodes for the noise, the guider, the sigmas and the
sampler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.graph import link_target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from comflowy_nb.workflow.graph import Graph
    from comflowy_nb.workflow.workflow import Workflow


# Role -> aliases that name its field. An alias of the catalogue takes precedence over the nodes.
_ALIASES = {
    "prompt": ("prompt", "positive"),
    "negative": ("negative", "negative_prompt"),
    "steps": ("steps",),
    "cfg": ("cfg",),
    "seed": ("seed",),
    "sampler": ("sampler", "sampler_name"),
    "scheduler": ("scheduler",),
    "width": ("width",),
    "height": ("height",),
}
# Role -> names of its field, and the links from the sampler to the nodes that may have it instead.
_SAMPLER_FIELDS = {
    "steps": (("steps",), ("sigmas",)),
    "cfg": (("cfg",), ("guider",)),
    "seed": (("seed", "noise_seed"), ("noise",)),
    "sampler": (("sampler_name",), ("sampler",)),
    "scheduler": (("scheduler",), ("sigmas",)),
}
_TEXT_NAMES = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "prompt")
_LATENT_NAMES = ("latent_image", "latent", "samples")


@dataclass(frozen=True, slots=True)
class Places:
    """The fields of a workflow by role.

    Attributes
    ----------
    fields
        Role -> field ids. An encoder with several texts has several.
    problems
        Role -> why the workflow has no field for it, as the end of a sentence.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def find_places(workflow: Workflow, graph: Graph | None = None) -> Places:
    """Return the fields of a workflow by role.

    Parameters
    ----------
    workflow
        The workflow. Its own graph takes precedence.
    graph
        The graph of the workflow in the catalogue. It is used if its nodes have the classes that the service describes.
    """
    if workflow.graph is not None:
        found, problems = _GraphSearch(workflow.graph).places()
    elif graph is not None and _describes(graph, workflow):
        found, problems = _GraphSearch(graph).places()
    else:
        found, problems = _by_name(workflow)
    for role, words in _ALIASES.items():
        for word in words:
            if word in workflow.aliases:
                try:
                    found[role] = workflow.find(word)
                except FieldError as error:
                    problems[role] = str(error)
                break
    if workflow.is_described:
        found = {role: ids for role, ids in found.items() if all(field_id in workflow.fields for field_id in ids)}
    return Places(found, problems)


def _describes(graph: Graph, workflow: Workflow) -> bool:
    """Return True if each field of the workflow belongs to a node of the graph with the same class."""
    return workflow.is_described and all(
        field.node in graph.nodes and field.class_type == graph.nodes[field.node]["class_type"]
        for field in workflow.fields.values()
    )


def _by_name(workflow: Workflow) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Find the fields without links: by unique names, and the prompts by the titles of nodes."""
    found: dict[str, tuple[str, ...]] = {}
    problems: dict[str, str] = {}
    names = {role: fields for role, (fields, _) in _SAMPLER_FIELDS.items()} | {
        "width": ("width",),
        "height": ("height",),
    }
    for role, words in names.items():
        ids = [field.id for field in workflow.fields.values() if field.name in words]
        if len(ids) == 1:
            found[role] = (ids[0],)
        elif ids:
            problems[role] = f"{len(ids)} fields have this name"
    texts = [field for field in workflow.fields.values() if field.name == "text"]
    negatives = [field.id for field in texts if "negative" in (field.node_title or "").lower()]
    positives = [field.id for field in texts if "positive" in (field.node_title or "").lower()]
    if not positives:
        positives = [field.id for field in texts if field.id not in negatives]
    for role, ids in (("prompt", positives), ("negative", negatives)):
        if len(ids) == 1:
            found[role] = (ids[0],)
        elif texts:
            problems[role] = f"name its field: %comflowy workflow alias {workflow.name} {role}={texts[0].id}"
    return found, problems


class _GraphSearch:
    """The search in one graph. Each traversal visits a node only once, so that it ends if links are circular."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = graph.nodes

    def places(self) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
        samplers = [node for node in self._nodes if self._is_sampler(node)]
        first = [sampler for sampler in samplers if not any(self._is_sampler(node) for node in self._before(sampler))]
        if len(first) != 1:
            several = f"the workflow has several samplers, nodes {', '.join(first[:4])}"
            problem = several if first else "the workflow has no sampler"
            return {}, dict.fromkeys(_ALIASES, problem)
        sampler = first[0]
        found: dict[str, tuple[str, ...]] = {}
        for role, (names, links) in _SAMPLER_FIELDS.items():
            nodes = [sampler, *(node for link in links if (node := self._link(sampler, link)) is not None)]
            ids = [place for node in nodes for name in names if (place := self._place(node, name)) is not None]
            if ids:
                found[role] = (ids[0],)
        problems = self._find_texts(sampler, found)
        for node in self._walk(sampler, _LATENT_NAMES):
            sides = [self._place(node, name) for name in ("width", "height")]
            if node != sampler and None not in sides and not self._links(node, _LATENT_NAMES):
                found["width"], found["height"] = ((str(side),) for side in sides)
                break
        else:
            problems |= dict.fromkeys(("width", "height"), "the size comes from another node")
        return found, problems

    def _find_texts(self, sampler: str, found: dict[str, tuple[str, ...]]) -> dict[str, str]:
        """Add the text fields of both prompts to `found`. Return the problems."""
        problems = {}
        for role, side in (("prompt", "positive"), ("negative", "negative")):
            encoders = list(dict.fromkeys(self._encoders(sampler, side)))
            if len(encoders) == 1 and encoders[0] != found.get("prompt"):
                found[role] = encoders[0]
            elif len(encoders) > 1:
                problems[role] = f"{len(encoders)} text encoders are combined"
        return problems

    def _encoders(self, sampler: str, side: str) -> Iterator[tuple[str, ...]]:
        """Yield the text fields of each encoder on one side of a sampler."""
        guider = self._link(sampler, "guider")
        if guider is None:
            start = self._link(sampler, side)
        else:
            start = self._link(guider, side) or (self._link(guider, "conditioning") if side == "positive" else None)
        pending, seen = [start] if start is not None else [], set[str]()
        while pending:
            node = pending.pop()
            if node in seen or "ZeroOut" in str(self._nodes[node]["class_type"]):  # of the positive prompt, usually
                continue
            seen.add(node)
            texts = [place for name in _TEXT_NAMES if (place := self._place(node, name, is_text=True)) is not None]
            if texts:
                yield tuple(dict.fromkeys(texts))
                continue
            # ControlNetApplyAdvanced has both sides as inputs
            own = self._links(node, (side,))
            pending += own or [
                target
                for name in self._inputs(node)
                if name.startswith("cond") and (target := self._link(node, name)) is not None
            ]

    def _is_sampler(self, node: str) -> bool:
        has_prompt = self._link(node, "positive") is not None or self._link(node, "guider") is not None
        return has_prompt and self._link(node, "latent_image") is not None

    def _before(self, sampler: str) -> Iterator[str]:
        """Yield the nodes that the latent of a sampler depends on."""
        start = self._link(sampler, "latent_image")
        for node in self._walk(start, None) if start is not None else ():
            if node != sampler:
                yield node

    def _walk(self, start: str, names: Collection[str] | None) -> Iterator[str]:
        """Yield a node and all nodes that its links lead to. With `names`, follow only these inputs."""
        pending, seen = [start], set[str]()
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                yield node
                pending += self._links(node, names if names is not None else self._inputs(node))

    def _inputs(self, node: str) -> Mapping[str, Any]:
        inputs: Mapping[str, Any] = self._nodes[node]["inputs"]
        return inputs

    def _link(self, node: str, name: str) -> str | None:
        """Return the node that an input is linked to; None if the input has a value or does not exist."""
        target = link_target(self._inputs(node).get(name))
        return target if target in self._nodes else None

    def _links(self, node: str, names: Collection[str]) -> list[str]:
        return [target for name in names if (target := self._link(node, name)) is not None]

    def _place(self, node: str, name: str, *, is_text: bool = False) -> str | None:
        """Return the field id of an input, or of the primitive node that it is linked to."""
        if name not in self._inputs(node):
            return None
        source = self._link(node, name)
        if source is None:
            return f"{node}::{name}" if not is_text or isinstance(self._inputs(node)[name], str) else None
        values = [input_name for input_name in self._inputs(source) if self._link(source, input_name) is None]
        chosen = next(
            (input_name for input_name in (name, "value") if input_name in values),
            values[0] if len(values) == 1 else None,
        )
        has_links = len(values) < len(self._inputs(source))
        return f"{source}::{chosen}" if chosen is not None and not has_links else None
