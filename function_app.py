"""The Functions app: registers the blueprints, and nothing else."""

import azure.functions as func

from functions import alerts, event_grid, health, holds, openapi, operations, projects, timers, vaults, work_queue

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for family in (alerts, event_grid, health, holds, openapi, operations, projects, timers, vaults, work_queue):
    app.register_functions(family.bp)
