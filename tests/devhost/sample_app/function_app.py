"""One function for each trigger kind and way to fail. What they saw is told by GET /api/seen, which also holds them."""

import asyncio
import json
import threading
from typing import Any, List  # noqa: UP035 - the worker refuses func.Out[list[str]]

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
seen: list[dict[str, Any]] = []
held = asyncio.Semaphore(0)
stuck = threading.Event()
in_flight: set[str] = set()


def _tell(kind: str, **facts: Any) -> None:
    seen.append({"kind": kind, **facts})


@app.route(route="seen", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def tell_seen(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps({"seen": seen, "inFlight": len(in_flight)}), mimetype="application/json")


@app.route(route="release", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def release_one(req: func.HttpRequest) -> func.HttpResponse:
    held.release()
    return func.HttpResponse(status_code=204)


@app.route(route="items/{itemId:int}/{part?}", methods=["GET", "PUT"])
async def show_item(req: func.HttpRequest) -> func.HttpResponse:
    told = {
        "method": req.method,
        "route": dict(req.route_params),
        "query": dict(req.params),
        "probe": req.headers.get("x-probe"),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(told), status_code=201, headers={"x-answer": "42"}, mimetype="application/json")


@app.route(route="items/special", methods=["GET"])
def show_special(req: func.HttpRequest) -> str:
    return "special"


@app.route(route="{page:maxlength(0)?}", methods=["GET"])
def show_root(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("<p>root</p>", mimetype="text/html")


@app.route(route="fails", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="%WORK%", connection="AzureWebJobsStorage")
async def fail_after_output(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set(json.dumps({"name": "must never arrive"}))
    raise RuntimeError("told on purpose")


@app.route(route="leave", methods=["POST"])
async def leave_process(req: func.HttpRequest) -> func.HttpResponse:
    raise SystemExit(3)


@app.route(route="stuck", methods=["POST"])
def never_end(req: func.HttpRequest) -> func.HttpResponse:
    _tell("stuck")
    stuck.wait()
    return func.HttpResponse()


@app.route(route="send", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="%WORK%", connection="AzureWebJobsStorage")
async def send_many(req: func.HttpRequest, out: func.Out[List[str]]) -> func.HttpResponse:  # noqa: UP006 - see above
    out.set([json.dumps(item) for item in req.get_json()])
    return func.HttpResponse(status_code=202)


@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="out", queue_name="%WORK%", connection="AzureWebJobsStorage")
async def take_event(event: func.EventGridEvent, out: func.Out[str]) -> None:
    data = event.get_json()
    if data.get("fail"):
        raise ValueError("told on purpose")
    kind = event.type if isinstance(event, func.CloudEvent) else event.event_type
    out.set(json.dumps({"name": event.id, "eventType": kind}))


@app.queue_trigger(arg_name="msg", queue_name="%WORK%", connection="AzureWebJobsStorage")
async def work(msg: func.QueueMessage) -> None:
    body = json.loads(msg.get_body())
    assert msg.id is not None
    _tell(
        "work",
        body=body,
        id=msg.id,
        dequeueCount=msg.dequeue_count,
        inserted=str(msg.insertion_time),
        expires=str(msg.expiration_time),
        visible=str(msg.time_next_visible),
        receipt=bool(msg.pop_receipt),
    )
    in_flight.add(msg.id)
    try:
        if body.get("hold"):
            await held.acquire()
        if body.get("leave"):
            raise SystemExit(3)
        if msg.dequeue_count <= body.get("failures", 0):
            raise RuntimeError("told on purpose")
    finally:
        in_flight.discard(msg.id)


@app.queue_trigger(arg_name="msg", queue_name="%WORK%-poison", connection="AzureWebJobsStorage")
def take_poison(msg: func.QueueMessage) -> None:
    _tell("poison", body=msg.get_body().decode())


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
def tick(timer: func.TimerRequest) -> None:
    _tell("tick", pastDue=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="nonsense")
def wrong_schedule(timer: func.TimerRequest) -> None:
    _tell("wrong")
