"""What the simulated Resource Manager imitates, rule by rule, for the documentation."""

from __future__ import annotations

from simulator.azure_clouds import SOURCE as CLOUDS_SOURCE
from simulator.resource_manager.errors import DOC
from simulator.routing import Rule

SPEC = "Key Vault Resource Manager specification"
EXAMPLES = "the vendor's examples"
RULES = (
    Rule(
        "The token's audience is the cloud's; in US Government it names another host than the endpoint.", CLOUDS_SOURCE
    ),
    Rule("Reads pass whatever the vault's firewall: the app's posture is about the data plane alone.", DOC),
    Rule("An action that the app lacks on a vault: 403 AuthorizationFailed.", DOC),
    Rule("The action is checked before the key is looked for.", "usual; unverified"),
    Rule("Paths and names compare without case.", "Resource Manager documentation"),
    Rule("Attributes are seconds since 1970; keyUri and keyUriWithVersion carry the port 443.", EXAMPLES),
    Rule("Lists leave out kty, keyOps, keySize and rotationPolicy, a list of keys the version too.", EXAMPLES),
    Rule(
        "A list has at most 25 rows and a nextLink while there are more, in no order.",
        "nextLink: specification; the size: unverified",
    ),
    Rule("A deleted key is 404, with its versions.", "unverified"),
    Rule("The state is the data plane's, without delay.", "unverified"),
    Rule(
        "api-versions before 2026-02-01 are refused, though the real ones end on 27 February 2027.",
        "stricter than the real service",
    ),
    Rule("250 reads at once, 25 more a second, of each subscription and caller: else 429 with Retry-After.", DOC),
    Rule("200 writes at once, 10 more a second, likewise.", DOC),
    Rule("The app has what the role files in `infra/roles` grant that are assigned to it at the vault.", "their text"),
    Rule(
        "PATCH: members of properties that are not sent stay; networkAcls is taken as sent, whole.",
        "public code of the azurerm provider; unverified",
    ),
    Rule("A member of networkAcls that is not sent is lost: no rules, default action Allow.", "unverified"),
    Rule("A PATCH that changes nothing is a write like any other, and raises its event.", "unverified, an inference"),
    Rule(
        "A plain address comes back with /32; other texts as sent, in the order sent, a text sent twice once.",
        "hashicorp/terraform-provider-azurerm issue 8701; the rest unverified",
    ),
    Rule("The text of a rule that stands there already is taken back, whatever its form.", "unverified"),
    Rule("No ETag and no conditional write: the last writer wins.", SPEC),
    Rule("x-ms-correlation-request-id, sent or made, is in the answer and in the event of the write.", "unverified"),
    Rule(
        "systemData names the last writer: a person by name, an application by its id.",
        "for an application unverified",
    ),
    Rule(
        "A PATCH of anything but networkAcls, publicNetworkAccess and tags that would change it.", "not simulated: 501"
    ),
    Rule("Of access policies the vault's document shows what the app's posture implies.", "not simulated further"),
)
