"""The way of a request through Atlas's checks. The routes stand in ``routes.py``, the rules beside their subjects."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING

from simulator.atlas.digest import StaleNonce, is_digest
from simulator.atlas.errors import api_error, refused
from simulator.atlas.rate_limits import RateLimits
from simulator.atlas.routes import AtlasRoute, Auth, routes_of
from simulator.atlas.tokens import Tokens
from simulator.atlas.versions import accepted, check_content, media_type
from simulator.atlas.world import PROJECT_ID, AtlasWorld
from simulator.faults import PASSING_EVERYWHERE, Fault
from simulator.routing import Call, Route, Router
from simulator.wire import Response, json_response, not_simulated

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from simulator.atlas.state import Account, Project
    from simulator.clock import SimulatedClock
    from simulator.key_vault.service import KeyVault

HOST = "cloud.mongodb.com"
_PASSING = (
    *PASSING_EVERYWHERE,
    Fault(status=429, code="RATE_LIMITED", retry_after=2),
    Fault(status=500, code="UNEXPECTED_ERROR"),
    Fault(status=503, code="SERVICE_UNAVAILABLE", retry_after=3),
)
_PASSING_PATCH = (*_PASSING, *[Fault(status=400, code="INVALID_AZURE_CREDENTIALS")] * 3)
"""The vendor's CI sees good credentials refused now and then, more often than anything else."""


class Atlas(AtlasWorld):
    """The API over one organization: the way of a request through its checks."""

    name = "atlas"

    def __init__(self, clock: SimulatedClock, random: Random, key_vault: KeyVault) -> None:
        super().__init__(clock, random, key_vault)
        self.tokens = Tokens(self.accounts, random)
        self.rate_limits = RateLimits()
        self.router: Router[AtlasRoute] = Router(routes_of(self))

    def shared_now(self) -> datetime:
        """Return the time by which tokens and limits live (see the clock)."""
        return self._clock.shared_now()

    def serves(self, host: str) -> bool:
        return host == HOST

    def passing_faults(self, route: Route) -> tuple[Fault, ...]:
        return _PASSING_PATCH if route.method == "PATCH" else _PASSING

    def error(self, call: Call, status: int, code: str, text: str, headers: dict[str, str]) -> Response:
        """Return an ``ApiError``; the token endpoint has a form of its own for all but 429."""
        route = call.route
        if isinstance(route, AtlasRoute) and route.auth is Auth.BASIC and status != HTTPStatus.TOO_MANY_REQUESTS:
            return json_response(status, {"error": code or "server_error", "error_description": text}, headers)
        return api_error(status, code or "UNEXPECTED_ERROR", text, (), headers)

    def answer(self, call: Call) -> Response:
        """Check token, address, version, project and rate limit, in this order (unverified), then answer."""
        route = call.route
        assert isinstance(route, AtlasRoute)
        if route.auth is Auth.BASIC:
            return route.answer(call)
        account = self._account(call) if route.auth is Auth.ACCOUNT else None
        request = call.request
        version = accepted(request, route.versions, route.older)
        if request.query_value("envelope") == "true":
            raise not_simulated("envelope=true")
        owner = request.client_ip
        if account is not None:
            owner = self._visible_project(call, account).id if "groupId" in call.params else account.client_id
        self.rate_limits.spend(call, route.endpoint_set, owner, self._clock.shared_now())
        if route.method != "GET":
            check_content(request, route.versions)
        response = route.answer(call)
        call.headers["content-type"] = media_type(version)
        return response

    def account(self, name: str) -> Account:
        """Return who calls by that name: a service account or an API key; ``KeyError`` where there is none."""
        return self.accounts[name] if name in self.accounts else self.digest.keys[name]

    def _account(self, call: Call) -> Account:
        account = self._signed_in(call)
        call.caller = account.client_id
        address = ipaddress.ip_address(call.request.client_ip)
        listed = account.access_list
        if listed is not None and not any(address in ipaddress.ip_network(row, strict=False) for row in listed):
            raise refused("IP_ADDRESS_NOT_ON_ACCESS_LIST", (call.request.client_ip,))
        if account.read_only and call.route.method != "GET":
            raise refused("USER_UNAUTHORIZED")
        return account

    def _signed_in(self, call: Call) -> Account:
        now, request = self._clock.shared_now(), call.request
        account: Account | None = None
        stale = False
        try:
            account = self.digest.key_of(request, now) if is_digest(request) else self.tokens.account_of(request, now)
        except StaleNonce:
            stale = True
        if account is not None:
            return account
        if "authorization" in request.headers and not is_digest(request):
            raise refused("USER_UNAUTHORIZED")
        # Who comes with nothing is offered Digest, as by the real service.
        raise refused("USER_UNAUTHORIZED", (), {"www-authenticate": self.digest.challenge(now, stale=stale)})

    def _visible_project(self, call: Call, account: Account) -> Project:
        project_id = call.params["groupId"]
        if not PROJECT_ID.fullmatch(project_id):
            raise refused("INVALID_GROUP_ID", (project_id,))
        project = self.projects.get(project_id)
        if project is None:
            raise refused("GROUP_NOT_FOUND", (project_id,))
        if account.projects is not None and project_id not in account.projects:
            raise refused("NOT_IN_GROUP", (project_id,))
        return project
