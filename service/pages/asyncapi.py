"""The websocket described as AsyncAPI 3.0, made from the types of its frames, the filters and the close codes."""

from msgspec import Struct

from service.live import messages
from service.live.close_codes import CLOSE_CODES
from service.live.connection import FRAME_IN_BYTES_MAX, PROTOCOL
from service.live.feeds import EventsWhere, NotesWhere
from service.live.subscriber import FRAMES_BURST, FRAMES_PER_S, SUBSCRIPTIONS_MAX
from service.pages.schemas import Json, changed, schemas_of
from service.version import VERSION

FROM_CLIENT: list[type[Struct]] = [messages.Auth, messages.Subscribe, messages.Unsubscribe]
FROM_SERVICE: list[type[Struct]] = [
    messages.Hello,
    messages.Subscribed,
    messages.Events,
    messages.Notes,
    messages.CaughtUp,
    messages.Reset,
    messages.Unsubscribed,
    messages.Error,
]
FILTERS: dict[str, type[Struct]] = {"events": EventsWhere, "notes": NotesWhere}

CHANNEL: Json = {"$ref": "#/channels/websocket"}

# Operation → what the client sends, and what it may be answered; or what the service sends of itself.
ASKED: dict[str, tuple[list[str], list[str]]] = {
    "authenticate": (["Auth"], ["Hello"]),
    "subscribe": (["SubscribeToEvents", "SubscribeToNotes"], ["Subscribed", "Reset", "Error"]),
    "unsubscribe": (["Unsubscribe"], ["Unsubscribed", "Error"]),
}
SENT: dict[str, list[str]] = {
    "greet": ["Hello"],
    "deliver": ["Events", "Notes", "CaughtUp"],
    "refuse": ["Error"],
}

GENERAL = f"""\
One connection carries up to {SUBSCRIPTIONS_MAX} subscriptions. All frames are text frames with one JSON object. The
service greets with `hello`; the client subscribes to a feed from a position on, and gets everything after it, in order
and without holes. The `position` of a frame is where to resume. A client may send {FRAMES_BURST} frames at once, then
{FRAMES_PER_S} a second, each up to {FRAME_IN_BYTES_MAX // 1024} KiB. Without an upgrade the request is answered 426.
"""


def describe() -> Json:
    """The description of the websocket."""
    schemas = _schemas()
    names = [name for sent, answered in ASKED.values() for name in (*sent, *answered)]
    names = list(dict.fromkeys([*names, *(name for sent in SENT.values() for name in sent)]))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "notelog: changes live",
            "version": VERSION,
            "description": f"{GENERAL}\n{_close_codes()}",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"here": {"host": "{host}", "protocol": "ws", "variables": {"host": {"default": "127.0.0.1:8080"}}}},
        "channels": {"websocket": _channel(names)},
        "operations": _operations(),
        "components": {
            "messages": {name: _message(name, schemas[name]) for name in names},
            "schemas": schemas,
        },
    }


def _channel(names: list[str]) -> Json:
    protocols = {"type": "string", "const": PROTOCOL, "description": "Optional."}
    headers = {"type": "object", "properties": {"Sec-WebSocket-Protocol": protocols}}
    return {
        "address": "/ws",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"ws": {"method": "GET", "headers": headers, "bindingVersion": "0.1.0"}},
        "x-close-codes": {
            str(close.code): {"meaning": close.meaning, "comeBack": close.come_back} for close in CLOSE_CODES
        },
    }


def _operations() -> Json:
    operations: Json = {}
    for name, (asked, answered) in ASKED.items():
        reply = {"channel": CHANNEL, "messages": _references(answered)}
        operations[name] = {"action": "receive", "channel": CHANNEL, "messages": _references(asked), "reply": reply}
    for name, sent in SENT.items():
        operations[name] = {"action": "send", "channel": CHANNEL, "messages": _references(sent)}
    return operations


def _references(names: list[str]) -> list[Json]:
    return [{"$ref": f"#/channels/websocket/messages/{name}"} for name in names]


def _message(name: str, schema: Json) -> Json:
    type_ = schema["properties"]["type"]
    frame = type_.get("const") or type_["enum"][0]
    return {
        "name": frame,
        "title": name,
        "summary": schema["description"],
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _schemas() -> Json:
    types = [*FROM_CLIENT, *FROM_SERVICE, *FILTERS.values()]
    _, schemas = schemas_of(types)
    subscribe = schemas.pop("Subscribe")
    for feed in FILTERS:
        schemas[f"SubscribeTo{feed.capitalize()}"] = _subscribe_to(feed, subscribe)
    return dict(changed(schemas, _without_discriminator))


def _subscribe_to(feed: str, subscribe: Json) -> Json:
    """The frame that subscribes to one feed, with that feed's filter."""
    where = {"$ref": f"#/components/schemas/{FILTERS[feed].__name__}"}
    properties = {**subscribe["properties"], "feed": {"const": feed}, "where": {"anyOf": [where, {"type": "null"}]}}
    return {**subscribe, "title": f"SubscribeTo{feed.capitalize()}", "properties": properties}


def _without_discriminator(schema: Json) -> Json:
    """AsyncAPI's discriminator is another one than OpenAPI's, which msgspec writes. The schemas tell without it."""
    return {key: value for key, value in schema.items() if key != "discriminator" or "propertyName" not in value}


def _close_codes() -> str:
    rows = [f"| {close.code} | {close.meaning} | {'yes' if close.come_back else 'no'} |" for close in CLOSE_CODES]
    return "\n".join(["| close code | meaning | come back |", "| --- | --- | --- |", *rows])
