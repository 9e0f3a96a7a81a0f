"""The least that an event function can do: put a message into a queue. The floor of a cold start."""

import azure.functions as func

app = func.FunctionApp()


@app.function_name("bare_events")
@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="work", queue_name="bare-work", connection="AzureWebJobsStorage")
async def bare_events(event: func.EventGridEvent, work: func.Out[str]) -> None:
    """Queue the event's id."""
    work.set(event.id)
