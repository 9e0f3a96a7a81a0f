"""What the simulated Atlas imitates, rule by rule, for the documentation."""

from __future__ import annotations

from simulator.routing import Rule

DOC = "Atlas documentation"
SPEC = "Admin API v2 specification"
RULES = (
    Rule(
        "Accept must name a version of the resource: else 406 INVALID_VERSION_DATE. The answer's type echoes it.", DOC
    ),
    Rule("A date that is no known release date is 406 too.", "arbitrary dates: unverified"),
    Rule("An error is application/json, whatever was accepted.", SPEC),
    Rule("Order of checks: token, address, version, project, rate limit, body.", "unverified"),
    Rule(
        "Tokens: one hour, 10 requests a minute for each account and address (429), 100 live ones (403 access_denied).",
        DOC,
    ),
    Rule(
        "API keys: HTTP Digest, MD5, qop=auth; a call without credentials is challenged with a nonce.",
        "Atlas documentation shows the challenge",
    ),
    Rule(
        "A nonce lives 60 s and counts to 1024 (then, or unknown, 401 with stale=true); a used count is 401.",
        "Jetty's defaults, whose challenge it is; unverified",
    ),
    Rule("The body of a Digest 401 is USER_UNAUTHORIZED.", "unverified"),
    Rule("The access list is checked for calls (403), not for tokens.", DOC),
    Rule(
        "A project that is not visible: 401 NOT_IN_GROUP; that does not exist: 404 GROUP_NOT_FOUND.",
        "error code page; which of the two: unverified",
    ),
    Rule("Token buckets for each endpoint set and project, account or address, with RateLimit headers.", DOC),
    Rule("encryptionAtRest never returns the secret; GET is also a check of the key.", DOC),
    Rule(
        "The key is checked every 15 minutes; `valid` follows. A vault out of reach only opens an alert.",
        DOC,
    ),
    Rule("PATCH: absent blocks and members stay; `enabled: false` wipes, unless a cluster is encrypted (409).", SPEC),
    Rule("A PATCH that changes nothing is 200 and starts nothing.", "unverified"),
    Rule(
        "A key that ends within 48 hours, is disabled, not begun or gone is refused; an ended one decrypts.",
        DOC,
    ),
    Rule("While the current key cannot be used nothing can be changed.", DOC),
    Rule(
        "A roleId in a change must be a role of the project that was authorized by PATCH.",
        "vendor's Terraform provider; for a role of another project unverified",
    ),
    Rule("azureEnvironment must be the cloud of the vault.", "unverified"),
    Rule("Good credentials are refused now and then (background faults).", "vendor's CI logs"),
    Rule(
        "A secret may be left out of a change, unless the project is made to require it.",
        "specification's text; unverified",
    ),
    Rule(
        "After a new identifier the encrypted running clusters go UPDATING, IDLE one by one; at first nothing is seen.",
        "order and times: unverified",
    ),
    Rule("A paused cluster takes the identifier when it is resumed.", "unverified, an inference"),
    Rule(
        "AZURE_ENCRYPTION_KEY_NEEDS_ROTATION opens at 90 days and closes within a minute of a new identifier.",
        "90 days: documentation; the minute: unverified",
    ),
    Rule("Events tell neither cluster nor key identifier.", SPEC),
    Rule("A paused cluster is listed without addresses.", "unverified"),
    Rule(
        "New addresses (more nodes, shards, config servers, another region, a new cluster) are futureOutbound first, "
        "then outbound beside the old ones while the cluster is UPDATING; the old ones leave at its end.",
        "which changes bring new ones: Atlas documentation (FAQ on networking); the times: unverified",
    ),
    Rule("A deleted cluster leaves the list of addresses at once.", "unverified"),
    Rule(
        "Nodes of an encrypted cluster ask the vault when they start, and when they take an identifier. While the "
        "vault keeps one out, a restart stays REPAIRING, a change or resumption UPDATING, a new cluster CREATING.",
        "Atlas documentation (all hosts need access); the states: unverified",
    ),
    Rule(
        "The control plane calls from any of its outbound addresses: a vault that keeps one out is out of reach.",
        "harder than the real service",
    ),
    Rule("An address that no rule can allow (IPv6, private) is not needed for that.", "unverified"),
    Rule("The list of control-plane addresses has a gateway, whose addresses call no vault.", SPEC),
)
